//! Which type a value of a `Dynamic` has: the one that ClickHouse finds for it in JSONEachRow.
//!
//! ```text
//! JSON → Inferred::of → finish → put_type, put_value
//! ```
//!
//! `true` is a Bool, a number an Int64, a UInt64 or a Float64, a text a String, or a Date, a DateTime or a DateTime64(9) where it is
//! written as one; an array has the type that all its elements can be read as, else `Dynamic` again; an object is a named tuple,
//! its keys in the order of their bytes. Integers beyond 64 bits have no type, and all that they stand in is a text.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Date, DateTime, DateTime64, Decode, Encode, Utc, put_length};
use crate::{
    json::{Kind, Reader},
    refusal::Problem,
};

/// The codes of types in a block
/// ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/data-types-binary-encoding)).
mod code {
    pub(super) const NOTHING: u8 = 0x00;
    pub(super) const UINT64: u8 = 0x04;
    pub(super) const INT64: u8 = 0x0A;
    pub(super) const FLOAT64: u8 = 0x0E;
    pub(super) const DATE: u8 = 0x0F;
    pub(super) const DATE_TIME: u8 = 0x11;
    pub(super) const DATE_TIME64: u8 = 0x13;
    pub(super) const STRING: u8 = 0x15;
    pub(super) const ARRAY: u8 = 0x1E;
    pub(super) const NAMED_TUPLE: u8 = 0x20;
    pub(super) const NULLABLE: u8 = 0x23;
    pub(super) const DYNAMIC: u8 = 0x2B;
    pub(super) const BOOL: u8 = 0x2D;
}

/// The digits behind the second that a moment with a fraction has.
const DIGITS: u8 = 9;
/// How many types a Dynamic in an array keeps apart, which is ClickHouse's own choice.
const MAX_TYPES: u8 = 32;
/// The length of `2024-02-29`.
const DAY_BYTES: usize = 10;
/// The length of `2024-02-29 12:13:14`.
const TIME_BYTES: usize = 19;

/// What a value shows of its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Inferred<'t> {
    /// Nothing was seen: the element of an array without any.
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
    /// The type of its elements, and whether NULL is among them.
    Array(Box<Self>, bool),
    Object(BTreeMap<Cow<'t, str>, Self>),
    /// Elements that have no type in common.
    Dynamic,
}

impl<'t> Inferred<'t> {
    /// Reads a value; `None` where it has no type.
    pub(super) fn of(json: &mut Reader<'t>) -> Result<Option<Self>, Problem> {
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

fn number<'t>(number: &str) -> Option<Inferred<'t>> {
    if number.contains(['.', 'e', 'E']) {
        return Some(Inferred::Float64);
    }
    match number.parse::<i64>() {
        Ok(value) => Some(Inferred::Int64 { is_negative: value < 0 }),
        Err(_) => number.parse::<u64>().ok().map(|_| Inferred::UInt64),
    }
}

/// ClickHouse guesses at more texts, `Jan 1 2024` and `24-02-29` among them; those stay texts here.
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

/// Returns whether the text begins like `2024-02-29`, and goes on, if at all, like ` 12:13:14`.
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
    match bytes.split_at_checked(TIME_BYTES) {
        None => is_like(bytes, b"0000-00-00"),
        Some((time, rest)) => {
            is_like(time, b"0000-00-00T00:00:00") && rest.iter().all(|byte| b"0123456789.+-:Z".contains(byte))
        }
    }
}

fn array<'t>(json: &mut Reader<'t>) -> Result<Option<Inferred<'t>>, Problem> {
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
    let element = || common(elements).unwrap_or(Inferred::Dynamic);
    Ok(is_typed.then(|| Inferred::Array(Box::new(element()), has_null)))
}

fn object<'t>(json: &mut Reader<'t>) -> Result<Option<Inferred<'t>>, Problem> {
    let mut fields = BTreeMap::new();
    let mut is_typed = true;
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        // ClickHouse allows neither as the name of an element.
        if key.is_empty() || key == "null" {
            return Err(Problem::Malformed);
        }
        let field = Inferred::of(json)?;
        is_typed &= field.is_some();
        if fields.insert(key, field.unwrap_or(Inferred::Nothing)).is_some() {
            return Err(Problem::PathTwice);
        }
    }
    Ok(is_typed.then_some(Inferred::Object(fields)))
}

