//! The spool: holds blocks from the moment a row is accepted until ClickHouse has it.
//!
//! Takes rows and returns sealed blocks, oldest first, for each table separately. A block stays
//! until all of it is reported stored. Promises: memory and disk are bounded, and `Spool::append`
//! returns `SpoolFull` beyond a bound; no table can take more than half of what the others leave;
//! a lock is held while rows are encoded or copied, and never across an `.await`.
//!
//! With a folder, the spool also writes each row to a log, and finds it again after a crash:
//!
//! ```text
//! queue         one table's blocks: the open one, and the sealed ones
//! commit        one thread: writes what is new in all queues as one batch, with one fdatasync
//! log           segments: rotation, compaction, removal
//! frame         the bytes of a segment
//! scan          finds the frames of a segment, damaged ones left out
//! reclaim       frees memory when it is short
//! recover       reads blocks back after a start
//! disk          the file system
//! reader        what delivery asks for
//! dead_letters  moves rows from their block to the dead letters
//! signal        wakes the commit thread
//! state         what all of these share
//! inspect       what a folder holds, for the command line
//! ```
//!
//! An append marks its queue as changed and raises the signal. The commit thread wakes up, writes
//! and syncs a batch, and publishes how far each block is on disk. A sealed block wakes the table's
//! delivery, which asks the reader.
//!
//! Without a folder, rows are only in memory.

mod commit;
mod dead_letters;
mod disk;
pub(crate) mod frame;
mod inspect;
mod log;
mod queue;
mod reader;
mod reclaim;
mod recover;
mod scan;
mod signal;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant as StdInstant,
};

use tokio::sync::Notify;

use crate::{
    ack::Ack,
    block::{
        Block, BlockLimits, WORTH_TAKING_OVER,
        layout::InsertTarget,
        receipt::{Receipt, Waiting},
        rows::RowBatch,
    },
    budget::SpoolFull,
};
pub(crate) use {
    self::log::LogLimits,
    crate::{
        budget::RequestMemory,
        spool::{
            queue::Counters,
            reader::{Next, Parked, Upcoming},
        },
    },
};
use {
    self::{
        disk::{Disk, Folder},
        log::Log,
        recover::recover,
        state::LogState,
    },
    crate::{
        budget::Budget,
        spool::{
            queue::{Queue, TableQueue},
            signal::{Signal, Urgency},
        },
    },
};
pub use {
    self::{
        inspect::{BlockReport, PartReport, SpoolReport, inspect},
        recover::SpoolError,
    },
    crate::spool::queue::TableCounts,
};

/// With this many sealed blocks, a table has one that is being inserted, one that is being
/// prepared, and one that waits.
const WAITING_BLOCKS: usize = 3;

/// Dead letters get an eighth of the memory and of the disk, so that junk takes no space from rows.
/// A row that ClickHouse refuses becomes a dead letter beyond that share, too: it has been
/// acknowledged.
const DEAD_LETTERS_SHARE: usize = 8;

/// The interval at which a full spool is logged.
const ALARM_INTERVAL_S: u64 = 60;

/// The rows of all tables that are not yet stored.
#[derive(Debug)]
pub(crate) struct Spool {
    lanes: Box<[TableQueue]>,
    limits: BlockLimits,
    memory: Arc<Budget>,
    requests: Arc<RequestMemory>,
    log: Option<LogState>,
    closed: AtomicBool,
    /// The number of queues whose delivery has not ended. The dead letters' delivery ends last.
    active_tables: AtomicUsize,
    closing: Notify,
    started: StdInstant,
    /// When a full spool is logged again, in seconds since the start: for rows, and for dead
    /// letters.
    next_alarm_s: [AtomicU64; 2],
}

/// The outcome of a row's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// ClickHouse has stored the rows.
    Stored,
    /// ClickHouse has refused the rows, and they are dead letters.
    Refused,
    /// The disk has lost the rows, and the reader has logged it.
    Lost,
}

/// The tables that accept rows: the name and the INSERT statement of each.
pub(crate) type TableLayouts = Vec<Arc<InsertTarget>>;

