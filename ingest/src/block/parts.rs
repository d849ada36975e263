//! Parts: the rows of a block that are not stored yet, divided into inserts.
//!
//! The remaining rows are a set with gaps, because ClickHouse may have stored some partitions of an
//! insert and not the others. Cuts divide the set into parts; each part is a separate insert.

use std::{iter, ops::Range, sync::Arc};

/// A range of row numbers of a block.
pub(crate) type RowRange = Range<u32>;

/// Rows of a block that are sent together: one or more sorted ranges with gaps between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part(Arc<[RowRange]>);

impl Part {
    /// Returns the part with these sorted, disjoint ranges.
    pub(crate) fn of(ranges: Vec<RowRange>) -> Self {
        Self(ranges.into())
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    pub(crate) fn ranges(&self) -> &[RowRange] {
        &self.0
    }

    /// Returns the range from the first row to the last. Rows in between need not belong to the
    /// part.
    pub(crate) fn bounds(&self) -> RowRange {
        let start = self.0.first().map_or(0, |range| range.start);
        start..self.0.last().map_or(start, |range| range.end)
    }

    /// Returns the numbers of the rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().cloned().flatten()
    }

    /// Returns the first row of the second half; `None` for a part of one row.
    pub(crate) fn middle(&self) -> Option<u32> {
        let half = self.len() / 2;
        self.rows().nth(half).filter(|_| half > 0)
    }
}

impl From<RowRange> for Part {
    fn from(range: RowRange) -> Self {
        Self(iter::once(range).collect())
    }
}

/// The rows of a block that are not stored yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    left: RowSet,
    /// The rows that begin a part, except for the first part.
    cuts: Vec<u32>,
    /// Rows that may be stored although ClickHouse has not confirmed them.
    in_doubt: RowSet,
}

impl Parts {
    /// Returns all rows of a block as one part.
    pub(crate) fn whole(rows: u32) -> Self {
        Self {
            left: RowSet::from(0..rows),
            ..Self::default()
        }
    }

    /// Returns whether all rows of the block remain, in one part.
    pub(crate) fn is_whole(&self, rows: u32) -> bool {
        self.left.0 == [0..rows] && self.cuts.is_empty()
    }

    /// Returns whether the block has been cut.
    pub(crate) fn is_divided(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Returns the rows that begin a part, except for the first part.
    pub(crate) fn cuts(&self) -> &[u32] {
        &self.cuts
    }

    /// Returns whether no row remains.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.0.is_empty()
    }

    /// Returns the parts in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Part> + '_ {
        let starts = iter::once(0).chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain(iter::once(u32::MAX));
        starts.zip(ends).filter_map(|(start, end)| {
            let ranges: Arc<[_]> = self.left.within(&(start..end)).collect();
            (!ranges.is_empty()).then_some(Part(ranges))
        })
    }

    /// Returns the rows of a block of `rows` rows that no longer remain.
    pub(crate) fn settled(&self, rows: u32) -> Vec<RowRange> {
        others(&self.left.0, rows)
    }

    /// Returns the number of remaining rows.
    pub(crate) fn rows(&self) -> usize {
        self.left.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// Returns the number of remaining rows among the first `rows` rows of the block.
    pub(crate) fn rows_before(&self, rows: u32) -> usize {
        self.left.within(&(0..rows)).map(|range| range.len()).sum()
    }

    /// Cuts the block so that a part begins with `row`.
    pub(crate) fn cut(&mut self, row: u32) {
        if let Err(at) = self.cuts.binary_search(&row) {
            self.cuts.insert(at, row);
        }
    }

    /// Removes rows that are stored or in the dead letters.
    pub(crate) fn remove(&mut self, rows: &RowRange) {
        self.left.remove(rows);
    }

    /// Records that the rows of `part` may be stored.
    pub(crate) fn doubt(&mut self, part: &Part) {
        for rows in part.ranges() {
            self.in_doubt.insert(rows);
        }
    }

    /// Records that the rows of `part` are certainly not stored.
    pub(crate) fn trust(&mut self, part: &Part) {
        for rows in part.ranges() {
            self.in_doubt.remove(rows);
        }
    }

    /// Returns whether some rows of `part` may be stored.
    pub(crate) fn is_in_doubt(&self, part: &Part) -> bool {
        part.ranges()
            .iter()
            .any(|rows| self.in_doubt.within(rows).next().is_some())
    }

    /// Returns whether some of the remaining rows may be stored.
    pub(crate) fn has_doubt(&self) -> bool {
        self.iter().any(|part| self.is_in_doubt(&part))
    }

    /// Keeps the parts that overlap one of `ranges`.
    pub(crate) fn keep_within<'a>(&mut self, ranges: impl Iterator<Item = &'a RowRange> + Clone) {
        let lost: Vec<_> = self
            .iter()
            .filter(|part| {
                let mut rows = part.ranges().iter();
                !rows.any(|rows| ranges.clone().any(|range| overlap(range, rows).is_some()))
            })
            .collect();
        for rows in lost.iter().flat_map(Part::ranges) {
            self.left.remove(rows);
        }
    }
}

/// A set of rows, as sorted ranges with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct RowSet(Vec<RowRange>);

impl From<RowRange> for RowSet {
    fn from(rows: RowRange) -> Self {
        Self(iter::once(rows).filter(|rows| !rows.is_empty()).collect())
    }
}

