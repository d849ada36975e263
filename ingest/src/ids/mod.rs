//! Ids: 64 bits that sort by time, and that are unique among collectors.
//!
//! The layout, most significant bits first: 42 bits of Unix milliseconds, 22 bits of place. In each
//! millisecond, a generator has 4096 consecutive places, beginning with its base. The base of node
//! N (0 to 511) is N × 4096, so that 10 bits are the node and 12 the sequence. A process without a
//! node draws its base at random from the upper half of the places, which no node has.
//!
//! The generator serves events; the uids of visitors are random ([`uid`]). It promises that each id is greater than the one
//! before, even when the clock is set back, when more than 4096 ids are requested in a millisecond
//! (it then uses the next milliseconds), when the base changes, and, with a file, after a restart.

pub(crate) mod base;
pub(crate) mod id_file;
pub(crate) mod uid;

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::ids::{
    base::{Base, PLACE_BITS, SEQUENCES},
    id_file::{IdFile, Record},
};

const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// The time for which a generator covers future ids in its file, in milliseconds. After a crash,
/// ids are ahead of the clock by up to this time.
const AHEAD_MS: u64 = 10_000;

/// A source of ids, shared by all threads without a lock.
#[derive(Debug)]
pub(crate) struct IdGenerator {
    base: AtomicU64,
    /// The last id; the next one is usually its successor.
    last: AtomicU64,
    /// The first id that the file does not cover; [`u64::MAX`] without a file.
    bound: AtomicU64,
    file: Option<Mutex<(IdFile, Record)>>,
}

impl IdGenerator {
    /// Returns a generator without a file. After a restart, it may repeat ids if the clock has been
    /// set back.
    pub(crate) const fn new(base: Base) -> Self {
        Self {
            base: AtomicU64::new(base.0),
            last: AtomicU64::new(0),
            bound: AtomicU64::new(u64::MAX),
            file: None,
        }
    }

    /// Returns a generator with the base of `record`, whose ids are greater than all that `record`
    /// covers. It writes a new record to `file` before it returns ids that need one.
    pub(crate) fn with_file(file: IdFile, record: Record) -> Self {
        let bound = end_of(record.until_ms);
        Self {
            base: AtomicU64::new(record.base.0),
            last: AtomicU64::new(bound - 1),
            // The next id is not below the bound, so `next` covers it first.
            bound: AtomicU64::new(bound),
            file: Some(Mutex::new((file, record))),
        }
    }

