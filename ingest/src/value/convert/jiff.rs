//! Conversions from and to the types of jiff.

use jiff::{
    Span, Timestamp,
    civil::{self, date},
};

use crate::{
    table::refusal::ValueError,
    value::{Date, Date32, DateTime, DateTime64, Zone},
};

const EPOCH: civil::Date = date(1970, 1, 1);

fn days_of(date: civil::Date) -> i64 {
    EPOCH.duration_until(date).as_hours() / 24
}

fn date_of(days: i32) -> civil::Date {
    // Each `Date32` is far from the limits of jiff.
    EPOCH.saturating_add(Span::new().days(days))
}

impl From<Date> for civil::Date {
    fn from(date: Date) -> Self {
        date_of(date.0.into())
    }
}

impl From<Date32> for civil::Date {
    fn from(date: Date32) -> Self {
        // Only code that makes a `Date32` of its own can leave the years of ClickHouse.
        date_of(date.0.clamp(-719_162, 2_932_896))
    }
}

impl TryFrom<civil::Date> for Date {
    type Error = ValueError;

    fn try_from(date: civil::Date) -> Result<Self, ValueError> {
        Self::from_days(days_of(date))
    }
}

impl TryFrom<civil::Date> for Date32 {
    type Error = ValueError;

    fn try_from(date: civil::Date) -> Result<Self, ValueError> {
        Self::from_days(days_of(date))
    }
}

impl<Z: Zone> From<DateTime<Z>> for Timestamp {
    fn from(time: DateTime<Z>) -> Self {
        Self::from_second(i64::from(time.seconds())).unwrap_or(Self::MAX)
    }
}

impl<Z: Zone> TryFrom<Timestamp> for DateTime<Z> {
    type Error = ValueError;

    fn try_from(time: Timestamp) -> Result<Self, ValueError> {
        Self::from_wide(time.as_nanosecond().div_euclid(1_000_000_000) as i64)
    }
}

/// Fails for the last day of the year 9999, which jiff does not have.
impl<const P: u8, Z: Zone> TryFrom<DateTime64<P, Z>> for Timestamp {
    type Error = ValueError;

    fn try_from(time: DateTime64<P, Z>) -> Result<Self, ValueError> {
        Self::from_nanosecond(time.nanos()).map_err(|_| ValueError::OutOfRange)
    }
}

impl<const P: u8, Z: Zone> TryFrom<Timestamp> for DateTime64<P, Z> {
    type Error = ValueError;

    fn try_from(time: Timestamp) -> Result<Self, ValueError> {
        Self::from_nanos(time.as_nanosecond())
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
            let jiff: civil::Date = text.parse().unwrap();
            assert_eq!((civil::Date::from(own), Date::try_from(jiff)), (jiff, Ok(own)));
        }
        for text in ["1900-01-01", "1969-12-31", "2299-12-31"] {
            let own: Date32 = text.parse().unwrap();
            let jiff: civil::Date = text.parse().unwrap();
            assert_eq!((civil::Date::from(own), Date32::try_from(jiff)), (jiff, Ok(own)));
            assert_eq!(Date::try_from(jiff), Err(ValueError::OutOfRange));
        }
        let time: Timestamp = "2024-02-29T12:13:14.567891234Z".parse().unwrap();
        let seconds = DateTime::<crate::value::Utc>::try_from(time).unwrap();
        assert_eq!(Timestamp::from(seconds).to_string(), "2024-02-29T12:13:14Z");
        let millis = DateTime64::<3>::try_from(time).unwrap();
        assert_eq!(millis.to_string(), "2024-02-29 12:13:14.567");
        assert_eq!(
            Timestamp::try_from(millis).unwrap().to_string(),
            "2024-02-29T12:13:14.567Z"
        );
        assert_eq!(Timestamp::try_from(DateTime64::<9>::try_from(time).unwrap()), Ok(time));
        let early: Timestamp = "1969-12-31T23:59:59.9995Z".parse().unwrap();
        assert_eq!(DateTime64::<3>::try_from(early).unwrap().ticks(), -1);
        assert_eq!(
            DateTime::<crate::value::Utc>::try_from(early),
            Err(ValueError::OutOfRange)
        );
        let far = DateTime64::<9>::try_from("2300-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(far, Err(ValueError::OutOfRange));
        let last: DateTime64<3> = "9999-12-31 23:59:59.999".parse().unwrap();
        assert_eq!(Timestamp::try_from(last), Err(ValueError::OutOfRange));
    }
}
