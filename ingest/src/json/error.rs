//! What is wrong with a text that is not JSON: two words to carry, put into sentences only when somebody reads them.

use std::fmt;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The byte at which the text stops being JSON.
    pub at: usize,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What is wrong with a text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text ends inside of a value.
    UnexpectedEnd,
    /// No value starts here, or one of another kind than was asked for.
    ExpectedValue,
    /// No key starts here.
    ExpectedKey,
    /// A key without its colon.
    ExpectedColon,
    /// Neither a comma nor the end of the array or object.
    ExpectedComma,
    /// A number that the grammar does not have: `01`, `1.`, `+1`.
    InvalidNumber,
    /// An escape that the grammar does not have.
    InvalidEscape,
    /// A control character inside of a string, which has to be escaped.
    ControlCharacter,
    /// Arrays and objects nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep,
    /// Something after the end of the document.
    TrailingText,
    /// JSON, but with keys so long and objects so large that their paths would outgrow the event by far.
    PathsTooLong,
}

impl ErrorKind {
    /// Returns the words for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnexpectedEnd => "the text ends inside of a value",
            Self::ExpectedValue => "expected a value",
            Self::ExpectedKey => "expected a key in double quotes",
            Self::ExpectedColon => "expected `:` after a key",
            Self::ExpectedComma => "expected `,` or the end of the array or object",
            Self::InvalidNumber => "this is not a number of JSON",
            Self::InvalidEscape => "this is not an escape of JSON",
            Self::ControlCharacter => "a control character in a string has to be escaped",
            Self::TooDeep => "arrays and objects are nested too deep",
            Self::PathsTooLong => "the keys on the way to nested values are too long together",
            Self::TrailingText => "there is more text after the end of the document",
        }
    }
}

impl Error {
    /// Returns the line and the column of the error in `text`, both counted from 1, the column in characters.
    ///
    /// Reads the text once more: for messages, not for the way of an event.
    #[cold]
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        let bytes = text.as_bytes();
        let before = &bytes[..self.at.min(bytes.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        // A character has one byte that is not a continuation byte.
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
