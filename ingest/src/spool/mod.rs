//! The spool: blocks between the moment a row is taken and the moment ClickHouse has it.
//!
//! Takes rows, gives sealed blocks, oldest first and each table for itself; a block stays until all of it is reported stored.
//! Promises: what is taken is under a bound, in memory and on disk, beyond which [`Spool::append`] says [`NoRoom`]; no table
//! can take more than half of what the others leave; a lock is held for one row's encoding and never across an `.await`.
//!
//! With a folder, each row is written to a log as well, and is there again after a crash:
//!
//! ```text
//! lane      one table's blocks: the open one, and those that wait
//! commit    one thread: what is new in all lanes becomes a batch, one fdatasync covers it
//! log       segments, their rotation and their end
//! frame     the bytes
//! recover   blocks again, after a start
//! disk      the file system
//! ```
//!
//! Without one, rows are in memory alone.

mod commit;
mod disk;
pub(crate) mod frame;
mod inspect;
mod lane;
mod log;
mod parts;
mod recover;
#[cfg(test)]
mod simulation;

use std::{
    collections::HashMap,
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant as StdInstant},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout_at,
};

use self::{
    commit::{Op, Signal, Urgency},
    disk::{Disk, Folder},
    lane::{Found, Lane},
    log::Log,
    recover::{ReadError, read_rows, recover},
};
pub(crate) use self::{
    frame::RowRange,
    lane::Counters,
    log::{LogLimits, Logged},
    parts::Parts,
};
pub use self::{
    inspect::{BlockReport, PartReport, SpoolReport, inspect},
    lane::TableCounts,
    recover::SpoolError,
};
use crate::{
    ack::{Ack, Receipt, Waiting},
    block::{BlockLimits, Layout, SealedBlock},
};

/// No room for a row: a bound of the spool is reached, the disk fails, or the spool has been closed. The row was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another row until ClickHouse has taken some")
    }
}

impl std::error::Error for NoRoom {}

/// How often lack of room is logged.
const ALARM_INTERVAL_S: u64 = 60;

/// The rows of all tables that are not yet stored.
#[derive(Debug)]
pub(crate) struct Spool {
    lanes: Box<[Lane]>,
    limits: BlockLimits,
    memory: Bound,
    log: Option<LogState>,
    closed: AtomicBool,
    /// The lanes that may still have rows to give to the dead letters.
    givers: AtomicUsize,
    closing: Notify,
    started: StdInstant,
    /// When lack of room is logged again, in seconds since the start.
    next_alarm_s: AtomicU64,
}

/// Bytes in use, and how many there may be.
#[derive(Debug)]
struct Bound {
    used: AtomicUsize,
    max: usize,
}

impl Bound {
    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Books `cost` bytes for someone who has `held` already: nobody has more than is free for all others.
    fn reserve(&self, cost: usize, held: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(cost)?;
                (sum.saturating_add(held) <= self.max).then_some(sum)
            })
            .is_ok()
    }

    fn release(&self, cost: usize) {
        self.used.fetch_sub(cost, Ordering::Relaxed);
    }

    fn take(&self, cost: usize) {
        self.used.fetch_add(cost, Ordering::Relaxed);
    }
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

/// What all threads see of the log.
#[derive(Debug)]
struct LogState {
    disk: Arc<dyn Disk>,
    signal: Signal,
    ops: std::sync::Mutex<Vec<Op>>,
    /// The last try to write has failed.
    is_failing: AtomicBool,
    /// Bytes of blocks on disk that are not stored.
    waiting: Bound,
    /// Bytes of all segments.
    bytes: AtomicU64,
    stopped: AtomicBool,
}

/// A table that rows come for: its name, its INSERT statement.
pub(crate) type TableLayouts = Vec<Arc<Layout>>;

