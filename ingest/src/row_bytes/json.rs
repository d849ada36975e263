//! Writes a value as JSON.
//!
//! The form is that of ClickHouse's JSONEachRow: numbers of any width without quotes, dates and times
//! as texts, tuples with names as objects. A DateTime is in UTC with a `Z` at its end, whatever the
//! zone of its column, since ClickHouse reads this form in any zone. A float has a fraction or an
//! exponent, by which it stays a float. NaN and the infinities are `null`: JSON has none of them.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use ethnum::{I256, U256};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Cursor, DataType, InvalidValue, MAX_DEPTH, data_type::Element, dynamic::take_type, text::put_day_or_time};
use crate::value::{VARIANT_NULL, plain_text};

/// The seconds since 1970, and the fraction of the next one in units of `digits` digits.
struct Moment {
    seconds: i64,
    fraction: i64,
    digits: u8,
}

/// Takes a value from a row, and appends it to `out` as JSON.
///
/// # Errors
/// The bytes are not those of a value of the type. `out` then has a part of the value.
pub(crate) fn put_json(data_type: &DataType, cursor: &mut Cursor<'_>, out: &mut String) -> Result<(), InvalidValue> {
    put(data_type, cursor, out, 0)
}

fn put(data_type: &DataType, cursor: &mut Cursor<'_>, out: &mut String, depth: usize) -> Result<(), InvalidValue> {
    if depth > MAX_DEPTH {
        return Err(InvalidValue::Malformed);
    }
    let depth = depth + 1;
    match data_type {
        DataType::Bool => out.push_str(if cursor.flag()? { "true" } else { "false" }),
        DataType::Int { bits, is_signed } => put_int(*bits, *is_signed, cursor, out)?,
        DataType::Interval => put_number(i64::from_le_bytes(cursor.array()?), out),
        DataType::Float32 => put_float(&f32::from_le_bytes(cursor.array()?), out),
        DataType::BFloat16 => put_float(&cursor.bfloat16()?, out),
        DataType::Float64 => put_float(&f64::from_le_bytes(cursor.array()?), out),
        DataType::Decimal { precision, scale } => {
            let digits = take_decimal(*precision, cursor)?;
            let (is_positive, text) = plain_text::decimal(&digits, *scale);
            out.push_str(if is_positive { "" } else { "-" });
            out.push_str(&text);
        }
        DataType::Date | DataType::Date32 | DataType::Time | DataType::Time64(_) => {
            out.push('"');
            put_day_or_time(data_type, cursor, out)?;
            out.push('"');
        }
        DataType::DateTime => {
            let seconds = i64::from(u32::from_le_bytes(cursor.array()?));
            put_moment(
                Moment {
                    seconds,
                    fraction: 0,
                    digits: 0,
                },
                out,
            );
        }
        DataType::DateTime64(digits) => {
            let ticks = i64::from_le_bytes(cursor.array()?);
            let per_second = 10_i64.pow((*digits).into());
            let moment = Moment {
                seconds: ticks.div_euclid(per_second),
                fraction: ticks.rem_euclid(per_second),
                digits: *digits,
            };
            put_moment(moment, out);
        }
        DataType::String => put_text(&String::from_utf8_lossy(cursor.string()?), out),
        DataType::FixedString(length) => put_text(&String::from_utf8_lossy(cursor.take(*length)?), out),
        DataType::Uuid => {
            let uuid = uuid::Uuid::from_bytes(cursor.uuid()?);
            _ = write!(out, "\"{uuid}\"");
        }
        DataType::Ipv4 => {
            let address = Ipv4Addr::from_bits(u32::from_le_bytes(cursor.array()?));
            _ = write!(out, "\"{address}\"");
        }
        DataType::Ipv6 => {
            let address = Ipv6Addr::from(cursor.array::<16>()?);
            _ = write!(out, "\"{address}\"");
        }
        DataType::Enum(enumeration) => {
            let number = cursor.enumeration(enumeration.width)?;
            put_text(enumeration.name(number).ok_or(InvalidValue::Malformed)?, out);
        }
        DataType::Json => put_object(cursor.string()?, out),
        DataType::Nullable(inner) => match cursor.flag()? {
            true => out.push_str("null"),
            false => put(inner, cursor, out, depth)?,
        },
        DataType::Array(element) => put_array(element, cursor, out, depth)?,
        // Its length is written as well.
        DataType::QBit(element) => put_array(element, cursor, out, depth)?,
        DataType::Map(key, value) => put_map(key, value, cursor, out, depth)?,
        DataType::Tuple(elements) => put_tuple(elements, cursor, out, depth)?,
        DataType::Variant(types) => match cursor.byte()? {
            VARIANT_NULL => out.push_str("null"),
            number => {
                let data_type = types.get(usize::from(number)).ok_or(InvalidValue::Malformed)?;
                put(data_type, cursor, out, depth)?;
            }
        },
        DataType::Geometry => match cursor.byte()? {
            VARIANT_NULL => out.push_str("null"),
            number => put(&DataType::of_shape_number(number)?, cursor, out, depth)?,
        },
        DataType::Dynamic => match take_type(cursor, depth)? {
            None => out.push_str("null"),
            Some(data_type) => put(&data_type, cursor, out, depth)?,
        },
    }
    Ok(())
}

