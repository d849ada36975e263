//! Rows as JSON: an object for each row, as ClickHouse reads it in the format JSONEachRow.
//!
//! ```text
//! data_type   the names of types become what the encoder needs
//! dynamic     the type before each value of a Dynamic
//! number      numbers, dates and times
//! text        texts
//! ```
//!
//! A reader gets the values of the table: integers beyond 32 bits and decimals are strings, since most
//! readers of JSON round such numbers. Within a Variant and a Dynamic they are numbers, because
//! ClickHouse takes the type of the value from its form. Times are in UTC as ISO 8601, whatever the
//! time zone of the column. Columns that ClickHouse computes are not in the object.

mod data_type;
mod dynamic;
mod number;
#[cfg(test)]
mod tests;
mod text;

use std::{
    fmt,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use uuid::Uuid;

use self::{
    data_type::DataType,
    number::{put_date, put_date_time, put_float, put_integer, put_time},
    text::put_text,
};
use crate::{block::layout::InsertTarget, table::Format};

/// The byte before a column whose value ClickHouse computes, in rows of
/// [`RowBinaryWithDefaults`](Format::RowBinaryWithDefaults).
const COMPUTED: u8 = 1;

/// The number of NULL among the types of a Variant.
const VARIANT_NULL: u8 = 255;

/// The depth of values in values. Events are not nested as deeply.
const MAX_DEPTH: usize = 512;

/// The largest number of elements without bytes of their own, such as empty tuples.
const MAX_EMPTY: usize = 1 << 16;

/// The rows of one insert target, as JSON.
#[derive(Debug)]
pub(super) struct JsonRows {
    /// The columns of a row, each with its key and the colon after it.
    columns: Vec<(Box<[u8]>, DataType)>,
    /// Whether a byte before each value tells if ClickHouse computes it.
    is_marked: bool,
}

/// A column whose values this module cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownType {
    column: Box<str>,
    data_type: Box<str>,
}

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, data_type } = self;
        write!(
            f,
            "the column `{column}` has the type {data_type}, whose values cannot be JSON"
        )
    }
}

/// The bytes of a row are not those of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedRow;

