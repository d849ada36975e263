//! The spool: holds blocks from the moment a row is accepted until ClickHouse has it.
//!
//! Accepts rows and returns sealed blocks, oldest first, for each table separately. A block stays
//! until all of it is reported stored. Promises: memory and disk are bounded, and
//! `Appender::append` returns `SpoolFull` beyond a bound; no table can take more than half of what
//! the others leave; a lock is held while rows are encoded or copied, and never across an `.await`.
//!
//! Three handles use the spool's shared state, each for one side:
//!
//! ```text
//! append        the appender: appends rows to the open block of their table (`append_shards`: of
//!               their shard)
//! commit        the committer, on its own thread: writes the new rows of all queues as one
//!               batch, with one fdatasync
//! reader        a reader for each table: returns the oldest block, and records the outcome
//! dead_letters  a reader's way to move rows from their block to the dead letters
//! ```
//!
//! The handles share these modules:
//!
//! ```text
//! shared        the tables' queues, the memory budget, and whether the spool is closed
//! queue         one table's blocks: the open one, and the sealed ones
//! counters      the outcomes of a table's rows
//! state         the log as all threads see it
//! signal        wakes the committer
//! ```
//!
//! An append marks its queue as dirty, which raises the signal. The committer wakes up, writes and
//! syncs a batch, and publishes how far each block is on disk. A sealed block wakes the table's
//! delivery, which gets the block from its reader.
//!
//! With a folder, the spool finds the rows again after a crash:
//!
//! ```text
//! log           segments: rotation, removal, and marks on blocks
//! frame         the bytes of a segment
//! keyed_rows    idempotency keys beside their rows
//! scan          finds the frames of a segment, damaged ones left out
//! read          reads rows of a block from disk
//! recover       reads blocks back after a start
//! reclaim       frees memory when it is short
//! disk          the file system
//! handover      gives blocks to another collector, and takes those of another one
//! received_ids  the ids of the blocks of other collectors, over restarts
//! inspect       what a folder holds, for the command line
//! links         second names of segments, for an archive and for topics
//! archive       the blocks of linked segments
//! in_memory     the rows that wait in memory, for tests
//! ```
//!
//! Without a folder, rows are only in memory. Two such spools are the ends of a shared log: one
//! holds the rows that are on their way to the log, and one the blocks that were read from it.
//!
//! ```text
//! shared_log    the blocks that come from a shared log, and their dead letters
//! ```

mod append;
mod append_shards;
pub(crate) mod archive;
mod commit;
mod counters;
mod dead_letters;
mod disk;
pub(crate) mod frame;
mod handover;
mod in_memory;
mod inspect;
mod keyed_rows;
pub(crate) mod links;
mod log;
mod queue;
mod read;
mod reader;
mod received_ids;
mod reclaim;
mod recover;
mod scan;
mod shared;
mod shared_log;
mod signal;
mod state;
mod table_id;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use uuid::Uuid;

pub(crate) use self::{
    append::Appender,
    counters::Counters,
    handover::package::Package,
    log::LogLimits,
    reader::{Next, NextBlock, Outcome, Parked, TableReader},
    shared::{LogEnd, TableLayouts},
    table_id::TableId,
};
use self::{
    commit::Committer,
    disk::{Disk, Folder},
    handover::receive::receive,
    links::SegmentLinks,
    log::Log,
    queue::TableQueue,
    received_ids::ReceivedIds,
    recover::recover,
    shared::Shared,
    state::LogState,
};
pub use self::{
    counters::TableCounts,
    handover::receive::{ReceiveError, Received},
    inspect::{BlockReport, PartReport, SpoolReport, inspect},
    links::ArchiveReport,
    recover::SpoolError,
};
use crate::{
    block::{BlockLimits, layout::InsertTarget},
    budget::{Budget, RequestMemory},
    idempotency::{KeyIndex, now_s},
    sharding::Router,
    table::Table,
};

