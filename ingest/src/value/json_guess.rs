//! What ClickHouse may take at a path of `JSON` for a type, if only as something else than was sent.
//!
//! A Variant becomes the first of its types that takes the value. ClickHouse's types take more than [`JsonPath::check`] does, `5` as
//! a Bool and `"5"` as a day of this year among it; so that a type which comes first may take what was meant for another. The
//! functions here pass a value and say whether it might; false is for what ClickHouse 26.7 surely refuses.
//!
//! [`JsonPath::check`]: super::json_text::JsonPath::check

use crate::json::{Kind, Reader};

/// Words in moments, or the beginnings of words.
const MOMENT_WORDS: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu",
    "fri", "sat", "sun",
];
const MOMENT_MARKS: [&str; 8] = ["t", "z", "am", "pm", "utc", "gmt", "msk", "msd"];

/// No integer has 256 bits and more.
const BEYOND_INTEGERS: f64 = 1.2e77;

/// Says what becomes of numbers, given as they are written, and of texts; `null` is always taken.
fn either(
    json: &mut Reader<'_>,
    takes_bools: bool,
    number: impl FnOnce(&str) -> bool,
    text: impl FnOnce(&str) -> bool,
) -> bool {
    match json.peek() {
        Ok(Kind::Null) => true,
        Ok(Kind::Bool) => takes_bools,
        Ok(Kind::Number) => json.number().is_ok_and(number),
        Ok(Kind::String) => json.string().is_ok_and(|found| text(&found)),
        Ok(Kind::Array | Kind::Object) | Err(_) => false,
    }
}

/// An integer, however it is written.
pub(super) fn integer(json: &mut Reader<'_>) -> bool {
    either(json, true, is_whole, is_whole)
}

/// `1e2`, `1.0`, `+5`, `-0`; whether digits alone fit, the type itself knows.
fn is_whole(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(|value| {
        let is_other = !is_integer(number) || value == 0.0;
        is_other && value.fract() == 0.0 && value.abs() < BEYOND_INTEGERS
    })
}

/// ClickHouse reads a Bool as an UInt8, and takes all but 0 for true.
pub(super) fn boolean(json: &mut Reader<'_>) -> bool {
    let is_byte = |number: &str| {
        let value = number.parse::<f64>();
        value.is_ok_and(|value| value.fract() == 0.0 && (0.0..256.0).contains(&value))
    };
    either(json, true, is_byte, is_byte)
}

pub(super) fn float(json: &mut Reader<'_>) -> bool {
    either(json, true, |_| true, |text| text.parse::<f64>().is_ok())
}

/// Of a text that only begins as a number, ClickHouse takes that beginning.
pub(super) fn decimal(json: &mut Reader<'_>) -> bool {
    let is_near = |text: &str| {
        let bytes = text.as_bytes();
        // A sign within is that of an exponent: a date is no number.
        let is_part = |(at, byte): (usize, &u8)| match byte {
            b'+' | b'-' => at == 0 || matches!(bytes[at - 1], b'e' | b'E'),
            byte => byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E'),
        };
        !bytes.is_empty() && bytes.iter().enumerate().all(is_part)
    };
    either(json, false, |_| true, is_near)
}

/// Eight digits, or ten bytes at most with a year in front, whatever stands between the numbers.
pub(super) fn day(json: &mut Reader<'_>) -> bool {
    let is_near = |text: &str| matches!(text.len(), 8..=10) && text.bytes().take(4).all(|byte| byte.is_ascii_digit());
    either(json, false, |_| false, is_near)
}

/// Whole seconds, and most of what people write for moments and parts of them.
pub(super) fn moment(json: &mut Reader<'_>) -> bool {
    either(json, false, is_integer, is_near_a_moment)
}

/// Seconds with a fraction, too.
pub(super) fn moment64(json: &mut Reader<'_>) -> bool {
    either(json, false, |_| true, is_near_a_moment)
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

/// Whole units, and what looks like a clock.
pub(super) fn time(json: &mut Reader<'_>) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || b" :.-+".contains(&byte);
    either(
        json,
        false,
        |_| true,
        |text| !text.is_empty() && text.bytes().all(is_part),
    )
}

pub(super) fn uuid(json: &mut Reader<'_>) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_hexdigit).count();
    either(json, false, |_| false, |text| digits(text) == 32)
}

pub(super) fn ipv4(json: &mut Reader<'_>) -> bool {
    either(json, false, |_| false, is_near_ipv4)
}

/// Of the other version, too.
pub(super) fn ipv6(json: &mut Reader<'_>) -> bool {
    either(json, false, |_| false, |text| text.contains(':') || is_near_ipv4(text))
}

fn is_near_ipv4(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether texts fit, the type itself knows; of anything else, ClickHouse takes its text.
pub(super) fn fixed_string(json: &mut Reader<'_>) -> bool {
    !matches!(json.peek(), Ok(Kind::String))
}

/// Returns whether the value is of the kind, or null.
pub(super) fn is_of(kind: Kind, json: &mut Reader<'_>) -> bool {
    json.peek().is_ok_and(|found| found == kind || found == Kind::Null)
}

/// Asks each element of an array, by its place; returns how many there are.
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

/// Asks each key and value of an object; returns how many there are.
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

/// Whether the text is an integer without needless signs.
pub(super) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
