//! JSON strings, read and written.

use std::{borrow::Cow, fmt::Write};

use super::{Error, ErrorKind, Reader};
use crate::scan::{self, Chunk};

impl<'a> Reader<'a> {
    /// Reads a string, which is borrowed unless it contains an escape.
    ///
    /// # Errors
    /// The next value is not a string, or it is malformed.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        match self.plain_string() {
            Some(string) => Ok(Cow::Borrowed(string)),
            None => self.any_string(),
        }
    }

    /// Reads a string that begins exactly here and contains no escape; consumes nothing otherwise.
    #[inline]
    pub(crate) fn plain_string(&mut self) -> Option<&'a str> {
        let (start, end) = plain_string(self.text.as_bytes(), self.at)?;
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[cold]
    fn any_string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.skip_space();
        if !self.consume(b'"') {
            return Err(self.error(ErrorKind::ExpectedValue));
        }
        let start = self.at;
        if self.skip_plain()? == b'"' {
            let string = self.slice(start);
            self.at += 1;
            Ok(Cow::Borrowed(string))
        } else {
            self.escaped_string(start)
        }
    }

    pub(super) fn skip_string(&mut self) -> Result<(), Error> {
        self.at += 1;
        while self.skip_plain()? == b'\\' {
            self.escape()?;
        }
        self.at += 1;
        Ok(())
    }

    /// Skips a string without checking its content.
    pub(super) fn skip_string_unchecked(&mut self) -> Result<(), Error> {
        self.at += 1;
        loop {
            self.at += plain_len(self.text.as_bytes().get(self.at..).unwrap_or_default());
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.error(ErrorKind::UnexpectedEnd)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Skips literal characters and returns the byte that ends them: a quote or a backslash.
    #[inline]
    fn skip_plain(&mut self) -> Result<u8, Error> {
        self.at += plain_len(self.text.as_bytes().get(self.at..).unwrap_or_default());
        match self.byte() {
            Some(byte @ (b'"' | b'\\')) => Ok(byte),
            _ => Err(self.error(ErrorKind::ControlCharacter)),
        }
    }

    /// The slow path of [`Reader::string`], called at the first backslash of a string that begins
    /// at `plain`.
    #[cold]
    fn escaped_string(&mut self, plain: usize) -> Result<Cow<'a, str>, Error> {
        // An escape is never shorter than its character, so twice the first part is a capacity that
        // seldom grows.
        let capacity = (self.at - plain + 16) * 2;
        Ok(match self.arena {
            Some(arena) => {
                let mut string = bumpalo::collections::String::with_capacity_in(capacity, arena);
                self.unescape(plain, &mut string)?;
                Cow::Borrowed(string.into_bump_str())
            }
            None => {
                let mut string = String::with_capacity(capacity);
                self.unescape(plain, &mut string)?;
                Cow::Owned(string)
            }
        })
    }

    /// Reads the rest of a string that begins at `plain`, and writes all of it to `out`.
    fn unescape(&mut self, mut plain: usize, out: &mut impl Write) -> Result<(), Error> {
        loop {
            let byte = self.skip_plain()?;
            // Writing to memory cannot fail.
            let _ = out.write_str(self.slice(plain));
            if byte == b'"' {
                self.at += 1;
                return Ok(());
            }
            let _ = out.write_char(self.escape()?);
            plain = self.at;
        }
    }

    /// Reads an escape, from its backslash on.
    fn escape(&mut self) -> Result<char, Error> {
        self.at += 1;
        let char = match self.byte() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error(ErrorKind::InvalidEscape)),
        };
        self.at += 1;
        Ok(char)
    }

    /// Reads `uXXXX` and, if it is the first half of a surrogate pair, the escape of the second
    /// half.
    fn unicode_escape(&mut self) -> Result<char, Error> {
        let Some(first) = self.hex(self.at + 1) else {
            return Err(self.error(ErrorKind::InvalidEscape));
        };
        self.at += 5;
        if !(0xD800..0xDC00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let is_escape = self
            .text
            .as_bytes()
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(b"\\u"));
        match self.hex(self.at + 2) {
            Some(second @ 0xDC00..0xE000) if is_escape => {
                self.at += 6;
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => Ok(char::REPLACEMENT_CHARACTER),
        }
    }

    /// Returns the value of the four hexadecimal digits at `at`.
    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(at..at + 4)?;
        digits
            .iter()
            .try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
    }
}

/// Appends `text` to `out` as a JSON string with quotes, with only the escapes that JSON requires.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at_checked(plain_len(rest.as_bytes())).unwrap_or((rest, ""));
        out.push_str(plain);
        let Some(byte) = special.bytes().next() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0C => out.push_str("\\f"),
            _ => {
                out.push_str(if byte < 0x10 { "\\u000" } else { "\\u001" });
                out.extend(char::from_digit(u32::from(byte & 0xF), 16));
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push('"');
}

/// Returns the start and the end of the content of a string whose quote is at `at`; `None` if there
/// is no such string or if it contains an escape.
#[inline]
pub(super) fn plain_string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = at + 1;
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let end = start + plain_len(bytes.get(start..)?);
    (*bytes.get(end)? == b'"').then_some((start, end))
}

/// Returns the number of bytes before the first quote, backslash or control character.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const LAST_CONTROL: Chunk = scan::all(0x1F);
    scan::first(bytes, |chunk| {
        let is_control = chunk.min(LAST_CONTROL).simd_eq(chunk);
        chunk.simd_eq(scan::all(b'"')) | chunk.simd_eq(scan::all(b'\\')) | is_control
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn string(text: &str) -> Result<Cow<'_, str>, Error> {
        Reader::new(text).string()
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(
            string(r#""no escape, é""#).unwrap(),
            Cow::Borrowed("no escape, é")
        ));
        assert!(matches!(string(r#""one\nescape""#).unwrap(), Cow::Owned(text) if text == "one\nescape"));
    }

    #[test]
    fn lone_surrogates_are_replaced() {
        assert_eq!(string(r#""\ud83d\ude00""#).unwrap(), "😀");
        assert_eq!(string(r#""cut \ud83d""#).unwrap(), "cut \u{FFFD}");
        assert_eq!(string(r#""\ude00 late""#).unwrap(), "\u{FFFD} late");
        assert_eq!(string(r#""\ud83d\u0041""#).unwrap(), "\u{FFFD}A");
        assert_eq!(string(r#""\ud83d\ud83d\ude00""#).unwrap(), "\u{FFFD}😀");
        assert_eq!(string(r#""\ud83dnude00""#).unwrap(), "\u{FFFD}nude00");
    }

    #[test]
    fn the_end_of_plain_text_is_found_at_each_position() {
        let naive = |bytes: &[u8]| {
            bytes
                .iter()
                .take_while(|&&b| b >= 0x20 && b != b'"' && b != b'\\')
                .count()
        };
        for special in [b'"', b'\\', 0, 0x1F, 0x20, 0x21, 0x7F, 0x80, 0xA2, 0xDC, 0xFF] {
            for length in 0..40 {
                for at in 0..length {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = special;
                    bytes[length - 1] ^= 1;
                    assert_eq!(plain_len(&bytes), naive(&bytes), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_written_string_reads_back() {
        let all: String = (0..0x180)
            .filter_map(char::from_u32)
            .chain("😀 \u{2028}".chars())
            .collect();
        let mut written = String::new();
        write_string(&mut written, &all);
        assert_eq!(string(&written).unwrap(), all);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), all);
        assert!(written.starts_with(r#""\u0000\u0001"#) && written.contains(r"\u001f") && written.contains(r#"\"#));
    }
}
