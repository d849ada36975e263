//! Append: the rows of a table's queue become records of the table's topic.
//!
//! Each table has one task. It appends the rows of a block to one partition, or to those that the
//! key chooses, and waits until all in-sync replicas have them; the rows that arrive meanwhile are
//! the next block. A partition gets one record at a time. A record that may not have arrived is
//! appended again with the same sequence, until the brokers confirm it.

use std::{
    collections::VecDeque,
    mem,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    client::{Log, LogError, Partition, now},
    key::PartitionKey,
    record::{RowsOf, encode},
};
use crate::{
    block::{
        content::BlockRows,
        parts::{Part, ranges_of},
        sealed::SealedBlock,
    },
    spool::{Next, Outcome, Parked, TableReader},
    store::{Class, backoff::RETRY, failure_log::FailureLog},
    table::dead_letter::{DEFAULT_PAYLOAD_BYTES, DeadLetter},
};

/// The maximum length of the rows of one record; a single row may be longer. The brokers' default
/// limit (`message.max.bytes`) is 1 MiB, with the frames and the batch around them.
pub(super) const MAX_RECORD_BYTES: usize = 768 << 10;

/// The appends of one table.
#[derive(Debug)]
pub(super) struct TableAppender {
    queue: Queue,
    /// The column that chooses the partition of a row; without it, a block goes to one partition.
    key: Option<PartitionKey>,
    /// The partitions of the topic, once they are known.
    partitions: Vec<Target>,
    /// The partition of the next rows without a key.
    next: usize,
}

/// The queue of a table, whose rows the partitions of its topic share.
#[derive(Debug)]
struct Queue {
    log: Arc<Log>,
    reader: TableReader,
    topic: String,
    /// This process.
    producer: Uuid,
    failures: Mutex<Failures>,
}

/// The appends of a table that fail.
#[derive(Debug, Default)]
struct Failures {
    /// The number of partitions whose last append has failed. While it is not 0, the queue refuses
    /// rows that wait for the log.
    partitions: usize,
    log: FailureLog,
}

/// A partition to which records are appended.
#[derive(Debug)]
struct Target {
    partition: i32,
    next_sequence: u64,
    /// `None` before the first record, and after a failure.
    connection: Option<Partition>,
}

/// Rows of a block for one partition.
#[derive(Debug)]
struct PartitionRows {
    content: BlockRows,
    /// The numbers of the rows in their block.
    part: Part,
}

/// A record is longer than the brokers accept.
#[derive(Debug)]
struct TooLong;

/// A request that is repeated until the brokers answer.
#[derive(Debug, Default)]
struct Attempts {
    failures: u32,
}

impl TableAppender {
    /// Returns the appends of the table of `reader`, whose topic's partitions `key` chooses.
    pub(super) fn new(log: Arc<Log>, reader: TableReader, key: Option<PartitionKey>, producer: Uuid) -> Self {
        let topic = log.url.topic_of(&reader.layout().table);
        Self {
            queue: Queue {
                log,
                reader,
                topic,
                producer,
                failures: Mutex::default(),
            },
            key,
            partitions: Vec::new(),
            next: fastrand::usize(..),
        }
    }

    /// Appends the rows of the queue until the spool is closed and the queue is empty.
    pub(super) async fn run(mut self) {
        while let Next::Rows(block, part) = self.queue.reader.next_block(Parked::NONE).await {
            self.append(&block, &part).await;
        }
        self.queue.reader.finish();
    }

    /// Finds the partitions of the topic, or creates it, however long that fails.
    async fn find_partitions(&mut self) {
        let Queue { log, topic, .. } = &self.queue;
        let mut attempts = Attempts::default();
        while self.partitions.is_empty() {
            match log.partitions_of(topic, None).await {
                Ok(found) if !found.is_empty() => {
                    attempts.succeed(&self.queue);
                    self.partitions = found.into_iter().map(Target::new).collect();
                }
                // A topic without partitions is one that the broker does not know yet.
                Ok(_) => attempts.fail(&self.queue, &LogError::Timeout).await,
                Err(error) => attempts.fail(&self.queue, &error).await,
            }
        }
    }

