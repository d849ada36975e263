//! The text of a query or a form, split into names and values, both decoded.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2, memmem};

/// Splits `text` at its `&` and decodes both sides of each `=`; fields without a name are dropped.
pub(super) fn split(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut pairs = Vec::new();
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
            pairs.push((decode(name), decode(value)));
        }
    }
    pairs
}

/// Resolves `+` and percent sequences; a text whose sequences are broken, or are not UTF-8, keeps all of them.
fn decode(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr2(b'+', b'%', text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    match decode_percents(text.as_bytes(), first).and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Owned(text.replace('+', " ")),
    }
}

fn decode_percents(text: &[u8], first: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(&text[..first]);
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
    Some(decoded)
}
