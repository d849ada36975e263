//! Times without a date: `Time`
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/time)) and `Time64`
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/time64)), from -999:59:59 to
//! 999:59:59, little-endian in a block.
//!
//! The decoder accepts text (`12:13:14`, `-1:02:03`; `12:13` is minutes and seconds) and numbers in
//! the units of the block: seconds in a `Time`, milliseconds in a `Time64(3)`. By the lenient rules,
//! a JSON number with a fraction is in seconds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Decode, Encode, date_text::fraction, seconds::Seconds};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The greatest time, 999:59:59, in seconds.
const GREATEST: i64 = 3_599_999;

/// ClickHouse's `Time`: 4 bytes.
///
/// ```
/// use rowmill_ingest::value::{Decode, Time};
///
/// assert_eq!(Time::from_text("01:00:00".into())?, Time(3_600));
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(
    /// Seconds.
    pub i32,
);

/// ClickHouse's `Time64(P)`: 8 bytes that count units of 10^-P seconds. Digits after the last one
/// are truncated.
///
/// ```
/// use rowmill_ingest::value::{Decode, Time64};
///
/// assert_eq!(Time64::<3>::from_text("00:00:01.5".into())?, Time64(1_500));
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time64<const P: u8>(
    /// Units of 10^-P seconds.
    pub i64,
);

impl<'a> Decode<'a> for Time {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Number => {
                let seconds = match Seconds::read(json)? {
                    Some(seconds) => seconds.units(1)?,
                    None => i32::from_json(json)?.into(),
                };
                let is_time = seconds.abs() <= GREATEST;
                is_time.then_some(Self(seconds as i32)).ok_or(ValueError::OutOfRange)
            }
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        match parse(text.as_bytes()) {
            Some((sign, seconds, [])) => Ok(Self(sign as i32 * seconds as i32)),
            _ => Err(ValueError::Malformed),
        }
    }
}

impl<'a, const P: u8> Decode<'a> for Time64<P> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Number => {
                let per_second = 10_i64.pow(P.into());
                let ticks = match Seconds::read(json)? {
                    Some(seconds) => seconds.units(per_second)?,
                    None => i64::from_json(json)?,
                };
                let is_time = ticks.unsigned_abs() / per_second.unsigned_abs() <= GREATEST as u64;
                is_time.then_some(Self(ticks)).ok_or(ValueError::OutOfRange)
            }
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        let per_second = 10_i64.pow(P.into());
        let (sign, seconds, rest) = parse(text.as_bytes()).ok_or(ValueError::Malformed)?;
        let nanos = match rest {
            [] => 0,
            [b'.', rest @ ..] => match fraction(rest) {
                (nanos, []) => nanos,
                _ => return Err(ValueError::Malformed),
            },
            _ => return Err(ValueError::Malformed),
        };
        Ok(Self(
            sign * (seconds * per_second + i64::from(nanos) * per_second / 1_000_000_000),
        ))
    }
}

impl Encode for Time {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
}

impl<const P: u8> Encode for Time64<P> {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
}

/// Returns the sign, the seconds, and the text after them.
fn parse(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (sign, text) = match text {
        [b'-', text @ ..] => (-1, text),
        _ => (1, text),
    };
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b':')
        .unwrap_or(text.len());
    let (clock, rest) = text.split_at(end);
    let mut fields = clock.rsplit(|byte| *byte == b':');
    let second = fields.next()?;
    let minute = fields.next();
    let hour = fields.next();
    // The last field has two digits; the first may have fewer, and hours may have three.
    let is_clock = fields.next().is_none()
        && matches!(
            (hour.map(<[u8]>::len), minute.map(<[u8]>::len), second.len()),
            (None, None, 1..=2) | (None, Some(1..=2), 2) | (Some(1..=3), Some(2), 2)
        );
    if !is_clock {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let (hour, minute, second) = (hour.map_or(0, number), minute.map_or(0, number), number(second));
    (minute < 60 && second < 60).then(|| (sign, hour * 3600 + minute * 60 + second, rest))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn times_are_read_in_the_forms_of_clickhouse() {
        for (event, seconds) in [
            (r#""12:13:14""#, 43_994),
            (r#""-12:13:14""#, -43_994),
            (r#""1:02:03""#, 3_723),
            (r#""1:02""#, 62),
            (r#""5""#, 5),
            (r#""999:59:59""#, 3_599_999),
            (r#""-0:00:01""#, -1),
            ("43994", 43_994),
            ("-3599999", -3_599_999),
            ("null", 0),
        ] {
            assert_eq!(json(event), Ok(Time(seconds)), "{event}");
        }
        assert_eq!(text("-12:13:14.5678"), Ok(Time64::<3>(-43_994_567)));
        assert_eq!(text("12:13:14."), Ok(Time64::<0>(43_994)));
        assert_eq!(json("43994"), Ok(Time64::<3>(43_994)));
        assert_eq!(bytes(&Time(-1)), [0xFF; 4]);
    }

    #[test]
    fn a_number_with_a_fraction_is_in_seconds_by_the_lenient_rules() {
        assert_eq!(lenient("43994.5"), Ok(Time(43_994)));
        assert_eq!(lenient("-43994.5"), Ok(Time64::<3>(-43_994_500)));
        assert_eq!(lenient::<Time>("3600000.0"), Err(ValueError::OutOfRange));
        assert_eq!(json::<Time64<3>>("43994.5"), Err(ValueError::NotAnInteger));
    }

    #[test]
    fn other_times_are_refused() {
        for event in [
            "",
            "-",
            "12:13:1",
            "123",
            "12:60:00",
            "12:13:61",
            "1000:00:00",
            "+1:02:03",
            "12:13:14Z",
            "1:2:3:4",
            ":1",
        ] {
            assert_eq!(text::<Time>(event), Err(ValueError::Malformed), "{event}");
            assert_eq!(text::<Time64<3>>(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(text::<Time>("12:13:14.5"), Err(ValueError::Malformed));
        assert_eq!(text::<Time>(&"9".repeat(100)), Err(ValueError::Malformed));
        assert_eq!(json::<Time>("3600000"), Err(ValueError::OutOfRange));
        assert_eq!(json::<Time64<3>>("3600000000"), Err(ValueError::OutOfRange));
        assert_eq!(json::<Time64<9>>(&i64::MIN.to_string()), Err(ValueError::OutOfRange));
        assert_eq!(json::<Time>("true"), Err(ValueError::WrongKind));
    }
}
