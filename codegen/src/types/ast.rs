//! The type of a column, independent of its spelling.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter, Write},
    ops::Range,
};

use super::literal::Literal;

/// A ClickHouse type.
///
/// It prints as ClickHouse prints it in `system.columns`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    String,
    /// The length in bytes.
    FixedString(u32),
    Int {
        bits: u16,
        signed: bool,
    },
    /// 32 or 64 bits.
    Float(u8),
    BFloat16,
    Bool,
    /// `precision` digits, `scale` of them after the point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    Date32,
    /// The time zone; the server's if there is none.
    DateTime(Option<String>),
    /// The digits of a second's fraction, and the time zone; the server's if there is none.
    DateTime64(u8, Option<String>),
    Time,
    /// The digits of a second's fraction.
    Time64(u8),
    /// The unit, as in the type's name.
    Interval(&'static str),
    Uuid,
    Ipv4,
    Ipv6,
    /// 8 or 16 bits; the values in the order of their numbers.
    Enum {
        bits: u8,
        values: Vec<(String, i16)>,
    },
    LowCardinality(Box<Self>),
    Nullable(Box<Self>),
    Array(Box<Self>),
    Map(Box<Self>, Box<Self>),
    /// Either all elements have names or none.
    Tuple(Vec<(Option<String>, Self)>),
    Nested(Vec<(String, Self)>),
    Shape(Shape),
    /// Stored as the inner type; ClickHouse does the aggregation.
    SimpleAggregateFunction(AggregateFunction, Box<Self>),
    Json(Json),
    /// One of several types, in the order of their names.
    Variant(Vec<Self>),
    /// A Variant of all shapes, as a named type.
    Geometry,
    /// Any type, and the number of types that ClickHouse stores separately.
    Dynamic {
        max_types: u8,
    },
    /// A vector: the type of its numbers, how many there are, and the size of the groups that store
    /// them.
    QBit {
        element: Box<Self>,
        dimension: u32,
        stride: Option<u32>,
    },
    AggregateFunction(State),
}

/// The types of geometry: points, or arrays of them in arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Point,
    Ring,
    LineString,
    MultiLineString,
    Polygon,
    MultiPolygon,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "Point",
            Self::Ring => "Ring",
            Self::LineString => "LineString",
            Self::MultiLineString => "MultiLineString",
            Self::Polygon => "Polygon",
            Self::MultiPolygon => "MultiPolygon",
        }
    }

    /// Returns the type that the shape is another name for.
    pub(crate) fn spelled_out(self) -> Type {
        let element = match self {
            Self::Point => return Type::Tuple(vec![(None, Type::Float(64)), (None, Type::Float(64))]),
            Self::Ring | Self::LineString => Self::Point,
            Self::MultiLineString => Self::LineString,
            Self::Polygon => Self::Ring,
            Self::MultiPolygon => Self::Polygon,
        };
        Type::Array(Box::new(Type::Shape(element)))
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("String"),
            Self::FixedString(length) => write!(f, "FixedString({length})"),
            Self::Int { bits, signed } => write!(f, "{}Int{bits}", if *signed { "" } else { "U" }),
            Self::Float(bits) => write!(f, "Float{bits}"),
            Self::BFloat16 => f.write_str("BFloat16"),
            Self::Bool => f.write_str("Bool"),
            Self::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            Self::Date => f.write_str("Date"),
            Self::Date32 => f.write_str("Date32"),
            Self::DateTime(None) => f.write_str("DateTime"),
            Self::DateTime(Some(zone)) => write!(f, "DateTime({})", quote_text(zone)),
            Self::DateTime64(digits, None) => write!(f, "DateTime64({digits})"),
            Self::DateTime64(digits, Some(zone)) => write!(f, "DateTime64({digits}, {})", quote_text(zone)),
            Self::Time => f.write_str("Time"),
            Self::Time64(digits) => write!(f, "Time64({digits})"),
            Self::Interval(unit) => write!(f, "Interval{unit}"),
            Self::Uuid => f.write_str("UUID"),
            Self::Ipv4 => f.write_str("IPv4"),
            Self::Ipv6 => f.write_str("IPv6"),
            Self::Enum { bits, values } => {
                write!(f, "Enum{bits}(")?;
                list(f, values, |f, (name, value)| {
                    write!(f, "{} = {value}", quote_text(name))
                })
            }
            Self::LowCardinality(inner) => write!(f, "LowCardinality({inner})"),
            Self::Nullable(inner) => write!(f, "Nullable({inner})"),
            Self::Array(inner) => write!(f, "Array({inner})"),
            Self::Map(key, value) => write!(f, "Map({key}, {value})"),
            Self::Tuple(elements) => {
                f.write_str("Tuple(")?;
                list(f, elements, |f, (name, ty)| match name {
                    Some(name) => write!(f, "{} {ty}", quote_name(name)),
                    None => ty.fmt(f),
                })
            }
            Self::Nested(elements) => {
                f.write_str("Nested(")?;
                list(f, elements, |f, (name, ty)| write!(f, "{} {ty}", quote_name(name)))
            }
            Self::Shape(shape) => f.write_str(shape.name()),
            Self::SimpleAggregateFunction(function, inner) => {
                write!(f, "SimpleAggregateFunction({function}, {inner})")
            }
            Self::Json(json) => json.fmt(f),
            Self::Variant(variants) => {
                f.write_str("Variant(")?;
                list(f, variants, |f, ty| ty.fmt(f))
            }
            Self::Geometry => f.write_str("Geometry"),
            Self::Dynamic {
                max_types: DEFAULT_MAX_TYPES,
            } => f.write_str("Dynamic"),
            Self::Dynamic { max_types } => write!(f, "Dynamic(max_types={max_types})"),
            Self::QBit {
                element,
                dimension,
                stride: None,
            } => write!(f, "QBit({element}, {dimension})"),
            Self::QBit {
                element,
                dimension,
                stride: Some(stride),
            } => write!(f, "QBit({element}, {dimension}, {stride})"),
            Self::AggregateFunction(state) => state.fmt(f),
        }
    }
}

