//! `Tuple(T, …)` without names
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/tuple)): its elements in
//! order, as Rust tuples of up to twelve elements.
//!
//! The decoder accepts a JSON array of the same length. It parses text as JSON, and the elements of
//! that JSON as text.

use std::borrow::Cow;

use super::{
    Decode, Encode,
    array::{element, read_text},
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

macro_rules! tuple {
    ($($type:ident $index:tt),+) => {
        impl<'a, $($type: Decode<'a>),+> Decode<'a> for ($($type,)+) {
            fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
                let mut tuple = Self::default();
                match json.peek()? {
                    Kind::Array => {}
                    Kind::Null => return json.null().map(|()| tuple).map_err(ValueError::from),
                    _ => return Err(ValueError::WrongKind),
                }
                json.begin_array()?;
                $(
                    next(json)?;
                    tuple.$index = $type::from_json(json)?;
                )+
                end(json)?;
                Ok(tuple)
            }

            fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
                if !text.starts_with('[') {
                    return Err(ValueError::Malformed);
                }
                let mut tuple = Self::default();
                read_text(text, |json, own| {
                    json.begin_array()?;
                    $(
                        next(json)?;
                        tuple.$index = element(json, own)?;
                    )+
                    end(json)
                })?;
                Ok(tuple)
            }
        }

        impl<$($type: Encode),+> Encode for ($($type,)+) {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$index.put(out);)+
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

/// Moves to the next element, or fails if there is none.
pub(super) fn next(json: &mut Reader<'_>) -> Result<(), ValueError> {
    if json.next_element()? {
        Ok(())
    } else {
        Err(ValueError::WrongLength)
    }
}

/// Checks that no element is left.
pub(super) fn end(json: &mut Reader<'_>) -> Result<(), ValueError> {
    if json.next_element()? {
        Err(ValueError::WrongLength)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    type Pair<'a> = (Cow<'a, str>, i32);

    #[test]
    fn an_array_of_the_same_length_is_a_tuple() {
        assert_eq!(json(r#"["a", 1]"#), Ok((Cow::Borrowed("a"), 1)));
        assert_eq!(json("[null,null]"), Ok(Pair::default()));
        assert_eq!(json("null"), Ok(Pair::default()));
        assert_eq!(json("[[1]]"), Ok((vec![1u8],)));
        for event in ["[]", r#"["a"]"#, r#"["a",1,2]"#] {
            assert_eq!(json::<Pair<'_>>(event), Err(ValueError::WrongLength), "{event}");
        }
        for event in ["{}", "1", r#""[1,2]""#] {
            assert_eq!(json::<Pair<'_>>(event), Err(ValueError::WrongKind), "{event}");
        }
        assert_eq!(json::<Pair<'_>>(r#"[1,"a"]"#), Err(ValueError::Malformed));
    }

    #[test]
    fn text_is_the_json_of_an_array() {
        assert_eq!(text(r#"["a",1]"#), Ok((Cow::Borrowed("a"), 1)));
        assert_eq!(
            Pair::from_text(Cow::Owned(r#"["a",[1]"#.to_owned())),
            Err(ValueError::Malformed)
        );
        assert_eq!(text::<Pair<'_>>("a,1"), Err(ValueError::Malformed));
        assert_eq!(text::<Pair<'_>>("[1]"), Err(ValueError::WrongLength));
    }

    #[test]
    fn elements_are_encoded_in_order() {
        let twelve = (1u8, 2u8, 3u8, 4u8, 5u8, 6u8, 7u8, 8u8, 9u8, 10u8, 11u8, 12u8);
        assert_eq!(bytes(&twelve), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}
