//! The rows of a sealed block, in memory.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    block::{
        ROW_OVERHEAD,
        parts::{Part, RowRange},
    },
    native::Rows,
};

/// Encoded rows, in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockRows {
    /// The rows, as they are sent.
    pub(crate) bytes: Bytes,
    /// The offset in `bytes` at which each row ends.
    pub(crate) ends: Arc<[u32]>,
}

impl BlockRows {
    /// Returns the rows of a part.
    pub(crate) fn select(&self, part: &Part) -> Self {
        if let [rows] = part.ranges() {
            return self.slice(rows);
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(part.len()));
        for rows in part.ranges() {
            let slice = self.slice(rows);
            let start = bytes.len() as u32;
            ends.extend(slice.ends.iter().map(|end| start + end));
            bytes.extend_from_slice(&slice.bytes);
        }
        Self {
            bytes: bytes.into(),
            ends: ends.into(),
        }
    }

    /// Returns the rows of a range.
    pub(super) fn slice(&self, rows: &RowRange) -> Self {
        let (first, last) = (rows.start as usize, rows.end as usize);
        if first == 0 && last == self.ends.len() {
            return self.clone();
        }
        let ends = &self.ends[first..last];
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = ends.last().copied().unwrap_or(start);
        Self {
            bytes: self.bytes.slice(start as usize..end as usize),
            ends: ends.iter().map(|end| end - start).collect(),
        }
    }

    /// Returns a view of the rows, for the conversion to columns.
    pub(crate) fn as_rows(&self) -> Rows<'_> {
        Rows {
            bytes: &self.bytes,
            ends: &self.ends,
        }
    }

    /// Returns the memory that the rows take, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * ROW_OVERHEAD
    }
}
