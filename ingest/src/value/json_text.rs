//! `JSON` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/newjson)): objects,
//! stored as written in the event.
//!
//! A block has the text of the object. Each insert sets `input_format_binary_read_json_as_string`,
//! so that ClickHouse parses the text as it parses the same object in JSONEachRow. ClickHouse
//! refuses a whole block for one invalid object. This module therefore refuses such objects when
//! the event arrives:
//!
//! - anything that is not an object; `null` is an object without keys, and so is an empty array by
//!   the lenient rules;
//! - a path that occurs twice, whether as `{"a": {"b": 1}}` or as `{"a.b": 1}`. ClickHouse accepts
//!   some of them, such as `{"a": 1, "a": {"b": 2}}`, depending on its settings; this module
//!   refuses all;
//! - integers that do not fit in 64 bits, and numbers that would round to infinity;
//! - at a path with a type in the column, values that are not of that type ([`JsonPath`]).
//!
//! A lone surrogate becomes U+FFFD, as in all text.

use std::{borrow::Cow, marker::PhantomData, ops::Range};

use serde::{Deserialize, Serialize};

use super::{Decode, Encode, array::empty_array};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The most bytes that all paths of one object may have together. Paths repeat the keys above them
/// and so grow faster than the text: one long key before thousands of short ones would fill the
/// memory of this process and of ClickHouse.
pub(super) const MAX_PATH_BYTES: usize = 1 << 22;

/// ClickHouse's `JSON`, an object as text. `P` has the paths with a type.
///
/// The setting `output_format_binary_write_json_as_string` lets rows be read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct JsonText<'a, P: JsonPaths = Untyped> {
    text: Cow<'a, str>,
    #[serde(skip)]
    paths: PhantomData<P>,
}

/// The paths of a `JSON` column that have a type, as a type. [`json_paths!`](crate::json_paths)
/// declares them.
pub trait JsonPaths: 'static {
    /// Reads the value at `json`, if `path` has a type.
    fn check(path: &str, json: &mut Reader<'_>) -> Option<Result<(), ValueError>>;
}

/// A type that a path of `JSON` may have.
pub trait JsonPath {
    /// Reads a value and checks that ClickHouse accepts it for the type without changing it.
    ///
    /// # Errors
    /// The reason why ClickHouse would refuse or change the value.
    fn check(json: &mut Reader<'_>) -> Result<(), ValueError>;

    /// Returns whether ClickHouse may accept a value for the type, even if it changes it. Returns
    /// false only if ClickHouse certainly refuses the value.
    fn may_take(json: &Reader<'_>) -> bool;
}

/// The paths of a column in which none has a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Untyped;

impl JsonPaths for Untyped {
    fn check(_: &str, _: &mut Reader<'_>) -> Option<Result<(), ValueError>> {
        None
    }
}

impl<P: JsonPaths> JsonText<'_, P> {
    /// Returns the object's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the object with its own copy of the text.
    pub(super) fn into_static(self) -> JsonText<'static, P> {
        JsonText {
            text: Cow::Owned(self.text.into_owned()),
            paths: PhantomData,
        }
    }
}

impl<P: JsonPaths> Default for JsonText<'_, P> {
    fn default() -> Self {
        Self {
            text: Cow::Borrowed("{}"),
            paths: PhantomData,
        }
    }
}

impl<'a, P: JsonPaths> Decode<'a> for JsonText<'a, P> {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::Object => {}
            Kind::Null => return json.null().map(|()| Self::default()).map_err(ValueError::from),
            Kind::Array if json.is_lenient() => return empty_array(json).map(|()| Self::default()),
            _ => return Err(ValueError::WrongKind),
        }
        // ClickHouse reads the object again, by its own rules.
        object::<P>(&mut json.strict())?;
        Ok(Self {
            text: replace_lone_surrogates(Cow::Borrowed(json.raw_value()?)),
            paths: PhantomData,
        })
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        let mut json = Reader::new(&text);
        object::<P>(&mut json)
            .and_then(|()| Ok(json.end()?))
            .map_err(|problem| match problem {
                // The event itself is valid JSON, or not JSON at all; the error is in one of its
                // texts.
                ValueError::Syntax(_) => ValueError::Malformed,
                problem => problem,
            })?;
        Ok(Self {
            text: replace_lone_surrogates(text),
            paths: PhantomData,
        })
    }
}

