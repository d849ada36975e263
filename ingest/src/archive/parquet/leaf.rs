//! Leaves: the values of one column of the file, without its nesting, until their row group is written.

use std::io;

use bytes::Bytes;
use parquet::{
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType as PhysicalType, DoubleType, FixedLenByteArray,
        FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    },
    errors::ParquetError,
    file::writer::SerializedColumnWriter,
};

use super::wkb::put_shape;
use crate::row_bytes::{Cursor, DataType, InvalidValue, data_type::Enumeration, put_day_or_time, put_json};

/// How the bytes of a value in a row become a value of the file.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    /// An integer of this many bytes, at most 8.
    Int {
        bytes: usize,
        is_signed: bool,
    },
    Float32,
    Float64,
    BFloat16,
    /// Days since 1970 in two bytes.
    Date,
    /// Seconds since 1970 in four bytes, as milliseconds.
    DateTime,
    /// A number of eight bytes, times this factor.
    Ticks(i64),
    /// The bytes as they are.
    Fixed,
    /// The bytes from the highest to the lowest.
    Reversed,
    Uuid,
    String,
    Enum(Enumeration),
    /// A Time or a Time64, as text.
    Time(DataType),
    /// A value as JSON.
    Json(DataType),
    /// A Geometry that is not NULL.
    Geometry,
}

/// The values of a leaf, by their type in the file.
#[derive(Debug)]
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// Values of one width, back to back.
    Fixed {
        width: usize,
        bytes: Vec<u8>,
    },
    /// Values back to back, and the offset at which each ends.
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
}

/// A column of the file without its nesting.
#[derive(Debug)]
pub(super) struct Leaf {
    kind: Kind,
    values: Values,
    /// The levels of values and of missing ones; empty if there is only one level.
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    pub(super) max_definition: i16,
    pub(super) max_repetition: i16,
    /// The numbers of values and of levels at the end of the last row.
    end: End,
}

#[derive(Debug, Clone, Copy, Default)]
struct End {
    values: usize,
    bytes: usize,
    definitions: usize,
    repetitions: usize,
}

impl Leaf {
    /// Returns a leaf without values.
    pub(super) fn new(kind: Kind, values: Values, max_definition: i16, max_repetition: i16) -> Self {
        Self {
            kind,
            values,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            max_definition,
            max_repetition,
            end: End::default(),
        }
    }

    /// Takes a value from a row.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor<'_>,
        definition: i16,
        repetition: i16,
    ) -> Result<(), InvalidValue> {
        self.put_levels(definition, repetition);
        self.values.take(&self.kind, cursor)
    }

    /// Adds the place of a value that is missing.
    pub(super) fn put_levels(&mut self, definition: i16, repetition: i16) {
        if self.max_definition > 0 {
            self.definitions.push(definition);
        }
        if self.max_repetition > 0 {
            self.repetitions.push(repetition);
        }
    }

    /// Keeps what was added since the last row.
    pub(super) fn end_row(&mut self) {
        self.end = End {
            values: self.values.len(),
            bytes: self.values.bytes(),
            definitions: self.definitions.len(),
            repetitions: self.repetitions.len(),
        };
    }

    /// Removes what was added since the last row.
    pub(super) fn discard_row(&mut self) {
        self.values.truncate(self.end.values, self.end.bytes);
        self.definitions.truncate(self.end.definitions);
        self.repetitions.truncate(self.end.repetitions);
    }

    /// Returns the memory that the values take until they are written, in bytes.
    pub(super) fn cost(&self) -> usize {
        let levels = size_of_val(&*self.definitions) + size_of_val(&*self.repetitions);
        self.values.cost() + levels
    }

    /// Writes the values to their column of a row group, and removes them.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> io::Result<()> {
        let definitions = (self.max_definition > 0).then_some(&*self.definitions);
        let repetitions = (self.max_repetition > 0).then_some(&*self.repetitions);
        let mut levels = Levels {
            column,
            definitions,
            repetitions,
        };
        let written = match &mut self.values {
            Values::Bool(values) => levels.write::<BoolType>(&std::mem::take(values)),
            Values::Int32(values) => levels.write::<Int32Type>(&std::mem::take(values)),
            Values::Int64(values) => levels.write::<Int64Type>(&std::mem::take(values)),
            Values::Float(values) => levels.write::<FloatType>(&std::mem::take(values)),
            Values::Double(values) => levels.write::<DoubleType>(&std::mem::take(values)),
            Values::Fixed { width, bytes } => {
                let (width, bytes) = (*width, Bytes::from(std::mem::take(bytes)));
                let starts = (0..bytes.len()).step_by(width.max(1));
                let values =
                    starts.map(|start| FixedLenByteArray::from(ByteArray::from(bytes.slice(start..start + width))));
                levels.write::<FixedLenByteArrayType>(&values.collect::<Vec<_>>())
            }
            Values::Bytes { bytes, ends } => {
                let (bytes, mut start) = (Bytes::from(std::mem::take(bytes)), 0);
                let value = |end| ByteArray::from(bytes.slice(std::mem::replace(&mut start, end)..end));
                let values: Vec<_> = std::mem::take(ends).into_iter().map(value).collect();
                levels.write::<ByteArrayType>(&values)
            }
        };
        self.definitions.clear();
        self.repetitions.clear();
        self.end = End::default();
        written.map_err(io::Error::other)
    }
}

