//! Row bytes: the values in the bytes of a row, by the types of its columns.
//!
//! A block has its rows in RowBinary, without names and types. Whoever wants the values and not only
//! the bytes, such as the archive's Parquet objects, reads the types from the insert target of the
//! block and the values with them. Rows come from the disk, also those of other builds: an unknown
//! type is an error of its column, and bytes that do not match their type are an error of their row.
//!
//! ```text
//! data_type   a column's type, without what does not change its bytes
//! parse       reads a type as ClickHouse prints it
//! cursor      takes numbers, lengths and texts from the bytes
//! dynamic     the type in front of each value of a Dynamic
//! text        writes days and times
//! json        writes a value as JSON
//! ```

mod cursor;
pub(crate) mod data_type;
mod dynamic;
mod json;
mod parse;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

pub(crate) use self::{cursor::Cursor, data_type::DataType, json::put_json, text::put_day_or_time};

/// The deepest nesting of types and values; the types of the schema nest less deeply.
const MAX_DEPTH: usize = 300;

/// The reason why a value cannot be read or written. Its text has nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidValue {
    /// The bytes do not match the type.
    Malformed,
    /// A Dynamic has a value of a type that the collector does not write.
    UnknownType(u8),
    /// The target format does not have this value.
    OutOfRange,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("its bytes do not match its type"),
            Self::UnknownType(code) => write!(f, "its value has the type with the unknown code {code:#04x}"),
            Self::OutOfRange => f.write_str("its value is out of the range of the format"),
        }
    }
}
