//! Parquet: the rows of blocks as one file that ClickHouse and other programs read.
//!
//! A column has the type that ClickHouse itself writes in `FORMAT Parquet`, as far as it writes one.
//! The types that it does not write are those from which it reads the same values into a column of
//! the type:
//!
//! | ClickHouse | Parquet |
//! |---|---|
//! | integers up to 64 bits, IPv4 | INT32 or INT64 with their width and sign |
//! | wider integers, FixedString, IPv6 | FIXED_LEN_BYTE_ARRAY with the bytes of the value |
//! | Float32, Float64, Bool | FLOAT, DOUBLE, BOOLEAN |
//! | BFloat16, intervals | FLOAT, INT64 |
//! | Decimal | DECIMAL in a FIXED_LEN_BYTE_ARRAY |
//! | Date, Date32 | DATE |
//! | DateTime, DateTime64 | TIMESTAMP in milliseconds, microseconds or nanoseconds, in UTC |
//! | String, Enum, UUID, JSON | STRING, ENUM, UUID, JSON |
//! | Time, Time64, QBit | STRING, as ClickHouse writes and reads them as text |
//! | Array, Map, Tuple and shapes | LIST, MAP, a group |
//! | Geometry | BYTE_ARRAY with well-known binary |
//! | Variant, Dynamic | STRING with JSON, `null` for NULL |
//! | Nullable, and what ClickHouse computes | OPTIONAL |
//!
//! The files that make up the conversion:
//!
//! ```text
//! schema  the types of the file, and the columns that rows go to
//! column  takes a row apart into values with their levels
//! leaf    the values of one column without its nesting
//! wkb     shapes in well-known binary
//! file    row groups, and the whole file
//! object  the blocks of an object, and those of their rows that a file cannot have
//! ```

mod column;
mod file;
mod leaf;
mod object;
mod schema;
#[cfg(test)]
mod tests;
mod wkb;

pub(super) use self::object::{ParquetObject, ParquetParts};
