//! Values: how each ClickHouse type is read from an event and written into a block.
//!
//! Each type reads the value of a column from JSON ([`Decode::from_json`]) or from text
//! ([`Decode::from_text`]), holds it as the Rust type for the column's ClickHouse type, and writes
//! it as RowBinary ([`Encode::put`]). Each type is also `serde::Serialize` and `serde::Deserialize`
//! in the format of the `clickhouse` crate, so that rows can be read back.
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
//! # How values are converted
//!
//! Like ClickHouse in `INSERT … FORMAT JSONEachRow` with default settings: a number in a text
//! column keeps its digits, `"12"` is a number, `true` is 1, `null` is the type's default. The
//! tests of this module record ClickHouse's own results, type by type. This module refuses values
//! that ClickHouse would store as other values:
//!
//! - an integer that does not fit (ClickHouse keeps its low bits: 300 in an `Int8` is 44);
//! - a number that overflows a float (it stores `inf`; the words `"inf"` and `"nan"` are valid);
//! - a date or time outside the type's range (it stores the nearest one that fits, or another one);
//! - a day that is not in the calendar, like 2023-04-31 (a `Date` rolls over or becomes
//!   1970-01-01), and a `true` as a date;
//! - an hour of 25, a minute of 60, and a time without a date (it takes the date from the clock);
//! - numbers with two signs, and `-`, `.`, `1e` and `1.2.3` as decimals (0, 0, 1 and 1.23);
//! - IPv4 addresses with leading zeros beyond three digits;
//! - in a Dynamic, objects with two paths of one name (ClickHouse stores
//!   `{"a": {"b": 1}, "a.b": 2}` and can never read it again).
//!
//! Text in a Dynamic is a date or a date-time if it is written like `2024-02-29` or
//! `2024-02-29 12:13:14`, with or without a fraction and an offset. ClickHouse guesses more forms,
//! and reads `24-02-29` as a day of 2029. A number beyond 64 bits is text; ClickHouse gives it any
//! type that the column happens to have. A Variant's types are tried in ClickHouse's order, each by
//! the rules above: if one type refuses a value, the next may accept it.
//!
//! Column names are compared exactly; ClickHouse accepts `C_U8` for `c_u8`. `"0000-00-00"` in a
//! `Date32` is 1970-01-01, as in a `Date` (ClickHouse: 1900-01-01), and `null` in an enum is its
//! smallest value (ClickHouse: a 0 that it cannot read).
//!
//! # Lenient rules
//!
//! A [`Reader`] that is [lenient](Reader::set_lenient), as it is for each table without
//! `strict: true`, accepts what providers send and ClickHouse refuses:
//!
//! - a JSON number with a fraction in a `DateTime`, a `DateTime64`, a `Time` or a `Time64`, as
//!   seconds (an integer is in the units of the block);
//! - a JSON number with a fraction of zeros, `3.0`, in an integer;
//! - `[]` as an object without keys, in a `Map` or a `JSON`;
//! - one JSON value in an `Array`, as its only element.
//!
//! Inside a `Variant`, a `Dynamic` and a `JSON`, ClickHouse's rules hold: there, the value decides
//! about its own type.
//!
//! # Rules that are always lenient
//!
//! Some values are accepted more leniently than by ClickHouse: lone surrogates, escapes
//! in numbers that are sent as strings, `-0` in an unsigned column, `t` and `z` in a time, seconds
//! since 1970 with a fraction in a `DateTime`, a decimal that fits only because of its exponent, a
//! named tuple as an array, a repeated name in a named tuple (the last one is used), and a missing
//! array of a Nested (it is filled with defaults).

mod array;
mod boolean;
pub(crate) mod calendar;
mod convert;
mod date;
mod date_text;
mod date_time;
mod decimal;
pub(crate) mod dynamic;
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
mod owned;
mod path_variant;
pub(crate) mod plain_text;
mod seconds;
mod text;
mod time;
mod tuple;
mod unit;
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
    owned::IntoOwned,
    text::FixedString,
    time::{Time, Time64},
    unit::{DecodeUnit, Unit},
    uuid::Uuid,
    vector::QBit,
    zone::{Utc, Zone},
};
pub(crate) use self::{variant::NULL as VARIANT_NULL, written::code as dynamic_code};
pub use crate::leb128::put_length;
pub use crate::{enumeration, json_paths, named_tuple, path_tuple, path_variant, variant, zone};
use crate::{json::Reader, table::refusal::ValueError};

