//! Native: the rows of a block become ClickHouse's columnar format on their way to it.
//!
//! Takes rows as they lie in a block, RowBinary back to back, and gives one block of the
//! [Native](https://clickhouse.com/docs/interfaces/formats/Native) format, whose columns ClickHouse takes as they are: a third less work
//! for it than rows, and less to compress. Blocks in memory and in the spool are rows all the same: they are appended to, cut in halves
//! and read by other versions of this program, and only a try to insert them needs columns. Promises: what is given are the same rows;
//! bytes that are not as the table's shapes say give no columns and no panic, and go out as the rows that they are.
//!
//! ```text
//! block     number of columns, number of rows (both LEB128), the columns: as in a row, but for a plain one that is the last
//! column    name, type (texts with their lengths), the values of all rows as Shape says
//! ```
//!
//! The rows are walked twice: once to know how long each column is, once to put the values into their places, which are all in the one
//! buffer that is compressed next. Collecting each column in a vector of its own took four times as long, most of it for memory that
//! grows and is copied once more. A walk goes column by column through a few rows at a time.
//!
//! A LowCardinality column goes out as the type that it is made of, and ClickHouse builds its dictionary as it does from rows
//! ([`Column::sent_as`](crate::table::Column::sent_as)).

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

/// So many values or bytes are walked at a time, of so many rows at least and at most: they stay in the processor's cache until the last
/// column has been taken, what a column costs beside its values is shared by them, and others need not wait long for the core.
const VALUES_AT_A_TIME: usize = 1 << 14;
const BYTES_AT_A_TIME: usize = 1 << 19;
const ROWS_AT_A_TIME: RangeInclusive<usize> = 16..=256;

/// Columns may take this many times the room of their rows. Where most is NULL or an empty array they take more; such rows stay rows, so
/// that a block that is sent never takes more memory than can be foreseen.
pub(crate) const MAX_GROWTH: usize = 4;

/// No block takes more memory for its columns than this, whatever an embedder lets its rows take.
const MAX_BYTES: usize = 1 << 30;

/// How the blocks of a table become columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Native {
    columns: Box<[NativeColumn]>,
    /// The column that stands behind all others in a block, if there is one that can.
    last: Option<usize>,
}

/// A column of a row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct NativeColumn {
    /// None for a column that is left out.
    pub(crate) name: Option<Box<str>>,
    /// The type as ClickHouse writes it.
    pub(crate) data_type: Box<str>,
    pub(crate) shape: ShapeBuf,
}

/// Rows, one after the other in RowBinary, and where each of them ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'r> {
    pub(crate) bytes: &'r [u8],
    pub(crate) ends: &'r [u32],
}

/// Why rows stay rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotColumnar {
    /// Their columns would be far larger.
    TooLarge,
    /// They are not of the table's shapes.
    Malformed,
}

impl Native {
    /// Returns how rows of these columns become columns. None if all of them are left out.
    pub(crate) fn of(columns: Box<[NativeColumn]>) -> Option<Self> {
        let is_plain = |column: &NativeColumn| {
            column.name.is_some() && matches!(column.shape, ShapeBuf::Fixed(_) | ShapeBuf::String)
        };
        let last = columns.iter().rposition(is_plain);
        let is_any = columns.iter().any(|column| column.name.is_some());
        is_any.then_some(Self { columns, last })
    }

    /// Returns whether a block of which the end is missing is none for ClickHouse.
    ///
    /// Of numbers and texts it knows how many there have to be. Where the elements of an array are missing, and nothing else, it
    /// takes empty arrays for them, so a column of that kind must not be the last.
    pub(crate) fn is_whole_or_refused(&self) -> bool {
        self.last.is_some()
    }

    /// Returns the columns in the order of a block, as places among those of a row.
    fn order(&self) -> impl Iterator<Item = usize> {
        let last = self.last;
        let sent = (0..self.columns.len()).filter(|index| self.columns[*index].name.is_some());
        sent.filter(move |index| Some(*index) != last).chain(last)
    }

