//! The writer: the one handle through which rows go to ClickHouse.
//!
//! Takes encoded rows and dead letters, appends them to the spool and runs its deliveries.
//! [`Writer::append`] is synchronous and takes as long as the encoding; all slow work runs in the
//! background. ClickHouse need not be available yet: blocks wait for it.
//!
//! ```text
//! start               the spool, the ids, and the tasks in the background
//! once                rows with idempotency keys
//! hand_over           the handover of rows to another collector, and from one
//! replay              rows of an archive
//! consumers           the archive and the topics of the rows
//! options             the limits and the intervals of a writer
//! schema_state        whether the servers' tables match the schema
//! drain               the end of the deliveries and of the consumers
//! drain_report        the rows that a drain could not deliver
//! insert_error        the reasons to reject a typed row
//! left_out_counts     events that a route leaves out by its options
//! payload_rate        how much of its payload a dead letter keeps
//! rejection_counts    rejections by reason
//! unknown_key_counts  keys of events that no column reads
//! unverified_counts   requests that are not from the sender of their route
//! status              the state of the schema, the tables and the spool
//! ```

use std::{
    ptr,
    sync::{Arc, Weak},
    thread,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, watch},
    task::JoinSet,
};

pub use self::{
    drain_report::DrainReport,
    hand_over::{IncomingPackage, hand_over_folder},
    insert_error::InsertError,
    left_out_counts::LeftOutCounts,
    options::{ClusterInserts, WriterOptions},
    rejection_counts::RejectionCounts,
    replay::{ReplayError, ReplayReport, RowsWithoutIds, replay},
    status::{FailingServer, WriterStatus},
    unverified_counts::UnverifiedCount,
};
use crate::{
    ack::Ack,
    block::{content::BlockRows, rows::RowBatch},
    budget::RequestMemory,
    deliver::run::StopAfter,
    ids::IdGenerator,
    kafka::Lags,
    lease,
    spool::{Appender, Spool},
    sync::state::State,
    table::{Schema, Table, dead_letter::REJECTED},
    writer::{
        consumers::{ConsumerReaders, Consumers},
        left_out_counts::LeftOutCounters,
        payload_rate::PayloadRate,
        rejection_counts::RejectionCounters,
        unknown_key_counts::UnknownKeyCounters,
        unverified_counts::UnverifiedCounters,
    },
};
/// The types in the signatures of a writer's methods and options.
pub use crate::{
    block::receipt::Receipt, budget::SpoolFull, deliver::ColumnChanges, idempotency::KeyCounts, lease::NodeStatus,
    spool::TableCounts, table::dead_letter::DeadLetter,
};

/// The handle through which rows go into the tables of one schema. Clones share the same writer.
///
/// After the last handle is dropped, pending rows are still delivered as long as the runtime lives,
/// but only [`drain`](Self::drain) waits for them.
///
/// ```no_run
/// use std::{path::Path, time::Duration};
///
/// # use embedder::tables; // what `include_tables!` includes
/// use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// let options = WriterOptions::default();
/// let writer = Writer::open(&tables::SCHEMA, clickhouse, &options, Path::new("data/spool"))?;
/// writer.synced(Duration::from_secs(10)).await?;
///
/// let visit = tables::Visits { uid: 7, ..Default::default() };
/// writer.insert(&visit, Ack::Accepted)?;
///
/// let report = writer.drain(Duration::from_secs(30)).await;
/// println!("{} rows stay in the spool", report.rows_left());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Spool,
    appender: Appender,
    schema: &'static Schema,
    /// The schema state of each server.
    states: watch::Receiver<Vec<State>>,
    /// Counts the rejections of this writer's layers.
    rejections: RejectionCounters,
    payload_rate: PayloadRate,
    /// Counts the keys of events that no column reads.
    unknown_keys: UnknownKeyCounters,
    /// Counts the requests that are not from the sender of their route.
    unverified: UnverifiedCounters,
    /// Counts the events that their routes leave out.
    left_out: LeftOutCounters,
    /// The runtime of the deliveries.
    runtime: Handle,
    ids: Arc<IdGenerator>,
    lease: watch::Receiver<lease::Progress>,
    /// Whether the clusters of Distributed tables have been read.
    shards: watch::Receiver<bool>,
    consumers: ConsumerReaders,
    /// The partitions of a shared log that this writer delivers.
    lags: Lags,
    work: Mutex<Work>,
}