/// The bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolLimits {
    pub(crate) blocks: BlockLimits,
    /// Memory of all rows and of requests in flight.
    pub(crate) memory_bytes: usize,
    /// Disk space of all segments; used only with a folder.
    pub(crate) log: LogLimits,
    /// The largest number of idempotency keys.
    pub(crate) keys: usize,
}

/// The folder of the idempotency keys, in the spool's folder.
const KEYS: &str = "keys";

/// A spool: makes the handles that append and read rows, and reports its state. Clones share the
/// same rows.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    shared: Arc<Shared>,
}

impl Spool {
    /// Returns an empty spool in memory, with a queue for each of `tables`.
    pub(crate) fn in_memory(tables: TableLayouts, limits: SpoolLimits) -> Self {
        Self::without_folder(tables, limits, None)
    }

    /// Returns an empty spool in memory that is this end of a shared log.
    pub(crate) fn of_shared_log(tables: TableLayouts, limits: SpoolLimits, end: LogEnd) -> Self {
        Self::without_folder(tables, limits, Some(end))
    }

    fn without_folder(tables: TableLayouts, limits: SpoolLimits, log_end: Option<LogEnd>) -> Self {
        let keys = Arc::new(KeyIndex::in_memory(limits.keys));
        let received = ReceivedIds::in_memory();
        let mut shared = Shared::new(
            tables,
            Vec::new(),
            limits.blocks,
            limits.memory_bytes,
            None,
            keys,
            received,
        );
        shared.log_end = log_end;
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns the end of a shared log that the spool is, if it is one.
    pub(crate) fn log_end(&self) -> Option<LogEnd> {
        self.shared.log_end
    }

    /// Opens the spool in `folder`, with a queue for each of `tables` and for each further table
    /// that has recovered blocks. No other process may use the folder. Also returns the thread that
    /// writes the log; it ends after [`stop`](Self::stop).
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub(crate) fn open(
        folder: &Path,
        tables: TableLayouts,
        limits: SpoolLimits,
    ) -> Result<(Self, thread::JoinHandle<()>), SpoolError> {
        Self::open_with(folder, tables, limits, Vec::new())
    }

    /// Like [`open`](Self::open), with a link of each new segment for each of the consumers.
    pub(crate) fn open_with(
        folder: &Path,
        tables: TableLayouts,
        limits: SpoolLimits,
        links: Vec<Arc<SegmentLinks>>,
    ) -> Result<(Self, thread::JoinHandle<()>), SpoolError> {
        let io_error = |error| SpoolError::Io(folder.to_owned(), error);
        let disk = Folder::lock(folder)
            .map_err(io_error)?
            .ok_or_else(|| SpoolError::InUse(folder.to_owned()))?;
        disk.remove_staged().map_err(io_error)?;
        let keys = KeyIndex::open(&folder.join(KEYS), limits.keys, now_s()).map_err(io_error)?;
        let received = ReceivedIds::open(folder).map_err(io_error)?;
        let (spool, mut committer) = Self::recovered_with(Arc::new(disk), folder, tables, limits, keys, received)?;
        committer.log.set_links(links);
        let thread = thread::Builder::new()
            .name("rowmill-spool".to_owned())
            .spawn(move || committer.run())
            .map_err(io_error)?;
        Ok((spool, thread))
    }

    /// Like [`open`](Self::open), on any disk, without the thread and received blocks.
    #[cfg(test)]
    fn recovered(
        disk: Arc<dyn Disk>,
        path: &Path,
        tables: TableLayouts,
        limits: SpoolLimits,
        keys: KeyIndex,
    ) -> Result<(Self, Committer), SpoolError> {
        Self::recovered_with(disk, path, tables, limits, keys, ReceivedIds::in_memory())
    }

    /// Like [`open`](Self::open), on any disk and without the thread.
    fn recovered_with(
        disk: Arc<dyn Disk>,
        path: &Path,
        tables: TableLayouts,
        limits: SpoolLimits,
        keys: KeyIndex,
        received: ReceivedIds,
    ) -> Result<(Self, Committer), SpoolError> {
        let recovered = recover(&*disk, path, keys.max())?;
        recovered.log_summary();
        // Before their deliveries begin.
        received
            .confirm_pending(|id| recovered.blocks.iter().any(|block| block.id == id))
            .map_err(|error| SpoolError::Io(path.to_owned(), error))?;
        recovered.restore_keys(&keys, now_s());
        let keys = Arc::new(keys);
        let damaged = recovered.damage.len() as u64;
        let mut log = Log::new(
            Arc::clone(&disk),
            limits.log,
            recovered.segments,
            recovered.unmarked,
            Arc::clone(&keys),
        );
        // Write the marks again before `remove_finished` removes the segments that they come from.
        log.mark_again();
        log.remove_finished();

        let own = tables.tables.iter().chain([&tables.dead_letters]);
        let mut known: HashSet<_> = own.map(|layout| Arc::clone(&layout.table)).collect();
        let mut known_on_shards = HashSet::new();
        let mut further = Vec::new();
        for block in &recovered.blocks {
            let layout = &block.layout;
            let is_new = match layout.shard {
                Some(_) => known_on_shards.insert(Arc::clone(layout)),
                None => known.insert(Arc::clone(&layout.table)),
            };
            if is_new {
                further.push(Arc::clone(layout));
            }
        }
        let state = Arc::new(LogState::new(disk, limits.log, damaged, log.bytes()));
        let log_state = Some(Arc::clone(&state));
        let shared = Shared::new(
            tables,
            further,
            limits.blocks,
            limits.memory_bytes,
            log_state,
            keys,
            received,
        );
        for block in recovered.blocks {
            if let Some(table) = shared.find_for(&block.layout) {
                shared.queue(table).lock().restore(block);
            }
        }
        let shared = Arc::new(shared);
        let committer = Committer::new(Arc::clone(&shared), state, log);
        Ok((Self { shared }, committer))
    }

    /// Returns the handle that appends rows to the spool.
    pub(crate) fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.shared))
    }

    /// Returns the idempotency keys of the rows that were accepted.
    pub(crate) fn keys(&self) -> &KeyIndex {
        &self.shared.keys
    }

    /// Returns the id of the queue of a schema's table, or of the dead letters.
    ///
    /// # Panics
    /// If the spool does not have the table.
    pub(crate) fn id_of(&self, table: &Table) -> TableId {
        self.shared.id_of(table)
    }

    /// Returns a reader for each queue: first the schema's tables, then the dead letters, then
    /// further tables and shards for which an earlier process left rows, then shards that were
    /// [added](Self::add_shard).
    pub(crate) fn readers(&self) -> Vec<TableReader> {
        let reader = |table| TableReader::new(Arc::clone(&self.shared), table);
        self.shared.tables().map(reader).collect()
    }

    /// Returns the longest age at which a queue's open block is sealed.
    pub(crate) fn longest_block_age(&self) -> Duration {
        self.shared
            .queues()
            .map(TableQueue::block_age)
            .max()
            .unwrap_or_default()
    }

    /// Returns the longest age at which an open block of the table, or of one of its shards, is sealed.
    pub(crate) fn block_age_of(&self, schema_table: &str) -> Duration {
        let queues = self.shared.queues();
        let of_table = queues.filter(|queue| **queue.layout.schema_table() == *schema_table);
        of_table.map(TableQueue::block_age).max().unwrap_or_default()
    }

    /// Adds a queue for the rows of `table` that belong to a shard, unless there is one with the same
    /// insert target. Also returns the reader of a new queue, whose delivery has to be started.
    /// Returns `None` if the spool is closed. Only one task at a time may add queues.
    pub(crate) fn add_shard(&self, layout: InsertTarget) -> Option<(TableId, Option<TableReader>)> {
        let (id, is_new) = self.shared.add_shard(layout)?;
        let reader = is_new.then(|| TableReader::new(Arc::clone(&self.shared), id));
        Some((id, reader))
    }

    /// Sets the way of a table's rows to the queues of their shards. Later rows without a shard, or
    /// all of them without a router, wait in the table's own queue.
    pub(crate) fn set_router(&self, table: TableId, router: Option<Router<TableId>>) {
        self.shared.queue(table).set_router(router);
    }

    /// Returns the queue of a schema's table with this name, and the insert target of its rows.
    pub(crate) fn table(&self, name: &str) -> Option<(TableId, Arc<InsertTarget>)> {
        let id = self.shared.find(name)?;
        Some((id, Arc::clone(&self.shared.queue(id).layout)))
    }

    /// Takes the blocks of another collector's package, all of them or none, and returns once they
    /// are on disk. Blocks that this spool has taken before are not taken again.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub(crate) async fn receive(&self, package: Bytes) -> Result<Received, ReceiveError> {
        receive(&self.shared, package).await
    }

    /// Seals the open blocks of tables whose first row has this age. While older blocks wait for
    /// ClickHouse, an open block grows, and no consumer of links gets it before its end.
    pub(crate) fn seal_older(&self, age: Duration, is_consumed: impl Fn(&str) -> bool) {
        for queue in self
            .shared
            .queues()
            .filter(|queue| is_consumed(queue.layout.schema_table()))
        {
            let mut blocks = queue.lock();
            // Longer blocks are fewer parts in ClickHouse.
            let age = if self.is_closed() {
                age
            } else {
                age.max(queue.block_age())
            };
            if blocks.open.opened().is_some_and(|opened| opened.at.elapsed() >= age) {
                blocks.seal();
            }
        }
    }

    /// Returns whether a block was taken from another collector.
    pub(crate) fn is_received(&self, block: Uuid) -> bool {
        self.shared.received.contains(block)
    }

    /// Stops accepting rows, and wakes each queue's delivery to seal the open block.
    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// Returns whether [`close`](Self::close) has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits until the spool is closed.
    pub(crate) async fn closed(&self) {
        self.shared.closed().await;
    }

    /// Stops the thread that writes the log, once all accepted rows are on disk or the disk fails.
    pub(crate) fn stop(&self) {
        if let Some(log) = &self.shared.log {
            log.stop();
        }
    }

    /// Records that this thread's event loop is idle: the rows that it has appended need not wait
    /// for more.
    pub(crate) fn on_idle(&self) {
        if let Some(log) = &self.shared.log {
            log.signal.on_idle();
        }
    }

    /// Returns whether the spool writes rows to disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.shared.log.is_some()
    }

    /// Returns whether the last attempt to write to disk failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.shared.is_failing()
    }

    /// Returns the number of damaged parts of segments found since the start.
    pub(crate) fn damaged_parts(&self) -> u64 {
        let log = self.shared.log.as_ref();
        log.map_or(0, |log| log.damaged.load(Ordering::Relaxed))
    }

    /// Returns the total length of all segments, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let log = self.shared.log.as_ref();
        log.map_or(0, |log| log.bytes.load(Ordering::Relaxed))
    }

    /// Returns the memory of requests in flight, which counts toward the rows' bound.
    pub(crate) fn requests(&self) -> &Arc<RequestMemory> {
        &self.shared.requests
    }

    /// Returns the memory that rows and requests in flight use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shared.memory.used()
    }

    /// Returns whether less than a sixteenth of a bound is free: rows may still fit, but not for
    /// long.
    pub(crate) fn is_nearly_full(&self) -> bool {
        let is_near = |bound: &Budget| bound.used() > bound.max - bound.max / 16;
        is_near(&self.shared.memory) || self.shared.log.as_ref().is_some_and(|log| is_near(&log.waiting))
    }

    /// Returns the counters of all tables, in the order of [`readers`](Self::readers). Those of a
    /// Distributed table include its shards.
    pub(crate) fn counts(&self) -> Vec<TableCounts> {
        let mut counts: Vec<TableCounts> = Vec::new();
        for of_queue in self.shared.queues().map(TableQueue::counts) {
            match counts.iter_mut().find(|counts| counts.table == of_queue.table) {
                Some(counts) => counts.add(&of_queue),
                None => counts.push(of_queue),
            }
        }
        counts
    }
}
