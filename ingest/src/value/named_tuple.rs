//! `Tuple(name T, …)`, a tuple with names
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/tuple)), declared by a macro.

use std::borrow::Cow;

use super::{
    Decode,
    array::{element, read_text},
    tuple::{end, next},
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// Declares a struct for a `Tuple` with names.
///
/// The decoder reads a JSON object by name: a missing element becomes its default, and an unknown
/// name has no effect. It reads a JSON array by position, and the array must have the same length.
/// It parses text as JSON, and the elements of that JSON as text. A block has the elements in
/// order.
///
/// The `clickhouse` crate can read such a column back only with `Client::with_validation(false)`,
/// because its type parser does not support names in tuples.
///
/// ```
/// use std::borrow::Cow;
///
/// use rowmill_ingest::{json::Reader, value::{Decode, named_tuple}};
///
/// named_tuple! {
///     /// A postal address.
///     pub struct Address<'a> {
///         /// The street with the number.
///         pub street: Cow<'a, str> = "street",
///         /// The postal code.
///         pub zip: u32 = "zip code",
///     }
/// }
///
/// let address = Address::from_json(&mut Reader::new(r#"{"zip code": 10115, "since": 1990}"#))?;
/// assert_eq!(address, Address { street: "".into(), zip: 10115 });
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[macro_export]
macro_rules! named_tuple {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident $(<$lifetime:lifetime>)? {
        $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty = $text:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Default)]
        $visibility struct $name $(<$lifetime>)? {
            $($(#[$field_attribute])* $field_visibility $field: $type),+
        }

        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            /// The names of the elements, in their order.
            $visibility const NAMES: &'static [&'static str] = &[$($text),+];
        }

        // The lifetime of the event is that of the struct, if the struct has one.
        $crate::named_tuple!(@decode $name, [$($lifetime)?], [$($field = $text),+]);

        $crate::named_tuple!(@owned $name, [$($lifetime)?], [$($field),+]);

        impl $(<$lifetime>)? $crate::value::Encode for $name $(<$lifetime>)? {
            #[inline]
            fn put(&self, out: &mut ::std::vec::Vec<u8>) {
                $($crate::value::Encode::put(&self.$field, out);)+
            }
        }

        impl $(<$lifetime>)? $crate::value::__serde::Serialize for $name $(<$lifetime>)? {
            fn serialize<__S>(&self, serializer: __S) -> ::std::result::Result<__S::Ok, __S::Error>
            where
                __S: $crate::value::__serde::Serializer,
            {
                use $crate::value::__serde::ser::SerializeTuple as _;

                let mut tuple = serializer.serialize_tuple(Self::NAMES.len())?;
                $(tuple.serialize_element(&self.$field)?;)+
                tuple.end()
            }
        }

        impl<'de $(, $lifetime)?> $crate::value::__serde::Deserialize<'de> for $name $(<$lifetime>)? {
            fn deserialize<__D>(deserializer: __D) -> ::std::result::Result<Self, __D::Error>
            where
                __D: $crate::value::__serde::Deserializer<'de>,
            {
                use $crate::value::__serde::de::Error as _;

                struct __Elements<__T>(::std::marker::PhantomData<__T>);

                impl<'de $(, $lifetime)?> $crate::value::__serde::de::Visitor<'de> for __Elements<$name $(<$lifetime>)?> {
                    type Value = $name $(<$lifetime>)?;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("the elements of a tuple")
                    }

                    fn visit_seq<__A>(self, mut elements: __A) -> ::std::result::Result<Self::Value, __A::Error>
                    where
                        __A: $crate::value::__serde::de::SeqAccess<'de>,
                    {
                        Ok($name {
                            $($field: elements
                                .next_element()?
                                .ok_or_else(|| __A::Error::custom(concat!("no element `", $text, "`")))?,)+
                        })
                    }
                }

                deserializer.deserialize_tuple(Self::NAMES.len(), __Elements::<Self>(::std::marker::PhantomData))
            }
        }
    };
    (@owned $name:ident, [], [$($field:ident),+]) => {
        impl $crate::value::IntoOwned for $name {
            type Owned = Self;

            fn into_owned(self) -> Self {
                self
            }
        }
    };
    (@owned $name:ident, [$lifetime:lifetime], [$($field:ident),+]) => {
        impl<$lifetime> $crate::value::IntoOwned for $name<$lifetime> {
            type Owned = $name<'static>;

            fn into_owned(self) -> Self::Owned {
                $name { $($field: $crate::value::IntoOwned::into_owned(self.$field)),+ }
            }
        }
    };
    (@decode $name:ident, [], [$($field:ident = $text:literal),+]) => {
        $crate::named_tuple!(@impl ['a], $name, [], [$($field = $text),+]);
    };
    (@decode $name:ident, [$lifetime:lifetime], [$($field:ident = $text:literal),+]) => {
        $crate::named_tuple!(@impl [$lifetime], $name, [<$lifetime>], [$($field = $text),+]);
    };
    (@impl [$event:lifetime], $name:ident, [$($arguments:tt)*], [$($field:ident = $text:literal),+]) => {
        impl<$event> $crate::value::__NamedTuple<$event> for $name $($arguments)* {
            fn put(
                &mut self,
                name: &str,
                value: $crate::value::__Element<'_, '_, $event>,
            ) -> ::std::result::Result<(), $crate::refusal::ValueError> {
                match name {
                    $($text => value.read(&mut self.$field),)+
                    _ => value.skip(),
                }
            }

            fn names(&self) -> &'static [&'static str] {
                Self::NAMES
            }
        }

        impl<$event> $crate::value::Decode<$event> for $name $($arguments)* {
            fn from_json(json: &mut $crate::json::Reader<$event>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                let mut tuple = Self::default();
                $crate::value::__named_tuple_from_json(&mut tuple, json)?;
                Ok(tuple)
            }

            fn from_json_among(json: &mut $crate::json::Reader<$event>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                if json.peek()? == $crate::json::Kind::Array {
                    return Err($crate::refusal::ValueError::WrongKind);
                }
                Self::from_json(json)
            }

            fn from_text(text: ::std::borrow::Cow<$event, str>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                let mut tuple = Self::default();
                $crate::value::__named_tuple_from_text(&mut tuple, text)?;
                Ok(tuple)
            }
        }
    };
}

