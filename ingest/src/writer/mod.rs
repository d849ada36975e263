//! The writer: the one handle through which rows go to ClickHouse.
//!
//! Takes encoded rows and dead letters, appends them to the spool and runs its deliveries.
//! [`Writer::append`] is synchronous and takes as long as the encoding; all slow work runs in the
//! background. ClickHouse need not be available yet: blocks wait for it.

use std::{
    path::Path,
    ptr,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

pub use self::{
    drain_report::DrainReport, insert_error::InsertError, options::WriterOptions, rejection_counts::RejectionCounts,
    status::WriterStatus,
};
use crate::{
    ack::Ack,
    block::{layout::InsertTarget, rows::RowBatch},
    budget::RequestMemory,
    deliver::{
        Audit, Changes, Delivery,
        run::{StopAfter, run},
        servers::ActiveServer,
    },
    ids::{
        IdGenerator,
        id_file::{IdFile, Record},
    },
    lease,
    spool::{Appender, Spool, SpoolError, TableLayouts},
    store::servers::Servers,
    sync::{
        self, SyncError,
        state::{SchemaState, State},
    },
    table::{Schema, Table, dead_letter::REJECTED},
    writer::{payload_rate::PayloadRate, rejection_counts::RejectionCounters, unknown_key_counts::UnknownKeyCounters},
};
/// The types in the signatures of a writer's methods and options.
pub use crate::{
    block::receipt::Receipt, budget::SpoolFull, deliver::ColumnChanges, lease::NodeStatus, spool::TableCounts,
    table::dead_letter::DeadLetter,
};

/// The minimum delay of the audit's comparison. With a shorter delay, the audit would query without
/// a pause.
const MIN_AUDIT_AFTER: Duration = Duration::from_millis(10);

/// The ids of a writer that is about to run.
struct Ids {
    generator: IdGenerator,
    /// The generator's initial record.
    record: Record,
}

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
    /// The runtime of the deliveries.
    runtime: Handle,
    ids: Arc<IdGenerator>,
    lease: watch::Receiver<lease::Progress>,
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
}