/// Returns the type that values of all of these types can be read as.
fn common(types: Vec<Inferred<'_>>) -> Option<Inferred<'_>> {
    let mut types = types.into_iter();
    let mut all = types.next().unwrap_or(Inferred::Nothing);
    let rest: Vec<_> = types.collect();
    // An integer has a sign as long as no number is too large for one, and that shows at the end.
    for ty in rest {
        all = pair(all, ty)?;
    }
    Some(all)
}

fn pair<'t>(a: Inferred<'t>, b: Inferred<'t>) -> Option<Inferred<'t>> {
    use Inferred::{
        Array, Bool, Date, DateTime, DateTime64, Dynamic, Float64, Int64, Nothing, Null, Object, String, UInt64,
    };
    Some(match (a, b) {
        (Nothing, ty) | (ty, Nothing) | (Null, ty) | (ty, Null) => ty,
        (Int64 { is_negative: a }, Int64 { is_negative: b }) => Int64 { is_negative: a || b },
        (Float64, Float64 | Int64 { .. } | UInt64) | (Int64 { .. } | UInt64, Float64) => Float64,
        (UInt64, UInt64 | Int64 { is_negative: false }) | (Int64 { is_negative: false }, UInt64) => UInt64,
        (Bool, ty @ (Bool | Int64 { .. } | UInt64 | Float64)) | (ty @ (Int64 { .. } | UInt64 | Float64), Bool) => ty,
        (Bool, String | Date | DateTime | DateTime64) | (String | Date | DateTime | DateTime64, Bool) => String,
        (String, String | Date | DateTime | DateTime64) | (Date | DateTime | DateTime64, String) => String,
        (DateTime64, Date | DateTime | DateTime64) | (Date | DateTime, DateTime64) => DateTime64,
        (DateTime, Date | DateTime) | (Date, DateTime) => DateTime,
        (Date, Date) => Date,
        (Dynamic, Dynamic) => Dynamic,
        (Array(a, a_null), Array(b, b_null)) => {
            let has_null = a_null || b_null;
            let element = match (*a, *b) {
                (Dynamic, _) | (_, Dynamic) => Dynamic,
                (a, b) => match pair(a, b) {
                    Some(element) => element,
                    None if has_null => Dynamic,
                    None => return None,
                },
            };
            Array(Box::new(element), has_null)
        }
        (Object(a), Object(b)) => Object(merged(a, b)),
        (Object(fields), String) | (String, Object(fields)) if fields.is_empty() => String,
        _ => return None,
    })
}

/// Where a path has two types that have none in common, ClickHouse takes the first.
fn merged<'t>(
    mut all: BTreeMap<Cow<'t, str>, Inferred<'t>>,
    fields: BTreeMap<Cow<'t, str>, Inferred<'t>>,
) -> BTreeMap<Cow<'t, str>, Inferred<'t>> {
    for (key, ty) in fields {
        let ty = match all.remove(&key) {
            Some(first) => pair(first.clone(), ty).unwrap_or(first),
            None => ty,
        };
        all.insert(key, ty);
    }
    all
}

/// A type that a value is written as.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written<'t> {
    Bool,
    Int64,
    UInt64,
    Float64,
    String,
    Date,
    DateTime,
    DateTime64,
    Nullable(Box<Self>),
    Array(Box<Self>),
    Tuple(BTreeMap<Cow<'t, str>, Self>),
    Dynamic,
}

impl<'t> Inferred<'t> {
    /// Returns the type of a value that is not NULL; what was never seen is a text.
    pub(super) fn finish(self) -> Written<'t> {
        match self {
            Self::Nothing | Self::Null | Self::String => Written::String,
            Self::Bool => Written::Bool,
            Self::Int64 { .. } => Written::Int64,
            Self::UInt64 => Written::UInt64,
            Self::Float64 => Written::Float64,
            Self::Date => Written::Date,
            Self::DateTime => Written::DateTime,
            Self::DateTime64 => Written::DateTime64,
            Self::Dynamic => Written::Dynamic,
            Self::Array(element, has_null) => {
                // An empty object becomes a text, and one that is not there an empty one.
                let may_be_null = has_null && !matches!(*element, Self::Object(_));
                Written::Array(Box::new(or_null(element.finish(), may_be_null)))
            }
            Self::Object(fields) if fields.is_empty() => Written::String,
            Self::Object(fields) => Written::Tuple(
                fields
                    .into_iter()
                    .map(|(key, ty)| {
                        let is_null = ty == Self::Null;
                        (key, or_null(ty.finish(), is_null))
                    })
                    .collect(),
            ),
        }
    }
}

