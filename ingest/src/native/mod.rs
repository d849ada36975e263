//! Native: converts the rows of a block to ClickHouse's columnar format when they are sent.
//!
//! The conversion reads rows as a block contains them, RowBinary back to back, and returns one
//! block of the [Native](https://clickhouse.com/docs/interfaces/formats/Native) format. ClickHouse
//! stores its columns as they are, which costs a third less work than rows, and there is less to
//! compress. Blocks in memory and in the spool still contain rows: the collector appends to them
//! and bisects them, other versions of this program read them, and only an attempt to insert them
//! needs columns. Promises: the block has the same rows. Bytes that do not match the table's shapes
//! produce no columns and no panic; delivery sends them as rows.
//!
//! ```text
//! block     number of columns, number of rows (both LEB128),
//!           the columns in the order of a row, except that a plain one is last
//! column    name, type (texts with their lengths), the values of all rows as Shape describes
//! ```
//!
//! The conversion walks the rows twice: the first pass measures each column, the second writes the
//! values to their places in the one buffer that is compressed next. A vector per column took four
//! times as long, mostly for memory that grows and is copied once more. A pass goes column by
//! column through a few rows at a time.
//!
//! Delivery sends a LowCardinality column as its inner type, and ClickHouse builds the dictionary
//! as it does for rows ([`Column::sent_as`](crate::table::Column::sent_as)).

mod column;
pub(crate) mod lz4;
mod sink;
pub(crate) mod time_slice;

use std::ops::RangeInclusive;

use self::{
    column::Column,
    sink::{Length, Sink},
};
pub(crate) use crate::table::shape::ShapeBuf;
use crate::{native::time_slice::TimeSlice, value::put_length};

/// The number of values or bytes to walk at a time, and the bounds for the number of rows. The rows
/// stay in the processor's cache until the last column is done, they share a column's fixed
/// cost, and other threads do not wait long for the core.
const VALUES_AT_A_TIME: usize = 1 << 14;
const BYTES_AT_A_TIME: usize = 1 << 19;
const ROWS_AT_A_TIME: RangeInclusive<usize> = 16..=256;

/// Columns may use this many times the memory of their rows. Rows of mostly NULLs or empty arrays
/// use more as columns; they stay rows, so that the memory for sending a block has a known bound.
pub(crate) const MAX_GROWTH: usize = 4;

/// The maximum memory for the columns of a block, however large an embedder lets its rows be.
const MAX_BYTES: usize = 1 << 30;

/// The conversion of a table's blocks to columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Native {
    columns: Box<[NativeColumn]>,
    /// The column that is last in a block; `None` if no column is suitable.
    last: Option<usize>,
}

/// A column of a row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct NativeColumn {
    /// `None` for a column that is omitted.
    pub(crate) name: Option<Box<str>>,
    /// The type as ClickHouse writes it.
    pub(crate) data_type: Box<str>,
    pub(crate) shape: ShapeBuf,
}

/// Rows in RowBinary, back to back, and the offset at which each ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'r> {
    pub(crate) bytes: &'r [u8],
    pub(crate) ends: &'r [u32],
}

/// The reason why rows stay rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotColumnar {
    /// The columns would be far larger than the rows.
    TooLarge,
    /// The rows do not match the table's shapes.
    Malformed,
}

impl Native {
    /// Returns the conversion for rows of these columns; `None` if all columns are omitted.
    pub(crate) fn of(columns: Box<[NativeColumn]>) -> Option<Self> {
        let is_plain = |column: &NativeColumn| {
            column.name.is_some() && matches!(column.shape, ShapeBuf::Fixed(_) | ShapeBuf::String)
        };
        let last = columns.iter().rposition(is_plain);
        let is_any = columns.iter().any(|column| column.name.is_some());
        is_any.then_some(Self { columns, last })
    }

    /// Returns whether ClickHouse rejects a truncated block.
    ///
    /// ClickHouse detects a truncated column of numbers or strings, but reads a truncated array
    /// column as empty arrays. An array must therefore not be the last column.
    pub(crate) fn detects_truncation(&self) -> bool {
        self.last.is_some()
    }

    /// Returns the columns in the order of a block, as indexes of the row's columns.
    fn order(&self) -> impl Iterator<Item = usize> {
        let last = self.last;
        let sent = (0..self.columns.len()).filter(|index| self.columns[*index].name.is_some());
        sent.filter(move |index| Some(*index) != last).chain(last)
    }