    /// Appends the rows of a block. All of them are in the log when this function returns, so those
    /// of one key keep their order over blocks.
    async fn append(&mut self, block: &Arc<SealedBlock>, part: &Part) {
        let Some(content) = block.state().content.as_ref().map(|content| content.select(part)) else {
            return self.queue.reader.settle(block, part, Outcome::Lost);
        };
        self.find_partitions().await;
        self.next = self.next.wrapping_add(1);
        let count = self.partitions.len();
        let next = self.next % count.max(1);
        let rows = match &self.key {
            Some(key) => divide(&content, part, count, |row| key.partition(row, count).unwrap_or(next)),
            None => Vec::from([(
                next,
                PartitionRows {
                    content,
                    part: part.clone(),
                },
            )]),
        };
        let mut rows = rows.into_iter().peekable();
        let queue = &self.queue;
        let appends = self.partitions.iter_mut().enumerate().filter_map(|(index, target)| {
            let (_, rows) = rows.next_if(|(of, _)| *of == index)?;
            Some(target.append(queue, block, rows))
        });
        join_all(appends).await;
    }
}

impl Target {
    fn new(partition: i32) -> Self {
        Self {
            partition,
            next_sequence: 0,
            connection: None,
        }
    }

    /// Appends rows, in their order, as as many records as their length needs.
    async fn append(&mut self, queue: &Queue, block: &Arc<SealedBlock>, rows: PartitionRows) {
        let mut waiting = VecDeque::from(chunks(&rows.content, MAX_RECORD_BYTES));
        while let Some(range) = waiting.pop_front() {
            match self.append_rows(queue, block, &rows.content, range.clone()).await {
                Ok(()) => queue.reader.settle(block, &rows.numbers(range), Outcome::Logged),
                Err(TooLong) if range.len() > 1 => {
                    let middle = range.start + range.len() as u32 / 2;
                    waiting.push_front(middle..range.end);
                    waiting.push_front(range.start..middle);
                }
                Err(TooLong) => {
                    let part = rows.numbers(range.clone());
                    let row = rows.content.select(&range.into()).bytes;
                    queue.refuse(block, &part, &row).await;
                }
            }
        }
    }

