//! The signal: wakes the thread that writes the log, at once or a little later.

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

/// How long rows that no task waits for may stay only in memory.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// How long rows that a task waits for may wait for an event loop that is busy.
pub(super) const IDLE_DELAY: Duration = Duration::from_millis(1);

/// How soon the log has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    Never = 0,
    Soon = 1,
    /// Once the event loop that raised the signal is idle: the rows that it adds until then go
    /// along.
    OnIdle = 2,
    Now = 3,
}

/// Wakes the thread that writes the log.
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) urgency: AtomicU8,
    pub(super) thread: OnceLock<Thread>,
}

impl Signal {
    /// Notes that there is something to write, which must be visible already.
    pub(super) fn raise(&self, urgency: Urgency) {
        let urgency = urgency as u8;
        // The order of all these operations matters: if a thread finds the signal raised, the
        // coming round sees what the thread has to write.
        if self.urgency.load(Ordering::SeqCst) < urgency
            && self.urgency.fetch_max(urgency, Ordering::SeqCst) < urgency
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Notes that this thread's event loop is idle. From the first call on, rows that the thread
    /// appends wait for the next call.
    pub(super) fn rest(&self) {
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

    /// Waits until there is something to write, and a moment longer for rows that may go along.
    pub(super) fn wait(&self) {
        while self.patience() == Some(Duration::MAX) {
            thread::park();
        }
        let started = std::time::Instant::now();
        while let Some(patience) = self.patience() {
            match patience.checked_sub(started.elapsed()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => break,
            }
        }
    }

    /// Returns how long the log may wait for more rows; `None` if not at all.
    pub(super) fn patience(&self) -> Option<Duration> {
        let urgency = self.urgency.load(Ordering::SeqCst);
        let is = |level: Urgency| urgency == level as u8;
        match () {
            () if is(Urgency::Never) => Some(Duration::MAX),
            () if is(Urgency::Soon) => Some(COMMIT_INTERVAL),
            () if is(Urgency::OnIdle) => Some(IDLE_DELAY),
            () => None,
        }
    }

    pub(super) fn lower(&self) {
        self.urgency.store(Urgency::Never as u8, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_loop_appends_that_tells_of_its_rest_waits_for_it() {
        let (signal, other) = (Signal::default(), Signal::default());
        assert_eq!(signal.wait_urgency(), Urgency::Now);
        signal.rest();
        assert_eq!(signal.patience(), Some(Duration::MAX), "nothing is to be written");
        signal.raise(signal.wait_urgency());
        assert_eq!(signal.patience(), Some(IDLE_DELAY));
        signal.rest();
        assert_eq!(signal.patience(), None);
        // The call does not count for another signal, nor for another thread.
        assert_eq!(other.wait_urgency(), Urgency::Now);
        assert_eq!(
            thread::scope(|scope| scope.spawn(|| signal.wait_urgency()).join().ok()),
            Some(Urgency::Now)
        );
    }

    #[test]
    fn rows_that_nobody_waits_for_do_not_go_at_a_rest() {
        let signal = Signal::default();
        signal.raise(Urgency::Soon);
        signal.rest();
        assert_eq!(signal.patience(), Some(COMMIT_INTERVAL));
    }

    #[test]
    fn a_loop_that_does_not_come_to_rest_is_not_waited_for() {
        let signal = Signal::default();
        signal.rest();
        signal.raise(Urgency::OnIdle);
        signal.wait();
        assert_eq!(signal.patience(), Some(IDLE_DELAY));
    }
}
