//! SQL of a schema: a text that goes to ClickHouse unchanged, with the place of each of its pieces
//! in the files.

use std::{
    fmt::{self, Display, Formatter},
    ops::Range,
};

use crate::{
    source::{Sources, Span},
    yaml::{Node, Value},
};

/// A piece of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sql {
    text: String,
    /// The pieces in order. The text between them is not from a file, such as the brackets around a
    /// list.
    pieces: Vec<Piece>,
}

/// A part of the text that comes from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    at: Range<usize>,
    written: Span,
}

impl Sql {
    /// Returns the SQL in the bytes `within` of a scalar's text.
    pub(crate) fn of_node(node: &Node, within: Range<usize>, sources: &Sources) -> Self {
        let text = match &node.value {
            Value::Text(text) => text.get(within.clone()).unwrap_or_default(),
            _ => "",
        };
        if let Some(pieces) = lines_of_block(text, &node.span, sources) {
            return Self {
                text: text.to_owned(),
                pieces,
            };
        }
        Self {
            pieces: vec![Piece {
                at: 0..text.len(),
                written: node.span_within(sources, within),
            }],
            text: text.to_owned(),
        }
    }

    /// Returns SQL that is not from a file.
    pub(crate) fn unplaced(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            pieces: Vec::new(),
        }
    }

    /// Joins the items with commas, in brackets.
    pub(crate) fn list(items: &[Self]) -> Self {
        let mut list = Self {
            text: "(".to_owned(),
            pieces: Vec::new(),
        };
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                list.text.push_str(", ");
            }
            list.append(item);
        }
        list.text.push(')');
        list
    }

    /// Adds a text before and a text after, neither of which is from a file.
    pub(crate) fn surrounded(&self, before: &str, after: &str) -> Self {
        let mut surrounded = Self {
            text: before.to_owned(),
            pieces: Vec::new(),
        };
        surrounded.append(self);
        surrounded.text.push_str(after);
        surrounded
    }

    fn append(&mut self, other: &Self) {
        let start = self.text.len();
        self.text.push_str(&other.text);
        self.pieces.extend(other.pieces.iter().map(|piece| Piece {
            at: piece.at.start + start..piece.at.end + start,
            written: piece.written.clone(),
        }));
    }

    /// Returns the bytes `range` of the text.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        let pieces = self.pieces.iter().filter_map(|piece| {
            let at = piece.at.start.max(range.start)..piece.at.end.min(range.end);
            (at.start < at.end).then(|| Piece {
                written: piece.span(&at),
                at: at.start - range.start..at.end - range.start,
            })
        });
        Self {
            pieces: pieces.collect(),
            text: self.text.get(range).unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the place of the bytes: exact if the file has the text verbatim, otherwise the whole
    /// piece.
    pub(crate) fn span(&self, range: &Range<usize>) -> Option<Span> {
        let piece = self
            .pieces
            .iter()
            .rfind(|piece| piece.at.start <= range.start)
            .or(self.pieces.first())?;
        let clamped = |byte: usize| byte.clamp(piece.at.start, piece.at.end);
        Some(piece.span(&(clamped(range.start)..clamped(range.end))))
    }

    /// Returns the place of the whole text, or of its first piece if it has several.
    pub(crate) fn whole_span(&self) -> Option<Span> {
        self.span(&(0..self.text.len()))
    }
}

/// Returns one piece for each line of a block scalar, whose lines have an indentation in the file;
/// `None` for any other text.
fn lines_of_block(text: &str, span: &Span, sources: &Sources) -> Option<Vec<Piece>> {
    let written = sources.slice(span);
    if !text.contains('\n') || written.get(..text.len()) == Some(text) {
        return None;
    }
    let mut pieces = Vec::new();
    let (mut at, mut start) = (0, span.range.start);
    let mut written = written.split_inclusive('\n');
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches('\n');
        let written_line = written.next()?;
        let end = start + written_line.trim_end_matches(['\n', '\r']).len();
        if !written_line.trim_end_matches(['\n', '\r']).ends_with(content) {
            return None;
        }
        if !content.is_empty() {
            pieces.push(Piece {
                at: at..at + content.len(),
                written: Span {
                    file: span.file,
                    range: end - content.len()..end,
                },
            });
        }
        at += line.len();
        start += written_line.len();
    }
    Some(pieces)
}

impl Piece {
    fn span(&self, range: &Range<usize>) -> Span {
        let written = &self.written.range;
        if written.len() != self.at.len() {
            return self.written.clone();
        }
        let at = |byte: usize| byte - self.at.start + written.start;
        Span {
            file: self.written.file,
            range: at(range.start)..at(range.end),
        }
    }
}

impl Display for Sql {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            pieces: vec![Piece {
                at: 0..text.len(),
                written: Span {
                    file: 0,
                    range: 0..text.len(),
                },
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_part_of_a_list_keeps_its_span() {
        let first = Sql::from("xx date").part(3..7);
        let list = Sql::list(&[first, Sql::from("(a, b)").part(4..5)]).surrounded("f", " DESC");
        assert_eq!(list.as_str(), "f(date, b) DESC");
        let written = |part: &str| {
            let at = list.as_str().find(part).unwrap();
            list.span(&(at..at + part.len())).unwrap().range
        };
        assert_eq!(written("date"), 3..7);
        assert_eq!(written("te"), 5..7);
        assert_eq!(written("b"), 4..5);
        assert_eq!(list.part(2..6).span(&(1..2)).unwrap().range, 4..5);
    }
}
