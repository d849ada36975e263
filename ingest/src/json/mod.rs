//! A JSON pull parser: the caller asks for the next item and gets slices of the text itself.
//!
//! Takes text that is already known to be UTF-8 and follows
//! [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) strictly. Allocates only for strings that
//! contain an escape. The reader does not recurse. It refuses documents that nest deeper than
//! [`MAX_DEPTH`], which also bounds a caller that recurses along with it.
//!
//! The reader is more lenient than most in one point: a lone surrogate (`"\ud83d"`) becomes U+FFFD.
//! Strings that were cut in the middle of an emoji are common and must not cost their event.
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

mod brackets;
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

/// The maximum nesting depth of arrays and objects.
pub const MAX_DEPTH: u8 = 128;

/// The kind of a value, as its first byte shows.
///
/// ```
/// use rowmill_ingest::json::{Kind, Reader};
///
/// assert_eq!(Reader::new("-1").peek(), Ok(Kind::Number));
/// ```
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

/// A position in a text, for [`Reader::seek`].
///
/// ```
/// use rowmill_ingest::json::Reader;
///
/// let json = Reader::new("[1]");
/// assert_eq!(json.position(), json.clone().position());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    at: usize,
    depth: u8,
    fresh: bool,
}

impl Position {
    /// Returns the position of a document that begins at byte `at`.
    pub(crate) const fn start(at: usize) -> Self {
        Self {
            at,
            depth: 0,
            fresh: false,
        }
    }

    /// Returns the position that this one becomes if the text before it has `at` bytes.
    pub(crate) const fn moved_to(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Returns the number of bytes before the position.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("[1, 2]");
    /// json.begin_array()?;
    /// assert_eq!(json.position().at(), 1);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub const fn at(self) -> usize {
        self.at
    }
}

/// Reads one text from its start to its end.
///
/// After an error the position is unspecified; [`Reader::seek`] restores an earlier one.
///
/// ```
/// use rowmill_ingest::json::Reader;
///
/// let mut json = Reader::new("true");
/// assert!(json.bool()?);
/// json.end()?;
/// # Ok::<(), rowmill_ingest::json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The number of open arrays and objects.
    depth: u8,
    /// Whether the innermost of them was just opened, so that no comma precedes its next element.
    fresh: bool,
    /// Memory for decoded strings.
    arena: Option<&'a Arena>,
    /// Whether values are read by the lenient rules of [`value`](crate::value#lenient-rules).
    is_lenient: bool,
}

