//! The type in front of each value of a Dynamic.

use super::{Cursor, DataType, InvalidValue, MAX_DEPTH, data_type::Element};
use crate::value::dynamic_code as code;

/// Takes a type in the form in which ClickHouse writes types in binary
/// ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/data-types-binary-encoding));
/// `None` for the type of NULL. Only the types that the collector writes are known.
pub(super) fn take_type(cursor: &mut Cursor<'_>, depth: usize) -> Result<Option<DataType>, InvalidValue> {
    if depth > MAX_DEPTH {
        return Err(InvalidValue::Malformed);
    }
    let int = |is_signed| DataType::Int { bits: 64, is_signed };
    Ok(Some(match cursor.byte()? {
        code::NOTHING => return Ok(None),
        code::BOOL => DataType::Bool,
        code::INT64 => int(true),
        code::UINT64 => int(false),
        code::FLOAT64 => DataType::Float64,
        code::STRING => DataType::String,
        code::DATE => DataType::Date,
        code::DATE_TIME => DataType::DateTime,
        code::DATE_TIME64 => match cursor.byte()? {
            digits @ ..=9 => DataType::DateTime64(digits),
            _ => return Err(InvalidValue::Malformed),
        },
        code::DYNAMIC => {
            // The number of types that ClickHouse stores separately.
            cursor.byte()?;
            DataType::Dynamic
        }
        code::NULLABLE => DataType::Nullable(Box::new(take_inner(cursor, depth)?)),
        code::ARRAY => DataType::Array(Box::new(take_inner(cursor, depth)?)),
        code::NAMED_TUPLE => {
            let count = cursor.count()?;
            let element = |_| {
                let name = String::from_utf8_lossy(cursor.string()?).into();
                Ok(Element {
                    name: Some(name),
                    data_type: take_inner(cursor, depth)?,
                })
            };
            DataType::Tuple((0..count).map(element).collect::<Result<_, _>>()?)
        }
        other => return Err(InvalidValue::UnknownType(other)),
    }))
}

/// Takes the type of elements, which is never that of NULL.
fn take_inner(cursor: &mut Cursor<'_>, depth: usize) -> Result<DataType, InvalidValue> {
    take_type(cursor, depth + 1)?.ok_or(InvalidValue::Malformed)
}
