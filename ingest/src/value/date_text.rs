//! Dates with times as people and programs write them: the text of `DateTime` and `DateTime64`.
//!
//! Nearly all of them are in [ISO 8601](https://www.rfc-editor.org/rfc/rfc3339) or in the form that
//! ClickHouse prints; [`iso`] reads both at once. The other forms of ClickHouse's
//! [best effort](https://clickhouse.com/docs/operations/settings/formats#date_time_input_format)
//! are read piece by piece:
//!
//! - seconds since 1970 with 9 or 10 digits and a fraction; milliseconds (13), microseconds (16)
//!   and nanoseconds (19);
//! - `20240229121314`, `20240229T121314`, `20240229`, `202402`, `2024`, `2024-02`;
//! - `29.02.2024 12:13` (also with `/` and `-`, with a year of two digits, and with the month first
//!   if no other reading is possible);
//! - `Thu, 29 Feb 2024 12:13:14 +0300`, `Feb 29, 2024 1:13 PM`, `Thu Feb 29 12:13:14 UTC 2024`,
//!   `29-Feb-2024`;
//! - after each of them `Z`, `UTC`, `GMT`, `MSK`, `MSD` or an offset.
//!
//! Text without a year is refused: ClickHouse takes the year from the clock, so the text means
//! another time each year. Dates whose numbers are separated by spaces, like `2024 02 29`, are
//! refused too.

use super::calendar;
use crate::table::refusal::ValueError;

/// The time in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Seconds since 1970, in local time if there is no offset.
    pub(super) seconds: i64,
    /// Nanoseconds after the second.
    pub(super) nanos: u32,
    /// The seconds by which local time is ahead of UTC, if the text contains an offset.
    pub(super) offset: Option<i32>,
}

const HOUR: i32 = 3600;
const MINUTE: i32 = 60;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Reads a date, or a date with a time.
///
/// # Errors
/// [`ValueError::Malformed`]: the text is in none of the forms, or there is no such day or time.
#[inline]
pub(super) fn parse(text: &str) -> Result<Moment, ValueError> {
    let bytes = text.as_bytes();
    iso(bytes).or_else(|| best_effort(bytes)).ok_or(ValueError::Malformed)
}

/// Reads `YYYY-MM-DD`, alone or followed by `hh:mm:ss`, a fraction, and `Z` or an offset.
#[inline]
fn iso(text: &[u8]) -> Option<Moment> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else {
        return None;
    };
    let year = u16::from(two_digits(*y1, *y2)?) * 100 + u16::from(two_digits(*y3, *y4)?);
    let midnight = date(year, two_digits(*m1, *m2)?, two_digits(*d1, *d2)?)?;
    let (seconds, rest) = match rest {
        [] => (0, rest),
        [b'T' | b' ' | b't', h1, h2, b':', i1, i2, b':', s1, s2, rest @ ..] => (
            time(two_digits(*h1, *h2)?, two_digits(*i1, *i2)?, two_digits(*s1, *s2)?)?,
            rest,
        ),
        _ => return None,
    };
    let (nanos, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest),
        _ => (0, rest),
    };
    let offset = match rest {
        [] => None,
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            Some(signed(*sign, offset(two_digits(*h1, *h2)?, two_digits(*m1, *m2)?)?))
        }
        _ => return None,
    };
    Some(Moment {
        seconds: midnight + seconds,
        nanos,
        offset,
    })
}

#[inline]
fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| tens * 10 + ones)
}

/// Returns the seconds from 1970 to the start of a day. Refuses the year 0, as ClickHouse does.
#[inline]
fn date(year: u16, month: u8, day: u8) -> Option<i64> {
    let days = calendar::days(year, month, day).filter(|_| year > 0)?;
    Some(i64::from(days) * calendar::DAY)
}

/// Returns the seconds since the start of the day. Accepts a leap second, and 24:00:00 as the day's
/// end.
#[inline]
fn time(hour: u8, minute: u8, second: u8) -> Option<i64> {
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let is_end = hour == 24 && minute == 0 && second == 0;
    (is_time || is_end).then(|| i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}

fn offset(hours: u8, minutes: u8) -> Option<i32> {
    (hours < 24 && minutes < 60).then(|| i32::from(hours) * HOUR + i32::from(minutes) * MINUTE)
}

fn signed(sign: u8, offset: i32) -> i32 {
    if sign == b'-' { -offset } else { offset }
}

/// Reads the digits of a fraction as nanoseconds, and returns them with the rest of the text.
/// Ignores digits after the ninth.
#[inline]
pub(super) fn fraction(text: &[u8]) -> (u32, &[u8]) {
    let mut nanos = 0;
    let mut unit = 100_000_000;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        nanos += u32::from(digit - b'0') * unit;
        unit /= 10;
        rest = after;
    }
    (nanos, rest)
}

