//! Array: one item per element of a JSON array.
//!
//! The elements are skipped without checks, by their brackets and quotes. Of an array that is
//! malformed between two elements, the elements before that place are items.

use super::{Break, BreakError, Item, NextItem};
use crate::{
    answer::ItemNumber,
    json::{self, Position, Reader},
};

/// The elements of an array.
#[derive(Debug)]
pub(in crate::collect::batch) struct Array {
    /// The end of the last element, or the start of the array.
    pub(super) position: Position,
    pub(super) is_open: bool,
    /// The number of elements read so far.
    pub(super) count: usize,
    /// Whether the array is the whole document, so that nothing may follow it.
    is_document: bool,
}

impl Array {
    /// Returns the elements of a document that is an array and begins at byte `at`.
    pub(super) fn document(at: usize) -> Self {
        Self::at(Position::start(at), true)
    }

    /// Returns the elements of an array inside a document.
    pub(in crate::collect::batch) fn inside(position: Position) -> Self {
        Self::at(position, false)
    }

    fn at(position: Position, is_document: bool) -> Self {
        Self {
            position,
            is_open: false,
            count: 0,
            is_document,
        }
    }

    pub(super) fn next<'t>(&mut self, text: &'t str) -> NextItem<'t> {
        let mut reader = Reader::new(text);
        reader.seek(self.position);
        let number = ItemNumber::Index(self.count);
        match self.element(&mut reader) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => {
                self.position = reader.position();
                self.is_open = true;
                self.count += 1;
                Ok(Some(Item { number, text }))
            }
            Err(error) => Err(Break {
                number,
                rest: text.get(self.position.at()..).unwrap_or_default(),
                error: BreakError::Json(error),
            }),
        }
    }

    /// Reads the next element, or the end of the array.
    fn element<'t>(&self, reader: &mut Reader<'t>) -> Result<Option<&'t str>, json::Error> {
        if !self.is_open {
            reader.begin_array()?;
        }
        if reader.next_element()? {
            return reader.raw_value_unchecked().map(Some);
        }
        if self.is_document {
            reader.end()?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::ErrorKind;

    /// Returns the elements, and the rest and the error after them.
    fn split(text: &str) -> (Vec<&str>, Option<(&str, ErrorKind)>) {
        let mut array = Array::document(0);
        let mut elements = Vec::new();
        loop {
            match array.next(text) {
                Ok(None) => return (elements, None),
                Ok(Some(item)) => {
                    assert_eq!(item.number, ItemNumber::Index(elements.len()));
                    elements.push(item.text);
                }
                Err(found) => {
                    assert_eq!(found.number, ItemNumber::Index(elements.len()));
                    let BreakError::Json(error) = found.error else {
                        return (elements, None);
                    };
                    return (elements, Some((found.rest, error.kind)));
                }
            }
        }
    }

    #[test]
    fn each_element_is_an_item() {
        for (text, elements) in [
            ("[]", vec![]),
            (" [ ] \n", vec![]),
            ("[{}]", vec!["{}"]),
            (
                "[{\"a\":[1,{}]} , 5,\tnull,\"]\",[]]",
                vec!["{\"a\":[1,{}]}", "5", "null", "\"]\"", "[]"],
            ),
            (r#"["\"", {"a":"\\"}]"#, vec![r#""\"""#, r#"{"a":"\\"}"#]),
            // The decoder rejects these elements.
            ("[{bad}, tru, {\"a\":1]]", vec!["{bad}", "tru", "{\"a\":1]"]),
        ] {
            assert_eq!(split(text), (elements, None), "{text}");
        }
    }

    #[test]
    fn the_elements_before_a_break_are_items() {
        use ErrorKind::{ExpectedComma, ExpectedValue, TrailingText, UnexpectedEnd};
        for (text, elements, rest, kind) in [
            ("[", vec![], "[", UnexpectedEnd),
            ("[{}", vec!["{}"], "", UnexpectedEnd),
            ("[{},", vec!["{}"], ",", UnexpectedEnd),
            ("[{},{\"a\":", vec!["{}"], ",{\"a\":", UnexpectedEnd),
            ("[{} {}]", vec!["{}"], " {}]", ExpectedComma),
            ("[{},]", vec!["{}"], ",]", ExpectedValue),
            ("[,{}]", vec![], "[,{}]", ExpectedValue),
            ("[{}] {}", vec!["{}"], "] {}", TrailingText),
            ("[{}}]", vec!["{}"], "}]", ExpectedComma),
            ("[{},x]", vec!["{}"], ",x]", ExpectedValue),
        ] {
            assert_eq!(split(text), (elements, Some((rest, kind))), "{text}");
        }
    }
}
