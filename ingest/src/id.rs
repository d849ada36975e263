//! Ids: 64 bits that sort by time and are unique among 1024 nodes.
//!
//! The layout, most significant bits first: 42 bits of Unix milliseconds, 10 bits of node, 12 bits of sequence. One generator
//! serves events and visitors alike. Its promise: each id is greater than the one before, also when the clock is set
//! back and when more than 4096 are asked for in a millisecond; the sequence then runs on into the milliseconds to come.

use std::sync::atomic::{AtomicU64, Ordering};

/// The greatest number that a node can have.
pub(crate) const MAX_NODE: u16 = 1023;

const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// A source of ids, shared by all threads without a lock.
#[derive(Debug)]
pub(crate) struct IdGenerator {
    node: u64,
    /// Milliseconds and sequence of the last id in one number, so that "the next" is plus one, the carry included.
    last: AtomicU64,
}

impl IdGenerator {
    /// Returns the generator of one node; `None` when `node` is above [`MAX_NODE`].
    ///
    /// Two processes that insert into the same tables need different nodes.
    pub(crate) const fn new(node: u16) -> Option<Self> {
        if node > MAX_NODE {
            return None;
        }
        Some(Self {
            node: node as u64,
            last: AtomicU64::new(0),
        })
    }

    /// Returns a new id for the time `unix_ms`, in milliseconds since 1970.
    pub(crate) fn next(&self, unix_ms: u64) -> u64 {
        let now = unix_ms << SEQUENCE_BITS;
        // Relaxed: the ids order themselves by this one number, and nothing else is published with them.
        let mut last = self.last.load(Ordering::Relaxed);
        let tick = loop {
            let tick = now.max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, tick, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => break tick,
                Err(actual) => last = actual,
            }
        };
        let (ms, sequence) = (tick >> SEQUENCE_BITS, tick & SEQUENCE_MASK);
        (ms << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence
    }
}

/// Returns the Unix milliseconds that an id was made for.
#[cfg(test)]
const fn time_of(id: u64) -> u64 {
    id >> (NODE_BITS + SEQUENCE_BITS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{collections::HashSet, sync::Arc, thread};

    use super::*;

    #[test]
    fn lays_out_time_node_and_sequence() {
        let ids = IdGenerator::new(0).unwrap();
        assert_eq!(ids.next(1_795_492_727_283), 7_530_842_328_013_996_032);
        assert_eq!(ids.next(1_795_492_727_283), 7_530_842_328_013_996_033);
        assert_eq!(time_of(7_530_842_328_013_996_032), 1_795_492_727_283);

        let ids = IdGenerator::new(MAX_NODE).unwrap();
        assert_eq!(ids.next(1), (1 << 22) | (1023 << 12));
        assert!(IdGenerator::new(MAX_NODE + 1).is_none());
    }

    #[test]
    fn restarts_the_sequence_in_a_new_millisecond() {
        let ids = IdGenerator::new(3).unwrap();
        ids.next(5);
        ids.next(5);
        assert_eq!(ids.next(6), (6 << 22) | (3 << 12));
    }

    #[test]
    fn carries_into_the_next_millisecond_when_one_is_full() {
        let ids = IdGenerator::new(1).unwrap();
        let all: Vec<u64> = (0..10_000).map(|_| ids.next(7)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!(time_of(all[4095]), 7);
        assert_eq!(time_of(all[4096]), 8);
        assert!(all.iter().all(|id| (id >> 12) & 1023 == 1));
    }

    #[test]
    fn stays_ahead_of_a_clock_that_is_set_back() {
        let ids = IdGenerator::new(0).unwrap();
        let before = ids.next(1_000);
        let after = ids.next(10);
        assert_eq!(after, before + 1);
        assert!(ids.next(0) > after);
    }

    #[test]
    fn never_repeats_an_id_among_threads() {
        let ids = Arc::new(IdGenerator::new(0).unwrap());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let ids = Arc::clone(&ids);
                thread::spawn(move || (0..20_000).map(|n| ids.next(100 + n / 5_000)).collect::<Vec<_>>())
            })
            .collect();
        let mut seen = HashSet::new();
        for thread in threads {
            let made = thread.join().unwrap();
            assert!(made.is_sorted_by(|a, b| a < b));
            for id in made {
                assert!(seen.insert(id));
            }
        }
        assert_eq!(seen.len(), 80_000);
    }
}
