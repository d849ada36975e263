//! The types that paths of `JSON` may have: which values ClickHouse takes there.
//!
//! It reads them by other rules than those of columns: no text at all is no number, a day may not have a time, `1.5` as an
//! integer is 1. What both take alike is taken here, and nothing else; `null` is the type's default everywhere.

use std::borrow::Cow;

use super::{Date, DateTime, DateTime64, Decode, Int256, Ipv4, Ipv6, UInt256, Uuid, Zone, json_text::JsonPath};
use crate::{
    json::{Kind, Reader},
    refusal::Problem,
};

/// The length of `2024-02-29`.
const DAY_BYTES: usize = 10;
/// The length of `2024-02-29 12:13:14`.
const TIME_BYTES: usize = 19;
/// The lengths of a UUID without and with its hyphens.
const UUID_BYTES: [usize; 2] = [32, 36];

/// Reads a value; of texts, only those that `is_plain` knows.
fn check<'a, T: Decode<'a>>(json: &mut Reader<'a>, is_plain: impl FnOnce(&str) -> bool) -> Result<(), Problem> {
    if json.peek()? != Kind::String {
        return T::from_json(json).map(drop);
    }
    let text = json.string()?;
    if !is_plain(&text) {
        return Err(Problem::Malformed);
    }
    T::from_text(text).map(drop)
}

/// Reads a value that is a text or `null`.
fn check_text<'a, T: Decode<'a>>(json: &mut Reader<'a>, is_plain: impl FnOnce(&str) -> bool) -> Result<(), Problem> {
    match json.peek()? {
        Kind::String | Kind::Null => check::<T>(json, is_plain),
        _ => Err(Problem::WrongKind),
    }
}

/// Reads a moment: a text, or a number as the block has it, without a fraction.
fn check_moment<'a, T: Decode<'a>>(json: &mut Reader<'a>) -> Result<(), Problem> {
    if json.peek()? == Kind::Number && json.clone().small_integer().is_none() {
        return Err(Problem::NotAnInteger);
    }
    check::<T>(json, |text| text.len() >= TIME_BYTES && !text.contains(['t', 'z']))
}

/// Whether the text is an integer without needless signs.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text is a number as JSON has them.
fn is_number(text: &str) -> bool {
    let mut json = Reader::new(text);
    json.number().is_ok_and(|number| number.len() == text.len())
}

macro_rules! path {
    ($($type:ty),+ => $check:ident, $is_plain:expr) => { $(
        impl JsonPath for $type {
            fn check(json: &mut Reader<'_>) -> Result<(), Problem> {
                $check::<Self>(json, $is_plain)
            }
        }
    )+ };
}

path!(i8, i16, i32, i64, i128, Int256 => check, is_integer);
path!(u8, u16, u32, u64, u128, UInt256 => check, |text| is_integer(text) && !text.starts_with('-'));
path!(f32, f64 => check, is_number);
path!(bool => check, |_| false);
path!(Date => check_text, |text| text.len() == DAY_BYTES);
path!(Uuid => check_text, |text| UUID_BYTES.contains(&text.len()));
path!(Ipv4 => check_text, |text| text.contains('.'));
path!(Ipv6 => check_text, |text| text.contains(':'));

impl<Z: Zone> JsonPath for DateTime<Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), Problem> {
        check_moment::<Self>(json)
    }
}

impl<const P: u8, Z: Zone> JsonPath for DateTime64<P, Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), Problem> {
        check_moment::<Self>(json)
    }
}

/// Anything is a text.
impl JsonPath for Cow<'_, str> {
    fn check(json: &mut Reader<'_>) -> Result<(), Problem> {
        Ok(json.skip()?)
    }
}

impl<T: JsonPath> JsonPath for Vec<T> {
    fn check(json: &mut Reader<'_>) -> Result<(), Problem> {
        match json.peek()? {
            Kind::Array => {}
            Kind::Null => return Ok(json.null()?),
            _ => return Err(Problem::WrongKind),
        }
        json.begin_array()?;
        while json.next_element()? {
            T::check(json)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{JsonText, Utc, testing::*},
        *,
    };

    crate::json_paths! {
        struct Known { "a.n": i8, "a.u": u64, "f": f64, "s": Cow<'static, str>, "list": Vec<i32>, "at": DateTime<Utc>, "day": Date }
    }

    fn known(event: &str) -> Result<(), Problem> {
        json::<JsonText<'_, Known>>(event).map(drop)
    }

    #[test]
    fn values_at_typed_paths_are_checked() {
        for event in [
            r#"{"a":{"n":-5,"u":"18446744073709551615"},"a.x":"free"}"#,
            r#"{"a.n":"-128","f":"1.5","s":{"any":["thing"]},"list":[1,"2",null]}"#,
            r#"{"at":1700000000,"day":"2024-02-29"}"#,
            r#"{"at":"2024-02-29T12:13:14Z","day":null}"#,
            r#"{"in":[{"a":{"n":"elsewhere"}}],"a":5}"#,
        ] {
            assert_eq!(known(event), Ok(()), "{event}");
        }
        for (event, problem) in [
            (r#"{"a":{"n":128}}"#, Problem::OutOfRange),
            (r#"{"a.n":1.5}"#, Problem::NotAnInteger),
            (r#"{"a":{"n":""}}"#, Problem::Malformed),
            (r#"{"a":{"n":"+5"}}"#, Problem::Malformed),
            (r#"{"a":{"u":"-0"}}"#, Problem::Malformed),
            (r#"{"a":{"n":{"x":1}}}"#, Problem::WrongKind),
            (r#"{"f":"nan"}"#, Problem::Malformed),
            (r#"{"list":[1,"x"]}"#, Problem::Malformed),
            (r#"{"list":5}"#, Problem::WrongKind),
            (r#"{"at":1700000000.5}"#, Problem::NotAnInteger),
            (r#"{"at":"2024-02-29"}"#, Problem::Malformed),
            (r#"{"day":"2024-02-29 12:13:14"}"#, Problem::Malformed),
            (r#"{"day":19000}"#, Problem::WrongKind),
        ] {
            assert_eq!(known(event), Err(problem), "{event}");
        }
    }
}
