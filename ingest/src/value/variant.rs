//! `Variant(T, …)` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/variant)),
//! declared by a macro: one byte for the number of the type (255 for NULL), then the value.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeTuple};

use super::Decode;
use crate::{
    json::{Kind, Position, Reader},
    table::refusal::ValueError,
};

/// The number of NULL, in place of a type's number.
pub const NULL: u8 = u8::MAX;

/// Declares an enum for a `Variant`: its types, each with its number, and the orders in which they
/// are tried.
///
/// A value becomes the first type that accepts it, and is refused if none does; `null` is `Null`.
/// Text that begins with `[` or `{` is tried in the order `json`, since arrays and maps accept only
/// such text. Other text is tried in the order `text`.
///
/// The `clickhouse` crate reads NULL back only with `Client::with_validation(false)`.
///
/// ```
/// use std::borrow::Cow;
///
/// use rowmill_ingest::{json::Reader, value::{Decode, variant}};
///
/// variant! {
///     /// An amount, or the reason why there is none.
///     pub enum Amount<'a> {
///         /// The reason.
///         String(Cow<'a, str>) = 0,
///         /// The amount.
///         UInt64(u64) = 1,
///     }
///     json: [UInt64, String];
///     text: [UInt64, String];
/// }
///
/// assert_eq!(Amount::from_json(&mut Reader::new("12"))?, Amount::UInt64(12));
/// assert_eq!(Amount::from_json(&mut Reader::new("-12"))?, Amount::String("-12".into()));
/// assert_eq!(Amount::from_json(&mut Reader::new("null"))?, Amount::Null);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[macro_export]
macro_rules! variant {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident $(<$lifetime:lifetime>)? {
        $($(#[$variant_attribute:meta])* $variant:ident($type:ty) = $number:literal),+ $(,)?
    }
    json: [$($json:ident),+];
    text: [$($text:ident),*];) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Default)]
        $visibility enum $name $(<$lifetime>)? {
            /// NULL.
            #[default]
            Null,
            $($(#[$variant_attribute])* $variant($type)),+
        }

        // The lifetime of the event is that of the enum, if the enum has one.
        $crate::variant!(@decode $name, [$($lifetime)?], [$($json),+], [$($text),*]);

        $crate::variant!(@owned $name, [$($lifetime)?], [$($variant),+]);

        impl $(<$lifetime>)? $crate::value::Encode for $name $(<$lifetime>)? {
            fn put(&self, out: &mut ::std::vec::Vec<u8>) {
                match self {
                    Self::Null => out.push($crate::value::__VARIANT_NULL),
                    $(Self::$variant(value) => {
                        out.push($number);
                        $crate::value::Encode::put(value, out);
                    })+
                }
            }
        }

        impl $(<$lifetime>)? $crate::value::__serde::Serialize for $name $(<$lifetime>)? {
            fn serialize<__S>(&self, serializer: __S) -> ::std::result::Result<__S::Ok, __S::Error>
            where
                __S: $crate::value::__serde::Serializer,
            {
                match self {
                    Self::Null => serializer.serialize_newtype_variant(
                        stringify!($name),
                        u32::from($crate::value::__VARIANT_NULL),
                        "Null",
                        &$crate::value::__Nothing,
                    ),
                    $(Self::$variant(value) => {
                        serializer.serialize_newtype_variant(stringify!($name), $number, stringify!($variant), value)
                    })+
                }
            }
        }

        impl<'de $(, $lifetime)?> $crate::value::__serde::Deserialize<'de> for $name $(<$lifetime>)? {
            fn deserialize<__D>(deserializer: __D) -> ::std::result::Result<Self, __D::Error>
            where
                __D: $crate::value::__serde::Deserializer<'de>,
            {
                use $crate::value::__serde::de::{Error as _, VariantAccess as _};

                struct __Values<__T>(::std::marker::PhantomData<__T>);

                impl<'de $(, $lifetime)?> $crate::value::__serde::de::Visitor<'de> for __Values<$name $(<$lifetime>)?> {
                    type Value = $name $(<$lifetime>)?;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("a value of a Variant")
                    }

                    fn visit_enum<__A>(self, data: __A) -> ::std::result::Result<Self::Value, __A::Error>
                    where
                        __A: $crate::value::__serde::de::EnumAccess<'de>,
                    {
                        let ($crate::value::__VariantNumber(number), value) = data.variant()?;
                        match number {
                            $crate::value::__VARIANT_NULL => value
                                .newtype_variant::<$crate::value::__Nothing>()
                                .map(|_| $name::Null),
                            $($number => value.newtype_variant().map($name::$variant),)+
                            number => Err(__A::Error::custom(format_args!("no type of the Variant has the number {number}"))),
                        }
                    }
                }

                deserializer.deserialize_enum(
                    stringify!($name),
                    &[$(stringify!($variant)),+],
                    __Values::<Self>(::std::marker::PhantomData),
                )
            }
        }
    };
    (@owned $name:ident, [], [$($variant:ident),+]) => {
        impl $crate::value::IntoOwned for $name {
            type Owned = Self;

            fn into_owned(self) -> Self {
                self
            }
        }
    };
    (@owned $name:ident, [$lifetime:lifetime], [$($variant:ident),+]) => {
        impl<$lifetime> $crate::value::IntoOwned for $name<$lifetime> {
            type Owned = $name<'static>;

            fn into_owned(self) -> Self::Owned {
                match self {
                    Self::Null => $name::Null,
                    $(Self::$variant(value) => $name::$variant($crate::value::IntoOwned::into_owned(value)),)+
                }
            }
        }
    };
    (@decode $name:ident, [], $json:tt, $text:tt) => {
        $crate::variant!(@impl ['a], $name, [], $json, $text);
    };
    (@decode $name:ident, [$lifetime:lifetime], $json:tt, $text:tt) => {
        $crate::variant!(@impl [$lifetime], $name, [<$lifetime>], $json, $text);
    };
    (@impl [$event:lifetime], $name:ident, [$($arguments:tt)*], [$($json:ident),+], [$($text:ident),*]) => {
        impl<$event> $crate::value::Decode<$event> for $name $($arguments)* {
            fn from_json(json: &mut $crate::json::Reader<$event>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                let mut attempt = match $crate::value::__Attempt::at(json)? {
                    ::std::option::Option::Some(attempt) => attempt,
                    ::std::option::Option::None => return Ok(Self::Null),
                };
                $(
                    if let ::std::option::Option::Some(value) = attempt.read(json)? {
                        return Ok(Self::$json(value));
                    }
                )+
                Err(attempt.problem())
            }

            fn from_text(text: ::std::borrow::Cow<$event, str>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                if text.starts_with(['[', '{']) {
                    $(
                        if let Ok(value) = $crate::value::__read_again(&text) {
                            return Ok(Self::$json(value));
                        }
                    )+
                } else {
                    $(
                        if let Ok(value) = $crate::value::__read_again(&text) {
                            return Ok(Self::$text(value));
                        }
                    )*
                }
                Err($crate::refusal::ValueError::NoneOfTheTypes)
            }
        }
    };
}

/// A value that is read as one type after the other.
#[derive(Debug)]
pub struct Attempt {
    start: Position,
}

impl Attempt {
    /// Starts at a value; returns `None` for NULL, which it consumes.
    pub fn at(json: &mut Reader<'_>) -> Result<Option<Self>, ValueError> {
        if json.peek()? == Kind::Null {
            json.null()?;
            return Ok(None);
        }
        Ok(Some(Self { start: json.position() }))
    }

    /// Reads the value as one type; returns `None` if the type does not accept it.
    pub fn read<'a, T: Decode<'a>>(&mut self, json: &mut Reader<'a>) -> Result<Option<T>, ValueError> {
        // ClickHouse tries the types by its own rules.
        let is_lenient = json.set_lenient(false);
        let result = T::from_json_among(json);
        json.set_lenient(is_lenient);
        match result {
            Ok(value) => Ok(Some(value)),
            // The value is not JSON for any of the types.
            Err(ValueError::Syntax(error)) => Err(ValueError::Syntax(error)),
            Err(_) => {
                json.seek(self.start);
                Ok(None)
            }
        }
    }

    /// Returns the reason why the value is refused.
    pub const fn problem(&self) -> ValueError {
        ValueError::NoneOfTheTypes
    }
}

/// Reads the same text as one of several types.
#[expect(clippy::ptr_arg, reason = "a clone borrows for as long as the original")]
pub fn read_again<'a, T: Decode<'a>>(text: &Cow<'a, str>) -> Result<T, ValueError> {
    T::from_text(text.clone())
}

/// The number of a type, as the `clickhouse` crate reads it.
#[derive(Debug)]
pub struct VariantNumber(pub u8);

impl<'de> Deserialize<'de> for VariantNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl serde::de::Visitor<'_> for Number {
            type Value = VariantNumber;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the number of a type")
            }

            fn visit_u8<E>(self, number: u8) -> Result<Self::Value, E> {
                Ok(VariantNumber(number))
            }
        }

        deserializer.deserialize_identifier(Number)
    }
}