impl JsonRows {
    /// Returns the encoder of the rows of an insert target.
    ///
    /// # Errors
    /// The first column whose values cannot be JSON.
    pub(super) fn of(target: &InsertTarget) -> Result<Self, UnknownType> {
        let columns = target.columns.iter().map(|column| {
            let ty = DataType::of(&column.data_type).ok_or_else(|| UnknownType {
                column: column.name.clone(),
                data_type: column.data_type.clone(),
            })?;
            let mut key = Vec::new();
            put_text(column.name.as_bytes(), &mut key);
            key.push(b':');
            Ok((key.into(), ty))
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            is_marked: target.format() == Format::RowBinaryWithDefaults.name(),
        })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// The bytes are not a row of these columns. `out` then has a part of the object.
    pub(super) fn put(&self, row: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedRow> {
        let mut input = Input { bytes: row, depth: 0 };
        out.push(b'{');
        let mut is_first = true;
        for (key, ty) in &self.columns {
            if self.is_marked && input.byte()? == COMPUTED {
                continue;
            }
            if !is_first {
                out.push(b',');
            }
            is_first = false;
            out.extend_from_slice(key);
            input.put(ty, true, out)?;
        }
        out.push(b'}');
        input.bytes.is_empty().then_some(()).ok_or(MalformedRow)
    }
}

/// The bytes of a row that are not read yet.
struct Input<'r> {
    bytes: &'r [u8],
    depth: usize,
}

impl<'r> Input<'r> {
    /// Reads a value and appends it. `is_typed`: the reader knows the type, so a number may be a string.
    fn put(&mut self, ty: &DataType, is_typed: bool, out: &mut Vec<u8>) -> Result<(), MalformedRow> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(MalformedRow);
        }
        self.put_value(ty, is_typed, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn put_value(&mut self, ty: &DataType, is_typed: bool, out: &mut Vec<u8>) -> Result<(), MalformedRow> {
        match ty {
            DataType::Bool => {
                let text: &[u8] = if self.byte()? == 0 { b"false" } else { b"true" };
                out.extend_from_slice(text);
            }
            DataType::Int { bytes, is_signed } => {
                let value = self.take(*bytes)?;
                quoted_if(is_typed && *bytes > 4, out, |out| {
                    put_integer(value, *is_signed, 0, out)
                });
            }
            DataType::Decimal { bytes, scale } => {
                let value = self.take(*bytes)?;
                quoted_if(is_typed, out, |out| put_integer(value, true, *scale, out));
            }
            DataType::Float32 => put_float(f32::from_le_bytes(self.array()?).into(), true, out),
            DataType::Float64 => put_float(f64::from_le_bytes(self.array()?), false, out),
            DataType::BFloat16 => {
                let bits = u32::from(u16::from_le_bytes(self.array()?)) << 16;
                put_float(f32::from_bits(bits).into(), true, out);
            }
            DataType::Date => {
                let days = u16::from_le_bytes(self.array()?);
                quoted(out, |out| put_date(days.into(), out));
            }
            DataType::Date32 => {
                let days = i32::from_le_bytes(self.array()?);
                quoted(out, |out| put_date(days.into(), out));
            }
            DataType::DateTime => {
                let seconds = u32::from_le_bytes(self.array()?);
                quoted(out, |out| put_date_time(seconds.into(), 0, out));
            }
            DataType::DateTime64 { scale } => {
                let ticks = i64::from_le_bytes(self.array()?);
                quoted(out, |out| put_date_time(ticks, *scale, out));
            }
            DataType::Time => {
                let seconds = i32::from_le_bytes(self.array()?);
                quoted(out, |out| put_time(seconds.into(), 0, out));
            }
            DataType::Time64 { scale } => {
                let ticks = i64::from_le_bytes(self.array()?);
                quoted(out, |out| put_time(ticks, *scale, out));
            }
            DataType::String => put_text(self.text()?, out),
            DataType::FixedString(length) => put_text(self.take(*length)?, out),
            DataType::Uuid => {
                // Two numbers of 64 bits, the higher one first.
                let (high, low) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
                put_shown(Uuid::from_u64_pair(high, low), out);
            }
            DataType::Ipv4 => put_shown(Ipv4Addr::from(u32::from_le_bytes(self.array()?)), out),
            DataType::Ipv6 => put_shown(Ipv6Addr::from(self.array::<16>()?), out),
            DataType::Enum { bytes, names } => {
                let number = match bytes {
                    1 => i8::from_le_bytes(self.array()?).into(),
                    _ => i16::from_le_bytes(self.array()?),
                };
                out.extend_from_slice(names.get(&number).ok_or(MalformedRow)?);
            }
            DataType::Nullable(inner) => match self.byte()? {
                0 => self.put(inner, is_typed, out)?,
                _ => out.extend_from_slice(b"null"),
            },
            DataType::Array(element) => {
                let count = self.length()?;
                self.put_list(*b"[]", count, out, |input, out| input.put(element, is_typed, out))?;
            }
            DataType::Map(key, value) => {
                let count = self.length()?;
                self.put_list(*b"{}", count, out, |input, out| {
                    input.put_key(key, out)?;
                    out.push(b':');
                    input.put(value, is_typed, out)
                })?;
            }
            DataType::Tuple(elements) => {
                let mut types = elements.iter();
                self.put_list(*b"[]", elements.len(), out, |input, out| {
                    let ty = types.next().ok_or(MalformedRow)?;
                    input.put(ty, is_typed, out)
                })?;
            }
            DataType::NamedTuple(elements) => {
                let mut elements_left = elements.iter();
                self.put_list(*b"{}", elements.len(), out, |input, out| {
                    let (key, ty) = elements_left.next().ok_or(MalformedRow)?;
                    out.extend_from_slice(key);
                    out.push(b':');
                    input.put(ty, is_typed, out)
                })?;
            }
            DataType::Variant(types) => match self.byte()? {
                VARIANT_NULL => out.extend_from_slice(b"null"),
                number => {
                    let ty = types.get(usize::from(number)).ok_or(MalformedRow)?;
                    self.put(ty, false, out)?;
                }
            },
            DataType::Dynamic => match self.dynamic_type(0)? {
                None => out.extend_from_slice(b"null"),
                Some(ty) => self.put(&ty, false, out)?,
            },
            // The text of an object, as the event has it.
            DataType::Json => match self.text()? {
                b"" => out.extend_from_slice(b"{}"),
                text => out.extend_from_slice(text),
            },
        }
        Ok(())
    }

    /// Appends `count` items between brackets, with commas between them.
    fn put_list(
        &mut self,
        brackets: [u8; 2],
        count: usize,
        out: &mut Vec<u8>,
        mut put: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<(), MalformedRow>,
    ) -> Result<(), MalformedRow> {
        if count > self.bytes.len().max(MAX_EMPTY) {
            return Err(MalformedRow);
        }
        out.push(brackets[0]);
        for index in 0..count {
            if index > 0 {
                out.push(b',');
            }
            put(self, out)?;
        }
        out.push(brackets[1]);
        Ok(())
    }

    /// Appends the key of a Map, which is a string in JSON.
    fn put_key(&mut self, ty: &DataType, out: &mut Vec<u8>) -> Result<(), MalformedRow> {
        let start = out.len();
        self.put(ty, true, out)?;
        if out.get(start) != Some(&b'"') {
            let key = out.split_off(start);
            put_text(&key, out);
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'r [u8], MalformedRow> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(MalformedRow)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedRow> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(MalformedRow)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, MalformedRow> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, MalformedRow> {
        let mut length = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(length).map_err(|_| MalformedRow);
            }
        }
        Err(MalformedRow)
    }

    fn text(&mut self) -> Result<&'r [u8], MalformedRow> {
        let length = self.length()?;
        self.take(length)
    }
}

fn quoted(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    put(out);
    out.push(b'"');
}

fn quoted_if(is_quoted: bool, out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    match is_quoted {
        true => quoted(out, put),
        false => put(out),
    }
}

fn put_shown(value: impl fmt::Display, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    _ = write!(out, "\"{value}\"");
}