/// A type that can be read from a value of an event.
///
/// `Default` is ClickHouse's own default for the type when a row has no value. `null` becomes it
/// too, both as the value of a column and inside an array, a map or a tuple.
///
/// ```
/// use rowmill_ingest::{json::Reader, value::{Decode, Uuid}};
///
/// let id = Uuid::from_text("61f0c404-5cb3-11e7-907b-a6006ad3dba0".into())?;
/// assert_eq!(Uuid::from_json(&mut Reader::new("null"))?, Uuid::default());
/// # assert_ne!(id, Uuid::default());
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
pub trait Decode<'a>: Sized + Default {
    /// Reads the JSON value at `json`, and leaves `json` after the value.
    ///
    /// # Errors
    /// [`ValueError::Syntax`] if the text is not JSON. Any other error if the value does not fit;
    /// `json` may then be anywhere in the value.
    ///
    /// ```
    /// use rowmill_ingest::{json::Reader, value::Decode};
    ///
    /// let mut json = Reader::new("[7, 8]");
    /// assert_eq!(Vec::<u8>::from_json(&mut json)?, [7, 8]);
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError>;

    /// Reads the JSON value as one of a Variant's types. ClickHouse is stricter there with some
    /// types.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    ///
    /// ```
    /// use rowmill_ingest::{json::Reader, value::Decode};
    ///
    /// assert_eq!(u8::from_json_among(&mut Reader::new("7"))?, 7);
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    fn from_json_among(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        Self::from_json(json)
    }

    /// Reads the value from text: a decoded JSON string or form field.
    ///
    /// # Errors
    /// Any error but [`ValueError::Syntax`].
    ///
    /// ```
    /// use rowmill_ingest::value::Decode;
    ///
    /// assert_eq!(u16::from_text("80".into())?, 80);
    /// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
    /// ```
    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError>;
}

/// A type that can be written into a block.
///
/// ```
/// use rowmill_ingest::value::Encode;
///
/// let mut row = Vec::new();
/// 7u8.put(&mut row);
/// "ok".put(&mut row);
/// assert_eq!(row, [7, 2, b'o', b'k']);
/// ```
pub trait Encode {
    /// Appends the value as RowBinary.
    ///
    /// ```
    /// use rowmill_ingest::value::Encode;
    ///
    /// let mut row = Vec::new();
    /// 258u16.put(&mut row);
    /// assert_eq!(row, [2, 1]);
    /// ```
    fn put(&self, out: &mut Vec<u8>);
}

#[cfg(test)]
mod testing {
    //! Helpers for the tests of all types.

    use super::*;

    /// Reads one JSON value, and checks that nothing follows it.
    pub(super) fn json<'a, T: Decode<'a>>(text: &'a str) -> Result<T, ValueError> {
        read_all(Reader::new(text))
    }

    /// Reads one JSON value by the lenient rules, and checks that nothing follows it.
    pub(super) fn lenient<'a, T: Decode<'a>>(text: &'a str) -> Result<T, ValueError> {
        let mut json = Reader::new(text);
        json.set_lenient(true);
        read_all(json)
    }

    fn read_all<'a, T: Decode<'a>>(mut json: Reader<'a>) -> Result<T, ValueError> {
        let value = T::from_json(&mut json)?;
        json.end()?;
        Ok(value)
    }

    /// Reads text like that of a form field.
    pub(super) fn text<'a, T: Decode<'a>>(text: &'a str) -> Result<T, ValueError> {
        T::from_text(Cow::Borrowed(text))
    }

    /// Returns the RowBinary of a value.
    pub(super) fn bytes(value: &impl Encode) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }
}
