//! Counts of the fan-out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What the topics have, and what waits for them, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicsStatus {
    /// The topic of each table.
    pub tables: Vec<TopicStatus>,
    /// The length of the segments that are kept for the topics, in bytes. The newest segment stays.
    pub pending_bytes: u64,
    /// The part of `pending_bytes` that ClickHouse does not need: it has these rows.
    pub only_bytes: u64,
    /// The length of the segments and frames since the start that did not reach their topics, in
    /// bytes: they were given up, or the disk cannot read them.
    pub dropped_bytes: u64,
}

impl TopicsStatus {
    /// Returns whether the last messages of a table failed.
    pub fn is_failing(&self) -> bool {
        self.tables.iter().any(|table| table.is_failing)
    }
}

/// What the topic of a table has, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// The table.
    pub table: Arc<str>,
    /// Rows that were sent since the start, each as one message.
    pub rows: u64,
    /// The length of these messages, in bytes, before a compression by the brokers.
    pub bytes: u64,
    /// Batches that failed and were, or will be, sent again.
    pub failures: u64,
    /// Rows since the start that did not reach the topic: their messages are longer than the brokers
    /// accept, or their bytes are not those of the columns.
    pub dropped_rows: u64,
    /// The age of the oldest row that waits, in seconds.
    pub oldest_seconds: u64,
    /// Whether the last batch failed.
    pub is_failing: bool,
}

/// The counts of all tables, as the fan-out changes them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) tables: Vec<Arc<TableCounts>>,
    pub(super) pending_bytes: AtomicU64,
    pub(super) only_bytes: AtomicU64,
    pub(super) dropped_bytes: AtomicU64,
}

/// The counts of a table.
#[derive(Debug)]
pub(super) struct TableCounts {
    pub(super) table: Arc<str>,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) dropped_rows: AtomicU64,
    pub(super) oldest_seconds: AtomicU64,
    pub(super) is_failing: AtomicBool,
}

impl TableCounts {
    pub(super) fn new(table: Arc<str>) -> Self {
        Self {
            table,
            rows: AtomicU64::default(),
            bytes: AtomicU64::default(),
            failures: AtomicU64::default(),
            dropped_rows: AtomicU64::default(),
            oldest_seconds: AtomicU64::default(),
            is_failing: AtomicBool::default(),
        }
    }

    fn status(&self) -> TopicStatus {
        TopicStatus {
            table: Arc::clone(&self.table),
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            failures: read(&self.failures),
            dropped_rows: read(&self.dropped_rows),
            oldest_seconds: read(&self.oldest_seconds),
            is_failing: self.is_failing.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    pub(super) fn status(&self) -> TopicsStatus {
        TopicsStatus {
            tables: self.tables.iter().map(|table| table.status()).collect(),
            pending_bytes: read(&self.pending_bytes),
            only_bytes: read(&self.only_bytes),
            dropped_bytes: read(&self.dropped_bytes),
        }
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
