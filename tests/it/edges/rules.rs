//! The rules of `docs/types.md` and of the module `value` that permit differences.

use super::Kind::{self, Kinder, Other, Stricter};

/// A value that the collector and ClickHouse treat differently.
pub(super) struct Case<'a> {
    /// The column, which has the name of its family.
    pub(super) column: &'a str,
    /// The value as JSON, with U+FFFD for bytes that are not UTF-8.
    pub(super) value: &'a str,
    pub(super) kind: Kind,
}

pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) permits: fn(&Case<'_>) -> bool,
}

impl Case<'_> {
    /// Returns whether the value is in the list.
    fn is_one_of(&self, values: &[&str]) -> bool {
        values.contains(&self.value)
    }

    /// Returns the value without the quotes of a text.
    fn text(&self) -> &str {
        let inner = self.value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.unwrap_or(self.value)
    }

    fn is_text(&self) -> bool {
        self.value.starts_with('"')
    }

    /// Returns whether the column has dates or date-times.
    fn is_date(&self) -> bool {
        self.column.starts_with("Date")
    }

    fn is_float(&self) -> bool {
        ["BFloat16", "Float32", "Float64"].contains(&self.column)
    }

    fn is_decimal(&self) -> bool {
        self.column.starts_with("Decimal")
    }

    /// Returns whether the value is an integer, as a number or as a text, that the column cannot
    /// hold.
    fn is_out_of_range(&self) -> bool {
        let text = self.text();
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let Some((least, greatest)) = bounds(self.column).filter(|_| is_integer) else {
            return false;
        };
        let bound = if is_negative { least } else { greatest };
        (digits.len(), digits) > (bound.len(), bound)
    }
}

/// Returns the least and the greatest number of a column, both without a sign.
fn bounds(column: &str) -> Option<(&'static str, &'static str)> {
    Some(match column {
        "Int8" => ("128", "127"),
        "Int16" => ("32768", "32767"),
        "Int32" => ("2147483648", "2147483647"),
        "Int128" => (
            "170141183460469231731687303715884105728",
            "170141183460469231731687303715884105727",
        ),
        "Int256" => (
            "57896044618658097711785492504343953926634992332820282019728792003956564819968",
            "57896044618658097711785492504343953926634992332820282019728792003956564819967",
        ),
        "Int64" => ("9223372036854775808", "9223372036854775807"),
        interval if interval.starts_with("Interval") => ("9223372036854775808", "9223372036854775807"),
        // The names' own numbers are in the range.
        "Enum" | "Enum8" => ("128", "127"),
        "Enum16" => ("32768", "32767"),
        "Date" => ("0", "65535"),
        "Date32" => ("25567", "120529"),
        "DateTime" | "DateTime32" => ("0", "4294967295"),
        // The years 1 to 9999, in microseconds.
        "DateTime64" => ("62135596800000000", "253402300799999999"),
        _ => return None,
    })
}

/// The columns that accept objects, or texts of any kind.
const OBJECTS: [&str; 6] = ["Dynamic", "JSON", "LowCardinality", "Map", "String", "Variant"];