impl RowSet {
    /// Returns the part of the set that is within `rows`.
    fn within<'a>(&'a self, rows: &'a RowRange) -> impl Iterator<Item = RowRange> + 'a {
        let first = self.0.partition_point(|range| range.end <= rows.start);
        self.0[first..]
            .iter()
            .take_while(|range| range.start < rows.end)
            .filter_map(|range| overlap(range, rows))
    }

    fn remove(&mut self, rows: &RowRange) {
        let first = self.0.partition_point(|range| range.end <= rows.start);
        let last = self.0.partition_point(|range| range.start < rows.end);
        if first >= last || rows.is_empty() {
            return;
        }
        let before = self.0[first].start..rows.start;
        let after = rows.end..self.0[last - 1].end;
        let rest = [before, after].into_iter().filter(|range| !range.is_empty());
        self.0.splice(first..last, rest);
    }

    fn insert(&mut self, rows: &RowRange) {
        // Ranges that touch become one.
        let first = self.0.partition_point(|range| range.end < rows.start);
        let last = self.0.partition_point(|range| range.start <= rows.end);
        let mut joined = rows.clone();
        for range in &self.0[first..last.max(first)] {
            joined = joined.start.min(range.start)..joined.end.max(range.end);
        }
        if !joined.is_empty() {
            self.0.splice(first..last.max(first), iter::once(joined));
        }
    }
}

/// Returns the rows that two ranges share.
pub(crate) fn overlap(a: &RowRange, b: &RowRange) -> Option<RowRange> {
    let shared = a.start.max(b.start)..a.end.min(b.end);
    (!shared.is_empty()).then_some(shared)
}

/// Returns the rows of a block of `rows` rows that are in none of `ranges`.
pub(crate) fn others(ranges: &[RowRange], rows: u32) -> Vec<RowRange> {
    let mut others = RowSet::from(0..rows);
    ranges.iter().for_each(|range| others.remove(range));
    others.0
}

/// Returns the ranges that cover sorted row numbers.
pub(crate) fn ranges_of(rows: impl IntoIterator<Item = u32>) -> Vec<RowRange> {
    let mut ranges: Vec<RowRange> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &Parts) -> Vec<Vec<RowRange>> {
        parts.iter().map(|part| part.ranges().to_vec()).collect()
    }

    #[test]
    fn cuts_divide_the_remaining_rows_in_any_order() {
        let mut left = Parts::whole(7);
        assert!(left.is_whole(7));
        left.cut(3);
        left.cut(5);
        left.cut(3);
        assert_eq!(parts(&left), [[0..3], [3..5], [5..7]]);
        assert_eq!((left.is_whole(7), left.is_divided(), left.rows()), (false, true, 7));

        left.remove(&(3..5));
        assert_eq!(parts(&left), [[0..3], [5..7]]);
        left.remove(&(0..7));
        assert!(left.is_empty() && left.iter().next().is_none());
    }

    #[test]
    fn stored_rows_leave_gaps_in_a_part() {
        let mut left = Parts::whole(10);
        for row in [1, 4, 5, 9] {
            left.remove(&(row..row + 1));
        }
        assert_eq!(parts(&left), [vec![0..1, 2..4, 6..9]]);
        let part = left.iter().next();
        assert_eq!(part.as_ref().map(Part::len), Some(6));
        assert_eq!(part.as_ref().map(Part::bounds), Some(0..9));
        assert_eq!(part.as_ref().and_then(Part::middle), Some(6));
        left.cut(6);
        assert_eq!(parts(&left), [vec![0..1, 2..4], vec![6..9]]);
    }

    #[test]
    fn one_row_cannot_be_bisected() {
        assert_eq!(Part::from(4..5).middle(), None);
        assert_eq!(Part::from(4..6).middle(), Some(5));
    }

    #[test]
    fn doubt_belongs_to_rows_and_not_to_parts() {
        let mut left = Parts::whole(10);
        left.doubt(&Part::from(0..10));
        left.cut(5);
        left.trust(&Part::from(0..5));
        let doubts: Vec<_> = left.iter().map(|part| left.is_in_doubt(&part)).collect();
        assert_eq!(doubts, [false, true]);
        left.doubt(&Part::from(2..3));
        left.doubt(&Part::from(3..5));
        assert_eq!(left.in_doubt, RowSet(vec![2..10]));
    }

    #[test]
    fn a_row_set_agrees_with_a_naive_set() {
        // Compared with a naive set of numbers, for every pair of ranges.
        let ranges = || (0..6_u32).flat_map(|start| (start..7).map(move |end| start..end));
        for a in ranges() {
            for b in ranges() {
                let mut set = RowSet::from(a.clone());
                set.insert(&b);
                let joined: Vec<_> = (0..8).filter(|row| a.contains(row) || b.contains(row)).collect();
                assert_eq!(set.0, ranges_of(joined.iter().copied()), "{a:?} + {b:?}");
                for c in ranges() {
                    let mut set = set.clone();
                    set.remove(&c);
                    let left = joined.iter().copied().filter(|row| !c.contains(row));
                    assert_eq!(set.0, ranges_of(left), "{a:?} + {b:?} - {c:?}");
                }
            }
        }
    }

    #[test]
    fn adjacent_row_numbers_join_into_one_range() {
        assert_eq!(ranges_of([1, 2, 3, 7, 9, 10]), [1..4, 7..8, 9..11]);
        assert_eq!(ranges_of([]), [] as [RowRange; 0]);
    }
}
