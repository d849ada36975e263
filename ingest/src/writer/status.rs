//! The status of a writer.

use std::sync::Arc;

use crate::{
    archive::ArchiveStatus,
    idempotency::KeyCounts,
    kafka::PartitionLag,
    lease::NodeStatus,
    spool::TableCounts,
    sync::state::SchemaState,
    topics::TopicsStatus,
    writer::{left_out_counts::LeftOutCounts, rejection_counts::RejectionCounts, unverified_counts::UnverifiedCount},
};

/// The status of a writer at one moment, from [`Writer::status`](crate::Writer::status): what a
/// readiness probe and metrics report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterStatus {
    /// Whether the tables are ready for rows.
    pub schema: SchemaState,
    /// The counters of each table's rows: first the schema's tables, then the dead letters, then
    /// tables that are no longer in the schema, but for which an earlier process left rows.
    pub tables: Vec<TableCounts>,
    /// The rejections of this writer's layers since the start, by reason.
    pub rejections: RejectionCounts,
    /// The number of dead letters since the start that kept only the start of their payload, because
    /// of [`WriterOptions::rejected_bytes_per_second`](crate::WriterOptions::rejected_bytes_per_second).
    pub payloads_cut: u64,
    /// The number of keys of events that no column reads, for each table of the schema. Tables whose
    /// schema does not count them have 0.
    pub unknown_keys: Vec<(&'static str, u64)>,
    /// The requests that are not from the sender of their route, for each verified route and reason.
    pub unverified: Vec<UnverifiedCount>,
    /// The events that their routes leave out by `automated: drop` and `without_consent: drop`.
    pub left_out: LeftOutCounts,
    /// The node number of this writer's ids, and whether another process has it, too.
    pub node: NodeStatus,
    /// Whether the capacity for waiting rows is nearly used up, or the disk fails: the moment to
    /// divert traffic at a load balancer.
    pub is_nearly_full: bool,
    /// Whether rows are on disk as well as in memory.
    pub has_disk: bool,
    /// Whether the last write to the spool failed.
    pub is_disk_failing: bool,
    /// The number of damaged parts of the spool that were found since the start. Their segments are
    /// kept under another name.
    pub damaged_parts: u64,
    /// The number of columns whose constant DEFAULT in the schema, which the rows have, differs from
    /// the table's.
    pub differing_defaults: u64,
    /// The URLs of ClickHouse whose last inserts have failed.
    pub failing_servers: Vec<FailingServer>,
    /// The length of the spool's segments, in bytes.
    pub disk_bytes: u64,
    /// The memory that waiting rows and requests in flight take, in bytes.
    pub memory_bytes: usize,
    /// The part of `memory_bytes` that requests in flight take: bodies that have not arrived in
    /// full, and the rows of a request of many events until all of them are decoded.
    pub request_bytes: usize,
    /// The idempotency keys, of routes that have them.
    pub idempotency: KeyCounts,
    /// The archive of the rows, if there is one.
    pub archive: Option<ArchiveStatus>,
    /// The topics of the rows, if there are any.
    pub topics: Option<TopicsStatus>,
    /// The lag of each partition of a shared log that this writer delivers now.
    pub log_lag: Vec<PartitionLag>,
}

/// A URL of ClickHouse whose last inserts have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailingServer {
    /// The URL, without credentials.
    pub url: String,
    /// The number of inserts that have failed in a row.
    pub failures: u64,
    /// The name of the server that has answered last: behind a balancer, one of several.
    pub server: Option<Arc<str>>,
}

impl WriterStatus {
    /// Returns the status of a process whose writer appends rows to a shared log, and whose other
    /// writer has the status `delivery` and stores the rows of this log, which other processes may
    /// have appended. Rows count as inserted once they are in their table. Whether events are
    /// accepted depends on the first writer alone.
    ///
    /// ```
    /// use rowmill_ingest::{Writer, writer::WriterStatus};
    ///
    /// fn status(collector: &Writer, deliverer: &Writer) -> WriterStatus {
    ///     collector.status().with_delivery(deliverer.status())
    /// }
    /// ```
    #[must_use]
    pub fn with_delivery(mut self, delivery: Self) -> Self {
        for counts in delivery.tables {
            match self.tables.iter_mut().find(|own| own.table == counts.table) {
                Some(own) => own.add_delivery(&counts),
                None => self.tables.push(counts),
            }
        }
        if self.schema == SchemaState::Ready {
            self.schema = delivery.schema;
        }
        self.memory_bytes += delivery.memory_bytes;
        self.log_lag = delivery.log_lag;
        self
    }

    /// Returns the counters of the table `name`; `None` if the writer has no such table.
    ///
    /// ```
    /// use rowmill_ingest::Writer;
    ///
    /// fn waiting(writer: &Writer, table: &str) -> u64 {
    ///     writer.status().table(table).map_or(0, |counts| counts.rows_pending)
    /// }
    /// ```
    pub fn table(&self, name: &str) -> Option<&TableCounts> {
        self.tables.iter().find(|counts| *counts.table == *name)
    }
}