/// The background work of a writer.
#[derive(Debug)]
struct Work {
    deliveries: JoinSet<()>,
    /// The tasks that sync the servers' tables with the schema, and keep the node number.
    syncs: JoinSet<()>,
    /// The thread that writes the spool's log, if there is one.
    log: Option<thread::JoinHandle<()>>,
    /// Stops the log with the last delivery, unless somebody holds it.
    stop_log: Weak<StopAfter>,
    consumers: Consumers,
}

impl Writer {
    /// Accepts one row of `table`, a table of this writer's schema. `encode` appends the row in the
    /// table's format, and nothing more; if it panics, only this row is lost. The receipt lets the
    /// caller wait for `ack`.
    ///
    /// # Errors
    ///
    /// [`SpoolFull`]: too many rows wait for ClickHouse, `ack` requires a disk that fails, or the
    /// writer is draining.
    ///
    /// # Panics
    ///
    /// If the table belongs to another schema.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::{Ack, Writer, value::Encode};
    ///
    /// /// Writes a row of a table that has one column, a UInt64.
    /// async fn count(writer: &Writer, n: u64) -> Result<(), Box<dyn std::error::Error>> {
    ///     let table = writer.schema().tables[0];
    ///     writer.append(table, Ack::Stored, |row| n.put(row))?.reached().await;
    ///     Ok(())
    /// }
    /// ```
    pub fn append(
        &self,
        table: &'static Table,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receipt, SpoolFull> {
        self.shared.appender.append(self.shared.spool.id_of(table), ack, encode)
    }

    /// Accepts rows of one table into one block: all of them, or none. May leave `rows` empty.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    ///
    /// # Panics
    ///
    /// As [`append`](Self::append).
    pub(crate) fn append_rows(&self, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
        match rows.table() {
            Some(table) => {
                let id = self.shared.spool.id_of(table);
                let unknown_keys = rows.take_unknown_keys();
                let receipt = self.shared.appender.append_rows(id, ack, rows)?;
                if unknown_keys > 0 {
                    self.count_unknown_keys(table, unknown_keys);
                }
                Ok(receipt)
            }
            None => Ok(Receipt::NONE),
        }
    }

    /// Counts keys of events that no column of the table reads.
    #[cold]
    pub(crate) fn count_unknown_keys(&self, table: &'static Table, count: u64) {
        self.shared.unknown_keys.add(table, count);
    }

    /// Returns whether `table` is one of the writer's schema.
    pub(crate) fn has_table(&self, table: &'static Table) -> bool {
        let known = self.shared.schema.tables.get(table.index);
        known.is_some_and(|known| ptr::eq(*known, table))
    }