/// The part of a named tuple that the macro writes. All other code is compiled only once.
pub trait NamedTuple<'a> {
    /// Reads the element with this name.
    fn put(&mut self, name: &str, value: Element<'_, '_, 'a>) -> Result<(), ValueError>;

    /// Returns the names of all elements.
    fn names(&self) -> &'static [&'static str];
}

/// The value of an element, not yet read.
#[derive(Debug)]
pub enum Element<'r, 't, 'a> {
    /// Read from an event's JSON.
    Json(&'r mut Reader<'a>),
    /// Read from the JSON of a text.
    Text(&'r mut Reader<'t>, fn(Cow<'t, str>) -> Cow<'a, str>),
}

impl<'a> Element<'_, '_, 'a> {
    /// Reads the value into its field.
    pub fn read<T: Decode<'a>>(self, field: &mut T) -> Result<(), ValueError> {
        *field = match self {
            Self::Json(json) => T::from_json(json)?,
            Self::Text(json, own) => element(json, own)?,
        };
        Ok(())
    }

    /// Skips the value.
    pub fn skip(self) -> Result<(), ValueError> {
        match self {
            Self::Json(json) => json.skip()?,
            Self::Text(json, _) => json.skip()?,
        }
        Ok(())
    }
}

/// Reads a named tuple from an object or an array.
pub fn named_tuple_from_json<'a>(tuple: &mut dyn NamedTuple<'a>, json: &mut Reader<'a>) -> Result<(), ValueError> {
    match json.peek()? {
        Kind::Object => {
            json.begin_object()?;
            while let Some(name) = json.next_key()? {
                tuple.put(&name, Element::Json(json))?;
            }
            Ok(())
        }
        Kind::Array => {
            json.begin_array()?;
            for name in tuple.names() {
                next(json)?;
                tuple.put(name, Element::Json(json))?;
            }
            end(json)
        }
        Kind::Null => Ok(json.null()?),
        Kind::Bool | Kind::Number | Kind::String => Err(ValueError::WrongKind),
    }
}

