//! Inspect: reads the rows of a shared log that are not stored yet. Changes nothing, and may be used
//! while collectors and deliveries run.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    LogUrl, TopicOptions,
    client::{Log, LogError, Partition},
    control::Control,
    cuts::{LogBlock, Sequences, Uncut},
    positions::{self, PartitionId, Position, PositionMap},
    record::{Layouts, RowsRecord, Unreadable},
};
use crate::{
    block::layout::InsertTarget,
    store::{ClickHouseError, ClickHouseUrl},
    sync::{SyncError, missing_tables},
    table::{Schema, dead_letter::REJECTED},
};

/// The rows that are given to the caller at a time.
const MAX_ROWS: usize = 100_000;

/// The bytes of these rows.
const MAX_BYTES: usize = 64 << 20;

/// The number of reads without a record after which a partition counts as unreadable. Each waits
/// for half a second.
const EMPTY_READS: u32 = 20;

/// The part of a shared log whose rows are not stored yet.
#[derive(Debug)]
pub struct LogReport {
    /// The partitions of the topics of a schema's tables that exist.
    pub partitions: Vec<PartitionReport>,
}

/// The part of a partition whose rows are not stored yet.
#[derive(Debug)]
pub struct PartitionReport {
    /// The table of the rows.
    pub table: Arc<str>,
    /// The topic of the table.
    pub topic: Arc<str>,
    /// The number of the partition in its topic.
    pub partition: i32,
    /// The offset up to which the rows are stored; `None` if the database does not know it, or if no
    /// database was asked.
    pub position: Option<i64>,
    /// The offset of the first record that the brokers have.
    pub first: i64,
    /// The offset after the last record, when the report began.
    pub end: i64,
    /// The number of records after the position, without copies.
    pub records: u64,
    /// The number of their rows.
    pub rows: u64,
    /// The length of their rows, in bytes.
    pub bytes: u64,
    /// The number of records that a collector appended again, after it got no answer.
    pub copies: u64,
    /// The number of records that fail their checksums, or are no rows of the table.
    pub damaged: u64,
    /// The number of records that a later version of Rowmill has written.
    pub later: u64,
    /// The number of records that the brokers have removed although their rows were not stored.
    pub removed: u64,
    /// The time at which the oldest record was appended.
    pub oldest: Option<SystemTime>,
}

impl PartitionReport {
    /// Returns whether the partition ends before the position of the rows that are stored: it was
    /// created again, or the brokers have lost records.
    pub fn is_cut_off(&self) -> bool {
        self.position.is_some_and(|position| position > self.end)
    }
}

/// Rows of a shared log that one INSERT takes.
#[derive(Debug)]
pub struct LogRows<'a> {
    /// The table of the rows.
    pub table: &'a str,
    /// The number of the partition in the table's topic.
    pub partition: i32,
    /// The offset of the first record.
    pub first: i64,
    /// The offset of the last record.
    pub last: i64,
    /// The statement that inserts the rows.
    pub statement: &'a str,
    /// The rows, in the format that the statement names.
    pub rows: &'a [u8],
}

/// The reason why a shared log cannot be inspected.
#[derive(Debug)]
pub struct LogInspectError(Reason);

#[derive(Debug)]
enum Reason {
    Log(LogError),
    Database(ClickHouseError),
    Positions(SyncError),
    Output(io::Error),
}

impl fmt::Display for LogInspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Log(error) => write!(f, "the shared log cannot be read: {error}"),
            Reason::Database(error) => write!(f, "the positions of the shared log cannot be read: {error}"),
            Reason::Positions(error) => error.fmt(f),
            Reason::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LogInspectError {}

impl From<LogError> for LogInspectError {
    fn from(error: LogError) -> Self {
        Self(Reason::Log(error))
    }
}

