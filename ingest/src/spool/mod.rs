//! The spool: blocks between the moment a row is taken and the moment ClickHouse has it.
//!
//! Takes rows, gives sealed blocks, oldest first and each table for itself; a block stays until all of it is reported stored.
//! Promises: memory and disk are bounded, and [`Spool::append`] returns [`SpoolFull`] beyond the bound; no table can take more than
//! half of what the others leave; a lock is held for one row's encoding and never across an `.await`.
//!
//! With a folder, each row is also written to a log, and is there again after a crash:
//!
//! ```text
//! queue         one table's blocks: the open one, and the sealed ones
//! commit        one thread: what is new in all queues becomes a batch, which one fdatasync covers
//! log           segments: rotation, compaction, removal
//! frame         the bytes of a segment
//! reclaim       memory is freed when it is short
//! recover       blocks are read again after a start
//! disk          the file system
//! reader        what delivery asks for
//! dead_letters  rows that move from their block to the dead letters
//! signal        wakes the commit thread
//! state         what all of these share
//! inspect       what a folder holds, for the command line
//! ```
//!
//! An append marks its queue as changed and raises the signal; the commit thread wakes up, writes and syncs a batch, and
//! publishes how far each block is on disk; sealed blocks wake the table's delivery, which asks the reader.
//!
//! Without a folder, rows are in memory alone.

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

/// With so many sealed blocks, a table has one that is inserted, one that is made ready meanwhile, and one that waits.
const WAITING_BLOCKS: usize = 3;

/// Dead letters have an eighth of the memory and of the disk, so that junk takes no room from rows. A row that ClickHouse refuses becomes
/// one all the same: it has been acknowledged.
const DEAD_LETTERS_SHARE: usize = 8;

/// How often lack of room is logged.
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
    /// The lanes that may still have rows to give to the dead letters.
    givers: AtomicUsize,
    closing: Notify,
    started: StdInstant,
    /// When lack of room is logged again, in seconds since the start: for rows, and for dead letters.
    next_alarm_s: [AtomicU64; 2],
}

/// What has become of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// ClickHouse has them.
    Stored,
    /// ClickHouse refuses them, and they are dead letters.
    Refused,
    /// The disk has lost them, which has been told.
    Lost,
}

/// A table that rows come for: its name, its INSERT statement.
pub(crate) type TableLayouts = Vec<Arc<InsertTarget>>;

/// Bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolLimits {
    pub(crate) blocks: BlockLimits,
    /// Memory of all rows, and of requests in flight.
    pub(crate) memory_bytes: usize,
    /// Disk of all segments; used with a folder only.
    pub(crate) log: LogLimits,
}

impl Spool {
    /// Returns an empty spool in memory, with a lane for each of `tables`.
    pub(crate) fn in_memory(tables: TableLayouts, limits: SpoolLimits) -> Arc<Self> {
        Arc::new(Self::new(tables, limits, None))
    }

    /// Opens the spool in `folder`, which no other process may have, with a lane for each of `tables` and more for tables that
    /// blocks from before are for. Returns the thread that writes it, too: it ends after [`stop`](Self::stop).
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

    /// As [`open`](Self::open), on any disk and without the thread.
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
        // Before the segments go that have those marks.
        log.mark_again();
        log.tidy();

        let mut lanes = tables;
        let mut places: HashMap<_, _> = lanes
            .iter()
            .enumerate()
            .map(|(i, lane)| (Arc::clone(&lane.table), i))
            .collect();
        let mut homes = Vec::new();
        for block in recovered.blocks {
            let lane = *places.entry(Arc::clone(&block.layout.table)).or_insert_with(|| {
                lanes.push(Arc::clone(&block.layout));
                lanes.len() - 1
            });
            homes.push((lane, block));
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
        for (lane, block) in homes {
            spool.lanes[lane].restore(block, spool.log.as_ref());
        }
        Ok((spool, log))
    }

