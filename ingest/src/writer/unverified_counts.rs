//! Counters of requests that are not from the sender of their route, by route and reason.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// One counter for each route and reason. A count takes a lock: only refused requests count.
#[derive(Debug, Default)]
pub(crate) struct UnverifiedCounters(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl UnverifiedCounters {
    /// Adds to the counter of a route and a reason; 0 makes the counter visible.
    pub(crate) fn add(&self, route: &'static str, reason: &'static str, count: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((route, reason)).or_default() += count;
    }

    pub(super) fn counts(&self) -> Vec<UnverifiedCount> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |(&(route, reason), &count): (&(_, _), &u64)| UnverifiedCount { route, reason, count };
        counts.iter().map(count).collect()
    }
}

/// The number of requests of one route that were refused for one reason, because they are not from
/// the sender of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnverifiedCount {
    /// The path of the route, as the schema has it.
    pub route: &'static str,
    /// The reason: `missing`, `malformed`, `timestamp`, `signature`, `unsigned`, `method` or `no-secret`.
    pub reason: &'static str,
    /// The number of requests.
    pub count: u64,
}
