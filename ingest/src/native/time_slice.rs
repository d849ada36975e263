//! Time slice: how long work keeps a core, or an event loop, that others wait for.
//!
//! A kernel lets a thread run until its own tick, up to 4 ms, whoever waits for that core meanwhile and however low the thread's
//! priority. Rows of a block take some 40 ms to become frames, and an event loop beside that would answer 4 ms late each time.
//!
//! Not sliced is what has to be one frame: rows that stay rows, and columns of arrays alone.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Shorter ones give so much away that a loop which is never idle leaves too little for its own rows; longer ones are what is waited for.
const LENGTH: Duration = Duration::from_micros(500);

/// A stretch of work that nobody else on its core has had a turn in.
#[derive(Debug)]
pub(crate) struct TimeSlice {
    since: Instant,
}

impl TimeSlice {
    /// Begins one.
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now() }
    }

    /// Returns whether the core has been held for as long as one may.
    pub(crate) fn is_spent(&self) -> bool {
        self.since.elapsed() >= LENGTH
    }

    /// Lets others have the core where it has been held for as long as one may, and begins another one.
    pub(crate) fn yield_if_spent(&mut self) {
        if self.is_spent() {
            thread::yield_now();
            self.since = Instant::now();
        }
    }
}
