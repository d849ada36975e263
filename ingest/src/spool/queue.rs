//! Queue: the blocks of one table, the open one and the sealed ones that wait.
//!
//! All changes to the blocks go through [`LockedQueue`], which keeps three things true: the log and
//! delivery know of sealed blocks, a queue with something to write is marked dirty, and the budgets
//! count the bytes of the blocks.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    block::{
        Block,
        buffer_pool::BufferPool,
        content::BlockRows,
        layout::InsertTarget,
        logged::Logged,
        sealed::{BlockState, SealedBlock},
    },
    budget::Budget,
    sharding::Router,
    spool::{
        counters::{Counters, TableCounts},
        signal::Urgency,
        state::LogState,
        table_id::TableId,
    },
};

/// One table's queue in the spool.
#[derive(Debug)]
pub(super) struct TableQueue {
    pub(super) layout: Arc<InsertTarget>,
    pub(super) counters: Counters,
    blocks: Mutex<Blocks>,
    /// The way of the rows to the queues of their shards; `None` if this queue takes them itself.
    router: RwLock<Option<Arc<Router<TableId>>>>,
    has_router: AtomicBool,
    /// The age at which the open block is sealed, in nanoseconds.
    age_ns: AtomicU64,
    /// The blocks that were sealed because of their age, and those that were full.
    pub(super) sealed: SealedCounts,
    /// Wakes the table's delivery when the queue has something new for it.
    changed: Notify,
    /// Whether the queue has something new for the log.
    dirty: AtomicBool,
    /// Whether the last attempt to append rows to the shared log failed.
    pub(super) is_failing: AtomicBool,
    /// The memory of the rows of all tables.
    memory: Arc<Budget>,
    /// `None` if rows are only in memory.
    log: Option<Arc<LogState>>,
}

/// The number of blocks that were sealed for each reason.
#[derive(Debug, Default)]
pub(super) struct SealedCounts {
    pub(super) old: AtomicU64,
    pub(super) full: AtomicU64,
}

impl SealedCounts {
    /// Returns the number of old blocks and of full ones since the last call.
    pub(super) fn take(&self) -> (u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.old), take(&self.full))
    }
}

/// The blocks of a queue.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) open: Block,
    /// Whether a sender waits until the rows of the open block are stored.
    pub(super) is_awaited: bool,
    /// Oldest first.
    pub(super) sealed: VecDeque<Arc<SealedBlock>>,
    /// Sealed blocks that are not complete on disk, or that the log must write again.
    pub(super) unlogged: Vec<Arc<SealedBlock>>,
    /// The memory and disk space of the sealed blocks.
    usage: Usage,
}

/// The memory and disk space of a sealed block, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) memory: usize,
    /// The frames of a block that is complete on disk.
    pub(super) disk: usize,
}

impl Usage {
    pub(super) fn of(state: &BlockState) -> Self {
        Self {
            memory: state.content.as_ref().map_or(0, BlockRows::cost) + size_of_val(&*state.keys),
            disk: if state.logged.is_sealed { state.logged.bytes } else { 0 },
        }
    }
}

impl TableQueue {
    /// Returns the queue of a table, whose blocks use the buffers of `pool` and are sealed at
    /// `block_age`.
    pub(super) fn new(
        layout: Arc<InsertTarget>,
        pool: &Arc<BufferPool>,
        block_age: Duration,
        memory: Arc<Budget>,
        log: Option<Arc<LogState>>,
    ) -> Self {
        Self {
            layout,
            counters: Counters::default(),
            blocks: Mutex::new(Blocks {
                open: Block::with_pool(Arc::clone(pool)),
                is_awaited: false,
                sealed: VecDeque::new(),
                unlogged: Vec::new(),
                usage: Usage::default(),
            }),
            router: RwLock::default(),
            has_router: AtomicBool::new(false),
            age_ns: AtomicU64::new(block_age.as_nanos() as u64),
            sealed: SealedCounts::default(),
            changed: Notify::new(),
            dirty: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            memory,
            log,
        }
    }