    /// Returns the columns that are omitted.
    fn omitted(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|index| self.columns[*index].name.is_none())
    }

    /// Writes the rows as one block of columns to `buffer`, which grows as needed, and returns the
    /// block. Its values may use up to `growth` times the length of the rows.
    ///
    /// # Errors
    ///
    /// The reason why the rows have to stay rows.
    pub(crate) fn block<'r>(
        &self,
        rows: Rows<'_>,
        growth: usize,
        buffer: &'r mut Vec<u8>,
        slice: &mut TimeSlice,
    ) -> Result<&'r [u8], NotColumnar> {
        let mut counted: Vec<_> = self
            .columns
            .iter()
            .map(|column| Column::counting(&column.shape))
            .collect();
        walk(rows, &mut counted, slice).ok_or(NotColumnar::Malformed)?;

        let headers = self.column_headers(rows.ends.len());
        let length = total(&headers, self.order().map(|index| &counted[index])).ok_or(NotColumnar::TooLarge)?;
        // Omitted values have to be walked, too; they are written after the block.
        let whole = total(&headers, counted.iter()).ok_or(NotColumnar::TooLarge)?;
        let limit = rows.bytes.len().saturating_mul(growth).min(MAX_BYTES);
        // The headers do not count: a block of few rows is small in any case.
        if whole > limit.saturating_add(headers.iter().map(Vec::len).sum()) {
            return Err(NotColumnar::TooLarge);
        }
        if buffer.len() < whole {
            // The old buffer is freed before there is a new one: both take megabytes.
            *buffer = Vec::new();
            *buffer = vec![0; whole];
        }
        self.fill(&mut buffer[..whole], &headers, &counted, rows, slice)
            .ok_or(NotColumnar::Malformed)?;
        Ok(&buffer[..length])
    }

    /// Returns the header of each column, in the order of a block. The first one begins with the
    /// header of the block.
    fn column_headers(&self, rows: usize) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        put_length(&mut before, self.order().count());
        put_length(&mut before, rows);
        let headers = self.order().map(|index| {
            let column = &self.columns[index];
            let mut header = std::mem::take(&mut before);
            for text in [column.name.as_deref().unwrap_or_default(), &column.data_type] {
                put_length(&mut header, text.len());
                header.extend_from_slice(text.as_bytes());
            }
            header
        });
        headers.collect()
    }

    /// Writes headers and values to a block of exactly their length.
    fn fill(
        &self,
        block: &mut [u8],
        headers: &[Vec<u8>],
        counted: &[Column<Length>],
        rows: Rows<'_>,
        slice: &mut TimeSlice,
    ) -> Option<()> {
        let mut buffer = block;
        let mut placed: Vec<_> = counted.iter().map(|_| None).collect();
        for (header, index) in headers.iter().zip(self.order()) {
            let (place, rest) = std::mem::take(&mut buffer).split_at_mut_checked(header.len())?;
            place.copy_from_slice(header);
            buffer = rest;
            placed[index] = Some(counted[index].placed(&mut buffer)?);
        }
        for index in self.omitted() {
            placed[index] = Some(counted[index].placed(&mut buffer)?);
        }
        let mut placed = placed.into_iter().collect::<Option<Vec<_>>>()?;
        walk(rows, &mut placed, slice)?;
        (buffer.is_empty() && placed.iter().all(Column::is_full)).then_some(())
    }
}

/// Returns the length of headers and columns; `None` if it overflows.
fn total<'c>(headers: &[Vec<u8>], columns: impl Iterator<Item = &'c Column<Length>>) -> Option<usize> {
    let headers = headers.iter().map(|header| Some(header.len()));
    let columns = columns.map(Column::length);
    headers
        .chain(columns)
        .try_fold(0_usize, |sum, length| sum.checked_add(length?))
}

/// Returns the 8-byte little-endian number that follows the values of the shapes `before` in each
/// row; `None` if a row does not have it.
pub(crate) fn fixed_values(bytes: &[u8], ends: &[u32], before: &[&ShapeBuf], shape: &ShapeBuf) -> Option<Vec<u64>> {
    let marks = match shape {
        ShapeBuf::Fixed(8) => 0,
        ShapeBuf::WithDefaultFlag(value) if **value == ShapeBuf::Fixed(8) => 1,
        _ => return None,
    };
    let mut offsets: Vec<usize> = std::iter::once(0)
        .chain(ends.iter().map(|end| *end as usize))
        .take(ends.len())
        .collect();
    for shape in before {
        Column::counting(shape).take_each(bytes, &mut offsets)?;
    }
    let value = |offset: &usize| Some(u64::from_le_bytes(*bytes.get(offset + marks..)?.first_chunk()?));
    offsets.iter().map(value).collect()
}

/// Passes the offsets of several rows at a time to `columns`, each of which advances them past its
/// value, and checks that they arrive at the ends of the rows.
fn walk<S: Sink>(rows: Rows<'_>, columns: &mut [Column<S>], slice: &mut TimeSlice) -> Option<()> {
    let row_bytes = rows.bytes.len() / rows.ends.len().max(1);
    let at_a_time = (VALUES_AT_A_TIME / columns.len().max(1)).min(BYTES_AT_A_TIME / row_bytes.max(1));
    let at_a_time = at_a_time.clamp(*ROWS_AT_A_TIME.start(), *ROWS_AT_A_TIME.end());
    let mut offsets = Vec::with_capacity(at_a_time.min(rows.ends.len()));
    let mut start = 0;
    for ends in rows.ends.chunks(at_a_time) {
        let ends = ends.iter().map(|&end| end as usize);
        offsets.clear();
        offsets.extend(ends.clone().map(|end| std::mem::replace(&mut start, end)));
        columns
            .iter_mut()
            .try_for_each(|column| column.take_each(rows.bytes, &mut offsets))?;
        slice.yield_if_spent();
        if !ends.eq(offsets.iter().copied()) {
            return None;
        }
    }
    (start == rows.bytes.len()).then_some(())
}

#[cfg(test)]
mod tests;
