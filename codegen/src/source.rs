//! Source: the files of a schema, and places in them.

use std::{ops::Range, path::PathBuf};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// All files of a schema folder.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The folder whose files these are; empty for texts in memory.
    pub(crate) folder: PathBuf,
    pub(crate) files: Vec<Source>,
    /// The files and folders that are not part of the schema.
    pub(crate) left_out: Vec<LeftOut>,
    /// The index of the standard tables' file, if the schema includes it.
    pub(crate) standard: Option<usize>,
    /// The indices of the presets' files that the schema includes.
    pub(crate) included: Vec<usize>,
}

/// A file or folder that the build does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The path as a user would type it.
    pub path: PathBuf,
    /// The reason, as the end of a sentence that begins with the path.
    pub reason: &'static str,
}

/// One file, as it was read.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path as a user would type it: the schema folder as passed in, and the path below it.
    pub(crate) path: PathBuf,
    /// The text without the byte order mark that some editors put first.
    pub(crate) text: String,
    /// The byte at which each line begins.
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        let after_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = [0].into_iter().chain(after_newlines.map(|(at, _)| at + 1)).collect();
        Self {
            path: path.into(),
            text,
            line_starts,
        }
    }

    /// Returns line and column of a byte, both from 1, the column in characters.
    pub(crate) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = self.line_starts[line.saturating_sub(1)];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    /// Returns the number of the line in which the bytes begin, and the bytes of all their lines.
    pub(crate) fn lines_around(&self, bytes: Range<usize>) -> (usize, Range<usize>) {
        let line = self.line_starts.partition_point(|start| *start <= bytes.start);
        let after = self.line_starts.partition_point(|start| *start <= bytes.end);
        let end = self.line_starts.get(after).map_or(self.text.len(), |next| next - 1);
        (line, self.line_starts[line.saturating_sub(1)]..end.max(bytes.end))
    }
}

/// A piece of one file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) file: usize,
    pub(crate) range: Range<usize>,
}

impl Span {
    /// Returns the span, or `other` if the span is empty.
    pub(crate) fn or(self, other: &Self) -> Self {
        if self.range.is_empty() { other.clone() } else { self }
    }
}

impl Sources {
    /// Creates sources from texts in memory, in their order.
    pub(crate) fn from_texts<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let files = files.into_iter().map(|(path, text)| Source::new(path, text)).collect();
        Self {
            folder: PathBuf::new(),
            files,
            left_out: Vec::new(),
            standard: None,
            included: Vec::new(),
        }
    }

    pub(crate) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Returns the files with their indices, in the order in which they override one another.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (usize, &Source)> {
        let rank = |index: usize| match index {
            index if self.standard == Some(index) => 0,
            index if self.included.contains(&index) => 1,
            _ => 2,
        };
        let files = || self.files.iter().enumerate();
        (0..=2).flat_map(move |turn| files().filter(move |(index, _)| rank(*index) == turn))
    }

    /// Returns the paths of the files of the schema folder.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let files = self.files.iter().enumerate();
        let own = files.filter(|(index, _)| self.standard != Some(*index) && !self.included.contains(index));
        own.map(|(_, source)| source.path.clone()).collect()
    }

    /// Returns the path of each file below the schema's folder.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|source| {
            let name = source.path.strip_prefix(&self.folder).unwrap_or(&source.path);
            name.display().to_string()
        })
    }

    /// Returns the text that `span` covers.
    pub(crate) fn slice(&self, span: &Span) -> &str {
        self.files
            .get(span.file)
            .and_then(|source| source.text.get(span.range.clone()))
            .unwrap_or_default()
    }

    /// Returns the text after `span` in its file.
    pub(crate) fn after(&self, span: &Span) -> &str {
        self.files
            .get(span.file)
            .and_then(|source| source.text.get(span.range.end..))
            .unwrap_or_default()
    }

    /// Returns the text before `span` in its file.
    pub(crate) fn before(&self, span: &Span) -> &str {
        self.files
            .get(span.file)
            .and_then(|source| source.text.get(..span.range.start))
            .unwrap_or_default()
    }
}
