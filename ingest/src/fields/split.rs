//! The text of a query or a form, split into names and values, both decoded.

use bumpalo::collections::Vec;
use memchr::{memchr, memchr_iter, memchr2, memmem};

use crate::arena::Arena;

/// Room for the fields of most requests; more of them grow it.
const USUAL_FIELDS: usize = 16;

/// Splits `text` at its `&` and decodes both sides of each `=`; fields without a name are dropped.
pub(super) fn split<'a>(text: &'a str, arena: &'a Arena) -> &'a [(&'a str, &'a str)] {
    if text.is_empty() {
        return &[];
    }
    let mut pairs = Vec::with_capacity_in(USUAL_FIELDS, arena);
    // A `]=` ends the name even behind another `=`, as in `a=b]=c`; most texts have none.
    let has_brackets = memchr(b']', text.as_bytes()).is_some();
    let mut start = 0;
    for end in memchr_iter(b'&', text.as_bytes()).chain([text.len()]) {
        let part = &text[start..end];
        start = end + 1;
        let bracket = if has_brackets {
            memmem::find(part.as_bytes(), b"]=").map(|at| at + 1)
        } else {
            None
        };
        let (name, value) = match bracket.or_else(|| memchr(b'=', part.as_bytes())) {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, ""),
        };
        if !name.is_empty() {
            pairs.push((decode(name, arena), decode(value, arena)));
        }
    }
    pairs.into_bump_slice()
}

/// Resolves `+` and percent sequences; a text whose sequences are broken, or are not UTF-8, keeps all of them.
fn decode<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    let Some(first) = memchr2(b'+', b'%', text.as_bytes()) else {
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
