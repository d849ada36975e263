//! The text of a query or a form, split into names and values, both decoded.

use bumpalo::collections::Vec;

use crate::{
    arena::Arena,
    scan::{self, Chunk},
};

/// Room for the fields of most requests; more of them grow it.
const USUAL_FIELDS: usize = 16;

/// What a text was split into.
pub(super) struct Split<'a> {
    /// Names and values, in their order.
    pub(super) pairs: &'a [(&'a str, &'a str)],
    /// Whether a `[` may be in a name, as itself or in a code.
    pub(super) may_nest: bool,
}

/// Splits `text` at its `&` and decodes both sides of each `=`; fields without a name are dropped.
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
            b'=' => field.meet_equals(bytes, at),
            byte => {
                field.is_coded |= byte != b'[';
                may_nest |= byte != b'+';
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

/// What ends a field or its name, stands for something else, or nests.
#[inline]
fn is_mark(chunk: Chunk, _: Chunk) -> Chunk {
    let is = |byte| chunk.simd_eq(scan::all(byte));
    is(b'&') | is(b'=') | is(b'+') | is(b'%') | is(b'[')
}

/// A field of which the end is still to come.
struct Field {
    start: usize,
    /// Where its name ends.
    equals: Option<usize>,
    /// A `]=` ends the name even behind another `=`, as in `a=b]=c`.
    has_bracket: bool,
    is_coded: bool,
}

impl Field {
    fn at(start: usize) -> Self {
        Self {
            start,
            equals: None,
            has_bracket: false,
            is_coded: false,
        }
    }

    #[inline]
    fn meet_equals(&mut self, text: &[u8], at: usize) {
        let is_bracket = at > self.start && text[at - 1] == b']';
        if self.equals.is_none() || (is_bracket && !self.has_bracket) {
            self.equals = Some(at);
            self.has_bracket = is_bracket;
        }
    }

    /// Returns name and value; none where there is no name.
    #[inline]
    fn pair<'a>(&self, text: &'a str, end: usize, arena: &'a Arena) -> Option<(&'a str, &'a str)> {
        let (name, value) = match self.equals {
            Some(at) => (&text[self.start..at], &text[at + 1..end]),
            None => (&text[self.start..end], ""),
        };
        match name.is_empty() {
            true => None,
            false if self.is_coded => Some((decode(name, arena), decode(value, arena))),
            false => Some((name, value)),
        }
    }
}

/// Resolves `+` and percent sequences; a text whose sequences are broken, or are not UTF-8, keeps all of them.
fn decode<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    let Some(first) = text.bytes().position(|byte| matches!(byte, b'+' | b'%')) else {
        return text;
    };
    let decoded = decode_percents(text.as_bytes(), first, arena);
    match decoded.and_then(|bytes| str::from_utf8(bytes).ok()) {
        Some(decoded) => decoded,
        None => arena.alloc_str(&text.replace('+', " ")),
    }
}

fn decode_percents<'a>(text: &[u8], first: usize, arena: &'a Arena) -> Option<&'a [u8]> {
    let mut decoded = Vec::with_capacity_in(text.len(), arena);
    decoded.extend_from_slice_copy(&text[..first]);
    let mut bytes = text[first..].iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            _ => byte,
        });
    }
    Some(decoded.into_bump_slice())
}
