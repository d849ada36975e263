//! Sequence: JSON documents, each after a record separator.

use super::Item;
use crate::answer::ItemNumber;

pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// The documents of a sequence.
#[derive(Debug)]
pub(in crate::collect::batch) struct Sequence {
    /// The start of the next document; past the end of the text after the last one.
    pub(super) at: usize,
    /// The number of documents read so far.
    pub(super) count: usize,
}

impl Sequence {
    pub(super) fn new(at: usize) -> Self {
        Self { at, count: 0 }
    }

    pub(super) fn next<'t>(&mut self, text: &'t str) -> Option<Item<'t>> {
        loop {
            let rest = text.get(self.at..)?;
            let end = memchr::memchr(RECORD_SEPARATOR, rest.as_bytes()).unwrap_or(rest.len());
            self.at += end + 1;
            let document = &rest[..end];
            // Separators may follow one another, and the first one begins the text.
            if !document.trim_ascii().is_empty() {
                self.count += 1;
                return Some(Item {
                    number: ItemNumber::Index(self.count - 1),
                    text: document,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_separator_begins_a_document() {
        for (text, expected) in [
            ("", vec![]),
            ("\u{1e}", vec![]),
            ("\u{1e}{}\n", vec!["{}\n"]),
            ("\u{1e}{\n}\n\u{1e}\u{1e} \n\u{1e}5", vec!["{\n}\n", "5"]),
            ("{}\n\u{1e}[]", vec!["{}\n", "[]"]),
        ] {
            let mut sequence = Sequence::new(0);
            let found: Vec<_> = std::iter::from_fn(|| sequence.next(text)).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .enumerate()
                .map(|(index, text)| Item {
                    number: ItemNumber::Index(index),
                    text,
                })
                .collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
