//! The type families of ClickHouse 26.7 and their SQL aliases, as its `system.data_type_families`
//! lists them.

use super::{ast::Shape, suggest};

/// The meaning of a type's name, without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    String,
    FixedString,
    Int {
        bits: u16,
        signed: bool,
    },
    Float {
        bits: u8,
    },
    BFloat16,
    Bool,
    /// Precision and scale are arguments.
    Decimal,
    /// Only the scale is an argument.
    DecimalOf {
        precision: u8,
    },
    Date,
    Date32,
    /// A DateTime, or a DateTime64 if its first argument is a precision.
    DateTime,
    /// A DateTime without a precision.
    DateTime32,
    DateTime64,
    /// A Time, or a Time64 if it has a precision.
    Time,
    Time64,
    Interval(&'static str),
    Shape(Shape),
    SimpleAggregateFunction,
    Json,
    Uuid,
    Ipv4,
    Ipv6,
    /// Without bits, the values determine them.
    Enum {
        bits: Option<u8>,
    },
    LowCardinality,
    Nullable,
    Array,
    Map,
    Tuple,
    Nested,
    /// The type of `NULL`, which no column can have.
    Nothing,
    Variant,
    Geometry,
    Dynamic,
    QBit,
    AggregateFunction,
}

/// Whether a name is case-sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Any,
}
use Case::{Any, Exact};

const FAMILIES: &[(&str, Case, Family)] = &[
    ("AggregateFunction", Exact, Family::AggregateFunction),
    ("Array", Exact, Family::Array),
    ("BFloat16", Exact, Family::BFloat16),
    ("Bool", Any, Family::Bool),
    ("Date", Any, Family::Date),
    ("Date32", Any, Family::Date32),
    ("DateTime", Any, Family::DateTime),
    ("DateTime32", Any, Family::DateTime32),
    ("DateTime64", Any, Family::DateTime64),
    ("Decimal", Any, Family::Decimal),
    ("Decimal128", Any, Family::DecimalOf { precision: 38 }),
    ("Decimal256", Any, Family::DecimalOf { precision: 76 }),
    ("Decimal32", Any, Family::DecimalOf { precision: 9 }),
    ("Decimal64", Any, Family::DecimalOf { precision: 18 }),
    ("Dynamic", Exact, Family::Dynamic),
    ("Enum", Any, Family::Enum { bits: None }),
    ("Enum16", Exact, Family::Enum { bits: Some(16) }),
    ("Enum8", Exact, Family::Enum { bits: Some(8) }),
    ("FixedString", Exact, Family::FixedString),
    ("Float32", Exact, Family::Float { bits: 32 }),
    ("Float64", Exact, Family::Float { bits: 64 }),
    ("GEOMETRY", Exact, Family::Geometry),
    ("Geometry", Exact, Family::Geometry),
    ("IPv4", Exact, Family::Ipv4),
    ("IPv6", Exact, Family::Ipv6),
    (
        "Int128",
        Exact,
        Family::Int {
            bits: 128,
            signed: true,
        },
    ),
    ("Int16", Exact, Family::Int { bits: 16, signed: true }),
    (
        "Int256",
        Exact,
        Family::Int {
            bits: 256,
            signed: true,
        },
    ),
    ("Int32", Exact, Family::Int { bits: 32, signed: true }),
    ("Int64", Exact, Family::Int { bits: 64, signed: true }),
    ("Int8", Exact, Family::Int { bits: 8, signed: true }),
    ("IntervalDay", Exact, Family::Interval("Day")),
    ("IntervalHour", Exact, Family::Interval("Hour")),
    ("IntervalMicrosecond", Exact, Family::Interval("Microsecond")),
    ("IntervalMillisecond", Exact, Family::Interval("Millisecond")),
    ("IntervalMinute", Exact, Family::Interval("Minute")),
    ("IntervalMonth", Exact, Family::Interval("Month")),
    ("IntervalNanosecond", Exact, Family::Interval("Nanosecond")),
    ("IntervalQuarter", Exact, Family::Interval("Quarter")),
    ("IntervalSecond", Exact, Family::Interval("Second")),
    ("IntervalWeek", Exact, Family::Interval("Week")),
    ("IntervalYear", Exact, Family::Interval("Year")),
    ("JSON", Any, Family::Json),
    ("LineString", Exact, Family::Shape(Shape::LineString)),
    ("LowCardinality", Exact, Family::LowCardinality),
    ("Map", Exact, Family::Map),
    ("MultiLineString", Exact, Family::Shape(Shape::MultiLineString)),
    ("MultiPolygon", Exact, Family::Shape(Shape::MultiPolygon)),
    ("Nested", Exact, Family::Nested),
    ("Nothing", Exact, Family::Nothing),
    ("Nullable", Exact, Family::Nullable),
    ("Point", Exact, Family::Shape(Shape::Point)),
    ("Polygon", Exact, Family::Shape(Shape::Polygon)),
    ("QBit", Exact, Family::QBit),
    ("Ring", Exact, Family::Shape(Shape::Ring)),
    ("SimpleAggregateFunction", Exact, Family::SimpleAggregateFunction),
    ("String", Exact, Family::String),
    ("Time", Any, Family::Time),
    ("Time64", Any, Family::Time64),
    ("Tuple", Exact, Family::Tuple),
    (
        "UInt128",
        Exact,
        Family::Int {
            bits: 128,
            signed: false,
        },
    ),
    (
        "UInt16",
        Exact,
        Family::Int {
            bits: 16,
            signed: false,
        },
    ),
    (
        "UInt256",
        Exact,
        Family::Int {
            bits: 256,
            signed: false,
        },
    ),
    (
        "UInt32",
        Exact,
        Family::Int {
            bits: 32,
            signed: false,
        },
    ),
    (
        "UInt64",
        Exact,
        Family::Int {
            bits: 64,
            signed: false,
        },
    ),
    ("UInt8", Exact, Family::Int { bits: 8, signed: false }),
    ("UUID", Exact, Family::Uuid),
    ("Variant", Exact, Family::Variant),
];