    /// Returns the columns that are left out.
    fn left_out(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|index| self.columns[*index].name.is_none())
    }

    /// Puts the rows as one block of columns into `room`, which grows as needed, and returns it; it may be `growth` times as large
    /// as the rows.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn block<'r>(
        &self,
        rows: Rows<'_>,
        growth: usize,
        room: &'r mut Vec<u8>,
        slice: &mut TimeSlice,
    ) -> Result<&'r [u8], NotColumnar> {
        let mut counted: Vec<_> = self
            .columns
            .iter()
            .map(|column| Column::counting(&column.shape))
            .collect();
        walk(rows, &mut counted, slice).ok_or(NotColumnar::Malformed)?;

        let heads = self.heads(rows.ends.len());
        let length = total(&heads, self.order().map(|index| &counted[index])).ok_or(NotColumnar::TooLarge)?;
        // Values that are left out have to be walked over; their place is behind the block.
        let whole = total(&heads, counted.iter()).ok_or(NotColumnar::TooLarge)?;
        let limit = rows.bytes.len().saturating_mul(growth).min(MAX_BYTES);
        // The heads do not count: a block of few rows is small in any case.
        if whole > limit.saturating_add(heads.iter().map(Vec::len).sum()) {
            return Err(NotColumnar::TooLarge);
        }
        if room.len() < whole {
            *room = vec![0; whole];
        }
        self.fill(&mut room[..whole], &heads, &counted, rows, slice)
            .ok_or(NotColumnar::Malformed)?;
        Ok(&room[..length])
    }

    /// Returns what stands before the values of each column, in the order of a block, and before those of the first one the head of it.
    fn heads(&self, rows: usize) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        put_length(&mut before, self.order().count());
        put_length(&mut before, rows);
        let heads = self.order().map(|index| {
            let column = &self.columns[index];
            let mut head = std::mem::take(&mut before);
            for text in [column.name.as_deref().unwrap_or_default(), &column.data_type] {
                put_length(&mut head, text.len());
                head.extend_from_slice(text.as_bytes());
            }
            head
        });
        heads.collect()
    }

    /// Puts heads and values into a block that has exactly the room for them.
    fn fill(
        &self,
        block: &mut [u8],
        heads: &[Vec<u8>],
        counted: &[Column<Length>],
        rows: Rows<'_>,
        slice: &mut TimeSlice,
    ) -> Option<()> {
        let mut room = block;
        let mut placed: Vec<_> = counted.iter().map(|_| None).collect();
        for (head, index) in heads.iter().zip(self.order()) {
            let (place, rest) = std::mem::take(&mut room).split_at_mut_checked(head.len())?;
            place.copy_from_slice(head);
            room = rest;
            placed[index] = Some(counted[index].placed(&mut room)?);
        }
        for index in self.left_out() {
            placed[index] = Some(counted[index].placed(&mut room)?);
        }
        let mut placed = placed.into_iter().collect::<Option<Vec<_>>>()?;
        walk(rows, &mut placed, slice)?;
        (room.is_empty() && placed.iter().all(Column::is_full)).then_some(())
    }
}

/// Returns the length of heads and columns; none if it has no number.
fn total<'c>(heads: &[Vec<u8>], columns: impl Iterator<Item = &'c Column<Length>>) -> Option<usize> {
    let heads = heads.iter().map(|head| Some(head.len()));
    let columns = columns.map(Column::length);
    heads
        .chain(columns)
        .try_fold(0_usize, |sum, length| sum.checked_add(length?))
}

/// Returns the number of 8 bytes, little-endian, that each row has behind values of the shapes `before`;
/// none if it is not there.
pub(crate) fn fixed_values(bytes: &[u8], ends: &[u32], before: &[&ShapeBuf], shape: &ShapeBuf) -> Option<Vec<u64>> {
    let marks = match shape {
        ShapeBuf::Fixed(8) => 0,
        ShapeBuf::Marked(value) if **value == ShapeBuf::Fixed(8) => 1,
        _ => return None,
    };
    let mut places: Vec<usize> = std::iter::once(0)
        .chain(ends.iter().map(|end| *end as usize))
        .take(ends.len())
        .collect();
    for shape in before {
        Column::counting(shape).take_each(bytes, &mut places)?;
    }
    let value = |place: &usize| Some(u64::from_le_bytes(*bytes.get(place + marks..)?.first_chunk()?));
    places.iter().map(value).collect()
}

/// Hands the beginnings of some rows at a time to `columns`, which move each behind its last value, and makes sure that it is where the
/// row ends.
fn walk<S: Sink>(rows: Rows<'_>, columns: &mut [Column<S>], slice: &mut TimeSlice) -> Option<()> {
    let row_bytes = rows.bytes.len() / rows.ends.len().max(1);
    let at_a_time = (VALUES_AT_A_TIME / columns.len().max(1)).min(BYTES_AT_A_TIME / row_bytes.max(1));
    let at_a_time = at_a_time.clamp(*ROWS_AT_A_TIME.start(), *ROWS_AT_A_TIME.end());
    let mut places = Vec::with_capacity(at_a_time.min(rows.ends.len()));
    let mut start = 0;
    for ends in rows.ends.chunks(at_a_time) {
        let ends = ends.iter().map(|&end| end as usize);
        places.clear();
        places.extend(ends.clone().map(|end| std::mem::replace(&mut start, end)));
        columns
            .iter_mut()
            .try_for_each(|column| column.take_each(rows.bytes, &mut places))?;
        slice.yield_if_spent();
        if !ends.eq(places.iter().copied()) {
            return None;
        }
    }
    (start == rows.bytes.len()).then_some(())
}

#[cfg(test)]
mod tests;
