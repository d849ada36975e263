//! The calendar: days since 1970-01-01 from year, month and day, in the proleptic Gregorian
//! calendar.

/// Seconds per day.
pub(crate) const DAY: i64 = 86_400;

/// Returns the number of days from 1970-01-01 to the date, or `None` if there is no such day.
#[inline]
pub(crate) fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(is_leap),
        _ => return None,
    };
    if day == 0 || day > last {
        return None;
    }
    // If years begin in March, a leap day is the last day of its year and shifts no month. Five
    // months then always have 153 days (Howard Hinnant,
    // <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>).
    let is_after_february = month > 2;
    let year = i32::from(year) - i32::from(!is_after_february);
    let month = i32::from(month) + if is_after_february { -3 } else { 9 };
    let before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + i32::from(day) - 1;
    Some(before_year + day_of_year - 719_468)
}

/// Returns the year, the month and the day that are `days` after 1970-01-01.
pub(crate) fn date_of(days: i64) -> (i64, u8, u8) {
    // The inverse of `days`, over eras of 400 years that begin in March.
    const DAYS_PER_ERA: i64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = (months_since_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_days_have_consecutive_numbers() {
        let mut expected = days(1, 1, 1);
        assert_eq!(expected, Some(-719_162));
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(found) = days(year, month, day) {
                        assert_eq!(Some(found), expected, "{year}-{month}-{day}");
                        assert_eq!(date_of(found.into()), (i64::from(year), month, day));
                        expected = Some(found + 1);
                    }
                }
            }
        }
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2024, 2, 29), Some(19_782));
        assert_eq!(days(9999, 12, 31), Some(2_932_896));
    }

    #[test]
    fn days_outside_of_their_month_are_invalid() {
        for (year, month, day) in [
            (2023, 2, 29),
            (1900, 2, 29),
            (2024, 4, 31),
            (2024, 0, 1),
            (2024, 13, 1),
            (2024, 1, 0),
        ] {
            assert_eq!(days(year, month, day), None);
        }
    }
}