/// A column of a row group, and the levels of its values.
struct Levels<'l, 'c> {
    column: &'l mut SerializedColumnWriter<'c>,
    definitions: Option<&'l [i16]>,
    repetitions: Option<&'l [i16]>,
}

impl Levels<'_, '_> {
    fn write<T: PhysicalType>(&mut self, values: &[T::T]) -> Result<(), ParquetError> {
        let column = self.column.typed::<T>();
        column.write_batch(values, self.definitions, self.repetitions).map(drop)
    }
}

impl Values {
    pub(super) fn fixed(width: usize) -> Self {
        Self::Fixed {
            width,
            bytes: Vec::new(),
        }
    }

    pub(super) fn texts() -> Self {
        Self::Bytes {
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn take(&mut self, kind: &Kind, cursor: &mut Cursor<'_>) -> Result<(), InvalidValue> {
        match (self, kind) {
            (Self::Bool(values), Kind::Bool) => values.push(cursor.flag()?),
            (Self::Int32(values), Kind::Date) => values.push(u16::from_le_bytes(cursor.array()?).into()),
            (Self::Int32(values), Kind::Int { bytes, is_signed }) => values.push(match (bytes, is_signed) {
                (1, false) => cursor.byte()?.into(),
                (1, true) => i8::from_le_bytes(cursor.array()?).into(),
                (2, false) => u16::from_le_bytes(cursor.array()?).into(),
                (2, true) => i16::from_le_bytes(cursor.array()?).into(),
                // The file has the bits of an unsigned one, too.
                _ => i32::from_le_bytes(cursor.array()?),
            }),
            (Self::Int64(values), Kind::Int { .. }) => values.push(i64::from_le_bytes(cursor.array()?)),
            (Self::Int64(values), Kind::DateTime) => {
                values.push(i64::from(u32::from_le_bytes(cursor.array()?)) * 1000);
            }
            (Self::Int64(values), Kind::Ticks(factor)) => {
                let ticks = i64::from_le_bytes(cursor.array()?).checked_mul(*factor);
                values.push(ticks.ok_or(InvalidValue::OutOfRange)?);
            }
            (Self::Float(values), Kind::Float32) => values.push(f32::from_le_bytes(cursor.array()?)),
            (Self::Float(values), Kind::BFloat16) => values.push(cursor.bfloat16()?),
            (Self::Double(values), Kind::Float64) => values.push(f64::from_le_bytes(cursor.array()?)),
            (Self::Fixed { width, bytes }, Kind::Fixed) => bytes.extend_from_slice(cursor.take(*width)?),
            (Self::Fixed { width, bytes }, Kind::Reversed) => bytes.extend(cursor.take(*width)?.iter().rev()),
            (Self::Fixed { bytes, .. }, Kind::Uuid) => bytes.extend_from_slice(&cursor.uuid()?),
            (Self::Bytes { bytes, ends }, kind) => {
                kind.put_bytes(cursor, bytes)?;
                ends.push(bytes.len());
            }
            // `schema` makes no other pair.
            _ => return Err(InvalidValue::Malformed),
        }
        Ok(())
    }

    /// Returns the number of values.
    fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Fixed { width, bytes } => bytes.len() / (*width).max(1),
            Self::Bytes { ends, .. } => ends.len(),
        }
    }

    /// Returns the length of the values that have bytes of their own.
    fn bytes(&self) -> usize {
        match self {
            Self::Fixed { bytes, .. } | Self::Bytes { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    fn truncate(&mut self, values: usize, length: usize) {
        match self {
            Self::Bool(own) => own.truncate(values),
            Self::Int32(own) => own.truncate(values),
            Self::Int64(own) => own.truncate(values),
            Self::Float(own) => own.truncate(values),
            Self::Double(own) => own.truncate(values),
            Self::Fixed { bytes, .. } => bytes.truncate(length),
            Self::Bytes { bytes, ends } => {
                bytes.truncate(length);
                ends.truncate(values);
            }
        }
    }

    fn cost(&self) -> usize {
        let each = match self {
            Self::Bool(_) => size_of::<bool>(),
            Self::Int32(_) | Self::Float(_) => size_of::<i32>(),
            Self::Int64(_) | Self::Double(_) => size_of::<i64>(),
            // The writer wants each value as a part of the bytes.
            Self::Fixed { .. } => size_of::<FixedLenByteArray>(),
            Self::Bytes { .. } => size_of::<ByteArray>() + size_of::<usize>(),
        };
        self.len() * each + self.bytes()
    }
}

impl Kind {
    /// Takes a value of any length.
    fn put_bytes(&self, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
        match self {
            Self::String => out.extend_from_slice(cursor.string()?),
            Self::Enum(enumeration) => {
                let number = cursor.enumeration(enumeration.width)?;
                let name = enumeration.name(number).ok_or(InvalidValue::Malformed)?;
                out.extend_from_slice(name.as_bytes());
            }
            Self::Time(data_type) => {
                let mut text = String::new();
                put_day_or_time(data_type, cursor, &mut text)?;
                out.extend_from_slice(text.as_bytes());
            }
            Self::Json(data_type) => {
                let mut text = String::new();
                put_json(data_type, cursor, &mut text)?;
                out.extend_from_slice(text.as_bytes());
            }
            Self::Geometry => put_shape(cursor.byte()?, cursor, out)?,
            _ => return Err(InvalidValue::Malformed),
        }
        Ok(())
    }
}
