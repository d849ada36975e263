//! Streamed: the items of a text that arrives in pieces.
//!
//! The text in memory begins after the last item that was taken, and ends anywhere. An item is
//! taken once its end is there: an element of an array that touches the end of the text may go on,
//! and so may a line without its line end. Only the last piece ends the last item.
//!
//! An item that becomes too long is skipped to its end, whose search keeps its state over pieces.

use super::{
    Array, Items, NextItem, Table,
    array_skip::ArraySkip,
    lines::Lines,
    sequence::{RECORD_SEPARATOR, Sequence},
};
use crate::{
    answer::ItemNumber,
    arena::Arena,
    collect::batch::{items::BreakError, shared::SharedValues},
    intake::rejection::Rejection,
    json::ErrorKind,
    request::{batch_format::BatchFormat, body::Payload},
};

/// The items of a text that arrives in pieces.
#[derive(Debug)]
pub(in crate::collect::batch) struct Streamed {
    items: Items,
    /// Whether the text ends where the body ends.
    is_final: bool,
    /// The end of the text in which lines or documents are complete; `None` if none is.
    complete: Option<usize>,
    /// Whether no further item follows, whatever the text is.
    is_over: bool,
    skip: ArraySkip,
    /// The maximum length of an item, in bytes.
    max_item_bytes: usize,
}

impl Streamed {
    /// Returns the items of a text; `None` if its header is not there yet. Documents that have their
    /// events inside are not streamed.
    ///
    /// # Errors
    ///
    /// The text has an invalid header.
    pub(in crate::collect::batch) fn open(
        format: BatchFormat,
        text: &str,
        is_final: bool,
        max_item_bytes: usize,
    ) -> Result<Option<Self>, Rejection> {
        let table = |delimiter| Table::open_partial(text, delimiter, is_final).map_err(Rejection::Csv);
        let items = match format {
            BatchFormat::Lines => Items::Lines(Lines::new(0)),
            BatchFormat::Sequence => Items::Sequence(Sequence::new(0)),
            BatchFormat::Array => Items::Array(Array::document(0)),
            BatchFormat::Document => Items::End,
            BatchFormat::Csv | BatchFormat::Tsv => {
                let delimiter = if format == BatchFormat::Csv { b',' } else { b'\t' };
                let Some(table) = table(delimiter)? else {
                    return Ok(None);
                };
                Items::Table(table)
            }
        };
        Ok(Some(Self {
            items,
            is_final,
            complete: None,
            is_over: false,
            skip: ArraySkip::default(),
            max_item_bytes,
        }))
    }

    /// Prepares the items of `text`, which begins where the last item ended. `is_final` is whether
    /// the body ends with it.
    pub(in crate::collect::batch) fn set_text(&mut self, text: &str, is_final: bool) {
        self.is_final = is_final;
        let last = |byte| memchr::memrchr(byte, text.as_bytes());
        let complete = match &mut self.items {
            Items::Lines(_) => last(b'\n'),
            Items::Sequence(_) => last(RECORD_SEPARATOR),
            Items::Table(table) => {
                table.set_partial(!is_final);
                None
            }
            _ => None,
        };
        self.complete = if is_final { Some(text.len()) } else { complete };
    }

