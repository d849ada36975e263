//! Bounds: bytes in use, shared so that nobody has more of them than is free for all others.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use, and how many there may be.
#[derive(Debug)]
pub(super) struct Bound {
    used: AtomicUsize,
    pub(super) max: usize,
}

impl Bound {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Books `cost` bytes for someone who has `held` already: nobody has more than is free for all others.
    pub(super) fn reserve(&self, cost: usize, held: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(cost)?;
                (sum.saturating_add(held) <= self.max).then_some(sum)
            })
            .is_ok()
    }

    pub(super) fn release(&self, cost: usize) {
        self.used.fetch_sub(cost, Ordering::Relaxed);
    }

    pub(super) fn take(&self, cost: usize) {
        self.used.fetch_add(cost, Ordering::Relaxed);
    }
}