fn put_int(bits: u16, is_signed: bool, cursor: &mut Cursor<'_>, out: &mut String) -> Result<(), InvalidValue> {
    match (bits, is_signed) {
        (8, false) => put_number(cursor.byte()?, out),
        (8, true) => put_number(i8::from_le_bytes(cursor.array()?), out),
        (16, false) => put_number(u16::from_le_bytes(cursor.array()?), out),
        (16, true) => put_number(i16::from_le_bytes(cursor.array()?), out),
        (32, false) => put_number(u32::from_le_bytes(cursor.array()?), out),
        (32, true) => put_number(i32::from_le_bytes(cursor.array()?), out),
        (64, false) => put_number(u64::from_le_bytes(cursor.array()?), out),
        (64, true) => put_number(i64::from_le_bytes(cursor.array()?), out),
        (128, false) => put_number(u128::from_le_bytes(cursor.array()?), out),
        (128, true) => put_number(i128::from_le_bytes(cursor.array()?), out),
        (256, false) => put_number(U256::from_le_bytes(cursor.array()?), out),
        (256, true) => put_number(I256::from_le_bytes(cursor.array()?), out),
        _ => return Err(InvalidValue::Malformed),
    }
    Ok(())
}

fn put_number(number: impl std::fmt::Display, out: &mut String) {
    _ = write!(out, "{number}");
}

/// Appends a float with the digits that it needs in its own width: as a Float64, 0.1 would be
/// 0.10000000149011612.
fn put_float(number: &impl Serialize, out: &mut String) {
    out.push_str(&serde_json::to_string(number).unwrap_or_default());
}

/// Takes the digits of a decimal, with a sign and without a point.
fn take_decimal(precision: u8, cursor: &mut Cursor<'_>) -> Result<String, InvalidValue> {
    Ok(match DataType::decimal_width(precision) {
        4 => i32::from_le_bytes(cursor.array()?).to_string(),
        8 => i64::from_le_bytes(cursor.array()?).to_string(),
        16 => i128::from_le_bytes(cursor.array()?).to_string(),
        _ => I256::from_le_bytes(cursor.array()?).to_string(),
    })
}

fn put_moment(moment: Moment, out: &mut String) {
    const DAY: i64 = 24 * 60 * 60;
    out.push('"');
    _ = plain_text::write_date(moment.seconds.div_euclid(DAY), out);
    out.push('T');
    _ = plain_text::write_time(false, moment.seconds.rem_euclid(DAY).unsigned_abs(), out);
    _ = plain_text::write_fraction(moment.fraction, moment.digits, out);
    out.push_str("Z\"");
}

fn put_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Appends an object as it is, since the collector has checked it when it arrived.
fn put_object(bytes: &[u8], out: &mut String) {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(object) => out.push_str(object.get()),
        // Only of another build.
        Err(_) => put_text(&String::from_utf8_lossy(bytes), out),
    }
}

fn put_array(element: &DataType, cursor: &mut Cursor<'_>, out: &mut String, depth: usize) -> Result<(), InvalidValue> {
    out.push('[');
    for index in 0..cursor.count()? {
        out.push_str(if index > 0 { "," } else { "" });
        put(element, cursor, out, depth)?;
    }
    out.push(']');
    Ok(())
}

fn put_map(
    key: &DataType,
    value: &DataType,
    cursor: &mut Cursor<'_>,
    out: &mut String,
    depth: usize,
) -> Result<(), InvalidValue> {
    out.push('{');
    for index in 0..cursor.count()? {
        out.push_str(if index > 0 { "," } else { "" });
        let start = out.len();
        put(key, cursor, out, depth)?;
        // A key is a text, also that of a number.
        if !out[start..].starts_with('"') {
            let text = out.split_off(start);
            put_text(&text, out);
        }
        out.push(':');
        put(value, cursor, out, depth)?;
    }
    out.push('}');
    Ok(())
}

fn put_tuple(
    elements: &[Element],
    cursor: &mut Cursor<'_>,
    out: &mut String,
    depth: usize,
) -> Result<(), InvalidValue> {
    let has_names = elements.iter().any(|element| element.name.is_some());
    out.push(if has_names { '{' } else { '[' });
    for (index, element) in elements.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        if has_names {
            put_text(element.name.as_deref().unwrap_or_default(), out);
            out.push(':');
        }
        put(&element.data_type, cursor, out, depth)?;
    }
    out.push(if has_names { '}' } else { ']' });
    Ok(())
}
