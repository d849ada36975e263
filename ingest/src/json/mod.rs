//! JSON, read by pulling: the caller says what it wants next, and gets slices of the text itself.
//!
//! Takes text that is already known to be UTF-8 and follows [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) to the letter.
//! Allocates only where a string has an escape in it. Recursion is the caller's: the reader itself has none, and no document
//! nests deeper than [`MAX_DEPTH`] without an error, so that a caller that recurses along with it is bounded too.
//!
//! One thing is taken more kindly than by most readers: half of a surrogate pair (`"\ud83d"`) becomes U+FFFD. Texts that were
//! cut in the middle of an emoji are common, and must not cost the event they came with.
//!
//! ```
//! use rowmill_ingest::json::{Kind, Reader};
//!
//! let mut json = Reader::new(r#"{"event": "open", "tags": [1, 2]}"#);
//! json.begin_object()?;
//! assert_eq!(json.next_key()?.as_deref(), Some("event"));
//! assert_eq!(json.string()?, "open");
//! assert_eq!(json.next_key()?.as_deref(), Some("tags"));
//! assert_eq!(json.peek()?, Kind::Array);
//! assert_eq!(json.raw_value()?, "[1, 2]");
//! assert_eq!(json.next_key()?, None);
//! json.end()?;
//! # Ok::<(), rowmill_ingest::json::Error>(())
//! ```

mod error;
mod number;
mod skip;
mod string;

use std::borrow::Cow;

pub use self::{
    error::{Error, ErrorKind},
    string::write_string,
};
use crate::arena::Arena;

/// How deep arrays and objects may stand in each other.
pub const MAX_DEPTH: u8 = 128;

/// What a value is, as its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// `-12.5e3`
    Number,
    /// `"text"`
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// A place in a text that [`Reader::seek`] goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    at: usize,
    depth: u8,
    fresh: bool,
}

impl Position {
    /// Returns the number of bytes before it.
    pub const fn at(self) -> usize {
        self.at
    }
}