    /// Appends rows as one record, until the brokers confirm it.
    ///
    /// # Errors
    /// The record is longer than the brokers accept.
    async fn append_rows(
        &mut self,
        queue: &Queue,
        block: &SealedBlock,
        content: &BlockRows,
        rows: Range<u32>,
    ) -> Result<(), TooLong> {
        let mut attempts = Attempts::default();
        loop {
            let error = match self.try_append(queue, block, content, rows.clone()).await {
                Ok(()) => {
                    attempts.succeed(queue);
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.is_too_large() {
                // The brokers have answered.
                attempts.succeed(queue);
                return Err(TooLong);
            }
            attempts.fail(queue, &error).await;
        }
    }

    async fn try_append(
        &mut self,
        queue: &Queue,
        block: &SealedBlock,
        content: &BlockRows,
        rows: Range<u32>,
    ) -> Result<(), LogError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => queue.log.partition(&queue.topic, self.partition).await?,
        };
        let rows = RowsOf {
            layout: &block.layout,
            block: block.id,
            content,
            rows,
        };
        let record = encode(&rows, queue.producer, self.next_sequence, now());
        // After an error, the connection is not used again: it may still wait for the broker.
        connection.append(record).await?;
        self.next_sequence += 1;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Queue {
    /// Turns the one row of a part, which no record can have, into a dead letter with the start of
    /// the row.
    async fn refuse(&self, block: &Arc<SealedBlock>, part: &Part, row: &[u8]) {
        let (number, bytes) = (part.bounds().start, row.len());
        tracing::error!(
            table = %block.layout.table, block = %block.id, row = number, bytes,
            "a row is longer than the brokers accept, and becomes a dead letter: raise `max.message.bytes` of the topic"
        );
        self.reader.mark_too_long(block, number, bytes);
        let reason = format!(
            "the row has {bytes} bytes, more than a record of the shared log may have (`max.message.bytes` of its topic)"
        );
        let dead_letter = DeadLetter {
            time: Timestamp::now(),
            id: block.id.as_u64_pair().1 ^ u64::from(number),
            service: "",
            name: "",
            table: block.layout.schema_table(),
            column: "",
            code: "log-too-large",
            reason: &reason,
            payload: row,
            ip: "",
        };
        let kept = self
            .reader
            .move_to_dead_letters(block, part, |out| dead_letter.encode(DEFAULT_PAYLOAD_BYTES, out));
        if kept.await.is_err() {
            tracing::error!(
                table = %block.layout.table, block = %block.id, row = number,
                "a row is lost: it is longer than the brokers accept, and has no dead letter"
            );
            self.reader.settle(block, part, Outcome::Lost);
        }
    }
}

impl PartitionRows {
    /// Returns the numbers in the block of a range of these rows.
    fn numbers(&self, range: Range<u32>) -> Part {
        if range.len() == self.content.ends.len() {
            return self.part.clone();
        }
        Part::of(ranges_of(self.part.rows().skip(range.start as usize).take(range.len())))
    }
}

impl Attempts {
    /// Records that the brokers have answered. The queue accepts rows that wait for the log again
    /// once they have answered for all partitions.
    fn succeed(&mut self, queue: &Queue) {
        if mem::take(&mut self.failures) == 0 {
            return;
        }
        let mut failing = queue.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failing.partitions -= 1;
        if failing.partitions == 0 {
            failing.log = FailureLog::default();
            tracing::info!(table = %queue.reader.layout().table, "the shared log accepts rows again");
            queue.reader.set_failing(false);
        }
    }

    /// Records a failure, which is logged once in a while, and waits before the next attempt.
    async fn fail(&mut self, queue: &Queue, error: &LogError) {
        self.failures += 1;
        let due = {
            let mut failing = queue.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failing.partitions += usize::from(self.failures == 1);
            queue.reader.set_failing(true);
            failing.log.due(Class::Retry)
        };
        if let Some(is_recent) = due {
            let (table, log) = (&queue.reader.layout().table, &queue.log.url);
            if is_recent {
                tracing::warn!(%table, %log, %error, "rows cannot be appended to the shared log and will be retried");
            } else {
                tracing::error!(%table, %log, %error, "rows cannot be appended to the shared log for minutes");
            }
        }
        sleep(RETRY.wait(self.failures)).await;
    }
}

/// Divides rows among `count` partitions, in their order. Returns the partitions that get rows, in
/// theirs.
fn divide(
    content: &BlockRows,
    part: &Part,
    count: usize,
    partition_of: impl Fn(&[u8]) -> usize,
) -> Vec<(usize, PartitionRows)> {
    let mut indexes = vec![Vec::new(); count];
    let mut start = 0;
    for (index, &end) in (0..).zip(&*content.ends) {
        indexes[partition_of(&content.bytes[start..end as usize])].push(index);
        start = end as usize;
    }
    let numbers: Vec<u32> = part.rows().collect();
    let of_partition = |indexes: Vec<u32>| PartitionRows {
        part: Part::of(ranges_of(indexes.iter().map(|index| numbers[*index as usize]))),
        content: content.select(&Part::of(ranges_of(indexes))),
    };
    let indexes = indexes.into_iter().enumerate();
    let with_rows = indexes.filter(|(_, indexes)| !indexes.is_empty());
    with_rows
        .map(|(partition, indexes)| (partition, of_partition(indexes)))
        .collect()
}

/// Divides rows into runs of at most `max_bytes`, and of at least one row.
fn chunks(content: &BlockRows, max_bytes: usize) -> Vec<Range<u32>> {
    let mut chunks = Vec::new();
    let (mut first, mut start) = (0, 0);
    while first < content.ends.len() {
        let fitting = content.ends[first..].partition_point(|&end| end as usize - start <= max_bytes);
        let end = first + fitting.max(1);
        chunks.push(first as u32..end as u32);
        start = content.ends[end - 1] as usize;
        first = end;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_divided_by_length_and_a_long_row_is_alone() {
        let content = |ends: &[u32]| BlockRows {
            bytes: vec![0; ends.last().copied().unwrap_or(0) as usize].into(),
            ends: ends.into(),
        };
        assert_eq!(chunks(&content(&[4, 8, 12, 30, 31]), 8), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(chunks(&content(&[]), 8), [0..0; 0]);
        assert_eq!(chunks(&content(&[8]), 8), [0..1]);
    }

    #[test]
    fn rows_are_divided_among_partitions_in_their_order() {
        let content = BlockRows {
            bytes: b"a1b1a2c1a3b2".as_slice().into(),
            ends: [2, 4, 6, 8, 10, 12].into(),
        };
        // The first rows of the block were appended before, and one in between.
        let part = Part::of(vec![3..5, 6..10]);
        let divided = divide(&content, &part, 4, |row| usize::from(row[0] - b'a'));
        let found: Vec<_> = divided
            .iter()
            .map(|(partition, rows)| (*partition, &*rows.content.bytes, rows.part.rows().collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            found,
            [
                (0, &b"a1a2a3"[..], vec![3, 6, 8]),
                (1, &b"b1b2"[..], vec![4, 9]),
                (2, &b"c1"[..], vec![7]),
            ]
        );
        let rows = &divided[0].1;
        assert_eq!(rows.numbers(0..3), rows.part);
        assert_eq!(rows.numbers(1..3).rows().collect::<Vec<_>>(), [6, 8]);
    }
}