#[cold]
fn best_effort(text: &[u8]) -> Option<Moment> {
    let mut pieces = Pieces {
        rest: text,
        ..Pieces::default()
    };
    if let Some(moment) = pieces.unix_time() {
        return moment;
    }
    while !pieces.rest.is_empty() {
        pieces.take()?;
    }
    pieces.moment()
}

/// The parts of a date that were found so far.
#[derive(Debug, Default)]
struct Pieces<'a> {
    rest: &'a [u8],
    year: Option<u16>,
    month: Option<u8>,
    day: Option<u8>,
    time: Option<(u8, u8, u8)>,
    half: Option<Half>,
    nanos: Option<u32>,
    offset: Option<i32>,
}

/// Half of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Am,
    Pm,
}

impl<'a> Pieces<'a> {
    /// Reads the whole text as a time since 1970 if its number of digits fits one. The inner `None`
    /// is a malformed time.
    fn unix_time(&self) -> Option<Option<Moment>> {
        let length = digits(self.rest);
        let (digits, rest) = self.rest.split_at(length);
        let per_second = match length {
            9 | 10 => 1,
            13 => 1_000,
            16 => 1_000_000,
            19 => 1_000_000_000,
            _ => return None,
        };
        let (nanos, rest) = match rest {
            [b'.', rest @ ..] if per_second == 1 => fraction(rest),
            _ => (0, rest),
        };
        let value = number(digits);
        let below_second = value % per_second * (1_000_000_000 / per_second);
        Some(rest.is_empty().then_some(Moment {
            seconds: (value / per_second) as i64,
            nanos: nanos + below_second as u32,
            offset: Some(0),
        }))
    }

    /// Consumes one piece from the front of the rest.
    fn take(&mut self) -> Option<()> {
        match *self.rest {
            [b' ' | b',', ref rest @ ..] => self.rest = rest,
            [b'0'..=b'9', ..] => self.take_number()?,
            [b'.', ref rest @ ..] if self.time.is_some() && self.nanos.is_none() => {
                let (nanos, rest) = fraction(rest);
                (self.nanos, self.rest) = (Some(nanos), rest);
            }
            [sign @ (b'+' | b'-'), ref rest @ ..] if self.has_date() || self.time.is_some() => {
                self.rest = rest;
                self.take_offset(sign)?;
            }
            [first, ..] if first.is_ascii_alphabetic() => self.take_word()?,
            _ => return None,
        }
        Some(())
    }

    fn take_number(&mut self) -> Option<()> {
        let length = digits(self.rest);
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        let part = |from: usize, until: usize| number(&run[from..until]) as u8;
        match length {
            14 if self.is_empty() => {
                self.set_date(number(&run[..4]) as u16, part(4, 6), part(6, 8));
                self.time = Some((part(8, 10), part(10, 12), part(12, 14)));
            }
            8 if !self.has_date() => self.set_date(number(&run[..4]) as u16, part(4, 6), part(6, 8)),
            6 if !self.has_date() => {
                self.year = Some(number(&run[..4]) as u16);
                self.month = Some(part(4, 6));
            }
            6 if self.time.is_none() => self.time = Some((part(0, 2), part(2, 4), part(4, 6))),
            4 if self.year.is_none() => self.take_year(number(run) as u16)?,
            1 | 2 => self.take_short_number(number(run) as u8)?,
            _ => return None,
        }
        Some(())
    }

    /// Takes a year and the month and day that may follow it.
    fn take_year(&mut self, year: u16) -> Option<()> {
        self.year = Some(year);
        if self.month.is_none()
            && let [separator @ (b'-' | b'/' | b'.' | b':'), b'0'..=b'9', ..] = *self.rest
        {
            self.rest = &self.rest[1..];
            self.month = Some(self.take_one_or_two()?);
            if let [other @ (b'-' | b'/' | b'.' | b':'), b'0'..=b'9', ..] = *self.rest {
                // `2024/02-03` could also be a month and an offset.
                if other != separator {
                    return None;
                }
                self.rest = &self.rest[1..];
                self.day = Some(self.take_one_or_two()?);
            }
        }
        Some(())
    }

