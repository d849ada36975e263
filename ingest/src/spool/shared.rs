//! Shared: the state of the appender, the committer and the readers: the tables' queues, the memory
//! budget, and whether the spool is closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Mutex, Notify};

use crate::{
    block::{Block, BlockLimits, buffer_pool::BufferPool, layout::InsertTarget},
    budget::{Budget, RequestMemory},
    idempotency::KeyIndex,
    spool::{queue::TableQueue, received_ids::ReceivedIds, state::LogState, table_id::TableId},
    table::{Schema, Table, dead_letter::REJECTED},
};

/// The tables that accept rows: the name and the INSERT statement of each.
#[derive(Debug)]
pub(crate) struct TableLayouts {
    /// The schema's tables, in the order of their [`index`](Table::index).
    pub(crate) tables: Vec<Arc<InsertTarget>>,
    /// The table of dead letters.
    pub(crate) dead_letters: Arc<InsertTarget>,
}

impl TableLayouts {
    /// Returns the insert targets of the tables of a schema and of the dead letters.
    pub(crate) fn of(schema: &Schema) -> Self {
        Self {
            tables: schema.tables.iter().copied().map(InsertTarget::of).collect(),
            dead_letters: InsertTarget::of(&REJECTED),
        }
    }
}

/// An end of a shared log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogEnd {
    /// The rows are on their way to the log, which makes them durable.
    Appends,
    /// The blocks come from the log, which keeps them until they are stored.
    Delivers,
}

/// The rows of all tables that are not yet stored.
#[derive(Debug)]
pub(super) struct Shared {
    /// The schema's tables, the dead letters, and further tables with recovered blocks.
    queues: Box<[TableQueue]>,
    /// The shards of Distributed tables, as they become known.
    shards: boxcar::Vec<TableQueue>,
    pool: Arc<BufferPool>,
    dead_letters: TableId,
    pub(super) limits: BlockLimits,
    /// Memory of all rows and of requests in flight.
    pub(super) memory: Arc<Budget>,
    pub(super) requests: Arc<RequestMemory>,
    /// `None` if rows are only in memory.
    pub(super) log: Option<Arc<LogState>>,
    /// The end of a shared log that the spool is, if it is one.
    pub(super) log_end: Option<LogEnd>,
    /// The idempotency keys of the rows that were accepted.
    pub(super) keys: Arc<KeyIndex>,
    /// The blocks of other collectors that this one has taken over.
    pub(super) received: ReceivedIds,
    /// Held while blocks of another collector are taken over: of two requests with the same block,
    /// the second one finds it.
    pub(super) receiving: Mutex<()>,
    closed: AtomicBool,
    closing: Notify,
    /// The number of queues whose delivery has not ended. The dead letters' delivery ends last.
    active_tables: AtomicUsize,
}

