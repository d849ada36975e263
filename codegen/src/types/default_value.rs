//! Constant defaults that ClickHouse changes without an error: `300` for UInt8 is stored as 44.
//!
//! The parser rejects the defaults that ClickHouse rejects. This module knows what ClickHouse
//! certainly changes.

use super::{ast::Type, check_modifiers::default_fits, literal::Literal};

/// Returns why ClickHouse stores another value than the literal, which the parser has accepted.
pub(crate) fn misfit(literal: &Literal, ty: &Type) -> Option<String> {
    match (ty, literal) {
        (Type::Nullable(_), Literal::Null) => None,
        (Type::Nullable(inner), Literal::Text(_)) if default_fits(inner, literal, &(0..0)).is_err() => {
            Some(format!("it is not a value of `{inner}`, and ClickHouse stores NULL"))
        }
        (Type::Nullable(inner) | Type::LowCardinality(inner), literal) => misfit(literal, inner),
        (Type::SimpleAggregateFunction(_, inner), literal) => misfit(literal, inner),
        (Type::Array(inner), Literal::Array(items)) => items.iter().find_map(|item| misfit(item, inner)),
        (Type::Tuple(elements), Literal::Tuple(items)) if elements.len() == items.len() => elements
            .iter()
            .zip(items)
            .find_map(|((_, element), item)| misfit(item, element)),
        (ty, Literal::Number(text)) => of_number(text, ty),
        (ty, Literal::Text(text)) => of_text(text, ty),
        _ => None,
    }
}

fn out_of_range(from: impl std::fmt::Display, to: impl std::fmt::Display, ty: &Type) -> Option<String> {
    Some(format!("`{ty}` has the values {from} to {to}"))
}

fn of_number(text: &str, ty: &Type) -> Option<String> {
    let value: f64 = text.parse().ok()?;
    match ty {
        Type::Int { bits, signed } => integer(text, value, *bits, *signed, ty),
        Type::Float(32) if value.is_finite() && value.abs() > f64::from(f32::MAX) => {
            out_of_range(f32::MIN, f32::MAX, ty)
        }
        Type::Decimal { scale, .. } => decimal(text, *scale, ty),
        Type::Bool if value != 0.0 && value != 1.0 => Some("ClickHouse stores it as `true`".to_owned()),
        Type::Date if value < 0.0 => out_of_range("1970-01-01", "2149-06-06", ty),
        Type::Date | Type::DateTime(_) if value < 0.0 || value > f64::from(u32::MAX) => {
            out_of_range("1970-01-01", "2106-02-07 06:28:15 in UTC", ty)
        }
        _ => None,
    }
}

fn integer(text: &str, value: f64, bits: u16, signed: bool, ty: &Type) -> Option<String> {
    let fits = |value: i128| match (bits, signed) {
        (1..=64, true) => (-(1_i128 << (bits - 1))..=(1_i128 << (bits - 1)) - 1).contains(&value),
        (1..=64, false) => (0..=(1_i128 << bits) - 1).contains(&value),
        (_, true) => true,
        (_, false) => value >= 0,
    };
    // The format of the literal has a point exactly if the number is a float of ClickHouse.
    if value.fract() != 0.0 {
        return Some(format!("ClickHouse stores it as `{:.0}`", value.trunc()));
    }
    let is_in_range = match text.parse::<i128>() {
        Ok(value) => fits(value),
        Err(_) if bits > 64 => return None,
        // Below 2^127, each whole float is such a number.
        #[allow(clippy::cast_possible_truncation)]
        Err(_) => value.abs() < 1e38 && fits(value as i128),
    };
    if is_in_range {
        return None;
    }
    match (bits, signed) {
        (1..=64, true) => out_of_range(-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1, ty),
        (1..=64, false) => out_of_range(0, (1_i128 << bits) - 1, ty),
        _ => out_of_range(0, format!("2^{bits} - 1"), ty),
    }
}

fn decimal(text: &str, scale: u8, ty: &Type) -> Option<String> {
    if text.contains(['e', 'E']) {
        return None;
    }
    let (_, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.trim_end_matches('0').len();
    (digits > usize::from(scale)).then(|| match scale {
        0 => format!("`{ty}` has no digits after the point"),
        1 => format!("`{ty}` has one digit after the point"),
        scale => format!("`{ty}` has {scale} digits after the point"),
    })
}

fn of_text(text: &str, ty: &Type) -> Option<String> {
    match ty {
        Type::Int { bits, signed } => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            integer(text.trim_start_matches('+'), 0.0, *bits, *signed, ty)
        }
        Type::Decimal { scale, .. } => decimal(text, *scale, ty),
        Type::Date => date(text, (1970, 1, 1), (2149, 6, 6), ty),
        Type::Date32 | Type::DateTime64(..) => date(text, (1900, 1, 1), (2299, 12, 31), ty),
        Type::DateTime(_) => date(text, (1970, 1, 1), (2106, 2, 7), ty),
        _ => None,
    }
}

