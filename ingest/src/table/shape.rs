//! Shapes: what the bytes of a value are, as far as moving them from a row to its column needs to know.
//!
//! [`Shape`] is what the build step writes as a constant, [`ShapeBuf`] what a log has kept.

use serde::{Deserialize, Serialize};

/// How a value of a type lies in a row, and thereby in its column.
///
/// The build step knows the shapes of a table's columns. A type that has none (JSON, Variant, Dynamic, QBit) keeps its table in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// So many bytes, the same ones in a row and in a column.
    Fixed(usize),
    /// A length and as many bytes, the same ones in a row and in a column.
    String,
    /// In a row: a byte, 1 for NULL, 0 before a value. In a column: those bytes, then the values, with the type's default where
    /// there is NULL.
    Nullable(&'static Self),
    /// In a row: their number, and the elements. In a column: the number of elements up to the end of each row (8 bytes), then all elements.
    ///
    /// A Map is an array of tuples.
    Array(&'static Self),
    /// In a row: the elements. In a column: a column of each.
    Tuple(&'static [Self]),
    /// In a row of [`RowBinaryWithDefaults`](crate::table::Format::RowBinaryWithDefaults): a byte 0 before the value. In a column: the value.
    ///
    /// A value that may be left to its default has the shape of a [`Nullable`](Self::Nullable), byte for byte.
    Marked(&'static Self),
}

/// A [`Shape`] that owns what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShapeBuf {
    Fixed(usize),
    String,
    Nullable(Box<Self>),
    Array(Box<Self>),
    Tuple(Box<[Self]>),
    Marked(Box<Self>),
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
            Shape::Marked(values) => Self::Marked(boxed(values)),
        }
    }
}

/// The byte of no shape.
const NONE: u8 = 0xff;

/// Shapes are nested less deeply than this by the build step; a log that says more is damaged.
const MAX_DEPTH: usize = 64;

impl ShapeBuf {
    /// Appends a shape: a byte for its kind, and behind it the width (4 bytes, little-endian) of a fixed one, the
    /// number of elements (4 bytes) and the elements of a tuple, the shape inside of any other.
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
            Self::Marked(values) => nested(5, values),
        }
    }

    /// Takes what [`put`](Self::put) has put; none if it is anything else.
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Option<Self>> {
        if bytes.first() == Some(&NONE) {
            *bytes = &bytes[1..];
            return Some(None);
        }
        Self::take_some(bytes, 0).map(Some)
    }

    fn take_some(bytes: &mut &[u8], depth: usize) -> Option<Self> {
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
            2 => Self::Nullable(Box::new(Self::take_some(bytes, depth + 1)?)),
            3 => Self::Array(Box::new(Self::take_some(bytes, depth + 1)?)),
            4 => {
                let count = number()?;
                let elements = (0..count).map(|_| Self::take_some(bytes, depth + 1));
                Self::Tuple(elements.collect::<Option<_>>()?)
            }
            5 => Self::Marked(Box::new(Self::take_some(bytes, depth + 1)?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_as_it_was_written_and_no_cut_is_one() {
        const ELEMENTS: [Shape; 3] = [
            Shape::Nullable(&Shape::String),
            Shape::Marked(&Shape::Fixed(16)),
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
