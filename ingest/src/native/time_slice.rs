//! Time slices: the longest time for which a task keeps a core that other threads wait for.
//!
//! A kernel lets a thread run until its next tick, up to 4 ms, even if other threads wait for the
//! core and however low the thread's priority is. The rows of a block take some 40 ms to become
//! frames, and an event loop on the same core would respond 4 ms late each time.
//!
//! Data that has to be one frame is not sliced: rows that stay rows, and columns of arrays alone.

use std::{
    thread,
    time::{Duration, Instant},
};

/// A shorter slice starves compression when the event loop is always busy; a longer one shows up as
/// request latency.
const LENGTH: Duration = Duration::from_micros(500);

/// A stretch of work without a turn for others on the same core.
#[derive(Debug)]
pub(crate) struct TimeSlice {
    since: Instant,
}

impl TimeSlice {
    /// Begins a time slice.
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now() }
    }

    /// Returns whether the slice has used its full time.
    pub(crate) fn is_spent(&self) -> bool {
        self.since.elapsed() >= LENGTH
    }

    /// Yields the core if the slice is spent, and begins the next slice.
    pub(crate) fn yield_if_spent(&mut self) {
        if self.is_spent() {
            thread::yield_now();
            self.since = Instant::now();
        }
    }
}
