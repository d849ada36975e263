//! Dates with times: `DateTime`
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/datetime)) and `DateTime64`
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/datetime64)), always UTC in a
//! block, little-endian.
//!
//! The decoder accepts text in ISO 8601 and many other forms (see `date_text`); text without an
//! offset is local time in the column's [`Zone`]. JSON numbers are in the units of the block:
//! seconds in a `DateTime`, milliseconds in a `DateTime64(3)`. By the lenient rules, a JSON number
//! with a fraction is in seconds.

use std::{borrow::Cow, marker::PhantomData};

use serde::{Deserialize, Serialize};

use super::{
    Decode, Encode,
    date_text::{self, Moment},
    seconds::Seconds,
    zone::{Utc, Zone},
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The seconds of the years 1 to 9999, the only ones that ClickHouse can print.
pub(super) const PRINTABLE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// ClickHouse's `DateTime`: 4 bytes, 1970-01-01 00:00:00 to 2106-02-07 06:28:15 UTC. A fraction is
/// truncated.
///
/// ```
/// use rowmill_ingest::value::{Decode, DateTime};
///
/// let time: DateTime = DateTime::from_text("2026-01-02 03:04:05".into())?;
/// assert_eq!(time.seconds(), 1_767_323_045);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct DateTime<Z: Zone = Utc> {
    seconds: u32,
    #[serde(skip)]
    zone: PhantomData<Z>,
}

/// ClickHouse's `DateTime64(P)`: 8 bytes that count units of 10^-P seconds, the years 1 to 9999 as
/// far as 64 bits allow (with nine digits from 1677 to 2262). Digits after the last one are
/// truncated.
///
/// ```
/// use rowmill_ingest::value::{Decode, DateTime64};
///
/// let time: DateTime64<3> = DateTime64::from_text("1970-01-01 00:00:01.25".into())?;
/// assert_eq!(time.ticks(), 1_250);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct DateTime64<const P: u8, Z: Zone = Utc> {
    ticks: i64,
    #[serde(skip)]
    zone: PhantomData<Z>,
}

impl<Z: Zone> DateTime<Z> {
    /// Creates a value from the seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// ```
    /// use rowmill_ingest::value::DateTime;
    ///
    /// let hour: DateTime = DateTime::from_seconds(3_600);
    /// assert_eq!(hour.to_string(), "1970-01-01 01:00:00");
    /// ```
    pub const fn from_seconds(seconds: u32) -> Self {
        Self {
            seconds,
            zone: PhantomData,
        }
    }

    /// Returns the seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// ```
    /// use rowmill_ingest::value::{DateTime, Utc};
    ///
    /// assert_eq!(DateTime::<Utc>::from_seconds(60).seconds(), 60);
    /// ```
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    pub(super) fn from_wide(seconds: i64) -> Result<Self, ValueError> {
        u32::try_from(seconds)
            .map(Self::from_seconds)
            .map_err(|_| ValueError::OutOfRange)
    }
}

impl<const P: u8, Z: Zone> DateTime64<P, Z> {
    /// The number of units in a second.
    pub(super) const PER_SECOND: i64 = 10_i64.pow(P as u32);

    /// Creates a value from the units of 10^-P seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// ```
    /// use rowmill_ingest::value::DateTime64;
    ///
    /// let time: DateTime64<3> = DateTime64::from_ticks(1_500);
    /// assert_eq!(time.to_string(), "1970-01-01 00:00:01.500");
    /// ```
    pub const fn from_ticks(ticks: i64) -> Self {
        Self {
            ticks,
            zone: PhantomData,
        }
    }

    /// Returns the units of 10^-P seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// ```
    /// use rowmill_ingest::value::{DateTime64, Utc};
    ///
    /// assert_eq!(DateTime64::<6, Utc>::from_ticks(7).ticks(), 7);
    /// ```
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    fn from_moment(moment: Moment) -> Result<Self, ValueError> {
        let seconds = moment.utc::<Z>()?;
        // ClickHouse prints a local time unchanged, even if its UTC time is in another year.
        let printed = if moment.offset.is_none() {
            moment.seconds
        } else {
            seconds
        };
        let below_second = i64::from(moment.nanos) * Self::PER_SECOND / 1_000_000_000;
        let ticks = seconds
            .checked_mul(Self::PER_SECOND)
            .and_then(|ticks| ticks.checked_add(below_second));
        match ticks {
            Some(ticks) if PRINTABLE.contains(&printed) => Ok(Self::from_ticks(ticks)),
            _ => Err(ValueError::OutOfRange),
        }
    }
}

