//! The values that ClickHouse may accept for a type at a path of `JSON`, even if it changes them.
//!
//! A Variant becomes the first of its types that accepts the value. ClickHouse's types accept more
//! than [`JsonPath::check`] does, such as `5` as a Bool and `"5"` as a day of this year. An earlier
//! type may therefore accept a value that was meant for a later one. The functions here skip a
//! value and return whether the type might accept it; false means that ClickHouse 26.7 certainly
//! refuses it.
//!
//! [`JsonPath::check`]: super::json_text::JsonPath::check

use crate::json::{Kind, Reader};

/// The first three letters of the words in date-times.
const MOMENT_WORDS: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu",
    "fri", "sat", "sun",
];
const MOMENT_MARKS: [&str; 8] = ["t", "z", "am", "pm", "utc", "gmt", "msk", "msd"];

/// About 2^256, above all integer types.
const BEYOND_INTEGERS: f64 = 1.2e77;

/// Returns the result of `number` for a number as it is written, or of `text` for a string; `null`
/// is always accepted.
fn accepts(
    json: &mut Reader<'_>,
    accepts_bools: bool,
    number: impl FnOnce(&str) -> bool,
    text: impl FnOnce(&str) -> bool,
) -> bool {
    match json.peek() {
        Ok(Kind::Null) => true,
        Ok(Kind::Bool) => accepts_bools,
        Ok(Kind::Number) => json.number().is_ok_and(number),
        Ok(Kind::String) => json.string().is_ok_and(|found| text(&found)),
        Ok(Kind::Array | Kind::Object) | Err(_) => false,
    }
}

/// Accepts an integer in any notation.
pub(super) fn integer(json: &mut Reader<'_>) -> bool {
    accepts(json, true, is_whole, is_whole)
}

/// Accepts `1e2`, `1.0`, `+5`, `-0`; the type's own check decides about digits alone.
fn is_whole(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|value| {
        let is_other = !is_integer(number) || value == 0.0;
        is_other && value.fract() == 0.0 && value.abs() < BEYOND_INTEGERS
    })
}

/// ClickHouse reads a Bool as a UInt8, and every number but 0 as true.
pub(super) fn boolean(json: &mut Reader<'_>) -> bool {
    let is_byte = |number: &str| {
        let value = number.parse::<f64>();
        value.is_ok_and(|value| value.fract() == 0.0 && (0.0..256.0).contains(&value))
    };
    accepts(json, true, is_byte, is_byte)
}

pub(super) fn float(json: &mut Reader<'_>) -> bool {
    accepts(json, true, |_| true, |text| text.parse::<f64>().is_ok())
}

/// ClickHouse reads the number at the start of a text, and ignores the rest.
pub(super) fn decimal(json: &mut Reader<'_>) -> bool {
    let is_near = |text: &str| {
        let bytes = text.as_bytes();
        // A sign inside belongs to an exponent: a date is not a number.
        let is_part = |(at, byte): (usize, &u8)| match byte {
            b'+' | b'-' => at == 0 || matches!(bytes[at - 1], b'e' | b'E'),
            byte => byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E'),
        };
        !bytes.is_empty() && bytes.iter().enumerate().all(is_part)
    };
    accepts(json, false, |_| true, is_near)
}

/// Accepts text of eight to ten bytes that begins with four digits.
pub(super) fn day(json: &mut Reader<'_>) -> bool {
    let is_near = |text: &str| matches!(text.len(), 8..=10) && text.bytes().take(4).all(|byte| byte.is_ascii_digit());
    accepts(json, false, |_| false, is_near)
}

/// Accepts whole seconds, and most ways to write date-times and parts of them.
pub(super) fn moment(json: &mut Reader<'_>) -> bool {
    accepts(json, false, is_integer, is_near_a_moment)
}

/// Accepts seconds with a fraction, too.
pub(super) fn moment64(json: &mut Reader<'_>) -> bool {
    accepts(json, false, |_| true, is_near_a_moment)
}

fn is_near_a_moment(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b" -/.:,+".contains(&byte);
    let is_known = |word: &str| {
        let begins = |known: &&str| word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(known));
        MOMENT_MARKS.iter().any(|known| known.eq_ignore_ascii_case(word)) || MOMENT_WORDS.iter().any(begins)
    };
    let mut words = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty());
    !text.is_empty() && text.bytes().all(is_part) && words.all(is_known)
}

/// Accepts numbers, and text that looks like a clock time.
pub(super) fn time(json: &mut Reader<'_>) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || b" :.-+".contains(&byte);
    accepts(
        json,
        false,
        |_| true,
        |text| !text.is_empty() && text.bytes().all(is_part),
    )
}

pub(super) fn uuid(json: &mut Reader<'_>) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_hexdigit).count();
    accepts(json, false, |_| false, |text| digits(text) == 32)
}

pub(super) fn ipv4(json: &mut Reader<'_>) -> bool {
    accepts(json, false, |_| false, is_near_ipv4)
}

/// Accepts IPv4 addresses, too.
pub(super) fn ipv6(json: &mut Reader<'_>) -> bool {
    accepts(json, false, |_| false, |text| text.contains(':') || is_near_ipv4(text))
}

fn is_near_ipv4(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The type's own check decides about strings. ClickHouse reads any other value as its text.
pub(super) fn fixed_string(json: &mut Reader<'_>) -> bool {
    !matches!(json.peek(), Ok(Kind::String))
}

/// Returns whether the value is of the kind, or `null`.
pub(super) fn is_of(kind: Kind, json: &mut Reader<'_>) -> bool {
    json.peek().is_ok_and(|found| found == kind || found == Kind::Null)
}

/// Calls `may_take` with each element of an array and its index; returns the number of elements, or
/// `None` if `may_take` refuses one.
pub(super) fn elements(json: &Reader<'_>, may_take: impl Fn(usize, &Reader<'_>) -> bool) -> Option<usize> {
    let mut json = json.clone();
    json.begin_array().ok()?;
    let mut count = 0;
    while json.next_element().ok()? {
        if !may_take(count, &json) {
            return None;
        }
        json.skip().ok()?;
        count += 1;
    }
    Some(count)
}

/// Calls `may_take` with each key and value of an object; returns the number of entries, or `None`
/// if `may_take` refuses one.
pub(super) fn entries(json: &Reader<'_>, may_take: impl Fn(&str, &Reader<'_>) -> bool) -> Option<usize> {
    let mut json = json.clone();
    json.begin_object().ok()?;
    let mut count = 0;
    while let Some(key) = json.next_key().ok()? {
        if !may_take(&key, &json) {
            return None;
        }
        json.skip().ok()?;
        count += 1;
    }
    Some(count)
}

/// Returns whether the text is an integer without a `+`.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