    /// Accepts an event that could not become a row, with at most
    /// [`WriterOptions::rejected_payload_bytes`] of its payload, at the rate of
    /// [`WriterOptions::rejected_bytes_per_second`].
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); dead letters take at most an eighth of the memory and of the
    /// disk.
    pub(crate) fn reject(&self, dead_letter: &DeadLetter<'_>, ack: Ack) -> Result<Receipt, SpoolFull> {
        let max_payload_bytes = self.payload_bytes_to_keep(dead_letter.payload.len());
        self.append(&REJECTED, ack, |out| dead_letter.encode(max_payload_bytes, out))
    }

    /// Returns the runtime for work that event loops do not wait for.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    /// Returns how many bytes a dead letter keeps of a payload of `length` bytes.
    pub(crate) fn payload_bytes_to_keep(&self, length: usize) -> usize {
        self.shared.payload_rate.keep(length)
    }

    /// Declares that this thread's event loop is idle, so that one `fdatasync` serves all rows that
    /// it has appended meanwhile.
    ///
    /// Without this call, each row that a response waits for is written as soon as the disk is
    /// free. A thread that has made this call once is expected to make it before each wait: its
    /// rows are then written at the next call, or a millisecond later at the latest. The method is
    /// intended for tokio's [`on_thread_park`](tokio::runtime::Builder::on_thread_park).
    ///
    /// ```
    /// use std::{io, sync::OnceLock};
    ///
    /// use rowmill_ingest::Writer;
    /// use tokio::runtime::{Builder, Runtime};
    ///
    /// static WRITER: OnceLock<Writer> = OnceLock::new();
    ///
    /// fn runtime() -> io::Result<Runtime> {
    ///     let park = || {
    ///         if let Some(writer) = WRITER.get() {
    ///             writer.flush_on_park();
    ///         }
    ///     };
    ///     Builder::new_multi_thread().enable_all().on_thread_park(park).build()
    /// }
    /// ```
    pub fn flush_on_park(&self) {
        self.shared.spool.on_idle();
    }

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
            unverified: self.shared.unverified.counts(),
            left_out: self.shared.left_out.counts(),
            node: NodeStatus {
                node: self.shared.ids.base().node(),
                clashes: self.shared.lease.borrow().clashes,
            },
            is_nearly_full: spool.is_nearly_full() || is_disk_failing,
            has_disk: spool.has_disk(),
            is_disk_failing,
            damaged_parts: spool.damaged_parts(),
            differing_defaults: self.differing_defaults(),
            failing_servers: self.failing_servers(),
            disk_bytes: spool.disk_bytes(),
            memory_bytes: spool.memory_bytes(),
            request_bytes: self.request_memory().used(),
            idempotency: self.keys().counts(),
            archive: self.shared.consumers.archive(),
            topics: self.shared.consumers.topics(),
            log_lag: self.shared.lags.read(),
        }
    }

    pub(crate) fn request_memory(&self) -> &Arc<RequestMemory> {
        self.shared.spool.requests()
    }

    /// Returns the rows of a table that wait in memory.
    pub(crate) fn rows_in_memory(&self, table: &Table) -> Vec<BlockRows> {
        self.shared.spool.rows_in_memory(table)
    }

    pub(crate) fn counters(&self) -> Vec<TableCounts> {
        self.shared.spool.counts()
    }

    /// Returns whether less than a sixteenth of the memory or of the disk is free for rows.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.shared.spool.is_nearly_full()
    }

    /// Returns the memory of the rows that are in memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let requests = self.request_memory().used();
        self.shared.spool.memory_bytes().saturating_sub(requests)
    }

    /// Seals the open blocks that a backlog lets grow longer than usual.
    pub(crate) fn seal_long_blocks(&self) {
        self.shared.appender.seal_long_blocks();
    }

    /// Returns whether rows are written to disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.shared.spool.has_disk()
    }

    /// Returns whether the writer accepts no rows any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.spool.is_closed()
    }

    /// Returns the writer's schema.
    ///
    /// ```
    /// use rowmill_ingest::Writer;
    ///
    /// fn tables(writer: &Writer) -> Vec<&'static str> {
    ///     writer.schema().tables.iter().map(|table| table.name).collect()
    /// }
    /// ```
    pub fn schema(&self) -> &'static Schema {
        self.shared.schema
    }

    /// Returns the id generator of all layers of this writer.
    pub(crate) fn ids(&self) -> &IdGenerator {
        &self.shared.ids
    }

    pub(crate) fn rejections(&self) -> &RejectionCounters {
        &self.shared.rejections
    }

    pub(crate) fn unverified(&self) -> &UnverifiedCounters {
        &self.shared.unverified
    }

    pub(crate) fn left_out(&self) -> &LeftOutCounters {
        &self.shared.left_out
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.spool.close();
        let work = self.work.get_mut();
        work.deliveries.detach_all();
        // These tasks end with the deliveries at the latest.
        work.syncs.detach_all();
    }
}

mod consumers;
mod drain;
mod drain_report;
mod hand_over;
mod insert_error;
mod left_out_counts;
pub(crate) mod once;
mod options;
mod payload_rate;
mod rejection_counts;
mod replay;
mod schema_state;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod unknown_key_counts;
mod unverified_counts;
