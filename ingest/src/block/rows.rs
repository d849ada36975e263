//! Rows: those of one request, encoded before they go into a block together.

use std::ptr;

use crate::{budget::SpoolFull, table::Table};

/// Rows of one table that go into a block together, or not at all.
#[derive(Debug, Default)]
pub struct RowBatch {
    table: Option<&'static Table>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl RowBatch {
    /// The most rows that go into a block together, so that a block of them stays one that ClickHouse takes as a unit.
    pub(crate) const MAX: usize = 100_000;

    /// Returns none, with room for those that a text of so many bytes has: rows are about as long as their JSON.
    pub(crate) fn for_text(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Lets `encode` append one row of `table`.
    ///
    /// # Errors
    /// [`SpoolFull`] if these are too many rows for a block, or rows of another table.
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

    /// Returns the memory that the rows take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// Returns the number of rows.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the rows as they are sent, one behind the other in the table's [`Format`](crate::table::Format).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes all rows out; their memory is kept for others.
    pub fn clear(&mut self) {
        self.table = None;
        self.bytes.clear();
        self.ends.clear();
    }

    /// Returns the rows, and where each ends.
    pub(crate) fn content(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }

    /// Takes all rows out, and where each ends, with their memory.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<u32>) {
        self.table = None;
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends))
    }

    /// Returns the rows' table; none where there is no row.
    pub(crate) fn table(&self) -> Option<&'static Table> {
        self.table
    }
}
