//! Integers: `UInt8` … `UInt256` and `Int8` … `Int256`
//! ([ClickHouse: integers](https://clickhouse.com/docs/sql-reference/data-types/int-uint)),
//! little-endian in a block.
//!
//! The decoder accepts numbers without fraction and exponent, text (digits after at most one sign;
//! empty text is 0) and booleans. It refuses a value that does not fit. By the lenient rules, a
//! number may have a fraction of zeros.

use std::borrow::Cow;

use ethnum::{I256, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's `UInt256`: 32 bytes, the lowest first.
///
/// ```
/// use rowmill_ingest::value::{Decode, UInt256};
///
/// assert_eq!(UInt256::from_text("7".into())?, UInt256(7u8.into()));
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UInt256(
    /// The number.
    pub U256,
);

/// ClickHouse's `Int256`: 32 bytes, the lowest first, two's complement.
///
/// ```
/// use rowmill_ingest::value::{Decode, Int256};
///
/// assert_eq!(Int256::from_text("-7".into())?, Int256((-7).into()));
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Int256(
    /// The number.
    pub I256,
);

/// Unsigned numbers that collect digits.
trait Magnitude: Copy + Default {
    /// Returns the number with one more digit at its end, or `None` if it overflows.
    fn with_digit(self, digit: u8) -> Option<Self>;
}

/// Integers of any width, from their sign and their digits.
trait Integer: Sized + Default {
    type Magnitude: Magnitude;

    fn from_small(value: i64) -> Option<Self>;
    fn from_parts(negative: bool, magnitude: Self::Magnitude) -> Option<Self>;
}

macro_rules! magnitude {
    ($($type:ty),*) => { $(
        impl Magnitude for $type {
            #[inline]
            fn with_digit(self, digit: u8) -> Option<Self> {
                self.checked_mul(<$type>::from(10u8))?.checked_add(<$type>::from(digit))
            }
        }
    )* };
}

macro_rules! integer {
    ($($type:ty: $magnitude:ty, $widest:ty);*) => { $(
        impl Integer for $type {
            type Magnitude = $magnitude;

            #[inline]
            fn from_small(value: i64) -> Option<Self> {
                Self::try_from(value).ok()
            }

            #[inline]
            fn from_parts(negative: bool, magnitude: $magnitude) -> Option<Self> {
                let magnitude = <$widest>::try_from(magnitude).ok()?;
                Self::try_from(if negative { (0 as $widest).checked_sub(magnitude)? } else { magnitude }).ok()
            }
        }

        decode!($type);

        impl Encode for $type {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )* };
}

macro_rules! decode {
    ($type:ty) => {
        impl<'a> Decode<'a> for $type {
            #[inline]
            fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                match json.small_integer() {
                    Some(value) => <$type>::from_small(value).ok_or(ValueError::OutOfRange),
                    None => from_other_json(json),
                }
            }

            #[inline]
            fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
                parse(&text)
            }
        }
    };
}

magnitude!(u64, u128, U256);
integer! {
    u8: u64, i128; u16: u64, i128; u32: u64, i128; u64: u64, i128; u128: u128, u128;
    i8: u64, i128; i16: u64, i128; i32: u64, i128; i64: u64, i128
}
decode!(i128);
decode!(UInt256);
decode!(Int256);

impl Integer for i128 {
    type Magnitude = u128;

    fn from_small(value: i64) -> Option<Self> {
        Some(value.into())
    }

    fn from_parts(negative: bool, magnitude: u128) -> Option<Self> {
        if negative {
            0i128.checked_sub_unsigned(magnitude)
        } else {
            magnitude.try_into().ok()
        }
    }
}

impl Integer for UInt256 {
    type Magnitude = U256;

    fn from_small(value: i64) -> Option<Self> {
        u64::try_from(value).ok().map(|value| Self(value.into()))
    }

    fn from_parts(negative: bool, magnitude: U256) -> Option<Self> {
        (!negative || magnitude == 0).then_some(Self(magnitude))
    }
}

impl Integer for Int256 {
    type Magnitude = U256;

    fn from_small(value: i64) -> Option<Self> {
        Some(Self(value.into()))
    }

