//! Columns: takes a row apart into the values of leaves, with their levels.
//!
//! A value of nested type becomes values of several leaves. The definition level of each says how far
//! the nesting above it is present, and the repetition level at which list it begins a new element
//! ([Dremel](https://research.google/pubs/dremel-interactive-analysis-of-web-scale-datasets-2/)).

use super::leaf::Leaf;
use crate::{
    row_bytes::{Cursor, InvalidValue},
    value::VARIANT_NULL,
};

/// A column of the rows.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    /// Whether a byte in front of the value tells whether ClickHouse computes it.
    pub(super) has_flag: bool,
    /// Whether ClickHouse may compute the value, which is then missing.
    pub(super) is_computed: bool,
    /// The definition level of a value that is present.
    pub(super) definition: i16,
    pub(super) node: Node,
}

/// A type, with the leaves to which its values go.
#[derive(Debug)]
pub(super) enum Node {
    /// The leaf with this index.
    Leaf(usize),
    /// The leaf of a Geometry, which may be NULL.
    Geometry(usize),
    /// A byte 1 for NULL, or a 0 and a value.
    Optional(Box<Self>),
    /// A number of elements, and the elements.
    List {
        element: Box<Self>,
        /// The repetition level of all elements but the first.
        repetition: i16,
    },
    Group(Vec<Self>),
}

/// The levels of the value that is taken.
#[derive(Debug, Clone, Copy)]
struct Levels {
    definition: i16,
    repetition: i16,
}

impl Column {
    /// Takes the column's value from a row.
    pub(super) fn take(&self, cursor: &mut Cursor<'_>, leaves: &mut [Leaf]) -> Result<(), InvalidValue> {
        let levels = Levels {
            definition: self.definition,
            repetition: 0,
        };
        match self.has_flag && cursor.flag()? {
            false => self.node.take(cursor, leaves, levels),
            true if self.is_computed => {
                self.node.put_missing(
                    leaves,
                    Levels {
                        definition: 0,
                        ..levels
                    },
                );
                Ok(())
            }
            true => Err(InvalidValue::Malformed),
        }
    }
}

impl Node {
    /// Returns a list whose elements repeat at this level.
    pub(super) fn list(element: Self, repetition: i16) -> Self {
        Self::List {
            element: Box::new(element),
            repetition,
        }
    }

    fn take(&self, cursor: &mut Cursor<'_>, leaves: &mut [Leaf], levels: Levels) -> Result<(), InvalidValue> {
        let present = Levels {
            definition: levels.definition + 1,
            ..levels
        };
        match self {
            Self::Leaf(index) => take_leaf(*index, cursor, leaves, levels),
            Self::Geometry(index) => match cursor.peek() {
                Some(VARIANT_NULL) => {
                    cursor.byte()?;
                    self.put_missing(leaves, levels);
                    Ok(())
                }
                _ => take_leaf(*index, cursor, leaves, present),
            },
            Self::Optional(inner) => match cursor.flag()? {
                true => {
                    inner.put_missing(leaves, levels);
                    Ok(())
                }
                false => inner.take(cursor, leaves, present),
            },
            Self::List { element, repetition } => {
                let count = cursor.count()?;
                if count == 0 {
                    element.put_missing(leaves, levels);
                    return Ok(());
                }
                element.take(cursor, leaves, present)?;
                let next = Levels {
                    repetition: *repetition,
                    ..present
                };
                (1..count).try_for_each(|_| element.take(cursor, leaves, next))
            }
            Self::Group(nodes) => nodes.iter().try_for_each(|node| node.take(cursor, leaves, levels)),
        }
    }

    /// Adds a missing value to each leaf below.
    fn put_missing(&self, leaves: &mut [Leaf], levels: Levels) {
        match self {
            Self::Leaf(index) | Self::Geometry(index) => {
                if let Some(leaf) = leaves.get_mut(*index) {
                    leaf.put_levels(levels.definition, levels.repetition);
                }
            }
            Self::Optional(inner) | Self::List { element: inner, .. } => inner.put_missing(leaves, levels),
            Self::Group(nodes) => nodes.iter().for_each(|node| node.put_missing(leaves, levels)),
        }
    }
}

fn take_leaf(index: usize, cursor: &mut Cursor<'_>, leaves: &mut [Leaf], levels: Levels) -> Result<(), InvalidValue> {
    let leaf = leaves.get_mut(index).ok_or(InvalidValue::Malformed)?;
    leaf.take(cursor, levels.definition, levels.repetition)
}
