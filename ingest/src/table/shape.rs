//! Shapes: the bytes of a value, as far as moving them from a row to its column requires.
//!
//! The build step writes a [`Shape`] as a constant; the log holds a [`ShapeBuf`].

use serde::{Deserialize, Serialize};

/// The encoding of a type's values in a row, which is also that in its column.
///
/// The build step knows the shapes of a table's columns. A type without a shape (JSON, Variant,
/// Dynamic, QBit) keeps its table in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// This many bytes, the same ones in a row and in a column.
    Fixed(usize),
    /// A length and as many bytes, the same ones in a row and in a column.
    String,
    /// In a row: a byte, 1 for NULL, 0 before a value. In a column: those bytes, then the values,
    /// with the type's default for each NULL.
    Nullable(&'static Self),
    /// In a row: the number of elements, then the elements. In a column: the number of elements up
    /// to the end of each row (8 bytes each), then all elements.
    ///
    /// A Map is an array of tuples.
    Array(&'static Self),
    /// In a row: the elements. In a column: one column for each element.
    Tuple(&'static [Self]),
    /// In a row of [`RowBinaryWithDefaults`](crate::table::Format::RowBinaryWithDefaults): a byte 0
    /// before the value. In a column: the value.
    ///
    /// A value that may be left to its default has the shape of a [`Nullable`](Self::Nullable),
    /// byte for byte.
    WithDefaultFlag(&'static Self),
}

/// An owned [`Shape`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShapeBuf {
    Fixed(usize),
    String,
    Nullable(Box<Self>),
    Array(Box<Self>),
    Tuple(Box<[Self]>),
    WithDefaultFlag(Box<Self>),
}

impl From<&Shape> for ShapeBuf {
    fn from(shape: &Shape) -> Self {
        let boxed = |shape: &Shape| Box::new(Self::from(shape));
        match shape {
            Shape::Fixed(width) => Self::Fixed(*width),
            Shape::String => Self::String,
            Shape::Nullable(values) => Self::Nullable(boxed(values)),
            Shape::Array(elements) => Self::Array(boxed(elements)),
            Shape::Tuple(elements) => Self::Tuple(elements.iter().map(Self::from).collect()),
            Shape::WithDefaultFlag(values) => Self::WithDefaultFlag(boxed(values)),
        }
    }
}

/// The byte for a missing shape.
const NONE: u8 = 0xff;

/// The build step nests shapes less deeply than this; a log with deeper ones is damaged.
const MAX_DEPTH: usize = 64;

impl ShapeBuf {
    /// Appends a shape: a byte for its kind, followed by the width of a fixed one (4 bytes,
    /// little-endian), by the number of elements (4 bytes) and the elements of a tuple, or by the
    /// inner shape of any other.
    pub(crate) fn put(shape: Option<&Self>, out: &mut Vec<u8>) {
        let Some(shape) = shape else {
            return out.push(NONE);
        };
        let mut nested = |kind, inside: &Self| {
            out.push(kind);
            Self::put(Some(inside), out);
        };
        match shape {
            Self::Fixed(width) => {
                out.push(0);
                out.extend_from_slice(&(*width as u32).to_le_bytes());
            }
            Self::String => out.push(1),
            Self::Nullable(values) => nested(2, values),
            Self::Array(elements) => nested(3, elements),
            Self::Tuple(elements) => {
                out.push(4);
                out.extend_from_slice(&(elements.len() as u32).to_le_bytes());
                elements.iter().for_each(|element| Self::put(Some(element), out));
            }
            Self::WithDefaultFlag(values) => nested(5, values),
        }
    }

    /// Takes a shape that [`put`](Self::put) wrote; `None` if the bytes are malformed.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Option<Self>> {
        if bytes.first() == Some(&NONE) {
            *bytes = &bytes[1..];
            return Some(None);
        }
        Self::take_shape(bytes, 0).map(Some)
    }

    fn take_shape(bytes: &mut &[u8], depth: usize) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        let mut number = || {
            let (number, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Some(u32::from_le_bytes(*number) as usize)
        };
        if depth == MAX_DEPTH {
            return None;
        }
        Some(match kind {
            0 => Self::Fixed(number()?),
            1 => Self::String,
            2 => Self::Nullable(Box::new(Self::take_shape(bytes, depth + 1)?)),
            3 => Self::Array(Box::new(Self::take_shape(bytes, depth + 1)?)),
            4 => {
                let count = number()?;
                let elements = (0..count).map(|_| Self::take_shape(bytes, depth + 1));
                Self::Tuple(elements.collect::<Option<_>>()?)
            }
            5 => Self::WithDefaultFlag(Box::new(Self::take_shape(bytes, depth + 1)?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_reads_back_and_a_truncated_one_is_invalid() {
        const ELEMENTS: [Shape; 3] = [
            Shape::Nullable(&Shape::String),
            Shape::WithDefaultFlag(&Shape::Fixed(16)),
            Shape::Array(&Shape::Tuple(&[])),
        ];
        let shape = ShapeBuf::from(&Shape::Tuple(&ELEMENTS));
        let mut bytes = Vec::new();
        ShapeBuf::put(Some(&shape), &mut bytes);
        ShapeBuf::put(None, &mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(ShapeBuf::take(&mut rest), Some(Some(shape)));
        assert_eq!(ShapeBuf::take(&mut rest), Some(None));
        assert!(rest.is_empty());
        for end in 0..bytes.len() - 1 {
            assert_eq!(ShapeBuf::take(&mut &bytes[..end]), None, "{end}");
        }
        assert_eq!(ShapeBuf::take(&mut &[3; 100][..]), None);
    }
}
