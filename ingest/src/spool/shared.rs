//! Shared: the state of the appender, the committer and the readers: the tables' queues, the memory
//! budget, and whether the spool is closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Mutex, Notify};

use crate::{
    block::{Block, BlockLimits, layout::InsertTarget},
    budget::{Budget, RequestMemory},
    idempotency::KeyIndex,
    spool::{queue::TableQueue, received_ids::ReceivedIds, state::LogState},
    table::{Schema, Table, dead_letter::REJECTED},
};

/// A table's queue in its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableId(usize);

impl TableId {
    /// Returns the position of the queue among those of [`counts`](super::Spool::counts).
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

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

/// The rows of all tables that are not yet stored.
#[derive(Debug)]
pub(super) struct Shared {
    /// The schema's tables, the dead letters, and further tables with recovered blocks.
    queues: Box<[TableQueue]>,
    dead_letters: TableId,
    pub(super) limits: BlockLimits,
    /// Memory of all rows and of requests in flight.
    pub(super) memory: Arc<Budget>,
    pub(super) requests: Arc<RequestMemory>,
    /// `None` if rows are only in memory.
    pub(super) log: Option<Arc<LogState>>,
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
            .map(|layout| TableQueue::new(layout, &pool, Arc::clone(&memory), log.clone()))
            .collect();
        Self {
            active_tables: AtomicUsize::new(queues.len()),
            queues,
            dead_letters,
            limits,
            requests: RequestMemory::new(Arc::clone(&memory)),
            memory,
            log,
            keys,
            received,
            receiving: Mutex::new(()),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    /// Returns all queues.
    pub(super) fn queues(&self) -> &[TableQueue] {
        &self.queues
    }

    /// Returns the ids of all queues.
    pub(super) fn tables(&self) -> impl Iterator<Item = TableId> + use<> {
        (0..self.queues.len()).map(TableId)
    }

    /// Returns a table's queue.
    pub(super) fn queue(&self, table: TableId) -> &TableQueue {
        &self.queues[table.0]
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

    /// Returns the id of the queue of the table with this name.
    pub(super) fn find(&self, table: &str) -> Option<TableId> {
        let at = self.queues.iter().position(|queue| &*queue.layout.table == table)?;
        Some(TableId(at))
    }

    /// Returns whether the last attempt to write to disk failed.
    pub(super) fn is_failing(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.is_failing.load(Ordering::Relaxed))
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
        for queue in &self.queues {
            queue.wake_delivery();
        }
    }
}
