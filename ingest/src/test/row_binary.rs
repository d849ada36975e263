//! Reads encoded rows back as typed rows, by the `Deserialize` that the `clickhouse` crate uses.
//!
//! That crate keeps its own deserializer private, and knows no
//! [`RowBinaryWithDefaults`](Format::RowBinaryWithDefaults).

use std::fmt::{self, Display, Formatter};

use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, SeqAccess, VariantAccess, Visitor,
        value::{BorrowedStrDeserializer, BytesDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::{
    block::content::BlockRows,
    intake::row::{DEFAULT, PresentColumns, Row, TypedTable},
    table::Format,
    value::dynamic,
};

/// Reads all rows of blocks.
///
/// # Errors
/// The bytes are not rows of `R`, or a value cannot be read back.
pub(super) fn read_rows<R>(blocks: &[BlockRows]) -> Result<Vec<R>, ReadError>
where
    R: TypedTable + DeserializeOwned,
{
    let is_marked = R::TABLE.format == Format::RowBinaryWithDefaults;
    let default = is_marked.then(Defaults::of::<R>).transpose()?;
    let mut rows = Vec::new();
    for block in blocks {
        let mut start = 0;
        for end in &*block.ends {
            let end = *end as usize;
            let mut reader = RowReader::new(&block.bytes[start..end], is_marked, default.as_ref());
            rows.push(R::deserialize(&mut reader)?);
            if !reader.input.is_empty() {
                return Err(ReadError(format!("{} bytes are left", reader.input.len())));
            }
            start = end;
        }
    }
    Ok(rows)
}

/// The encoded row of an empty event, whose columns stand in for those that ClickHouse computes.
#[derive(Debug)]
struct Defaults {
    bytes: Vec<u8>,
    /// The offset of each column's value.
    starts: Vec<usize>,
}

impl Defaults {
    fn of<R: TypedTable + DeserializeOwned>() -> Result<Self, ReadError> {
        let mut present = PresentColumns::default();
        (0..R::TABLE.columns.len()).for_each(|column| present.insert(column));
        let mut bytes = Vec::new();
        R::Row::<'static>::default().encode(&present, &mut bytes);
        let mut reader = RowReader::new(&bytes, true, None);
        R::deserialize(&mut reader)?;
        let starts = reader.starts;
        Ok(Self { bytes, starts })
    }
}

/// The reason why a row cannot be read back.
#[derive(Debug)]
pub(super) struct ReadError(String);

impl Display for ReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads one row: a struct of the columns.
#[derive(Debug)]
struct RowReader<'a, 'de> {
    input: &'de [u8],
    length: usize,
    /// Whether a byte before each column shows that ClickHouse computes it.
    is_marked: bool,
    /// The values of columns that ClickHouse computes.
    default: Option<&'de Defaults>,
    columns: &'a [&'static str],
    /// The offsets of the values read so far.
    starts: Vec<usize>,
}

impl<'de> RowReader<'_, 'de> {
    fn new(input: &'de [u8], is_marked: bool, default: Option<&'de Defaults>) -> Self {
        Self {
            input,
            length: input.len(),
            is_marked,
            default,
            columns: &[],
            starts: Vec::new(),
        }
    }
}

impl<'de> de::Deserializer<'de> for &mut RowReader<'_, 'de> {
    type Error = ReadError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        columns: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.columns = columns;
        visitor.visit_seq(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("a row is a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for RowReader<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let index = self.starts.len();
        let Some(column) = self.columns.get(index) else {
            return Ok(None);
        };
        let is_default = self.is_marked && ValueReader(&mut self.input).byte()? == DEFAULT;
        self.starts.push(self.length - self.input.len());
        let mut default = &[][..];
        let input = match self.default {
            Some(row) if is_default => {
                default = row.starts.get(index).map_or(default, |start| &row.bytes[*start..]);
                &mut default
            }
            _ => &mut self.input,
        };
        let value = seed.deserialize(ValueReader(input));
        value
            .map(Some)
            .map_err(|error| ReadError(format!("column `{column}`: {error}")))
    }
}

/// Reads one value of a column.
struct ValueReader<'a, 'de>(&'a mut &'de [u8]);

impl<'de> ValueReader<'_, 'de> {
    fn take(&mut self, length: usize) -> Result<&'de [u8], ReadError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| ReadError("the row is too short".to_owned()))?;
        *self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, ReadError> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, ReadError> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err(ReadError("a length is too long".to_owned()))
    }

    fn text(&mut self) -> Result<&'de str, ReadError> {
        let length = self.length()?;
        str::from_utf8(self.take(length)?).map_err(de::Error::custom)
    }

    fn elements(&mut self, left: usize) -> Elements<'_, 'de> {
        Elements { input: self.0, left }
    }
}

/// Defines the methods for numbers.
macro_rules! numbers {
    ($($method:ident: $visit:ident, $number:ty;)+) => { $(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit(<$number>::from_le_bytes(self.array()?))
        }
    )+ };
}

impl<'de> de::Deserializer<'de> for ValueReader<'_, 'de> {
    type Error = ReadError;

    numbers! {
        deserialize_i8: visit_i8, i8;
        deserialize_i16: visit_i16, i16;
        deserialize_i32: visit_i32, i32;
        deserialize_i64: visit_i64, i64;
        deserialize_i128: visit_i128, i128;
        deserialize_u8: visit_u8, u8;
        deserialize_u16: visit_u16, u16;
        deserialize_u32: visit_u32, u32;
        deserialize_u64: visit_u64, u64;
        deserialize_u128: visit_u128, u128;
        deserialize_f32: visit_f32, f32;
        deserialize_f64: visit_f64, f64;
        deserialize_identifier: visit_u8, u8;
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        let is_true = self.byte()? != 0;
        visitor.visit_bool(is_true)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        let length = self.length()?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        match self.byte()? {
            0 => visitor.visit_some(self),
            _ => visitor.visit_none(),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, ReadError> {
        let length = self.length()?;
        visitor.visit_seq(self.elements(length))
    }

    fn deserialize_tuple<V: Visitor<'de>>(mut self, length: usize, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(self.elements(length))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(self)
    }

    /// The `clickhouse` crate's own types are newtypes of their bytes, known by their names.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let width = match name {
            dynamic::SERDE_NAME => {
                return match self.byte()? {
                    dynamic::NOTHING => visitor.visit_newtype_struct(BorrowedStrDeserializer::new("null")),
                    _ => Err(de::Error::custom("a value of a Dynamic cannot be read back")),
                };
            }
            name if name.starts_with("clickhouse::types::int256") => 32,
            name if name.starts_with("clickhouse::types::bf16") => 2,
            _ => return visitor.visit_newtype_struct(self),
        };
        de::Deserializer::deserialize_bytes(BytesDeserializer::new(self.take(width)?), visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("RowBinary does not describe its values"))
    }

    forward_to_deserialize_any! { char unit unit_struct tuple_struct map struct ignored_any }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of an array or of a tuple.
struct Elements<'a, 'de> {
    input: &'a mut &'de [u8],
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(ValueReader(self.input)).map(Some)
    }
}

/// A Variant: the number of the type, then the value.
impl<'de> de::EnumAccess<'de> for ValueReader<'_, 'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ReadError> {
        let number = seed.deserialize(ValueReader(self.0))?;
        Ok((number, self))
    }
}

impl<'de> VariantAccess<'de> for ValueReader<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_tuple(self, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}