/// Writes the rest of an argument list, with the closing bracket.
pub(super) fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, value) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        item(f, value)?;
    }
    f.write_char(')')
}

/// Words that ClickHouse quotes as names although they are valid without quotes; case-insensitive.
const QUOTED_WORDS: [&str; 7] = ["all", "distinct", "from", "null", "select", "table", "values"];

/// Returns `name` as an SQL name: in backquotes if ClickHouse itself would quote it.
pub(crate) fn quote_name(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain && !QUOTED_WORDS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
        name.to_owned()
    } else {
        quote(name, '`')
    }
}

/// Returns `text` as an SQL string, escaped as ClickHouse does it.
pub(crate) fn quote_text(text: &str) -> String {
    quote(text, '\'')
}

fn quote(text: &str, mark: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(mark);
    for c in text.chars() {
        match c {
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0' => quoted.push_str("\\0"),
            '\\' => quoted.push_str("\\\\"),
            _ if c == mark => quoted.extend(['\\', mark]),
            _ => quoted.push(c),
        }
    }
    quoted.push(mark);
    quoted
}

/// A function as ClickHouse prints it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AggregateFunction {
    pub(super) name: &'static str,
    /// The maximum length of the array that the function makes.
    pub(super) max_size: Option<u64>,
}

impl Display for AggregateFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.max_size {
            Some(max_size) => write!(f, "({max_size})"),
            None => Ok(()),
        }
    }
}

pub(super) const DEFAULT_DYNAMIC_TYPES: u64 = 32;

pub(super) const DEFAULT_DYNAMIC_PATHS: u64 = 1024;

/// The names of the two limits.
pub(super) const TYPES: &str = "max_dynamic_types";

pub(super) const PATHS: &str = "max_dynamic_paths";

/// The parameters of a JSON type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Json {
    pub(super) max_dynamic_types: u64,
    pub(super) max_dynamic_paths: u64,
    /// The types of paths; the keys of a path are joined by dots.
    pub(super) typed: BTreeMap<String, Type>,
    /// The prefixes of paths that are not stored.
    pub(super) skipped: Vec<String>,
    pub(super) skipped_by_regexp: Vec<String>,
}

