//! The types that paths of `JSON` may have, and the values that ClickHouse accepts there.
//!
//! ClickHouse reads paths by other rules than columns: empty text is not a number, a day without a
//! time is not a date-time, `1.5` as an integer is 1. This module accepts only values that mean the
//! same by both rules; `null` is the type's default everywhere.

use std::borrow::Cow;

use super::{
    Date, Date32, DateTime, DateTime64, Decimal32, Decimal64, Decimal128, Decimal256, Decode, Dynamic, FixedString,
    Geometry, Int256, Ipv4, Ipv6, JsonPaths, JsonText, LineString, Map, MultiLineString, MultiPolygon, Point, Time,
    Time64, UInt256, Uuid, Zone, json_guess,
    json_text::{JsonPath, object, value},
    tuple::{end, next},
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
                is_taken::<Self>(json) || json_guess::$guess(&mut json.clone())
            }
        }
    )+ };
}

/// Returns whether the value is clearly of the type.
fn is_taken<T: JsonPath>(json: &Reader<'_>) -> bool {
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
        is_taken::<Self>(json) || json_guess::time(&mut json.clone())
    }
}

impl<const P: u8> JsonPath for Time64<P> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_time::<Self>(json, P)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        is_taken::<Self>(json) || json_guess::time(&mut json.clone())
    }
}

macro_rules! decimal_path {
    ($($type:ident),+) => { $(
        impl<const P: u8, const S: u8> JsonPath for $type<P, S> {
            fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
                check::<Self>(json, is_number)
            }

            fn may_take(json: &Reader<'_>) -> bool {
                is_taken::<Self>(json) || json_guess::decimal(&mut json.clone())
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
        is_taken::<Self>(json) || json_guess::fixed_string(&mut json.clone())
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

impl<P: JsonPaths> JsonPath for JsonText<'_, P> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Object => object::<P>(json),
            Kind::Null => Ok(json.null()?),
            _ => Err(ValueError::WrongKind),
        }
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json_guess::is_of(Kind::Object, &mut json.clone())
    }
}

impl JsonPath for Dynamic<'_> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        value(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json.clone().skip().is_ok()
    }
}

impl JsonPath for Geometry {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        let start = json.position();
        for check in [
            MultiPolygon::check,
            MultiLineString::check,
            LineString::check,
            Point::check,
        ] {
            match check(json) {
                Err(ValueError::Syntax(error)) => return Err(ValueError::Syntax(error)),
                Err(_) => json.seek(start),
                Ok(()) => return Ok(()),
            }
        }
        Err(ValueError::NoneOfTheTypes)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        json_guess::is_of(Kind::Array, &mut json.clone())
    }
}

/// The keys are text. `json_text` checks that none is repeated.
impl<V: JsonPath> JsonPath for Map<Cow<'_, str>, V> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Object => {}
            Kind::Null => return Ok(json.null()?),
            _ => return Err(ValueError::WrongKind),
        }
        json.begin_object()?;
        while json.next_key()?.is_some() {
            V::check(json)?;
        }
        Ok(())
    }

    fn may_take(json: &Reader<'_>) -> bool {
        let entries = || json_guess::entries(json, |_, value| V::may_take(value));
        json_guess::is_of(Kind::Null, &mut json.clone()) || entries().is_some()
    }
}

macro_rules! tuple_path {
    ($($type:ident),+) => {
        impl<$($type: JsonPath),+> JsonPath for ($($type,)+) {
            fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
                match json.peek()? {
                    Kind::Array => {}
                    Kind::Null => return Ok(json.null()?),
                    _ => return Err(ValueError::WrongKind),
                }
                json.begin_array()?;
                $(
                    next(json)?;
                    $type::check(json)?;
                )+
                end(json)
            }

            /// ClickHouse fills in missing elements at the end, and reads an object by the position
            /// of its values.
            fn may_take(json: &Reader<'_>) -> bool {
                may_take_elements(json, &[$(<$type as JsonPath>::may_take),+], |_| true)
            }
        }
    };
}

tuple_path!(A);
tuple_path!(A, B);
tuple_path!(A, B, C);
tuple_path!(A, B, C, D);
tuple_path!(A, B, C, D, E);
tuple_path!(A, B, C, D, E, F);
tuple_path!(A, B, C, D, E, F, G);
tuple_path!(A, B, C, D, E, F, G, H);
tuple_path!(A, B, C, D, E, F, G, H, I);
tuple_path!(A, B, C, D, E, F, G, H, I, J);
tuple_path!(A, B, C, D, E, F, G, H, I, J, K);
tuple_path!(A, B, C, D, E, F, G, H, I, J, K, L);

