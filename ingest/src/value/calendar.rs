//! The calendar: days since 1970-01-01 from year, month and day, in the proleptic Gregorian
//! calendar.

/// Seconds per day.
pub(super) const DAY: i64 = 86_400;

/// Returns the number of days from 1970-01-01 to the date, or `None` if there is no such day.
#[inline]
pub(super) fn days(year: u16, month: u8, day: u8) -> Option<i32> {
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
