//! `Enum8` and `Enum16` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/enum)),
//! declared by a macro.

/// Declares an enum for an `Enum8` (as `i8`) or `Enum16` (as `i16`) column.
///
/// A value is read from a name, or from a number, as a number or as text; a name takes
/// precedence. The default is the variant with the smallest number, as in ClickHouse. A block has
/// the number, little-endian.
///
/// ```
/// use rowmill_ingest::{refusal::ValueError, value::{Decode, enumeration}};
///
/// enumeration! {
///     /// The status of a mail.
///     pub enum State: i8 {
///         /// It was read.
///         Open = 1 => "open",
///         /// It was returned.
///         Bounced = -3 => "bounced",
///     }
/// }
///
/// assert_eq!(State::from_text("open".into()), Ok(State::Open));
/// assert_eq!(State::from_text("-3".into()), Ok(State::Bounced));
/// assert_eq!(State::from_text("shut".into()), Err(ValueError::UnknownName));
/// assert_eq!(State::default(), State::Bounced);
/// assert_eq!(State::Open.to_string(), "open");
/// ```
#[macro_export]
macro_rules! enumeration {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident: $number:ident {
        $($(#[$variant_attribute:meta])* $variant:ident = $value:literal => $text:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($number)]
        $visibility enum $name { $($(#[$variant_attribute])* $variant = $value),+ }

        impl $name {
            /// All variants, in the order of the declaration.
            $visibility const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the variant's name in ClickHouse.
            $visibility const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Returns the variant with this number.
            $visibility const fn from_number(number: $number) -> ::std::option::Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the variant's number in ClickHouse.
            $visibility const fn number(self) -> $number {
                self as $number
            }
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                const SMALLEST: $name = {
                    let mut smallest = $name::ALL[0];
                    let mut index = 1;
                    while index < $name::ALL.len() {
                        if $name::ALL[index].number() < smallest.number() {
                            smallest = $name::ALL[index];
                        }
                        index += 1;
                    }
                    smallest
                };
                SMALLEST
            }
        }

        impl $crate::value::IntoOwned for $name {
            type Owned = Self;

            fn into_owned(self) -> Self {
                self
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl<'a> $crate::value::Decode<'a> for $name {
            fn from_json(json: &mut $crate::json::Reader<'a>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                use $crate::{json::Kind, refusal::ValueError};

                match json.peek()? {
                    Kind::String => Self::from_text(json.string()?),
                    Kind::Number => match <$number as $crate::value::Decode<'a>>::from_json(json) {
                        Ok(number) => Self::from_number(number).ok_or(ValueError::UnknownName),
                        Err(ValueError::OutOfRange) => Err(ValueError::UnknownName),
                        Err(problem) => Err(problem),
                    },
                    Kind::Null => {
                        json.null()?;
                        Ok(Self::default())
                    }
                    Kind::Bool | Kind::Array | Kind::Object => Err(ValueError::WrongKind),
                }
            }

            fn from_text(text: ::std::borrow::Cow<'a, str>) -> ::std::result::Result<Self, $crate::refusal::ValueError> {
                match &*text {
                    $($text => Ok(Self::$variant),)+
                    other => other
                        .parse()
                        .ok()
                        .and_then(Self::from_number)
                        .ok_or($crate::refusal::ValueError::UnknownName),
                }
            }
        }

        impl $crate::value::JsonPath for $name {
            fn check(json: &mut $crate::json::Reader<'_>) -> ::std::result::Result<(), $crate::refusal::ValueError> {
                $crate::value::__check_name::<Self>(json)
            }

            fn may_take(json: &$crate::json::Reader<'_>) -> bool {
                $crate::value::__may_take_name::<Self>(json)
            }
        }

        impl $crate::value::Encode for $name {
            #[inline]
            fn put(&self, out: &mut ::std::vec::Vec<u8>) {
                $crate::value::Encode::put(&self.number(), out);
            }
        }

        impl $crate::value::__serde::Serialize for $name {
            fn serialize<S>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error>
            where
                S: $crate::value::__serde::Serializer,
            {
                $crate::value::__serde::Serialize::serialize(&self.number(), serializer)
            }
        }

        impl<'de> $crate::value::__serde::Deserialize<'de> for $name {
            fn deserialize<D>(deserializer: D) -> ::std::result::Result<Self, D::Error>
            where
                D: $crate::value::__serde::Deserializer<'de>,
            {
                use $crate::value::__serde::de::Error;

                let number = <$number as $crate::value::__serde::Deserialize>::deserialize(deserializer)?;
                Self::from_number(number).ok_or_else(|| D::Error::custom("a number that the enum does not have"))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::super::{Decode, testing::*};
    use crate::table::refusal::ValueError;

    crate::enumeration! {
        enum State: i8 { Open = 1 => "open", Closed = -3 => "closed", Odd = 2 => "1" }
    }
    crate::enumeration! {
        enum Wide: i16 { Some = 300 => "some", Empty = 5 => "" }
    }

    #[test]
    fn names_and_numbers_are_read() {
        assert_eq!(json(r#""open""#), Ok(State::Open));
        assert_eq!(json(r#""o\u0070en""#), Ok(State::Open));
        assert_eq!(json("-3"), Ok(State::Closed));
        assert_eq!(json(r#""-3""#), Ok(State::Closed));
        assert_eq!(json(r#""1""#), Ok(State::Odd), "a name wins over a number");
        assert_eq!(json("1"), Ok(State::Open));
        assert_eq!(json(r#""""#), Ok(Wide::Empty));
        for event in [
            r#""OPEN""#,
            r#"" open""#,
            r#""""#,
            r#""7""#,
            "7",
            "300",
            "99999999999999999999",
        ] {
            assert_eq!(json::<State>(event), Err(ValueError::UnknownName), "{event}");
        }
        assert_eq!(json::<State>("1.0"), Err(ValueError::NotAnInteger));
        for event in ["true", "[]", "{}"] {
            assert_eq!(json::<State>(event), Err(ValueError::WrongKind), "{event}");
        }
    }

    #[test]
    fn the_smallest_number_is_the_default() {
        assert_eq!(State::default(), State::Closed);
        assert_eq!(Wide::default(), Wide::Empty);
        assert_eq!(json("null"), Ok(State::Closed));
        assert_eq!(State::from_text("open".into()).map(State::name), Ok("open"));
    }

    #[test]
    fn the_number_is_encoded() {
        assert_eq!(bytes(&State::Closed), [0xFD]);
        assert_eq!(bytes(&Wide::Some), [0x2C, 1]);
    }
}
