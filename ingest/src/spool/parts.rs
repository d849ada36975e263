//! Parts: what of a block is not stored yet.

use std::iter;

use super::frame::RowRange;

/// The rows of a block that are not stored yet: all of them, or what is left of its halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts(Vec<RowRange>);

impl Parts {
    /// Returns all rows of a block as one part.
    pub(crate) fn whole(rows: u32) -> Self {
        Self(iter::once(0..rows).collect())
    }

    /// Returns whether the block is still one.
    pub(crate) fn is_whole(&self, rows: u32) -> bool {
        self.0.len() == 1 && self.0.first() == Some(&(0..rows))
    }

    /// Returns whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RowRange> {
        self.0.iter()
    }

    /// Returns how many rows are left.
    pub(crate) fn rows(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// Puts the two halves of a part in its place; nothing happens if it is not there, or is one row.
    pub(crate) fn split(&mut self, part: &RowRange) {
        let Some(at) = self.0.iter().position(|candidate| candidate == part) else {
            return;
        };
        if part.len() > 1 {
            let middle = part.start + (part.end - part.start) / 2;
            self.0.splice(at..=at, [part.start..middle, middle..part.end]);
        }
    }

    /// Forgets the parts within `rows`.
    pub(crate) fn settle(&mut self, rows: &RowRange) {
        self.0.retain(|part| part.start < rows.start || part.end > rows.end);
    }

    /// Keeps the parts that have something in common with one of `ranges`.
    pub(crate) fn keep_within<'a>(&mut self, ranges: impl Iterator<Item = &'a RowRange> + Clone) {
        self.0
            .retain(|part| ranges.clone().any(|range| overlap(range, part).is_some()));
    }
}

/// Returns the rows that two ranges share.
pub(crate) fn overlap(a: &RowRange, b: &RowRange) -> Option<RowRange> {
    let shared = a.start.max(b.start)..a.end.min(b.end);
    (!shared.is_empty()).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_stand_in_the_place_of_what_they_are_halves_of() {
        let mut parts = Parts::whole(7);
        assert!(parts.is_whole(7));
        parts.split(&(0..7));
        parts.split(&(3..7));
        parts.split(&(9..11));
        assert_eq!(parts.0, [0..3, 3..5, 5..7]);
        assert_eq!((parts.is_whole(7), parts.rows()), (false, 7));

        parts.settle(&(3..5));
        assert_eq!(parts.0, [0..3, 5..7]);
        parts.settle(&(0..7));
        assert!(parts.is_empty());
    }

    #[test]
    fn one_row_has_no_halves() {
        let mut parts = Parts::whole(1);
        parts.split(&(0..1));
        assert!(parts.is_whole(1));
    }
}
