//! The replay of an archive into ClickHouse.

use std::{collections::VecDeque, error::Error, fmt, sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::{
    Writer, WriterOptions,
    start::{BackgroundWork, Flow, Ids},
};
use crate::{
    ack::Ack,
    archive::{ArchiveError, ArchiveFormat, ArchiveUrl, ArchivedObject, Selection},
    block::progress::{SharedProgress, WaitCondition},
    spool::{LogEnd, Spool, TableLayouts},
    store::servers::Servers,
    table::Schema,
};

/// The largest number of objects whose rows are on their way.
const MAX_OBJECTS: usize = 4;

/// The number of objects in a row that a store may fail to return.
const MAX_STORE_FAILURES: usize = 3;

/// The interval at which a replay looks whether memory is free.
const MEMORY_WAIT: Duration = Duration::from_millis(20);

/// What a replay has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Objects whose rows are all in their tables, or dead letters.
    pub objects: usize,
    /// Rows of these objects.
    pub rows: u64,
    /// Rows that a search has found in their tables: those that were there before, and those that this
    /// replay has sent and whose insert had not ended.
    pub rows_found: u64,
    /// Rows that ClickHouse has refused, which are dead letters.
    pub rows_refused: u64,
    /// Tables in the archive that the schema does not have, each with the number of rows left out.
    pub unknown_tables: Vec<(String, u64)>,
    /// Tables whose rows have no ids, each with the number of rows left out.
    pub without_ids: Vec<(String, u64)>,
    /// Tables that have objects of Parquet, each with their number. A replay does not read them.
    pub parquet: Vec<(String, u64)>,
    /// Objects that cannot be read, each with the reason. The replay has sent none of their rows.
    pub unreadable: Vec<(String, String)>,
    /// The first object that is not done, if the replay has ended early.
    pub stopped_at: Option<ArchivedObject>,
    /// Whether the replay has ended early because the store fails.
    pub is_store_away: bool,
}

/// How a replay treats rows of tables that have no ids of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsWithoutIds {
    /// They are left out: whether their table has them cannot be found out.
    LeaveOut,
    /// They are sent under their tokens, which a table knows for as long as its deduplication window
    /// lasts.
    SendByToken,
}

/// A replay cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The objects of the archive cannot be listed.
    Archive(ArchiveError),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
        }
    }
}

impl Error for ReplayError {}

impl From<ArchiveError> for ReplayError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// An object whose rows are on their way.
struct Sent {
    object: ArchivedObject,
    blocks: Vec<SentBlock>,
}

struct SentBlock {
    id: Uuid,
    progress: Arc<SharedProgress>,
    rows: u32,
}

impl Sent {
    /// Waits until the rows are in their tables, or in stored dead letters. Returns their number.
    async fn done(&self, spool: &Spool) -> u64 {
        let mut sum = 0;
        for block in &self.blocks {
            wait(&block.progress, block.rows).await;
            // They are only in memory before.
            for dead_letter in spool.dead_letters_of(block.id) {
                wait(&dead_letter, u32::MAX).await;
            }
            sum += u64::from(block.rows);
        }
        sum
    }
}

async fn wait(progress: &Arc<SharedProgress>, rows: u32) {
    let condition = WaitCondition {
        rows: 0..rows,
        ack: Ack::Stored,
        fail_fast: false,
    };
    progress.until(condition).await;
}