/// Case-insensitive names.
const ALIASES: &[(&str, Family)] = &[
    ("boolean", Family::Bool),
    ("TIMESTAMP", Family::DateTime),
    ("DEC", Family::Decimal),
    ("FIXED", Family::Decimal),
    ("NUMERIC", Family::Decimal),
    ("ENUM", Family::Enum { bits: None }),
    ("BINARY", Family::FixedString),
    ("FLOAT", Family::Float { bits: 32 }),
    ("REAL", Family::Float { bits: 32 }),
    ("SINGLE", Family::Float { bits: 32 }),
    ("DOUBLE", Family::Float { bits: 64 }),
    ("DOUBLE PRECISION", Family::Float { bits: 64 }),
    ("INET4", Family::Ipv4),
    ("INET6", Family::Ipv6),
    ("SMALLINT", Family::Int { bits: 16, signed: true }),
    ("SMALLINT SIGNED", Family::Int { bits: 16, signed: true }),
    ("INT", Family::Int { bits: 32, signed: true }),
    ("INT SIGNED", Family::Int { bits: 32, signed: true }),
    ("INTEGER", Family::Int { bits: 32, signed: true }),
    ("INTEGER SIGNED", Family::Int { bits: 32, signed: true }),
    ("MEDIUMINT", Family::Int { bits: 32, signed: true }),
    ("MEDIUMINT SIGNED", Family::Int { bits: 32, signed: true }),
    ("BIGINT", Family::Int { bits: 64, signed: true }),
    ("BIGINT SIGNED", Family::Int { bits: 64, signed: true }),
    ("SIGNED", Family::Int { bits: 64, signed: true }),
    ("BYTE", Family::Int { bits: 8, signed: true }),
    ("INT1", Family::Int { bits: 8, signed: true }),
    ("INT1 SIGNED", Family::Int { bits: 8, signed: true }),
    ("TINYINT", Family::Int { bits: 8, signed: true }),
    ("TINYINT SIGNED", Family::Int { bits: 8, signed: true }),
    ("BINARY LARGE OBJECT", Family::String),
    ("BINARY VARYING", Family::String),
    ("BLOB", Family::String),
    ("BYTEA", Family::String),
    ("CHAR", Family::String),
    ("CHAR LARGE OBJECT", Family::String),
    ("CHAR VARYING", Family::String),
    ("CHARACTER", Family::String),
    ("CHARACTER LARGE OBJECT", Family::String),
    ("CHARACTER VARYING", Family::String),
    ("CLOB", Family::String),
    ("LONGBLOB", Family::String),
    ("LONGTEXT", Family::String),
    ("MEDIUMBLOB", Family::String),
    ("MEDIUMTEXT", Family::String),
    ("NATIONAL CHAR", Family::String),
    ("NATIONAL CHAR VARYING", Family::String),
    ("NATIONAL CHARACTER", Family::String),
    ("NATIONAL CHARACTER LARGE OBJECT", Family::String),
    ("NATIONAL CHARACTER VARYING", Family::String),
    ("NCHAR", Family::String),
    ("NCHAR LARGE OBJECT", Family::String),
    ("NCHAR VARYING", Family::String),
    ("NVARCHAR", Family::String),
    ("TEXT", Family::String),
    ("TINYBLOB", Family::String),
    ("TINYTEXT", Family::String),
    ("VARBINARY", Family::String),
    ("VARCHAR", Family::String),
    ("VARCHAR2", Family::String),
    (
        "SMALLINT UNSIGNED",
        Family::Int {
            bits: 16,
            signed: false,
        },
    ),
    (
        "YEAR",
        Family::Int {
            bits: 16,
            signed: false,
        },
    ),
    (
        "INT UNSIGNED",
        Family::Int {
            bits: 32,
            signed: false,
        },
    ),
    (
        "INTEGER UNSIGNED",
        Family::Int {
            bits: 32,
            signed: false,
        },
    ),
    (
        "MEDIUMINT UNSIGNED",
        Family::Int {
            bits: 32,
            signed: false,
        },
    ),
    (
        "BIGINT UNSIGNED",
        Family::Int {
            bits: 64,
            signed: false,
        },
    ),
    (
        "BIT",
        Family::Int {
            bits: 64,
            signed: false,
        },
    ),
    (
        "SET",
        Family::Int {
            bits: 64,
            signed: false,
        },
    ),
    (
        "UNSIGNED",
        Family::Int {
            bits: 64,
            signed: false,
        },
    ),
    ("INT1 UNSIGNED", Family::Int { bits: 8, signed: false }),
    ("TINYINT UNSIGNED", Family::Int { bits: 8, signed: false }),
];

