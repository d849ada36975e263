//! The signal: wakes the committer, at once or a little later.

use std::{
    cell::Cell,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

thread_local! {
    /// The signal that this thread's event loop notifies when it is idle.
    static NOTIFIED_BY_LOOP: Cell<*const Signal> = const { Cell::new(ptr::null()) };
}

/// The longest time that rows without a waiting task stay only in memory.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// The longest time that rows with a waiting task wait for a busy event loop.
pub(super) const IDLE_DELAY: Duration = Duration::from_millis(1);

/// The urgency of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Never = 0,
    Soon = 1,
    /// Once the event loop that raised the signal is idle: the commit includes the rows that it
    /// adds until then.
    OnIdle = 2,
    Now = 3,
}

/// Wakes the committer.
#[derive(Debug, Default)]
pub(super) struct Signal {
    urgency: AtomicU8,
    pub(super) thread: OnceLock<Thread>,
}

impl Signal {
    /// Records that there is something to write, which must be visible already.
    pub(super) fn raise(&self, urgency: Urgency) {
        let urgency = urgency as u8;
        // The order of all these operations matters: if a thread finds the signal raised, the
        // coming commit sees what the thread has to write.
        if self.urgency.load(Ordering::SeqCst) < urgency
            && self.urgency.fetch_max(urgency, Ordering::SeqCst) < urgency
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Records that this thread's event loop is idle. From the first call on, rows that the thread
    /// appends wait for the next call.
    pub(super) fn on_idle(&self) {
        NOTIFIED_BY_LOOP.set(self);
        if self.urgency.load(Ordering::SeqCst) == Urgency::OnIdle as u8 {
            self.raise(Urgency::Now);
        }
    }

    /// Returns the urgency of a row of this thread that a task waits for.
    pub(super) fn wait_urgency(&self) -> Urgency {
        if ptr::eq(NOTIFIED_BY_LOOP.get(), self) {
            Urgency::OnIdle
        } else {
            Urgency::Now
        }
    }

    /// Waits until there is something to write, and a moment longer for more rows.
    pub(super) fn wait(&self) {
        while self.max_delay() == Some(Duration::MAX) {
            thread::park();
        }
        let started = std::time::Instant::now();
        while let Some(delay) = self.max_delay() {
            match delay.checked_sub(started.elapsed()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => break,
            }
        }
    }

    /// Returns the longest time for which the log may wait for more rows; `None` if it must not.
    pub(super) fn max_delay(&self) -> Option<Duration> {
        let urgency = self.urgency.load(Ordering::SeqCst);
        let is = |level: Urgency| urgency == level as u8;
        match () {
            () if is(Urgency::Never) => Some(Duration::MAX),
            () if is(Urgency::Soon) => Some(COMMIT_INTERVAL),
            () if is(Urgency::OnIdle) => Some(IDLE_DELAY),
            () => None,
        }
    }

    /// Records that the coming commit writes everything.
    pub(super) fn reset(&self) {
        self.urgency.store(Urgency::Never as u8, Ordering::SeqCst);
    }
}
