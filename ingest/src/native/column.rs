//! Columns: extract their values from rows.
//!
//! A column gets the current offset in each of several rows, reads its value there, and advances
//! the offset to the next column's value.

use {
    super::sink::{Length, Sink, SliceSink},
    crate::table::shape::ShapeBuf,
};

/// The maximum number of bits of a length: blocks are below 4 GiB.
const MAX_LENGTH_BITS: u32 = 32;

/// The streams of a column, each with its sink.
#[derive(Debug)]
pub(super) enum Column<S> {
    Fixed {
        width: usize,
        values: S,
    },
    String(S),
    Nullable {
        nulls: S,
        values: Box<Self>,
    },
    Array {
        ends: S,
        /// The number of elements so far.
        count: u64,
        elements: Box<Self>,
    },
    Tuple(Vec<Self>),
    WithDefaultFlag(Box<Self>),
}

impl Column<Length> {
    /// Returns a column that counts the bytes of its streams.
    pub(super) fn counting(shape: &ShapeBuf) -> Self {
        let boxed = |shape: &ShapeBuf| Box::new(Self::counting(shape));
        match shape {
            ShapeBuf::Fixed(width) => Self::Fixed {
                width: *width,
                values: Length::default(),
            },
            ShapeBuf::String => Self::String(Length::default()),
            ShapeBuf::Nullable(values) => Self::Nullable {
                nulls: Length::default(),
                values: boxed(values),
            },
            ShapeBuf::Array(elements) => Self::Array {
                ends: Length::default(),
                count: 0,
                elements: boxed(elements),
            },
            ShapeBuf::Tuple(elements) => Self::Tuple(elements.iter().map(Self::counting).collect()),
            ShapeBuf::WithDefaultFlag(values) => Self::WithDefaultFlag(boxed(values)),
        }
    }

    /// Returns the total length of all streams; `None` if it overflows.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Fixed { values, .. } | Self::String(values) => Some(values.0),
            Self::Nullable { nulls: own, values }
            | Self::Array {
                ends: own,
                elements: values,
                ..
            } => own.0.checked_add(values.length()?),
            Self::Tuple(elements) => elements
                .iter()
                .try_fold(0_usize, |sum, element| sum.checked_add(element.length()?)),
            Self::WithDefaultFlag(values) => values.length(),
        }
    }

    /// Returns a column that writes its streams back to back to the beginning of `buffer`, and
    /// leaves the rest in `buffer`. Returns `None` if `buffer` is too small.
    pub(super) fn placed<'o>(&self, buffer: &mut &'o mut [u8]) -> Option<Column<SliceSink<'o>>> {
        let mut place = |length: &Length| {
            let (own, rest) = std::mem::take(buffer).split_at_mut_checked(length.0)?;
            *buffer = rest;
            Some(SliceSink::new(own))
        };
        Some(match self {
            Self::Fixed { width, values } => Column::Fixed {
                width: *width,
                values: place(values)?,
            },
            Self::String(values) => Column::String(place(values)?),
            Self::Nullable { nulls, values } => Column::Nullable {
                nulls: place(nulls)?,
                values: Box::new(values.placed(buffer)?),
            },
            Self::Array { ends, elements, .. } => Column::Array {
                ends: place(ends)?,
                count: 0,
                elements: Box::new(elements.placed(buffer)?),
            },
            Self::Tuple(elements) => Column::Tuple(
                elements
                    .iter()
                    .map(|element| element.placed(buffer))
                    .collect::<Option<_>>()?,
            ),
            Self::WithDefaultFlag(values) => Column::WithDefaultFlag(Box::new(values.placed(buffer)?)),
        })
    }
}

impl Column<SliceSink<'_>> {
    /// Returns whether all streams are complete.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Fixed { values, .. } | Self::String(values) => values.is_full(),
            Self::Nullable { nulls: own, values }
            | Self::Array {
                ends: own,
                elements: values,
                ..
            } => own.is_full() && values.is_full(),
            Self::Tuple(elements) => elements.iter().all(Self::is_full),
            Self::WithDefaultFlag(values) => values.is_full(),
        }
    }
}

