//! Table: one item per record of CSV or TSV; the first line has the names of the fields.
//!
//! A record has as many fields as the header. Its values are texts, as those of a form.

use std::collections::HashSet;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{Break, BreakError, Item, NextItem};
use crate::{
    answer::ItemNumber,
    arena::Arena,
    fields::Fields,
    intake::rejection::{CsvError, Rejection},
    request::body::Payload,
};

/// The maximum number of columns.
const MAX_COLUMNS: usize = 4_096;

/// The records of a table.
#[derive(Debug)]
pub(in crate::collect::batch) struct Table {
    reader: Box<Reader>,
    /// The start of the next record.
    at: usize,
    /// The number of line ends before it.
    lines: usize,
    /// The names in the header.
    names: Vec<String>,
    record: Record,
    /// Whether more text may follow, so that the end of the text is not the end of a record.
    is_partial: bool,
}

/// The fields of the last record.
#[derive(Debug, Default)]
struct Record {
    /// The texts of all fields.
    texts: Vec<u8>,
    /// The end of each field in them, as far as the header has names.
    ends: Vec<usize>,
    /// The number of fields.
    count: usize,
}

impl Table {
    /// Returns the records of a text that begins at byte `at`, after the header.
    ///
    /// # Errors
    ///
    /// The header is invalid.
    pub(in crate::collect::batch) fn open(text: &str, at: usize, delimiter: u8) -> Result<Self, CsvError> {
        let mut table = Self::new(at, delimiter);
        table.read_header(text)?;
        Ok(table)
    }

    /// Returns the records of a text that arrives in pieces; `None` if the header is not there yet.
    ///
    /// # Errors
    ///
    /// The header is invalid.
    pub(super) fn open_partial(text: &str, delimiter: u8, is_final: bool) -> Result<Option<Self>, CsvError> {
        let mut table = Self::new(0, delimiter);
        table.is_partial = !is_final;
        let has_header = table.read_header(text)?;
        Ok((has_header || is_final).then_some(table))
    }

    fn new(at: usize, delimiter: u8) -> Self {
        let mut builder = ReaderBuilder::new();
        // Only CSV has quotes.
        builder.delimiter(delimiter).quoting(delimiter == b',');
        Self {
            reader: Box::new(builder.build()),
            at,
            lines: 0,
            names: Vec::new(),
            record: Record {
                ends: vec![0; MAX_COLUMNS],
                ..Record::default()
            },
            is_partial: false,
        }
    }

    /// Reads the header, and returns whether there is one.
    fn read_header(&mut self, text: &str) -> Result<bool, CsvError> {
        let start = self.at;
        let has_header = match self.read_record(text) {
            Ok(Some(())) => {
                self.take_names()?;
                true
            }
            Ok(None) => false,
            Err(_) => return Err(CsvError::OpenQuote),
        };
        let header = text.get(start..self.at).unwrap_or_default();
        self.lines = memchr::memchr_iter(b'\n', header.as_bytes()).count();
        Ok(has_header)
    }

    /// Makes the last record the header.
    fn take_names(&mut self) -> Result<(), CsvError> {
        if self.record.count > MAX_COLUMNS {
            return Err(CsvError::TooManyColumns(MAX_COLUMNS));
        }
        let mut start = 0;
        for (index, end) in self.record.ends[..self.record.count].iter().enumerate() {
            let name = String::from_utf8_lossy(&self.record.texts[start..*end])
                .trim()
                .to_owned();
            if name.is_empty() {
                return Err(CsvError::UnnamedColumn(index + 1));
            }
            self.names.push(name);
            start = *end;
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(CsvError::ColumnTwice(twice.clone()));
        }
        self.record.ends = vec![0; self.names.len().max(1)];
        Ok(())
    }

