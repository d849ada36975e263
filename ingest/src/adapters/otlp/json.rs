//! The forms of values in JSON that follow the mapping of protobuf
//! ([ProtoJSON](https://protobuf.dev/programming-guides/json/)) and OTLP's exceptions from it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// An integer of 64 bits: a number, or a text of digits.
#[derive(Debug)]
pub(super) struct Integer(pub(super) i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer).map(Self)
    }
}

/// Reads an integer: a number, or a text of digits.
pub(super) fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr + TryFrom<i64> + TryFrom<u64>,
{
    struct IntegerVisitor<T>(std::marker::PhantomData<T>);

    impl<T: std::str::FromStr + TryFrom<i64> + TryFrom<u64>> Visitor<'_> for IntegerVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of 64 bits")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
            T::try_from(value).map_err(|_| E::custom("the integer is out of range"))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
            T::try_from(value).map_err(|_| E::custom("the integer is out of range"))
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
            let number = value.parse();
            number.map_err(|_| E::custom("the text is not an integer of 64 bits"))
        }
    }

    deserializer.deserialize_any(IntegerVisitor(std::marker::PhantomData))
}

/// A number with a fraction, or one of the texts for those that JSON lacks.
#[derive(Debug)]
pub(super) struct Double(pub(super) f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DoubleVisitor;

        impl Visitor<'_> for DoubleVisitor {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Double, E> {
                Ok(Double(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            fn visit_i64<E: Error>(self, value: i64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            fn visit_u64<E: Error>(self, value: u64) -> Result<Double, E> {
                Ok(Double(value as f64))
            }

            // Rust reads `NaN`, `Infinity` and `-Infinity`, too.
            fn visit_str<E: Error>(self, value: &str) -> Result<Double, E> {
                let number = value.parse();
                number.map(Double).map_err(|_| E::custom("the text is not a number"))
            }
        }

        deserializer.deserialize_any(DoubleVisitor)
    }
}

/// Reads the bytes of a trace or a span, which are hexadecimal in OTLP's JSON.
pub(super) fn hex_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = text.len() % 2 == 0 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes = is_hex.then(|| text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>());
    bytes
        .flatten()
        .ok_or_else(|| D::Error::custom("an id is not hexadecimal"))
}
