//! JSON syntax errors: a position and a kind, formatted as text only for display.

use std::fmt;

/// The position and the kind of a syntax error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The byte at which the text stops being JSON.
    pub at: usize,
    /// The kind of the error.
    pub kind: ErrorKind,
}

/// The kind of a syntax error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text ends too early.
    UnexpectedEnd,
    /// No value starts here, or its kind is not the expected one.
    ExpectedValue,
    /// No key starts here.
    ExpectedKey,
    /// A key has no colon.
    ExpectedColon,
    /// Neither a comma nor the end of the array or object follows.
    ExpectedComma,
    /// A number that JSON does not allow: `01`, `1.`, `+1`.
    InvalidNumber,
    /// An escape that JSON does not allow.
    InvalidEscape,
    /// A control character in a string, which must be escaped.
    ControlCharacter,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep,
    /// Text after the end of the document.
    TrailingText,
    /// Valid JSON, but its keys are so long and its objects so large that their paths would be far
    /// longer than the event.
    PathsTooLong,
}

impl ErrorKind {
    /// Returns the error message.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnexpectedEnd => "the text ends inside a value",
            Self::ExpectedValue => "expected a value",
            Self::ExpectedKey => "expected a key in double quotes",
            Self::ExpectedColon => "expected `:` after a key",
            Self::ExpectedComma => "expected `,` or the end of the array or object",
            Self::InvalidNumber => "this is not a valid JSON number",
            Self::InvalidEscape => "this is not a valid JSON escape",
            Self::ControlCharacter => "a control character in a string must be escaped",
            Self::TooDeep => "arrays and objects are nested too deep",
            Self::PathsTooLong => "the key paths of nested values are too long in total",
            Self::TrailingText => "there is more text after the end of the document",
        }
    }
}

impl Error {
    /// Returns the line and the column of the error in `text`. Both count from 1, and the column
    /// counts characters.
    ///
    /// Reads the text again, so it is for error messages only.
    #[cold]
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        let bytes = text.as_bytes();
        let before = &bytes[..self.at.min(bytes.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        // Each character has one byte that is not a continuation byte.
        let column = before[start..].iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1;
        (line, column)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.kind.text())
    }
}

impl std::error::Error for Error {}