    fn from_parts(negative: bool, magnitude: U256) -> Option<Self> {
        // The smallest number has no positive counterpart; its bits are their own negation.
        let number = if negative {
            magnitude.as_i256().wrapping_neg()
        } else {
            magnitude.as_i256()
        };
        (magnitude == 0 || number.is_negative() == negative).then_some(Self(number))
    }
}

impl Encode for i128 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
}

impl Encode for UInt256 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
}

impl Encode for Int256 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
}

/// Reads any value but a short number.
fn from_other_json<T: Integer>(json: &mut Reader<'_>) -> Result<T, ValueError> {
    match json.peek()? {
        Kind::Number => {
            let number = json.number()?;
            if memchr::memchr3(b'.', b'e', b'E', number.as_bytes()).is_none() {
                return parse(number);
            }
            match number.split_once('.') {
                Some((integer, fraction)) if json.is_lenient() && fraction.bytes().all(|digit| digit == b'0') => {
                    parse(integer)
                }
                _ => Err(ValueError::NotAnInteger),
            }
        }
        Kind::String => parse(&json.string()?),
        Kind::Bool => T::from_small(json.bool()?.into()).ok_or(ValueError::OutOfRange),
        Kind::Null => json.null().map(|()| T::default()).map_err(ValueError::from),
        Kind::Array | Kind::Object => Err(ValueError::WrongKind),
    }
}

fn parse<T: Integer>(text: &str) -> Result<T, ValueError> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        [] => return Ok(T::default()),
        b"true" => return T::from_small(1).ok_or(ValueError::OutOfRange),
        b"false" => return Ok(T::default()),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ValueError::Malformed);
    }
    digits
        .iter()
        .try_fold(T::Magnitude::default(), |magnitude, digit| {
            magnitude.with_digit(digit - b'0')
        })
        .and_then(|magnitude| T::from_parts(negative, magnitude))
        .ok_or(ValueError::OutOfRange)
}

// serde has no 256-bit integers, so these convert to and from the types of the `clickhouse` crate.

impl Serialize for UInt256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        clickhouse::types::UInt256::from_le_bytes(self.0.to_le_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UInt256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = clickhouse::types::UInt256::deserialize(deserializer)?;
        Ok(Self(U256::from_le_bytes(number.to_le_bytes())))
    }
}

