//! Append: the rows of a table's queue become records of the table's topic.
//!
//! Each table has one task. It appends one record at a time to one partition and waits until all
//! in-sync replicas have it; the rows that arrive meanwhile are the next record. A record that may
//! not have arrived is appended again with the same sequence, until the brokers confirm it.

use std::{collections::VecDeque, mem, ops::Range, sync::Arc};

use tokio::time::sleep;
use uuid::Uuid;

use super::{
    client::{Log, LogError, Partition, now},
    record::{RowsOf, encode},
};
use crate::{
    block::{content::BlockRows, parts::Part, sealed::SealedBlock},
    spool::{Next, Outcome, Parked, TableReader},
    store::{Class, backoff::RETRY, failure_log::FailureLog},
};

/// The maximum length of the rows of one record; a single row may be longer. The brokers' default
/// limit (`message.max.bytes`) is 1 MiB, with the frames and the batch around them.
pub(super) const MAX_RECORD_BYTES: usize = 768 << 10;

/// The appends of one table.
#[derive(Debug)]
pub(super) struct TableAppender {
    log: Arc<Log>,
    reader: TableReader,
    topic: String,
    /// This process.
    producer: Uuid,
    /// The partitions of the topic, once they are known, and the next sequence of each.
    partitions: Vec<Target>,
    /// The partition of the next block.
    next: usize,
    /// Whether the queue refuses rows that wait for the log, since the last append has failed.
    is_failing: bool,
    failure_log: FailureLog,
}

/// A partition to which records are appended.
#[derive(Debug)]
struct Target {
    partition: i32,
    next_sequence: u64,
    /// `None` before the first record, and after a failure.
    connection: Option<Partition>,
}

impl TableAppender {
    pub(super) fn new(log: Arc<Log>, reader: TableReader, producer: Uuid) -> Self {
        let topic = log.url.topic_of(&reader.layout().table);
        Self {
            log,
            reader,
            topic,
            producer,
            partitions: Vec::new(),
            next: fastrand::usize(..),
            is_failing: false,
            failure_log: FailureLog::default(),
        }
    }

    /// Appends the rows of the queue until the spool is closed and the queue is empty.
    pub(super) async fn run(mut self) {
        while let Next::Rows(block, part) = self.reader.next_block(Parked::NONE).await {
            self.append(&block, &part).await;
        }
        self.reader.finish();
    }

    /// Appends the rows of a block, all to one partition.
    async fn append(&mut self, block: &Arc<SealedBlock>, part: &Part) {
        let Some(content) = block.state().content.as_ref().map(|content| content.select(part)) else {
            return self.reader.settle(block, part, Outcome::Lost);
        };
        self.next = self.next.wrapping_add(1);
        let first = part.bounds().start;
        let mut waiting = VecDeque::from(chunks(&content, MAX_RECORD_BYTES));
        while let Some(rows) = waiting.pop_front() {
            let Some(outcome) = self.append_rows(block, &content, rows.clone()).await else {
                let middle = rows.start + rows.len() as u32 / 2;
                waiting.push_front(middle..rows.end);
                waiting.push_front(rows.start..middle);
                continue;
            };
            let rows = Part::from(first + rows.start..first + rows.end);
            self.reader.settle(block, &rows, outcome);
        }
    }

    /// Appends rows as one record, until the brokers confirm it. Returns `None` if the record is
    /// longer than they accept and has more than one row.
    async fn append_rows(
        &mut self,
        block: &Arc<SealedBlock>,
        content: &BlockRows,
        rows: Range<u32>,
    ) -> Option<Outcome> {
        let mut failures = 0;
        loop {
            let error = match self.try_append(block, content, rows.clone()).await {
                Ok(()) => {
                    self.recover(block);
                    return Some(Outcome::Logged);
                }
                Err(error) => error,
            };
            if error.is_too_large() {
                // The brokers have answered.
                self.recover(block);
                if rows.len() > 1 {
                    return None;
                }
                tracing::error!(
                    table = %block.layout.table, block = %block.id, row = rows.start,
                    "a row is longer than the brokers accept, and is lost: raise `max.message.bytes` of the topic"
                );
                return Some(Outcome::Lost);
            }
            failures += 1;
            self.is_failing = true;
            self.reader.set_failing(true);
            if let Some(is_recent) = self.failure_log.due(Class::Retry) {
                let table = &block.layout.table;
                if is_recent {
                    tracing::warn!(%table, log = %self.log.url, %error, "rows cannot be appended to the shared log and will be retried");
                } else {
                    tracing::error!(%table, log = %self.log.url, %error, "rows cannot be appended to the shared log for minutes");
                }
            }
            sleep(RETRY.wait(failures)).await;
        }
    }

    /// Lets the queue accept rows that wait for the log again, after the brokers have answered.
    fn recover(&mut self, block: &SealedBlock) {
        if mem::take(&mut self.is_failing) {
            tracing::info!(table = %block.layout.table, "the shared log accepts rows again");
            self.failure_log = FailureLog::default();
            self.reader.set_failing(false);
        }
    }

    async fn try_append(&mut self, block: &SealedBlock, content: &BlockRows, rows: Range<u32>) -> Result<(), LogError> {
        if self.partitions.is_empty() {
            let found = self.log.partitions_of(&self.topic, None).await?;
            self.partitions = found.into_iter().map(Target::new).collect();
        }
        let index = self.next % self.partitions.len().max(1);
        let Some(target) = self.partitions.get_mut(index) else {
            return Err(LogError::Timeout);
        };
        let connection = match target.connection.take() {
            Some(connection) => connection,
            None => self.log.partition(&self.topic, target.partition).await?,
        };
        let rows = RowsOf {
            layout: &block.layout,
            block: block.id,
            content,
            rows,
        };
        let record = encode(&rows, self.producer, target.next_sequence, now());
        // After an error, the connection is not used again: it may still wait for the broker.
        connection.append(record).await?;
        target.next_sequence += 1;
        target.connection = Some(connection);
        Ok(())
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
}