    /// Returns the next complete item of the text; `None` if more text is needed, or after the last
    /// one.
    ///
    /// # Errors
    ///
    /// [`Break`](super::Break): as in a text that is there as a whole.
    pub(in crate::collect::batch) fn next<'t>(&mut self, text: &'t str) -> NextItem<'t> {
        if self.is_over {
            return Ok(None);
        }
        let complete = self.complete.and_then(|end| text.get(..end));
        let next = match &mut self.items {
            Items::Lines(lines) => return Ok(complete.and_then(|text| lines.next(text))),
            Items::Sequence(sequence) => return Ok(complete.and_then(|text| sequence.next(text))),
            Items::Array(array) => next_element(array, text, self.is_final),
            Items::Table(table) => table.next(text),
            _ => Ok(None),
        };
        self.is_over = next.is_err() || (self.is_final && matches!(next, Ok(None)));
        next
    }

    /// Returns the payload of the last item.
    ///
    /// # Errors
    ///
    /// The item is too long, or not a record of its table.
    pub(super) fn payload<'a>(
        &'a self,
        item: &'a str,
        shared: SharedValues<'a>,
        arena: &'a Arena,
    ) -> Result<Payload<'a>, Rejection> {
        match item.len() > self.max_item_bytes {
            true => Err(Rejection::TooLong(self.max_item_bytes)),
            false => self.items.payload(item, shared, arena),
        }
    }

    /// Returns whether no further item follows, whatever the text is: it is malformed, or complete.
    pub(in crate::collect::batch) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the length of the text before the next item, of which the caller removes as much.
    pub(in crate::collect::batch) fn take_consumed(&mut self, text: &str) -> usize {
        let consumed = match &mut self.items {
            Items::Lines(lines) => std::mem::take(&mut lines.at),
            Items::Sequence(sequence) => std::mem::take(&mut sequence.at),
            Items::Array(array) => {
                let at = array.position.at();
                array.position = array.position.moved_to(0);
                at
            }
            Items::Table(table) => table.rebase(),
            _ => 0,
        };
        self.complete = None;
        consumed.min(text.len())
    }

    /// Returns the number of the next item.
    pub(in crate::collect::batch) fn next_number(&self) -> ItemNumber {
        match &self.items {
            Items::Lines(lines) => ItemNumber::Line(lines.number + 1),
            Items::Sequence(sequence) => ItemNumber::Index(sequence.count),
            Items::Array(array) => ItemNumber::Index(array.count),
            Items::Table(table) => table.next_number(),
            _ => ItemNumber::Index(0),
        }
    }

    /// Skips an item that begins with the text, or the rest of one, and returns whether its end is
    /// in the text. The next item begins after [`take_consumed`](Self::take_consumed) bytes.
    pub(in crate::collect::batch) fn skip_long(&mut self, text: &str) -> bool {
        let end_of = |byte| memchr::memchr(byte, text.as_bytes());
        let is_final = self.is_final;
        match &mut self.items {
            Items::Lines(lines) => {
                let end = end_of(b'\n');
                lines.at = end.map_or(text.len(), |end| end + 1);
                lines.number += usize::from(end.is_some());
                end.is_some() || is_final
            }
            Items::Sequence(sequence) => {
                let end = end_of(RECORD_SEPARATOR);
                sequence.at = end.map_or(text.len(), |end| end + 1);
                sequence.count += usize::from(end.is_some());
                end.is_some() || is_final
            }
            Items::Array(array) => {
                let end = self.skip.end_of_element(text, array.is_open);
                array.position = match end {
                    Some(end) => after_an_element().moved_to(end),
                    None => array.position.moved_to(text.len()),
                };
                if end.is_some() {
                    self.skip = ArraySkip::default();
                    array.is_open = true;
                    array.count += 1;
                }
                end.is_some() || is_final
            }
            Items::Table(table) => table.skip_long(text),
            _ => true,
        }
    }
}

/// Returns the next complete element; `None` if more text is needed, or after the last one.
fn next_element<'t>(array: &mut Array, text: &'t str, is_final: bool) -> NextItem<'t> {
    let (position, is_open, count) = (array.position, array.is_open, array.count);
    match array.next(text) {
        // The rest of a number may follow.
        Ok(Some(_)) if !is_final && array.position.at() == text.len() => {
            (array.position, array.is_open, array.count) = (position, is_open, count);
            Ok(None)
        }
        Err(found)
            if !is_final
                && matches!(found.error, BreakError::Json(error) if error.kind == ErrorKind::UnexpectedEnd) =>
        {
            Ok(None)
        }
        next => next,
    }
}

