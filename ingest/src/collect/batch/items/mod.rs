//! Items: splits the text of a batch into its items, one at a time and without copies.
//!
//! A splitter only finds where an item ends. The decoder checks each item by itself, so an item
//! that is not JSON does not affect the others. A splitter moves past whole items only.

mod array;
mod lines;
mod sequence;

pub(super) use self::array::Array;
pub(in crate::collect) use self::lines::is_lines;
use self::{lines::Lines, sequence::Sequence};
use std::ops::Range;

use crate::{answer::ItemNumber, json, request::batch_format::BatchFormat};

/// One item of a batch.
#[derive(Debug, PartialEq)]
pub(super) struct Item<'t> {
    pub(super) number: ItemNumber,
    pub(super) text: &'t str,
}

/// The place at which no further item can be found.
#[derive(Debug, PartialEq)]
pub(super) struct Break<'t> {
    /// The number of the item that should begin here.
    pub(super) number: ItemNumber,
    /// The text after the last item.
    pub(super) rest: &'t str,
    /// The error, with its position in the whole text.
    pub(super) error: json::Error,
}

/// The next item, `None` after the last one.
pub(super) type NextItem<'t> = Result<Option<Item<'t>>, Break<'t>>;

/// The items of a batch, as far as they are not taken yet.
#[derive(Debug)]
pub(super) enum Items {
    Lines(Lines),
    Sequence(Sequence),
    Array(Array),
    /// The only item, at this place in the text.
    One(Range<usize>),
    /// No further items.
    End,
}

impl Items {
    /// Returns the items of a text that begin at byte `at`; those of a document are found first.
    pub(super) fn new(format: BatchFormat, at: usize) -> Self {
        match format {
            BatchFormat::Lines => Self::Lines(Lines::new(at)),
            BatchFormat::Sequence => Self::Sequence(Sequence::new(at)),
            BatchFormat::Array => Self::Array(Array::document(at)),
            BatchFormat::Document => Self::End,
        }
    }

    /// Returns the next item of `text`, which must be the same in each call.
    ///
    /// # Errors
    ///
    /// [`Break`]: the text is malformed between two items. There are no further items.
    #[inline]
    pub(super) fn next<'t>(&mut self, text: &'t str) -> NextItem<'t> {
        match self {
            Self::Lines(lines) => Ok(lines.next(text)),
            Self::Sequence(sequence) => Ok(sequence.next(text)),
            Self::Array(array) => {
                let next = array.next(text);
                if !matches!(next, Ok(Some(_))) {
                    *self = Self::End;
                }
                next
            }
            Self::One(range) => {
                let text = text.get(range.clone()).unwrap_or_default();
                let number = ItemNumber::Index(0);
                *self = Self::End;
                Ok(Some(Item { number, text }))
            }
            Self::End => Ok(None),
        }
    }
}
