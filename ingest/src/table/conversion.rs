//! Conversions between types of columns: which of them keep every value, and the expressions that
//! let ClickHouse convert the values that they keep.

use crate::store::quoted;

/// Returns whether ClickHouse either converts each value to the same value of the other type, or
/// refuses it.
pub(crate) fn keeps_values(from: &str, to: &str) -> bool {
    if from == to {
        return true;
    }
    match (argument_of(from, "LowCardinality"), argument_of(to, "LowCardinality")) {
        (None, None) => {}
        (a, b) => return keeps_values(a.unwrap_or(from), b.unwrap_or(to)),
    }
    match (argument_of(from, "Nullable"), argument_of(to, "Nullable")) {
        (None, None) => {}
        (Some(_), None) => return false,
        (inside, Some(to)) => return keeps_values(inside.unwrap_or(from), to),
    }
    if let (Some(from), Some(to)) = (argument_of(from, "Array"), argument_of(to, "Array")) {
        return keeps_values(from, to);
    }
    if to == "String" {
        let is_text = |name| argument_of(from, name).is_some();
        return integer(from).is_some()
            || matches!(from, "Date" | "Date32" | "UUID" | "IPv4" | "IPv6" | "Bool")
            || ["FixedString", "Enum8", "Enum16"].into_iter().any(is_text);
    }
    if let (Some((from_signed, from_bits)), Some((to_signed, to_bits))) = (integer(from), integer(to)) {
        return to_bits > from_bits && (to_signed || !from_signed);
    }
    if let (Some(from_scale), Some(to_scale)) = (decimal_scale(from), decimal_scale(to)) {
        // ClickHouse refuses a value with too many digits before the point, which becomes a dead
        // letter.
        return to_scale >= from_scale;
    }
    if let (Some(from), Some(to)) = (fractional_digits(from), fractional_digits(to)) {
        return to >= from;
    }
    if let (Some(from), Some(to)) = (enum_values(from), enum_values(to)) {
        return from.iter().all(|name| to.contains(name));
    }
    matches!((from, to), ("Date", "Date32") | ("Float32", "Float64"))
}

/// Returns whether a type has every value of another one, and more.
pub(crate) fn is_wider(narrow: &str, wide: &str) -> bool {
    keeps_values(narrow, wide) && !keeps_values(wide, narrow)
}

/// Returns the expression for the value of a column in another type. ClickHouse throws on a value
/// that would change. The column has the type `from`, and the table's column the type `to`.
pub(crate) fn checked(column: &str, from: &str, to: &str) -> String {
    let plain = argument_of(to, "LowCardinality").unwrap_or(to);
    // The NULL of a column with a default becomes the default.
    let target = match argument_of(from, "Nullable") {
        Some(_) if argument_of(plain, "Nullable").is_none() => format!("Nullable({plain})"),
        _ => plain.to_owned(),
    };
    let (name, target) = (quoted(column), literal(&target));
    let value = format!("CAST({name}, {target})");
    let reason = literal(&format!("the column {name} is {to} now, which cannot hold the value"));
    let differs = format!("NOT {}", keeps(&name, &value, from));
    format!("if(throwIf({differs}, {reason}), {value}, {value})")
}

/// Returns the condition for a value that the type `to` can hold. The column has the type `from`.
/// ClickHouse throws on some of the other values.
pub(crate) fn fits(column: &str, from: &str, to: &str) -> String {
    let name = quoted(column);
    keeps(&name, &format!("CAST({name}, {})", literal(to)), from)
}

/// Returns the condition for a value that is the same again after the conversion to another type.
fn keeps(name: &str, converted: &str, from: &str) -> String {
    format!("ifNull(CAST({converted}, {}) = {name}, isNull({name}))", literal(from))
}

/// Returns a text as a literal of ClickHouse's SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns the text in parentheses after a type's name.
fn argument_of<'a>(data_type: &'a str, name: &str) -> Option<&'a str> {
    data_type.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// Returns whether an integer type is signed, and its number of bits.