impl<'a> Reader<'a> {
    /// Creates a reader at the start of `text`.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// assert_eq!(Reader::new(r#""open""#).string()?, "open");
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            fresh: false,
            arena: None,
            is_lenient: false,
        }
    }

    /// Creates a reader at the start of `text` that decodes strings into `arena`.
    pub(crate) const fn new_in(text: &'a str, arena: &'a Arena) -> Self {
        Self {
            arena: Some(arena),
            ..Self::new(text)
        }
    }

    /// Creates a reader at the start of `text` whose value counts as one inside of an object.
    pub(crate) const fn new_in_object(text: &'a str) -> Self {
        Self {
            depth: 1,
            ..Self::new(text)
        }
    }

    /// Returns whether values are read by the lenient rules of
    /// [`value`](crate::value#lenient-rules). A new reader is strict.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// assert!(!Reader::new("1").is_lenient());
    /// ```
    pub const fn is_lenient(&self) -> bool {
        self.is_lenient
    }

    /// Sets whether values are read by the lenient rules of
    /// [`value`](crate::value#lenient-rules). Returns the previous setting.
    ///
    /// ```
    /// use rowmill_ingest::{json::Reader, value::Decode};
    ///
    /// let mut json = Reader::new("3.0");
    /// json.set_lenient(true);
    /// assert_eq!(i32::from_json(&mut json)?, 3);
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    pub const fn set_lenient(&mut self, is_lenient: bool) -> bool {
        std::mem::replace(&mut self.is_lenient, is_lenient)
    }

    /// Returns a strict reader at the same position.
    pub(crate) fn strict(&self) -> Self {
        Self {
            is_lenient: false,
            ..self.clone()
        }
    }

    /// Returns the current position.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("[1, 2]");
    /// let start = json.position();
    /// json.raw_value()?;
    /// assert_eq!(json.position().at() - start.at(), 6);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub const fn position(&self) -> Position {
        Position {
            at: self.at,
            depth: self.depth,
            fresh: self.fresh,
        }
    }

    /// Moves to a position that this reader has returned.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new(r#"{"event": "open"}"#);
    /// let start = json.position();
    /// assert!(json.begin_array().is_err());
    /// json.seek(start);
    /// json.begin_object()?;
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub const fn seek(&mut self, position: Position) {
        self.at = position.at;
        self.depth = position.depth;
        self.fresh = position.fresh;
    }

    /// Skips white space and returns the kind of the next value. Reads only its first byte.
    ///
    /// # Errors
    /// No value starts here.
    ///
    /// ```
    /// use rowmill_ingest::json::{Kind, Reader};
    ///
    /// assert_eq!(Reader::new(" {}").peek()?, Kind::Object);
    /// assert!(Reader::new("}").peek().is_err());
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
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

    /// Reads `null`.
    ///
    /// # Errors
    /// The next value is not `null`.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// Reader::new("null").null()?;
    /// assert!(Reader::new("0").null().is_err());
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub fn null(&mut self) -> Result<(), Error> {
        if self.literal("null") {
            Ok(())
        } else {
            Err(self.error(ErrorKind::ExpectedValue))
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// The next value is not a boolean.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// assert!(Reader::new("true").bool()?);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    pub fn bool(&mut self) -> Result<bool, Error> {
        if self.literal("true") {
            Ok(true)
        } else if self.literal("false") {
            Ok(false)
        } else {
            Err(self.error(ErrorKind::ExpectedValue))
        }
    }

    /// Enters an object; [`Reader::next_key`] reads its keys.
    ///
    /// # Errors
    /// The next value is not an object, or it is nested too deep.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("{}");
    /// json.begin_object()?;
    /// assert_eq!(json.next_key()?, None);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    #[inline]
    pub fn begin_object(&mut self) -> Result<(), Error> {
        self.begin(b'{')
    }

    /// Reads the next key and its colon, so that the value is next. After the last value, leaves
    /// the object and returns `None`.
    ///
    /// # Errors
    /// The object is malformed.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new(r#"{"clicks": 3}"#);
    /// json.begin_object()?;
    /// while let Some(key) = json.next_key()? {
    ///     println!("{key}: {}", json.raw_value()?);
    /// }
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    #[inline]
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        match self.compact_key() {
            Some(key) => Ok(Some(Cow::Borrowed(key))),
            None => self.any_key(),
        }
    }

    /// Reads a key and its colon in the form that nearly all of them have: `,"key":`, or with one
    /// space after the comma. Consumes nothing if the text differs.
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

    /// Enters an array; [`Reader::next_element`] moves to its elements.
    ///
    /// # Errors
    /// The next value is not an array, or it is nested too deep.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("[]");
    /// json.begin_array()?;
    /// assert!(!json.next_element()?);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    #[inline]
    pub fn begin_array(&mut self) -> Result<(), Error> {
        self.begin(b'[')
    }

    /// Returns whether there is another element, which is then next. Leaves the array after the
    /// last one.
    ///
    /// # Errors
    /// The array is malformed.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("[1, 2, 3]");
    /// let mut sum = 0;
    /// json.begin_array()?;
    /// while json.next_element()? {
    ///     sum += json.small_integer().unwrap_or_default();
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
    #[inline]
    pub fn next_element(&mut self) -> Result<bool, Error> {
        self.next_or_close(b']')
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    /// More text follows.
    ///
    /// ```
    /// use rowmill_ingest::json::Reader;
    ///
    /// let mut json = Reader::new("1 2");
    /// json.raw_value()?;
    /// assert!(json.end().is_err());
    /// # Ok::<(), rowmill_ingest::json::Error>(())
    /// ```
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
    fn skip_space(&mut self) {
        if self.byte().is_none_or(|byte| byte <= b' ') {
            self.skip_all_space();
        }
    }

    fn skip_all_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    /// Consumes one byte if it is `expected`.
    #[inline]
    fn consume(&mut self, expected: u8) -> bool {
        let passed = self.byte() == Some(expected);
        self.at += usize::from(passed);
        passed
    }

    fn literal(&mut self, word: &str) -> bool {
        self.skip_space();
        let passed = self
            .text
            .as_bytes()
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += if passed { word.len() } else { 0 };
        passed
    }

    /// Returns the text from `start` to here. Both ends are beside ASCII bytes, so neither splits a
    /// character.
    #[inline]
    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    #[inline]
    fn begin(&mut self, bracket: u8) -> Result<(), Error> {
        self.skip_space();
        if !self.consume(bracket) {
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
        self.skip_space();
        if self.consume(b':') {
            Ok(())
        } else {
            Err(self.error(ErrorKind::ExpectedColon))
        }
    }

    /// Returns an error at this position. At the end of the text, its kind is always
    /// `UnexpectedEnd`.
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
