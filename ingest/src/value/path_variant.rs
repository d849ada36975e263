//! `Variant` at a path of `JSON`: ClickHouse itself chooses the first type that accepts the value.
//!
//! A value is accepted here if it is clearly of the type that ClickHouse chooses. It is refused if
//! an earlier type might accept it and change it.

use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// Declares a Variant at a path of JSON: its types in the order in which ClickHouse tries them.
///
/// ```
/// use std::borrow::Cow;
///
/// use rowmill_ingest::{json::Reader, refusal::ValueError, value::{JsonPath, path_variant}};
///
/// path_variant! {
///     /// An amount, or the reason why there is none.
///     pub struct Amount: [u64, Cow<'static, str>];
/// }
///
/// assert_eq!(Amount::check(&mut Reader::new("12")), Ok(()));
/// assert_eq!(Amount::check(&mut Reader::new("\"none\"")), Ok(()));
/// // ClickHouse would store 100.
/// assert_eq!(Amount::check(&mut Reader::new("1e2")), Err(ValueError::NotAnInteger));
/// ```
#[macro_export]
macro_rules! path_variant {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident: [$($type:ty),+ $(,)?];) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        $visibility struct $name;

        impl $crate::value::JsonPath for $name {
            fn check(json: &mut $crate::json::Reader<'_>) -> ::std::result::Result<(), $crate::refusal::ValueError> {
                $crate::value::__check_variants(json, &[$((
                    <$type as $crate::value::JsonPath>::check,
                    <$type as $crate::value::JsonPath>::may_take,
                )),+])
            }

            fn may_take(json: &$crate::json::Reader<'_>) -> bool {
                [$(<$type as $crate::value::JsonPath>::may_take),+].iter().any(|may_take| may_take(json))
            }
        }
    };
}

/// Two functions of one type. The first checks a value. The second returns whether ClickHouse may
/// accept a value that is not clearly of the type.
type Variant = (fn(&mut Reader<'_>) -> Result<(), ValueError>, fn(&Reader<'_>) -> bool);

