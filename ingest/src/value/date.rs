//! Dates: `Date` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/date)) and
//! `Date32` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/date32)), days since
//! 1970-01-01, little-endian in a block.
//!
//! The decoder accepts text, `2024-02-29`, `2024-2-9` (any one byte between the numbers) or
//! `20240229`, and numbers of days. As ClickHouse does, it refuses a time after the date.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Decode, Encode, calendar};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

macro_rules! date {
    ($(#[$doc:meta])* $name:ident($inner:ty), $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(
            /// Days since 1970-01-01.
            pub $inner,
        );

        impl $name {
            pub(super) fn from_days(days: i64) -> Result<Self, ValueError> {
                match <$inner>::try_from(days) {
                    Ok(days) if $range.contains(&days) => Ok(Self(days)),
                    _ => Err(ValueError::OutOfRange),
                }
            }
        }

        impl<'a> Decode<'a> for $name {
            fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                match json.peek()? {
                    Kind::String => Self::from_text(json.string()?),
                    Kind::Number => Self::from_days(i64::from_json(json)?),
                    Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
                    Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
                }
            }

            fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
                // MySQL and old versions of ClickHouse print this for a missing date.
                if text == "0000-00-00" {
                    return Ok(Self::default());
                }
                let days = parse(text.as_bytes()).ok_or(ValueError::Malformed)?;
                Self::from_days(days.into())
            }
        }

        impl Encode for $name {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
        }
    };
}

date! {
    /// ClickHouse's `Date`: 2 bytes, 1970-01-01 to 2149-06-06.
    ///
    /// ```
    /// use rowmill_ingest::value::{Decode, Date};
    ///
    /// assert_eq!(Date::from_text("1970-01-03".into())?, Date(2));
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    Date(u16), 0..=u16::MAX
}
date! {
    /// ClickHouse's `Date32`: 4 bytes, 1900-01-01 to 2299-12-31.
    ///
    /// ```
    /// use rowmill_ingest::value::{Decode, Date32};
    ///
    /// assert_eq!(Date32::from_text("1969-12-31".into())?, Date32(-1));
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    Date32(i32), -25_567..=120_529
}

/// Returns the days since 1970-01-01, or `None` if the date is malformed or not in the calendar.
fn parse(text: &[u8]) -> Option<i32> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0u16, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0'))
        })
    };
    let small = |digits: &[u8]| number(digits).map(|number| number as u8);
    let year = number(text.get(..4)?)?;
    let (month, day) = match text.get(4..)? {
        [m1, m2, d1, d2] if [m1, m2, d1, d2].iter().all(|byte| byte.is_ascii_digit()) => ([*m1, *m2], [*d1, *d2]),
        [a, m1, m2, b, d1, d2] if is_separator(*a) && is_separator(*b) => ([*m1, *m2], [*d1, *d2]),
        [a, m, b, d1, d2] if is_separator(*a) && is_separator(*b) => ([b'0', *m], [*d1, *d2]),
        [a, m1, m2, b, d] if is_separator(*a) && is_separator(*b) => ([*m1, *m2], [b'0', *d]),
        [a, m, b, d] if is_separator(*a) && is_separator(*b) => ([b'0', *m], [b'0', *d]),
        _ => return None,
    };
    calendar::days(year, small(&month)?, small(&day)?)
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn dates_are_read_in_the_forms_of_clickhouse() {
        for event in [
            r#""2024-02-29""#,
            r#""2024-2-29""#,
            r#""2024/02/29""#,
            r#""2024.02.29""#,
            r#""20240229""#,
            "19782",
        ] {
            assert_eq!(json(event), Ok(Date(19_782)), "{event}");
            assert_eq!(json(event), Ok(Date32(19_782)), "{event}");
        }
        assert_eq!(json(r#""2024-2-9""#), Ok(Date(19_762)));
        assert_eq!(json(r#""2024-02-9""#), Ok(Date(19_762)));
        assert_eq!(json(r#""0000-00-00""#), Ok(Date(0)));
        assert_eq!(json("null"), Ok(Date(0)));
    }

    #[test]
    fn days_outside_of_the_range_are_refused() {
        for event in [
            "\"1969-12-31\"",
            "\"2149-06-07\"",
            "\"9999-12-31\"",
            "65536",
            "-1",
            "1709208794",
        ] {
            assert_eq!(json::<Date>(event), Err(ValueError::OutOfRange), "{event}");
        }
        assert_eq!(json("\"2149-06-06\""), Ok(Date(u16::MAX)));
        for event in ["\"1899-12-31\"", "\"2300-01-01\"", "-25568", "120530"] {
            assert_eq!(json::<Date32>(event), Err(ValueError::OutOfRange), "{event}");
        }
        assert_eq!(json("\"1900-01-01\""), Ok(Date32(-25_567)));
        assert_eq!(json("\"2299-12-31\""), Ok(Date32(120_529)));
    }

    #[test]
    fn malformed_dates_are_refused() {
        for event in [
            "",
            "2023-02-29",
            "2023-04-31",
            "2024-13-01",
            "2024-00-10",
            "2024-02-32",
            "20240230",
            "2024-02-29 12:13:14",
            "2024-02-29T12:13:14Z",
            "29.02.2024",
            "19782",
            "2024-02",
            "2024",
            "24-02-29",
            " 2024-02-29",
            "2024-02-29 ",
            "2024-02-029",
            "02024-02-29",
            "2024--2-9",
            "2024é02é9",
            "today",
        ] {
            assert_eq!(text::<Date>(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(json::<Date>("1.5"), Err(ValueError::NotAnInteger));
        assert_eq!(json::<Date>("true"), Err(ValueError::WrongKind));
        assert_eq!(json::<Date>("[]"), Err(ValueError::WrongKind));
    }

    #[test]
    fn days_are_little_endian() {
        assert_eq!(bytes(&Date(19_782)), [0x46, 0x4D]);
        assert_eq!(bytes(&Date32(-1)), [0xFF; 4]);
    }
}
