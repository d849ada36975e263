//! Counters of events that a route leaves out by its options.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one writer.
#[derive(Debug, Default)]
pub(crate) struct LeftOutCounters {
    automated: AtomicU64,
    without_consent: AtomicU64,
}

/// The numbers of events that are not recorded because of an option of their route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOutCounts {
    /// Events of programs, by `automated: drop`.
    pub automated: u64,
    /// Events without their visitor's consent, by `without_consent: drop`.
    pub without_consent: u64,
}

impl LeftOutCounters {
    pub(crate) fn count_automated(&self) {
        self.automated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_without_consent(&self) {
        self.without_consent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> LeftOutCounts {
        LeftOutCounts {
            automated: self.automated.load(Ordering::Relaxed),
            without_consent: self.without_consent.load(Ordering::Relaxed),
        }
    }
}
