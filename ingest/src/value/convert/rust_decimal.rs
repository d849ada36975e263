//! Conversions from and to `rust_decimal::Decimal`, which has 96 bits and at most 28 digits after
//! the point.

use rust_decimal::Decimal;

use crate::{
    table::refusal::ValueError,
    value::{Decimal32, Decimal64, Decimal128, Decimal256, Int256},
};

/// Returns a number of units of its last digit, without zeros that the scale has no place for.
fn to_decimal(mut units: i128, mut scale: u8) -> Result<Decimal, ValueError> {
    while u32::from(scale) > Decimal::MAX_SCALE && units % 10 == 0 {
        units /= 10;
        scale -= 1;
    }
    Decimal::try_from_i128_with_scale(units, scale.into()).map_err(|_| ValueError::OutOfRange)
}

/// Returns the units of the digit at `scale`.
fn units_of(decimal: Decimal, precision: u8, scale: u8) -> Result<i128, ValueError> {
    let (mut units, from) = (decimal.mantissa(), decimal.scale());
    for _ in u32::from(scale)..from {
        if units % 10 != 0 {
            return Err(ValueError::OutOfRange);
        }
        units /= 10;
    }
    for _ in from..u32::from(scale) {
        units = units.checked_mul(10).ok_or(ValueError::OutOfRange)?;
    }
    let limit = 10_u128.checked_pow(precision.into());
    match limit.is_none_or(|limit| units.unsigned_abs() < limit) {
        true => Ok(units),
        false => Err(ValueError::OutOfRange),
    }
}

macro_rules! decimal {
    ($($name:ident),+) => { $(
        /// Fails for a number of more than 96 bits.
        impl<const P: u8, const S: u8> TryFrom<$name<P, S>> for Decimal {
            type Error = ValueError;

            fn try_from(number: $name<P, S>) -> Result<Self, ValueError> {
                to_decimal(number.0.into(), S)
            }
        }

        /// Fails for a number that has too many digits, before or after the point.
        impl<const P: u8, const S: u8> TryFrom<Decimal> for $name<P, S> {
            type Error = ValueError;

            fn try_from(decimal: Decimal) -> Result<Self, ValueError> {
                let units = units_of(decimal, P, S)?;
                units.try_into().map(Self).map_err(|_| ValueError::OutOfRange)
            }
        }
    )+ };
}

decimal!(Decimal32, Decimal64, Decimal128);

/// Fails for a number of more than 96 bits.
impl<const P: u8, const S: u8> TryFrom<Decimal256<P, S>> for Decimal {
    type Error = ValueError;

    fn try_from(number: Decimal256<P, S>) -> Result<Self, ValueError> {
        let text = number.to_string();
        Self::from_str_exact(&text).map_err(|_| ValueError::OutOfRange)
    }
}

/// Fails for a number that has too many digits, before or after the point.
impl<const P: u8, const S: u8> TryFrom<Decimal> for Decimal256<P, S> {
    type Error = ValueError;

    fn try_from(decimal: Decimal) -> Result<Self, ValueError> {
        let decimal = decimal.normalize();
        if decimal.scale() > S.into() {
            return Err(ValueError::OutOfRange);
        }
        // The text has no more digits after the point than the type.
        let Self(Int256(units)) = decimal.to_string().parse()?;
        Ok(Self(Int256(units)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn numbers_keep_their_value() {
        for text in ["0", "12.5", "-0.05", "9999999.99"] {
            let (short, wide) = (Decimal32::<9, 2>::try_from(decimal(text)), decimal(text));
            assert_eq!(short, text.parse());
            assert_eq!(Decimal::try_from(short.unwrap()), Ok(wide));
            assert_eq!(Decimal::try_from(Decimal64::<18, 6>::try_from(wide).unwrap()), Ok(wide));
            assert_eq!(
                Decimal::try_from(Decimal128::<38, 20>::try_from(wide).unwrap()),
                Ok(wide)
            );
            assert_eq!(
                Decimal::try_from(Decimal256::<76, 20>::try_from(wide).unwrap()),
                Ok(wide)
            );
        }
        assert_eq!(Decimal32::<9, 2>::try_from(decimal("1.500")), Ok(Decimal32(150)));
        for text in ["1.555", "10000000"] {
            assert_eq!(Decimal32::<9, 2>::try_from(decimal(text)), Err(ValueError::OutOfRange));
        }
        assert_eq!(
            Decimal256::<76, 2>::try_from(decimal("1.555")),
            Err(ValueError::OutOfRange)
        );
        assert_eq!(
            Decimal128::<38, 30>::try_from(Decimal::MAX),
            Err(ValueError::OutOfRange)
        );
        let wide: Decimal128<38, 0> = "99999999999999999999999999999999999999".parse().unwrap();
        assert_eq!(Decimal::try_from(wide), Err(ValueError::OutOfRange));
        let fine: Decimal128<38, 38> = "0.5".parse().unwrap();
        assert_eq!(Decimal::try_from(fine), Ok(decimal("0.5")));
    }
}
