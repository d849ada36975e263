//! Units of time: how the numbers of an event count the time since 1970, if the schema states it.

use super::{DateTime, DateTime64, Decode, Zone, date_time::PRINTABLE, seconds::Seconds};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The unit of a number that counts the time since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `s`
    Second,
    /// `ms`
    Millisecond,
    /// `us`
    Microsecond,
    /// `ns`
    Nanosecond,
}

impl Unit {
    /// Returns how many of the unit are in a second.
    const fn per_second(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Millisecond => 1_000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => 1_000_000_000,
        }
    }

    /// Reads a JSON number in this unit, and returns it in units of 1/`per_second` seconds, rounded
    /// down. By the lenient rules, the number may have a fraction.
    fn read(self, json: &mut Reader<'_>, per_second: i64) -> Result<i64, ValueError> {
        /// The smallest part of the unit that a fraction can express.
        const PARTS: i128 = 1_000_000_000;
        let parts = match json.small_integer() {
            Some(number) => i128::from(number) * PARTS,
            // The fraction of a number in any unit has the digits of one in seconds.
            None => match Seconds::read(json)? {
                Some(number) => number.nanos(),
                None => i128::from(i64::from_json(json)?) * PARTS,
            },
        };
        // At most 2^63 * 10^18, which 128 bits hold.
        let parts = parts * i128::from(per_second);
        i64::try_from(parts.div_euclid(PARTS * i128::from(self.per_second()))).map_err(|_| ValueError::OutOfRange)
    }
}

/// A type whose JSON numbers may be in another unit than that of the block.
pub trait DecodeUnit<'a>: Decode<'a> {
    /// Reads the JSON value at `json`, as [`from_json`](Decode::from_json) does, except that its
    /// numbers are in `unit`.
    ///
    /// # Errors
    /// As [`from_json`](Decode::from_json).
    fn from_json_in(json: &mut Reader<'a>, unit: Unit) -> Result<Self, ValueError>;
}

impl<'a, Z: Zone> DecodeUnit<'a> for DateTime<Z> {
    fn from_json_in(json: &mut Reader<'a>, unit: Unit) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Number => Self::from_wide(unit.read(json, 1)?),
            _ => Self::from_json(json),
        }
    }
}

impl<'a, const P: u8, Z: Zone> DecodeUnit<'a> for DateTime64<P, Z> {
    fn from_json_in(json: &mut Reader<'a>, unit: Unit) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Number => {
                let ticks = unit.read(json, Self::PER_SECOND)?;
                if PRINTABLE.contains(&ticks.div_euclid(Self::PER_SECOND)) {
                    Ok(Self::from_ticks(ticks))
                } else {
                    Err(ValueError::OutOfRange)
                }
            }
            _ => Self::from_json(json),
        }
    }
}

impl<'a, T: DecodeUnit<'a>> DecodeUnit<'a> for Option<T> {
    fn from_json_in(json: &mut Reader<'a>, unit: Unit) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Null => Ok(json.null().map(|()| None)?),
            _ => T::from_json_in(json, unit).map(Some),
        }
    }
}