    fn new(tables: TableLayouts, limits: SpoolLimits, log: Option<LogState>) -> Self {
        let rooms = Block::rooms();
        let memory = Arc::new(Budget::new(limits.memory_bytes));
        Self {
            givers: AtomicUsize::new(tables.len()),
            lanes: tables
                .into_iter()
                .map(|layout| TableQueue::new(layout, &rooms))
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

    /// Returns the number of lanes: those of the tables come first, in their order.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the name of a lane's table.
    pub(crate) fn table(&self, lane: usize) -> &Arc<str> {
        &self.lanes[lane].layout.table
    }

    /// Returns a lane's counters.
    pub(crate) fn counters(&self, lane: usize) -> &Counters {
        &self.lanes[lane].counters
    }

    /// Returns whether rows come to disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.log.is_some()
    }

    /// Takes one row, which `encode` writes straight into the table's open block.
    ///
    /// # Errors
    /// [`SpoolFull`]; also where `ack` asks for the disk, and the disk is known to fail.
    pub(crate) fn append(
        &self,
        lane: usize,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receipt, SpoolFull> {
        self.append_many(lane, ack, 1, |queue, _, admit| queue.open.append(encode, admit))
    }

    /// Takes rows into one block: all of them, or none. `rows` may be empty afterwards.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub(crate) fn append_rows(&self, lane: usize, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
        let (count, is_long) = (rows.count(), rows.bytes().len() >= WORTH_TAKING_OVER);
        self.append_many(lane, ack, count, |queue, lane, admit| {
            if queue.open.rows() + count > self.limits.rows || is_long {
                // They would make the block longer than one may be, or take longer to copy, and go into one together.
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

    /// Notes that a lane has nothing to give to the dead letters any more; their own lane counts as well.
    pub(crate) fn ends(&self) {
        self.givers.fetch_sub(1, Ordering::AcqRel);
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    /// Logs that rows are not taken, once in a while and not once a row.
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
            tracing::error!("dead letters are dropped: those that wait for ClickHouse take all the room that they may");
        } else {
            tracing::error!(
                memory_bytes = self.memory.used(),
                disk_bytes = self.disk_bytes(),
                disk_is_failing = self.is_failing(),
                "rows are not taken: no room is left until ClickHouse has taken some of those that wait"
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
        // Spares the encoding when nothing fits anyway.
        if self.memory.used() >= self.memory.max || (ack >= Ack::Spooled && self.is_failing()) {
            return Err(SpoolFull);
        }
        let mut queue = lane.lock();
        // Read under the lock: whoever closes and then takes the lock has seen the last row.
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
            // Blocks that wait are on disk alone; there are this one, the next, and those on their way there.
            BlockLimits {
                bytes: self.limits.bytes.min(self.memory.max / DEAD_LETTERS_SHARE / 4),
                ..self.limits
            }
        } else if queue.sealed.len() < WAITING_BLOCKS {
            self.limits
        } else {
            self.limits.behind_others()
        };
        if limits.are_reached_by(&queue.open) {
            lane.seal(&mut queue, self.log.as_ref());
        } else if let Some(log) = &self.log {
            let urgency = match ack {
                Ack::Accepted => Urgency::Soon,
                Ack::Spooled | Ack::Stored => log.signal.urgency_of_wait(),
            };
            lane.mark_dirty(Some(log), urgency);
        }
        drop(queue);
        if first == 0 {
            lane.changed.notify_one();
        }
        Ok(Receipt { waiting: receipt })
    }

    /// Returns whether a lane with so many bytes on disk may have more there.
    pub(super) fn has_disk_room(&self, on_disk: usize) -> bool {
        self.log.as_ref().is_none_or(|log| {
            let used = log.waiting.used();
            used.saturating_add(on_disk) <= log.waiting.max
        })
    }

    /// Returns whether there is disk for the letter of a row that ClickHouse refuses. Such a letter gives back the row's own room, and must
    /// not wait for it: rows alone never reach this bound.
    pub(super) fn has_disk_room_for_refused(&self) -> bool {
        self.log
            .as_ref()
            .is_none_or(|log| log.waiting.used() <= log.waiting.max.saturating_add(log.letter_reserve))
    }

    /// Returns whether dead letters with so many bytes on disk may have more there.
    fn has_disk_room_for_letters(&self, on_disk: usize) -> bool {
        self.log
            .as_ref()
            .is_none_or(|log| on_disk < log.waiting.max / DEAD_LETTERS_SHARE)
    }

    /// Takes no more rows, and seals open blocks as soon as their lanes come to them.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    /// Says that the event loop of this thread has nothing left to do: what it has appended need not wait for more.
    pub(crate) fn rest(&self) {
        if let Some(log) = &self.log {
            log.signal.rest();
        }
    }

    /// Lets the thread end that writes the log, once everything that was taken is on disk.
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
        // Made before the look at the flag: it catches a call that comes in between.
        let closing = self.closing.notified();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Returns whether the disk has failed the last time something was to be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.is_failing.load(Ordering::Relaxed))
    }

    /// Returns the number of damaged parts of segments that were found since the start.
    pub(crate) fn damaged_parts(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.damaged.load(Ordering::Relaxed))
    }

    /// Returns the length of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.bytes.load(Ordering::Relaxed))
    }

    /// Returns the memory of requests in flight, which is a part of the rows' bound.
    pub(crate) fn requests(&self) -> &Arc<RequestMemory> {
        &self.requests
    }

    /// Returns the memory that rows and requests in flight take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used()
    }

    /// Returns whether less than a sixteenth of a bound is free: rows may still fit, but not for long.
    pub(crate) fn is_nearly_full(&self) -> bool {
        let is_near = |bound: &Budget| bound.used() > bound.max - bound.max / 16;
        is_near(&self.memory) || self.log.as_ref().is_some_and(|log| is_near(&log.waiting))
    }

    /// Returns whether a lane has blocks waiting behind its oldest one.
    pub(crate) fn has_backlog(&self, lane: usize) -> bool {
        self.lanes[lane].lock().sealed.len() > 1
    }

    /// Returns the counters of all tables.
    pub(crate) fn counts(&self) -> Vec<TableCounts> {
        self.lanes.iter().map(TableQueue::counts).collect()
    }
}