/// Returns the position after an element of an array.
fn after_an_element() -> crate::json::Position {
    let mut array = Array::document(0);
    // Cannot fail: the text is an array.
    _ = array.next("[0]");
    array.position
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::collect::batch::items::Break;

    /// The number and the text of each item; at a break, the number and the error.
    type Taken = Vec<(ItemNumber, String)>;

    fn push(taken: &mut Taken, next: &NextItem<'_>) -> bool {
        match next {
            Ok(None) => false,
            Ok(Some(item)) => {
                taken.push((item.number, item.text.trim_ascii().to_owned()));
                true
            }
            Err(Break { number, error, .. }) => {
                let error = match error {
                    BreakError::Json(error) => format!("{:?}", error.kind),
                    BreakError::OpenQuote => "OpenQuote".to_owned(),
                };
                taken.push((*number, error));
                false
            }
        }
    }

    fn whole(format: BatchFormat, text: &str) -> Taken {
        let mut items = Items::new(format, text, 0).unwrap();
        let mut taken = Vec::new();
        while push(&mut taken, &items.next(text)) {}
        taken
    }

    /// Takes the items of a text that arrives in these pieces.
    fn in_pieces<'t>(format: BatchFormat, pieces: impl Iterator<Item = &'t str>) -> Taken {
        let mut pieces: Vec<_> = pieces.collect();
        pieces.push("");
        let last = pieces.len() - 1;
        let (mut streamed, mut text, mut taken) = (None, String::new(), Vec::new());
        for (index, piece) in pieces.into_iter().enumerate() {
            text.push_str(piece);
            let is_final = index == last;
            if streamed.is_none() {
                streamed = Streamed::open(format, &text, is_final, 100).unwrap();
            }
            let Some(streamed) = &mut streamed else { continue };
            streamed.set_text(&text, is_final);
            while push(&mut taken, &streamed.next(&text)) {}
            let consumed = streamed.take_consumed(&text);
            text.drain(..consumed);
        }
        taken
    }

    #[test]
    fn the_items_do_not_depend_on_the_pieces() {
        use BatchFormat::{Array, Csv, Lines, Sequence, Tsv};
        for (format, text) in [
            (Lines, ""),
            (Lines, "{}\n\n {\"a\":1}\r\n5\nя\n"),
            (Lines, "{}\n{}"),
            (Sequence, "\u{1e}{}\n\u{1e}\u{1e}5\n"),
            (Array, "[]"),
            (Array, " [ {\"a\":[1,\"]\",{}]} , 12 ,\"\\\"я\", null,true,[[]] ] \n"),
            (Array, "[{},"),
            (Array, "[{} {}]"),
            (Array, "[{}] x"),
            (Array, "[{},]"),
            (Array, "x"),
            (Csv, "a,b\r\n1,2\r\n\r\n\"x\n,\"\"y\",я\n3,4"),
            (Csv, "\n\na,b\n1\n1,2,3\n1,2,3,\"4\n5\",6\n7,8\n\n"),
            (Csv, "a,b\n1,2\n3,\"4\n5,6\n"),
            (Csv, "a,b"),
            (Tsv, "a\tb\n\"1\t2\n3\t4\n"),
        ] {
            let expected = whole(format, text);
            let characters = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
            assert_eq!(in_pieces(format, characters), expected, "{text:?}");
            for (cut, _) in text.char_indices() {
                let pieces = [&text[..cut], &text[cut..]];
                assert_eq!(in_pieces(format, pieces.into_iter()), expected, "{pieces:?}");
            }
        }
    }

    #[test]
    fn a_long_item_is_skipped_to_its_end() {
        use BatchFormat::{Array, Csv, Lines, Sequence};
        for (format, before, long, after, number) in [
            (Lines, "{}\n", "xxxx xxxx\n", "{\"a\":1}\n", ItemNumber::Line(3)),
            (
                Sequence,
                "\u{1e}{}\u{1e}",
                "xxxx\u{1e}",
                "{\"a\":1}",
                ItemNumber::Index(2),
            ),
            (
                Array,
                "[{} ",
                ", {\"x\":\"]\\\"}\",\"y\":[1,{}]}",
                ",{\"a\":1}]",
                ItemNumber::Index(2),
            ),
            (Array, "[{} ", ",\"a,]\\\\\"", ",{\"a\":1}]", ItemNumber::Index(2)),
            (Array, "", "[ 123456 ", ",{\"a\":1}]", ItemNumber::Index(1)),
            (Csv, "a,b\n1,2\n", "3,\"\n,\"\"\n\"\n", "5,6\n", ItemNumber::Line(6)),
        ] {
            let mut streamed = Streamed::open(format, before, false, 100).unwrap().unwrap();
            streamed.set_text(before, false);
            while streamed.next(before).unwrap().is_some() {}
            let consumed = streamed.take_consumed(before);
            let mut text = before[consumed..].to_owned();
            let mut is_done = false;
            for c in long.chars() {
                assert!(!is_done || c == ' ' || c == '\n', "{long:?}");
                text.push(c);
                if !is_done {
                    streamed.set_text(&text, false);
                    is_done = streamed.skip_long(&text);
                    let consumed = streamed.take_consumed(&text);
                    text.drain(..consumed);
                }
            }
            assert!(is_done, "{long:?}");
            text.push_str(after);
            streamed.set_text(&text, true);
            let item = streamed.next(&text).unwrap().unwrap();
            assert_eq!(item.number, number, "{long:?}");
            assert_eq!(
                item.text.trim_ascii().trim_end_matches('\n'),
                after.trim_matches([',', ']', '\n'])
            );
        }
    }
}
