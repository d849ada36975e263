//! Queue: the blocks of one table, the open one and the sealed ones that wait.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    block::{
        Block, buffer_pool::BufferPool, content::BlockRows, layout::InsertTarget, parts::Part, sealed::SealedBlock,
    },
    budget::Budget,
    spool::{signal::Urgency, state::LogState},
    table::dead_letter::REJECTED,
};

/// One table's queue in the spool.
#[derive(Debug)]
pub(super) struct TableQueue {
    pub(super) layout: Arc<InsertTarget>,
    queue: Mutex<Queue>,
    /// Wakes [`Spool::next`](super::Spool::next) when the queue has something new for it.
    pub(super) changed: Notify,
    /// Whether the queue has something new for the log.
    dirty: AtomicBool,
    pub(super) counters: Counters,
    /// Whether this is the queue of the dead letters, which has a separate share.
    pub(super) is_dead_letters: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) open: Block,
    /// Oldest first.
    pub(super) sealed: VecDeque<Arc<SealedBlock>>,
    /// Sealed blocks that are not complete on disk, or that are to be written again.
    pub(super) unlogged: Vec<Arc<SealedBlock>>,
    /// Memory of the sealed blocks.
    sealed_in_memory: usize,
    /// Bytes of sealed blocks on disk.
    pub(super) on_disk: usize,
}

impl Queue {
    fn new(pool: &Arc<BufferPool>) -> Self {
        Self {
            open: Block::with_pool(Arc::clone(pool)),
            sealed: VecDeque::new(),
            unlogged: Vec::new(),
            sealed_in_memory: 0,
            on_disk: 0,
        }
    }
}

/// Counters and gauges of one table since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows_appended: AtomicU64,
    pub(crate) rows_without_room: AtomicU64,
    pub(crate) rows_inserted: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) rows_refused: AtomicU64,
    /// Queries to the table for rows that may be stored.
    pub(crate) lookups: AtomicU64,
    /// Rows that such a query has found in the table.
    pub(crate) rows_found: AtomicU64,
    /// Rows that ClickHouse has confirmed but does not show.
    pub(crate) rows_missing: AtomicU64,
    /// Blocks that a materialized view may have missed.
    pub(crate) views_in_doubt: AtomicU64,
    /// Rows that a materialized view refuses although they are in their table.
    pub(crate) rows_refused_by_views: AtomicU64,
    /// Rows that were damaged on disk.
    pub(crate) rows_lost: AtomicU64,
    /// Consecutive failures of the rows that are being inserted.
    pub(crate) failures: AtomicU64,
    /// 1 while rows wait that ClickHouse refuses, or that do not fit the table.
    pub(crate) is_held: AtomicU64,
    /// Confirmed rows that the audit has compared with the table.
    pub(crate) audit_checked: AtomicU64,
    /// Confirmed rows that the audit does not find.
    pub(crate) audit_missing: AtomicU64,
    /// Rows that the audit finds more than once.
    pub(crate) audit_duplicate: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, n: u64) {
        gauge.store(n, Ordering::Relaxed);
    }
}

