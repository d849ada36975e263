//! Splits the text of a query or a form into decoded names and values.

use bumpalo::collections::Vec;

use super::readable::{decode_readable, hex_digit};
use crate::{
    arena::Arena,
    scan::{self, Chunk},
};

/// Enough capacity for the fields of most requests; the list grows for more.
const USUAL_FIELDS: usize = 16;

/// The parts of a text.
pub(super) struct Split<'a> {
    /// Names and values, in their order.
    pub(super) pairs: &'a [(&'a str, &'a str)],
    /// Whether a name may contain a `[`, literally or percent-encoded.
    pub(super) may_nest: bool,
}

/// Splits `text` at each `&` and decodes both sides of the `=`. Drops fields without a name.
pub(super) fn split<'a>(text: &'a str, arena: &'a Arena) -> Split<'a> {
    if text.is_empty() {
        return Split {
            pairs: &[],
            may_nest: false,
        };
    }
    let bytes = text.as_bytes();
    let mut pairs = Vec::with_capacity_in(USUAL_FIELDS, arena);
    let mut field = Field::at(0);
    let mut may_nest = false;
    scan::each(bytes, is_mark, |at| {
        match bytes[at] {
            b'&' => {
                pairs.extend(field.pair(text, at, arena));
                field = Field::at(at + 1);
            }
            b'=' => field.on_equals(bytes, at),
            b'[' => may_nest = true,
            byte => {
                field.on_code(at);
                may_nest |= byte == b'%' && is_bracket(&bytes[at + 1..]);
            }
        }
        true
    });
    pairs.extend(field.pair(text, text.len(), arena));
    Split {
        pairs: pairs.into_bump_slice(),
        may_nest,
    }
}

/// Marks the bytes that end a field or its name, encode another character, or nest.
#[inline]
fn is_mark(chunk: Chunk, _: Chunk) -> Chunk {
    let is = |byte| chunk.simd_eq(scan::all(byte));
    is(b'&') | is(b'=') | is(b'+') | is(b'%') | is(b'[')
}

/// A field whose end is not yet known.
struct Field {
    start: usize,
    /// The end of its name.
    equals: Option<usize>,
    /// Whether a `]=` ended the name. The first one does so even after another `=`, as in `a=b]=c`.
    has_bracket: bool,
    /// The first byte that encodes a character.
    code: Option<usize>,
}

impl Field {
    fn at(start: usize) -> Self {
        Self {
            start,
            equals: None,
            has_bracket: false,
            code: None,
        }
    }

    #[inline]
    fn on_equals(&mut self, text: &[u8], at: usize) {
        let is_bracket = at > self.start && text[at - 1] == b']';
        if self.equals.is_none() || (is_bracket && !self.has_bracket) {
            self.equals = Some(at);
            self.has_bracket = is_bracket;
        }
    }

    #[inline]
    fn on_code(&mut self, at: usize) {
        self.code.get_or_insert(at);
    }

    /// Returns the name and the value; `None` if the name is empty.
    #[inline]
    fn pair<'a>(&self, text: &'a str, end: usize, arena: &'a Arena) -> Option<(&'a str, &'a str)> {
        let equals = self.equals.unwrap_or(end);
        let value_start = end.min(equals + 1);
        let (name, value) = (&text[self.start..equals], &text[value_start..end]);
        if name.is_empty() {
            return None;
        }
        Some(match self.code {
            None => (name, value),
            Some(at) if at > equals => (name, decode(value, at - value_start, arena)),
            Some(at) => {
                let first = value.bytes().position(|byte| matches!(byte, b'+' | b'%'));
                let value = first.map_or(value, |first| decode(value, first, arena));
                (decode(name, at - self.start, arena), value)
            }
        })
    }
}

/// Decodes `+` and percent sequences, the first of which is at `first`. Sequences that are malformed
/// or not UTF-8 stay as they are.
fn decode<'a>(text: &'a str, first: usize, arena: &'a Arena) -> &'a str {
    let decoded = decode_percents(text.as_bytes(), first, arena);
    match decoded.and_then(|bytes| str::from_utf8(bytes).ok()) {
        Some(decoded) => decoded,
        None => decode_readable(text, arena),
    }
}

fn decode_percents<'a>(text: &[u8], first: usize, arena: &'a Arena) -> Option<&'a [u8]> {
    // Decoding only shortens the text.
    let decoded = arena.alloc_slice_copy(text);
    let (mut from, mut to) = (first, first);
    while let Some(&byte) = text.get(from) {
        from += 1;
        decoded[to] = match byte {
            b'+' => b' ',
            b'%' => {
                let &[high, low] = text.get(from..)?.first_chunk()?;
                from += 2;
                hex_digit(high)? << 4 | hex_digit(low)?
            }
            _ => byte,
        };
        to += 1;
    }
    Some(&decoded[..to])
}

/// Returns whether the bytes after a `%` encode a `[`.
#[inline]
fn is_bracket(text: &[u8]) -> bool {
    matches!(text, [b'5', b'b' | b'B', ..])
}