    /// Takes a number of one or two digits: an hour, a day, or a month before a day.
    fn take_short_number(&mut self, first: u8) -> Option<()> {
        match *self.rest {
            [b':', b'0'..=b'9', ..] if self.time.is_none() => {
                self.rest = &self.rest[1..];
                let minute = self.take_one_or_two()?;
                let mut second = 0;
                if let [b':', b'0'..=b'9', ..] = self.rest {
                    self.rest = &self.rest[1..];
                    second = self.take_one_or_two()?;
                }
                self.time = Some((first, minute, second));
            }
            [separator @ (b'-' | b'/' | b'.'), ref rest @ ..] if !self.has_date() => {
                self.rest = rest;
                let (day, month) = if rest.first()?.is_ascii_alphabetic() {
                    self.take_word()?;
                    (first, self.month?)
                } else {
                    let second = self.take_one_or_two()?;
                    if second > 12 && first <= 12 {
                        (second, first)
                    } else {
                        (first, second)
                    }
                };
                self.rest = self.rest.strip_prefix(&[separator])?;
                let length = digits(self.rest);
                let (year, rest) = self.rest.split_at(length);
                let year = match (length, number(year) as u16) {
                    (4, year) => year,
                    (2, year @ 70..) => 1900 + year,
                    (2, year) => 2000 + year,
                    _ => return None,
                };
                self.rest = rest;
                self.set_date(year, month, day);
            }
            // Only next to a month's name: two bare numbers are ambiguous.
            _ if self.day.is_none() && (self.month.is_some() || self.is_before_month()) => self.day = Some(first),
            _ if self.has_date() && self.day.is_some() && self.time.is_none() => self.time = Some((first, 0, 0)),
            _ => return None,
        }
        Some(())
    }

    fn take_one_or_two(&mut self) -> Option<u8> {
        let length = digits(self.rest);
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length == 1 || length == 2).then(|| number(run) as u8)
    }

    /// Takes `3`, `03`, `330`, `0330`, `3:30` or `03:30`.
    fn take_offset(&mut self, sign: u8) -> Option<()> {
        let length = digits(self.rest);
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        let value = number(run);
        let (hours, minutes) = match length {
            1 | 2 => {
                let minutes = match self.rest {
                    [b':', rest @ ..] => {
                        self.rest = rest;
                        self.take_one_or_two()?
                    }
                    _ => 0,
                };
                (value as u8, minutes)
            }
            3 | 4 => ((value / 100) as u8, (value % 100) as u8),
            _ => return None,
        };
        self.set_offset(signed(sign, offset(hours, minutes)?))
    }

    fn take_word(&mut self) -> Option<()> {
        let (word, rest) = self.rest.split_at(letters(self.rest));
        self.rest = rest;
        match word.to_ascii_lowercase().as_slice() {
            b"t" if self.has_date() && self.time.is_none() => {}
            b"z" | b"utc" | b"gmt" => self.set_offset(0)?,
            b"msk" => self.set_offset(3 * HOUR)?,
            b"msd" => self.set_offset(4 * HOUR)?,
            b"am" => self.half = Some(Half::Am),
            b"pm" => self.half = Some(Half::Pm),
            _ => match month(word) {
                Some(month) if self.month.is_none() => self.month = Some(month),
                Some(_) => return None,
                None => {
                    index_of(word, &WEEKDAYS)?;
                }
            },
        }
        Some(())
    }

    /// Sets the offset. A second one is an error, unless the first is 0: `UTC+3` is one offset.
    fn set_offset(&mut self, offset: i32) -> Option<()> {
        let is_first = self.offset.is_none_or(|offset| offset == 0);
        self.offset = Some(offset);
        is_first.then_some(())
    }

    fn is_empty(&self) -> bool {
        !self.has_date() && self.time.is_none()
    }

    fn has_date(&self) -> bool {
        self.year.is_some() || self.month.is_some() || self.day.is_some()
    }

    fn set_date(&mut self, year: u16, month: u8, day: u8) {
        (self.year, self.month, self.day) = (Some(year), Some(month), Some(day));
    }

    /// Returns whether the name of a month is next.
    fn is_before_month(&self) -> bool {
        let rest = self.rest.trim_ascii_start();
        month(&rest[..letters(rest)]).is_some()
    }

    /// Combines the pieces. A part that is missing at the end has its first value: the first month,
    /// the first day, midnight.
    fn moment(&self) -> Option<Moment> {
        let month = match (self.month, self.day) {
            (None, Some(_)) => return None,
            (month, _) => month.unwrap_or(1),
        };
        let midnight = date(self.year?, month, self.day.unwrap_or(1))?;
        let seconds = match (self.time, self.half) {
            (Some((hour @ ..12, minute, second)), Some(Half::Pm)) => time(hour + 12, minute, second)?,
            (Some((12, minute, second)), Some(Half::Am)) => time(0, minute, second)?,
            (Some((hour, minute, second)), _) => time(hour, minute, second)?,
            (None, None) => 0,
            (None, Some(_)) => return None,
        };
        Some(Moment {
            seconds: midnight + seconds,
            nanos: self.nanos.unwrap_or(0),
            offset: self.offset,
        })
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn letters(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()
}

/// Returns the value of at most 19 digits.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| {
        number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    })
}

fn month(word: &[u8]) -> Option<u8> {
    index_of(word, &MONTHS).map(|index| index as u8 + 1)
}

/// Returns the index of the name that `word` equals or abbreviates, with at least three letters.
fn index_of(word: &[u8], names: &[&str]) -> Option<usize> {
    let is_name = |name: &&str| {
        word.len() >= 3
            && name
                .as_bytes()
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    names.iter().position(is_name)
}
