//! Counts the rows of one table that ClickHouse has confirmed, by the minute and the place of their
//! ids.
//!
//! A slice contains the ids that one process makes in one minute. Other processes have other
//! places, so a slice counts the rows of this collector alone, and the audit can compare it with
//! the table.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use crate::ids::base::{PLACE_BITS, SEQUENCE_BITS};

/// The length of a slice.
pub(super) const SLICE_MS: u64 = 60_000;

/// The audit forgets a slice that has had no new row for this long.
const MAX_IDLE: Duration = Duration::from_secs(60 * 60);

/// The maximum number of slices of a table. The audit does not compare rows beyond them.
const MAX_SLICES: usize = 10_000;

/// The number of a minute since 1970, and the number of the block of 4096 places that contains the
/// ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SliceKey {
    pub(super) minute: u64,
    pub(super) place: u64,
}

impl SliceKey {
    fn of(id: u64) -> Self {
        let place = id & ((1 << PLACE_BITS) - 1);
        Self {
            minute: (id >> PLACE_BITS) / SLICE_MS,
            place: place >> SEQUENCE_BITS,
        }
    }

    /// Returns the range of ids that contains the slice.
    pub(super) fn ids(self) -> RangeInclusive<u64> {
        let first = self.minute * SLICE_MS;
        (first << PLACE_BITS)..=(((first + SLICE_MS) << PLACE_BITS) - 1)
    }
}

/// The number of a slice's rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) rows: u64,
    pub(super) distinct: u64,
}

/// The difference between the confirmed rows and the rows in the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) missing: u64,
    pub(super) duplicate: u64,
}

/// A slice that is due, and its number of confirmed rows at that moment.
pub(super) type DueSlice = (SliceKey, u64);

#[derive(Debug)]
struct Slice {
    confirmed: u64,
    /// The time of the last confirmed row.
    confirmed_at: Instant,
    /// The number of confirmed rows at the last comparison.
    compared: u64,
    /// The time of that comparison or of the last confirmed row, whichever is later.
    waits_since: Instant,
    /// The number of rows that the last comparison did not find. A row is missing once two
    /// comparisons in a row do not find it, since a replica may lag at the first one.
    not_found: u64,
    difference: Difference,
}

impl Slice {
    fn is_due(&self, now: Instant, after: Duration) -> bool {
        let is_open = self.confirmed != self.compared || self.not_found > 0 || self.difference.duplicate > 0;
        is_open && now.duration_since(self.waits_since) >= after
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.confirmed_at) >= MAX_IDLE && self.confirmed == self.compared
    }
}

/// The slices of one table.
#[derive(Debug, Default)]
pub(super) struct Slices {
    slices: BTreeMap<SliceKey, Slice>,
    /// The differences of forgotten slices.
    forgotten: Difference,
}

impl Slices {
    /// Counts rows that ClickHouse has confirmed.
    pub(super) fn confirm(&mut self, ids: &[u64], now: Instant) {
        for id in ids {
            let key = SliceKey::of(*id);
            if self.slices.len() >= MAX_SLICES && !self.slices.contains_key(&key) {
                continue;
            }
            let slice = self.slices.entry(key).or_insert_with(|| Slice {
                confirmed: 0,
                confirmed_at: now,
                compared: 0,
                waits_since: now,
                not_found: 0,
                difference: Difference::default(),
            });
            slice.confirmed += 1;
            slice.confirmed_at = now;
            slice.waits_since = now;
        }
    }

    /// Returns the slices to compare, and forgets compared slices that have had no new row for
    /// [`MAX_IDLE`]. A slice is due when it has had no new row for `after`, and again after the
    /// same time as long as it differs.
    pub(super) fn due(&mut self, now: Instant, after: Duration) -> Vec<DueSlice> {
        let forgotten = &mut self.forgotten;
        self.slices.retain(|_, slice| {
            let is_over = slice.is_over(now);
            if is_over {
                forgotten.missing += slice.difference.missing;
                forgotten.duplicate += slice.difference.duplicate;
            }
            !is_over
        });
        let due = self.slices.iter().filter(|(_, slice)| slice.is_due(now, after));
        due.map(|(key, slice)| (*key, slice.confirmed)).collect()
    }

    /// Records the table's rows of a slice that was [due](Self::due). Returns the number of rows
    /// compared for the first time.
    pub(super) fn compare(&mut self, (key, confirmed): DueSlice, stored: Stored, now: Instant) -> u64 {
        let Some(slice) = self.slices.get_mut(&key) else {
            return 0;
        };
        let not_found = confirmed.saturating_sub(stored.distinct);
        slice.difference = Difference {
            missing: not_found.min(slice.not_found),
            duplicate: stored.rows.saturating_sub(stored.distinct),
        };
        slice.not_found = not_found;
        let first_time = confirmed - slice.compared;
        slice.compared = confirmed;
        slice.waits_since = now;
        first_time
    }

