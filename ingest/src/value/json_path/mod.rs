//! The types that paths of `JSON` may have, and the values that ClickHouse accepts there.
//!
//! ClickHouse reads paths by other rules than columns: empty text is not a number, a day without a
//! time is not a date-time, `1.5` as an integer is 1. This module accepts only values that mean the
//! same by both rules; `null` is the type's default everywhere.

mod nested;

use std::borrow::Cow;

pub use self::nested::{check_elements, may_take_elements};
use super::{
    Date, Date32, DateTime, DateTime64, Decimal32, Decimal64, Decimal128, Decimal256, Decode, Dynamic, FixedString,
    Int256, Ipv4, Ipv6, Time, Time64, UInt256, Uuid, Zone, json_guess,
    json_text::{JsonPath, value},
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The length of `2024-02-29`.
const DAY_BYTES: usize = 10;
/// The length of `2024-02-29 12:13:14`.
const TIME_BYTES: usize = 19;
/// The lengths of a UUID without and with its hyphens.
const UUID_BYTES: [usize; 2] = [32, 36];

/// Reads a value; a string must satisfy `is_plain`.
fn check<'a, T: Decode<'a>>(json: &mut Reader<'a>, is_plain: impl FnOnce(&str) -> bool) -> Result<(), ValueError> {
    if json.peek()? != Kind::String {
        return T::from_json(json).map(drop);
    }
    let text = json.string()?;
    if !is_plain(&text) {
        return Err(ValueError::Malformed);
    }
    T::from_text(text).map(drop)
}

/// Reads a value that is a string or `null`.
fn check_text<'a, T: Decode<'a>>(json: &mut Reader<'a>, is_plain: impl FnOnce(&str) -> bool) -> Result<(), ValueError> {
    match json.peek()? {
        Kind::String | Kind::Null => check::<T>(json, is_plain),
        _ => Err(ValueError::WrongKind),
    }
}

/// Reads a date-time: a string, or an integer in the units of the block.
fn check_moment<'a, T: Decode<'a>>(json: &mut Reader<'a>) -> Result<(), ValueError> {
    if json.peek()? == Kind::Number && json.clone().small_integer().is_none() {
        return Err(ValueError::NotAnInteger);
    }
    check::<T>(json, |text| text.len() >= TIME_BYTES && !text.contains(['t', 'z']))
}

/// Returns whether the text is a number in JSON's form.
fn is_number(text: &str) -> bool {
    let mut json = Reader::new(text);
    json.number().is_ok_and(|number| number.len() == text.len())
}

macro_rules! path {
    ($($type:ty),+ => $check:ident, $is_plain:expr, $guess:ident) => { $(
        impl JsonPath for $type {
            fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
                $check::<Self>(json, $is_plain)
            }

            fn may_take(json: &Reader<'_>) -> bool {
                passes_check::<Self>(json) || json_guess::$guess(&mut json.clone())
            }
        }
    )+ };
}

/// Returns whether the value is clearly of the type.
fn passes_check<T: JsonPath>(json: &Reader<'_>) -> bool {
    T::check(&mut json.clone()).is_ok()
}

path!(i8, i16, i32, i64, i128, Int256 => check, json_guess::is_integer, integer);
path!(u8, u16, u32, u64, u128, UInt256 => check, |text| json_guess::is_integer(text) && !text.starts_with('-'), integer);
path!(f32, f64 => check, is_number, float);
path!(bool => check, |_| false, boolean);
path!(Date, Date32 => check_text, |text| text.len() == DAY_BYTES, day);
path!(Uuid => check_text, |text| UUID_BYTES.contains(&text.len()), uuid);
path!(Ipv4 => check_text, |text| text.contains('.'), ipv4);
path!(Ipv6 => check_text, |text| text.contains(':'), ipv6);

/// Returns whether the text is like `12:13:14`, `-1:13:14` or `112:13:14`, with a fraction if
/// `digits` allows one.
fn is_time(text: &str, digits: u8) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (time, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = time.split(':').collect();
    let is_whole = matches!(parts.as_slice(), [hours, minutes, seconds]
        if matches!(hours.len(), 1..=3) && minutes.len() == 2 && seconds.len() == 2);
    is_whole
        && parts.into_iter().all(is_digits)
        && is_digits(fraction)
        && !fraction.is_empty()
        && (digits > 0 || time.len() == text.len())
}

/// Reads a time: a string, or an integer in the units of the block.
fn check_time<'a, T: Decode<'a>>(json: &mut Reader<'a>, digits: u8) -> Result<(), ValueError> {
    if json.peek()? == Kind::Number && json.clone().small_integer().is_none() {
        return Err(ValueError::NotAnInteger);
    }
    check::<T>(json, |text| is_time(text, digits))
}

impl JsonPath for Time {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_time::<Self>(json, 0)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        passes_check::<Self>(json) || json_guess::time(&mut json.clone())
    }
}

impl<const P: u8> JsonPath for Time64<P> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_time::<Self>(json, P)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        passes_check::<Self>(json) || json_guess::time(&mut json.clone())
    }
}

macro_rules! decimal_path {
    ($($type:ident),+) => { $(
        impl<const P: u8, const S: u8> JsonPath for $type<P, S> {
            fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
                check::<Self>(json, is_number)
            }

            fn may_take(json: &Reader<'_>) -> bool {
                passes_check::<Self>(json) || json_guess::decimal(&mut json.clone())
            }
        }
    )+ };
}

decimal_path!(Decimal32, Decimal64, Decimal128, Decimal256);

impl<const N: usize> JsonPath for FixedString<N> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_text::<Self>(json, |_| true)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        passes_check::<Self>(json) || json_guess::fixed_string(&mut json.clone())
    }
}

/// Returns whether the value is a name or a number of the enum.
pub fn may_take_name<'a, T: Decode<'a>>(json: &Reader<'a>) -> bool {
    T::from_json(&mut json.clone()).is_ok()
}

/// Reads the name of an enum's value. Refuses numbers, since ClickHouse accepts only some of them.
pub fn check_name<'a, T: Decode<'a>>(json: &mut Reader<'a>) -> Result<(), ValueError> {
    check_text::<T>(json, |text| text.parse::<i16>().is_err())
}

impl JsonPath for Dynamic<'_> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        value(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json.clone().skip().is_ok()
    }
}

impl<Z: Zone> JsonPath for DateTime<Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_moment::<Self>(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        passes_check::<Self>(json) || json_guess::moment(&mut json.clone())
    }
}

impl<const P: u8, Z: Zone> JsonPath for DateTime64<P, Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_moment::<Self>(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        passes_check::<Self>(json) || json_guess::moment64(&mut json.clone())
    }
}

/// Any value is valid text.
impl JsonPath for Cow<'_, str> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        Ok(json.skip()?)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json.clone().skip().is_ok()
    }
}

#[cfg(test)]
mod tests;
