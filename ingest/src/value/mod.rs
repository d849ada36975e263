//! Values: how each ClickHouse type is read from an event and written into a block.
//!
//! Takes the value of a column as JSON ([`Decode::from_json`]) or as text ([`Decode::from_text`]), gives it as the Rust type that
//! stands for the column's ClickHouse type, and writes that as RowBinary ([`Encode::put`]). Each type is also
//! `serde::Serialize` and `serde::Deserialize` in the way of the `clickhouse` crate, so that rows can be read back.
//!
//! | ClickHouse | Rust | file |
//! |---|---|---|
//! | `String`, `LowCardinality(String)` | [`Cow<str>`](Cow) | text |
//! | `FixedString(N)` | [`FixedString<N>`] | text |
//! | `UInt8` … `UInt128`, `Int8` … `Int128` | `u8` … `u128`, `i8` … `i128` | int |
//! | `UInt256`, `Int256` | [`UInt256`], [`Int256`] | int |
//! | `Float32`, `Float64`, `BFloat16` | `f32`, `f64`, [`BFloat16`] | float |
//! | `Bool` | `bool` | boolean |
//! | `Decimal(P, S)` | [`Decimal32`], [`Decimal64`], [`Decimal128`], [`Decimal256`] | decimal |
//! | `Date`, `Date32` | [`Date`], [`Date32`] | date |
//! | `DateTime`, `DateTime64(P)` | [`DateTime`], [`DateTime64`] | date_time |
//! | `Time`, `Time64(P)` | [`Time`], [`Time64`] | time |
//! | `IntervalSecond` … `IntervalYear` | `i64` | int |
//! | `UUID`, `IPv4`, `IPv6` | [`Uuid`], [`Ipv4`], [`Ipv6`] | uuid, ip |
//! | `Enum8`, `Enum16` | an enum declared by [`enumeration!`] | enumeration |
//! | `Nullable(T)`, `Array(T)`, `Map(K, V)` | [`Option`], [`Vec`], [`Map`] | nullable, array, map |
//! | `Tuple(T, …)` | a tuple, or a struct declared by [`named_tuple!`] | tuple, named_tuple |
//! | `Point`, `Ring`, `LineString`, `Polygon`, … | [`Point`], [`Ring`], [`LineString`], [`Polygon`], … | geometry |
//! | `Geometry` | [`Geometry`] | geometry |
//! | `QBit(T, N)` | [`QBit`] | vector |
//! | `Variant(T, …)` | an enum declared by [`variant!`] | variant |
//! | `Dynamic` | [`Dynamic`] | dynamic, inference, written |
//! | `SimpleAggregateFunction(F, T)` | that of `T` | |
//! | `JSON`, `JSON(…)` | [`JsonText`], its typed paths declared by [`json_paths!`] | json_text, json_path |
//!
//! # What becomes of a value
//!
//! What ClickHouse itself makes of it in `INSERT … FORMAT JSONEachRow`, with its settings as they come: a number in a text column
//! keeps its digits, `"12"` is a number, `true` is 1, `null` is the type's default. It was asked, type by type, and the tests of
//! this module have its answers. What it would store as something else than was sent, however, is refused here:
//!
//! - an integer that does not fit (ClickHouse keeps its low bits: 300 in an `Int8` is 44);
//! - a number that overflows a float (it stores `inf`; the words `"inf"` and `"nan"` are fine);
//! - a date or time outside of the type's range (it stores the nearest one that fits, or another one);
//! - a day that is not in the calendar, like 2023-04-31 (a `Date` rolls over or becomes 1970-01-01), and a `true` as a date;
//! - an hour of 25, a minute of 60, and a time without a date (it takes the date from the clock);
//! - numbers with two signs, and `-`, `.`, `1e` and `1.2.3` as decimals (0, 0, 1 and 1.23);
//! - IPv4 addresses with leading zeros beyond three digits;
//! - in a Dynamic, objects with two paths of one name (ClickHouse stores `{"a": {"b": 1}, "a.b": 2}` and can never read it again).
//!
//! A text in a Dynamic is a date or a moment where it is written like `2024-02-29` or `2024-02-29 12:13:14`, with a fraction and an
//! offset or without; ClickHouse guesses at more of them, and takes `24-02-29` for a day of 2029. A number beyond 64 bits is a text,
//! where ClickHouse takes any type that the column happens to have. A Variant's types are tried in ClickHouse's order, each
//! by the rules above: where one refuses a value, the next may take it.
//!
//! Names of columns are matched letter by letter; ClickHouse takes `C_U8` for `c_u8`. `"0000-00-00"` in a `Date32` is 1970-01-01 as
//! it is in a `Date` (ClickHouse: 1900-01-01), and `null` in an enum is its smallest value (ClickHouse: a 0 that it cannot read).
//!
//! Some things are taken more kindly than by ClickHouse: halves of surrogate pairs, escapes in numbers that are sent as strings,
//! `-0` in an unsigned column, `t` and `z` in a time, seconds since 1970 with a fraction in a `DateTime`, a decimal that only its
//! exponent makes fit, a named tuple as an array, a name that comes twice in a named tuple (the last one
//! counts), and an array of a Nested that is left out (it is filled with defaults).