impl<P: JsonPaths> Encode for JsonText<'_, P> {
    fn put(&self, out: &mut Vec<u8>) {
        self.text.put(out);
    }
}

/// Declares the paths of a `JSON` column that have a type.
///
/// ```
/// use rowmill_ingest::{json::Reader, refusal::ValueError, value::{Decode, JsonText, json_paths}};
///
/// json_paths! {
///     /// The known paths of a payload.
///     pub struct PayloadPaths { "user.id" : u64 }
/// }
///
/// let valid = r#"{"user": {"id": 7, "name": "Bob"}}"#;
/// let payload = JsonText::<PayloadPaths>::from_json(&mut Reader::new(valid))?;
/// assert_eq!(payload.as_str(), valid);
/// let wrong = JsonText::<PayloadPaths>::from_json(&mut Reader::new(r#"{"user": {"id": "Bob"}}"#));
/// assert_eq!(wrong, Err(ValueError::Malformed));
/// # Ok::<(), ValueError>(())
/// ```
#[macro_export]
macro_rules! json_paths {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident { $($path:literal: $type:ty),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        $visibility struct $name;

        impl $crate::value::JsonPaths for $name {
            fn check(
                path: &str,
                json: &mut $crate::json::Reader<'_>,
            ) -> ::std::option::Option<::std::result::Result<(), $crate::refusal::ValueError>> {
                match path {
                    $($path => ::std::option::Option::Some(<$type as $crate::value::JsonPath>::check(json)),)+
                    _ => ::std::option::Option::None,
                }
            }
        }
    };
}

/// Skips an object that is the value of the column or an element of an array, and checks its paths.
pub(super) fn object<P: JsonPaths>(json: &mut Reader<'_>) -> Result<(), ValueError> {
    let mut paths = Paths::default();
    paths.visit_object::<P>(json, true)?;
    paths.check_unique()
}

/// Skips a value that has no declared type.
pub(super) fn value(json: &mut Reader<'_>) -> Result<(), ValueError> {
    match json.peek()? {
        Kind::Null | Kind::Bool | Kind::String => Ok(json.skip()?),
        Kind::Number => number(json.number()?),
        Kind::Array => {
            json.begin_array()?;
            while json.next_element()? {
                value(json)?;
            }
            Ok(())
        }
        // Only paths from the column's own object have types.
        Kind::Object => object::<Untyped>(json),
    }
}

fn number(number: &str) -> Result<(), ValueError> {
    let fits = if number.contains(['.', 'e', 'E']) {
        number.parse().is_ok_and(f64::is_finite)
    } else {
        number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
    };
    if fits { Ok(()) } else { Err(ValueError::OutOfRange) }
}

/// The paths of one object.
#[derive(Debug, Default)]
struct Paths {
    /// The path of the current value.
    current: String,
    /// All paths, concatenated.
    all: String,
    spans: Vec<Range<usize>>,
}

impl Paths {
    fn visit_object<P: JsonPaths>(&mut self, json: &mut Reader<'_>, is_top: bool) -> Result<(), ValueError> {
        let above = self.current.len();
        json.begin_object()?;
        while let Some(key) = json.next_key()? {
            if !is_top {
                self.current.push('.');
            }
            self.current.push_str(&key);
            self.add_path()?;
            if let Some(result) = P::check(&self.current, &mut json.clone()) {
                result?;
            }
            if json.peek()? == Kind::Object {
                self.visit_object::<P>(json, false)?;
            } else {
                value(json)?;
            }
            self.current.truncate(above);
        }
        Ok(())
    }

    fn add_path(&mut self) -> Result<(), ValueError> {
        let start = self.all.len();
        self.all.push_str(&self.current);
        self.spans.push(start..self.all.len());
        if self.all.len() > MAX_PATH_BYTES {
            return Err(ValueError::TooLong);
        }
        Ok(())
    }

    fn check_unique(mut self) -> Result<(), ValueError> {
        let path = |span: &Range<usize>| self.all.get(span.clone()).unwrap_or_default();
        self.spans.sort_unstable_by(|a, b| path(a).cmp(path(b)));
        if self.spans.windows(2).any(|pair| path(&pair[0]) == path(&pair[1])) {
            return Err(ValueError::PathTwice);
        }
        Ok(())
    }
}