impl Writer {
    /// Starts the deliveries of all tables of `schema`, and of the dead letters. Rows are only in
    /// memory, so a process that is killed loses those that ClickHouse has not confirmed.
    ///
    /// Options out of range are adjusted to the nearest sensible value.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime, or if [`WriterOptions::node`] is above 511.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use embedder::tables;
    /// use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
    ///
    /// # fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// // Two replicas; the writer uses one of them as long as it answers.
    /// let urls: [ClickHouseUrl; 2] = ["http://a:8123/stats".parse()?, "http://b:8123/stats".parse()?];
    /// let writer = Writer::start(&tables::SCHEMA, Servers::from_iter(urls), &WriterOptions::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(schema: &'static Schema, servers: impl Into<Servers>, options: &WriterOptions) -> Self {
        let spool = Spool::in_memory(layouts(schema), options.limits());
        let record = lease::first_record(options.base(), None);
        let ids = Ids {
            generator: IdGenerator::new(record.base),
            record,
        };
        Self::run(schema, spool, None, ids, servers.into(), options)
    }

    /// Starts a writer as [`start`](Self::start) does, with a spool in `folder`: rows are also on
    /// disk until ClickHouse has confirmed them, and rows that an earlier process left there are
    /// delivered first.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`]: another process holds the folder, or it cannot be read or written.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn open(
        schema: &'static Schema,
        servers: impl Into<Servers>,
        options: &WriterOptions,
        folder: &Path,
    ) -> Result<Self, SpoolError> {
        let base = options.base();
        let (spool, log) = Spool::open(folder, layouts(schema), options.limits())?;
        // This process holds the folder's lock, so no other process writes the file.
        let (file, earlier) = IdFile::open(folder).map_err(|error| {
            spool.stop();
            SpoolError::Io(folder.to_owned(), error)
        })?;
        let record = lease::first_record(base, earlier);
        let ids = Ids {
            generator: IdGenerator::with_file(file, record),
            record,
        };
        Ok(Self::run(schema, spool, Some(log), ids, servers.into(), options))
    }

    fn run(
        schema: &'static Schema,
        spool: Spool,
        log: Option<thread::JoinHandle<()>>,
        ids: Ids,
        servers: Servers,
        options: &WriterOptions,
    ) -> Self {
        let mut syncs = JoinSet::new();
        let quorum = options
            .insert_quorum
            .map(|quorum| quorum.settings(options.insert_timeout));
        let settings = quorum.unwrap_or_default();
        let states = sync::start(servers, schema, options.rejected_days, settings, &mut syncs);
        let generator = Arc::new(ids.generator);
        let lease = lease::start(
            Arc::clone(&generator),
            options.base(),
            ids.record,
            states.clone(),
            &mut syncs,
        );
        let audit_after = options.audit_after.map(|after| after.max(MIN_AUDIT_AFTER));
        let audit = audit_after.map(|after| Arc::new(Audit::new(spool.readers().len(), after)));
        if let Some(audit) = audit.clone() {
            let (servers, spool) = (ActiveServer::new(states.clone()), spool.clone());
            let timeout = options.insert_timeout;
            syncs.spawn(async move { audit.run(&servers, &spool, timeout).await });
        }
        let delivery = Delivery::new(
            ActiveServer::new(states.clone()),
            spool.clone(),
            options.inserts_in_flight,
            options.insert_timeout,
            Changes::new(options.column_changes.clone(), schema),
            audit,
        );
        // The log thread runs until the deliveries end.
        let delivery = Arc::new(StopAfter(delivery, spool.clone()));
        let mut deliveries = JoinSet::new();
        for reader in spool.readers() {
            deliveries.spawn(run(Arc::clone(&delivery), reader));
        }
        Self {
            shared: Arc::new(Shared {
                appender: spool.appender(),
                spool,
                schema,
                states,
                rejections: RejectionCounters::default(),
                payload_rate: PayloadRate::new(options.rejected_payload_bytes, options.rejected_bytes_per_second),
                unknown_keys: UnknownKeyCounters::new(schema),
                runtime: Handle::current(),
                ids: generator,
                lease,
                work: Mutex::new(Work { deliveries, syncs, log }),
            }),
        }
    }

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
    pub fn reject(&self, dead_letter: &DeadLetter<'_>, ack: Ack) -> Result<Receipt, SpoolFull> {
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

    /// Returns the number of columns whose constant DEFAULT differs, on the server with the most.
    fn differing_defaults(&self) -> u64 {
        let states = self.shared.states.borrow();
        let counts = states.iter().map(|state| match state {
            State::Ready(connection) => connection.differing_defaults.load(Ordering::Relaxed),
            _ => 0,
        });
        counts.max().unwrap_or_default()
    }

    fn schema_state(&self) -> SchemaState {
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

    pub(crate) fn request_memory(&self) -> &Arc<RequestMemory> {
        self.shared.spool.requests()
    }

    pub(crate) fn counters(&self) -> Vec<TableCounts> {
        self.shared.spool.counts()
    }

    /// Returns the writer's schema.
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

    /// Stops accepting rows, waits at most `max_wait` until ClickHouse has all accepted rows, and
    /// stops the deliveries.
    ///
    /// Remaining rows are in the folder for the next process. Rows that are not on disk, since there
    /// is no folder or the disk has failed, are lost when the process ends, which is logged as an
    /// error.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rowmill_ingest::Writer;
    ///
    /// /// Returns whether no row is lost.
    /// async fn stop(writer: &Writer) -> bool {
    ///     let report = writer.drain(Duration::from_secs(30)).await;
    ///     report.is_complete() || report.is_kept
    /// }
    /// ```
    pub async fn drain(&self, max_wait: Duration) -> DrainReport {
        self.drain_until(sleep(max_wait)).await
    }

    /// Drains as [`drain`](Self::drain) does, until `deadline` completes.
    pub async fn drain_until(&self, deadline: impl Future<Output = ()>) -> DrainReport {
        let shared = &self.shared;
        shared.spool.close();
        let mut work = shared.work.lock().await;
        let all_end = async { while work.deliveries.join_next().await.is_some() {} };
        let is_late = tokio::select! {
            biased;
            () = all_end => false,
            () = deadline => true,
        };
        if is_late {
            work.deliveries.shutdown().await;
        }
        work.syncs.shutdown().await;
        shared.spool.stop();
        if let Some(log) = work.log.take() {
            let ended = tokio::task::spawn_blocking(move || log.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the spool's log ended unexpectedly");
            }
        }
        drop(work);
        let left: Vec<_> = self
            .counters()
            .into_iter()
            .filter(|counts| counts.rows_pending > 0)
            .collect();
        let report = DrainReport::new(left, shared.spool.has_disk());
        report.log();
        report
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

fn layouts(schema: &Schema) -> TableLayouts {
    TableLayouts {
        tables: schema.tables.iter().copied().map(InsertTarget::of).collect(),
        dead_letters: InsertTarget::of(&REJECTED),
    }
}

mod drain_report;
mod insert_error;
mod options;
mod payload_rate;
mod rejection_counts;
mod status;
#[cfg(test)]
mod tests;
mod unknown_key_counts;