/// As the array itself: by the lenient rules, one value is the only element.
impl<'a, T: DecodeUnit<'a>> DecodeUnit<'a> for Vec<T> {
    fn from_json_in(json: &mut Reader<'a>, unit: Unit) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Array => {}
            Kind::Null => return Self::from_json(json),
            _ if json.is_lenient() => return Ok(vec![T::from_json_in(json, unit)?]),
            _ => return Err(ValueError::WrongKind),
        }
        let mut elements = Self::new();
        json.begin_array()?;
        while json.next_element()? {
            elements.push(T::from_json_in(json, unit)?);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a, T: DecodeUnit<'a>>(text: &'a str, unit: Unit, is_lenient: bool) -> Result<T, ValueError> {
        let mut json = Reader::new(text);
        json.set_lenient(is_lenient);
        let value = T::from_json_in(&mut json, unit)?;
        json.end()?;
        Ok(value)
    }

    fn ticks<const P: u8>(text: &str, unit: Unit) -> Result<i64, ValueError> {
        read::<DateTime64<P>>(text, unit, true).map(DateTime64::ticks)
    }

    fn seconds(text: &str, unit: Unit) -> Result<u32, ValueError> {
        read::<DateTime>(text, unit, true).map(DateTime::seconds)
    }

    #[test]
    fn a_number_is_in_its_unit() {
        use Unit::{Microsecond, Millisecond, Nanosecond, Second};
        const THEN: i64 = 1_780_000_000;
        assert_eq!(ticks::<3>("1780000000", Second), Ok(THEN * 1000));
        assert_eq!(ticks::<3>("1780000000908", Millisecond), Ok(THEN * 1000 + 908));
        assert_eq!(ticks::<3>("1780000000908999", Microsecond), Ok(THEN * 1000 + 908));
        assert_eq!(ticks::<3>("1780000000908999999", Nanosecond), Ok(THEN * 1000 + 908));
        assert_eq!(ticks::<9>("1780000000", Second), Ok(THEN * 1_000_000_000));
        assert_eq!(
            ticks::<9>("1780000000908999999", Nanosecond),
            Ok(1_780_000_000_908_999_999)
        );
        assert_eq!(ticks::<0>("1780000000999", Millisecond), Ok(THEN));
        assert_eq!(seconds("1780000000999", Millisecond), Ok(1_780_000_000));
        assert_eq!(seconds("1780000000", Second), Ok(1_780_000_000));
        assert_eq!(ticks::<3>("0", Nanosecond), Ok(0));
        // Rounded down, also before 1970.
        assert_eq!(ticks::<3>("-1", Microsecond), Ok(-1));
        assert_eq!(ticks::<3>("-1001", Microsecond), Ok(-2));
        assert_eq!(ticks::<3>("-1000", Microsecond), Ok(-1));
    }

    #[test]
    fn a_fraction_is_one_of_the_unit() {
        assert_eq!(
            ticks::<6>("1780000000908.181", Unit::Millisecond),
            Ok(1_780_000_000_908_181)
        );
        assert_eq!(ticks::<6>("1780000000.908181", Unit::Second), Ok(1_780_000_000_908_181));
        assert_eq!(ticks::<6>("-0.5", Unit::Millisecond), Ok(-500));
        assert_eq!(ticks::<3>("-0.5", Unit::Millisecond), Ok(-1));
        assert_eq!(seconds("1780000000999.5", Unit::Millisecond), Ok(1_780_000_000));
        let strict = |text| read::<DateTime64<6>>(text, Unit::Millisecond, false).map(DateTime64::ticks);
        assert_eq!(strict("1780000000908"), Ok(1_780_000_000_908_000));
        assert_eq!(strict("1780000000908.5"), Err(ValueError::NotAnInteger));
    }

    #[test]
    fn a_number_out_of_range_is_refused() {
        for unit in [Unit::Second, Unit::Millisecond] {
            for text in ["9223372036854775808", "-9223372036854775809", "99999999999999999999.5"] {
                assert_eq!(ticks::<3>(text, unit), Err(ValueError::OutOfRange), "{text}");
            }
        }
        // The years 9999 and 10000.
        assert_eq!(ticks::<3>("253402300799", Unit::Second), Ok(253_402_300_799_000));
        assert_eq!(ticks::<3>("253402300800", Unit::Second), Err(ValueError::OutOfRange));
        assert_eq!(ticks::<9>("9223372036", Unit::Second), Ok(9_223_372_036_000_000_000));
        assert_eq!(ticks::<9>("9223372037", Unit::Second), Err(ValueError::OutOfRange));
        assert_eq!(seconds("4294967295999", Unit::Millisecond), Ok(u32::MAX));
        assert_eq!(seconds("4294967296000", Unit::Millisecond), Err(ValueError::OutOfRange));
        assert_eq!(seconds("-1", Unit::Nanosecond), Err(ValueError::OutOfRange));
        assert_eq!(seconds("1e9", Unit::Second), Err(ValueError::NotAnInteger));
        assert_eq!(seconds("true", Unit::Second), Err(ValueError::WrongKind));
    }

    #[test]
    fn texts_nulls_and_arrays_are_read_as_without_a_unit() {
        let text = r#""2026-05-28 20:26:40""#;
        assert_eq!(seconds(text, Unit::Millisecond), Ok(1_780_000_000));
        assert_eq!(seconds("null", Unit::Millisecond), Ok(0));
        let all = read::<Vec<Option<DateTime>>>("[1000, null, \"1970-01-01 00:00:02\"]", Unit::Millisecond, true);
        let expected = vec![Some(DateTime::from_seconds(1)), None, Some(DateTime::from_seconds(2))];
        assert_eq!(all, Ok(expected));
        let one = vec![<DateTime>::from_seconds(1)];
        assert_eq!(read("1000", Unit::Millisecond, true), Ok(one));
        assert_eq!(
            read::<Vec<DateTime>>("1000", Unit::Millisecond, false),
            Err(ValueError::WrongKind)
        );
        assert_eq!(read("null", Unit::Millisecond, false), Ok(Vec::<DateTime>::new()));
    }
}