impl Moment {
    /// Returns the seconds since 1970 in UTC.
    #[inline]
    fn utc<Z: Zone>(self) -> Result<i64, ValueError> {
        match self.offset {
            Some(offset) => Ok(self.seconds - i64::from(offset)),
            None => Z::to_utc(self.seconds),
        }
    }
}

/// Reads a number other than a short integer, in units of 1/`per_second` seconds.
fn long_number(json: &mut Reader<'_>, per_second: i64) -> Result<i64, ValueError> {
    match Seconds::read(json)? {
        Some(seconds) => seconds.units_before(per_second),
        None => i64::from_json(json),
    }
}

impl<'a, Z: Zone> Decode<'a> for DateTime<Z> {
    #[inline]
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Number => match json.small_integer() {
                Some(seconds) => Self::from_wide(seconds),
                None => Self::from_wide(long_number(json, 1)?),
            },
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
        }
    }

    #[inline]
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        Self::from_wide(date_text::parse(&text)?.utc::<Z>()?)
    }
}

impl<'a, const P: u8, Z: Zone> Decode<'a> for DateTime64<P, Z> {
    #[inline]
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Number => {
                let ticks = match json.small_integer() {
                    Some(ticks) => ticks,
                    None => long_number(json, Self::PER_SECOND)?,
                };
                let is_printable = PRINTABLE.contains(&ticks.div_euclid(Self::PER_SECOND));
                if is_printable {
                    Ok(Self::from_ticks(ticks))
                } else {
                    Err(ValueError::OutOfRange)
                }
            }
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
        }
    }

    #[inline]
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        Self::from_moment(date_text::parse(&text)?)
    }
}

impl<Z: Zone> Encode for DateTime<Z> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.seconds.put(out);
    }
}

