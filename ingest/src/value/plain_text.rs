//! Dates, times and decimals as text, in the form in which ClickHouse writes and reads them.
//!
//! ClickHouse writes a date-time in the zone of its column, and a decimal without zeros at the end
//! of its fraction (`output_format_decimal_trailing_zeros` is 0 by default).

use std::{
    borrow::Cow,
    fmt::{self, Debug, Display, Formatter, Write},
    str::FromStr,
};

use super::{
    Date, Date32, DateTime, DateTime64, Decimal32, Decimal64, Decimal128, Decimal256, Decode, Time, Time64, Zone,
    calendar::{DAY, date_of},
};
use crate::table::refusal::ValueError;

macro_rules! from_text_and_debug {
    ($([$($parameters:tt)*] $type:ty),+ $(,)?) => { $(
        /// Reads the value as from the text of an event. An empty text is no value.
        impl<$($parameters)*> FromStr for $type {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                if text.is_empty() {
                    return Err(ValueError::Malformed);
                }
                Self::from_text(Cow::Borrowed(text))
            }
        }

        /// Writes the type and the value as text: `Date(2024-02-29)`.
        impl<$($parameters)*> Debug for $type {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let name = stringify!($type).split('<').next().unwrap_or_default().trim_end();
                f.debug_tuple(name).field(&format_args!("{self}")).finish()
            }
        }
    )+ };
}

from_text_and_debug! {
    [] Date, [] Date32, [Z: Zone] DateTime<Z>, [const P: u8, Z: Zone] DateTime64<P, Z>,
    [] Time, [const P: u8] Time64<P>,
    [const P: u8, const S: u8] Decimal32<P, S>,
    [const P: u8, const S: u8] Decimal64<P, S>,
    [const P: u8, const S: u8] Decimal128<P, S>,
    [const P: u8, const S: u8] Decimal256<P, S>,
}

/// Writes `2024-02-29`.
impl Display for Date {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_date(i64::from(self.0), f)
    }
}

/// Writes `2024-02-29`.
impl Display for Date32 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_date(i64::from(self.0), f)
    }
}

/// Writes `2024-02-29 12:13:14`, in the time zone of the column.
impl<Z: Zone> Display for DateTime<Z> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_local(Z::to_local(i64::from(self.seconds())), f)
    }
}

/// Writes `2024-02-29 12:13:14.123`, in the time zone of the column.
impl<const P: u8, Z: Zone> Display for DateTime64<P, Z> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.ticks().div_euclid(Self::PER_SECOND);
        write_local(Z::to_local(seconds), f)?;
        write_fraction(self.ticks().rem_euclid(Self::PER_SECOND), P, f)
    }
}

/// Writes `12:13:14`; the hours may be more than 23.
impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_time(self.0 < 0, u64::from(self.0.unsigned_abs()), f)
    }
}

/// Writes `12:13:14.123`; the hours may be more than 23.
impl<const P: u8> Display for Time64<P> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let per_second = 10_u64.pow(P.into());
        let ticks = self.0.unsigned_abs();
        write_time(self.0 < 0, ticks / per_second, f)?;
        write_fraction((ticks % per_second).cast_signed(), P, f)
    }
}

/// Writes the day that is this many days after 1970-01-01.
pub(crate) fn write_date(days: i64, f: &mut impl Write) -> fmt::Result {
    let (year, month, day) = date_of(days);
    write!(f, "{year:04}-{month:02}-{day:02}")
}

fn write_local(seconds: i64, f: &mut Formatter<'_>) -> fmt::Result {
    write_date(seconds.div_euclid(DAY), f)?;
    f.write_str(" ")?;
    write_time(false, seconds.rem_euclid(DAY).unsigned_abs(), f)
}

/// Writes a number of seconds as hours, minutes and seconds.
pub(crate) fn write_time(is_negative: bool, seconds: u64, f: &mut impl Write) -> fmt::Result {
    let sign = if is_negative { "-" } else { "" };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(f, "{sign}{hours:02}:{minutes:02}:{seconds:02}")
}

/// Writes a fraction of a second, in units of its last digit; nothing without digits.
pub(crate) fn write_fraction(ticks: i64, digits: u8, f: &mut impl Write) -> fmt::Result {
    match digits {
        0 => Ok(()),
        _ => write!(f, ".{ticks:0width$}", width = usize::from(digits)),
    }
}

