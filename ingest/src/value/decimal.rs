//! Decimals: `Decimal(P, S)`, at most `P` digits, `S` of them after the point
//! ([ClickHouse: Decimal](https://clickhouse.com/docs/sql-reference/data-types/decimal)).
//!
//! A block has them as integers in units of the last digit, little-endian: 1.5 is 150 in a
//! `Decimal(9, 2)`. The decoder reads numbers, also with exponents, and text (empty text is 0). As
//! ClickHouse does, it truncates digits after the last one, and refuses a number with too many
//! digits before the point. No step uses a float.

use std::borrow::Cow;

use ethnum::{I256, U256};
use serde::{Deserialize, Serialize};

use super::{Decode, Encode, int::Int256};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

macro_rules! decimal {
    ($(#[$doc:meta])* $name:ident($inner:ty), digits in $digits:ty, $from_digits:expr) => {
        $(#[$doc])*
        ///
        /// The number inside counts units of the last digit: 1.5 is 150 if `S` is 2.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name<const P: u8, const S: u8>(
            /// The number, in units of its last digit.
            pub $inner,
        );

        impl<'a, const P: u8, const S: u8> Decode<'a> for $name<P, S> {
            fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                match json.peek()? {
                    Kind::Number => Self::from_text(Cow::Borrowed(json.number()?)),
                    Kind::String => Self::from_text(json.string()?),
                    Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
                    Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
                }
            }

            fn from_json_among(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                if json.peek()? == Kind::String {
                    return Err(ValueError::WrongKind);
                }
                Self::from_json(json)
            }

            fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
                let (negative, digits) = parse::<$digits>(text.as_bytes(), P, S)?;
                let from_digits: fn($digits) -> $inner = $from_digits;
                let number = from_digits(digits);
                Ok(Self(if negative { -number } else { number }))
            }
        }

        impl<const P: u8, const S: u8> Encode for $name<P, S> {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
        }
    };
}

// `parse` returns at most `P` digits, which fit into the integer of each type.
decimal! {
    /// ClickHouse's `Decimal(P, S)` with up to 9 digits: 4 bytes.
    ///
    /// ```
    /// use rowmill_ingest::value::{Decode, Decimal32};
    ///
    /// assert_eq!(Decimal32::<9, 2>::from_text("1.5".into())?, Decimal32(150));
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    Decimal32(i32), digits in u64, |digits| digits as i32
}
decimal! {
    /// ClickHouse's `Decimal(P, S)` with up to 18 digits: 8 bytes.
    ///
    /// ```
    /// use rowmill_ingest::value::{Decode, Decimal64};
    ///
    /// assert_eq!(Decimal64::<18, 4>::from_text("-0.5".into())?, Decimal64(-5_000));
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    Decimal64(i64), digits in u64, |digits| digits as i64
}
decimal! {
    /// ClickHouse's `Decimal(P, S)` with up to 38 digits: 16 bytes.
    ///
    /// ```
    /// use rowmill_ingest::value::{Decode, Decimal128};
    ///
    /// assert_eq!(Decimal128::<38, 0>::from_text("12".into())?, Decimal128(12));
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    Decimal128(i128), digits in u128, |digits| digits as i128
}
decimal! {
    /// ClickHouse's `Decimal(P, S)` with up to 76 digits: 32 bytes.
    ///
    /// The `clickhouse` crate cannot read it back while it validates rows, because it does not
    /// support decimals of this width.
    Decimal256(Int256), digits in U256, |digits| Int256(digits.as_i256())
}

impl std::ops::Neg for Int256 {
    type Output = Self;

    fn neg(self) -> Self {
        Self(I256::wrapping_neg(self.0))
    }
}

/// Integers that collect digits.
trait Digits: Copy {
    const ZERO: Self;

    fn with_digit(self, digit: u8) -> Self;
}

macro_rules! digits {
    ($($type:ty: $zero:expr),*) => { $(
        impl Digits for $type {
            const ZERO: Self = $zero;

            #[inline]
            fn with_digit(self, digit: u8) -> Self {
                self * <$type>::from(10u8) + <$type>::from(digit)
            }
        }
    )* };
}

digits!(u64: 0, u128: 0, U256: U256::ZERO);