    /// Returns a new id for the time `unix_ms`, in milliseconds since 1970.
    pub(crate) fn next(&self, unix_ms: u64) -> u64 {
        // Relaxed: this one number orders the ids, and no other data is published with them.
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let id = next_id(last, unix_ms, self.base.load(Ordering::Relaxed));
            // Acquire: the file covers all ids below the bound.
            if id >= self.bound.load(Ordering::Acquire) {
                self.cover(id >> PLACE_BITS);
            }
            match self
                .last
                .compare_exchange_weak(last, id, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return id,
                Err(actual) => last = actual,
            }
        }
    }

    /// Makes all further ids later than the millisecond `unix_ms`.
    pub(crate) fn start_after(&self, unix_ms: u64) {
        self.last.fetch_max(end_of(unix_ms) - 1, Ordering::Relaxed);
    }

    /// Returns the latest millisecond of the ids so far.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last.load(Ordering::Relaxed) >> PLACE_BITS
    }

    /// Returns the generator's base.
    pub(crate) fn base(&self) -> Base {
        Base(self.base.load(Ordering::Relaxed))
    }

    /// Continues from another base, after recording it in the file. `holder` is the process that
    /// holds the node according to ClickHouse, and `held_ms` the time when ClickHouse showed that.
    pub(crate) fn move_to(&self, base: Base, holder: Uuid, held_ms: u64) {
        if let Some(mut file) = self.file() {
            let (file, record) = &mut *file;
            *record = Record {
                base,
                holder,
                held_ms,
                ..*record
            };
            log_failure(file.write(record));
        }
        self.base.store(base.0, Ordering::Relaxed);
    }

    /// Records that `holder` held the node at `held_ms`, according to ClickHouse. The file gets the
    /// record with the next ids.
    pub(crate) fn confirm(&self, holder: Uuid, held_ms: u64) {
        if let Some(mut file) = self.file() {
            file.1.holder = holder;
            file.1.held_ms = held_ms;
        }
    }

    /// Covers the ids of the next seconds, so that no event has to wait for the file. This call may
    /// wait for the disk.
    pub(crate) fn cover_ahead(&self, unix_ms: u64) {
        let ms = unix_ms.max(self.last_ms()) + AHEAD_MS / 2;
        if end_of(ms) > self.bound.load(Ordering::Acquire) {
            self.cover(ms);
        }
    }

    /// Returns whether a file records the ids.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Records in the file that ids of the millisecond `ms` may be in use.
    #[cold]
    fn cover(&self, ms: u64) {
        let Some(mut file) = self.file() else { return };
        let (file, record) = &mut *file;
        // Another thread may have covered them meanwhile.
        if end_of(ms) <= self.bound.load(Ordering::Acquire) {
            return;
        }
        record.until_ms = ms + AHEAD_MS;
        // A failing disk does not stop events; the ids after these try the file again.
        log_failure(file.write(record));
        self.bound.store(end_of(record.until_ms), Ordering::Release);
    }

    fn file(&self) -> Option<MutexGuard<'_, (IdFile, Record)>> {
        let file = self.file.as_ref()?;
        Some(file.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the least id after `last` that is in the places of `base`, at `unix_ms` or later.
fn next_id(last: u64, unix_ms: u64, base: u64) -> u64 {
    let first = unix_ms << PLACE_BITS | base;
    if last < first {
        return first;
    }
    let next = last + 1;
    if (next & PLACE_MASK).wrapping_sub(base) < SEQUENCES {
        next
    } else {
        // The id is in the same millisecond if `base` is after the place of `last`, otherwise in
        // the next one.
        let ms = last >> PLACE_BITS;
        let first = ms << PLACE_BITS | base;
        if first > last { first } else { first + (1 << PLACE_BITS) }
    }
}

/// Returns the first id of a millisecond.
pub(crate) const fn first_id_of(unix_ms: u64) -> u64 {
    unix_ms << PLACE_BITS
}

/// Returns the millisecond of an id.
pub(crate) const fn millisecond_of(id: u64) -> u64 {
    id >> PLACE_BITS
}

/// Returns the first id after a millisecond.
const fn end_of(unix_ms: u64) -> u64 {
    (unix_ms + 1) << PLACE_BITS
}

fn log_failure(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "the id file cannot be written: ids may repeat after a restart if the clock is set back");
    }
}

