//! Days and times as text.

use super::{Cursor, DataType, InvalidValue};
use crate::value::plain_text::{write_date, write_fraction, write_time};

/// Takes a Date, a Date32, a Time or a Time64, and appends it as ClickHouse writes it: `2024-02-29`,
/// `-112:13:14.5`.
///
/// # Errors
/// The bytes are too few, or the type is another one.
pub(crate) fn put_day_or_time(
    data_type: &DataType,
    cursor: &mut Cursor<'_>,
    out: &mut String,
) -> Result<(), InvalidValue> {
    // A String refuses nothing.
    _ = match data_type {
        DataType::Date => write_date(u16::from_le_bytes(cursor.array()?).into(), out),
        DataType::Date32 => write_date(i32::from_le_bytes(cursor.array()?).into(), out),
        DataType::Time => {
            let seconds = i32::from_le_bytes(cursor.array()?);
            write_time(seconds < 0, seconds.unsigned_abs().into(), out)
        }
        DataType::Time64(digits) => {
            let (ticks, per_second) = (i64::from_le_bytes(cursor.array()?), 10_u64.pow((*digits).into()));
            let fraction = ticks.unsigned_abs() % per_second;
            write_time(ticks < 0, ticks.unsigned_abs() / per_second, out)
                .and_then(|()| write_fraction(fraction.cast_signed(), *digits, out))
        }
        _ => return Err(InvalidValue::Malformed),
    };
    Ok(())
}