impl Shared {
    /// Returns the state of an empty spool with a queue for each of `tables`, and for each of the
    /// `further` tables.
    pub(super) fn new(
        tables: TableLayouts,
        further: Vec<Arc<InsertTarget>>,
        limits: BlockLimits,
        memory_bytes: usize,
        log: Option<Arc<LogState>>,
        keys: Arc<KeyIndex>,
        received: ReceivedIds,
    ) -> Self {
        let pool = Block::pool();
        let memory = Arc::new(Budget::new(memory_bytes));
        let dead_letters = TableId(tables.tables.len());
        let layouts = tables.tables.into_iter().chain([tables.dead_letters]).chain(further);
        let queues: Box<[_]> = layouts
            .map(|layout| TableQueue::new(layout, &pool, limits.age, Arc::clone(&memory), log.clone()))
            .collect();
        Self {
            active_tables: AtomicUsize::new(queues.len()),
            queues,
            shards: boxcar::Vec::new(),
            pool,
            dead_letters,
            limits,
            requests: RequestMemory::new(Arc::clone(&memory)),
            memory,
            log,
            log_end: None,
            keys,
            received,
            receiving: Mutex::new(()),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    /// Returns all queues.
    pub(super) fn queues(&self) -> impl Iterator<Item = &TableQueue> {
        self.queues.iter().chain(self.shards.iter().map(|(_, queue)| queue))
    }

    /// Returns the ids of all queues.
    pub(super) fn tables(&self) -> impl Iterator<Item = TableId> {
        let of_shard = |(index, _)| TableId(self.queues.len() + index);
        (0..self.queues.len())
            .map(TableId)
            .chain(self.shards.iter().map(of_shard))
    }

    /// Returns a table's queue.
    pub(super) fn queue(&self, table: TableId) -> &TableQueue {
        match self.queues.get(table.0) {
            Some(queue) => queue,
            None => &self.shards[table.0 - self.queues.len()],
        }
    }

    /// Returns the id of the queue of a shard with this insert target, and adds the queue if there is
    /// none. The second value is whether it was added: its delivery has to be started. Returns `None`
    /// if the spool is closed. Only one task at a time may add queues.
    pub(super) fn add_shard(&self, layout: InsertTarget) -> Option<(TableId, bool)> {
        if let Some(id) = self.tables().find(|id| *self.queue(*id).layout == layout) {
            return Some((id, false));
        }
        if self.is_closed() {
            return None;
        }
        let queue = TableQueue::new(
            Arc::new(layout),
            &self.pool,
            self.limits.age,
            Arc::clone(&self.memory),
            self.log.clone(),
        );
        self.active_tables.fetch_add(1, Ordering::AcqRel);
        let index = self.shards.push(queue);
        Some((TableId(self.queues.len() + index), true))
    }

    /// Returns the queue of the schema's table to which the rows of a queue belong: for the rows of a
    /// shard, that of the Distributed table, if the spool has it.
    pub(super) fn schema_queue(&self, table: TableId) -> Option<TableId> {
        let layout = &self.queue(table).layout;
        match &layout.shard {
            Some(shard) => self.find(&shard.table),
            None => Some(table),
        }
    }

    /// Returns the queue of the dead letters.
    pub(super) fn dead_letters(&self) -> TableId {
        self.dead_letters
    }

    /// Returns the id of the queue of a schema's table, or of the dead letters.
    ///
    /// # Panics
    /// If the spool does not have the table.
    pub(super) fn id_of(&self, table: &Table) -> TableId {
        let id = if std::ptr::eq(table, &REJECTED) {
            self.dead_letters
        } else {
            // No table of a schema has the name of the dead letters.
            TableId(table.index.min(self.dead_letters.0))
        };
        let name = &*self.queue(id).layout.table;
        assert_eq!(name, table.name, "a row of a table that is not in this schema");
        id
    }

    /// Returns the id of the queue of the table with this name, which is that of no shard.
    pub(super) fn find(&self, table: &str) -> Option<TableId> {
        let is_named = |queue: &TableQueue| &*queue.layout.table == table && queue.layout.shard.is_none();
        self.queues.iter().position(is_named).map(TableId)
    }

    /// Returns the id of the queue for a recovered block with this insert target.
    pub(super) fn find_for(&self, layout: &InsertTarget) -> Option<TableId> {
        if layout.shard.is_none() {
            return self.find(&layout.table);
        }
        let is_for = |queue: &TableQueue| *queue.layout == *layout;
        self.queues.iter().position(is_for).map(TableId)
    }

    /// Returns the id of the queue that delivers blocks with this insert target: for rows of a shard,
    /// a queue of the same table on the same servers, whatever the shard's number is by now.
    pub(super) fn find_delivering(&self, layout: &InsertTarget) -> Option<TableId> {
        let Some(shard) = &layout.shard else {
            return self.find(&layout.table);
        };
        self.tables().find(|id| {
            let of_queue = &self.queue(*id).layout;
            of_queue.table == layout.table && of_queue.shard.as_ref().is_some_and(|other| other.is_same(shard))
        })
    }

    /// Returns whether the last attempt to write to disk failed.
    pub(super) fn is_failing(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.is_failing.load(Ordering::Relaxed))
    }

    /// Returns whether rows of a table cannot be made durable for now: the disk or the shared log
    /// fails.
    pub(super) fn is_failing_for(&self, table: TableId) -> bool {
        match &self.log {
            Some(log) => log.is_failing.load(Ordering::Relaxed),
            None => self.queue(table).is_failing.load(Ordering::Relaxed),
        }
    }

    /// Returns whether rows are written to a disk or to a shared log.
    pub(super) fn is_durable(&self) -> bool {
        self.log.is_some() || self.log_end == Some(LogEnd::Appends)
    }

    /// Stops accepting rows, and wakes each queue's delivery to seal the open block.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
        self.wake_deliveries();
    }

    /// Returns whether [`close`](Self::close) has been called.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until the spool is closed.
    pub(super) async fn closed(&self) {
        // Created before the flag is read, so that it catches a `close` in between.
        let closing = self.closing.notified();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Records that a queue's delivery has ended.
    pub(super) fn table_finished(&self) {
        self.active_tables.fetch_sub(1, Ordering::AcqRel);
        self.wake_deliveries();
    }

    /// Returns whether only one delivery has not ended.
    pub(super) fn is_last_active(&self) -> bool {
        self.active_tables.load(Ordering::Acquire) <= 1
    }

    fn wake_deliveries(&self) {
        for queue in self.queues() {
            queue.wake_delivery();
        }
    }
}
