//! The rate at which dead letters keep payloads.
//!
//! Events wait for the disk writes of the dead letters before them. Without a limit, the payloads of
//! junk could take all of the disk's bandwidth and of ClickHouse's time. Beyond the rate, a dead
//! letter keeps only the start of its payload.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The default rate, in bytes per second.
pub(crate) const DEFAULT_BYTES_PER_SECOND: usize = 4 << 20;

/// The number of payload bytes that each dead letter keeps; they do not count against the rate.
const START_BYTES: usize = 256;

/// The time whose bytes may be used at once. A burst of rejected events keeps its payloads.
const BURST: Duration = Duration::from_secs(16);

/// The rate, as a [GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
#[derive(Debug)]
pub(super) struct PayloadRate {
    max_bytes: usize,
    nanos_per_byte: u64,
    started: Instant,
    /// The time at which all kept bytes are paid for, in nanoseconds since the start.
    paid_at: AtomicU64,
    cut: AtomicU64,
}

impl PayloadRate {
    /// Returns a rate for payloads of which at most `max_bytes` are kept; no rate if
    /// `bytes_per_second` is 0.
    pub(super) fn new(max_bytes: usize, bytes_per_second: usize) -> Self {
        Self {
            max_bytes,
            nanos_per_byte: 1_000_000_000_u64.checked_div(bytes_per_second as u64).unwrap_or(0),
            started: Instant::now(),
            paid_at: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// Returns how many bytes a dead letter keeps of a payload of `length` bytes.
    pub(super) fn keep(&self, length: usize) -> usize {
        self.keep_at(length, self.started.elapsed())
    }

    fn keep_at(&self, length: usize, now: Duration) -> usize {
        let kept = length.min(self.max_bytes);
        let cost = (kept.saturating_sub(START_BYTES) as u64).saturating_mul(self.nanos_per_byte);
        if cost == 0 {
            return kept;
        }
        let now = nanos(now);
        let pay = |paid_at: u64| {
            let next = paid_at.max(now).saturating_add(cost);
            (next - now <= nanos(BURST)).then_some(next)
        };
        match self.paid_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay) {
            Ok(_) => kept,
            Err(_) => {
                self.cut.fetch_add(1, Ordering::Relaxed);
                START_BYTES
            }
        }
    }

    /// Returns the number of dead letters that kept only the start of their payload.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_beyond_the_rate_are_cut_until_the_rate_allows_more() {
        let rate = PayloadRate::new(1_000 + START_BYTES, 1_000);
        let keep = |length, seconds| rate.keep_at(length, Duration::from_secs(seconds));
        for second in [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
            assert_eq!(keep(usize::MAX, second), 1_000 + START_BYTES);
        }
        assert_eq!(keep(2_000, 0), START_BYTES, "the burst is used up");
        assert_eq!(keep(START_BYTES, 0), START_BYTES);
        assert_eq!(rate.cut(), 1, "a short payload is whole");
        assert_eq!(keep(2_000, 1), 1_000 + START_BYTES);
        assert_eq!(keep(2_000, 1), START_BYTES);
        assert_eq!(keep(START_BYTES + 500, 2), START_BYTES + 500);
        assert_eq!(rate.cut(), 2);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let rate = PayloadRate::new(usize::MAX, 0);
        assert_eq!(rate.keep_at(usize::MAX, Duration::ZERO), usize::MAX);
        assert_eq!(rate.keep_at(usize::MAX, Duration::ZERO), usize::MAX);
        assert_eq!(rate.cut(), 0);
    }
}