/// One table's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCounts {
    /// The table's name.
    pub table: Arc<str>,
    /// Rows accepted since the start.
    pub rows_appended: u64,
    /// Rows not accepted because the spool was full.
    pub rows_without_room: u64,
    /// Rows that ClickHouse has confirmed, including those from before the start.
    pub rows_inserted: u64,
    /// Inserts that ClickHouse has confirmed.
    pub inserts: u64,
    /// Inserts that failed and were, or will be, retried.
    pub retries: u64,
    /// Rows that ClickHouse refused and that became dead letters.
    pub rows_refused: u64,
    /// Queries to the table for rows that may be stored although ClickHouse has not confirmed them.
    pub lookups: u64,
    /// Rows that such a query has found in the table and that were not sent again.
    pub rows_found: u64,
    /// Rows that ClickHouse has confirmed but does not show: lost, or hidden from this user.
    pub rows_missing: u64,
    /// Blocks that a materialized view may have missed: after a lost response, or because the view
    /// throws on rows that are valid one by one.
    pub views_in_doubt: u64,
    /// Rows that are in their table although a materialized view over it refuses them; counted once
    /// for each such view.
    pub rows_refused_by_views: u64,
    /// Rows that were damaged on the spool's disk while they waited, and are lost.
    pub rows_lost: u64,
    /// Consecutive failures of the current insert; 0 once it is stored or held.
    pub failures: u64,
    /// Whether rows wait for manual intervention: ClickHouse refuses all of them, or they do not
    /// fit the table.
    pub is_held: bool,
    /// Confirmed rows that the audit has compared with the table; 0 without
    /// [`WriterOptions::audit_after`](crate::WriterOptions::audit_after).
    pub audit_checked: u64,
    /// Confirmed rows that the audit currently does not find in the table.
    pub audit_missing: u64,
    /// Rows that the audit currently finds in the table beyond the first with their id.
    pub audit_duplicate: u64,
    /// Rows accepted and not yet confirmed.
    pub rows_pending: u64,
    /// Blocks with unconfirmed rows, including the open one.
    pub blocks_pending: u64,
    /// The length of all rows of these blocks, in bytes.
    pub bytes_pending: u64,
}

/// The next thing to do for a queue.
pub(super) enum Found {
    Rows(Arc<SealedBlock>, Part),
    /// An open block, to be sealed at this time.
    Young(Instant),
    Nothing,
    End,
}

impl TableQueue {
    /// Returns the queue of a table, whose blocks use the buffers of `pool`.
    pub(super) fn new(layout: Arc<InsertTarget>, pool: &Arc<BufferPool>) -> Self {
        Self {
            is_dead_letters: &*layout.table == REJECTED.name,
            layout,
            queue: Mutex::new(Queue::new(pool)),
            changed: Notify::new(),
            dirty: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        // Only an encoder can panic, and the block discards what it left (see `Block::append`).
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the queue as changed and wakes the log with this urgency.
    pub(super) fn mark_unlogged(&self, log: Option<&LogState>, urgency: Urgency) {
        if let Some(log) = log {
            self.dirty.store(true, Ordering::SeqCst);
            log.signal.raise(urgency);
        }
    }

    /// Returns whether the queue has something new for the log.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// Like [`is_dirty`](Self::is_dirty), but resets it until there is something new.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::SeqCst)
    }

    /// Seals the open block, if it has a row, and wakes the log and delivery. Only this function
    /// seals the open block: a block that log and delivery do not know of is not sent before the
    /// next start.
    pub(super) fn seal(&self, queue: &mut Queue, log: Option<&LogState>) {
        let mut open = std::mem::take(&mut queue.open);
        if let Some(block) = self.seal_for_disk(queue, &mut open, log) {
            queue.sealed.push_back(block);
            self.changed.notify_one();
        }
        // The block keeps its buffers.
        queue.open = open;
    }

    /// Seals a block and schedules it for the log. Delivery sees it only once the caller appends it
    /// to `sealed`.
    pub(super) fn seal_for_disk(
        &self,
        queue: &mut Queue,
        block: &mut Block,
        log: Option<&LogState>,
    ) -> Option<Arc<SealedBlock>> {
        let cost = block.cost();
        let block = Arc::new(block.seal(&self.layout)?);
        queue.sealed_in_memory += cost;
        self.log(queue, Arc::clone(&block), log);
        Some(block)
    }

    /// Schedules a sealed block to be written to disk, for the first time or again.
    pub(super) fn log(&self, queue: &mut Queue, block: Arc<SealedBlock>, log: Option<&LogState>) {
        queue.unlogged.push(block);
        self.mark_unlogged(log, Urgency::Now);
    }

    /// Appends a block from before the start to the queue.
    pub(super) fn restore(&self, block: SealedBlock, log: Option<&LogState>) {
        let mut queue = self.lock();
        queue.count_on_disk(block.state().logged.bytes, log);
        queue.sealed.push_back(Arc::new(block));
    }

    pub(super) fn counts(&self) -> TableCounts {
        let queue = self.lock();
        let open = (queue.open.rows(), queue.open.content().0.len());
        let (rows, bytes) = queue.sealed.iter().fold(open, |(rows, bytes), block| {
            (rows + block.state().parts.rows(), bytes + block.bytes)
        });
        let blocks = queue.sealed.len() + usize::from(queue.open.rows() > 0);
        drop(queue);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TableCounts {
            table: Arc::clone(&self.layout.table),
            rows_appended: read(&self.counters.rows_appended),
            rows_without_room: read(&self.counters.rows_without_room),
            rows_inserted: read(&self.counters.rows_inserted),
            inserts: read(&self.counters.inserts),
            retries: read(&self.counters.retries),
            rows_refused: read(&self.counters.rows_refused),
            lookups: read(&self.counters.lookups),
            rows_found: read(&self.counters.rows_found),
            rows_missing: read(&self.counters.rows_missing),
            views_in_doubt: read(&self.counters.views_in_doubt),
            rows_refused_by_views: read(&self.counters.rows_refused_by_views),
            rows_lost: read(&self.counters.rows_lost),
            failures: read(&self.counters.failures),
            is_held: read(&self.counters.is_held) > 0,
            audit_checked: read(&self.counters.audit_checked),
            audit_missing: read(&self.counters.audit_missing),
            audit_duplicate: read(&self.counters.audit_duplicate),
            rows_pending: rows as u64,
            blocks_pending: blocks as u64,
            bytes_pending: bytes as u64,
        }
    }
}

impl Queue {
    /// Returns the memory of all blocks.
    pub(super) fn in_memory(&self) -> usize {
        self.sealed_in_memory + self.open.cost()
    }