    pub(super) fn next<'t>(&mut self, text: &'t str) -> NextItem<'t> {
        let start = self.at;
        let found = self.read_record(text);
        let read = text.get(start..self.at).unwrap_or_default();
        // Line ends before a record belong to blank lines.
        let record = read.trim_start_matches(['\r', '\n']);
        let blank = memchr::memchr_iter(b'\n', &read.as_bytes()[..read.len() - record.len()]).count();
        let number = ItemNumber::Line(self.lines + blank + 1);
        self.lines += memchr::memchr_iter(b'\n', read.as_bytes()).count();
        match found {
            Ok(None) => Ok(None),
            Ok(Some(())) => Ok(Some(Item {
                number,
                text: record.trim_end_matches(['\r', '\n']),
            })),
            Err(error) => Err(Break {
                number,
                rest: record,
                error,
            }),
        }
    }

    /// Returns the fields of the last record.
    ///
    /// # Errors
    ///
    /// The record has more fields than the header, or fewer.
    pub(super) fn payload<'a>(&'a self, arena: &'a Arena) -> Result<Payload<'a>, Rejection> {
        let Record { texts, ends, count } = &self.record;
        if *count != self.names.len() {
            return Err(Rejection::Csv(CsvError::Ragged {
                expected: self.names.len(),
                got: *count,
            }));
        }
        let length = ends.get(count.wrapping_sub(1)).copied().unwrap_or_default();
        let texts = texts.get(..length).unwrap_or_default();
        // Quotes and delimiters are ASCII, so each field is UTF-8 as the text is.
        let texts = std::str::from_utf8(texts).unwrap_or_default();
        let mut start = 0;
        let pairs = self.names.iter().zip(ends).map(|(name, end)| {
            let value = texts.get(start..*end).unwrap_or_default();
            start = *end;
            (name.as_str(), value)
        });
        Ok(Payload::Form(Fields::Flat(arena.alloc_slice_fill_iter(pairs))))
    }

    /// Returns the end of the last record, and makes it the start of the text.
    pub(super) fn rebase(&mut self) -> usize {
        std::mem::take(&mut self.at)
    }

    /// Sets whether more text may follow.
    pub(super) fn set_partial(&mut self, is_partial: bool) {
        self.is_partial = is_partial;
    }

    /// Returns the number of the next record, unless blank lines are before it.
    pub(super) fn next_number(&self) -> ItemNumber {
        ItemNumber::Line(self.lines + 1)
    }

    /// Skips a record of which this text is a part, and returns whether its end is there.
    pub(super) fn skip_long(&mut self, text: &str) -> bool {
        let (mut texts, mut ends) = ([0; 256], [0; 16]);
        loop {
            let rest = text.as_bytes().get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                if !self.is_partial {
                    // Nothing of the record is left for the next call.
                    self.reader.reset();
                }
                return !self.is_partial;
            }
            let (result, read, ..) = self.reader.read_record(rest, &mut texts, &mut ends);
            self.lines += memchr::memchr_iter(b'\n', &rest[..read]).count();
            self.at += read;
            if matches!(result, ReadRecordResult::Record | ReadRecordResult::End) {
                return true;
            }
        }
    }

    /// Goes back to the start of a record whose end is not there yet.
    fn wait_for_more(&mut self, start: usize) -> Result<Option<()>, BreakError> {
        self.reader.reset();
        self.at = start;
        Ok(None)
    }

    /// Reads the next record; `None` after the last one.
    fn read_record(&mut self, text: &str) -> Result<Option<()>, BreakError> {
        let start = self.at;
        self.record.count = 0;
        let mut length = 0;
        loop {
            let rest = text.as_bytes().get(self.at..).unwrap_or_default();
            if rest.is_empty() && self.is_partial {
                return self.wait_for_more(start);
            }
            // The last record may lack its line end.
            let is_end = rest.is_empty();
            let input = if is_end { b"\n" } else { rest };
            let Record { texts, ends, count } = &mut self.record;
            let kept = (*count).min(ends.len());
            let (result, read, written, fields) =
                self.reader.read_record(input, &mut texts[length..], &mut ends[kept..]);
            self.at += if is_end { 0 } else { read };
            length += written;
            *count += fields;
            match result {
                ReadRecordResult::Record => return Ok(Some(())),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty if is_end => {
                    let is_blank = text
                        .get(start..)
                        .is_none_or(|text| text.trim_matches(['\r', '\n']).is_empty());
                    return if is_blank { Ok(None) } else { Err(BreakError::OpenQuote) };
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    let capacity = (2 * texts.len()).clamp(1 << 10, text.len().max(1 << 10) + 1);
                    texts.resize(capacity.max(texts.len() + 1), 0);
                }
                // The record has more fields than the header; the others are only counted.
                ReadRecordResult::OutputEndsFull => break,
            }
        }
        self.skip_record(text, start)
    }

    /// Skips the rest of a record, and counts its fields.
    fn skip_record(&mut self, text: &str, start: usize) -> Result<Option<()>, BreakError> {
        let (mut texts, mut ends) = ([0; 256], [0; 16]);
        loop {
            let rest = text.as_bytes().get(self.at..).unwrap_or_default();
            if rest.is_empty() && self.is_partial {
                return self.wait_for_more(start);
            }
            let is_end = rest.is_empty();
            let input = if is_end { b"\n" } else { rest };
            let (result, read, _, fields) = self.reader.read_record(input, &mut texts, &mut ends);
            self.at += if is_end { 0 } else { read };
            self.record.count += fields;
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(Some(())),
                ReadRecordResult::InputEmpty if is_end => return Err(BreakError::OpenQuote),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The fields of a record, or the reason why it has none.
    type Fielded = Result<Vec<(String, String)>, String>;

    /// Returns the records with their lines, as the fields of a form.
    fn records(text: &str, delimiter: u8) -> Vec<(usize, Fielded)> {
        let mut table = Table::open(text, 0, delimiter).unwrap();
        let mut records = Vec::new();
        loop {
            let item = match table.next(text) {
                Ok(None) => return records,
                Ok(Some(item)) => item,
                Err(found) => {
                    let ItemNumber::Line(line) = found.number else {
                        return records;
                    };
                    records.push((line, Err(format!("{:?} {}", found.error, found.rest))));
                    return records;
                }
            };
            let ItemNumber::Line(line) = item.number else {
                return records;
            };
            assert_eq!(item.text.trim_matches(['\r', '\n']), item.text);
            let arena = Arena::new();
            let fields = match table.payload(&arena) {
                Ok(Payload::Form(Fields::Flat(pairs))) => Ok(pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect()),
                Ok(other) => Err(format!("{other:?}")),
                Err(rejection) => Err(rejection.message("").into_owned()),
            };
            records.push((line, fields));
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Fielded {
        Ok(pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect())
    }

    #[test]
    fn each_record_has_the_names_of_the_header() {
        let ragged = |got: usize| Err(format!("the record has {got} fields, and the header has 2"));
        for (text, expected) in [
            ("", vec![]),
            ("a,b", vec![]),
            ("a,b\r\n", vec![]),
            ("a, b \n1,2", vec![(2, pairs(&[("a", "1"), ("b", "2")]))]),
            (
                "a,b\r\n1,2\r\n,\r\n",
                vec![
                    (2, pairs(&[("a", "1"), ("b", "2")])),
                    (3, pairs(&[("a", ""), ("b", "")])),
                ],
            ),
            (
                "\n\na,b\n\n\"x,\"\"\ny\",\u{44f}\n\n3,4\n\n",
                vec![
                    (5, pairs(&[("a", "x,\"\ny"), ("b", "\u{44f}")])),
                    (8, pairs(&[("a", "3"), ("b", "4")])),
                ],
            ),
            // A record of another length is refused alone.
            (
                "a,b\n1\n1,2,3\n1,2,3,\"4\n5\",6\n7,8\n",
                vec![
                    (2, ragged(1)),
                    (3, ragged(3)),
                    (4, ragged(5)),
                    (6, pairs(&[("a", "7"), ("b", "8")])),
                ],
            ),
            // A quote that is not closed takes the rest.
            (
                "a,b\n1,2\n3,\"4\n5,6\n",
                vec![
                    (2, pairs(&[("a", "1"), ("b", "2")])),
                    (3, Err("OpenQuote 3,\"4\n5,6\n".to_owned())),
                ],
            ),
        ] {
            assert_eq!(records(text, b','), expected, "{text:?}");
        }
        assert_eq!(
            records("a\tb\n\"1\t2,3\n", b'\t'),
            [(2, pairs(&[("a", "\"1"), ("b", "2,3")]))]
        );
        let long = "x".repeat(10_000);
        assert_eq!(
            records(&format!("a,b\n{long},\"{long}\""), b','),
            [(2, pairs(&[("a", &long), ("b", &long)]))]
        );
    }

    #[test]
    fn an_invalid_header_is_an_error() {
        let many = "a,".repeat(MAX_COLUMNS) + "a";
        for (text, message) in [
            ("a,,b\n1,2,3", "column 2 of the header has no name"),
            ("a,b,a\n", "the header has `a` twice"),
            ("a,\"b\n1,2\n", "a quoted field has no end"),
            (&many, "the header has more than 4096 columns"),
        ] {
            let error = Table::open(text, 0, b',').unwrap_err();
            assert_eq!(Rejection::Csv(error).message(""), message);
        }
    }
}
