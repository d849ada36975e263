//! Conversions from and to the types of chrono.

use chrono::{DateTime as ChronoDateTime, Days, NaiveDate, Utc};

use crate::{
    table::refusal::ValueError,
    value::{Date, Date32, DateTime, DateTime64, Zone},
};

fn days_of(date: NaiveDate) -> i64 {
    (date - NaiveDate::default()).num_days()
}

fn date_of(days: i32) -> NaiveDate {
    // `NaiveDate::default()` is 1970-01-01.
    let size = Days::new(days.unsigned_abs().into());
    let date = match days < 0 {
        true => NaiveDate::default().checked_sub_days(size),
        false => NaiveDate::default().checked_add_days(size),
    };
    // Only code that makes a `Date32` of its own can leave the years of chrono.
    date.unwrap_or(if days < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
}

impl From<Date> for NaiveDate {
    fn from(date: Date) -> Self {
        date_of(date.0.into())
    }
}

impl From<Date32> for NaiveDate {
    fn from(date: Date32) -> Self {
        date_of(date.0)
    }
}

impl TryFrom<NaiveDate> for Date {
    type Error = ValueError;

    fn try_from(date: NaiveDate) -> Result<Self, ValueError> {
        Self::from_days(days_of(date))
    }
}

impl TryFrom<NaiveDate> for Date32 {
    type Error = ValueError;

    fn try_from(date: NaiveDate) -> Result<Self, ValueError> {
        Self::from_days(days_of(date))
    }
}

impl<Z: Zone> From<DateTime<Z>> for ChronoDateTime<Utc> {
    fn from(time: DateTime<Z>) -> Self {
        Self::from_timestamp(i64::from(time.seconds()), 0).unwrap_or(Self::MAX_UTC)
    }
}

impl<Z: Zone> TryFrom<ChronoDateTime<Utc>> for DateTime<Z> {
    type Error = ValueError;

    fn try_from(time: ChronoDateTime<Utc>) -> Result<Self, ValueError> {
        Self::from_wide(time.timestamp())
    }
}

impl<const P: u8, Z: Zone> From<DateTime64<P, Z>> for ChronoDateTime<Utc> {
    fn from(time: DateTime64<P, Z>) -> Self {
        let seconds = time.ticks().div_euclid(DateTime64::<P, Z>::PER_SECOND);
        let nanos = time.nanos().rem_euclid(1_000_000_000) as u32;
        // Only code that makes a `DateTime64` of its own can leave the years of chrono.
        let limit = if seconds < 0 { Self::MIN_UTC } else { Self::MAX_UTC };
        Self::from_timestamp(seconds, nanos).unwrap_or(limit)
    }
}

impl<const P: u8, Z: Zone> TryFrom<ChronoDateTime<Utc>> for DateTime64<P, Z> {
    type Error = ValueError;

    fn try_from(time: ChronoDateTime<Utc>) -> Result<Self, ValueError> {
        let nanos = i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
        Self::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dates_and_times_keep_their_value() {
        for text in ["1970-01-01", "2024-02-29", "2149-06-06"] {
            let own: Date = text.parse().unwrap();
            let chrono: NaiveDate = text.parse().unwrap();
            assert_eq!((NaiveDate::from(own), Date::try_from(chrono)), (chrono, Ok(own)));
        }
        for text in ["1900-01-01", "1969-12-31", "2299-12-31"] {
            let own: Date32 = text.parse().unwrap();
            let chrono: NaiveDate = text.parse().unwrap();
            assert_eq!((NaiveDate::from(own), Date32::try_from(chrono)), (chrono, Ok(own)));
            assert_eq!(Date::try_from(chrono), Err(ValueError::OutOfRange));
        }
        let time = ChronoDateTime::from_timestamp(1_709_208_794, 567_891_234).unwrap();
        let seconds = DateTime::<crate::value::Utc>::try_from(time).unwrap();
        assert_eq!(ChronoDateTime::<Utc>::from(seconds).timestamp(), 1_709_208_794);
        let millis = DateTime64::<3>::try_from(time).unwrap();
        assert_eq!(millis.to_string(), "2024-02-29 12:13:14.567");
        assert_eq!(
            ChronoDateTime::<Utc>::from(millis).timestamp_subsec_nanos(),
            567_000_000
        );
        assert_eq!(
            ChronoDateTime::<Utc>::from(DateTime64::<9>::try_from(time).unwrap()),
            time
        );
        let early = ChronoDateTime::from_timestamp(-1, 999_500_000).unwrap();
        assert_eq!(DateTime64::<3>::try_from(early).unwrap().ticks(), -1);
        assert_eq!(
            DateTime::<crate::value::Utc>::try_from(early),
            Err(ValueError::OutOfRange)
        );
        let far = ChronoDateTime::from_timestamp(10_413_792_000, 0).unwrap();
        assert_eq!(DateTime64::<9>::try_from(far), Err(ValueError::OutOfRange));
        let last: DateTime64<3> = "9999-12-31 23:59:59.999".parse().unwrap();
        assert_eq!(DateTime64::try_from(ChronoDateTime::<Utc>::from(last)), Ok(last));
    }
}