    /// Drops the in-memory copy of a block that is on disk.
    pub(super) fn evict(&mut self, block: &SealedBlock, memory: &Budget) {
        // The log still needs the copy of a block that it is to write again.
        if self.unlogged.iter().any(|other| other.id == block.id) {
            return;
        }
        let mut state = block.state();
        if state.logged.is_sealed
            && let Some(content) = state.content.take()
        {
            self.drop_from_memory(content.cost(), memory);
        }
    }

    /// Brings a block that is only on disk back into memory, to be written again.
    pub(super) fn restore(&mut self, block: &SealedBlock, content: BlockRows, memory: &Budget) {
        let mut state = block.state();
        if state.content.is_none() {
            let cost = content.cost();
            memory.take(cost);
            self.sealed_in_memory += cost;
            state.content = Some(content);
        }
    }

    /// Forgets a block that is done.
    pub(super) fn forget(&mut self, block: &SealedBlock, memory: &Budget, log: Option<&LogState>) {
        self.sealed.retain(|candidate| candidate.id != block.id);
        self.unlogged.retain(|candidate| candidate.id != block.id);
        let mut state = block.state();
        if let Some(content) = state.content.take() {
            self.drop_from_memory(content.cost(), memory);
        }
        if state.logged.is_sealed {
            self.uncount_on_disk(state.logged.bytes, log);
        }
    }

    /// Counts the bytes of a sealed block that is on disk.
    pub(super) fn count_on_disk(&mut self, bytes: usize, log: Option<&LogState>) {
        self.on_disk += bytes;
        if let Some(log) = log {
            log.waiting.take(bytes);
        }
    }

    pub(super) fn uncount_on_disk(&mut self, bytes: usize, log: Option<&LogState>) {
        self.on_disk = self.on_disk.saturating_sub(bytes);
        if let Some(log) = log {
            log.waiting.release(bytes);
        }
    }

    fn drop_from_memory(&mut self, cost: usize, memory: &Budget) {
        self.sealed_in_memory = self.sealed_in_memory.saturating_sub(cost);
        memory.release(cost);
    }
}