    pub(super) fn lock(&self) -> LockedQueue<'_> {
        LockedQueue {
            queue: self,
            // Only an encoder can panic, and the block discards what it left (see `Block::append`).
            blocks: self.blocks.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Returns the way of the rows to the queues of their shards.
    #[inline]
    pub(super) fn router(&self) -> Option<Arc<Router<TableId>>> {
        if !self.has_router.load(Ordering::Relaxed) {
            return None;
        }
        self.router.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_router(&self, router: Option<Router<TableId>>) {
        let mut current = self.router.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (&*current, &router) {
            (Some(current), Some(router)) => current.is_same(router),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.has_router.store(router.is_some(), Ordering::Relaxed);
            *current = router.map(Arc::new);
        }
    }

    /// Returns the age at which the open block is sealed.
    pub(super) fn block_age(&self) -> Duration {
        Duration::from_nanos(self.age_ns.load(Ordering::Relaxed))
    }

    /// Sets the age at which the open block and later ones are sealed.
    pub(super) fn set_block_age(&self, age: Duration) {
        self.age_ns.store(age.as_nanos() as u64, Ordering::Relaxed);
        self.wake_delivery();
    }

    /// Wakes the table's delivery, or its next wait if it does not wait now.
    pub(super) fn wake_delivery(&self) {
        self.changed.notify_one();
    }

    /// Waits for the next [`wake_delivery`](Self::wake_delivery).
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Records that the queue has something new for the log, and wakes the committer with this
    /// urgency. Does nothing if rows are only in memory.
    pub(super) fn mark_dirty(&self, urgency: Urgency) {
        if let Some(log) = &self.log {
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

    /// Returns the table's counters at this moment.
    pub(super) fn counts(&self) -> TableCounts {
        // A person may have deleted the segments of a disk that fails.
        let segments = self.log.as_ref().and_then(|log| log.segments_if_failing());
        let found = |logged: &Logged| {
            let is_there = |segment: &u64| segments.as_ref().is_none_or(|segments| segments.contains(segment));
            logged.segment.filter(is_there).map_or(0, |_| logged.rows)
        };
        let blocks = self.lock();
        let open = (blocks.open.rows(), blocks.open.content().0.len());
        let (rows, bytes) = blocks.sealed.iter().fold(open, |(rows, bytes), block| {
            (rows + block.state().parts.rows(), bytes + block.bytes)
        });
        let open_on_disk = blocks.open.opened().map_or(0, |opened| found(&opened.logged));
        let on_disk = blocks.sealed.iter().fold(open_on_disk as usize, |rows, block| {
            let state = block.state();
            rows + state.parts.rows_before(found(&state.logged))
        });
        let pending = blocks.sealed.len() + usize::from(blocks.open.rows() > 0);
        drop(blocks);
        TableCounts {
            rows_pending: rows as u64,
            rows_on_disk: on_disk as u64,
            block_age: self.block_age(),
            blocks_pending: pending as u64,
            bytes_pending: bytes as u64,
            ..self.counters.read(Arc::clone(self.layout.schema_table()))
        }
    }
}

impl Blocks {
    /// Returns the memory of all blocks, in bytes.
    pub(super) fn in_memory(&self) -> usize {
        self.usage.memory + self.open.cost()
    }

    /// Returns the bytes of sealed blocks on disk.
    pub(super) fn on_disk(&self) -> usize {
        self.usage.disk
    }

    /// Returns whether the log still has to write a block.
    pub(super) fn is_unlogged(&self, block: &SealedBlock) -> bool {
        self.unlogged.iter().any(|other| other.id == block.id)
    }
}

/// A queue whose blocks no other thread uses.
#[derive(Debug)]
pub(super) struct LockedQueue<'a> {
    queue: &'a TableQueue,
    blocks: MutexGuard<'a, Blocks>,
}

impl Deref for LockedQueue<'_> {
    type Target = Blocks;

    #[inline]
    fn deref(&self) -> &Blocks {
        &self.blocks
    }
}

impl DerefMut for LockedQueue<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Blocks {
        &mut self.blocks
    }
}

impl LockedQueue<'_> {
    /// Seals the open block, if it has a row, and wakes the committer and delivery. Only this
    /// function seals the open block: a block that log and delivery do not know of is not sent
    /// before the next start.
    pub(super) fn seal(&mut self) {
        let mut open = std::mem::take(&mut self.blocks.open);
        if let Some(block) = self.seal_unreleased(&mut open) {
            self.release(block);
        }
        // The block keeps its buffers.
        self.blocks.open = open;
        self.blocks.is_awaited = false;
    }