/// Returns the sign, and the number in units of its digit at `scale`, with at most `precision`
/// digits.
fn parse<D: Digits>(text: &[u8], precision: u8, scale: u8) -> Result<(bool, D), ValueError> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        [] => return Ok((false, D::ZERO)),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let digits = || whole.iter().chain(fraction);
    if digits().next().is_none() || !digits().all(u8::is_ascii_digit) {
        return Err(ValueError::Malformed);
    }

    // The number of digits to keep. Zeros follow if the exponent requires more digits than there
    // are.
    let kept = whole.len() as i64 + exponent + i64::from(scale);
    let mut number = D::ZERO;
    let mut length: i64 = 0;
    for digit in digits().take(kept.max(0) as usize) {
        if *digit != b'0' || length > 0 {
            if length == i64::from(precision) {
                return Err(ValueError::OutOfRange);
            }
            number = number.with_digit(digit - b'0');
            length += 1;
        }
    }
    if length > 0 {
        let zeros = (kept - (whole.len() + fraction.len()) as i64).max(0);
        if length + zeros > i64::from(precision) {
            return Err(ValueError::OutOfRange);
        }
        for _ in 0..zeros {
            number = number.with_digit(0);
        }
    }
    Ok((negative, number))
}

/// Reads an exponent. An exponent beyond any use becomes a bound with the same effect.
fn exponent(text: &[u8]) -> Result<i64, ValueError> {
    const BOUND: i64 = 1 << 40;

    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ValueError::Malformed);
    }
    let size = digits
        .iter()
        .fold(0, |size: i64, digit| (size * 10 + i64::from(digit - b'0')).min(BOUND));
    Ok(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    #[test]
    fn numbers_keep_their_digits() {
        for (event, stored) in [
            ("1", 100),
            ("-1.5", -150),
            ("1.555", 155),
            ("1.995", 199),
            ("-1.999", -199),
            ("1e1", 1000),
            ("1E+2", 10000),
            ("100e-1", 1000),
            ("1e-1", 10),
            ("1e-9", 0),
            ("1e-400", 0),
            ("0e999999999999999999999", 0),
            ("0.00000000000000000000000000000000000000000000001", 0),
            ("999.999", 99999),
            (r#""+1""#, 100),
            (r#""000001""#, 100),
            (r#"".5""#, 50),
            (r#""5.""#, 500),
            (r#""""#, 0),
            ("null", 0),
            ("-0", 0),
        ] {
            assert_eq!(json::<Decimal32<5, 2>>(event), Ok(Decimal32(stored)), "{event}");
        }
    }

    #[test]
    fn too_many_digits_are_refused() {
        for event in [
            "1000",
            "-1000",
            "1e3",
            "1e400",
            "9999999999",
            "1e99999999999999999999999",
            "0.1e4",
        ] {
            assert_eq!(json::<Decimal32<5, 2>>(event), Err(ValueError::OutOfRange), "{event}");
        }
        assert_eq!(json::<Decimal32<9, 9>>("1"), Err(ValueError::OutOfRange));
        assert_eq!(json::<Decimal32<9, 9>>("0.9999999999"), Ok(Decimal32(999_999_999)));
        assert_eq!(
            json::<Decimal64<18, 4>>("12345678901234.56789"),
            Ok(Decimal64(123_456_789_012_345_678))
        );
        assert_eq!(
            json::<Decimal64<18, 0>>("-999999999999999999"),
            Ok(Decimal64(-999_999_999_999_999_999))
        );
        assert_eq!(
            json::<Decimal64<18, 0>>("1000000000000000000"),
            Err(ValueError::OutOfRange)
        );
        let nines = "9".repeat(38);
        assert_eq!(json::<Decimal128<38, 0>>(&nines).unwrap().0.to_string(), nines);
        assert_eq!(json::<Decimal128<38, 0>>(&"9".repeat(39)), Err(ValueError::OutOfRange));
        let nines = "9".repeat(76);
        assert_eq!(
            json::<Decimal256<76, 0>>(&format!("-{nines}")).unwrap().0.0.to_string(),
            format!("-{nines}")
        );
        assert_eq!(json::<Decimal256<76, 2>>("1e75"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn other_text_and_other_kinds_are_refused() {
        for event in [
            "-", ".", "--1", "1.5abc", "1,5", "1e", "1e+", "e1", " 1", "nan", "inf", "true", "1.2.3", "1e1.5",
        ] {
            assert_eq!(text::<Decimal32<5, 2>>(event), Err(ValueError::Malformed), "{event}");
        }
        for event in ["true", "[]", "{}"] {
            assert_eq!(json::<Decimal32<5, 2>>(event), Err(ValueError::WrongKind), "{event}");
        }
    }

    #[test]
    fn a_block_has_the_number_of_last_digits() {
        assert_eq!(bytes(&json::<Decimal32<9, 2>>("1.5").unwrap()), [150, 0, 0, 0]);
        assert_eq!(bytes(&json::<Decimal64<18, 2>>("-0.01").unwrap()), [0xFF; 8]);
        assert_eq!(bytes(&json::<Decimal256<76, 0>>("-1").unwrap()), [0xFF; 32]);
    }
}
