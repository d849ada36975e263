//! `Nullable(T)` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/nullable)): the
//! byte 1 for NULL, or the byte 0 and then the value.

use std::borrow::Cow;

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// JSON `null` is NULL. Text is never NULL: a field that is present has a value, even if its text
/// is `null` or empty.
impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    #[inline]
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        if json.peek()? == Kind::Null {
            json.null()?;
            return Ok(None);
        }
        T::from_json(json).map(Some)
    }

    #[inline]
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        T::from_text(text).map(Some)
    }
}

impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(1),
            Some(value) => {
                out.push(0);
                value.put(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn only_jsons_null_is_null() {
        assert_eq!(json::<Option<i32>>("null"), Ok(None));
        assert_eq!(json("1"), Ok(Some(1)));
        assert_eq!(json(r#""""#), Ok(Some(0)));
        assert_eq!(json::<Option<i32>>(r#""null""#), Err(ValueError::Malformed));
        assert_eq!(text("null"), Ok(Some(Cow::Borrowed("null"))));
        assert_eq!(bytes(&None::<i32>), [1]);
        assert_eq!(bytes(&Some(7i16)), [0, 7, 0]);
    }
}