/// Reads one text from its start to its end.
///
/// After an error it may stand anywhere; [`Reader::seek`] brings it back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// How many arrays and objects are open.
    depth: u8,
    /// Whether the innermost of them was opened just now, so that no comma comes before its next element.
    fresh: bool,
    /// Where strings with escapes in them are written.
    arena: Option<&'a Arena>,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `text`.
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            fresh: false,
            arena: None,
        }
    }

    /// Starts at the beginning of `text`; strings with escapes in them cost no allocation of their own.
    pub(crate) const fn new_in(text: &'a str, arena: &'a Arena) -> Self {
        Self {
            arena: Some(arena),
            ..Self::new(text)
        }
    }

    /// Returns the place where the reader stands.
    pub const fn position(&self) -> Position {
        Position {
            at: self.at,
            depth: self.depth,
            fresh: self.fresh,
        }
    }

    /// Goes to a place that this reader has given.
    pub const fn seek(&mut self, position: Position) {
        self.at = position.at;
        self.depth = position.depth;
        self.fresh = position.fresh;
    }

    /// Passes white space and returns the kind of the value that starts here. Only its first byte is looked at.
    ///
    /// # Errors
    /// No value starts here.
    #[inline]
    pub fn peek(&mut self) -> Result<Kind, Error> {
        match self.next_byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'[') => Ok(Kind::Array),
            Some(b'{') => Ok(Kind::Object),
            _ => Err(self.error(ErrorKind::ExpectedValue)),
        }
    }

    /// Takes `null`.
    ///
    /// # Errors
    /// Something else stands here.
    pub fn null(&mut self) -> Result<(), Error> {
        if self.literal("null") {
            Ok(())
        } else {
            Err(self.error(ErrorKind::ExpectedValue))
        }
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// Something else stands here.
    pub fn bool(&mut self) -> Result<bool, Error> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.error(ErrorKind::ExpectedValue))
        }
    }

    /// Enters an object; [`Reader::next_key`] goes on.
    ///
    /// # Errors
    /// Something else stands here, or it is nested too deep.
    #[inline]
    pub fn begin_object(&mut self) -> Result<(), Error> {
        self.begin(b'{')
    }

    /// Takes the next key and its colon, so that the value is next; or leaves the object after its last.
    ///
    /// # Errors
    /// The object is broken.
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        match self.compact_key() {
            Some(key) => Ok(Some(Cow::Borrowed(key))),
            None => self.any_key(),
        }
    }

    /// Takes a key and its colon as nearly all of them are written: `,"key":`, or with one space behind the comma. Takes nothing
    /// where something else stands here.
    #[inline]
    fn compact_key(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        if !self.fresh {
            if *bytes.get(at)? != b',' {
                return None;
            }
            at += 1;
            at += usize::from(*bytes.get(at)? == b' ');
        }
        let (start, end) = string::plain_string(bytes, at)?;
        if *bytes.get(end + 1)? != b':' {
            return None;
        }
        self.fresh = false;
        self.at = end + 2;
        self.text.get(start..end)
    }

    fn any_key(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        if !self.find_key()? {
            return Ok(None);
        }
        let key = self.string()?;
        self.colon()?;
        Ok(Some(key))
    }

    /// Enters an array; [`Reader::next_element`] goes on.
    ///
    /// # Errors
    /// Something else stands here, or it is nested too deep.
    #[inline]
    pub fn begin_array(&mut self) -> Result<(), Error> {
        self.begin(b'[')
    }

    /// Returns whether there is one more element, which is next then; leaves the array after its last.
    ///
    /// # Errors
    /// The array is broken.
    #[inline]
    pub fn next_element(&mut self) -> Result<bool, Error> {
        self.next_or_close(b']')
    }

    /// Makes sure that only white space is left.
    ///
    /// # Errors
    /// There is more.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.error(ErrorKind::TrailingText)),
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn pass_space(&mut self) {
        if self.byte().is_none_or(|byte| byte <= b' ') {
            self.pass_any_space();
        }
    }

    fn pass_any_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        self.pass_space();
        self.byte()
    }

    /// Passes one byte if it is `expected`.
    #[inline]
    fn pass(&mut self, expected: u8) -> bool {
        let passed = self.byte() == Some(expected);
        self.at += usize::from(passed);
        passed
    }

    fn literal(&mut self, word: &str) -> bool {
        self.pass_space();
        let passed = self
            .text
            .as_bytes()
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += if passed { word.len() } else { 0 };
        passed
    }

    /// The text from `start` to here. Both stand beside ASCII bytes, so neither cuts a character.
    #[inline]
    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    fn begin(&mut self, bracket: u8) -> Result<(), Error> {
        self.pass_space();
        if !self.pass(bracket) {
            return Err(self.error(ErrorKind::ExpectedValue));
        }
        if self.depth == MAX_DEPTH {
            return Err(Error {
                at: self.at - 1,
                kind: ErrorKind::TooDeep,
            });
        }
        self.depth += 1;
        self.fresh = true;
        Ok(())
    }

    #[inline]
    fn next_or_close(&mut self, bracket: u8) -> Result<bool, Error> {
        let first = std::mem::take(&mut self.fresh);
        match self.next_byte() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.error(ErrorKind::ExpectedComma)),
        }
    }

    #[inline]
    fn find_key(&mut self) -> Result<bool, Error> {
        if !self.next_or_close(b'}')? {
            return Ok(false);
        }
        if self.next_byte() == Some(b'"') {
            Ok(true)
        } else {
            Err(self.error(ErrorKind::ExpectedKey))
        }
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Error> {
        self.pass_space();
        if self.pass(b':') {
            Ok(())
        } else {
            Err(self.error(ErrorKind::ExpectedColon))
        }
    }

    /// An error here. At the end of the text the reason is always that there is no more of it.
    #[cold]
    fn error(&self, kind: ErrorKind) -> Error {
        let at_end = self.at >= self.text.len();
        Error {
            at: self.at,
            kind: if at_end { ErrorKind::UnexpectedEnd } else { kind },
        }
    }
}

#[cfg(test)]
mod tests;