/// Inserts the rows of objects of an archive into their tables, and returns once all are stored, or
/// `deadline` completes. Calls `on_done` for each object whose rows are stored, with their number. Rows
/// that ClickHouse refuses are stored as dead letters.
///
/// An object that cannot be read is in the report, and the others are sent nevertheless. So are objects
/// of Parquet, which lack what a delivery needs. The replay ends early once the store fails to return three objects in a row.
///
/// The blocks are sent as they were first, under their own tokens, and after a lookup by the ids of
/// their rows. Rows that a table has are not stored again, so a replay can be repeated.
///
/// # Errors
/// The archive's objects cannot be listed.
///
/// # Panics
/// As [`Writer::start`].
#[allow(clippy::too_many_arguments, reason = "the parts of one command")]
pub async fn replay(
    schema: &'static Schema,
    servers: impl Into<Servers>,
    options: &WriterOptions,
    archive: &ArchiveUrl,
    selection: &Selection,
    without_ids: RowsWithoutIds,
    mut on_done: impl FnMut(&ArchivedObject, u64),
    deadline: impl Future<Output = ()>,
) -> Result<ReplayReport, ReplayError> {
    let objects = archive.objects(selection).await?;
    let spool = Spool::of_shared_log(TableLayouts::of(schema), options.limits(), LogEnd::Delivers);
    let ids = Ids::in_memory(options);
    let work = BackgroundWork::default();
    let writer = Writer::run(
        schema,
        spool.clone(),
        work,
        ids,
        servers.into(),
        options,
        &Flow::FromArchive,
    );
    let mut report = ReplayReport::default();
    let (parquet, objects): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| object.format == ArchiveFormat::Parquet);
    for object in parquet {
        count(&mut report.parquet, object.table, 1);
    }
    let mut deadline = std::pin::pin!(deadline);
    let mut sent: VecDeque<Sent> = VecDeque::new();
    let mut objects = objects.into_iter().peekable();
    // The last objects that the store has failed to return.
    let mut failed: Vec<ArchivedObject> = Vec::new();
    let mut is_over = false;
    loop {
        let is_room = sent.len() < MAX_OBJECTS && spool.memory_bytes() < options.memory_bytes / 2;
        if is_room && let Some(object) = objects.next() {
            let blocks = read(&spool, archive, &object, selection, without_ids, &mut report);
            let blocks = tokio::select! {
                blocks = blocks => blocks,
                () = deadline.as_mut() => {
                    report.stopped_at = sent.pop_front().map(|sent| sent.object).or(Some(object));
                    is_over = true;
                    break;
                }
            };
            match blocks {
                Ok(blocks) => {
                    failed.clear();
                    sent.push_back(Sent { object, blocks });
                }
                Err(error) => {
                    report.unreadable.push((object.name.clone(), error.reason().to_owned()));
                    match error.is_of_store() {
                        true => failed.push(object),
                        false => failed.clear(),
                    }
                }
            }
            if failed.len() == MAX_STORE_FAILURES {
                report.is_store_away = true;
                report.stopped_at = failed.drain(..).next();
                // The rows that are on their way are waited for.
                objects = Vec::new().into_iter().peekable();
            }
            continue;
        }
        let Some(oldest) = sent.front() else {
            if objects.peek().is_none() {
                break;
            }
            // Dead letters take the memory.
            sleep(MEMORY_WAIT).await;
            continue;
        };
        let rows = tokio::select! {
            rows = oldest.done(&spool) => rows,
            () = deadline.as_mut() => {
                report.stopped_at = sent.pop_front().map(|sent| sent.object);
                is_over = true;
                break;
            }
        };
        if let Some(Sent { object, .. }) = sent.pop_front() {
            report.objects += 1;
            report.rows += rows;
            on_done(&object, rows);
        }
    }
    let end = async {
        if !is_over {
            deadline.await;
        }
    };
    _ = writer.drain_until(end).await;
    for counts in writer.counters() {
        report.rows_found += counts.rows_found;
        report.rows_refused += counts.rows_refused;
    }
    Ok(report)
}

/// Reads an object, and gives its blocks to their deliveries.
async fn read(
    spool: &Spool,
    archive: &ArchiveUrl,
    object: &ArchivedObject,
    selection: &Selection,
    without_ids: RowsWithoutIds,
    report: &mut ReplayReport,
) -> Result<Vec<SentBlock>, ArchiveError> {
    let mut sent = Vec::new();
    for block in archive.blocks(object, selection).await? {
        let table = block.layout.table.to_string();
        let rows = block.rows.ends.len();
        if block.layout.row_id.is_none() && without_ids == RowsWithoutIds::LeaveOut {
            count(&mut report.without_ids, table, rows);
            continue;
        }
        let id = block.id;
        match spool.deliver(block.into_sealed()) {
            Some(progress) => sent.push(SentBlock {
                id,
                progress,
                rows: u32::try_from(rows).unwrap_or(u32::MAX),
            }),
            None => count(&mut report.unknown_tables, table, rows),
        }
    }
    Ok(sent)
}

/// Adds a number of rows or objects to that of a table.
fn count(tables: &mut Vec<(String, u64)>, table: String, number: usize) {
    match tables.iter_mut().find(|(name, _)| *name == table) {
        Some((_, sum)) => *sum += number as u64,
        None => tables.push((table, number as u64)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::SystemTime;

    use futures_util::poll;

    use super::*;
    use crate::{
        block::{content::BlockRows, layout::InsertTarget, parts::Part, sealed::SealedBlock},
        spool::Outcome,
        table::dead_letter::REJECTED,
    };

    fn object(name: &str) -> ArchivedObject {
        ArchivedObject {
            name: name.to_owned(),
            table: "a".to_owned(),
            format: ArchiveFormat::Blocks,
            first: SystemTime::UNIX_EPOCH,
            last: SystemTime::UNIX_EPOCH,
            bytes: 0,
        }
    }

    #[tokio::test]
    async fn an_object_is_done_once_its_dead_letters_are_stored() {
        let tables = TableLayouts {
            tables: Vec::new(),
            dead_letters: InsertTarget::of(&REJECTED),
        };
        let spool = Spool::of_shared_log(tables, WriterOptions::default().limits(), LogEnd::Delivers);
        let reader = &spool.readers()[0];
        let block = |id| {
            let rows = BlockRows {
                bytes: vec![1].into(),
                ends: [1].into(),
            };
            SealedBlock::from_shared_log(Arc::clone(reader.layout()), id, rows, true)
        };
        let id = Uuid::from_u128(7 << 76 | 5);
        let dead_letter = block(id).dead_letter_id(0).unwrap();
        let progress = spool.deliver(block(id)).unwrap();
        spool.deliver(block(dead_letter)).unwrap();
        let sent = Sent {
            object: object("a"),
            blocks: vec![SentBlock { id, progress, rows: 1 }],
        };
        let store = |id| reader.settle(&reader.block(id).unwrap(), &Part::from(0..1), Outcome::Stored);
        let mut done = Box::pin(sent.done(&spool));
        assert!(poll!(&mut done).is_pending());
        store(id);
        assert!(poll!(&mut done).is_pending());
        store(dead_letter);
        assert_eq!(done.await, 1);
    }
}