/// Reads a named tuple from the text of an object or an array.
pub fn named_tuple_from_text<'a>(tuple: &mut dyn NamedTuple<'a>, text: Cow<'a, str>) -> Result<(), ValueError> {
    if !text.starts_with(['{', '[']) {
        return Err(ValueError::Malformed);
    }
    read_text(text, |json, own| {
        if json.peek()? == Kind::Object {
            json.begin_object()?;
            while let Some(name) = json.next_key()? {
                tuple.put(&name, Element::Text(json, own))?;
            }
            return Ok(());
        }
        json.begin_array()?;
        for name in tuple.names() {
            next(json)?;
            tuple.put(name, Element::Text(json, own))?;
        }
        end(json)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    crate::named_tuple! {
        struct Borrowing<'a> { pub a: Cow<'a, str> = "a", pub b: i32 = "b c" }
    }
    crate::named_tuple! {
        struct Plain { n: u8 = "n" }
    }

    fn borrowing(a: &str, b: i32) -> Borrowing<'_> {
        Borrowing { a: a.into(), b }
    }

    #[test]
    fn an_object_is_read_by_name() {
        for (event, expected) in [
            (r#"{"b c":1,"a":"x"}"#, borrowing("x", 1)),
            (r#"{"a":1,"z":{"d":[1]},"b c":"2"}"#, borrowing("1", 2)),
            (r#"{"a":"x","a":"y"}"#, borrowing("y", 0)),
            (r#"{"a":null,"b c":null}"#, borrowing("", 0)),
            ("{}", borrowing("", 0)),
            ("null", borrowing("", 0)),
            (r#"["x",1]"#, borrowing("x", 1)),
        ] {
            assert_eq!(json(event), Ok(expected), "{event}");
        }
        assert_eq!(json(r#"{"n":7}"#), Ok(Plain { n: 7 }));
        assert_eq!(json::<Borrowing<'_>>(r#"["x"]"#), Err(ValueError::WrongLength));
        assert_eq!(json::<Borrowing<'_>>(r#"["x",1,2]"#), Err(ValueError::WrongLength));
        assert_eq!(json::<Borrowing<'_>>(r#"{"b c":"x"}"#), Err(ValueError::Malformed));
        assert_eq!(json::<Borrowing<'_>>(r#""{}""#), Err(ValueError::WrongKind));
        assert_eq!(json("[{\"n\":1},null]"), Ok(vec![Plain { n: 1 }, Plain { n: 0 }]));
    }

    #[test]
    fn text_is_the_json_of_an_object_or_an_array() {
        for event in [r#"{"a":"x","b c":1,"z":[]}"#, r#"["x",1]"#] {
            assert_eq!(text(event), Ok(borrowing("x", 1)), "{event}");
            assert_eq!(
                Borrowing::from_text(Cow::Owned(event.to_owned())),
                Ok(borrowing("x", 1)),
                "{event}"
            );
        }
        for event in ["", "x", "{", "{} {}"] {
            assert_eq!(text::<Borrowing<'_>>(event), Err(ValueError::Malformed), "{event}");
        }
    }

    #[test]
    fn elements_are_encoded_in_order() {
        assert_eq!(bytes(&borrowing("x", 1)), [1, b'x', 1, 0, 0, 0]);
        assert_eq!(Borrowing::NAMES, ["a", "b c"]);
    }
}