/// Checks a text such as `2024-05-06` or `2024-05-06 07:08:09`; ClickHouse alone knows other
/// formats.
fn date(text: &str, first: (u32, u32, u32), last: (u32, u32, u32), ty: &Type) -> Option<String> {
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let parts: Vec<&str> = day.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let is_number = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if ![year, month, day].iter().all(is_number) || year.len() != 4 {
        return None;
    }
    let number = |part: &str| part.parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(year), number(month), number(day));
    // ClickHouse reads a date of zeros as the first one.
    if (year, month, day) == (0, 0, 0) {
        return None;
    }
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if day == 0 || day > days {
        return Some("there is no such day".to_owned());
    }
    if (year, month, day) < first || (year, month, day) > last {
        let shown = |(year, month, day): (u32, u32, u32)| format!("{year}-{month:02}-{day:02}");
        return out_of_range(shown(first), shown(last), ty);
    }
    let clock = time.get(..8).unwrap_or_default();
    let parts: Vec<u32> = clock.split(':').filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [hour, minute, second] if hour > 23 || minute > 59 || second > 59 => Some("there is no such time".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::declaration::parse, *};

    fn is_misfit(declaration: &str) -> bool {
        let declaration = parse(declaration).unwrap();
        let default = declaration.default.as_ref().unwrap();
        let literal = Literal::of_expression(&default.text).unwrap();
        misfit(&literal, &declaration.ty).is_some()
    }

    #[test]
    fn values_of_the_type_pass() {
        for declaration in [
            "UInt8 DEFAULT 255",
            "UInt8 DEFAULT '12'",
            "UInt8 DEFAULT 1e2",
            "Int8 DEFAULT -128",
            "UInt8 DEFAULT true",
            "UInt256 DEFAULT 1e30",
            "Int64 DEFAULT -9223372036854775808",
            "Float32 DEFAULT 0.1",
            "Decimal(9, 2) DEFAULT 1.50",
            "Decimal(9, 2) DEFAULT '0.05'",
            "Bool DEFAULT 'yes'",
            "Date DEFAULT '2024-02-29'",
            "Date DEFAULT '0000-00-00'",
            "Date DEFAULT '20240101'",
            "DateTime DEFAULT 0",
            "DateTime DEFAULT '2024-01-01 23:59:59'",
            "DateTime DEFAULT '1500000000'",
            "DateTime64(3) DEFAULT '1960-01-01 00:00:00.5'",
            "Enum8('a' = 1) DEFAULT 'a'",
            "Enum8('a' = 1) DEFAULT 1",
            "UUID DEFAULT '61f0c404-5cb3-11e7-907b-a6006ad3dba0'",
            "IPv4 DEFAULT '127.0.0.1'",
            "IPv6 DEFAULT '::1'",
            "FixedString(2) DEFAULT 'a'",
            "Array(UInt8) DEFAULT [1, 2]",
            "Nullable(UInt8) DEFAULT NULL",
            "String DEFAULT 5",
        ] {
            assert!(!is_misfit(declaration), "{declaration}");
        }
    }

    #[test]
    fn other_values_do_not() {
        for declaration in [
            "UInt8 DEFAULT 300",
            "UInt8 DEFAULT -1",
            "UInt8 DEFAULT 1.5",
            "UInt8 DEFAULT '300'",
            "UInt64 DEFAULT 18446744073709551616",
            "UInt256 DEFAULT -1",
            "Float32 DEFAULT 1e300",
            "Decimal(9, 2) DEFAULT 1.005",
            "Bool DEFAULT 5",
            "Date DEFAULT '2024-13-01'",
            "Date DEFAULT '2023-02-29'",
            "Date DEFAULT '1969-12-31'",
            "DateTime DEFAULT '2024-01-01 25:00:00'",
            "DateTime DEFAULT -1",
            "DateTime DEFAULT '2200-01-01 00:00:00'",
            "Array(UInt8) DEFAULT [1, 300]",
            "Nullable(UInt8) DEFAULT 300",
            "Nullable(UInt8) DEFAULT 'x'",
        ] {
            assert!(is_misfit(declaration), "{declaration}");
        }
    }
}
