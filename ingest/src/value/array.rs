//! `Array(T)` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/array)): the
//! number of elements, then each element.

use std::borrow::Cow;

use super::{Decode, Encode, put_length};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// Read from a JSON array. By the lenient rules, any other JSON value but `null` is the only
/// element of an array. Text that begins with `[` is read as JSON, and its elements as text. Empty
/// text is an empty array; any other text is the only element of an array.
impl<'a, T: Decode<'a>> Decode<'a> for Vec<T> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Array => {}
            Kind::Null => return json.null().map(|()| Self::new()).map_err(ValueError::from),
            _ if json.is_lenient() => return Ok(vec![T::from_json(json)?]),
            _ => return Err(ValueError::WrongKind),
        }
        let mut elements = Self::new();
        json.begin_array()?;
        while json.next_element()? {
            elements.push(T::from_json(json)?);
        }
        Ok(elements)
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        if text.is_empty() {
            return Ok(Self::new());
        }
        if !text.starts_with('[') {
            return Ok(vec![T::from_text(text)?]);
        }
        let mut elements = Self::new();
        read_text(text, |json, own| {
            json.begin_array()?;
            while json.next_element()? {
                elements.push(element(json, own)?);
            }
            Ok(())
        })?;
        Ok(elements)
    }
}

impl<T: Encode> Encode for Vec<T> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_length(out, self.len());
        for element in self {
            element.put(out);
        }
    }
}

/// Reads an array without elements.
pub(super) fn empty_array(json: &mut Reader<'_>) -> Result<(), ValueError> {
    json.begin_array()?;
    if json.next_element()? {
        Err(ValueError::WrongKind)
    } else {
        Ok(())
    }
}

/// Extends the lifetime of a piece of text to that of the event, with a copy if needed.
pub(super) type Own<'t, 'a> = fn(Cow<'t, str>) -> Cow<'a, str>;

/// Reads text that is the JSON of an array or an object, to its end.
///
/// Text that is borrowed from the event gives borrowed pieces. Decoded text is dropped here, so its
/// pieces are copied.
pub(super) fn read_text<'a>(
    text: Cow<'a, str>,
    read: impl for<'t> FnOnce(&mut Reader<'t>, Own<'t, 'a>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    fn read_all<'t, 'a>(
        text: &'t str,
        own: Own<'t, 'a>,
        read: impl FnOnce(&mut Reader<'t>, Own<'t, 'a>) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        let mut json = Reader::new(text);
        read(&mut json, own)?;
        Ok(json.end()?)
    }

    let result = match text {
        Cow::Borrowed(text) => read_all(text, |piece| piece, read),
        Cow::Owned(text) => read_all(&text, |piece| Cow::Owned(piece.into_owned()), read),
    };
    result.map_err(|problem| match problem {
        // The event itself is valid JSON, or not JSON at all; the error is in one of its texts.
        ValueError::Syntax(_) => ValueError::Malformed,
        problem => problem,
    })
}

/// Reads an element of a text's JSON as text.
///
/// All texts are read this way, decoded or not: an element read as JSON would have to borrow from a
/// text that may not live long enough.
pub(super) fn element<'t, 'a, T: Decode<'a>>(json: &mut Reader<'t>, own: Own<'t, 'a>) -> Result<T, ValueError> {
    let text = match json.peek()? {
        Kind::Null => return json.null().map(|()| T::default()).map_err(ValueError::from),
        Kind::String => json.string()?,
        _ => Cow::Borrowed(json.raw_value()?),
    };
    T::from_text(own(text))
}

/// Reads the key of a map.
pub(super) fn key<'t, 'a, T: Decode<'a>>(key: Cow<'t, str>, own: Own<'t, 'a>) -> Result<T, ValueError> {
    T::from_text(own(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    #[test]
    fn elements_are_read_as_values_of_their_type() {
        assert_eq!(json(r#"[1, "2", true, null]"#), Ok(vec![1u8, 2, 1, 0]));
        assert_eq!(json("[1,null]"), Ok(vec![Some(1u8), None]));
        assert_eq!(json("[]"), Ok(Vec::<u8>::new()));
        assert_eq!(json("null"), Ok(Vec::<u8>::new()));
        assert_eq!(json("[[1],[],null]"), Ok(vec![vec![1u8], vec![], vec![]]));
        let texts: Vec<Cow<'_, str>> = json(r#"["a",1.5,null,[1 ],{"k":1}]"#).unwrap();
        assert_eq!(texts, ["a", "1.5", "", "[1 ]", r#"{"k":1}"#]);
        for event in ["1", r#""""#, r#""[1]""#, "{}", "true", "[[1]]"] {
            assert_eq!(json::<Vec<u8>>(event), Err(ValueError::WrongKind), "{event}");
        }
        assert_eq!(json::<Vec<u8>>("[1,256]"), Err(ValueError::OutOfRange));
        assert!(matches!(json::<Vec<u8>>("[1,]"), Err(ValueError::Syntax(_))));
    }

    #[test]
    fn one_value_is_the_only_element_by_the_lenient_rules() {
        assert_eq!(lenient("1"), Ok(vec![1u8]));
        assert_eq!(lenient(r#""2""#), Ok(vec![2u8]));
        assert_eq!(lenient("[1, 2.0]"), Ok(vec![1u8, 2]));
        assert_eq!(lenient("null"), Ok(Vec::<u8>::new()));
        assert_eq!(lenient("1"), Ok(vec![vec![1u8]]));
        assert_eq!(lenient("[1, [2]]"), Ok(vec![vec![1u8], vec![2]]));
        assert_eq!(
            lenient(r#"{"k":1}"#),
            Ok(vec![super::super::Map(vec![(Cow::Borrowed("k"), 1u8)])])
        );
        let texts: Vec<Cow<'_, str>> = lenient(r#""[1]""#).unwrap();
        assert_eq!(texts, ["[1]"], "a JSON string is one element");
        assert_eq!(lenient::<Vec<u8>>("256"), Err(ValueError::OutOfRange));
        assert_eq!(lenient::<Vec<u8>>("{}"), Err(ValueError::WrongKind));
    }

    #[test]
    fn text_is_an_array_or_its_one_element() {
        for (event, expected) in [
            ("x", vec!["x"]),
            ("", vec![]),
            (r#"["a\n",1,null]"#, vec!["a\n", "1", ""]),
            (" [", vec![" ["]),
        ] {
            assert_eq!(text::<Vec<Cow<'_, str>>>(event).unwrap(), expected);
            let decoded: Vec<Cow<'_, str>> = Decode::from_text(Cow::Owned(event.to_owned())).unwrap();
            assert_eq!(decoded, expected);
        }
        assert_eq!(text("[[1],2]"), Ok(vec![vec![1u8], vec![2]]));
        assert_eq!(text::<Vec<u8>>("[1"), Err(ValueError::Malformed));
        assert_eq!(text::<Vec<u8>>("[1] 2"), Err(ValueError::Malformed));
        assert_eq!(text::<Vec<u8>>("x"), Err(ValueError::Malformed));
    }

    #[test]
    fn the_number_of_elements_is_encoded_first() {
        assert_eq!(bytes(&vec![1u16, 2]), [2, 1, 0, 2, 0]);
        assert_eq!(bytes(&vec![0u8; 200])[..2], [0xC8, 1]);
    }
}