/// Returns whether the value may be an array of the elements, perhaps without the last ones, or an
/// object with one of their keys.
pub fn may_take_elements(
    json: &Reader<'_>,
    elements: &[fn(&Reader<'_>) -> bool],
    is_key: impl Fn(&str) -> bool,
) -> bool {
    match json.clone().peek() {
        Ok(Kind::Null) => true,
        Ok(Kind::Array) => {
            let element =
                |place: usize, value: &Reader<'_>| elements.get(place).is_some_and(|may_take| may_take(value));
            json_guess::elements(json, element).is_some_and(|count| count > 0)
        }
        // The first known key stops the walk.
        Ok(Kind::Object) => json_guess::entries(json, |key, _| !is_key(key)).is_none(),
        _ => false,
    }
}

/// Declares a named tuple at a path of JSON: an object with at least one of its elements and none
/// twice, or an array of all.
#[macro_export]
macro_rules! path_tuple {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident { $($element:literal: $type:ty),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        $visibility struct $name;

        impl $crate::value::JsonPath for $name {
            fn check(json: &mut $crate::json::Reader<'_>) -> ::std::result::Result<(), $crate::refusal::ValueError> {
                $crate::value::__check_elements(
                    json,
                    &[$(($element, <$type as $crate::value::JsonPath>::check)),+],
                )
            }

            fn may_take(json: &$crate::json::Reader<'_>) -> bool {
                $crate::value::__may_take_elements(
                    json,
                    &[$(<$type as $crate::value::JsonPath>::may_take),+],
                    |key| [$($element),+].contains(&key),
                )
            }
        }
    };
}

/// Checks the value of an element.
type Check = fn(&mut Reader<'_>) -> Result<(), ValueError>;

/// Reads a tuple with names.
pub fn check_elements(json: &mut Reader<'_>, elements: &[(&str, Check)]) -> Result<(), ValueError> {
    match json.peek()? {
        Kind::Null => Ok(json.null()?),
        Kind::Array => {
            json.begin_array()?;
            for (_, check) in elements {
                next(json)?;
                check(json)?;
            }
            end(json)
        }
        Kind::Object => {
            let mut seen = Vec::new();
            json.begin_object()?;
            while let Some(key) = json.next_key()? {
                let element = elements.iter().position(|(name, _)| *name == key);
                let index = element.ok_or(ValueError::UnknownName)?;
                if seen.contains(&index) {
                    return Err(ValueError::PathTwice);
                }
                seen.push(index);
                (elements[index].1)(json)?;
            }
            // ClickHouse refuses an object with none of the elements.
            if seen.is_empty() {
                Err(ValueError::WrongLength)
            } else {
                Ok(())
            }
        }
        _ => Err(ValueError::WrongKind),
    }
}

impl<Z: Zone> JsonPath for DateTime<Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_moment::<Self>(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        is_taken::<Self>(json) || json_guess::moment(&mut json.clone())
    }
}

impl<const P: u8, Z: Zone> JsonPath for DateTime64<P, Z> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        check_moment::<Self>(json)
    }

    fn may_take(json: &Reader<'_>) -> bool {
        is_taken::<Self>(json) || json_guess::moment64(&mut json.clone())
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

impl<T: JsonPath> JsonPath for Vec<T> {
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError> {
        match json.peek()? {
            Kind::Array => {}
            Kind::Null => return Ok(json.null()?),
            _ => return Err(ValueError::WrongKind),
        }
        json.begin_array()?;
        while json.next_element()? {
            T::check(json)?;
        }
        Ok(())
    }

    fn may_take(json: &Reader<'_>) -> bool {
        let elements = || json_guess::elements(json, |_, value| T::may_take(value));
        json_guess::is_of(Kind::Null, &mut json.clone()) || elements().is_some()
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

    fn known(event: &str) -> Result<(), ValueError> {
        json::<JsonText<'_, Known>>(event).map(drop)
    }

    crate::path_tuple! {
        struct Pair { "x": i8, "y": Cow<'static, str> }
    }
    crate::enumeration! {
        enum State: i8 { Open = 1 => "open", Shut = 2 => "shut" }
    }
    crate::json_paths! {
        struct Rare {
            "dec": Decimal32<9, 2>, "fixed": FixedString<3>, "state": State, "t": Time, "t64": Time64<3>, "day": Date32,
            "map": Map<Cow<'static, str>, i8>, "pair": (i8, i8), "named": Pair, "point": Point, "any": Dynamic<'static>,
            "doc": JsonText<'static, Known>, "shape": Geometry,
        }
    }

    fn rare(event: &str) -> Result<(), ValueError> {
        json::<JsonText<'_, Rare>>(event).map(drop)
    }

    #[test]
    fn rarer_types_are_checked_too() {
        for event in [
            r#"{"dec":1.5}"#,
            r#"{"dec":"1e2"}"#,
            r#"{"fixed":"abc"}"#,
            r#"{"state":"open"}"#,
            r#"{"state":null}"#,
            r#"{"t":"-112:13:14"}"#,
            r#"{"t":-5}"#,
            r#"{"t64":"12:13:14.5"}"#,
            r#"{"day":"1950-02-28"}"#,
            r#"{"map":{"a":1,"b":"-1"}}"#,
            r#"{"pair":[1,2]}"#,
            r#"{"named":{"y":5}}"#,
            r#"{"named":[1,"x"]}"#,
            r#"{"any":[1,{"a":"x"}]}"#,
            r#"{"doc":{"a":{"n":5}}}"#,
            r#"{"shape":[[[1,2]]]}"#,
        ] {
            assert_eq!(rare(event), Ok(()), "{event}");
        }
        for (event, problem) in [
            (r#"{"dec":10000000}"#, ValueError::OutOfRange),
            (r#"{"dec":""}"#, ValueError::Malformed),
            (r#"{"dec":true}"#, ValueError::WrongKind),
            (r#"{"fixed":"abcd"}"#, ValueError::TooLong),
            (r#"{"fixed":5}"#, ValueError::WrongKind),
            (r#"{"state":"1"}"#, ValueError::Malformed),
            (r#"{"state":"x"}"#, ValueError::UnknownName),
            (r#"{"state":1}"#, ValueError::WrongKind),
            (r#"{"t":"12:13"}"#, ValueError::Malformed),
            (r#"{"t":"12:13:14.5"}"#, ValueError::Malformed),
            (r#"{"t":1.5}"#, ValueError::NotAnInteger),
            (r#"{"t64":1.5}"#, ValueError::NotAnInteger),
            (r#"{"day":5}"#, ValueError::WrongKind),
            (r#"{"map":{"a":"x"}}"#, ValueError::Malformed),
            (r#"{"map":[]}"#, ValueError::WrongKind),
            (r#"{"pair":[1]}"#, ValueError::WrongLength),
            (r#"{"named":{}}"#, ValueError::WrongLength),
            (r#"{"named":{"z":1}}"#, ValueError::UnknownName),
            (r#"{"any":18446744073709551616}"#, ValueError::OutOfRange),
            (r#"{"doc":{"a":{"n":"x"}}}"#, ValueError::Malformed),
            (r#"{"doc":5}"#, ValueError::WrongKind),
            (r#"{"shape":[1]}"#, ValueError::NoneOfTheTypes),
        ] {
            assert_eq!(rare(event), Err(problem), "{event}");
        }
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
            (r#"{"a":{"n":128}}"#, ValueError::OutOfRange),
            (r#"{"a.n":1.5}"#, ValueError::NotAnInteger),
            (r#"{"a":{"n":""}}"#, ValueError::Malformed),
            (r#"{"a":{"n":"+5"}}"#, ValueError::Malformed),
            (r#"{"a":{"u":"-0"}}"#, ValueError::Malformed),
            (r#"{"a":{"n":{"x":1}}}"#, ValueError::WrongKind),
            (r#"{"f":"nan"}"#, ValueError::Malformed),
            (r#"{"list":[1,"x"]}"#, ValueError::Malformed),
            (r#"{"list":5}"#, ValueError::WrongKind),
            (r#"{"at":1700000000.5}"#, ValueError::NotAnInteger),
            (r#"{"at":"2024-02-29"}"#, ValueError::Malformed),
            (r#"{"day":"2024-02-29 12:13:14"}"#, ValueError::Malformed),
            (r#"{"day":19000}"#, ValueError::WrongKind),
        ] {
            assert_eq!(known(event), Err(problem), "{event}");
        }
    }
}
