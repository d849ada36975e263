//! The time of a process's last beat.

use std::time::Duration;

use tokio::time::Instant;

use crate::lease::nodes::unix_ms;

/// The time at which ClickHouse received a process's last beat, by two clocks: the first stops
/// while the machine sleeps, and the second can be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastBeat {
    at: Instant,
    pub(super) at_ms: u64,
    /// The time from the beat to `at`.
    before: Duration,
}

impl LastBeat {
    /// Returns a beat at the present time.
    pub(super) fn now() -> Self {
        Self::of_record(unix_ms())
    }

    /// Returns the beat of an earlier process, at `held_ms` milliseconds since 1970.
    pub(super) fn of_record(held_ms: u64) -> Self {
        Self {
            at: Instant::now(),
            at_ms: held_ms,
            before: since(held_ms),
        }
    }

    /// Returns the longest time that may have passed since the beat.
    pub(super) fn age(&self) -> Duration {
        (self.before + self.at.elapsed()).max(since(self.at_ms))
    }
}

/// Returns the time since `ms`, in milliseconds since 1970.
fn since(ms: u64) -> Duration {
    Duration::from_millis(unix_ms().saturating_sub(ms))
}
