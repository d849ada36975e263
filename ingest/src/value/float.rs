//! Floating point: `Float32`, `Float64`
//! ([ClickHouse: floats](https://clickhouse.com/docs/sql-reference/data-types/float)) and
//! `BFloat16`, little-endian in a block.
//!
//! The decoder accepts numbers, booleans and text, including `inf`, `infinity` and `nan` in any case.
//! It refuses a number that would round to infinity; one that would round to 0 is 0.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

macro_rules! float {
    ($($type:ty),*) => { $(
        impl<'a> Decode<'a> for $type {
            fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                match json.peek()? {
                    Kind::Number => Self::from_text(Cow::Borrowed(json.number()?)),
                    Kind::String => Self::from_text(json.string()?),
                    Kind::Bool => Ok(json.bool()?.into()),
                    Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
                    Kind::Array | Kind::Object => Err(ValueError::WrongKind),
                }
            }

            fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
                match &*text {
                    "true" => return Ok(1.0),
                    "false" => return Ok(0.0),
                    _ => {}
                }
                let float: $type = text.parse().map_err(|_| ValueError::Malformed)?;
                // The word has no digits; a number that overflowed has some.
                if float.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
                    return Err(ValueError::OutOfRange);
                }
                Ok(float)
            }
        }

        impl Encode for $type {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )* };
}

float!(f32, f64);

/// ClickHouse's [`BFloat16`](https://clickhouse.com/docs/sql-reference/data-types/float#bfloat16):
/// the upper two bytes of an `f32`, the low byte first. The lower bytes are truncated, not rounded,
/// as in ClickHouse.
///
/// ```
/// use rowmill_ingest::value::{Decode, BFloat16};
///
/// assert_eq!(BFloat16::from_text("1.5".into())?, BFloat16::from(1.5));
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BFloat16(
    /// The bits: 1 for the sign, 8 for the exponent, 7 for the fraction.
    pub u16,
);

impl From<f32> for BFloat16 {
    fn from(float: f32) -> Self {
        Self((float.to_bits() >> 16) as u16)
    }
}

impl From<BFloat16> for f32 {
    fn from(float: BFloat16) -> Self {
        Self::from_bits(u32::from(float.0) << 16)
    }
}

impl<'a> Decode<'a> for BFloat16 {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        f32::from_json(json).map(Self::from)
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        f32::from_text(text).map(Self::from)
    }
}

impl Encode for BFloat16 {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
}

impl Serialize for BFloat16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        clickhouse::types::BFloat16::from_bits(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BFloat16 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        clickhouse::types::BFloat16::deserialize(deserializer).map(|float| Self(float.to_bits()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    #[test]
    fn numbers_text_and_booleans_are_floats() {
        for (event, stored) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("1E+2", 100.0),
            ("1e-400", 0.0),
            ("123456789012345678901234567890", 1.2345678901234568e29),
            (r#""+1""#, 1.0),
            (r#"".5""#, 0.5),
            (r#""5.""#, 5.0),
            (r#""1e3""#, 1000.0),
            (r#""inf""#, f64::INFINITY),
            (r#""-Infinity""#, f64::NEG_INFINITY),
            (r#""true""#, 1.0),
            ("true", 1.0),
            ("null", 0.0),
        ] {
            assert_eq!(json::<f64>(event), Ok(stored), "{event}");
        }
        assert!(json::<f64>(r#""NaN""#).unwrap().is_nan());
        assert!(json::<f64>("-0").unwrap().is_sign_negative());
        for event in [
            "", "-", ".", "1e", "e5", "1.5abc", "0x10", "1_000", " 1", "--1", "infin", "nan(1)", "null", "TRUE",
        ] {
            assert_eq!(text::<f64>(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(json::<f64>("[]"), Err(ValueError::WrongKind));
    }

    #[test]
    fn an_overflow_is_not_infinity() {
        assert_eq!(json::<f64>("1e400"), Err(ValueError::OutOfRange));
        assert_eq!(json::<f64>("-1e400"), Err(ValueError::OutOfRange));
        assert_eq!(json::<f32>("3.4028236e38"), Err(ValueError::OutOfRange));
        assert_eq!(json::<f32>("3.4028235e38"), Ok(f32::MAX));
        assert_eq!(json::<BFloat16>("1e39"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn a_bfloat16_is_a_truncated_f32() {
        assert_eq!(f32::from(json::<BFloat16>("0.1").unwrap()), 0.099_609_375);
        assert_eq!(
            f32::from(json::<BFloat16>("123456789012345678901234567890").unwrap()),
            1.231_750_3e29
        );
        assert_eq!(bytes(&json::<BFloat16>("1").unwrap()), [0x80, 0x3F]);
        assert!(f32::from(json::<BFloat16>(r#""nan""#).unwrap()).is_nan());
    }
}