/// First words of names that may continue, and all possible continuations, the longest first.
const CONTINUED: &[(&[&str], &[&str])] = &[
    (
        &["NATIONAL"],
        &[
            "CHARACTER LARGE OBJECT",
            "CHARACTER VARYING",
            "CHAR VARYING",
            "CHARACTER",
            "CHAR",
        ],
    ),
    (&["BINARY", "CHAR", "CHARACTER", "NCHAR"], &["LARGE OBJECT", "VARYING"]),
    (&["DOUBLE"], &["PRECISION"]),
    (
        &["BIGINT", "INT", "INT1", "INTEGER", "MEDIUMINT", "SMALLINT", "TINYINT"],
        SIGNS,
    ),
];

/// The words that may follow a MySQL integer, even after its display width: `INT(11) UNSIGNED`.
pub(crate) const SIGNS: &[&str] = &["SIGNED", "UNSIGNED"];

/// Returns the family of `name`, whose words have one space between them.
pub(crate) fn lookup(name: &str) -> Option<Family> {
    let is = |known: &str, case| known == name || (case == Any && known.eq_ignore_ascii_case(name));
    if let Some((.., family)) = FAMILIES.iter().find(|(known, case, _)| is(known, *case)) {
        return Some(*family);
    }
    let alias = ALIASES.iter().find(|(known, _)| is(known, Any));
    alias.map(|(_, family)| *family)
}

