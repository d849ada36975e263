//! Seconds with a fraction, as many senders write times in JSON: `1780000000.908181`.

use crate::{
    json::{Position, Reader},
    table::refusal::ValueError,
};

/// The nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// A number of seconds, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds {
    is_negative: bool,
    whole: i64,
    nanos: i64,
}

impl Seconds {
    /// Reads a JSON number that has a fraction, if the reader is lenient. Otherwise consumes
    /// nothing and returns `None`.
    ///
    /// # Errors
    /// The number has an exponent, or too many digits before the point.
    pub(super) fn read(json: &mut Reader<'_>) -> Result<Option<Self>, ValueError> {
        if !json.is_lenient() {
            return Ok(None);
        }
        let start: Position = json.position();
        let Some((whole, fraction)) = json.number()?.split_once('.') else {
            json.seek(start);
            return Ok(None);
        };
        if fraction.contains(['e', 'E']) {
            return Err(ValueError::NotAnInteger);
        }
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        Ok(Some(Self {
            is_negative: digits.len() < whole.len(),
            whole: digits.parse().map_err(|_| ValueError::OutOfRange)?,
            nanos: nanos.fold(0, |nanos, digit| nanos * 10 + i64::from(digit - b'0')),
        }))
    }

    /// Returns the number of units of 1/`per_second` seconds, with at most 10^9 per second. Drops a
    /// fraction of a unit, as a time of day does.
    ///
    /// # Errors
    /// The number does not fit.
    pub(super) fn units(self, per_second: i64) -> Result<i64, ValueError> {
        let units = self.whole.checked_mul(per_second);
        let units = units.and_then(|units| units.checked_add(self.nanos / (NANOS / per_second)));
        let units = units.ok_or(ValueError::OutOfRange)?;
        Ok(if self.is_negative { -units } else { units })
    }

    /// Returns the nanoseconds, with their sign.
    pub(super) fn nanos(self) -> i128 {
        let nanos = i128::from(self.whole) * i128::from(NANOS) + i128::from(self.nanos);
        if self.is_negative { -nanos } else { nanos }
    }

    /// Returns the number of units, rounded down, as a date is; otherwise like
    /// [`units`](Self::units).
    ///
    /// # Errors
    /// The number does not fit.
    pub(super) fn units_before(self, per_second: i64) -> Result<i64, ValueError> {
        let is_between = self.is_negative && self.nanos % (NANOS / per_second) != 0;
        Ok(self.units(per_second)? - i64::from(is_between))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn units(text: &str, per_second: i64) -> Result<Option<i64>, ValueError> {
        let mut json = Reader::new(text);
        json.set_lenient(true);
        let seconds = Seconds::read(&mut json)?;
        seconds.map(|seconds| seconds.units(per_second)).transpose()
    }

    #[test]
    fn digits_beyond_the_unit_are_dropped() {
        for (text, per_second, expected) in [
            ("1780000000.908181", 1, 1_780_000_000),
            ("1780000000.908181", 1000, 1_780_000_000_908),
            ("1780000000.908181", 1_000_000_000, 1_780_000_000_908_181_000),
            ("1780000000.90818199999999", 1_000_000, 1_780_000_000_908_181),
            ("1780000000.0", 1000, 1_780_000_000_000),
            ("-1.5", 1000, -1500),
            ("-1.5", 1, -1),
            ("0.0019", 1000, 1),
        ] {
            assert_eq!(units(text, per_second), Ok(Some(expected)), "{text}");
        }
        for text in ["1e3", "1780000000"] {
            assert_eq!(units(text, 1000), Ok(None), "{text}");
        }
        let mut json = Reader::new("-1.5");
        json.set_lenient(true);
        let seconds = Seconds::read(&mut json).unwrap().unwrap();
        assert_eq!((seconds.units_before(1), seconds.units_before(10)), (Ok(-2), Ok(-15)));
        assert_eq!(units("1.5e3", 1000), Err(ValueError::NotAnInteger));
        assert_eq!(units("99999999999999999999.5", 1), Err(ValueError::OutOfRange));
        assert_eq!(units("9223372036854775807.5", 1000), Err(ValueError::OutOfRange));
        assert_eq!(Seconds::read(&mut Reader::new("1.5")), Ok(None), "the reader is strict");
    }
}
