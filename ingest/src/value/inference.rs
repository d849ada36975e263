//! Infers the type of a `Dynamic`'s value: the type that ClickHouse infers for it in JSONEachRow.
//!
//! ```text
//! JSON → Inferred::of → finish → Written: put_type, put_value (see `written`)
//! ```
//!
//! `true` is a Bool, a number an Int64, a UInt64 or a Float64. Text is a String, or a Date, a
//! DateTime or a DateTime64(9) if it is written like one. An array has the type as which all its
//! elements can be read; without such a type, its elements are `Dynamic`. An object is a named
//! tuple, with its keys in byte order. Integers beyond 64 bits have no type, and every value that
//! contains one is text.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Date, DateTime, DateTime64, Decode, Utc};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The number of digits in a date-time's fraction.
pub(super) const DIGITS: u8 = 9;
/// The length of `2024-02-29`.
const DAY_BYTES: usize = 10;
/// The length of `2024-02-29 12:13:14`.
const TIME_BYTES: usize = 19;

/// The type of a value in an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Inferred<'t> {
    /// The type of the elements of an empty array.
    Nothing,
    Null,
    Bool,
    Int64 {
        is_negative: bool,
    },
    UInt64,
    Float64,
    String,
    Date,
    DateTime,
    DateTime64,
    /// The type of the elements, and whether NULL is among them.
    Array(Box<Self>, bool),
    Object(BTreeMap<Cow<'t, str>, Self>),
    /// At a path of objects in one array: the value is NULL in some of them.
    OrNull(Box<Self>),
    /// Elements without a common type.
    Dynamic,
    /// At a path of objects in one array: ClickHouse finds no type for the values, and refuses
    /// them.
    NoCommonType,
}

impl<'t> Inferred<'t> {
    /// Reads a value; returns `None` if it has no type.
    pub(super) fn of(json: &mut Reader<'t>) -> Result<Option<Self>, ValueError> {
        Ok(Some(match json.peek()? {
            Kind::Null => json.null().map(|()| Self::Null)?,
            Kind::Bool => json.bool().map(|_| Self::Bool)?,
            Kind::Number => return Ok(number(json.number()?)),
            Kind::String => text(&json.string()?),
            Kind::Array => return array(json),
            Kind::Object => return object(json),
        }))
    }
}

impl Inferred<'_> {
    fn without_null(self) -> Self {
        match self {
            Self::OrNull(ty) => *ty,
            ty => ty,
        }
    }
}

fn number<'t>(number: &str) -> Option<Inferred<'t>> {
    if number.contains(['.', 'e', 'E']) {
        return Some(Inferred::Float64);
    }
    match number.parse::<i64>() {
        Ok(value) => Some(Inferred::Int64 { is_negative: value < 0 }),
        Err(_) => number.parse::<u64>().ok().map(|_| Inferred::UInt64),
    }
}

/// ClickHouse also infers dates from text such as `Jan 1 2024` and `24-02-29`, which stays a String
/// here.
pub(super) fn text<'t>(text: &str) -> Inferred<'t> {
    if !is_moment(text) {
        return Inferred::String;
    }
    let owned = || Cow::Owned(text.to_owned());
    if text.len() == DAY_BYTES && Date::from_text(owned()).is_ok() {
        Inferred::Date
    } else if !text.contains('.') && DateTime::<Utc>::from_text(owned()).is_ok() {
        Inferred::DateTime
    } else if DateTime64::<DIGITS, Utc>::from_text(owned()).is_ok() {
        Inferred::DateTime64
    } else {
        Inferred::String
    }
}

/// Returns whether the text begins like `2024-02-29`, and continues, if at all, like ` 12:13:14`.
fn is_moment(text: &str) -> bool {
    let is_like = |text: &[u8], pattern: &[u8]| {
        text.len() == pattern.len()
            && text.iter().zip(pattern).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b' '),
                like => byte == like,
            })
    };
    let bytes = text.as_bytes();
    // ClickHouse has no year 0, and does not infer a date from one.
    if bytes.starts_with(b"0000") {
        return false;
    }
    match bytes.split_at_checked(TIME_BYTES) {
        None => is_like(bytes, b"0000-00-00"),
        Some((time, rest)) => {
            is_like(time, b"0000-00-00T00:00:00") && rest.iter().all(|byte| b"0123456789.+-:Z".contains(byte))
        }
    }
}

fn array<'t>(json: &mut Reader<'t>) -> Result<Option<Inferred<'t>>, ValueError> {
    let mut elements = Vec::new();
    let mut is_typed = true;
    json.begin_array()?;
    while json.next_element()? {
        match Inferred::of(json)? {
            Some(element) => elements.push(element),
            None => is_typed = false,
        }
    }
    let has_null = elements.contains(&Inferred::Null);
    let element = || common_type(elements).unwrap_or(Inferred::Dynamic);
    Ok(is_typed.then(|| Inferred::Array(Box::new(element()), has_null)))
}

