//! State: the log as all threads see it. Appenders and readers query it for disk space and
//! schedule operations; the committer applies the operations.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    block::{parts::RowRange, sealed::SealedBlock},
    budget::Budget,
    spool::{
        disk::Disk,
        log::{LogLimits, StagedSegment},
        signal::{Signal, Urgency},
    },
};

/// The share of the memory and of the disk that dead letters get, as a divisor: junk must not
/// displace rows. A row that ClickHouse refuses becomes a dead letter beyond that share, too: it
/// has been acknowledged.
pub(super) const DEAD_LETTERS_SHARE: usize = 8;

/// The log as all threads see it.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) signal: Signal,
    ops: Mutex<Vec<Op>>,
    /// Whether the last attempt to write failed.
    pub(super) is_failing: AtomicBool,
    /// Damaged parts of segments found since the start.
    pub(super) damaged: AtomicU64,
    /// Disk space of blocks that are not stored.
    pub(super) waiting: Budget,
    /// Bytes beyond that bound for the dead letters of rows that ClickHouse refuses.
    dead_letter_reserve: usize,
    /// Bytes of all segments.
    pub(super) bytes: AtomicU64,
    stopped: AtomicBool,
}

impl LogState {
    /// Returns the state of a log of `bytes` bytes, in which `damaged` parts were found.
    pub(super) fn new(disk: Arc<dyn Disk>, limits: LogLimits, damaged: u64, bytes: u64) -> Self {
        let capped = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            disk,
            signal: Signal::default(),
            ops: Mutex::default(),
            is_failing: AtomicBool::new(false),
            damaged: AtomicU64::new(damaged),
            waiting: Budget::new(capped(limits.max_bytes)),
            dead_letter_reserve: capped(limits.segment_bytes),
            bytes: AtomicU64::new(bytes),
            stopped: AtomicBool::new(false),
        }
    }

    /// Schedules an operation and wakes the committer.
    pub(super) fn push(&self, op: Op) {
        let urgency = match op {
            Op::Done { .. } | Op::HandedOver(_) => Urgency::Soon,
            Op::Cut { .. } | Op::SendTo { .. } | Op::Receive { .. } => Urgency::Now,
        };
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
        self.signal.raise(urgency);
    }

    /// Removes and returns the scheduled operations, oldest first.
    pub(super) fn take_ops(&self) -> Vec<Op> {
        std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops the committer, once all accepted rows are on disk or the disk fails.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.signal.raise(Urgency::Now);
    }

    /// Returns whether [`stop`](Self::stop) has been called.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Returns the segments that exist if the last attempt to write failed, and none of them if
    /// they cannot be listed. Returns `None` if the disk works.
    pub(super) fn segments_if_failing(&self) -> Option<Vec<u64>> {
        let is_failing = self.is_failing.load(Ordering::Relaxed);
        is_failing.then(|| self.disk.segments().unwrap_or_default())
    }

    /// Returns whether a table with `on_disk` bytes on disk may have more there.
    pub(super) fn has_space(&self, on_disk: usize) -> bool {
        self.waiting.used().saturating_add(on_disk) <= self.waiting.max
    }

    /// Returns whether dead letters with `on_disk` bytes on disk may have more there.
    pub(super) fn has_space_for_dead_letters(&self, on_disk: usize) -> bool {
        on_disk < self.waiting.max / DEAD_LETTERS_SHARE
    }

    /// Returns whether the disk has space for the dead letter of a row that ClickHouse refuses. The
    /// dead letter frees the row's own space and therefore must not wait for it. Rows alone never
    /// reach this bound.
    pub(super) fn has_space_for_refused(&self) -> bool {
        self.waiting.used() <= self.waiting.max.saturating_add(self.dead_letter_reserve)
    }
}

/// An operation on the log other than writing rows.
#[derive(Debug)]
pub(super) enum Op {
    /// Rows are done: stored, refused or lost.
    Done {
        block: Uuid,
        rows: RowRange,
        is_all: bool,
        durable: bool,
    },
    /// A block is divided at a row; the reply reports whether that is on disk.
    Cut {
        block: Arc<SealedBlock>,
        row: u32,
        reply: oneshot::Sender<io::Result<()>>,
    },
    /// A block goes to this server next; the reply reports whether that is on disk.
    SendTo {
        block: Arc<SealedBlock>,
        server: Arc<str>,
        reply: oneshot::Sender<io::Result<()>>,
    },
    /// Another collector has the block on its disk.
    HandedOver(Uuid),
    /// Blocks of another collector become a segment; the reply reports whether they are one: `false`
    /// if the spool is closed.
    Receive {
        staged: Box<StagedSegment>,
        reply: oneshot::Sender<io::Result<bool>>,
    },
}