mod array;
mod boolean;
mod calendar;
mod date;
mod date_text;
mod date_time;
mod decimal;
mod dynamic;
mod enumeration;
mod extra;
mod float;
mod geometry;
mod inference;
mod int;
mod ip;
mod json_guess;
mod json_path;
mod json_text;
mod map;
mod named_tuple;
mod nullable;
mod path_variant;
mod text;
mod time;
mod tuple;
mod uuid;
mod variant;
mod vector;
mod written;
mod zone;

use std::borrow::Cow;

#[doc(hidden)]
pub use self::json_path::{
    check_elements as __check_elements, check_name as __check_name, may_take_elements as __may_take_elements,
    may_take_name as __may_take_name,
};
#[doc(hidden)]
pub use self::named_tuple::{
    Element as __Element, NamedTuple as __NamedTuple, named_tuple_from_json as __named_tuple_from_json,
    named_tuple_from_text as __named_tuple_from_text,
};
#[doc(hidden)]
pub use self::path_variant::check_variants as __check_variants;
#[doc(hidden)]
pub use self::variant::{
    Attempt as __Attempt, NULL as __VARIANT_NULL, Nothing as __Nothing, VariantNumber as __VariantNumber,
    read_again as __read_again,
};
#[doc(hidden)]
pub use self::zone::zone_named as __zone_named;
#[doc(hidden)]
pub use ::{jiff as __jiff, serde as __serde};

pub use self::{
    date::{Date, Date32},
    date_time::{DateTime, DateTime64},
    decimal::{Decimal32, Decimal64, Decimal128, Decimal256},
    dynamic::Dynamic,
    extra::js_string,
    float::BFloat16,
    geometry::{Geometry, LineString, MultiLineString, MultiPolygon, Point, Polygon, Ring},
    int::{Int256, UInt256},
    ip::{Ipv4, Ipv6},
    json_text::{JsonPath, JsonPaths, JsonText, Untyped},
    map::Map,
    text::FixedString,
    time::{Time, Time64},
    uuid::Uuid,
    vector::QBit,
    zone::{Utc, Zone},
};
pub use crate::{enumeration, json_paths, named_tuple, path_tuple, path_variant, variant, zone};
use crate::{json::Reader, table::refusal::ValueError};

/// A type that a value of an event becomes.
///
/// `Default` is the value that ClickHouse itself gives the type when a row has none; `null` becomes it too, in the place of a
/// column as well as inside of an array, a map or a tuple.
pub trait Decode<'a>: Sized + Default {
    /// Reads the JSON value that `json` stands before, and leaves `json` behind it.
    ///
    /// # Errors
    /// [`ValueError::Syntax`] when the text is not JSON; any other problem when the value does not fit, and then `json` may stand anywhere in the value.
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError>;

    /// Reads the JSON value as one of a Variant's types, which ClickHouse does more strictly with some of them.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    fn from_json_among(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        Self::from_json(json)
    }

    /// Reads the value from text: a JSON string's or a form field's, escapes already resolved.
    ///
    /// # Errors
    /// Any problem but [`ValueError::Syntax`].
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError>;
}

/// A type that is written into a block.
pub trait Encode {
    /// Appends the value as RowBinary has it.
    fn put(&self, out: &mut Vec<u8>);
}

/// Appends a length: seven bits a byte, the lowest first, the top bit set on all but the last byte
/// ([LEB128](https://en.wikipedia.org/wiki/LEB128)).
#[inline]
pub fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod testing {
    //! What the tests of all types say the same way.

    use super::*;

    /// Reads one JSON value, and makes sure that nothing is left behind it.
    pub(super) fn json<'a, T: Decode<'a>>(text: &'a str) -> Result<T, ValueError> {
        let mut json = Reader::new(text);
        let value = T::from_json(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// Reads text as a form field has it.
    pub(super) fn text<'a, T: Decode<'a>>(text: &'a str) -> Result<T, ValueError> {
        T::from_text(Cow::Borrowed(text))
    }

    /// The bytes of a value.
    pub(super) fn bytes(value: &impl Encode) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }
}