/// Returns the possible continuations of a name that begins with `first`.
pub(crate) fn continuations(first: &str) -> &'static [&'static str] {
    let found = CONTINUED
        .iter()
        .find(|(words, _)| words.iter().any(|word| word.eq_ignore_ascii_case(first)));
    found.map_or(&[], |(_, rest)| rest)
}

/// Returns the name that `unknown` is most likely meant to be.
pub(crate) fn closest(unknown: &str) -> Option<&'static str> {
    let families = FAMILIES
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| *name != "Nothing");
    suggest::closest(unknown, families.chain(ALIASES.iter().map(|(name, _)| *name)))
}

/// Type names of other systems, in lower case, and the ClickHouse types for them.
const FOREIGN: &[(&str, &str)] = &[
    ("any", "Dynamic"),
    ("bigserial", "UInt64"),
    ("bytes", "String"),
    ("datetime2", "DateTime64(3)"),
    ("datetimeoffset", "DateTime64(3)"),
    ("dict", "Map(String, String)"),
    ("guid", "UUID"),
    ("id", "UInt64"),
    ("list", "Array(String)"),
    ("long", "Int64"),
    ("money", "Decimal(18, 2)"),
    ("number", "Float64"),
    ("object", "JSON"),
    ("serial", "UInt64"),
    ("short", "Int16"),
    ("str", "String"),
    ("struct", "Tuple(name String)"),
    ("timestamptz", "DateTime64(3)"),
];

/// Returns the ClickHouse type for `unknown`, the name of a type in another system.
pub(crate) fn foreign(unknown: &str) -> Option<&'static str> {
    let found = FOREIGN.iter().find(|(name, _)| name.eq_ignore_ascii_case(unknown));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive_as_in_clickhouse() {
        assert_eq!(lookup("datetime"), Some(Family::DateTime));
        assert_eq!(lookup("varchar"), Some(Family::String));
        assert_eq!(lookup("BOOLEAN"), Some(Family::Bool));
        assert_eq!(lookup("json"), Some(Family::Json));
        assert_eq!(lookup("TIME"), Some(Family::Time));
        for unknown in [
            "string",
            "UINT8",
            "enum8",
            "array",
            "uuid",
            "float64",
            "point",
            "intervalday",
        ] {
            assert_eq!(lookup(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_alias_of_several_words_is_one_name() {
        assert_eq!(
            lookup("bigint unsigned"),
            Some(Family::Int {
                bits: 64,
                signed: false
            })
        );
        assert_eq!(lookup("National Character Varying"), Some(Family::String));
        assert_eq!(lookup("bigint  unsigned"), None);
    }

    #[test]
    fn each_continuation_makes_a_known_name() {
        for (firsts, rests) in CONTINUED {
            for name in firsts
                .iter()
                .flat_map(|first| rests.iter().map(move |rest| format!("{first} {rest}")))
            {
                assert!(lookup(&name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn foreign_names_are_not_types_of_clickhouse() {
        for (name, clickhouse_type) in FOREIGN {
            assert_eq!(lookup(name), None, "{name}");
            let family = clickhouse_type.split('(').next().unwrap_or_default();
            assert!(lookup(family).is_some(), "{clickhouse_type}");
        }
    }

    #[test]
    fn misspelt_names_are_corrected() {
        assert_eq!(closest("string"), Some("String"));
        assert_eq!(closest("Uint8"), Some("UInt8"));
        assert_eq!(closest("LowCardinalty"), Some("LowCardinality"));
        assert_eq!(closest("JSONB"), Some("JSON"));
        assert_eq!(closest("Whatever"), None);
    }
}