    /// Seals a block whose rows the memory budget counts already, and schedules it for the log.
    /// Delivery sees it only once the caller [releases](Self::release) it.
    pub(super) fn seal_unreleased(&mut self, block: &mut Block) -> Option<Arc<SealedBlock>> {
        let block = Arc::new(block.seal(&self.queue.layout)?);
        self.blocks.usage.memory += Usage::of(&block.state()).memory;
        self.schedule(Arc::clone(&block));
        Some(block)
    }

    /// Schedules a sealed block to be written to disk, for the first time or again.
    pub(super) fn schedule(&mut self, block: Arc<SealedBlock>) {
        self.blocks.unlogged.push(block);
        self.queue.mark_dirty(Urgency::Now);
    }

    /// Appends a sealed block to those that delivery sees.
    pub(super) fn release(&mut self, block: Arc<SealedBlock>) {
        self.blocks.sealed.push_back(block);
        self.queue.wake_delivery();
    }

    /// Appends a block that does not come from the appender: from before the start, or from the
    /// shared log.
    pub(super) fn restore(&mut self, block: SealedBlock) {
        let usage = Usage::of(&block.state());
        self.update_budgets(Usage::default(), usage);
        self.blocks.sealed.push_back(Arc::new(block));
    }

    /// Drops the in-memory copy of a block that is on disk. The log still needs the copy of a block
    /// that it is to write again.
    pub(super) fn evict(&mut self, block: &SealedBlock) {
        if !self.is_unlogged(block) {
            self.recount(block, |state| {
                if state.logged.is_sealed {
                    state.content = None;
                }
            });
        }
    }

    /// Loads a block that is only on disk, so that the log can write it again.
    pub(super) fn load(&mut self, block: &SealedBlock, content: BlockRows) {
        self.recount(block, |state| _ = state.content.get_or_insert(content));
    }

    /// Forgets a block that is done.
    pub(super) fn forget(&mut self, block: &SealedBlock) {
        self.blocks.sealed.retain(|candidate| candidate.id != block.id);
        self.blocks.unlogged.retain(|candidate| candidate.id != block.id);
        let mut state = block.state();
        let before = Usage::of(&state);
        state.content = None;
        state.keys = Box::default();
        drop(state);
        self.update_budgets(before, Usage::default());
    }

    /// Changes a sealed block, and corrects the budgets by the bytes that it uses or frees.
    pub(super) fn recount<R>(&mut self, block: &SealedBlock, change: impl FnOnce(&mut BlockState) -> R) -> R {
        let mut state = block.state();
        let before = Usage::of(&state);
        let result = change(&mut state);
        let after = Usage::of(&state);
        drop(state);
        self.update_budgets(before, after);
        result
    }

    fn update_budgets(&mut self, before: Usage, after: Usage) {
        let usage = &mut self.blocks.usage;
        usage.memory = (usage.memory + after.memory).saturating_sub(before.memory);
        usage.disk = (usage.disk + after.disk).saturating_sub(before.disk);
        adjust(&self.queue.memory, before.memory, after.memory);
        if let Some(log) = &self.queue.log {
            adjust(&log.waiting, before.disk, after.disk);
        }
    }
}

/// Replaces `before` bytes in a budget by `after` bytes.
fn adjust(budget: &Budget, before: usize, after: usize) {
    if after > before {
        budget.take(after - before);
    } else {
        budget.release(before - after);
    }
}
