//! Far-off dates: clients that choose dates choose partitions, so a column can limit how far a date
//! is from the event's arrival.

use jiff::Timestamp;

use crate::{
    intake::event_meta::EventMeta,
    table::{
        Column,
        refusal::{InvalidColumns, ValueError},
    },
    value::{Date, Date32, DateTime, DateTime64, Zone},
};

const SECONDS_PER_DAY: i64 = 86_400;

/// A date, or a time with a date.
pub trait Dated {
    /// Returns the first and the last second since 1970 that the value may mean; `None` for NULL.
    fn seconds(&self) -> Option<(i64, i64)>;
}

impl Dated for Date {
    fn seconds(&self) -> Option<(i64, i64)> {
        Some(day(self.0.into()))
    }
}

impl Dated for Date32 {
    fn seconds(&self) -> Option<(i64, i64)> {
        Some(day(self.0.into()))
    }
}

impl<Z: Zone> Dated for DateTime<Z> {
    fn seconds(&self) -> Option<(i64, i64)> {
        let seconds = Self::seconds(*self).into();
        Some((seconds, seconds))
    }
}

impl<const P: u8, Z: Zone> Dated for DateTime64<P, Z> {
    fn seconds(&self) -> Option<(i64, i64)> {
        let seconds = self.ticks().div_euclid(10_i64.pow(P.into()));
        Some((seconds, seconds))
    }
}

impl<T: Dated> Dated for Option<T> {
    fn seconds(&self) -> Option<(i64, i64)> {
        self.as_ref()?.seconds()
    }
}

/// Returns the first and the last second of a day in UTC. In other time zones the day begins or
/// ends up to 14 hours earlier or later; the column's limits must allow for that.
const fn day(days: i64) -> (i64, i64) {
    (days * SECONDS_PER_DAY, (days + 1) * SECONDS_PER_DAY - 1)
}

/// Reports a date that is more than `max_age` seconds before the event's arrival, or more than
/// `max_ahead` seconds after it. A day is valid if any second of it is.
pub fn check_date(
    value: &impl Dated,
    meta: &EventMeta<'_>,
    max_age: Option<u32>,
    max_ahead: Option<u32>,
    column: &'static Column,
    invalid: &mut InvalidColumns,
) {
    let Some((first, last)) = value.seconds() else { return };
    let now = i64::try_from(meta.unix_ms / 1000).unwrap_or(i64::MAX);
    let is_early = max_age.is_some_and(|max_age| last < now.saturating_sub(max_age.into()));
    let is_late = max_ahead.is_some_and(|max_ahead| first > now.saturating_add(max_ahead.into()));
    if is_early || is_late {
        let got = Timestamp::from_second(first).map_or_else(|_| first.to_string(), |time| time.to_string());
        invalid.push(column, ValueError::FarOffDate, &got);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::ColumnKind, value::Utc};

    static COLUMN: Column = Column::new("at", "Date", "", ColumnKind::Plain);

    const DAY: u32 = 86_400;

    fn rejected(value: &impl Dated, max_age: Option<u32>, max_ahead: Option<u32>) -> Option<String> {
        let mut invalid = InvalidColumns::default();
        let meta = EventMeta {
            // The middle of day 100.
            unix_ms: 100_500 * u64::from(DAY),
            ..EventMeta::default()
        };
        check_date(value, &meta, max_age, max_ahead, &COLUMN, &mut invalid);
        invalid.into_vec().pop().map(|column| column.got)
    }

    #[test]
    fn a_date_far_from_the_arrival_is_rejected() {
        let (age, ahead) = (Some(2 * DAY), Some(DAY));
        for (day, is_rejected) in [
            (97, true),
            (98, false),
            (100, false),
            (101, false),
            (102, true),
            (u16::MAX, true),
        ] {
            assert_eq!(rejected(&Date(day), age, ahead).is_some(), is_rejected, "{day}");
        }
        assert_eq!(rejected(&Date(97), age, ahead).as_deref(), Some("1970-04-08T00:00:00Z"));
        assert_eq!(rejected(&Date(0), None, ahead), None);
        assert_eq!(rejected(&Date(u16::MAX), age, None), None);
        assert!(rejected(&Date32(-25_567), age, ahead).is_some());
    }

    #[test]
    fn a_time_is_compared_by_the_second() {
        let now = 100 * DAY + DAY / 2;
        let time = |seconds: u32| rejected(&DateTime::<Utc>::from_seconds(seconds), Some(60), Some(10));
        assert!(time(now - 61).is_some() && time(now - 60).is_none());
        assert!(time(now + 10).is_none() && time(now + 11).is_some());
        let ticks = |ticks: i64| rejected(&Some(DateTime64::<9, Utc>::from_ticks(ticks)), Some(60), Some(10));
        assert!(ticks(i64::from(now) * 1_000_000_000).is_none());
        assert!(ticks(i64::MAX).is_some() && ticks(i64::MIN).is_some());
        assert_eq!(rejected(&None::<Date>, Some(1), Some(1)), None);
    }
}