/// The bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolLimits {
    pub(crate) blocks: BlockLimits,
    /// Memory of all rows and of requests in flight.
    pub(crate) memory_bytes: usize,
    /// Disk space of all segments; used only with a folder.
    pub(crate) log: LogLimits,
}

impl Spool {
    /// Returns an empty spool in memory, with a queue for each of `tables`.
    pub(crate) fn in_memory(tables: TableLayouts, limits: SpoolLimits) -> Arc<Self> {
        Arc::new(Self::new(tables, limits, None))
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
    ) -> Result<(Arc<Self>, thread::JoinHandle<()>), SpoolError> {
        let io_error = |error| SpoolError::Io(folder.to_owned(), error);
        let disk = Folder::lock(folder)
            .map_err(io_error)?
            .ok_or_else(|| SpoolError::InUse(folder.to_owned()))?;
        let (spool, log) = Self::recovered(Arc::new(disk), folder, tables, limits)?;
        let spool = Arc::new(spool);
        let writer = Arc::clone(&spool);
        let thread = thread::Builder::new()
            .name("rowmill-spool".to_owned())
            .spawn(move || writer.write_until_stopped(log))
            .map_err(io_error)?;
        Ok((spool, thread))
    }

    /// Like [`open`](Self::open), on any disk and without the thread.
    fn recovered(
        disk: Arc<dyn Disk>,
        path: &Path,
        tables: TableLayouts,
        limits: SpoolLimits,
    ) -> Result<(Self, Log), SpoolError> {
        let recovered = recover(&*disk, path)?;
        recovered.tell();
        let damaged = recovered.damage.len() as u64;
        let mut log = Log::new(Arc::clone(&disk), limits.log, recovered.segments, recovered.unmarked);
        // Write the marks again before `remove_finished` removes the segments that they come from.
        log.mark_again();
        log.remove_finished();

        let mut lanes = tables;
        let mut places: HashMap<_, _> = lanes
            .iter()
            .enumerate()
            .map(|(i, lane)| (Arc::clone(&lane.table), i))
            .collect();
        let mut segments_of = Vec::new();
        for block in recovered.blocks {
            let lane = *places.entry(Arc::clone(&block.layout.table)).or_insert_with(|| {
                lanes.push(Arc::clone(&block.layout));
                lanes.len() - 1
            });
            segments_of.push((lane, block));
        }
        let state = LogState {
            disk,
            signal: Signal::default(),
            ops: std::sync::Mutex::default(),
            is_failing: AtomicBool::new(false),
            damaged: AtomicU64::new(damaged),
            waiting: Budget::new(usize::try_from(limits.log.max_bytes).unwrap_or(usize::MAX)),
            letter_reserve: usize::try_from(limits.log.segment_bytes).unwrap_or(usize::MAX),
            bytes: AtomicU64::new(log.bytes()),
            stopped: AtomicBool::new(false),
        };
        let spool = Self::new(lanes, limits, Some(state));
        for (lane, block) in segments_of {
            spool.lanes[lane].restore(block, spool.log.as_ref());
        }
        Ok((spool, log))
    }

    fn new(tables: TableLayouts, limits: SpoolLimits, log: Option<LogState>) -> Self {
        let pool = Block::pool();
        let memory = Arc::new(Budget::new(limits.memory_bytes));
        Self {
            active_tables: AtomicUsize::new(tables.len()),
            lanes: tables
                .into_iter()
                .map(|layout| TableQueue::new(layout, &pool))
                .collect(),
            limits: limits.blocks,
            requests: RequestMemory::new(Arc::clone(&memory)),
            memory,
            log,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            started: StdInstant::now(),
            next_alarm_s: Default::default(),
        }
    }

    /// Returns the number of queues; those of the configured tables come first, in order.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the name of a queue's table.
    pub(crate) fn table(&self, lane: usize) -> &Arc<str> {
        &self.lanes[lane].layout.table
    }

    /// Returns a queue's counters.
    pub(crate) fn counters(&self, lane: usize) -> &Counters {
        &self.lanes[lane].counters
    }