macro_rules! decimal_text {
    ($($name:ident: |$number:ident| $digits:expr),+ $(,)?) => { $(
        /// Writes the number without zeros at the end of its fraction, such as `12.5`.
        impl<const P: u8, const S: u8> Display for $name<P, S> {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let $number = &self.0;
                write_decimal(&$digits, S, f)
            }
        }
    )+ };
}

decimal_text! {
    Decimal32: |number| number.to_string(),
    Decimal64: |number| number.to_string(),
    Decimal128: |number| number.to_string(),
    Decimal256: |number| number.0.to_string(),
}

/// Writes a number of units of its last digit, as `digits` with an optional sign.
fn write_decimal(digits: &str, scale: u8, f: &mut Formatter<'_>) -> fmt::Result {
    let (is_positive, text) = decimal(digits, scale);
    f.pad_integral(is_positive, "", &text)
}

/// Returns whether a number of units of its last digit is positive, and its text without the sign.
/// `digits` may have a sign.
pub(crate) fn decimal(digits: &str, scale: u8) -> (bool, String) {
    let (is_positive, digits) = match digits.strip_prefix('-') {
        Some(digits) => (false, digits),
        None => (true, digits),
    };
    let width = usize::from(scale) + 1;
    let padded = format!("{digits:0>width$}");
    let (whole, fraction) = padded.split_at(padded.len() - usize::from(scale));
    let fraction = fraction.trim_end_matches('0');
    let text = match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    };
    (is_positive, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Debug;

    use super::*;

    crate::zone! {
        struct Berlin = "Europe/Berlin";
    }

    fn same<T: Display + FromStr<Err = ValueError> + PartialEq + Debug>(value: T, text: &str) {
        assert_eq!(value.to_string(), text);
        assert_eq!(text.parse::<T>().unwrap(), value, "{text}");
    }

    #[test]
    fn dates_and_times_are_written_as_they_are_read() {
        same(Date(19_782), "2024-02-29");
        same(Date(0), "1970-01-01");
        same(Date(u16::MAX), "2149-06-06");
        same(Date32(-25_567), "1900-01-01");
        same(Date32(120_529), "2299-12-31");
        same(
            DateTime::<super::super::Utc>::from_seconds(1_709_208_794),
            "2024-02-29 12:13:14",
        );
        same(DateTime::<Berlin>::from_seconds(1_709_208_794), "2024-02-29 13:13:14");
        same(DateTime::<Berlin>::from_seconds(1_719_792_000), "2024-07-01 02:00:00");
        same(
            DateTime64::<3>::from_ticks(1_709_208_794_012),
            "2024-02-29 12:13:14.012",
        );
        same(DateTime64::<0>::from_ticks(-1), "1969-12-31 23:59:59");
        same(DateTime64::<3>::from_ticks(-1), "1969-12-31 23:59:59.999");
        same(DateTime64::<9>::from_ticks(1), "1970-01-01 00:00:00.000000001");
        same(
            DateTime64::<3>::from_ticks(253_402_300_799_999),
            "9999-12-31 23:59:59.999",
        );
        same(
            DateTime64::<3>::from_ticks(-62_135_596_800_000),
            "0001-01-01 00:00:00.000",
        );
        same(Time(43_994), "12:13:14");
        same(Time(-3_599_999), "-999:59:59");
        same(Time64::<3>(43_994_050), "12:13:14.050");
        same(Time64::<3>(-50), "-00:00:00.050");
        assert_eq!("".parse::<Date>(), Err(ValueError::Malformed));
        assert_eq!("tomorrow".parse::<DateTime>(), Err(ValueError::Malformed));
    }

    #[test]
    fn decimals_are_written_without_trailing_zeros() {
        same(Decimal32::<9, 2>(1250), "12.5");
        same(Decimal32::<9, 2>(-5), "-0.05");
        same(Decimal32::<9, 2>(100), "1");
        same(Decimal32::<9, 0>(100), "100");
        same(Decimal32::<9, 9>(-999_999_999), "-0.999999999");
        same(Decimal64::<18, 4>(0), "0");
        same(Decimal128::<38, 1>(i128::from(i64::MAX)), "922337203685477580.7");
        let wide: Decimal256<76, 75> = "-1.5".parse().unwrap();
        same(wide, "-1.5");
        assert_eq!(
            format!("{:>6}|{:+}", Decimal32::<9, 2>(1250), Decimal32::<9, 2>(1)),
            "  12.5|+0.01"
        );
        assert_eq!("".parse::<Decimal32<9, 2>>(), Err(ValueError::Malformed));
        assert_eq!("1e9".parse::<Decimal32<9, 2>>(), Err(ValueError::OutOfRange));
    }
}