/// Replaces each lone surrogate with U+FFFD.
fn replace_lone_surrogates(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(mut at) = lone_surrogate(&text) else {
        return text;
    };
    let mut replaced = String::with_capacity(text.len());
    let mut rest = &*text;
    loop {
        replaced.push_str(&rest[..at]);
        replaced.push_str("\\ufffd");
        rest = &rest[at + ESCAPE_BYTES..];
        match lone_surrogate(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

/// The length of `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// Returns the index of the first lone surrogate in valid JSON, which has backslashes only in
/// strings.
fn lone_surrogate(text: &str) -> Option<usize> {
    let unit = |at: usize| {
        let digits = text.get(at..at + ESCAPE_BYTES)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', text.as_bytes().get(at..)?) {
        at += found;
        at += match unit(at) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(unit(at + ESCAPE_BYTES), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE_BYTES,
            Some(0xD800..=0xDFFF) => return Some(at),
            Some(_) => ESCAPE_BYTES,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    type Any<'a> = JsonText<'a>;

    #[test]
    fn an_object_stays_unchanged() {
        for event in [
            "{}",
            r#"{"a" : {"b": [1, {"c": null}, "x"]}, "a2": -1.5e300}"#,
            r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":-0}"#,
            r#"{"a":{"b":1},"a.c":2,"":{"":3}}"#,
            r#"{"k":"\ud83d\ude00\\ud83d"}"#,
        ] {
            assert_eq!(json::<Any<'_>>(event).unwrap().as_str(), event);
            assert_eq!(text::<Any<'_>>(event).unwrap().as_str(), event);
            assert!(matches!(json::<Any<'_>>(event).unwrap().text, Cow::Borrowed(_)));
        }
        assert_eq!(json::<Any<'_>>("null").unwrap().as_str(), "{}");
        assert_eq!(bytes(&json::<Any<'_>>("{ }").unwrap()), [3, b'{', b' ', b'}']);
    }

    #[test]
    fn an_empty_array_is_an_empty_object_by_the_lenient_rules() {
        assert_eq!(lenient::<Any<'_>>("[]").unwrap().as_str(), "{}");
        assert_eq!(lenient::<Any<'_>>(r#"{"a":[]}"#).unwrap().as_str(), r#"{"a":[]}"#);
        assert_eq!(lenient::<Any<'_>>("[1]"), Err(ValueError::WrongKind));
    }

    #[test]
    fn values_that_clickhouse_refuses_are_refused() {
        for event in ["[]", "5", "true", r#""{}""#] {
            assert_eq!(json::<Any<'_>>(event), Err(ValueError::WrongKind), "{event}");
        }
        for event in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1},"a.b":2}"#,
            r#"{"a":{},"\u0061":1}"#,
            r#"{"a":[[{"x":1,"x":2}]]}"#,
        ] {
            assert_eq!(json::<Any<'_>>(event), Err(ValueError::PathTwice), "{event}");
        }
        for event in [
            r#"{"a":18446744073709551616}"#,
            r#"{"a":[-9223372036854775809]}"#,
            r#"{"a":1e400}"#,
        ] {
            assert_eq!(json::<Any<'_>>(event), Err(ValueError::OutOfRange), "{event}");
        }
        for broken in ["", "x", "{", "{} {}", r#"{"a":01}"#] {
            assert_eq!(text::<Any<'_>>(broken), Err(ValueError::Malformed), "{broken}");
        }
    }

    #[test]
    fn lone_surrogates_are_replaced() {
        let event = r#"{"\udc00":"\ud83d\ud83d\ude00\ud83d"}"#;
        let expected = r#"{"\ufffd":"\ufffd\ud83d\ude00\ufffd"}"#;
        assert_eq!(json::<Any<'_>>(event).unwrap().as_str(), expected);
    }

    #[test]
    fn the_memory_of_paths_is_bounded() {
        let keys: Vec<String> = (0..100).map(|n| format!(r#""{n}":0"#)).collect();
        let event = format!(r#"{{"{}":{{{}}}}}"#, "k".repeat(100_000), keys.join(","));
        assert_eq!(json::<Any<'_>>(&event), Err(ValueError::TooLong));
    }
}