fn object<'t>(json: &mut Reader<'t>) -> Result<Option<Inferred<'t>>, ValueError> {
    let mut fields = BTreeMap::new();
    let mut is_typed = true;
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        // ClickHouse refuses both as the name of an element.
        if key.is_empty() || key == "null" {
            return Err(ValueError::Malformed);
        }
        let field = Inferred::of(json)?;
        is_typed &= field.is_some();
        if fields.insert(key, field.unwrap_or(Inferred::Nothing)).is_some() {
            return Err(ValueError::PathTwice);
        }
    }
    Ok(is_typed.then_some(Inferred::Object(fields)))
}

/// Returns the type as which values of all of these types can be read.
fn common_type(types: Vec<Inferred<'_>>) -> Option<Inferred<'_>> {
    let has_null = types.contains(&Inferred::Null);
    let seen: Vec<_> = types
        .into_iter()
        .filter(|ty| !matches!(ty, Inferred::Null | Inferred::Nothing))
        .collect();
    let arrays = seen.iter().filter(|ty| matches!(ty, Inferred::Array(..))).count();
    let objects = seen.iter().filter(|ty| matches!(ty, Inferred::Object(_))).count();
    if seen.is_empty() {
        Some(if has_null { Inferred::Null } else { Inferred::Nothing })
    } else if arrays == seen.len() {
        common_array(seen)
    } else if objects == seen.len() {
        Some(common_object(seen))
    } else {
        common_scalar(seen)
    }
}

fn common_array(arrays: Vec<Inferred<'_>>) -> Option<Inferred<'_>> {
    let mut has_null = false;
    let mut elements = Vec::with_capacity(arrays.len());
    for array in arrays {
        if let Inferred::Array(element, with_null) = array {
            has_null |= with_null;
            elements.push(*element);
        }
    }
    let is_any = has_null || elements.contains(&Inferred::Dynamic);
    match common_type(elements) {
        Some(element) => Some(Inferred::Array(Box::new(element), has_null)),
        // If one of the arrays has NULL or mixed elements, all become arrays of `Dynamic`.
        None => is_any.then(|| Inferred::Array(Box::new(Inferred::Dynamic), has_null)),
    }
}

/// A path that is NULL in one of the objects is nullable. If the values at a path have no common
/// type, the path has the first of their types. (ClickHouse then uses the type of the whole first
/// object, and drops the additional keys of the other objects.)
fn common_object(objects: Vec<Inferred<'_>>) -> Inferred<'_> {
    let mut all: BTreeMap<Cow<'_, str>, Vec<Inferred<'_>>> = BTreeMap::new();
    for object in objects {
        if let Inferred::Object(fields) = object {
            for (key, ty) in fields {
                all.entry(key).or_default().push(ty);
            }
        }
    }
    let fields = all.into_iter().map(|(key, types)| {
        let has_null = types
            .iter()
            .any(|ty| matches!(ty, Inferred::Null | Inferred::OrNull(_)));
        let types: Vec<_> = types.into_iter().map(Inferred::without_null).collect();
        let first = types.iter().find(|ty| **ty != Inferred::Null).map(|first| match first {
            // Only another empty object can be read as an empty object.
            Inferred::Object(fields) if fields.is_empty() => Inferred::NoCommonType,
            first => first.clone(),
        });
        let ty = common_type(types).or(first).unwrap_or(Inferred::Null);
        let ty = if has_null && ty != Inferred::Null {
            Inferred::OrNull(Box::new(ty))
        } else {
            ty
        };
        (key, ty)
    });
    Inferred::Object(fields.collect())
}

fn common_scalar(scalars: Vec<Inferred<'_>>) -> Option<Inferred<'_>> {
    let has_fraction = scalars.contains(&Inferred::Float64);
    let mut scalars = scalars.into_iter();
    // With a fraction among them, it does not matter whether the integers have a common type.
    let first = if has_fraction {
        Some(Inferred::Float64)
    } else {
        scalars.next()
    };
    scalars.try_fold(first?, common_pair)
}

fn common_pair<'t>(a: Inferred<'t>, b: Inferred<'t>) -> Option<Inferred<'t>> {
    use Inferred::{Bool, Date, DateTime, DateTime64, Float64, Int64, Object, String, UInt64};
    Some(match (a, b) {
        (Int64 { is_negative: a }, Int64 { is_negative: b }) => Int64 { is_negative: a || b },
        (Float64, Float64 | Int64 { .. } | UInt64) | (Int64 { .. } | UInt64, Float64) => Float64,
        (UInt64, UInt64 | Int64 { is_negative: false }) | (Int64 { is_negative: false }, UInt64) => UInt64,
        (Bool, ty @ (Bool | Int64 { .. } | UInt64 | Float64)) | (ty @ (Int64 { .. } | UInt64 | Float64), Bool) => ty,
        (Bool, String | Date | DateTime | DateTime64) | (String | Date | DateTime | DateTime64, Bool) => String,
        (String, String | Date | DateTime | DateTime64) | (Date | DateTime | DateTime64, String) => String,
        (DateTime64, Date | DateTime | DateTime64) | (Date | DateTime, DateTime64) => DateTime64,
        (DateTime, Date | DateTime) | (Date, DateTime) => DateTime,
        (Date, Date) => Date,
        (Object(fields), Bool | String | Date | DateTime | DateTime64)
        | (Bool | String | Date | DateTime | DateTime64, Object(fields))
            if fields.is_empty() =>
        {
            String
        }
        _ => return None,
    })
}