/// Bounds of a spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpoolLimits {
    pub(crate) blocks: BlockLimits,
    /// Memory of all rows.
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
        let mut log = Log::new(Arc::clone(&disk), limits.log, recovered.segments);
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
            waiting: Bound {
                used: AtomicUsize::new(0),
                max: usize::try_from(limits.log.max_bytes).unwrap_or(usize::MAX),
            },
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
        Self {
            givers: AtomicUsize::new(tables.len()),
            lanes: tables.into_iter().map(Lane::new).collect(),
            limits: limits.blocks,
            memory: Bound {
                used: AtomicUsize::new(0),
                max: limits.memory_bytes,
            },
            log,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            started: StdInstant::now(),
            next_alarm_s: AtomicU64::new(0),
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
    /// [`NoRoom`]; also where `ack` asks for the disk, and the disk is known to fail.
    pub(crate) fn append(&self, lane: usize, ack: Ack, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Receipt, NoRoom> {
        let lane = &self.lanes[lane];
        let result = match self.is_closed() {
            true => Err(NoRoom),
            false => self.append_to(lane, ack, encode, |spool| !spool.is_closed()),
        };
        let counter = match result {
            Ok(_) => &lane.counters.rows_appended,
            Err(NoRoom) => &lane.counters.rows_without_room,
        };
        Counters::add(counter, 1);
        if result.is_err() && !self.is_closed() {
            self.raise_alarm();
        }
        result
    }

    /// Takes a row that another lane had, into the lane of the dead letters, which is there until all others have ended.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub(crate) fn hand_over(&self, lane: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Receipt, NoRoom> {
        let lane = &self.lanes[lane];
        let receipt = self.append_to(lane, Ack::Spooled, encode, |_| true)?;
        Counters::add(&lane.counters.rows_appended, 1);
        Ok(receipt)
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
    fn raise_alarm(&self) {
        let now_s = self.started.elapsed().as_secs();
        let due_s = self.next_alarm_s.load(Ordering::Relaxed);
        let next_s = now_s + ALARM_INTERVAL_S;
        let is_ours = || {
            self.next_alarm_s
                .compare_exchange(due_s, next_s, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now_s >= due_s && is_ours() {
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
        lane: &Lane,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
        is_open: impl FnOnce(&Self) -> bool,
    ) -> Result<Receipt, NoRoom> {
        // Spares the encoding when nothing fits anyway.
        if self.memory.used() >= self.memory.max || (ack >= Ack::Spooled && self.is_failing()) {
            return Err(NoRoom);
        }
        let mut queue = lane.lock();
        // Read under the lock: whoever closes and then takes the lock has seen the last row.
        if !is_open(self) || !self.has_disk_room(queue.on_disk) {
            return Err(NoRoom);
        }
        let held = queue.in_memory;
        if !queue.open.append(encode, |cost| self.memory.reserve(cost, held)) {
            return Err(NoRoom);
        }
        queue.in_memory = queue.sealed_in_memory + queue.open.cost();
        let row = queue.open.rows() - 1;
        let receipt = match (ack, queue.open.opened()) {
            (Ack::Spooled | Ack::Stored, Some(opened)) if self.has_disk() || ack == Ack::Stored => Some(Waiting {
                progress: Arc::clone(&opened.progress),
                row: u32::try_from(row).unwrap_or(u32::MAX),
                ack,
                has_disk: self.has_disk(),
            }),
            _ => None,
        };
        let is_sealed = self.limits.are_reached_by(&queue.open);
        if is_sealed {
            queue.seal(&lane.layout);
        }
        if let Some(log) = &self.log {
            lane.dirty.store(true, Ordering::SeqCst);
            let urgency = if is_sealed || ack >= Ack::Spooled {
                Urgency::Now
            } else {
                Urgency::Soon
            };
            log.signal.raise(urgency);
        }
        drop(queue);
        if row == 0 || is_sealed {
            lane.changed.notify_one();
        }
        Ok(Receipt { waiting: receipt })
    }

    /// Returns whether a lane with so many bytes on disk may have more there.
    fn has_disk_room(&self, on_disk: usize) -> bool {
        self.log.as_ref().is_none_or(|log| {
            let used = log.waiting.used();
            used.saturating_add(on_disk) <= log.waiting.max
        })
    }

    /// Returns the lane's oldest block, and waits for one; none once the spool is closed and the lane empty.
    ///
    /// The block stays first until all of it is [settled](Self::settle). An open block is sealed here when its age is reached:
    /// while its lane is busy with an older one it goes on growing, so that a slow ClickHouse gets fewer, larger blocks. With a
    /// log, a block is given once all of it is on disk. One task at a time may wait for a lane.
    /// With `is_last`, it is not the end before all other lanes have [ended](Self::ends).
    pub(crate) async fn next(&self, lane: usize, is_last: bool) -> Option<Arc<SealedBlock>> {
        let lane = &self.lanes[lane];
        loop {
            match self.look(lane) {
                Found::Block(block) => return Some(block),
                Found::End if is_last && self.givers.load(Ordering::Acquire) > 1 => lane.changed.notified().await,
                // Either way there is something new to look at.
                Found::Young(until) => _ = timeout_at(until, lane.changed.notified()).await,
                Found::Nothing => lane.changed.notified().await,
                Found::End => return None,
            }
        }
    }

    fn look(&self, lane: &Lane) -> Found {
        let mut queue = lane.lock();
        if queue.sealed.is_empty() {
            let Some(opened) = queue.open.opened() else {
                return if self.is_closed() { Found::End } else { Found::Nothing };
            };
            let until = opened.at + self.limits.age;
            if !self.is_closed() && tokio::time::Instant::now() < until {
                return Found::Young(until);
            }
            queue.seal(&lane.layout);
            if let Some(log) = &self.log {
                lane.dirty.store(true, Ordering::SeqCst);
                log.signal.raise(Urgency::Now);
            }
        }
        let Some(block) = queue.sealed.front() else {
            return Found::Nothing;
        };
        // A disk that fails must not keep rows from ClickHouse.
        let is_fixed = !self.has_disk() || self.is_failing() || block.state().logged.is_sealed;
        if is_fixed {
            Found::Block(Arc::clone(block))
        } else {
            Found::Nothing
        }
    }

    /// Returns rows of a block, from memory or from disk. What damage has hit is missing, and told.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn rows(self: &Arc<Self>, block: &Arc<SealedBlock>, part: &RowRange) -> io::Result<Bytes> {
        if let Some(content) = &block.state().content {
            return Ok(content.slice(part));
        }
        let (spool, block, part) = (Arc::clone(self), Arc::clone(block), part.clone());
        match tokio::task::spawn_blocking(move || spool.read(&block, &part)).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn read(&self, block: &SealedBlock, part: &RowRange) -> io::Result<Bytes> {
        let Some(log) = &self.log else {
            return Err(io::ErrorKind::NotFound.into());
        };
        loop {
            let logged = block.state().logged.clone();
            match read_rows(&*log.disk, block.id, &logged, part) {
                Ok(rows) => return Ok(rows.into()),
                Err(ReadError::Damaged(frame)) => {
                    tracing::error!(
                        table = %block.layout.table, block = %block.id, segment = logged.segment, rows = ?frame.rows,
                        "rows were damaged on disk and are lost; the segment is set aside"
                    );
                    if let Some(segment) = logged.segment {
                        log.disk.set_aside(segment)?;
                    }
                    block.state().logged.frames.retain(|candidate| *candidate != frame);
                }
                // It may have been moved to another segment just now.
                Err(ReadError::Io(error)) if block.state().logged.segment == logged.segment => return Err(error),
                Err(ReadError::Io(_)) => {}
            }
        }
    }

    /// Lets a block that has to wait be on disk alone.
    pub(crate) fn evict(&self, lane: usize, block: &SealedBlock) {
        if self.has_disk() {
            self.lanes[lane].lock().evict(block, &self.memory);
        }
    }

    /// Notes what has become of rows of the lane's oldest block, and forgets the block when nothing is left of it.
    pub(crate) fn settle(&self, lane: usize, block: &Arc<SealedBlock>, part: &RowRange, outcome: Outcome) {
        let lane = &self.lanes[lane];
        let mut queue = lane.lock();
        let is_all = {
            let mut state = block.state();
            state.parts.settle(part);
            state.parts.is_empty()
        };
        if is_all {
            queue.forget(block, &self.memory, self.log.as_ref());
        }
        drop(queue);
        let rows = part.len() as u64;
        match outcome {
            Outcome::Stored => {
                Counters::add(&lane.counters.rows_inserted, rows);
                Counters::add(&lane.counters.inserts, 1);
            }
            Outcome::Refused => Counters::add(&lane.counters.rows_refused, rows),
            Outcome::Lost => {}
        }
        if is_all || outcome != Outcome::Stored {
            block.progress.send_modify(|progress| {
                if outcome != Outcome::Stored {
                    progress.refused.extend(part.clone());
                }
                progress.is_done = is_all;
            });
        }
        if let Some(log) = &self.log {
            log.push(Op::Done {
                block: block.id,
                rows: part.clone(),
                is_all,
            });
        }
    }

    /// Puts the halves of a part that ClickHouse refuses in its place, for good.
    ///
    /// # Errors
    /// It could not be written down, and nothing is changed.
    pub(crate) async fn split(&self, block: &Arc<SealedBlock>, part: &RowRange) -> io::Result<()> {
        if let Some(log) = &self.log {
            let segment = {
                let state = block.state();
                state.logged.segment.filter(|_| state.logged.is_sealed)
            };
            let segment = segment.ok_or(io::ErrorKind::NotFound)?;
            let (reply, answer) = oneshot::channel();
            log.push(Op::Split {
                segment,
                block: block.id,
                rows: part.clone(),
                reply,
            });
            answer.await.map_err(io::Error::other)??;
        }
        block.state().parts.split(part);
        Ok(())
    }

    /// Takes no more rows, and seals open blocks as soon as their lanes come to them.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
        for lane in &self.lanes {
            lane.changed.notify_one();
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

    /// Returns the length of all segments.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.bytes.load(Ordering::Relaxed))
    }

    /// Returns the memory that rows take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used()
    }

    /// Returns whether less than a sixteenth of a bound is free: rows may still fit, but not for long.
    pub(crate) fn is_nearly_full(&self) -> bool {
        let is_near = |bound: &Bound| bound.used() > bound.max - bound.max / 16;
        is_near(&self.memory) || self.log.as_ref().is_some_and(|log| is_near(&log.waiting))
    }

    /// Returns whether a lane has blocks waiting behind its oldest one.
    pub(crate) fn has_backlog(&self, lane: usize) -> bool {
        self.lanes[lane].lock().sealed.len() > 1
    }

    /// Returns the counters of all tables.
    pub(crate) fn counts(&self) -> Vec<TableCounts> {
        self.lanes.iter().map(Lane::counts).collect()
    }
}

impl LogState {
    fn push(&self, op: Op) {
        let urgency = match op {
            Op::Done { .. } => Urgency::Soon,
            Op::Split { .. } => Urgency::Now,
        };
        self.ops
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(op);
        self.signal.raise(urgency);
    }
}

/// How long rows that nobody waits for may stay in memory alone.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);
