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
mod tests;
