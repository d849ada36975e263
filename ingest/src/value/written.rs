//! A `Dynamic` in a block: the inferred type, then the value.
//!
//! ClickHouse stores the elements of tuples in files that are named after their paths. It accepts
//! `{"a": {"b": 1}, "a.b": 2}`, with two paths of one name, and can never read what it has stored.
//! This module therefore refuses such objects.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use super::{
    Date, DateTime, DateTime64, Decode, Encode, Utc,
    inference::{DIGITS, Inferred, text},
    json_text::MAX_PATH_BYTES,
    put_length,
};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// The codes of types in a block
/// ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/data-types-binary-encoding)).
pub(crate) mod code {
    pub(crate) const NOTHING: u8 = 0x00;
    pub(crate) const UINT64: u8 = 0x04;
    pub(crate) const INT64: u8 = 0x0A;
    pub(crate) const FLOAT64: u8 = 0x0E;
    pub(crate) const DATE: u8 = 0x0F;
    pub(crate) const DATE_TIME: u8 = 0x11;
    pub(crate) const DATE_TIME64: u8 = 0x13;
    pub(crate) const STRING: u8 = 0x15;
    pub(crate) const ARRAY: u8 = 0x1E;
    pub(crate) const NAMED_TUPLE: u8 = 0x20;
    pub(crate) const NULLABLE: u8 = 0x23;
    pub(crate) const DYNAMIC: u8 = 0x2B;
    pub(crate) const BOOL: u8 = 0x2D;
}

/// The number of types that a Dynamic in an array stores separately; ClickHouse chooses the same.
const MAX_TYPES: u8 = 32;

/// The type of a written value.
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
    NoCommonType,
}

impl<'t> Inferred<'t> {
    /// Returns the type of a value that is not NULL; a type without any value is String.
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
            Self::NoCommonType => Written::NoCommonType,
            Self::Array(element, has_null) => {
                // An empty object becomes text, and a missing one empty text: neither is NULL.
                let may_be_null = has_null && !matches!(*element, Self::Object(_));
                Written::Array(Box::new(or_null(element.finish(), may_be_null)))
            }
            Self::OrNull(ty) => or_null(ty.finish(), true),
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
    /// Appends the type in block format.
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
            // `put_value` refuses its values.
            Self::NoCommonType => {}
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

    /// Checks that ClickHouse stores each part of the value under its own name.
    fn check_names(&self) -> Result<(), ValueError> {
        // If no key contains a dot, paths are as distinct as keys.
        if !self.has_dots() {
            return Ok(());
        }
        let mut names = Names::default();
        names.add(self, 0)
    }

    fn has_dots(&self) -> bool {
        match self {
            Self::Nullable(inner) | Self::Array(inner) => inner.has_dots(),
            Self::Tuple(elements) => elements.iter().any(|(name, ty)| name.contains('.') || ty.has_dots()),
            _ => false,
        }
    }

    /// Reads a value and appends it.
    pub(super) fn put_value(&self, json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
        fn put<'a, T: Decode<'a> + Encode>(json: &mut Reader<'a>, out: &mut Vec<u8>) -> Result<(), ValueError> {
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
            Self::NoCommonType => Err(ValueError::NoneOfTheTypes),
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
                _ => Err(ValueError::WrongKind),
            },
            Self::Tuple(elements) => match json.peek()? {
                Kind::Object => put_tuple(elements, json, out),
                Kind::Null => {
                    self.put_default(out);
                    Ok(json.null()?)
                }
                _ => Err(ValueError::WrongKind),
            },
        }
    }

    /// Appends the default for a missing value.
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
            Self::NoCommonType => {}
        }
    }
}

/// The names under which the parts of a value are stored.
#[derive(Debug, Default)]
struct Names {
    /// The path to the current type.
    path: String,
    seen: HashSet<String>,
    bytes: usize,
}

impl Names {
    fn add(&mut self, ty: &Written<'_>, arrays: usize) -> Result<(), ValueError> {
        match ty {
            Written::Array(element) => {
                self.add_name(&format!(".size{arrays}"))?;
                self.add(element, arrays + 1)
            }
            Written::Nullable(inner) => {
                self.add_name(".null")?;
                self.add(inner, arrays)
            }
            Written::Tuple(elements) => {
                let above = self.path.len();
                for (name, element) in elements {
                    self.path.push('.');
                    self.path.push_str(name);
                    self.add(element, arrays)?;
                    self.path.truncate(above);
                }
                Ok(())
            }
            _ => self.add_name(""),
        }
    }

    fn add_name(&mut self, ending: &str) -> Result<(), ValueError> {
        let name = format!("{}{ending}", self.path);
        self.bytes += name.len();
        if self.bytes > MAX_PATH_BYTES {
            return Err(ValueError::TooLong);
        }
        if self.seen.insert(name) {
            Ok(())
        } else {
            Err(ValueError::PathTwice)
        }
    }
}

fn put_array(element: &Written<'_>, json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
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

/// Writes the elements in the order of the type, and reads them in the order of the event.
fn put_tuple(
    elements: &BTreeMap<Cow<'_, str>, Written<'_>>,
    json: &mut Reader<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
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
pub(super) fn put_dynamic(json: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut value = json.clone();
    let inferred = Inferred::of(json)?;
    match inferred {
        Some(Inferred::Null) => {
            out.push(code::NOTHING);
            Ok(())
        }
        Some(inferred) => {
            let ty = inferred.finish();
            ty.check_names()?;
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

/// Appends text with its type before it.
pub(super) fn put_text(value: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
    fn put<'a, T: Decode<'a> + Encode>(value: &'a str, out: &mut Vec<u8>) -> Result<(), ValueError> {
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
