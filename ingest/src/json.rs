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
mod string;

use std::borrow::Cow;

pub use self::{
    error::{Error, ErrorKind},
    string::write_string,
};

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
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `text`.
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            fresh: false,
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

    /// Takes a number and returns it as it is written.
    ///
    /// # Errors
    /// Something else stands here, or a number that JSON does not have.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str, Error> {
        self.pass_space();
        let start = self.at;
        self.pass(b'-');
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.pass_digits(),
            _ => return Err(self.error(ErrorKind::InvalidNumber)),
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _ = self.pass(b'+') || self.pass(b'-');
            self.digits()?;
        }
        // `01` and `1x`: the caller would see the rest as a missing comma, which is the worse message.
        match self.byte() {
            Some(b'0'..=b'9' | b'.' | b'+' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z') => {
                Err(self.error(ErrorKind::InvalidNumber))
            }
            _ => Ok(self.slice(start)),
        }
    }

    /// Takes an integer of at most 18 digits, the way that nearly all numbers go.
    ///
    /// Gives `None` and stays where it is when anything else stands here: [`Reader::number`] takes it then.
    #[inline]
    pub fn small_integer(&mut self) -> Option<i64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let (negative, digits) = match rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut value = 0;
        let mut count = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if count == 18 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            count += 1;
        }
        let after = digits.get(count);
        let whole = matches!(after, None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        if !whole || count == 0 || (digits[0] == b'0' && count > 1) {
            return None;
        }
        self.at += count + usize::from(negative);
        Some(if negative { -value } else { value })
    }

    /// Passes any value and returns it as it is written.
    ///
    /// # Errors
    /// The value is broken.
    pub fn raw_value(&mut self) -> Result<&'a str, Error> {
        self.pass_space();
        let start = self.at;
        self.skip()?;
        Ok(self.slice(start))
    }

    /// Passes any value.
    ///
    /// # Errors
    /// The value is broken.
    pub fn skip(&mut self) -> Result<(), Error> {
        let bottom = self.depth;
        // One bit for each open level, the innermost the lowest: whether it is an object.
        let mut objects: u128 = 0;
        loop {
            match self.peek()? {
                Kind::Null => self.null()?,
                Kind::Bool => self.bool().map(drop)?,
                Kind::Number => self.number().map(drop)?,
                Kind::String => self.skip_string()?,
                Kind::Array => {
                    self.begin_array()?;
                    objects <<= 1;
                }
                Kind::Object => {
                    self.begin_object()?;
                    objects = objects << 1 | 1;
                }
            }
            loop {
                if self.depth == bottom {
                    return Ok(());
                }
                let more = if objects & 1 == 1 {
                    self.skip_key()?
                } else {
                    self.next_element()?
                };
                if more {
                    break;
                }
                objects >>= 1;
            }
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

    fn pass_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    /// Passes one digit or more.
    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.pass_digits();
        if self.at == start {
            Err(self.error(ErrorKind::InvalidNumber))
        } else {
            Ok(())
        }
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

    fn skip_key(&mut self) -> Result<bool, Error> {
        if !self.find_key()? {
            return Ok(false);
        }
        self.skip_string()?;
        self.colon()?;
        Ok(true)
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;

    /// Documents that between them have all of the grammar.
    const CORPUS: &[&str] = &[
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "-12.50e+3",
        "1E9",
        "9007199254740993",
        r#""""#,
        r#""plain text""#,
        r#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00 é 😀""#,
        "[]",
        "[ [ ] , { } , 1 ]",
        "{}",
        r#"{"a":1,"b":[true,false,null],"c":{"d":"e","":-0.0}}"#,
        "\n{\t\"k\" :\r[1,2 , 3] }\n",
        r#"{"event":"open","opened_at":"2024-02-29 12:13:14","tags":["a","b\n"],"n":{"a":{"b":1.5e300}},"a":null}"#,
    ];

    /// Builds the tree of a document with every way of the reader but `skip`.
    fn tree(json: &mut Reader<'_>) -> Result<Value, Error> {
        Ok(match json.peek()? {
            Kind::Null => json.null().map(|()| Value::Null)?,
            Kind::Bool => json.bool().map(Value::Bool)?,
            Kind::Number => match json.small_integer() {
                Some(integer) if integer != 0 => integer.into(),
                // `-0` is a float to serde_json.
                Some(_) => serde_json::from_str(if json.text[..json.at].ends_with("-0") {
                    "-0"
                } else {
                    "0"
                })
                .unwrap(),
                None => serde_json::from_str(json.number()?).unwrap_or(Value::Null),
            },
            Kind::String => json.string()?.into(),
            Kind::Array => {
                let mut elements = Vec::new();
                json.begin_array()?;
                while json.next_element()? {
                    elements.push(tree(json)?);
                }
                elements.into()
            }
            Kind::Object => {
                let mut entries = serde_json::Map::new();
                json.begin_object()?;
                while let Some(key) = json.next_key()? {
                    entries.insert(key.into_owned(), tree(json)?);
                }
                entries.into()
            }
        })
    }

    fn read(text: &str) -> Result<Value, Error> {
        let mut json = Reader::new(text);
        let value = tree(&mut json)?;
        json.end()?;
        Ok(value)
    }

    fn skip(text: &str) -> Result<(), Error> {
        let mut json = Reader::new(text);
        json.skip()?;
        json.end()
    }

    fn problem(text: &str) -> (usize, ErrorKind) {
        let error = read(text).unwrap_err();
        assert_eq!(skip(text).unwrap_err(), error, "{text}");
        (error.at, error.kind)
    }

    /// Both ways of reading say the same as serde_json. It is the stricter one in two points, and only there may it
    /// refuse what we take: halves of surrogate pairs, and numbers that overflow an f64.
    fn agrees_with_serde_json(text: &str) {
        let ours = read(text);
        assert_eq!(skip(text), ours.as_ref().map(drop).map_err(|error| *error), "{text}");
        match serde_json::from_str::<Value>(text) {
            Ok(theirs) => assert_eq!(ours.unwrap(), theirs, "{text}"),
            Err(_) => assert_eq!(ours.is_ok(), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}"),
        }
    }

    #[test]
    fn the_corpus_and_its_mutations_agree_with_serde_json() {
        // A multiplicative generator: no dependency, and the same documents in each run.
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        const PIECES: &[&str] = &[
            "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "1", "-", "+", ".", "e", "null", "true", " ", "\n", "\u{1}",
            "é", "\\u", "\\ud800", "\\udc00", "00", "//", "😀", "\u{7f}", "\u{a0}",
        ];
        for document in CORPUS {
            agrees_with_serde_json(document);
            for cut in (0..document.len()).filter(|&cut| document.is_char_boundary(cut)) {
                agrees_with_serde_json(&document[..cut]);
            }
            for _ in 0..3000 {
                let mut text: Vec<char> = document.chars().collect();
                for _ in 0..=random(3) {
                    let at = random(text.len() + 1);
                    let until = (at + random(3)).min(text.len());
                    text.splice(at..until, PIECES[random(PIECES.len())].chars());
                }
                agrees_with_serde_json(&text.into_iter().collect::<String>());
            }
        }
    }

    #[test]
    fn an_error_tells_where_and_why() {
        use ErrorKind::*;

        assert_eq!(problem(""), (0, UnexpectedEnd));
        assert_eq!(problem(r#"{"a":"#), (5, UnexpectedEnd));
        assert_eq!(problem(r#"{"a" 1}"#), (5, ExpectedColon));
        assert_eq!(problem(r#"{"a":1 "b":2}"#), (7, ExpectedComma));
        assert_eq!(problem(r#"{"a":1,}"#), (7, ExpectedKey));
        assert_eq!(problem("[1,]"), (3, ExpectedValue));
        assert_eq!(problem("[01]"), (2, InvalidNumber));
        assert_eq!(problem("[1.]"), (3, InvalidNumber));
        assert_eq!(problem("[1e+]"), (4, InvalidNumber));
        assert_eq!(problem(r#"["\x"]"#), (3, InvalidEscape));
        assert_eq!(problem(r#"["\u12"]"#), (3, InvalidEscape));
        assert_eq!(problem("\"a\nb\""), (2, ControlCharacter));
        assert_eq!(problem("null null"), (5, TrailingText));
        assert_eq!(problem("nul"), (0, ExpectedValue));
        assert_eq!(
            read("{\n \"é\": x}").unwrap_err().line_and_column("{\n \"é\": x}"),
            (2, 7)
        );
    }

    #[test]
    fn nesting_ends_at_the_bound() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let bound = usize::from(MAX_DEPTH);
        assert!(read(&nested(bound)).is_ok());
        assert_eq!(problem(&nested(bound + 1)), (bound, ErrorKind::TooDeep));
        assert_eq!(skip(&"[".repeat(1_000_000)).unwrap_err().kind, ErrorKind::TooDeep);
        // A skipped value counts from where it stands.
        let mut json = Reader::new("[[[]]]");
        json.depth = MAX_DEPTH - 2;
        assert_eq!(json.skip().unwrap_err().kind, ErrorKind::TooDeep);
    }

    #[test]
    fn seek_comes_back_out_of_a_half_read_value() {
        let mut json = Reader::new(r#"{"a":[[1,"x"]],"b":2}"#);
        json.begin_object().unwrap();
        assert_eq!(json.next_key().unwrap().unwrap(), "a");
        let before = json.position();
        json.begin_array().unwrap();
        assert!(json.next_element().unwrap());
        json.begin_array().unwrap();
        json.seek(before);
        assert_eq!(json.raw_value().unwrap(), r#"[[1,"x"]]"#);
        assert_eq!(json.next_key().unwrap().unwrap(), "b");
        assert_eq!(json.small_integer(), Some(2));
        assert_eq!(json.next_key().unwrap(), None);
        json.end().unwrap();
    }

    #[test]
    fn a_raw_value_is_the_slice_itself() {
        let mut json = Reader::new(" {\"k\" : [ 1 ,\"\\u0041\" ] } ,");
        assert_eq!(json.raw_value().unwrap(), "{\"k\" : [ 1 ,\"\\u0041\" ] }");
    }

    #[test]
    fn only_short_whole_numbers_take_the_short_way() {
        let short = |text| Reader::new(text).small_integer();
        assert_eq!(short("0"), Some(0));
        assert_eq!(short("-7]"), Some(-7));
        assert_eq!(short("999999999999999999,"), Some(999_999_999_999_999_999));
        for other in ["1000000000000000000", "1.0", "1e1", "01", "-", "", "1x", "\"1\""] {
            assert_eq!(short(other), None, "{other}");
        }
    }
}
