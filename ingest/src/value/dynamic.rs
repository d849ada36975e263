//! `Dynamic` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/dynamic)): in a
//! block, the type of the value, then the value.

use std::{
    borrow::Cow,
    fmt::{self, Debug, Formatter},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
    ser::SerializeTuple,
};

use super::{
    Decode, Encode,
    written::{put_dynamic, put_text},
};
use crate::{json::Reader, table::refusal::ValueError};

/// ClickHouse's `Dynamic`: a value of any type, which its JSON shows. Text is a String, or a date
/// or a date-time if it is written as one.
///
/// The `clickhouse` crate has no such type. It writes rows with one if
/// `Client::with_validation(false)` is set, and reads them back as JSON:
/// `ifNull(toJSONString(…), 'null')`.
#[derive(Clone, PartialEq, Default)]
pub struct Dynamic<'a> {
    /// The value in the event, as JSON or text.
    source: Source<'a>,
    /// The type and the value in block format; empty for the default, which is NULL.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Default)]
enum Source<'a> {
    #[default]
    Null,
    Json(Cow<'a, str>),
    Text(Cow<'a, str>),
}

/// The name by which a deserializer knows a Dynamic.
pub(crate) const SERDE_NAME: &str = "rowmill_ingest::Dynamic";

/// The code of NULL's type.
pub(crate) const NOTHING: u8 = 0;

impl Dynamic<'_> {
    /// Returns the value as JSON, or as its plain text if it was not JSON.
    pub fn as_str(&self) -> &str {
        match &self.source {
            Source::Null => "null",
            Source::Json(text) | Source::Text(text) => text,
        }
    }

    /// Returns the value with its own copy of the text.
    pub(super) fn into_static(self) -> Dynamic<'static> {
        let source = match self.source {
            Source::Null => Source::Null,
            Source::Json(text) => Source::Json(Cow::Owned(text.into_owned())),
            Source::Text(text) => Source::Text(Cow::Owned(text.into_owned())),
        };
        Dynamic {
            source,
            bytes: self.bytes,
        }
    }

    fn encoded(&self) -> &[u8] {
        if self.bytes.is_empty() { &[NOTHING] } else { &self.bytes }
    }
}

impl Debug for Dynamic<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dynamic").field(&self.as_str()).finish()
    }
}

impl<'a> Decode<'a> for Dynamic<'a> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        let mut bytes = Vec::new();
        put_dynamic(&mut json.strict(), &mut bytes)?;
        Ok(Self {
            source: Source::Json(Cow::Borrowed(json.raw_value()?)),
            bytes,
        })
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        let mut bytes = Vec::new();
        put_text(&text, &mut bytes)?;
        Ok(Self {
            source: Source::Text(text),
            bytes,
        })
    }
}

impl Encode for Dynamic<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.encoded());
    }
}

impl Serialize for Dynamic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.encoded();
        let mut tuple = serializer.serialize_tuple(bytes.len())?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Dynamic<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Json;

        impl<'de> Visitor<'de> for Json {
            type Value = String;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
                String::deserialize(deserializer)
            }
        }

        let text = deserializer.deserialize_newtype_struct(SERDE_NAME, Json)?;
        if text == "null" {
            return Ok(Self::default());
        }
        let mut bytes = Vec::new();
        let mut json = Reader::new(&text);
        put_dynamic(&mut json, &mut bytes)
            .and_then(|()| Ok(json.end()?))
            .map_err(de::Error::custom)?;
        Ok(Self {
            source: Source::Json(Cow::Owned(text)),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    /// Returns the bytes of a value in hexadecimal.
    fn hex(event: &str) -> String {
        let value: Dynamic<'_> = json(event).unwrap();
        bytes(&value).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_type_is_encoded_before_the_value() {
        for (event, expected) in [
            ("null", "00"),
            ("true", "2d01"),
            ("-1", "0affffffffffffffff"),
            ("18446744073709551615", "04ffffffffffffffff"),
            ("18446744073709551616", "15143138343436373434303733373039353531363136"),
            ("0.5", "0e000000000000e03f"),
            ("\"a\\u0041\"", "15026141"),
            ("\"1970-01-02\"", "0f0100"),
            ("\"1970-01-01 00:00:07\"", "1107000000"),
            ("\"1970-01-01T00:00:00.000000007Z\"", "13090700000000000000"),
            ("\"Jan 1 2024\"", "150a4a616e20312032303234"),
            ("[]", "1e1500"),
            ("[true,null]", "1e232d02000101"),
            ("[1,\"x\"]", "1e2b20020a0100000000000000150178"),
            (
                "{\"b\":1,\"a\":{\"c\":\"x\"}}",
                "200201612001016315016 20a01780100000000000000",
            ),
            ("{}", "15027b7d"),
        ] {
            assert_eq!(hex(event), expected.replace(' ', ""), "{event}");
        }
    }

    #[test]
    fn arrays_have_the_type_that_holds_all_elements() {
        let type_of = |event| hex(event);
        for (event, start) in [
            ("[1,1.5,true]", "1e0e03"),
            ("[true,\"x\"]", "1e1502"),
            ("[\"2024-02-29\",\"2024-02-29 12:13:14\"]", "1e1102"),
            ("[\"2024-02-29\",\"x\"]", "1e1502"),
            ("[1,18446744073709551615]", "1e0402"),
            ("[-1,18446744073709551615]", "1e2b2002"),
            ("[[1],[],null]", "1e1e0a03"),
            ("[{\"a\":1},{\"b\":null}]", "1e20020161 0a 0162 2315 02"),
        ] {
            let start = start.replace(' ', "");
            assert!(type_of(event).starts_with(&start), "{event}: {}", type_of(event));
        }
    }

    #[test]
    fn values_that_clickhouse_refuses_are_refused() {
        for (event, problem) in [
            (r#"{"a":1,"a":2}"#, ValueError::PathTwice),
            (r#"{"a":{"b":1},"a.b":2}"#, ValueError::PathTwice),
            (r#"[{"a":[{"b":1}]},{"a.b":[]}]"#, ValueError::PathTwice),
            (r#"{"a":[1],"a.size0":2}"#, ValueError::PathTwice),
            (r#"{"a":null,"a.null":2}"#, ValueError::PathTwice),
            (r#"{"a":{"":1}}"#, ValueError::Malformed),
            (r#"{"null":1}"#, ValueError::Malformed),
            (r#"[{"a":1},{"a":"x"}]"#, ValueError::Malformed),
            (r#"[{"a":1},{"a":[]}]"#, ValueError::WrongKind),
            ("1e400", ValueError::OutOfRange),
        ] {
            assert_eq!(json::<Dynamic<'_>>(event), Err(problem), "{event}");
        }
        for event in [r#"{"a":{"b":1},"a.c":2}"#, r#"{"a":1,"a.b":2}"#, r#"[{"size0":1}]"#] {
            assert!(json::<Dynamic<'_>>(event).is_ok(), "{event}");
        }
        assert!(matches!(json::<Dynamic<'_>>("[1"), Err(ValueError::Syntax(_))));
    }

    #[test]
    fn text_is_a_text_or_a_date() {
        assert_eq!(bytes(&text::<Dynamic<'_>>("5").unwrap()), [0x15, 1, b'5']);
        assert_eq!(bytes(&text::<Dynamic<'_>>("1970-01-02").unwrap()), [0x0F, 1, 0]);
        assert_eq!(text::<Dynamic<'_>>("x").unwrap().as_str(), "x");
        assert_eq!(bytes(&Dynamic::default()), [0]);
    }
}