    /// Returns whether the spool writes rows to disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.log.is_some()
    }

    /// Appends one row, which `encode` writes straight into the table's open block.
    ///
    /// # Errors
    /// [`SpoolFull`], also if `ack` asks for the disk and the disk is known to fail.
    pub(crate) fn append(
        &self,
        lane: usize,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receipt, SpoolFull> {
        self.append_many(lane, ack, 1, |queue, _, admit| queue.open.append(encode, admit))
    }

    /// Appends rows to one block: all of them, or none. `rows` may be empty afterwards.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(crate) fn append_rows(&self, lane: usize, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
        let (count, is_long) = (rows.count(), rows.bytes().len() >= WORTH_TAKING_OVER);
        self.append_many(lane, ack, count, |queue, lane, admit| {
            if queue.open.rows() + count > self.limits.rows || is_long {
                // These rows go into one block together. The open block would exceed its limit, or
                // copying the rows into it would take longer than taking over their buffer.
                lane.seal(queue, self.log.as_ref());
            }
            queue.open.append_rows(rows, admit)
        })
    }

    fn append_many(
        &self,
        lane: usize,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut Queue, &TableQueue, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        let lane = &self.lanes[lane];
        let result = match self.is_closed() {
            true => Err(SpoolFull),
            false => self.append_to(lane, ack, rows, put),
        };
        let counter = match result {
            Ok(_) => &lane.counters.rows_appended,
            Err(SpoolFull) => &lane.counters.rows_without_room,
        };
        Counters::add(counter, rows as u64);
        if result.is_err() && !self.is_closed() {
            self.raise_alarm(lane);
        }
        result
    }

    /// Notes that a queue's delivery has ended and moves no more rows to the dead letters. The dead
    /// letters' own queue counts as well.
    pub(crate) fn ends(&self) {
        self.active_tables.fetch_sub(1, Ordering::AcqRel);
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    /// Logs that the spool is full, once per interval and not once per row.
    #[cold]
    fn raise_alarm(&self, lane: &TableQueue) {
        let now_s = self.started.elapsed().as_secs();
        let next_alarm_s = &self.next_alarm_s[usize::from(lane.is_dead_letters)];
        let due_s = next_alarm_s.load(Ordering::Relaxed);
        let next_s = now_s + ALARM_INTERVAL_S;
        let is_ours = || {
            next_alarm_s
                .compare_exchange(due_s, next_s, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now_s < due_s || !is_ours() {
            return;
        }
        if lane.is_dead_letters {
            tracing::error!("dead letters are dropped: pending dead letters have reached their limit");
        } else {
            tracing::error!(
                memory_bytes = self.memory.used(),
                disk_bytes = self.disk_bytes(),
                disk_is_failing = self.is_failing(),
                "rows are rejected: the spool is full until ClickHouse stores some of its rows"
            );
        }
    }

    fn append_to(
        &self,
        lane: &TableQueue,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut Queue, &TableQueue, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        // Spare the encoding when nothing fits anyway.
        if self.memory.used() >= self.memory.max || (ack >= Ack::Spooled && self.is_failing()) {
            return Err(SpoolFull);
        }
        let mut queue = lane.lock();
        // Read under the lock: a thread that closes the spool and then takes the lock sees the last
        // row.
        if self.is_closed() || !self.has_disk_room(queue.on_disk) {
            return Err(SpoolFull);
        }
        if lane.is_dead_letters && !self.has_disk_room_for_letters(queue.on_disk) {
            return Err(SpoolFull);
        }
        let held = queue.in_memory();
        let is_within_share =
            |cost: usize| !lane.is_dead_letters || held + cost <= self.memory.max / DEAD_LETTERS_SHARE;
        let admit = |cost| is_within_share(cost) && self.memory.reserve(cost, held);
        if !put(&mut queue, lane, &admit) {
            return Err(SpoolFull);
        }
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let first = queue.open.rows() - rows;
        let place = count(first)..count(queue.open.rows());
        let receipt = match (ack, queue.open.opened()) {
            (Ack::Spooled | Ack::Stored, Some(opened)) if self.has_disk() || ack == Ack::Stored => Some(Waiting {
                progress: Arc::clone(&opened.progress),
                rows: place,
                ack,
                has_disk: self.has_disk(),
            }),
            _ => None,
        };
        let limits = if lane.is_dead_letters {
            // Blocks that wait are only on disk. Memory holds this block, the next one, and those
            // being written.
            BlockLimits {
                bytes: self.limits.bytes.min(self.memory.max / DEAD_LETTERS_SHARE / 4),
                ..self.limits
            }
        } else if queue.sealed.len() < WAITING_BLOCKS {
            self.limits
        } else {
            self.limits.when_backlogged()
        };
        if limits.exceeded_by(&queue.open) {
            lane.seal(&mut queue, self.log.as_ref());
        } else if let Some(log) = &self.log {
            let urgency = match ack {
                Ack::Accepted => Urgency::Soon,
                Ack::Spooled | Ack::Stored => log.signal.wait_urgency(),
            };
            lane.mark_unlogged(Some(log), urgency);
        }
        drop(queue);
        if first == 0 {
            lane.changed.notify_one();
        }
        Ok(Receipt { waiting: receipt })
    }

    /// Returns whether a queue with `on_disk` bytes on disk may have more there.
    pub(super) fn has_disk_room(&self, on_disk: usize) -> bool {
        self.log.as_ref().is_none_or(|log| {
            let used = log.waiting.used();
            used.saturating_add(on_disk) <= log.waiting.max
        })
    }

    /// Returns whether the disk has space for the dead letter of a row that ClickHouse refuses. The
    /// dead letter frees the row's own space and therefore must not wait for it. Rows alone never
    /// reach this bound.
    pub(super) fn has_disk_room_for_refused(&self) -> bool {
        self.log
            .as_ref()
            .is_none_or(|log| log.waiting.used() <= log.waiting.max.saturating_add(log.letter_reserve))
    }

    /// Returns whether dead letters with `on_disk` bytes on disk may have more there.
    fn has_disk_room_for_letters(&self, on_disk: usize) -> bool {
        self.log
            .as_ref()
            .is_none_or(|log| on_disk < log.waiting.max / DEAD_LETTERS_SHARE)
    }

    /// Stops accepting rows, and wakes each queue's delivery to seal the open block.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    /// Notes that this thread's event loop is idle: the rows that it has appended need not wait for
    /// more.
    pub(crate) fn rest(&self) {
        if let Some(log) = &self.log {
            log.signal.rest();
        }
    }

    /// Asks the thread that writes the log to end, once all accepted rows are on disk or the disk
    /// fails.
    pub(crate) fn stop(&self) {
        if let Some(log) = &self.log {
            log.stopped.store(true, Ordering::SeqCst);
            log.signal.raise(Urgency::Now);
        }
    }

    /// Returns whether [`close`](Self::close) has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until the spool is closed.
    pub(crate) async fn closed(&self) {
        // Created before the flag is read, so that it catches a `close` in between.
        let closing = self.closing.notified();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Returns whether the last attempt to write to disk failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.is_failing.load(Ordering::Relaxed))
    }

    /// Returns the number of damaged parts of segments found since the start.
    pub(crate) fn damaged_parts(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.damaged.load(Ordering::Relaxed))
    }

    /// Returns the total length of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.bytes.load(Ordering::Relaxed))
    }

    /// Returns the memory of requests in flight, which counts toward the rows' bound.
    pub(crate) fn requests(&self) -> &Arc<RequestMemory> {
        &self.requests
    }

    /// Returns the memory that rows and requests in flight use.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used()
    }

    /// Returns whether less than a sixteenth of a bound is free: rows may still fit, but not for
    /// long.
    pub(crate) fn is_nearly_full(&self) -> bool {
        let is_near = |bound: &Budget| bound.used() > bound.max - bound.max / 16;
        is_near(&self.memory) || self.log.as_ref().is_some_and(|log| is_near(&log.waiting))
    }

    /// Returns whether a queue has blocks that wait after its oldest one.
    pub(crate) fn has_backlog(&self, lane: usize) -> bool {
        self.lanes[lane].lock().sealed.len() > 1
    }

    /// Returns the counters of all tables.
    pub(crate) fn counts(&self) -> Vec<TableCounts> {
        self.lanes.iter().map(TableQueue::counts).collect()
    }
}
