//! State: what the lanes, the deliveries and the thread that writes the log share.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{bound::Bound, disk::Disk, frame::RowRange, log::Log};

/// How long rows that nobody waits for may stay in memory alone.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// What all threads see of the log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) signal: Signal,
    pub(super) ops: Mutex<Vec<Op>>,
    /// The last try to write has failed.
    pub(super) is_failing: AtomicBool,
    /// What blocks that are not stored take on disk.
    pub(super) waiting: Bound,
    /// Bytes of all segments.
    pub(super) bytes: AtomicU64,
    pub(super) stopped: AtomicBool,
}

impl LogState {
    pub(super) fn push(&self, op: Op) {
        let urgency = match op {
            Op::Done { .. } => Urgency::Soon,
            Op::Split { .. } => Urgency::Now,
        };
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
        self.signal.raise(urgency);
    }

    /// Notes what is no row.
    pub(super) fn note(&self, log: &mut Log) {
        log.mark_again();
        let ops = std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner));
        for op in ops {
            match op {
                Op::Done {
                    block,
                    rows,
                    is_all,
                    for_good,
                } => log.done(block, rows, is_all, for_good),
                Op::Split {
                    segment,
                    block,
                    rows,
                    reply,
                } => {
                    // Who does not wait any more finds it after the next start.
                    _ = reply.send(log.split(segment, block, rows));
                }
            }
        }
    }
}

/// How soon the log has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Never = 0,
    Soon = 1,
    Now = 2,
}

/// Wakes the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Signal {
    urgency: AtomicU8,
    pub(super) thread: OnceLock<Thread>,
}

impl Signal {
    /// Says that there is something to write. What it is has to be visible before.
    pub(super) fn raise(&self, urgency: Urgency) {
        let urgency = urgency as u8;
        // The order of all these operations matters: whoever finds it raised has been seen by the round to come.
        if self.urgency.load(Ordering::SeqCst) < urgency
            && self.urgency.fetch_max(urgency, Ordering::SeqCst) < urgency
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn is_at_least(&self, urgency: Urgency) -> bool {
        self.urgency.load(Ordering::SeqCst) >= urgency as u8
    }

    /// Waits until there is something to write, and a moment longer if nobody waits for it.
    pub(super) fn wait(&self) {
        while !self.is_at_least(Urgency::Soon) {
            thread::park();
        }
        let started = std::time::Instant::now();
        while !self.is_at_least(Urgency::Now) {
            match COMMIT_INTERVAL.checked_sub(started.elapsed()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => break,
            }
        }
    }

    pub(super) fn lower(&self) {
        self.urgency.store(Urgency::Never as u8, Ordering::SeqCst);
    }
}

/// Something to note in the log that is no row.
#[derive(Debug)]
pub(super) enum Op {
    /// Rows are where they belong.
    Done {
        block: Uuid,
        rows: RowRange,
        is_all: bool,
        for_good: bool,
    },
    /// Rows go on as two halves; the reply says whether that is on disk.
    Split {
        segment: u64,
        block: Uuid,
        rows: RowRange,
        reply: oneshot::Sender<io::Result<()>>,
    },
}
