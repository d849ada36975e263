//! Time zones of columns: where the local times of a `DateTime('Europe/Berlin')` are read.

use std::{fmt::Debug, hash::Hash};

use jiff::{Timestamp, tz::TimeZone};

use crate::refusal::Problem;

/// The time zone of a column, as a type. [`zone!`](crate::zone) declares them.
pub trait Zone: Debug + Clone + Copy + Default + PartialEq + Eq + PartialOrd + Ord + Hash + 'static {
    /// Returns the time zone, [unknown](TimeZone::unknown) if the database of time zones does not have it.
    fn zone() -> &'static TimeZone;

    /// Returns the seconds since 1970 in UTC of a local time, given as if it were UTC.
    ///
    /// Of a local time that is skipped or that comes twice, the earlier moment, as in ClickHouse.
    ///
    /// # Errors
    /// The zone is unknown, or the time is not between the years 1 and 9999.
    fn to_utc(local_seconds: i64) -> Result<i64, Problem> {
        let zone = Self::zone();
        if zone.is_unknown() {
            return Err(Problem::UnknownZone);
        }
        let as_if_utc = Timestamp::from_second(local_seconds).map_err(|_| Problem::OutOfRange)?;
        let local = TimeZone::UTC.to_datetime(as_if_utc);
        let moment = zone
            .to_ambiguous_timestamp(local)
            .earlier()
            .map_err(|_| Problem::OutOfRange)?;
        Ok(moment.as_second())
    }
}

/// UTC, which needs no database of time zones: the zone of columns that name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc;

impl Zone for Utc {
    fn zone() -> &'static TimeZone {
        static UTC: TimeZone = TimeZone::UTC;
        &UTC
    }

    #[inline]
    fn to_utc(local_seconds: i64) -> Result<i64, Problem> {
        Ok(local_seconds)
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
/// # Ok::<(), rowmill_ingest::refusal::Problem>(())
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
                    ::std::sync::LazyLock::new(|| TimeZone::get($zone).unwrap_or_else(|_| TimeZone::unknown()));
                &ZONE
            }
        }
    )+ };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    crate::zone! {
        struct Berlin = "Europe/Berlin";
        struct Nowhere = "Nowhere/Atall";
    }

    #[test]
    fn local_times_that_are_skipped_or_come_twice_become_the_earlier_moment() {
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
    fn an_unknown_zone_reads_no_local_times() {
        assert_eq!(Nowhere::to_utc(0), Err(Problem::UnknownZone));
        assert_eq!(Berlin::to_utc(i64::MAX), Err(Problem::OutOfRange));
    }
}