/// Returns the Unix milliseconds that an id was generated for.
#[cfg(test)]
const fn time_of(id: u64) -> u64 {
    id >> PLACE_BITS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{collections::HashSet, path::Path, sync::Arc, thread};

    use super::*;
    use crate::ids::base::{FIRST_SPARE, MAX_NODE};

    fn of_node(node: u16) -> IdGenerator {
        IdGenerator::new(Base::of_node(node).unwrap())
    }

    fn open(folder: &Path, base: Base) -> IdGenerator {
        let (file, record) = IdFile::open(folder).unwrap();
        let record = record.unwrap_or(Record {
            base,
            holder: Uuid::nil(),
            held_ms: 0,
            until_ms: 0,
        });
        IdGenerator::with_file(file, record)
    }

    #[test]
    fn lays_out_time_node_and_sequence() {
        let ids = of_node(0);
        assert_eq!(ids.next(1_795_492_727_283), 7_530_842_328_013_996_032);
        assert_eq!(ids.next(1_795_492_727_283), 7_530_842_328_013_996_033);
        assert_eq!(time_of(7_530_842_328_013_996_032), 1_795_492_727_283);

        let ids = of_node(MAX_NODE);
        assert_eq!(ids.next(1), (1 << 22) | (511 << 12));
        assert!(Base::of_node(MAX_NODE + 1).is_none());
    }

    #[test]
    fn restarts_the_sequence_in_a_new_millisecond() {
        let ids = of_node(3);
        ids.next(5);
        ids.next(5);
        assert_eq!(ids.next(6), (6 << 22) | (3 << 12));
    }

    #[test]
    fn carries_into_the_next_millisecond_when_one_is_full() {
        let ids = of_node(1);
        let all: Vec<u64> = (0..10_000).map(|_| ids.next(7)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!(time_of(all[4095]), 7);
        assert_eq!(time_of(all[4096]), 8);
        assert!(all.iter().all(|id| (id >> 12) & 1023 == 1));
    }

    #[test]
    fn ids_grow_when_the_clock_is_set_back() {
        let ids = of_node(0);
        let before = ids.next(1_000);
        let after = ids.next(10);
        assert_eq!(after, before + 1);
        assert!(ids.next(0) > after);
    }

    #[test]
    fn never_repeats_an_id_among_threads() {
        let ids = Arc::new(of_node(0));
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

    #[test]
    fn spare_bases_do_not_overlap_those_of_nodes() {
        let last_of_nodes = Base::of_node(MAX_NODE).unwrap().place() + SEQUENCES - 1;
        for random in [0, 1, FIRST_SPARE - SEQUENCES, FIRST_SPARE - SEQUENCES + 1, u64::MAX] {
            let base = Base::spare(random);
            assert!(base.place() > last_of_nodes && base.place() + SEQUENCES - 1 <= PLACE_MASK);
            assert_eq!((base.node(), Base::at(base.place())), (None, Some(base)));
        }
        for node in 0..=MAX_NODE {
            let base = Base::of_node(node).unwrap();
            assert_eq!((base.node(), Base::at(base.place())), (Some(node), Some(base)));
        }
        for nothing in [1, 4095, FIRST_SPARE - 1, PLACE_MASK, u64::MAX] {
            assert_eq!(Base::at(nothing), None);
        }
    }

    #[test]
    fn a_spare_base_carries_into_the_next_millisecond_too() {
        let base = Base::spare(u64::MAX);
        let ids = IdGenerator::new(base);
        let all: Vec<u64> = (0..10_000).map(|_| ids.next(7)).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!((all[0], all[4095] - all[0]), (7 << 22 | base.place(), 4095));
        assert_eq!(all[4096], 8 << 22 | base.place());
    }

    #[test]
    fn ids_grow_when_the_base_changes() {
        let ids = IdGenerator::new(Base::spare(5));
        let mut last = ids.next(7);
        for base in [
            Base::of_node(3),
            Base::of_node(511),
            Base::of_node(0),
            Some(Base::spare(9)),
        ] {
            ids.move_to(base.unwrap(), Uuid::nil(), 0);
            for _ in 0..2 {
                let id = ids.next(7);
                assert!(
                    id > last && (id & PLACE_MASK) - base.unwrap().place() < 2,
                    "{id:x} {base:?}"
                );
                last = id;
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_across_a_restart_repeats_no_id() {
        let folder = tempfile::tempdir().unwrap();
        let base = Base::of_node(0).unwrap();
        let mut last = 0;
        // Each process is killed: it writes nothing when it ends.
        for clock in [100_000, 99_000, 5, 0, 100_000] {
            let ids = open(folder.path(), base);
            for tick in 0..10_000 {
                let id = ids.next(clock + tick / 10);
                assert!(id > last, "{id} after {last}, at {clock}");
                last = id;
            }
        }
        // The recorded lead is bounded, however often the process starts.
        assert!(time_of(last) < 100_000 + 6 * (AHEAD_MS + 1_000), "{}", time_of(last));
    }

    #[test]
    fn covered_ids_need_no_write() {
        let folder = tempfile::tempdir().unwrap();
        let ids = open(folder.path(), Base::of_node(0).unwrap());
        ids.cover_ahead(1_000_000);
        let before = std::fs::read(folder.path().join(crate::ids::id_file::NAME)).unwrap();
        for tick in 0..AHEAD_MS / 2 {
            ids.next(1_000_000 + tick);
        }
        let after = std::fs::read(folder.path().join(crate::ids::id_file::NAME)).unwrap();
        assert_eq!(before, after);
        ids.cover_ahead(1_000_000 + AHEAD_MS + 1);
        let again = std::fs::read(folder.path().join(crate::ids::id_file::NAME)).unwrap();
        assert_ne!(again, after);
    }

    #[test]
    fn ids_continue_if_the_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let ids = open(folder.path(), Base::of_node(0).unwrap());
        drop(folder);
        assert!(ids.next(5) < ids.next(100_000));
    }
}
