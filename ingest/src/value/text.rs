//! Text: `String` and `FixedString(N)`.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
    ser::SerializeTuple,
};

use super::{Decode, Encode, put_length};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's [`String`](https://clickhouse.com/docs/sql-reference/data-types/string): its
/// length, then its bytes.
///
/// Borrowed from the event unless it contains an escape. Numbers, arrays and objects become their
/// text in the event, white space included; booleans become `true` and `false`.
impl<'a> Decode<'a> for Cow<'a, str> {
    #[inline]
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        // The fast path for nearly all strings.
        if let Some(text) = json.plain_string() {
            return Ok(Cow::Borrowed(text));
        }
        match json.peek()? {
            Kind::String => Ok(json.string()?),
            Kind::Number => Ok(Cow::Borrowed(json.number()?)),
            Kind::Null => json.null().map(|()| Cow::default()).map_err(ValueError::from),
            Kind::Bool | Kind::Array | Kind::Object => Ok(Cow::Borrowed(json.raw_value()?)),
        }
    }

    #[inline]
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        Ok(text)
    }
}

impl Encode for str {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for Cow<'_, str> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        str::put(self, out);
    }
}

/// ClickHouse's
/// [`FixedString(N)`](https://clickhouse.com/docs/sql-reference/data-types/fixedstring): exactly
/// `N` bytes, with shorter text padded with zeros.
///
/// ```
/// use rowmill_ingest::value::{Decode, FixedString};
///
/// assert_eq!(FixedString::<4>::from_text("de".into())?.0, *b"de\0\0");
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FixedString<const N: usize>(
    /// The bytes, including the padding.
    pub [u8; N],
);

impl<const N: usize> Default for FixedString<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<'a, const N: usize> Decode<'a> for FixedString<N> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            _ => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        let mut bytes = [0; N];
        bytes
            .get_mut(..text.len())
            .ok_or(ValueError::TooLong)?
            .copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }
}

impl<const N: usize> Encode for FixedString<N> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl<const N: usize> Serialize for FixedString<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // serde supports arrays of up to 32 elements only.
        let mut tuple = serializer.serialize_tuple(N)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for FixedString<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = FixedString<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut bytes = [0; N];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    *byte = elements
                        .next_element()?
                        .ok_or_else(|| de::Error::invalid_length(index, &self))?;
                }
                Ok(FixedString(bytes))
            }
        }

        deserializer.deserialize_tuple(N, Bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    #[test]
    fn a_text_column_accepts_everything() {
        for (event, stored) in [
            (r#""plain""#, "plain"),
            (r#""a\u0041\n\/""#, "aA\n/"),
            ("1.50", "1.50"),
            ("-0.0", "-0.0"),
            ("1e400", "1e400"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("true", "true"),
            ("false", "false"),
            ("null", ""),
            (r#"[1,  "a\u0041" , {"b":null}]"#, r#"[1,  "a\u0041" , {"b":null}]"#),
            (r#"{"a" :  1}"#, r#"{"a" :  1}"#),
        ] {
            assert_eq!(json::<Cow<'_, str>>(event).unwrap(), stored);
        }
        assert!(matches!(json::<Cow<'_, str>>(r#""plain""#).unwrap(), Cow::Borrowed(_)));
        assert!(matches!(json::<Cow<'_, str>>(r#"[1"#), Err(ValueError::Syntax(_))));
    }

    #[test]
    fn text_is_encoded_after_its_length() {
        assert_eq!(bytes(&Cow::Borrowed("é")), [2, 0xC3, 0xA9]);
        let long = "x".repeat(300);
        assert_eq!(&bytes(&Cow::Borrowed(long.as_str()))[..3], [0xAC, 0x02, b'x']);
    }

    #[test]
    fn a_fixed_string_is_padded_and_never_truncated() {
        assert_eq!(json::<FixedString<4>>(r#""ab""#).unwrap().0, *b"ab\0\0");
        assert_eq!(json::<FixedString<4>>(r#""\ud83d\ude00""#).unwrap().0, *"😀".as_bytes());
        assert_eq!(json::<FixedString<4>>("null").unwrap().0, [0; 4]);
        assert_eq!(json::<FixedString<4>>(r#""abcde""#), Err(ValueError::TooLong));
        assert_eq!(json::<FixedString<4>>("1234"), Err(ValueError::WrongKind));
        assert_eq!(text::<FixedString<4>>("1234").unwrap().0, *b"1234");
        assert_eq!(bytes(&text::<FixedString<3>>("a").unwrap()), [b'a', 0, 0]);
    }
}