    /// Returns the difference over all slices.
    pub(super) fn difference(&self) -> Difference {
        let mut sum = self.forgotten;
        for Slice { difference, .. } in self.slices.values() {
            sum.missing += difference.missing;
            sum.duplicate += difference.duplicate;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(120);

    fn id(minute: u64, place: u64) -> u64 {
        ((minute * SLICE_MS + 7) << PLACE_BITS) | place
    }

    fn stored(rows: u64, distinct: u64) -> Stored {
        Stored { rows, distinct }
    }

    fn difference(missing: u64, duplicate: u64) -> Difference {
        Difference { missing, duplicate }
    }

    /// Compares all due slices with the same table counts, and returns the number of slices.
    fn compare(slices: &mut Slices, stored: Stored, now: Instant) -> usize {
        let due = slices.due(now, AFTER);
        for slice in &due {
            slices.compare(*slice, stored, now);
        }
        due.len()
    }

    #[test]
    fn a_slice_is_one_minute_of_one_node() {
        let keys = [id(9, 0), id(9, 4095), id(9, 4096), id(10, 0)].map(SliceKey::of);
        assert_eq!(keys[0], keys[1]);
        assert!(keys[1] != keys[2] && keys[0] != keys[3]);
        assert!(keys[0].ids().contains(&id(9, 4095)) && !keys[0].ids().contains(&id(10, 0)));
    }

    #[test]
    fn a_row_is_missing_after_two_comparisons_do_not_find_it() {
        let (mut slices, start) = (Slices::default(), Instant::now());
        slices.confirm(&[id(9, 1), id(9, 2), id(9, 3)], start);
        assert_eq!(compare(&mut slices, stored(2, 2), start + AFTER / 2), 0);
        assert_eq!(compare(&mut slices, stored(2, 2), start + AFTER), 1);
        assert_eq!(slices.difference(), difference(0, 0));
        assert_eq!(compare(&mut slices, stored(2, 2), start + AFTER * 2), 1);
        assert_eq!(slices.difference(), difference(1, 0));
        // The row has come back.
        assert_eq!(compare(&mut slices, stored(3, 3), start + AFTER * 3), 1);
        assert_eq!(slices.difference(), difference(0, 0));
        assert_eq!(compare(&mut slices, stored(3, 3), start + AFTER * 4), 0);
    }

    #[test]
    fn one_comparison_finds_duplicate_rows() {
        let (mut slices, start) = (Slices::default(), Instant::now());
        slices.confirm(&[id(9, 1), id(9, 2)], start);
        assert_eq!(compare(&mut slices, stored(4, 2), start + AFTER), 1);
        assert_eq!(slices.difference(), difference(0, 2));
    }

    #[test]
    fn a_late_confirmation_compares_the_whole_slice_again() {
        let (mut slices, start) = (Slices::default(), Instant::now());
        slices.confirm(&[id(9, 1)], start);
        // The second row is stored, but its response is lost.
        assert_eq!(compare(&mut slices, stored(2, 2), start + AFTER), 1);
        slices.confirm(&[id(9, 2)], start + AFTER);
        assert_eq!(compare(&mut slices, stored(1, 1), start + AFTER * 2), 1);
        assert_eq!(compare(&mut slices, stored(1, 1), start + AFTER * 3), 1);
        assert_eq!(slices.difference(), difference(1, 0));
    }

    #[test]
    fn a_difference_outlives_its_slice() {
        let (mut slices, start) = (Slices::default(), Instant::now());
        slices.confirm(&[id(9, 1), id(9, 2)], start);
        compare(&mut slices, stored(2, 1), start + AFTER);
        compare(&mut slices, stored(2, 1), start + AFTER * 2);
        assert_eq!(slices.due(start + MAX_IDLE, AFTER), []);
        assert!(slices.slices.is_empty());
        assert_eq!(slices.difference(), difference(1, 1));
    }

    #[test]
    fn the_number_of_slices_is_bounded() {
        let (mut slices, start) = (Slices::default(), Instant::now());
        for minute in 0..MAX_SLICES as u64 + 5 {
            slices.confirm(&[id(minute, 0)], start);
        }
        assert_eq!(slices.slices.len(), MAX_SLICES);
    }
}