/// Reads the rows of a schema's tables in a shared log, and of the dead letters, that are not stored
/// in `database` yet, or all of them without one. Gives them to `take`, in blocks that need not be
/// those of a delivery; `take` may ignore them.
///
/// # Errors
/// The log or the database cannot be read, or `take` fails.
///
/// ```no_run
/// # use embedder::tables;
/// use rowmill_ingest::log::{LogUrl, inspect_log};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let log: LogUrl = "kafka://broker:9092/events".parse()?;
/// let clickhouse = "http://127.0.0.1:8123/stats".parse()?;
/// let report = inspect_log(&log, &tables::SCHEMA, Some(&clickhouse), |_| Ok(())).await?;
/// println!("{report:#?}");
/// # Ok(())
/// # }
/// ```
pub async fn inspect_log(
    log: &LogUrl,
    schema: &Schema,
    database: Option<&ClickHouseUrl>,
    mut take: impl FnMut(LogRows<'_>) -> io::Result<()>,
) -> Result<LogReport, LogInspectError> {
    let positions = match database {
        Some(database) => stored(database).await?,
        None => PositionMap::new(),
    };
    let log = Log::new(log.clone(), TopicOptions::default());
    let mut partitions = Vec::new();
    for (layout, id) in partitions_of(&log, schema).await? {
        let position = positions.get(&id).copied();
        let inspection = Inspection::begin(&log, layout, id, position).await?;
        partitions.push(inspection.run(&mut take).await?);
    }
    Ok(LogReport { partitions })
}

/// The ends of the partitions of a shared log at one moment.
#[derive(Debug)]
pub struct LogEnds(Vec<PartitionEnd>);

/// The bounds of a partition at one moment.
#[derive(Debug)]
struct PartitionEnd {
    table: Arc<str>,
    id: PartitionId,
    first: i64,
    end: i64,
}

impl LogEnds {
    /// Returns the ends of the partitions of a schema's tables, and of the dead letters, now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn now(log: &LogUrl, schema: &Schema) -> Result<Self, LogInspectError> {
        let log = Log::new(log.clone(), TopicOptions::default());
        let mut ends = Vec::new();
        for (layout, id) in partitions_of(&log, schema).await? {
            let (first, end) = log.partition(&id.0, id.1).await?.bounds().await?;
            let table = Arc::clone(&layout.table);
            ends.push(PartitionEnd { table, id, first, end });
        }
        Ok(Self(ends))
    }

    /// Returns the tables of partitions that have records, each once for each partition.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let with_records = self.0.iter().filter(|of| of.first < of.end);
        with_records.map(|of| &*of.table)
    }

    /// Returns the number of records before the ends whose rows `database` does not have yet,
    /// according to the positions of the deliveries.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn records_left(&self, database: &ClickHouseUrl) -> Result<u64, LogInspectError> {
        let positions = stored(database).await?;
        let left = |of: &PartitionEnd| {
            // No delivery reads a partition that ends before its position.
            let position = positions.get(&of.id).map(|at| at.position).filter(|at| *at <= of.end);
            let position = position.unwrap_or(of.first).max(of.first);
            u64::try_from(of.end - position).unwrap_or(0)
        };
        Ok(self.0.iter().map(left).sum())
    }
}

/// Returns the positions of the rows that a database has.
async fn stored(database: &ClickHouseUrl) -> Result<PositionMap, LogInspectError> {
    let missing = missing_tables(database, [positions::TABLE]).await;
    if !missing
        .map_err(|error| LogInspectError(Reason::Positions(error)))?
        .is_empty()
    {
        return Ok(PositionMap::new());
    }
    let found = positions::select(&database.client()).await;
    found.map_err(|error| LogInspectError(Reason::Database(error)))
}

/// Returns the partitions of the topics that exist, each with the insert target of its table.
async fn partitions_of(log: &Log, schema: &Schema) -> Result<Vec<(Arc<InsertTarget>, PartitionId)>, LogError> {
    let mut topics = log.topics().await?;
    let mut found = Vec::new();
    for table in schema.tables.iter().copied().chain([&REJECTED]) {
        let layout = InsertTarget::of(table);
        let topic: Arc<str> = log.url.topic_of(&layout.table).into();
        for partition in topics.remove(&*topic).unwrap_or_default() {
            found.push((Arc::clone(&layout), (Arc::clone(&topic), partition)));
        }
    }
    Ok(found)
}

/// The inspection of one partition.
struct Inspection {
    connection: Partition,
    own: Arc<InsertTarget>,
    layouts: Layouts,
    uncut: Uncut,
    report: PartitionReport,
}

