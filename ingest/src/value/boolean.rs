//! `Bool`: one byte, 0 or 1
//! ([ClickHouse: Bool](https://clickhouse.com/docs/sql-reference/data-types/boolean)).

use std::borrow::Cow;

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The words that ClickHouse's text formats accept, in any case; browsers send `on` for a checked
/// box.
const WORDS: [(&str, bool); 16] = [
    ("1", true),
    ("0", false),
    ("true", true),
    ("false", false),
    ("t", true),
    ("f", false),
    ("yes", true),
    ("no", false),
    ("y", true),
    ("n", false),
    ("on", true),
    ("off", false),
    ("enable", true),
    ("disable", false),
    ("enabled", true),
    ("disabled", false),
];

/// JSON: `true`, `false`, and the numbers 1 and 0. A JSON string is refused with any content, as in
/// ClickHouse. Text: the words that ClickHouse's text formats accept.
impl<'a> Decode<'a> for bool {
    #[inline]
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Bool => Ok(json.bool()?),
            Kind::Null => json.null().map(|()| false).map_err(ValueError::from),
            Kind::Number => match json.number()? {
                "1" => Ok(true),
                "0" => Ok(false),
                _ => Err(ValueError::OutOfRange),
            },
            Kind::String | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text))
            .map(|&(_, value)| value)
            .ok_or(ValueError::Malformed)
    }
}

impl Encode for bool {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn booleans_have_two_forms_in_json_and_many_in_text() {
        assert_eq!(json("true"), Ok(true));
        assert_eq!(json("false"), Ok(false));
        assert_eq!(json("1"), Ok(true));
        assert_eq!(json("0"), Ok(false));
        assert_eq!(json("null"), Ok(false));
        for event in ["2", "-1", "1.0", "10", "-0"] {
            assert_eq!(json::<bool>(event), Err(ValueError::OutOfRange), "{event}");
        }
        for event in [r#""true""#, r#""1""#, r#""""#, "[]", "{}"] {
            assert_eq!(json::<bool>(event), Err(ValueError::WrongKind), "{event}");
        }
        assert_eq!(text("TRUE"), Ok(true));
        assert_eq!(text("on"), Ok(true));
        assert_eq!(text("No"), Ok(false));
        assert_eq!(text::<bool>(""), Err(ValueError::Malformed));
        assert_eq!(text::<bool>("2"), Err(ValueError::Malformed));
        assert_eq!(bytes(&true), [1]);
    }
}