impl Json {
    /// Returns the paths that have a type, in order.
    pub(crate) fn typed(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.typed.iter().map(|(path, ty)| (path.as_str(), ty))
    }
}

impl Default for Json {
    fn default() -> Self {
        Self {
            max_dynamic_types: DEFAULT_DYNAMIC_TYPES,
            max_dynamic_paths: DEFAULT_DYNAMIC_PATHS,
            typed: BTreeMap::new(),
            skipped: Vec::new(),
            skipped_by_regexp: Vec::new(),
        }
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")?;
        let mut parameters = Vec::new();
        if self.max_dynamic_types != DEFAULT_DYNAMIC_TYPES {
            parameters.push(format!("{TYPES}={}", self.max_dynamic_types));
        }
        if self.max_dynamic_paths != DEFAULT_DYNAMIC_PATHS {
            parameters.push(format!("{PATHS}={}", self.max_dynamic_paths));
        }
        parameters.extend(self.typed().map(|(path, ty)| format!("{} {ty}", quote_path(path))));
        parameters.extend(self.skipped.iter().map(|path| format!("SKIP {}", quote_name(path))));
        parameters.extend(
            self.skipped_by_regexp
                .iter()
                .map(|regexp| format!("SKIP REGEXP {}", quote_text(regexp))),
        );
        if parameters.is_empty() {
            return Ok(());
        }
        f.write_str("(")?;
        list(f, &parameters, |f, parameter| f.write_str(parameter))
    }
}

/// Quotes a path if necessary; a path with the name of the keyword `SKIP` needs quotes.
fn quote_path(path: &str) -> String {
    if path.eq_ignore_ascii_case("skip") {
        format!("`{path}`")
    } else {
        quote_name(path)
    }
}

/// A function with its parameters and the types of its arguments; ClickHouse checks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The function as written, with its parameters.
    pub(super) function: String,
    pub(super) arguments: Vec<Type>,
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "AggregateFunction({}", self.function)?;
        if !self.arguments.is_empty() {
            f.write_str(", ")?;
        }
        list(f, &self.arguments, |f, ty| ty.fmt(f))
    }
}

/// The source of a column's value if the row has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultExpr {
    pub(crate) kind: DefaultKind,
    /// The expression as written. For an EPHEMERAL without one, the expression that ClickHouse
    /// uses: the default of the type.
    pub(crate) text: String,
    /// The place of the expression, or of EPHEMERAL if it has none.
    pub(crate) span: Range<usize>,
}

/// The four kinds of
/// [default values](https://clickhouse.com/docs/sql-reference/statements/create/table#default_values).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultKind {
    Default,
    Materialized,
    Alias,
    Ephemeral,
}

impl DefaultExpr {
    /// Returns the literal that the expression is; `None` if only ClickHouse can compute the
    /// expression.
    pub(crate) fn literal(&self) -> Option<Literal> {
        Literal::of_expression(&self.text)
    }
}

impl DefaultKind {
    pub(crate) const fn keyword(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Materialized => "MATERIALIZED",
            Self::Alias => "ALIAS",
            Self::Ephemeral => "EPHEMERAL",
        }
    }
}

/// The number of types that ClickHouse stores separately in one part of a table; the values of all
/// others share one column.
pub(super) const DEFAULT_MAX_TYPES: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_clickhouse_quotes_them() {
        for plain in ["a", "_", "A1_", "String", "true", "key"] {
            assert_eq!(quote_name(plain), plain);
        }
        for odd in ["", "1a", "a b", "a.b", "a$", "и", "NULL", "Select", "values"] {
            assert_eq!(quote_name(odd), format!("`{odd}`"));
        }
        assert_eq!(quote_name("a`b'\\"), r"`a\`b'\\`");
    }

    #[test]
    fn text_is_escaped_only_where_necessary() {
        assert_eq!(quote_text("it's\n`\"\u{1}я"), "'it\\'s\\n`\"\u{1}я'");
    }
}
