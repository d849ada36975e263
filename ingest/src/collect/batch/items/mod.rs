//! Items: splits the text of a batch into its items, one at a time and without copies.
//!
//! A splitter only finds where an item ends. The decoder checks each item by itself, so an item
//! that is not JSON does not affect the others. A splitter moves past whole items only.

mod array;
mod array_skip;
mod lines;
mod sequence;
mod streamed;
mod table;

pub(in crate::collect) use self::lines::is_lines;
pub(super) use self::{array::Array, streamed::Streamed, table::Table};
use self::{lines::Lines, sequence::Sequence};
use std::ops::Range;

use crate::{
    answer::ItemNumber,
    arena::Arena,
    collect::batch::shared::SharedValues,
    intake::rejection::{CsvError, Rejection},
    json,
    request::{batch_format::BatchFormat, body::Payload},
};

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
    pub(super) error: BreakError,
}

/// The reason of a [`Break`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum BreakError {
    /// The text is not JSON; the error has its position in the whole text.
    Json(json::Error),
    /// A quoted field of CSV has no end.
    OpenQuote,
}

impl From<BreakError> for Rejection {
    fn from(error: BreakError) -> Self {
        match error {
            BreakError::Json(error) => Self::Syntax(error),
            BreakError::OpenQuote => Self::Csv(CsvError::OpenQuote),
        }
    }
}

/// The next item, `None` after the last one.
pub(super) type NextItem<'t> = Result<Option<Item<'t>>, Break<'t>>;

/// The items of a batch, as far as they are not taken yet.
#[derive(Debug)]
pub(super) enum Items {
    Lines(Lines),
    Sequence(Sequence),
    Array(Array),
    Table(Table),
    /// The only item, at this place in the text.
    One(Range<usize>),
    /// The items of a text that arrives in pieces.
    Streamed(Box<Streamed>),
    /// No further items.
    End,
}

impl Items {
    /// Returns the items of a text that begin at byte `at`; those of a document are found first.
    ///
    /// # Errors
    ///
    /// The text has an invalid header.
    pub(super) fn new(format: BatchFormat, text: &str, at: usize) -> Result<Self, Rejection> {
        Ok(match format {
            BatchFormat::Lines => Self::Lines(Lines::new(at)),
            BatchFormat::Sequence => Self::Sequence(Sequence::new(at)),
            BatchFormat::Array => Self::Array(Array::document(at)),
            BatchFormat::Document => Self::End,
            BatchFormat::Csv => Self::Table(Table::open(text, at, b',').map_err(Rejection::Csv)?),
            BatchFormat::Tsv => Self::Table(Table::open(text, at, b'\t').map_err(Rejection::Csv)?),
        })
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
            Self::Table(table) => {
                let next = table.next(text);
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
            Self::Streamed(streamed) => streamed.next(text),
            Self::End => Ok(None),
        }
    }

    /// Returns the payload of the item that the last call of [`next`](Self::next) has returned.
    ///
    /// # Errors
    ///
    /// The item is not a record of its table.
    #[inline]
    pub(super) fn payload<'a>(
        &'a self,
        item: &'a str,
        shared: SharedValues<'a>,
        arena: &'a Arena,
    ) -> Result<Payload<'a>, Rejection> {
        match self {
            Self::Table(table) => table.payload(arena),
            Self::Streamed(streamed) => streamed.payload(item, shared, arena),
            _ => Ok(Payload::Item { text: item, shared }),
        }
    }
}