/// The days and times that do not exist, or that a type does not have.
const FAR_DATES: [&str; 14] = [
    r#""1899-12-31""#,
    r#""1900-01-01""#,
    r#""1969-12-31""#,
    r#""1969-12-31 23:59:59""#,
    r#""2106-02-07 06:28:16""#,
    r#""2149-06-06""#,
    r#""2149-06-07""#,
    r#""2299-12-31""#,
    r#""2300-01-01""#,
    r#""2023-02-29""#,
    r#""2024-13-01""#,
    r#""2024-02-29 12:60:00""#,
    r#""0000-00-00 00:00:00""#,
    r#""1000:00:00""#,
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "an event that is not JSON is refused; ClickHouse reads some numbers and lists that are not",
        permits: |case| case.kind == Stricter && case.is_one_of(&["+1", "01", ".5", "5.", "NaN", "inf", "[1,]"]),
    },
    Rule {
        name: "an object for a column that accepts none is a branch of the event, whose keys are unknown",
        permits: |case| case.kind == Kinder && case.value.starts_with('{') && !OBJECTS.contains(&case.column),
    },
    Rule {
        name: "-0 is 0",
        permits: |case| {
            let is_unsigned = case.column.starts_with("UInt") || case.column == "Date";
            case.value == "-0" && (case.kind == Kinder && is_unsigned || case.kind == Other && case.column == "Variant")
        },
    },
    Rule {
        name: "half of a surrogate pair is U+FFFD",
        permits: |case| case.kind != Stricter && case.is_one_of(&[r#""\ud83d""#, r#""\ude00x""#]),
    },
    Rule {
        name: "bytes that are not UTF-8 are U+FFFD",
        permits: |case| case.kind == Other && case.value.contains('\u{fffd}'),
    },
    Rule {
        name: "an integer out of range is refused; ClickHouse keeps its low bits, or the nearest date",
        permits: |case| case.kind == Stricter && case.is_out_of_range(),
    },
    Rule {
        name: "an integer out of range is refused in an array as well",
        permits: |case| case.kind == Stricter && case.column == "Array" && case.value == "[2147483648]",
    },
    Rule {
        name: "a number that overflows a float is refused; ClickHouse stores infinity",
        permits: |case| {
            let number = case.text().trim_matches(['[', ']']);
            let overflows = match case.column {
                "Float64" | "Dynamic" => number.parse().is_ok_and(f64::is_infinite),
                "BFloat16" | "Float32" => number.parse().is_ok_and(f32::is_infinite),
                _ => false,
            };
            case.kind == Stricter && overflows && (case.is_float() || case.column == "Dynamic")
        },
    },
    Rule {
        name: "a date and a time that do not exist or are out of range are refused; ClickHouse stores others",
        permits: |case| case.kind == Stricter && case.is_date() && case.is_one_of(&FAR_DATES),
    },
    Rule {
        name: "a boolean is no date",
        permits: |case| {
            case.kind == Stricter && ["Date", "Date32"].contains(&case.column) && case.is_one_of(&["true", "false"])
        },
    },
    Rule {
        name: "a text of digits is a date-time if it has as many digits as one",
        permits: |case| {
            let is_short = case.is_one_of(&[r#""1""#, r#"" 1""#, r#""1 ""#, r#""1.5""#]);
            case.kind == Stricter && case.column.starts_with("DateTime") && is_short
        },
    },
    Rule {
        name: "a time without a date is no date-time; ClickHouse takes the date from the clock",
        permits: |case| case.kind == Stricter && case.column.starts_with("DateTime") && case.value == r#""12:13:14""#,
    },
    Rule {
        name: "a number of two points is refused; ClickHouse stores 1.23 for 1.2.3",
        permits: |case| {
            case.kind == Stricter && case.is_decimal() && case.is_text() && case.text().matches('.').count() > 1
        },
    },
    Rule {
        name: "the day 0000-00-00 is 1970-01-01, as in a Date",
        permits: |case| case.kind == Other && case.column == "Date32" && case.value == r#""0000-00-00""#,
    },
    Rule {
        name: "null in an enum is its smallest value; ClickHouse stores a 0 without a name",
        permits: |case| case.kind == Other && case.column.starts_with("Enum") && case.value == "null",
    },
    Rule {
        name: "an integer beyond 64 bits in a Dynamic is a String, whatever its neighbours are",
        permits: |case| {
            let digits = case.value.strip_prefix('-').unwrap_or(case.value);
            let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
            case.kind == Other && case.column == "Dynamic" && is_integer && digits.len() >= 19
        },
    },
    Rule {
        name: "a text in a Dynamic is a date only in the documented forms, and if the day exists",
        permits: |case| case.kind == Other && case.column == "Dynamic" && case.is_one_of(&FAR_DATES),
    },
    Rule {
        name: "a value whose key in a Dynamic has a NUL is kept; ClickHouse stores 0",
        permits: |case| case.kind == Other && case.column == "Dynamic" && case.value == r#"{"\u0000":1}"#,
    },
    Rule {
        name: "a type of a Variant refuses what a column of the type refuses, and the next type gets the value",
        permits: |case| {
            case.kind == Other && case.column == "Variant" && (case.is_one_of(&FAR_DATES) || case.value == "[1e400]")
        },
    },
    Rule {
        name: "a value of another type at a typed path of a JSON is refused",
        permits: |case| case.kind == Stricter && case.column == "JSON" && case.value == r#"{"a":1.5}"#,
    },
];
