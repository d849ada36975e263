//! Brackets: finds the end of an array or object, sixteen bytes at a time.
//!
//! Most of a nested value is text between marks. A chunk needs one look, unless a backslash is in it:
//! then the chunk's bytes are read one by one.

use std::mem;

use crate::scan::{Chunk, all};

const LENGTH: usize = 16;

/// Both `[` and `{` become `{` with this bit, both `]` and `}` become `}`, and no other byte does.
const BRACKET_BIT: u8 = 0x20;

/// Returns the length of the array or object at the start of `bytes`; `None` if they end before it.
/// Checks neither its values nor whether its brackets match.
#[inline]
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<LENGTH>();
    let mut place = Place::default();
    for (index, chunk) in chunks.iter().enumerate() {
        if let Some(end) = place.pass_chunk(chunk) {
            return Some(index * LENGTH + end);
        }
    }
    let end = place.pass_bytes(rest)?;
    Some(chunks.len() * LENGTH + end)
}

/// The state at a place in the value.
#[derive(Debug, Default)]
struct Place {
    /// The number of open brackets.
    open: usize,
    is_in_string: bool,
    /// Whether the next byte follows a backslash.
    is_escaped: bool,
}

impl Place {
    /// Passes a chunk, or returns where the value ends in it.
    #[inline]
    fn pass_chunk(&mut self, chunk: &[u8; LENGTH]) -> Option<usize> {
        let bytes = Chunk::new(*chunk);
        let marks_of = |marked: Chunk| marked.to_bitmask();
        if self.is_escaped || marks_of(bytes.simd_eq(all(b'\\'))) != 0 {
            return self.pass_bytes(chunk);
        }
        let strings = self.pass_quotes(marks_of(bytes.simd_eq(all(b'"'))));
        let bracket = bytes | all(BRACKET_BIT);
        let opening = marks_of(bracket.simd_eq(all(b'{'))) & !strings;
        let closing = marks_of(bracket.simd_eq(all(b'}'))) & !strings;
        let mut marks = opening | closing;
        while marks != 0 {
            let at = marks.trailing_zeros();
            if self.pass_bracket(opening >> at & 1 != 0) {
                return Some(at as usize + 1);
            }
            marks &= marks - 1;
        }
        None
    }

    /// Passes the quotes of a chunk, one bit for each byte. Returns the bytes inside of strings.
    #[inline]
    fn pass_quotes(&mut self, quotes: u32) -> u32 {
        // A byte is in a string if the number of quotes up to it is odd.
        let mut strings = quotes ^ (quotes << 1);
        strings ^= strings << 2;
        strings ^= strings << 4;
        strings ^= strings << 8;
        if self.is_in_string {
            strings = !strings;
        }
        self.is_in_string = strings >> (LENGTH - 1) & 1 != 0;
        strings
    }

    /// Passes bytes one by one, or returns where the value ends in them.
    fn pass_bytes(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            if mem::take(&mut self.is_escaped) {
                continue;
            }
            match byte {
                b'"' => self.is_in_string = !self.is_in_string,
                b'\\' => self.is_escaped = self.is_in_string,
                _ => {}
            }
            let is_opening = matches!(byte, b'[' | b'{');
            let is_bracket = is_opening || matches!(byte, b']' | b'}');
            if is_bracket && !self.is_in_string && self.pass_bracket(is_opening) {
                return Some(at + 1);
            }
        }
        None
    }

    /// Passes a bracket and returns whether the value ends with it.
    #[inline]
    fn pass_bracket(&mut self, is_opening: bool) -> bool {
        if is_opening {
            self.open += 1;
        } else {
            self.open = self.open.saturating_sub(1);
        }
        self.open == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the end byte by byte.
    fn expected(bytes: &[u8]) -> Option<usize> {
        Place::default().pass_bytes(bytes)
    }

    #[test]
    fn ends_are_found_at_each_place() {
        for text in [
            "{}",
            "[]x",
            r#"{"a":{"b":[1,{}]}},"c":1}"#,
            r#"{"a":"}]"}, {}"#,
            r#"{"a":"\"}","b":"\\"}]"#,
            r#"["\\\"]","[",{"{":"}"}] and more text behind it"#,
            r#"[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#,
            "[\"\u{5b}\u{db}\u{dd}\u{7b}\"]",
        ] {
            let end = expected(text.as_bytes());
            assert!(end.is_some(), "{text}");
            assert_eq!(length(text.as_bytes()), end, "{text}");
            // Each place of a chunk.
            for spaces in 0..40 {
                let moved = text.replacen(['{', '['], &format!("{}{}", &text[..1], " ".repeat(spaces)), 1);
                assert_eq!(length(moved.as_bytes()), end.map(|end| end + spaces), "{moved}");
            }
            for cut in 1..end.unwrap_or_default() {
                assert_eq!(length(&text.as_bytes()[..cut]), None, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn random_bytes_are_read_as_one_by_one() {
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..20_000 {
            let marks = if round % 2 == 0 { b"[{]}\"\\xx" } else { b"[{]}\"xxx" };
            let mut bytes = vec![b"[{"[random.usize(..2)]];
            bytes.extend((0..random.usize(..80)).map(|_| marks[random.usize(..marks.len())]));
            assert_eq!(length(&bytes), expected(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
