//! The status of a writer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::timeout;

use super::Writer;
use crate::{
    lease::NodeStatus,
    spool::TableCounts,
    sync::{
        SyncError,
        state::{SchemaState, State},
    },
    writer::rejection_counts::RejectionCounts,
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
    /// The length of the spool's segments, in bytes.
    pub disk_bytes: u64,
    /// The memory that waiting rows and requests in flight take, in bytes.
    pub memory_bytes: usize,
    /// The part of `memory_bytes` that requests in flight take: bodies that have not arrived in
    /// full, and the rows of a request of many events until all of them are decoded.
    pub request_bytes: usize,
}

impl WriterStatus {
    /// Returns the counters of the table `name`; `None` if the writer has no such table.
    pub fn table(&self, name: &str) -> Option<&TableCounts> {
        self.tables.iter().find(|counts| *counts.table == *name)
    }
}

impl Writer {
    /// Returns the writer's status. Each call copies the counters of all tables, so call it for a
    /// probe or a scrape, not for each event.
    ///
    /// ```
    /// use rowmill_ingest::{Writer, schema::SchemaState};
    ///
    /// /// Returns whether a load balancer should send events here. Rows wait for ClickHouse, so
    /// /// its state does not matter.
    /// fn is_ready(writer: &Writer) -> bool {
    ///     !writer.status().is_nearly_full
    /// }
    ///
    /// /// Returns whether the tables in ClickHouse match the schema.
    /// fn has_tables(writer: &Writer) -> bool {
    ///     writer.status().schema == SchemaState::Ready
    /// }
    /// ```
    pub fn status(&self) -> WriterStatus {
        let spool = &self.shared.spool;
        let is_disk_failing = spool.is_failing();
        WriterStatus {
            schema: self.schema_state(),
            tables: self.counters(),
            rejections: self.shared.rejections.counts(),
            payloads_cut: self.shared.payload_rate.cut(),
            unknown_keys: self.shared.unknown_keys.counts(),
            node: NodeStatus {
                node: self.shared.ids.base().node(),
                clashes: self.shared.lease.borrow().clashes,
            },
            is_nearly_full: spool.is_nearly_full() || is_disk_failing,
            has_disk: spool.has_disk(),
            is_disk_failing,
            damaged_parts: spool.damaged_parts(),
            differing_defaults: self.differing_defaults(),
            disk_bytes: spool.disk_bytes(),
            memory_bytes: spool.memory_bytes(),
            request_bytes: self.request_memory().used(),
        }
    }

    /// Waits until a server's tables match the schema and ids have a node number, or every server
    /// has failed, or `max_wait` has elapsed. Rows are accepted throughout and afterwards, and sent
    /// to the first server that becomes ready.
    ///
    /// # Errors
    ///
    /// No server is ready, and at least one has responded: the database and the schema differ, or
    /// ClickHouse refuses to create the missing parts.
    pub async fn synced(&self, max_wait: Duration) -> Result<SchemaState, Arc<SyncError>> {
        let mut states = self.shared.states.clone();
        let is_decided = |states: &Vec<State>| {
            let is_known = |state: &State| !matches!(state, State::Unknown);
            states.iter().any(|state| matches!(state, State::Ready(_))) || states.iter().all(is_known)
        };
        let mut lease = self.shared.lease.clone();
        let all_decided = async {
            _ = states.wait_for(is_decided).await;
            if self.schema_state() == SchemaState::Ready {
                _ = lease.wait_for(|lease| lease.is_settled).await;
            }
        };
        // After a timeout, return the state known so far.
        _ = timeout(max_wait, all_decided).await;
        let state = self.schema_state();
        let refusal = states.borrow().iter().find_map(|state| match state {
            State::Rejected(error) => Some(Arc::clone(error)),
            _ => None,
        });
        match refusal.filter(|_| state == SchemaState::Rejected) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    pub(crate) fn counters(&self) -> Vec<TableCounts> {
        self.shared.spool.counts()
    }

    /// Returns the number of columns whose constant DEFAULT differs, on the server with the most.
    fn differing_defaults(&self) -> u64 {
        let states = self.shared.states.borrow();
        let counts = states.iter().map(|state| match state {
            State::Ready(connection) => connection.differing_defaults.load(Ordering::Relaxed),
            _ => 0,
        });
        counts.max().unwrap_or_default()
    }

    pub(super) fn schema_state(&self) -> SchemaState {
        let states = self.shared.states.borrow();
        let is_any = |is_match: fn(&State) -> bool| states.iter().any(is_match);
        if is_any(|state| matches!(state, State::Ready(_))) {
            SchemaState::Ready
        } else if is_any(|state| matches!(state, State::Rejected(_))) {
            SchemaState::Rejected
        } else {
            SchemaState::Unreachable
        }
    }
}