fn or_null(ty: Written<'_>, is_null: bool) -> Written<'_> {
    match ty {
        Written::Array(_) | Written::Tuple(_) | Written::Dynamic => ty,
        ty if is_null => Written::Nullable(Box::new(ty)),
        ty => ty,
    }
}

impl Written<'_> {
    /// Appends the type as a block has it.
    pub(super) fn put_type(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool => out.push(code::BOOL),
            Self::Int64 => out.push(code::INT64),
            Self::UInt64 => out.push(code::UINT64),
            Self::Float64 => out.push(code::FLOAT64),
            Self::String => out.push(code::STRING),
            Self::Date => out.push(code::DATE),
            Self::DateTime => out.push(code::DATE_TIME),
            Self::DateTime64 => out.extend([code::DATE_TIME64, DIGITS]),
            Self::Dynamic => out.extend([code::DYNAMIC, MAX_TYPES]),
            Self::Nullable(inner) => {
                out.push(code::NULLABLE);
                inner.put_type(out);
            }
            Self::Array(element) => {
                out.push(code::ARRAY);
                element.put_type(out);
            }
            Self::Tuple(elements) => {
                out.push(code::NAMED_TUPLE);
                put_length(out, elements.len());
                for (name, ty) in elements {
                    name.put(out);
                    ty.put_type(out);
                }
            }
        }
    }

    /// Reads a value and appends it.
    pub(super) fn put_value(&self, json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
        fn put<'a, T: Decode<'a> + Encode>(json: &mut Reader<'a>, out: &mut Vec<u8>) -> Result<(), Problem> {
            T::from_json(json)?.put(out);
            Ok(())
        }
        match self {
            Self::Bool => put::<bool>(json, out),
            Self::Int64 => put::<i64>(json, out),
            Self::UInt64 => put::<u64>(json, out),
            Self::Float64 => put::<f64>(json, out),
            Self::String => put::<Cow<'_, str>>(json, out),
            Self::Date => put::<Date>(json, out),
            Self::DateTime => put::<DateTime<Utc>>(json, out),
            Self::DateTime64 => put::<DateTime64<DIGITS, Utc>>(json, out),
            Self::Dynamic => put_dynamic(json, out),
            Self::Nullable(inner) => {
                if json.peek()? == Kind::Null {
                    out.push(1);
                    return Ok(json.null()?);
                }
                out.push(0);
                inner.put_value(json, out)
            }
            Self::Array(element) => match json.peek()? {
                Kind::Array => put_array(element, json, out),
                Kind::Null => {
                    self.put_default(out);
                    Ok(json.null()?)
                }
                _ => Err(Problem::WrongKind),
            },
            Self::Tuple(elements) => match json.peek()? {
                Kind::Object => put_tuple(elements, json, out),
                Kind::Null => {
                    self.put_default(out);
                    Ok(json.null()?)
                }
                _ => Err(Problem::WrongKind),
            },
        }
    }

    /// Appends what stands for a value that is not there.
    fn put_default(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool => out.push(0),
            Self::Int64 | Self::UInt64 | Self::Float64 | Self::DateTime64 => out.extend([0; 8]),
            Self::Date => out.extend([0; 2]),
            Self::DateTime => out.extend([0; 4]),
            Self::String | Self::Array(_) => put_length(out, 0),
            Self::Nullable(_) => out.push(1),
            Self::Tuple(elements) => elements.values().for_each(|ty| ty.put_default(out)),
            Self::Dynamic => out.push(code::NOTHING),
        }
    }
}

fn put_array(element: &Written<'_>, json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
    let mut length = 0;
    let mut elements = Vec::new();
    json.begin_array()?;
    while json.next_element()? {
        element.put_value(json, &mut elements)?;
        length += 1;
    }
    put_length(out, length);
    out.append(&mut elements);
    Ok(())
}

/// Elements go out in the order of the type, and are read in the order of the event.
fn put_tuple(
    elements: &BTreeMap<Cow<'_, str>, Written<'_>>,
    json: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let mut values = BTreeMap::new();
    json.begin_object()?;
    while let Some(key) = json.next_key()? {
        values.insert(key, json.clone());
        json.skip()?;
    }
    for (name, ty) in elements {
        match values.get_mut(name.as_ref()) {
            Some(value) => ty.put_value(value, out)?,
            None => ty.put_default(out),
        }
    }
    Ok(())
}

/// Appends a value with its type before it.
pub(super) fn put_dynamic(json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
    let mut value = json.clone();
    let inferred = Inferred::of(json)?;
    match inferred {
        Some(Inferred::Null) => {
            out.push(code::NOTHING);
            Ok(())
        }
        Some(inferred) => {
            let ty = inferred.finish();
            ty.put_type(out);
            ty.put_value(&mut value, out)
        }
        None => {
            out.push(code::STRING);
            value.raw_value()?.put(out);
            Ok(())
        }
    }
}

/// Appends a text with its type before it.
pub(super) fn put_text(value: &str, out: &mut Vec<u8>) -> Result<(), Problem> {
    fn put<'a, T: Decode<'a> + Encode>(value: &'a str, out: &mut Vec<u8>) -> Result<(), Problem> {
        T::from_text(Cow::Borrowed(value))?.put(out);
        Ok(())
    }
    let ty = text(value).finish();
    ty.put_type(out);
    match ty {
        Written::Date => put::<Date>(value, out),
        Written::DateTime => put::<DateTime<Utc>>(value, out),
        Written::DateTime64 => put::<DateTime64<DIGITS, Utc>>(value, out),
        _ => put::<Cow<'_, str>>(value, out),
    }
}
