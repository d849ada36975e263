//! `Map(K, V)` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/map)): the number
//! of entries, then each key and its value.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Decode, Encode,
    array::{element, empty_array, key, read_text},
    put_length,
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's `Map(K, V)`: entries in the order of the event. A key may occur twice, as in
/// ClickHouse.
///
/// The decoder accepts a JSON object, with its keys as text. It parses text as JSON, and the values
/// of that JSON as text. By the lenient rules, an empty array is an empty object.
///
/// ```
/// use std::borrow::Cow;
///
/// use rowmill_ingest::{json::Reader, value::{Decode, Map}};
///
/// let map = Map::<Cow<str>, u8>::from_json(&mut Reader::new(r#"{"a": 1}"#))?;
/// assert_eq!(map.0, [("a".into(), 1)]);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Map<K, V>(
    /// The entries.
    pub Vec<(K, V)>,
);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, K: Decode<'a>, V: Decode<'a>> Decode<'a> for Map<K, V> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Object => {}
            Kind::Null => return json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Array if json.is_lenient() => return empty_array(json).map(|()| Self::default()),
            _ => return Err(ValueError::WrongKind),
        }
        let mut entries = Vec::new();
        json.begin_object()?;
        while let Some(key) = json.next_key()? {
            entries.push((K::from_text(key)?, V::from_json(json)?));
        }
        Ok(Self(entries))
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        if !text.starts_with('{') {
            return Err(ValueError::Malformed);
        }
        let mut entries = Vec::new();
        read_text(text, |json, own| {
            json.begin_object()?;
            while let Some(name) = json.next_key()? {
                entries.push((key(name, own)?, element(json, own)?));
            }
            Ok(())
        })?;
        Ok(Self(entries))
    }
}

impl<K: Encode, V: Encode> Encode for Map<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, self.0.len());
        for (key, value) in &self.0 {
            key.put(out);
            value.put(out);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    type Numbers<'a> = Map<Cow<'a, str>, i32>;

    #[test]
    fn an_object_becomes_its_entries() {
        let map: Numbers<'_> = json(r#"{"a":1, "b":"2", "a":null}"#).unwrap();
        assert_eq!(map.0, [("a".into(), 1), ("b".into(), 2), ("a".into(), 0)]);
        assert_eq!(json(r#"{"1":true,"":false}"#), Ok(Map(vec![(1u8, true), (0, false)])));
        assert_eq!(json("null"), Ok(Numbers::default()));
        assert_eq!(json::<Map<u8, u8>>(r#"{"a":1}"#), Err(ValueError::Malformed));
        assert_eq!(json::<Numbers<'_>>(r#"{"a":"x"}"#), Err(ValueError::Malformed));
        for event in ["[]", r#"[["a",1]]"#, r#""{}""#, "1"] {
            assert_eq!(json::<Numbers<'_>>(event), Err(ValueError::WrongKind), "{event}");
        }
    }

    #[test]
    fn an_empty_array_is_an_empty_object_by_the_lenient_rules() {
        assert_eq!(lenient(" [ ] "), Ok(Numbers::default()));
        assert_eq!(lenient(r#"{"a":3.0}"#), Ok(Map(vec![(Cow::Borrowed("a"), 3)])));
        for event in ["[1]", "[[]]", r#""""#] {
            assert_eq!(lenient::<Numbers<'_>>(event), Err(ValueError::WrongKind), "{event}");
        }
        assert!(matches!(lenient::<Numbers<'_>>("["), Err(ValueError::Syntax(_))));
    }

    #[test]
    fn text_is_the_json_of_an_object() {
        assert_eq!(text(r#"{"a":1}"#), Ok(Map(vec![(Cow::Borrowed("a"), vec![1u8])])));
        let decoded = Numbers::from_text(Cow::Owned(r#"{"a":1}"#.to_owned())).unwrap();
        assert_eq!(decoded.0, [("a".into(), 1)]);
        for event in ["", "a", "[]", "{\"a\":1", "{\"a\":1}}"] {
            assert_eq!(text::<Numbers<'_>>(event), Err(ValueError::Malformed), "{event}");
        }
    }

    #[test]
    fn keys_are_encoded_before_their_values() {
        assert_eq!(bytes(&Map(vec![(Cow::Borrowed("a"), 7u8)])), [1, 1, b'a', 7]);
    }
}