impl Serialize for Int256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        clickhouse::types::Int256::from_le_bytes(self.0.to_le_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Int256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = clickhouse::types::Int256::deserialize(deserializer)?;
        Ok(Self(I256::from_le_bytes(number.to_le_bytes())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::{Debug, Display};

    use super::{super::testing::*, *};

    /// Each type accepts its smallest and greatest number, as numbers and as text, and refuses the
    /// next ones.
    fn check_bounds<T>(least: &str, below: &str, greatest: &str, above: &str)
    where
        T: for<'a> Decode<'a> + PartialEq + Debug + Display,
    {
        for end in [least, greatest] {
            assert_eq!(json::<T>(end).unwrap().to_string(), end);
            assert_eq!(text::<T>(end).unwrap().to_string(), end);
        }
        for beyond in [below, above] {
            assert_eq!(json::<T>(beyond), Err(ValueError::OutOfRange), "{beyond}");
            assert_eq!(text::<T>(beyond), Err(ValueError::OutOfRange), "{beyond}");
        }
        assert_eq!(text::<T>(&"9".repeat(100)), Err(ValueError::OutOfRange));
        assert_eq!(
            text::<T>(&format!("{}{greatest}", "0".repeat(100)))
                .unwrap()
                .to_string(),
            greatest
        );
    }

    #[test]
    fn no_type_wraps_around() {
        check_bounds::<u8>("0", "-1", "255", "256");
        check_bounds::<u16>("0", "-1", "65535", "65536");
        check_bounds::<u32>("0", "-1", "4294967295", "4294967296");
        check_bounds::<u64>("0", "-1", "18446744073709551615", "18446744073709551616");
        check_bounds::<i8>("-128", "-129", "127", "128");
        check_bounds::<i16>("-32768", "-32769", "32767", "32768");
        check_bounds::<i32>("-2147483648", "-2147483649", "2147483647", "2147483648");
        check_bounds::<i64>(
            "-9223372036854775808",
            "-9223372036854775809",
            "9223372036854775807",
            "9223372036854775808",
        );
        let (least, greatest) = (i128::MIN.to_string(), i128::MAX.to_string());
        let above = "170141183460469231731687303715884105728";
        check_bounds::<i128>(&least, "-170141183460469231731687303715884105729", &greatest, above);
        let greatest = u128::MAX.to_string();
        check_bounds::<u128>("0", "-1", &greatest, "340282366920938463463374607431768211456");
    }

    #[test]
    fn a_fraction_of_zeros_is_dropped_by_the_lenient_rules() {
        assert_eq!(lenient("3.0"), Ok(3u8));
        assert_eq!(lenient("-9223372036854775808.000"), Ok(i64::MIN));
        assert_eq!(lenient("300.0"), Err::<u8, _>(ValueError::OutOfRange));
        for event in ["3.5", "3.0e1", "3e0"] {
            assert_eq!(lenient::<u8>(event), Err(ValueError::NotAnInteger), "{event}");
        }
        assert_eq!(json::<u8>("3.0"), Err(ValueError::NotAnInteger));
        assert_eq!(
            lenient::<u8>(r#""3.0""#),
            Err(ValueError::Malformed),
            "a text is a text"
        );
    }

    #[test]
    fn wide_integers_do_not_wrap_around_either() {
        let unsigned = U256::MAX.to_string();
        assert_eq!(json::<UInt256>(&unsigned), Ok(UInt256(U256::MAX)));
        assert_eq!(
            json::<UInt256>(&unsigned.replace("9935", "9936")),
            Err(ValueError::OutOfRange)
        );
        assert_eq!(json::<UInt256>("-1"), Err(ValueError::OutOfRange));
        let least = I256::MIN.to_string();
        assert_eq!(json::<Int256>(&least), Ok(Int256(I256::MIN)));
        assert_eq!(json::<Int256>(&least[1..]), Err(ValueError::OutOfRange));
        assert_eq!(json::<Int256>(&I256::MAX.to_string()), Ok(Int256(I256::MAX)));
        assert_eq!(json::<Int256>(&unsigned), Err(ValueError::OutOfRange));
        assert_eq!(json::<Int256>("-5"), Ok(Int256(I256::from(-5i8))));
    }

    #[test]
    fn text_and_booleans_are_numbers_as_in_clickhouse() {
        for (event, stored) in [
            (r#""12""#, 12),
            (r#""+12""#, 12),
            (r#""-12""#, -12),
            (r#""007""#, 7),
            (r#""""#, 0),
            (r#""true""#, 1),
            (r#""false""#, 0),
            ("true", 1),
            ("false", 0),
            ("null", 0),
            ("-0", 0),
        ] {
            assert_eq!(json::<i8>(event), Ok(stored), "{event}");
        }
        for event in ["1.0", "1e1", "1E1", "-0.0", "0e0", "12345678901234567890.5"] {
            assert_eq!(json::<i64>(event), Err(ValueError::NotAnInteger), "{event}");
        }
        for event in [
            "--1", "-", "+", "+-1", "0x10", "1_000", "1e3", "1.0", " 1", "1 ", "abc", "null", "True", "+true", "１",
        ] {
            assert_eq!(
                json::<i64>(&format!("\"{event}\"")),
                Err(ValueError::Malformed),
                "{event}"
            );
        }
        assert_eq!(json::<i8>("[]"), Err(ValueError::WrongKind));
        assert_eq!(json::<i8>("{}"), Err(ValueError::WrongKind));
        assert!(matches!(json::<i8>("01"), Err(ValueError::Syntax(_))));
        assert!(matches!(json::<i8>("1x"), Err(ValueError::Syntax(_))));
    }

    #[test]
    fn values_are_little_endian() {
        assert_eq!(bytes(&0x0102u16), [2, 1]);
        assert_eq!(bytes(&-2i32), [0xFE, 0xFF, 0xFF, 0xFF]);
        assert_eq!(bytes(&UInt256(U256::from(258u16)))[..3], [2, 1, 0]);
        assert_eq!(bytes(&Int256(I256::from(-1i8))), [0xFF; 32]);
    }
}