impl<S: Sink> Column<S> {
    /// Takes one value of each row, at `offsets`, and advances the offsets past it.
    /// Returns `None` if a value does not match its shape.
    ///
    /// Matches on the column's kind once for all rows.
    pub(super) fn take_each(&mut self, rows: &[u8], offsets: &mut [usize]) -> Option<()> {
        match self {
            Self::Fixed { width: 1, values } => take_arrays::<1>(values, rows, offsets),
            Self::Fixed { width: 2, values } => take_arrays::<2>(values, rows, offsets),
            Self::Fixed { width: 4, values } => take_arrays::<4>(values, rows, offsets),
            Self::Fixed { width: 8, values } => take_arrays::<8>(values, rows, offsets),
            Self::Fixed { width: 16, values } => take_arrays::<16>(values, rows, offsets),
            Self::String(values) => {
                for at in offsets {
                    take_string(values, rows, at)?;
                }
                Some(())
            }
            Self::Tuple(elements) => elements
                .iter_mut()
                .try_for_each(|element| element.take_each(rows, offsets)),
            Self::WithDefaultFlag(values) => {
                offsets.iter_mut().try_for_each(|at| take_mark(rows, at))?;
                values.take_each(rows, offsets)
            }
            Self::Array { ends, count, elements } => {
                for at in offsets {
                    take_array(ends, count, elements, rows, at)?;
                }
                Some(())
            }
            Self::Fixed { .. } | Self::Nullable { .. } => offsets.iter_mut().try_for_each(|at| self.take(rows, at, 1)),
        }
    }

    /// Takes `count` consecutive values.
    fn take(&mut self, rows: &[u8], at: &mut usize, count: usize) -> Option<()> {
        match self {
            Self::Fixed { width, values } => {
                let length = width.checked_mul(count)?;
                values.put(rows, *at, length)?;
                *at += length;
                Some(())
            }
            Self::String(values) => (0..count).try_for_each(|_| take_string(values, rows, at)),
            Self::Nullable { nulls, values } => (0..count).try_for_each(|_| {
                let is_null = take_byte(rows, at)?;
                nulls.put_array(&[is_null])?;
                match is_null {
                    0 => values.take(rows, at, 1),
                    1 => values.put_default(),
                    _ => None,
                }
            }),
            Self::Array {
                ends,
                count: sum,
                elements,
            } => (0..count).try_for_each(|_| take_array(ends, sum, elements, rows, at)),
            Self::Tuple(elements) => {
                (0..count).try_for_each(|_| elements.iter_mut().try_for_each(|element| element.take(rows, at, 1)))
            }
            Self::WithDefaultFlag(values) => (0..count).try_for_each(|_| {
                take_mark(rows, at)?;
                values.take(rows, at, 1)
            }),
        }
    }

    /// Writes the value in the place of a NULL.
    fn put_default(&mut self) -> Option<()> {
        match self {
            Self::Fixed { width, values } => values.put_zeros(*width),
            // The length 0 of an empty string.
            Self::String(values) => values.put_zeros(1),
            Self::Nullable { nulls, values } => {
                nulls.put_array(&[1])?;
                values.put_default()
            }
            Self::Array { ends, count, .. } => ends.put_array(&count.to_le_bytes()),
            Self::Tuple(elements) => elements.iter_mut().try_for_each(Self::put_default),
            Self::WithDefaultFlag(values) => values.put_default(),
        }
    }
}

fn take_arrays<const N: usize>(values: &mut impl Sink, rows: &[u8], offsets: &mut [usize]) -> Option<()> {
    for at in offsets {
        values.put_array::<N>(rows.get(*at..)?.first_chunk()?)?;
        *at += N;
    }
    Some(())
}

/// Takes one array; `sum` is the number of elements so far.
#[inline(always)]
fn take_array<S: Sink>(
    ends: &mut S,
    sum: &mut u64,
    elements: &mut Column<S>,
    rows: &[u8],
    at: &mut usize,
) -> Option<()> {
    let count = take_length(rows, at)?;
    *sum += count as u64;
    ends.put_array(&sum.to_le_bytes())?;
    if count == 0 {
        return Some(());
    }
    elements.take(rows, at, count)
}

#[inline(always)]
fn take_string(values: &mut impl Sink, rows: &[u8], at: &mut usize) -> Option<()> {
    let start = *at;
    let length = take_length(rows, at)?;
    let end = at.checked_add(length)?;
    values.put(rows, start, end - start)?;
    *at = end;
    Some(())
}

#[inline(always)]
fn take_byte(rows: &[u8], at: &mut usize) -> Option<u8> {
    let byte = *rows.get(*at)?;
    *at += 1;
    Some(byte)
}

/// Takes the byte that states that a value follows.
#[inline(always)]
fn take_mark(rows: &[u8], at: &mut usize) -> Option<()> {
    (take_byte(rows, at)? == 0).then_some(())
}

/// Takes a length that [`put_length`](crate::value::put_length) wrote.
#[inline(always)]
fn take_length(rows: &[u8], at: &mut usize) -> Option<usize> {
    match take_byte(rows, at)? {
        length @ ..0x80 => Some(usize::from(length)),
        first => take_long_length(rows, at, first),
    }
}

fn take_long_length(rows: &[u8], at: &mut usize, first: u8) -> Option<usize> {
    let mut length = usize::from(first & 0x7f);
    for shift in (7..MAX_LENGTH_BITS).step_by(7) {
        let byte = take_byte(rows, at)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}