/// The empty value after the number of NULL.
#[derive(Debug)]
pub struct Nothing;

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_tuple(0)?.end()
    }
}

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    crate::variant! {
        enum Plain { Int8(i8) = 0, Bool(bool) = 1 }
        json: [Bool, Int8];
        text: [Bool, Int8];
    }
    crate::variant! {
        enum Borrowing<'a> { ArrayUInt8(Vec<u8>) = 0, String(Cow<'a, str>) = 1, UInt8(u8) = 2 }
        json: [ArrayUInt8, UInt8, String];
        text: [UInt8, String];
    }

    #[test]
    fn a_value_has_the_first_type_that_accepts_it() {
        for (event, expected) in [
            ("5", Borrowing::UInt8(5)),
            ("\"5\"", Borrowing::UInt8(5)),
            ("300", Borrowing::String("300".into())),
            ("[1,2]", Borrowing::ArrayUInt8(vec![1, 2])),
            ("[300]", Borrowing::String("[300]".into())),
            ("{\"a\":[]}", Borrowing::String("{\"a\":[]}".into())),
            ("null", Borrowing::Null),
        ] {
            assert_eq!(json(event), Ok(expected), "{event}");
        }
        assert_eq!(
            json("[true,2,null]"),
            Ok(vec![Plain::Bool(true), Plain::Int8(2), Plain::Null])
        );
        assert_eq!(json::<Plain>("300"), Err(ValueError::NoneOfTheTypes));
        assert!(matches!(json::<Borrowing<'_>>("[1"), Err(ValueError::Syntax(_))));
        assert!(matches!(
            json::<Borrowing<'_>>("\"plain\""),
            Ok(Borrowing::String(Cow::Borrowed("plain")))
        ));
    }

    #[test]
    fn no_type_is_tried_by_the_lenient_rules() {
        assert_eq!(lenient("5"), Ok(Borrowing::UInt8(5)));
        assert_eq!(lenient("5.0"), Ok(Borrowing::String("5.0".into())));
        assert_eq!(lenient::<Vec<Plain>>("[5, 3.0]"), Err(ValueError::NoneOfTheTypes));
        // The rules of the column hold again after the value.
        assert_eq!(lenient("[5, 3.0]"), Ok((Plain::Int8(5), 3u8)));
    }

    #[test]
    fn text_is_an_array_in_brackets_only() {
        for (event, expected) in [
            ("5", Borrowing::UInt8(5)),
            ("x", Borrowing::String("x".into())),
            ("[1]", Borrowing::ArrayUInt8(vec![1])),
            ("[x", Borrowing::String("[x".into())),
            ("null", Borrowing::String("null".into())),
        ] {
            assert_eq!(text(event), Ok(expected), "{event}");
        }
        assert_eq!(text::<Plain>("x"), Err(ValueError::NoneOfTheTypes));
    }

    #[test]
    fn the_number_is_encoded_before_the_value() {
        assert_eq!(bytes(&Borrowing::UInt8(7)), [2, 7]);
        assert_eq!(bytes(&Borrowing::String("é".into())), [1, 2, 0xC3, 0xA9]);
        assert_eq!(bytes(&Borrowing::Null), [255]);
    }
}