impl Inspection {
    async fn begin(
        log: &Log,
        own: Arc<InsertTarget>,
        (topic, partition): PartitionId,
        position: Option<Position>,
    ) -> Result<Self, LogError> {
        let connection = log.partition(&topic, partition).await?;
        let (first, end) = connection.bounds().await?;
        let sequences = match position {
            Some(at) => sequences_at(log, &topic, partition, at).await.unwrap_or_default(),
            None => Sequences::new(),
        };
        let position = position.map(|at| at.position);
        Ok(Self {
            connection,
            layouts: Layouts::default(),
            uncut: Uncut::new(position.unwrap_or(first).max(first), sequences),
            report: PartitionReport {
                table: Arc::clone(&own.table),
                topic,
                partition,
                position,
                first,
                end,
                records: 0,
                rows: 0,
                bytes: 0,
                copies: 0,
                damaged: 0,
                later: 0,
                removed: position.map_or(0, |position| u64::try_from(first - position).unwrap_or(0)),
                oldest: None,
            },
            own,
        })
    }

    /// Reads the partition to the end that it had at the beginning.
    async fn run(
        mut self,
        take: &mut impl FnMut(LogRows<'_>) -> io::Result<()>,
    ) -> Result<PartitionReport, LogInspectError> {
        let mut empty_reads = 0;
        while self.uncut.next() < self.report.end {
            let read = match self.connection.read(self.uncut.next()).await {
                // The brokers have removed records since the last read.
                Err(error) if error.is_out_of_range() => {
                    let (first, _) = self.connection.bounds().await?;
                    let removed = first - self.uncut.next();
                    if removed <= 0 {
                        return Err(error.into());
                    }
                    self.report.removed += removed.cast_unsigned();
                    self.uncut.skip(first - 1);
                    continue;
                }
                read => read?.0,
            };
            empty_reads = if read.is_empty() { empty_reads + 1 } else { 0 };
            if empty_reads > EMPTY_READS {
                return Err(LogError::Timeout.into());
            }
            for record in read {
                let is_next = (self.uncut.next()..self.report.end).contains(&record.offset);
                if is_next {
                    self.add(record.offset, RowsRecord::read(record.record));
                }
                if self.uncut.rows() >= MAX_ROWS || self.uncut.bytes() >= MAX_BYTES {
                    self.give(take)?;
                }
            }
        }
        self.give(take)?;
        Ok(self.report)
    }

    fn add(&mut self, offset: i64, read: Result<RowsRecord, Unreadable>) {
        let report = &mut self.report;
        let layout = match &read {
            Ok(read) => self.layouts.get(read.layout(), &self.own),
            Err(Unreadable::Damaged) => None,
            Err(Unreadable::Version(_)) => {
                report.later += 1;
                return self.uncut.skip(offset);
            }
        };
        let (Ok(read), Some(layout)) = (read, layout) else {
            report.damaged += 1;
            return self.uncut.skip(offset);
        };
        if self.uncut.is_copy(&read) {
            report.copies += 1;
            return self.uncut.skip(offset);
        }
        report.records += 1;
        report.rows += read.rows() as u64;
        report.bytes += read.bytes() as u64;
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(read.at_ms).unwrap_or(0));
        report.oldest = Some(report.oldest.map_or(at, |oldest| oldest.min(at)));
        self.uncut.push(offset, layout, read);
    }

    /// Gives the rows that were read to the caller.
    fn give(&mut self, take: &mut impl FnMut(LogRows<'_>) -> io::Result<()>) -> Result<(), LogInspectError> {
        let cut = self.uncut.propose();
        for LogBlock {
            layout,
            first,
            last,
            rows,
            ..
        } in self.uncut.take(&cut)
        {
            let rows = LogRows {
                table: &layout.table,
                partition: self.report.partition,
                first,
                last,
                statement: &layout.statement,
                rows: &rows.bytes,
            };
            take(rows).map_err(|error| LogInspectError(Reason::Output(error)))?;
        }
        Ok(())
    }
}

/// Returns the last record of each producer before a position, from the cut that ends there; `None`
/// if the brokers do not have the cut any more.
async fn sequences_at(log: &Log, topic: &str, partition: i32, at: Position) -> Option<Sequences> {
    let control = log.partition(log.url.control_topic(), 0).await.ok()?;
    let (records, _) = control.read(at.control_offset).await.ok()?;
    let found = records.iter().find(|record| record.offset == at.control_offset)?;
    match Control::read(&found.record)? {
        Control::Cut {
            topic: of_topic,
            partition: of_partition,
            cut,
        } if of_topic == topic && of_partition == partition && cut.end == at.position => Some(cut.sequences),
        _ => None,
    }
}
