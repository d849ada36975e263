//! Lane: one table's way through the spool, its open block and those that wait.

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

/// One table's way through the spool.
#[derive(Debug)]
pub(super) struct TableQueue {
    pub(super) layout: Arc<InsertTarget>,
    queue: Mutex<Queue>,
    /// Something for [`Spool::next`](super::Spool::next) to look at.
    pub(super) changed: Notify,
    /// Something for the log to look at.
    dirty: AtomicBool,
    pub(super) counters: Counters,
    /// Whether these are dead letters, which have a share of their own.
    pub(super) is_dead_letters: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) open: Block,
    /// The oldest comes first.
    pub(super) sealed: VecDeque<Arc<SealedBlock>>,
    /// Those of them that are not wholly on disk, or are to be written there again.
    pub(super) unlogged: Vec<Arc<SealedBlock>>,
    /// Memory of sealed blocks.
    sealed_in_memory: usize,
    /// Bytes of blocks on disk.
    pub(super) on_disk: usize,
}

impl Queue {
    fn new(rooms: &Arc<BufferPool>) -> Self {
        Self {
            open: Block::with_rooms(Arc::clone(rooms)),
            sealed: VecDeque::new(),
            unlogged: Vec::new(),
            sealed_in_memory: 0,
            on_disk: 0,
        }
    }
}

/// What has happened to one table's rows since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows_appended: AtomicU64,
    pub(crate) rows_without_room: AtomicU64,
    pub(crate) rows_inserted: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) rows_refused: AtomicU64,
    /// Questions to the table about rows that may be stored.
    pub(crate) lookups: AtomicU64,
    /// Rows that such a question has found in the table.
    pub(crate) rows_found: AtomicU64,
    /// Rows that ClickHouse has confirmed and does not show.
    pub(crate) rows_missing: AtomicU64,
    /// Blocks that a materialized view may have missed.
    pub(crate) views_in_doubt: AtomicU64,
    /// Rows that a materialized view refuses, and that are in their table.
    pub(crate) rows_refused_by_views: AtomicU64,
    /// Rows that were damaged on disk.
    pub(crate) rows_lost: AtomicU64,
    /// How many failures in a row the rows have had that are tried at present.
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
    /// Rows taken since the start.
    pub rows_appended: u64,
    /// Rows not taken because there was no room.
    pub rows_without_room: u64,
    /// Rows that ClickHouse has confirmed, those from before the start included.
    pub rows_inserted: u64,
    /// Inserts that ClickHouse has confirmed.
    pub inserts: u64,
    /// Inserts that failed and were, or will be, tried again.
    pub retries: u64,
    /// Rows that ClickHouse refused, which became dead letters.
    pub rows_refused: u64,
    /// Questions to the table about rows that may be stored although no answer said so.
    pub lookups: u64,
    /// Rows that such a question has found in the table, and which were not sent again.
    pub rows_found: u64,
    /// Rows that ClickHouse has confirmed and does not show: lost, or hidden from this user.
    pub rows_missing: u64,
    /// Blocks that a materialized view may have missed: after a lost answer, or since it throws on rows that are fine each by itself.
    pub views_in_doubt: u64,
    /// Rows that are in their table and that a materialized view over it refuses; counted once for each such view.
    pub rows_refused_by_views: u64,
    /// Rows that were damaged on the spool's disk while they waited, and are lost.
    pub rows_lost: u64,
    /// Failures in a row of the insert that is tried at present; 0 once it is stored or held.
    pub failures: u64,
    /// Whether rows wait for a person: ClickHouse refuses all of them, or they do not fit the table.
    pub is_held: bool,
    /// Confirmed rows that the audit has compared with the table; 0 without [`WriterOptions::audit_after`](crate::WriterOptions::audit_after).
    pub audit_checked: u64,
    /// Confirmed rows that the audit does not find in the table at present.
    pub audit_missing: u64,
    /// Rows that the audit finds in the table beyond the first of their id, at present.
    pub audit_duplicate: u64,
    /// Rows taken and not yet confirmed.
    pub rows_pending: u64,
    /// Blocks with such rows, the open one included.
    pub blocks_pending: u64,
    /// The length of such rows, in bytes.
    pub bytes_pending: u64,
}

/// What is to be done for a lane.
pub(super) enum Found {
    Rows(Arc<SealedBlock>, Part),
    /// An open block, to be sealed at this time.
    Young(Instant),
    Nothing,
    End,
}

impl TableQueue {
    /// Returns the lane of a table, whose blocks lie in `rooms`.
    pub(super) fn new(layout: Arc<InsertTarget>, rooms: &Arc<BufferPool>) -> Self {
        Self {
            is_dead_letters: &*layout.table == REJECTED.name,
            layout,
            queue: Mutex::new(Queue::new(rooms)),
            changed: Notify::new(),
            dirty: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic can only come from an encoder, and a block forgets what that left (see `Block::append`).
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the log look at the lane, so soon.
    pub(super) fn mark_dirty(&self, log: Option<&LogState>, urgency: Urgency) {
        if let Some(log) = log {
            self.dirty.store(true, Ordering::SeqCst);
            log.signal.raise(urgency);
        }
    }

    /// Returns whether the log has something to look at.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// As [`is_dirty`](Self::is_dirty); from now on it is not, until something is new.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::SeqCst)
    }

    /// Seals the open block, if it has a row, and lets log and delivery know. There is no other way to seal it: a block that
    /// nobody knows of is not sent before the next start.
    pub(super) fn seal(&self, queue: &mut Queue, log: Option<&LogState>) {
        let mut open = std::mem::take(&mut queue.open);
        if let Some(block) = self.seal_for_disk(queue, &mut open, log) {
            queue.sealed.push_back(block);
            self.changed.notify_one();
        }
        // It keeps what memory it has.
        queue.open = open;
    }

    /// Seals a block and lets it come to disk; it is not delivered before it stands behind the others.
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

    /// Lets a sealed block come to disk, or once more.
    pub(super) fn log(&self, queue: &mut Queue, block: Arc<SealedBlock>, log: Option<&LogState>) {
        queue.unlogged.push(block);
        self.mark_dirty(log, Urgency::Now);
    }

    /// Puts a block from before the start behind the others.
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

    /// Lets a block that is on disk be there alone.
    pub(super) fn evict(&mut self, block: &SealedBlock, memory: &Budget) {
        // What is to be written once more is needed for that.
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

    /// Brings a block that is on disk alone into memory, to be written once more.
    pub(super) fn restore(&mut self, block: &SealedBlock, content: BlockRows, memory: &Budget) {
        let mut state = block.state();
        if state.content.is_none() {
            let cost = content.cost();
            memory.take(cost);
            self.sealed_in_memory += cost;
            state.content = Some(content);
        }
    }

    /// Forgets a block that is stored.
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

    /// Notes that a sealed block is on disk, and what it takes there.
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