impl<const P: u8, Z: Zone> Encode for DateTime64<P, Z> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.ticks.put(out);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    /// 2024-02-29 12:13:14 UTC.
    const THEN: u32 = 1_709_208_794;
    /// 2024-02-29 00:00:00 UTC.
    const MIDNIGHT: u32 = 1_709_164_800;

    fn seconds(event: &str) -> Result<u32, ValueError> {
        text::<DateTime>(event).map(DateTime::seconds)
    }

    fn millis(event: &str) -> Result<i64, ValueError> {
        text::<DateTime64<3>>(event).map(DateTime64::ticks)
    }

    #[test]
    fn iso_8601_and_similar_forms_are_read() {
        for event in [
            "2024-02-29 12:13:14",
            "2024-02-29T12:13:14",
            "2024-02-29t12:13:14z",
            "2024-02-29T12:13:14Z",
            "2024-02-29T12:13:14.999Z",
            "2024-02-29 12:13:14.",
            "2024-02-29T15:13:14.999+03:00",
            "2024-02-29T15:13:14+0300",
            "2024-02-29T15:13:14+03",
            "2024-02-29 15:13:14 +03:00",
            "2024-02-29T06:43:14-05:30",
            "2024-2-29 12:13:14",
            "2024/02/29 12:13:14",
            "2024:02:29 12:13:14",
            "20240229121314",
            "20240229T121314Z",
            "20240229 121314",
            "20240229T12:13:14",
        ] {
            assert_eq!(seconds(event), Ok(THEN), "{event}");
        }
        assert_eq!(seconds("2024-02-29T12:13Z"), Ok(THEN - 14));
        assert_eq!(seconds("2024-02-29 12"), Ok(MIDNIGHT + 12 * 3600));
        for event in [
            "2024-02-29",
            "20240229",
            "2024-02-29T",
            " 2024-02-29 ",
            "2024-02-28 24:00:00",
        ] {
            assert_eq!(seconds(event), Ok(MIDNIGHT), "{event}");
        }
        assert_eq!(seconds("2024-02-28 23:59:60"), Ok(MIDNIGHT));
        assert_eq!(seconds("2024-02"), Ok(MIDNIGHT - 28 * 86_400));
        assert_eq!(seconds("202402"), Ok(MIDNIGHT - 28 * 86_400));
        assert_eq!(seconds("2024"), Ok(1_704_067_200));
    }

    #[test]
    fn forms_of_people_and_mail_headers_are_read() {
        for event in [
            "Thu, 29 Feb 2024 12:13:14 GMT",
            "Thu, 29 Feb 2024 15:13:14 +0300",
            "Thu,29 Feb 2024 12:13:14 GMT",
            "Thu, 29-Feb-2024 12:13:14 GMT",
            "Thursday, 29 February 2024 12:13:14",
            "Thu Feb 29 12:13:14 2024",
            "Thu Feb 29 15:13:14 MSK 2024",
            "Thu Feb 29 2024 15:13:14 GMT+0300",
            "Feb 29, 2024 12:13:14 PM",
            "29.02.2024 12:13:14",
            "29-02-2024 12:13:14",
            "29/02/2024 12:13:14",
            "02/29/2024 12:13:14",
            "29/02/24 12:13:14",
            "12:13:14 2024-02-29",
            "12:13:14 29.02.2024",
            "2024-02-29 12:13:14UTC",
        ] {
            assert_eq!(seconds(event), Ok(THEN), "{event}");
        }
        assert_eq!(seconds("2024-02-29 12:13:14 AM"), Ok(THEN - 12 * 3600));
        assert_eq!(seconds("2024-02-29 1:13:14 pm"), Ok(THEN + 3600));
        assert_eq!(seconds("29 FEB 2024"), Ok(MIDNIGHT));
        assert_eq!(
            seconds("2.3.2024"),
            seconds("2024-03-02"),
            "the day is first where both are possible"
        );
        assert_eq!(seconds("1/2/70"), seconds("1970-02-01"));
    }

    #[test]
    fn the_number_of_digits_decides_the_unit_of_a_text() {
        for (event, expected) in [
            ("1709208794", 1_709_208_794_000),
            ("170920879", 170_920_879_000),
            ("1709208794.5", 1_709_208_794_500),
            ("1709208794.9999999999", 1_709_208_794_999),
            ("1709208794123", 1_709_208_794_123),
            ("1709208794123456", 1_709_208_794_123),
            ("1709208794123456789", 1_709_208_794_123),
        ] {
            assert_eq!(millis(event), Ok(expected), "{event}");
        }
        for event in [
            "17092087",
            "17092087941",
            "99999999999999999",
            "-1709208794",
            "1709208794Z",
            "1709208794123.5",
        ] {
            assert_eq!(millis(event), Err(ValueError::Malformed), "{event}");
        }
    }

    #[test]
    fn the_unit_of_a_number_is_that_of_the_column() {
        assert_eq!(json("1709208794"), Ok(DateTime::<Utc>::from_seconds(THEN)));
        assert_eq!(
            json("1709208794123"),
            Ok(DateTime64::<3>::from_ticks(1_709_208_794_123))
        );
        assert_eq!(json("-1"), Ok(DateTime64::<3>::from_ticks(-1)));
        assert_eq!(json("null"), Ok(DateTime64::<3>::from_ticks(0)));
        assert_eq!(json::<DateTime>("1709208794.5"), Err(ValueError::NotAnInteger));
        for event in ["true", "[]", "{}"] {
            assert_eq!(json::<DateTime>(event), Err(ValueError::WrongKind), "{event}");
        }
        for event in [
            "-1",
            "4294967296",
            "1709208794123",
            r#""1969-12-31 23:59:59""#,
            r#""2106-02-07 06:28:16""#,
        ] {
            assert_eq!(json::<DateTime>(event), Err(ValueError::OutOfRange), "{event}");
        }
        assert_eq!(
            json(r#""2106-02-07 06:28:15""#),
            Ok(DateTime::<Utc>::from_seconds(u32::MAX))
        );
    }

    #[test]
    fn a_number_with_a_fraction_is_in_seconds_by_the_lenient_rules() {
        assert_eq!(lenient("1709208794.908181"), Ok(DateTime::<Utc>::from_seconds(THEN)));
        assert_eq!(
            lenient("1709208794.0"),
            Ok(DateTime64::<3>::from_ticks(1_709_208_794_000))
        );
        assert_eq!(
            lenient("1709208794.908181"),
            Ok(DateTime64::<6>::from_ticks(1_709_208_794_908_181))
        );
        assert_eq!(lenient("-0.5"), Ok(DateTime64::<0>::from_ticks(-1)));
        // An integer is in the units of the column by all rules.
        assert_eq!(lenient("1709208794"), Ok(DateTime64::<3>::from_ticks(1_709_208_794)));
        for event in ["-0.5", "4294967296.0", "1e300"] {
            let result = lenient::<DateTime>(event);
            assert!(
                matches!(result, Err(ValueError::OutOfRange | ValueError::NotAnInteger)),
                "{event}"
            );
        }
        assert_eq!(lenient::<DateTime64<3>>("253402300800.0"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn malformed_times_are_refused() {
        for event in [
            "",
            "abc",
            "now",
            "0",
            "1",
            "12345",
            "12:13:14",
            "29.02",
            "29 Feb",
            "2023-02-29 12:00:00",
            "2024-13-01 12:00:00",
            "2024-00-10 12:00:00",
            "0000-00-00 00:00:00",
            "0000-01-01",
            "2024-02-29 24:00:01",
            "2024-02-29 25:00:00",
            "2024-02-29 23:60:00",
            "2024-02-29 23:59:61",
            "2024-02-29 12:13:14+24:00",
            "2024-02-29 12:13:14 Europe/Moscow",
            "2024-02-29 12:13:14 CET",
            "2024-02-29 12:",
            "2024-02-29 123:13:14",
            "2024-02-29-12:13:14",
            "2024-02-29T12:13:14.123.456",
            "2024 02 09",
            "2024/02-09",
            "2024-02-29 12:13:14+03:00 MSK",
            "13/13/2024",
            "10000-01-01",
            "2024-W09-4",
            "2024-060",
            "20240230",
            "20240229T1213",
            "2024-02-29 12:13:14 é",
            "PM",
            "2024 PM",
            "Feb Mar 2024",
        ] {
            assert_eq!(seconds(event), Err(ValueError::Malformed), "{event}");
        }
    }

    #[test]
    fn fractions_are_rounded_down_to_the_columns_unit() {
        assert_eq!(millis("2024-02-29T12:13:14.1239Z"), Ok(1_709_208_794_123));
        assert_eq!(millis("1969-12-31 23:59:59.5"), Ok(-500));
        assert_eq!(text("1969-12-31 23:59:59.5"), Ok(DateTime64::<0>::from_ticks(-1)));
        assert_eq!(
            text("2024-02-29 12:13.5"),
            Ok(DateTime64::<1>::from_ticks(17_092_087_805))
        );
    }

    #[test]
    fn the_range_of_a_date_time64_depends_on_its_digits() {
        assert_eq!(millis("0001-01-01"), Ok(-62_135_596_800_000));
        assert_eq!(millis("9999-12-31 23:59:59.999"), Ok(253_402_300_799_999));
        assert_eq!(millis("9999-12-31 23:59:59-01:00"), Err(ValueError::OutOfRange));
        assert_eq!(json::<DateTime64<3>>("253402300800000"), Err(ValueError::OutOfRange));
        let nanos = |event| text::<DateTime64<9>>(event).map(DateTime64::ticks);
        assert_eq!(nanos("2262-04-11 23:47:16.5"), Ok(9_223_372_036_500_000_000));
        assert_eq!(nanos("2262-04-11 23:47:17"), Err(ValueError::OutOfRange));
        assert_eq!(nanos("1677-09-21 00:12:43"), Err(ValueError::OutOfRange));
        assert_eq!(json(&i64::MIN.to_string()), Ok(DateTime64::<9>::from_ticks(i64::MIN)));
    }

    #[test]
    fn text_without_an_offset_is_local_time_of_the_column() {
        crate::zone! {
            struct Berlin = "Europe/Berlin";
        }
        let berlin = |event| text::<DateTime<Berlin>>(event).map(DateTime::seconds);
        assert_eq!(berlin("2024-02-29 13:13:14"), Ok(THEN));
        assert_eq!(berlin("29.02.2024 13:13:14"), Ok(THEN));
        assert_eq!(berlin("2024-02-29 12:13:14Z"), Ok(THEN));
        assert_eq!(berlin("1709208794"), Ok(THEN));
        assert_eq!(berlin("1970-01-01 00:59:59"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn the_last_second_of_the_calendar_is_a_local_time_of_any_zone() {
        crate::zone! {
            struct NewYork = "America/New_York";
        }
        let new_york = |event| text::<DateTime64<0, NewYork>>(event).map(DateTime64::ticks);
        assert_eq!(new_york("9999-12-31 23:59:59"), Ok(253_402_300_799 + 5 * 3600));
        assert_eq!(new_york("9999-12-31 24:00:00"), Err(ValueError::OutOfRange));
        assert_eq!(new_york("9999-12-31 23:59:59-05:00"), Err(ValueError::OutOfRange));
        assert_eq!(millis("9999-12-31 24:00:00"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn the_fast_and_the_slow_path_agree() {
        // The fast path accepts hyphens only.
        for event in [
            "2024-02-29 12:13:14",
            "1999-12-31T23:59:59.123456789Z",
            "2100-01-01",
            "2024-02-29 12:13:14-05:30",
        ] {
            let slow = event.replacen("-", "/", 2);
            assert_eq!(text::<DateTime64<6>>(event), text::<DateTime64<6>>(&slow), "{event}");
        }
    }

    #[test]
    fn values_are_little_endian() {
        assert_eq!(bytes(&DateTime::<Utc>::from_seconds(1)), [1, 0, 0, 0]);
        assert_eq!(bytes(&DateTime64::<3>::from_ticks(-1)), [0xFF; 8]);
    }
}
