//! Time zones of columns, such as the one in which a `DateTime('Europe/Berlin')` reads local times.

use std::{fmt::Debug, hash::Hash};

use jiff::{
    SignedDuration, Timestamp, civil,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use crate::table::refusal::ValueError;

const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The time zone of a column, as a type. [`zone!`](crate::zone) declares them.
pub trait Zone: Debug + Clone + Copy + Default + PartialEq + Eq + PartialOrd + Ord + Hash + 'static {
    /// Returns the time zone, or [unknown](TimeZone::unknown) if the time zone database does not
    /// have it.
    fn zone() -> &'static TimeZone;

    /// Converts a local time, in seconds since 1970 as if it were UTC, to seconds since 1970 in
    /// UTC.
    ///
    /// A local time that is skipped or repeated becomes the earlier moment, as in ClickHouse.
    ///
    /// # Errors
    /// The zone is unknown, or the time is not between the years 1 and 9999.
    fn to_utc(local_seconds: i64) -> Result<i64, ValueError> {
        let zone = Self::zone();
        if zone.is_unknown() {
            return Err(ValueError::UnknownZone);
        }
        let local = EPOCH.checked_add(SignedDuration::from_secs(local_seconds));
        let local = local.map_err(|_| ValueError::OutOfRange)?;
        // Only the offset: jiff's own timestamps end a day before the last local times, which
        // people use for "forever".
        let offset = match zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => before.max(after),
        };
        Ok(local_seconds - i64::from(offset.seconds()))
    }

    /// Converts seconds since 1970 in UTC to a local time, in seconds since 1970 as if it were UTC.
    ///
    /// A time is UTC if the zone is unknown. Times outside of the years of jiff, the last day of
    /// 9999 among them, have the offset of the nearest one.
    fn to_local(seconds: i64) -> i64 {
        let zone = Self::zone();
        if zone.is_unknown() {
            return seconds;
        }
        let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let time = Timestamp::from_second(seconds).unwrap_or(limit);
        seconds + i64::from(zone.to_offset(time).seconds())
    }
}

/// UTC, the zone of columns that do not name one. It needs no time zone database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc;

impl Zone for Utc {
    fn zone() -> &'static TimeZone {
        static UTC: TimeZone = TimeZone::UTC;
        &UTC
    }

    #[inline]
    fn to_utc(local_seconds: i64) -> Result<i64, ValueError> {
        Ok(local_seconds)
    }

    #[inline]
    fn to_local(seconds: i64) -> i64 {
        seconds
    }
}

/// Declares a type for a time zone.
///
/// ```
/// use rowmill_ingest::value::{DateTime, Decode, zone};
///
/// zone! {
///     /// The zone of the columns that the office reads.
///     pub struct EuropeBerlin = "Europe/Berlin";
/// }
///
/// let noon = DateTime::<EuropeBerlin>::from_text("2024-07-01 12:00:00".into())?;
/// let same = DateTime::<EuropeBerlin>::from_text("2024-07-01T10:00:00Z".into())?;
/// assert_eq!(noon, same);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[macro_export]
macro_rules! zone {
    ($($(#[$attribute:meta])* $visibility:vis struct $name:ident = $zone:literal;)+) => { $(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility struct $name;

        impl $crate::value::Zone for $name {
            fn zone() -> &'static $crate::value::__jiff::tz::TimeZone {
                use $crate::value::__jiff::tz::TimeZone;

                static ZONE: ::std::sync::LazyLock<TimeZone> =
                    ::std::sync::LazyLock::new(|| $crate::value::__zone_named($zone));
                &ZONE
            }
        }
    )+ };
}

/// Finds a time zone by its name in ClickHouse; [unknown](TimeZone::unknown) if there is none, or
/// if the name means another zone on each machine.
#[doc(hidden)]
pub fn zone_named(name: &str) -> TimeZone {
    match name.strip_prefix("Fixed/UTC") {
        Some(offset) => fixed_offset(offset),
        None if matches!(name, "localtime" | "posixrules") => None,
        // `posix/` names a copy of the database without leap seconds. Ours never has leap seconds.
        None => TimeZone::get(name.strip_prefix("posix/").unwrap_or(name)).ok(),
    }
    .unwrap_or_else(TimeZone::unknown)
}

/// Reads `+hh:mm:ss`, each part of which may exceed the range of a clock.
fn fixed_offset(offset: &str) -> Option<TimeZone> {
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let seconds = rest.split(':').try_fold(0_i32, |sum, part| {
        let part: u8 = part.parse().ok()?;
        sum.checked_mul(60)?.checked_add(i32::from(part))
    })?;
    Offset::from_seconds(sign * seconds).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;

    use super::*;

    crate::zone! {
        struct Berlin = "Europe/Berlin";
        struct Nowhere = "Nowhere/Atall";
        struct Copied = "posix/Europe/Berlin";
        struct East = "Fixed/UTC+03:59:60";
        struct West = "Fixed/UTC-24:00:00";
        struct Here = "localtime";
    }

    /// Compares with the results of ClickHouse 26.7 for `2024-07-01 00:00:00` in these zones.
    #[test]
    fn zones_outside_of_the_database_are_parsed() {
        const MIDNIGHT: i64 = 1_719_792_000;
        assert_eq!(Copied::to_utc(MIDNIGHT), Ok(1_719_784_800));
        assert_eq!(East::to_utc(MIDNIGHT), Ok(1_719_777_600));
        assert_eq!(West::to_utc(MIDNIGHT), Ok(1_719_878_400));
        assert_eq!(Here::to_utc(MIDNIGHT), Err(ValueError::UnknownZone));
    }

    #[test]
    fn skipped_and_repeated_local_times_become_the_earlier_moment() {
        let utc = |local: &str| {
            let as_if_utc: Timestamp = format!("{local}Z").parse().unwrap();
            Timestamp::from_second(Berlin::to_utc(as_if_utc.as_second()).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(utc("2024-03-31T01:59:59"), "2024-03-31T00:59:59Z");
        assert_eq!(utc("2024-03-31T02:00:00"), "2024-03-31T00:00:00Z");
        assert_eq!(utc("2024-03-31T02:30:00"), "2024-03-31T00:30:00Z");
        assert_eq!(utc("2024-03-31T03:00:00"), "2024-03-31T01:00:00Z");
        assert_eq!(utc("2024-10-27T02:30:00"), "2024-10-27T00:30:00Z");
        assert_eq!(utc("2024-10-27T03:00:00"), "2024-10-27T02:00:00Z");
        assert_eq!(utc("1900-01-01T00:00:00"), "1899-12-31T23:00:00Z");
    }

    #[test]
    fn local_times_reach_to_the_last_second_of_the_calendar() {
        const LAST: i64 = 253_402_300_799;
        assert_eq!(Berlin::to_utc(LAST), Ok(LAST - 3600));
        assert_eq!(Berlin::to_utc(LAST + 1), Err(ValueError::OutOfRange));
    }

    #[test]
    fn an_unknown_zone_reads_no_local_times() {
        assert_eq!(Nowhere::to_utc(0), Err(ValueError::UnknownZone));
        assert_eq!(Berlin::to_utc(i64::MAX), Err(ValueError::OutOfRange));
    }
}
