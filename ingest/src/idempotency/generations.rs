//! Generations: the keys in memory, in the order of their arrival, up to a bound.
//!
//! A generation is forgotten as a whole. A list in the order of all keys would take as much memory
//! as the keys themselves.

use std::collections::{HashMap, VecDeque};

use crate::block::row_key::{KeyHash, KeyRecord};

/// The largest number of generations: a full index forgets one part in this many.
pub(super) const GENERATIONS: usize = 16;

/// The keys in memory.
#[derive(Debug)]
pub(super) struct Generations {
    /// Oldest first.
    all: VecDeque<Generation>,
    /// The number of keys at which a generation is full.
    max_each: usize,
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Generation {
    keys: HashMap<KeyHash, Facts>,
    newest_end_s: u32,
}

/// The record of a key without the key.
#[derive(Debug, Clone, Copy)]
struct Facts {
    id: u64,
    expires_s: u32,
    fingerprint: u32,
}

impl Generations {
    /// Returns no keys, and space for `max` keys.
    pub(super) fn new(max: usize) -> Self {
        Self {
            all: VecDeque::new(),
            max_each: keys_each(max),
            forgotten: 0,
        }
    }

    /// Returns a key's record at `now_s`; `None` if its window has passed.
    pub(super) fn find(&self, hash: KeyHash, now_s: u32) -> Option<KeyRecord> {
        // A key that was recorded again after its window is in two generations.
        let facts = self
            .all
            .iter()
            .rev()
            .find_map(|generation| generation.keys.get(&hash))?;
        let record = KeyRecord {
            hash,
            id: facts.id,
            expires_s: facts.expires_s,
            fingerprint: facts.fingerprint,
        };
        (record.expires_s > now_s).then_some(record)
    }

    /// Adds a key, and forgets the generations that are over.
    pub(super) fn insert(&mut self, record: KeyRecord, now_s: u32) {
        while let Some(oldest) = self.all.front()
            && oldest.newest_end_s <= now_s
        {
            self.all.pop_front();
        }
        if self.all.back().is_none_or(|newest| newest.keys.len() >= self.max_each) {
            self.all.push_back(Generation::default());
        }
        while self.all.len() > GENERATIONS {
            self.forget_oldest(now_s);
        }
        if let Some(newest) = self.all.back_mut() {
            newest.newest_end_s = newest.newest_end_s.max(record.expires_s);
            newest.keys.insert(
                record.hash,
                Facts {
                    id: record.id,
                    expires_s: record.expires_s,
                    fingerprint: record.fingerprint,
                },
            );
        }
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.all.iter().map(|generation| generation.keys.len()).sum()
    }

    /// Returns the number of keys that were forgotten before the end of their window.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    #[cold]
    fn forget_oldest(&mut self, now_s: u32) {
        let Some(oldest) = self.all.pop_front() else { return };
        let is_valid = |facts: &&Facts| facts.expires_s > now_s;
        let count = oldest.keys.values().filter(is_valid).count() as u64;
        self.forgotten += count;
        if count > 0 {
            tracing::warn!(
                keys = count,
                "idempotency keys are forgotten before the end of their window: more keys arrive than --idempotency-keys allows"
            );
        }
    }
}

/// Returns the number of keys of one generation, or of one file, of an index of `max` keys.
pub(super) fn keys_each(max: usize) -> usize {
    max.div_ceil(GENERATIONS).max(1)
}