/// Reads a value that may be of several types.
pub fn check_variants(json: &mut Reader<'_>, variants: &[Variant]) -> Result<(), ValueError> {
    if json.peek()? == Kind::Null {
        return Ok(json.null()?);
    }
    let start = json.position();
    for (check, may_take) in variants {
        match check(json) {
            Ok(()) => return Ok(()),
            // The value is not JSON for any of the types.
            Err(ValueError::Syntax(error)) => return Err(ValueError::Syntax(error)),
            Err(problem) => {
                json.seek(start);
                if may_take(json) {
                    return Err(problem);
                }
            }
        }
    }
    Err(ValueError::NoneOfTheTypes)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{
        super::{Date, DateTime, Decimal32, FixedString, Ipv4, JsonText, Map, Time, Utc, Uuid, json_text::JsonPath},
        *,
    };

    crate::enumeration! {
        enum State: i8 { Open = 1 => "open", Shut = 2 => "shut" }
    }
    crate::path_tuple! {
        struct Pair { "x": u8, "y": u8 }
    }

    type Text = Cow<'static, str>;

    crate::path_variant! { struct Narrow: [u8, Text]; }
    crate::path_variant! { struct Number: [bool, i64, f64]; }
    crate::path_variant! { struct Day: [Uuid, Date, Text]; }
    crate::path_variant! { struct Moment: [DateTime<Utc>, Text]; }
    crate::path_variant! { struct Rare: [State, Decimal32<9, 2>, FixedString<3>, Time]; }
    crate::path_variant! { struct Deep: [Vec<u8>, Map<Text, u8>, Pair, Text]; }
    crate::path_variant! { struct Other: [Pair, Ipv4, JsonText<'static>]; }
    crate::path_variant! { struct Places: [(u8, u8), Map<Text, u8>]; }
    crate::path_variant! { struct Nested: [Vec<Narrow>, u64]; }

    fn check<T: JsonPath>(event: &str) -> Result<(), ValueError> {
        T::check(&mut Reader::new(event))
    }

    #[test]
    fn unambiguous_values_are_accepted() {
        for (checked, events) in [
            (
                check::<Narrow> as fn(&str) -> _,
                &[
                    "5", "true", "\"5\"", "300", "-5", "1.5", "\"300\"", "\"-5\"", "\"1.5\"", "\"nan\"", "\"x\"", "{}",
                    "[1]", "null",
                ][..],
            ),
            (
                check::<Number>,
                &[
                    "true",
                    "0",
                    "1",
                    "-5",
                    "300",
                    "1.5",
                    "1e300",
                    "18446744073709551615",
                    "\"-5\"",
                    "\"1.5\"",
                ],
            ),
            (
                check::<Day>,
                &[
                    "\"2024-02-29\"",
                    "\"9f1c5e7a-1d2b-4c3d-8e9f-0a1b2c3d4e5f\"",
                    "\"2024\"",
                    "\"2024-02-29 12:13:14\"",
                    "5",
                    "\"x\"",
                ],
            ),
            (
                check::<Moment>,
                &[
                    "1700000000",
                    "\"2024-02-29 12:13:14\"",
                    "\"order 5\"",
                    "\"\"",
                    "1.5",
                    "true",
                    "[1]",
                    "\"é\"",
                ],
            ),
            (
                check::<Rare>,
                &["\"open\"", "5", "-1.25", "\"1.5\"", "\"abc\"", "\"12:13:14\""],
            ),
            (
                check::<Deep>,
                &["[1,2]", "[]", "{\"a\":1}", "{\"a\":1.5}", "[1.5]", "[\"a\"]", "5"],
            ),
            (
                check::<Other>,
                &["[1,2]", "{\"x\":1}", "\"1.2.3.4\"", "{\"a\":[1.5]}", "{}"],
            ),
            (check::<Nested>, &["[1,\"x\",1.5,null]", "7"]),
        ] {
            for event in events {
                assert_eq!(checked(event), Ok(()), "{event}");
            }
        }
    }

    #[test]
    fn values_that_an_earlier_type_may_change_are_refused() {
        for (checked, events) in [
            (
                check::<Narrow> as fn(&str) -> _,
                &["1e2", "1.0", "\"+5\"", "\"1e2\"", "\"1.0\"", "\"-0\""][..],
            ),
            (
                check::<Number>,
                &["2", "255", "\"5\"", "\"2e1\"", "1e3", "[1]", "\"x\""],
            ),
            (check::<Day>, &["\"2024-02-30\"", "\"20240229\"", "\"2024-2-9\""]),
            (
                check::<Moment>,
                &[
                    "\"5\"",
                    "\"12:13\"",
                    "\"2024-02-29\"",
                    "\"feb\"",
                    "\"1 May 2024\"",
                    "99999999999",
                ],
            ),
            (
                check::<Rare>,
                &["1", "10000000", "1e300", "\"1.2.3\"", "\"abcd\"", "true", "[1]"],
            ),
            (check::<Deep>, &["[1,\"+5\"]", "{\"a\":1,\"b\":\"1e2\"}"]),
            (
                check::<Other>,
                &["[1]", "{\"x\":1,\"z\":2}", "{\"y\":\"+5\"}", "[1,1e2]", "5", "[1,2,3]"],
            ),
            // ClickHouse counts the values of an object, too.
            (check::<Places>, &["{\"a\":1}", "[1]", "[1,2,3]"]),
            (check::<Nested>, &["[1e2]", "\"+5\"", "{}"]),
        ] {
            for event in events {
                assert!(checked(event).is_err(), "{event}");
            }
        }
        assert_eq!(check::<Number>("\"x\""), Err(ValueError::NoneOfTheTypes));
        assert_eq!(check::<Narrow>("1.0"), Err(ValueError::NotAnInteger));
        assert!(matches!(check::<Narrow>("[1"), Err(ValueError::Syntax(_))));
    }
}