fn integer(data_type: &str) -> Option<(bool, u32)> {
    let (is_signed, bits) = match data_type.strip_prefix("UInt") {
        Some(bits) => (false, bits),
        None => (true, data_type.strip_prefix("Int")?),
    };
    Some((is_signed, bits.parse().ok()?))
}

/// Returns the number of a decimal type's digits after the point.
fn decimal_scale(data_type: &str) -> Option<u32> {
    let (_, scale) = argument_of(data_type, "Decimal")?.split_once(", ")?;
    scale.parse().ok()
}

/// Returns the number of fractional digits of a time type's seconds. The time zone only affects how
/// ClickHouse displays the time.
fn fractional_digits(data_type: &str) -> Option<u32> {
    if data_type == "DateTime" || argument_of(data_type, "DateTime").is_some() {
        return Some(0);
    }
    let arguments = argument_of(data_type, "DateTime64")?;
    arguments.split(',').next()?.parse().ok()
}

/// Returns the values of an enumeration as `'name' = number`. The number is the value's encoding.
fn enum_values(data_type: &str) -> Option<Vec<&str>> {
    let values = argument_of(data_type, "Enum8").or_else(|| argument_of(data_type, "Enum16"))?;
    Some(values.split(", ").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_converted_only_to_types_that_have_every_value() {
        for (from, to) in [
            ("Int32", "Int64"),
            ("UInt8", "Int16"),
            ("UInt64", "String"),
            ("Decimal(18, 2)", "Decimal(18, 4)"),
            ("DateTime64(3)", "DateTime64(6)"),
            ("DateTime('UTC')", "DateTime64(3, 'UTC')"),
            ("Date", "Date32"),
            ("String", "LowCardinality(String)"),
            ("LowCardinality(String)", "Nullable(String)"),
            ("Int32", "Nullable(Int64)"),
            ("Nullable(Int8)", "Nullable(Int16)"),
            ("Array(UInt8)", "Array(UInt16)"),
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)"),
        ] {
            assert!(keeps_values(from, to), "{from} → {to}");
        }
        for (from, to) in [
            ("Int64", "Int32"),
            ("Int8", "UInt16"),
            ("Decimal(18, 4)", "Decimal(18, 2)"),
            ("DateTime64(6)", "DateTime64(3)"),
            ("Nullable(Int8)", "Int8"),
            ("String", "UInt64"),
            ("Float64", "Int64"),
            ("Float64", "String"),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)"),
            ("Date", "UInt16"),
        ] {
            assert!(!keeps_values(from, to), "{from} → {to}");
        }
    }

    #[test]
    fn a_wider_type_has_more_values() {
        for (narrow, wide, expected) in [
            ("UInt8", "UInt16", true),
            ("UInt16", "UInt8", false),
            ("String", "Nullable(String)", true),
            // Both types have the same values.
            ("String", "LowCardinality(String)", false),
            ("DateTime", "DateTime('UTC')", false),
            ("UInt8", "UInt8", false),
        ] {
            assert_eq!(is_wider(narrow, wide), expected, "{narrow} {wide}");
        }
    }

    #[test]
    fn a_checked_conversion_throws_on_a_value_that_would_change() {
        assert_eq!(
            checked("n", "UInt32", "LowCardinality(UInt8)"),
            "if(throwIf(NOT ifNull(CAST(CAST(`n`, 'UInt8'), 'UInt32') = `n`, isNull(`n`)), \
             'the column `n` is LowCardinality(UInt8) now, which cannot hold the value'), CAST(`n`, 'UInt8'), CAST(`n`, 'UInt8'))"
        );
        assert!(checked("n", "Nullable(UInt32)", "UInt8").contains("CAST(`n`, 'Nullable(UInt8)')"));
        assert_eq!(
            fits("e", "Enum8('a' = 1)", "String"),
            "ifNull(CAST(CAST(`e`, 'String'), 'Enum8(\\'a\\' = 1)') = `e`, isNull(`e`))"
        );
    }
}
