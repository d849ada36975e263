//! Row batches: the encoded rows of one request, before they are appended to a block.

use std::{iter, ptr};

use crate::{budget::SpoolFull, table::Table};

/// A batch grows by one part in this many, so that little of its memory is unused. A long vector
/// grows without a copy.
const GROWTH_DIVISOR: usize = 4;

/// Rows of one table that are appended to the same block, or not at all.
#[derive(Debug, Default)]
pub struct RowBatch {
    table: Option<&'static Table>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// The number of keys that the rows' events have and no column reads.
    unknown_keys: u64,
}

impl RowBatch {
    /// The maximum number of rows of a batch, so that ClickHouse inserts their block as one unit.
    pub(crate) const MAX: usize = 100_000;

    /// Returns an empty batch with the capacity for the rows of a text of `bytes` bytes. Encoded
    /// rows are about as long as their JSON.
    pub(crate) fn with_capacity_for(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Appends one row of `table`, which `encode` writes.
    ///
    /// # Errors
    ///
    /// [`SpoolFull`] if the batch is too large for a block, or has rows of another table.
    pub(crate) fn push(&mut self, table: &'static Table, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SpoolFull> {
        let is_other = self.table.is_some_and(|other| !ptr::eq(other, table));
        if is_other || self.ends.len() >= Self::MAX {
            return Err(SpoolFull);
        }
        let start = self.bytes.len();
        encode(&mut self.bytes);
        let Ok(end) = u32::try_from(self.bytes.len()) else {
            self.bytes.truncate(start);
            return Err(SpoolFull);
        };
        self.ends.push(end);
        self.table = Some(table);
        Ok(())
    }

    /// Makes space for a row of `bytes` bytes. Before the batch grows, `book` books its memory of
    /// then. A longer row makes the batch grow by itself.
    ///
    /// # Errors
    ///
    /// [`SpoolFull`] from `book`. The batch is unchanged.
    #[inline]
    pub(crate) fn reserve_for_row(
        &mut self,
        bytes: usize,
        book: impl FnOnce(usize) -> Result<(), SpoolFull>,
    ) -> Result<(), SpoolFull> {
        let needed = self.bytes.len() + bytes;
        if needed > self.bytes.capacity() {
            let capacity = needed + needed / GROWTH_DIVISOR;
            book(capacity + self.ends.capacity() * size_of::<u32>())?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    /// Counts keys of an event that no column reads.
    pub(crate) fn add_unknown_keys(&mut self, count: u32) {
        self.unknown_keys += u64::from(count);
    }

    /// Returns the number of keys that no column reads, and begins again at 0.
    pub(crate) fn take_unknown_keys(&mut self) -> u64 {
        std::mem::take(&mut self.unknown_keys)
    }

    /// Keeps the rows for whose number `is_kept` returns true.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        let (mut start, mut kept) = (0, 0);
        let ends = std::mem::take(&mut self.ends);
        for (row, end) in ends.into_iter().enumerate() {
            let length = end as usize - start;
            if is_kept(row) {
                self.bytes.copy_within(start..end as usize, kept);
                kept += length;
                self.ends.push(kept as u32);
            }
            start = end as usize;
        }
        self.bytes.truncate(kept);
        if self.ends.is_empty() {
            self.table = None;
        }
    }

    /// Returns the memory that the rows take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// Returns the number of rows.
    ///
    /// ```
    /// use rowmill_ingest::route::RowBatch;
    ///
    /// assert_eq!(RowBatch::default().count(), 0);
    /// ```
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the rows as they are sent, back to back in the table's
    /// [`Format`](crate::table::Format).
    ///
    /// ```
    /// use rowmill_ingest::route::RowBatch;
    ///
    /// assert!(RowBatch::default().bytes().is_empty());
    /// ```
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes all rows, and keeps their memory for new ones.
    ///
    /// ```
    /// use rowmill_ingest::route::RowBatch;
    ///
    /// let mut rows = RowBatch::default();
    /// rows.clear();
    /// assert_eq!(rows.count(), 0);
    /// ```
    pub fn clear(&mut self) {
        self.table = None;
        self.unknown_keys = 0;
        self.bytes.clear();
        self.ends.clear();
    }

    /// Returns the rows, and the offset at which each ends.
    pub(crate) fn content(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }

    /// Appends one of the rows to another batch.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub(crate) fn copy_row(&self, row: &[u8], to: &mut Self) -> Result<(), SpoolFull> {
        let table = self.table.ok_or(SpoolFull)?;
        to.push(table, |out| out.extend_from_slice(row))
    }

    /// Returns each row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start as usize..*end as usize])
    }

    /// Removes and returns the rows and their end offsets, with their memory.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<u32>) {
        self.table = None;
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends))
    }

    /// Returns the rows' table; `None` if the batch is empty.
    pub(crate) fn table(&self) -> Option<&'static Table> {
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::dead_letter::REJECTED;

    #[test]
    fn a_batch_grows_only_after_its_memory_is_booked() {
        let mut rows = RowBatch::with_capacity_for(100);
        let refuse = |_| Err(SpoolFull);
        assert_eq!(rows.reserve_for_row(100, refuse), Ok(()), "the capacity is there");
        assert_eq!(rows.reserve_for_row(101, refuse), Err(SpoolFull));
        assert_eq!(rows.memory(), 100);

        let mut booked = 0;
        let mut book = |bytes| {
            booked = bytes;
            Ok(())
        };
        assert_eq!(rows.reserve_for_row(1000, &mut book), Ok(()));
        assert_eq!(rows.push(&REJECTED, |out| out.extend([0; 1000])), Ok(()));
        assert_eq!(rows.reserve_for_row(1000, &mut book), Ok(()));
        assert_eq!(
            (booked, rows.memory()),
            (2516, 2516),
            "a quarter more than two rows, and an end"
        );
    }
}
