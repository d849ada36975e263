//! Decodes text in which some percent sequences cannot be read, such as `50%` or the bytes of
//! another charset: those stay as they are, and all others are decoded.

use bumpalo::collections::String;

use crate::arena::Arena;

/// The length of a percent sequence.
const CODE_LENGTH: usize = "%41".len();

/// Decodes `+` and each percent sequence that is part of a UTF-8 character.
///
/// A text that was cut in its middle, or that has windows-1251 in it, thus keeps all that can be
/// read. The target of a redirect keeps the bytes that its site expects.
#[cold]
pub(super) fn decode_readable<'a>(text: &str, arena: &'a Arena) -> &'a str {
    let mut decoded = String::with_capacity_in(text.len(), arena);
    let mut rest = text;
    while let Some(at) = rest.find(['+', '%']) {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let codes = leading_codes(rest);
        if codes.is_empty() {
            decoded.push(if rest.starts_with('+') { ' ' } else { '%' });
            rest = &rest[1..];
        } else {
            let (run, after) = rest.split_at(codes.len() * CODE_LENGTH);
            push_run(&mut decoded, run, &codes);
            rest = after;
        }
    }
    decoded.push_str(rest);
    decoded.into_bump_str()
}

/// Returns the bytes of the percent sequences at the start of a text.
fn leading_codes(text: &str) -> Vec<u8> {
    let (codes, _) = text.as_bytes().as_chunks();
    codes.iter().map_while(|code| byte_of(*code)).collect()
}

/// Returns the byte that a percent sequence encodes.
fn byte_of([percent, high, low]: [u8; CODE_LENGTH]) -> Option<u8> {
    (percent == b'%').then_some(())?;
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

/// Appends the characters of a run of percent sequences, and the sequences of all other bytes.
fn push_run(decoded: &mut String<'_>, run: &str, bytes: &[u8]) {
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        let start = at + chunk.valid().len();
        at = start + chunk.invalid().len();
        decoded.push_str(&run[start * CODE_LENGTH..at * CODE_LENGTH]);
    }
}

/// Returns the value of a hexadecimal digit.
#[inline]
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    Some(char::from(digit).to_digit(16)? as u8)
}
