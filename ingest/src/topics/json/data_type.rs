//! Data types: the names of types, as an insert target has them, become what the encoder needs.
//!
//! The build step prints the names as ClickHouse does. LowCardinality and SimpleAggregateFunction are
//! their inner types, shapes are tuples and arrays, and an Interval is a number.

use std::collections::HashMap;

use super::text::put_text;

/// The build step nests types less deeply than this.
const MAX_DEPTH: usize = 64;

/// The bytes of a value in a row, and its form in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataType {
    Bool,
    Int {
        bytes: usize,
        is_signed: bool,
    },
    Float32,
    Float64,
    BFloat16,
    Decimal {
        bytes: usize,
        scale: usize,
    },
    Date,
    Date32,
    DateTime,
    DateTime64 {
        scale: usize,
    },
    Time,
    Time64 {
        scale: usize,
    },
    String,
    FixedString(usize),
    Uuid,
    Ipv4,
    Ipv6,
    /// The names in JSON, by their numbers.
    Enum {
        bytes: usize,
        names: HashMap<i16, Box<[u8]>>,
    },
    Nullable(Box<Self>),
    Array(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Tuple(Vec<Self>),
    /// The elements, each with its key in JSON.
    NamedTuple(Vec<(Box<[u8]>, Self)>),
    /// The types by their numbers.
    Variant(Vec<Self>),
    Dynamic,
    Json,
}

impl DataType {
    /// Returns the type with this name; `None` if it is not one that rows have.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut parser = Parser { rest: name, depth: 0 };
        let ty = parser.data_type()?;
        parser.rest.is_empty().then_some(ty)
    }

    fn array(self) -> Self {
        Self::Array(Box::new(self))
    }

    pub(super) const fn int(bits: usize, is_signed: bool) -> Self {
        Self::Int {
            bytes: bits / 8,
            is_signed,
        }
    }

    fn decimal(precision: usize, scale: usize) -> Self {
        let bytes = match precision {
            0..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            _ => 32,
        };
        Self::Decimal { bytes, scale }
    }

    fn point() -> Self {
        Self::Tuple(vec![Self::Float64, Self::Float64])
    }

    /// Returns a type without arguments.
    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "Bool" => Self::Bool,
            "Float32" => Self::Float32,
            "Float64" => Self::Float64,
            "BFloat16" => Self::BFloat16,
            "Date" => Self::Date,
            "Date32" => Self::Date32,
            "DateTime" | "DateTime32" => Self::DateTime,
            "Time" => Self::Time,
            "String" => Self::String,
            "UUID" => Self::Uuid,
            "IPv4" => Self::Ipv4,
            "IPv6" => Self::Ipv6,
            "Dynamic" => Self::Dynamic,
            "JSON" => Self::Json,
            "Point" => Self::point(),
            "Ring" | "LineString" => Self::point().array(),
            "Polygon" | "MultiLineString" => Self::point().array().array(),
            "MultiPolygon" => Self::point().array().array().array(),
            "Geometry" => {
                let names = [
                    "LineString",
                    "MultiLineString",
                    "MultiPolygon",
                    "Point",
                    "Polygon",
                    "Ring",
                ];
                Self::Variant(names.into_iter().map(Self::plain).collect::<Option<_>>()?)
            }
            name if name.starts_with("Interval") => Self::int(64, true),
            name => {
                let (is_signed, bits) = match name.strip_prefix("UInt") {
                    Some(bits) => (false, bits),
                    None => (true, name.strip_prefix("Int")?),
                };
                let bits = bits.parse().ok()?;
                matches!(bits, 8 | 16 | 32 | 64 | 128 | 256).then(|| Self::int(bits, is_signed))?
            }
        })
    }
}

struct Parser<'n> {
    rest: &'n str,
    depth: usize,
}

impl<'n> Parser<'n> {
    fn data_type(&mut self) -> Option<DataType> {
        self.depth += 1;
        let ty = (self.depth < MAX_DEPTH)
            .then(|| self.word())
            .flatten()
            .and_then(|name| {
                if self.eat("(") {
                    let ty = self.with_arguments(name)?;
                    self.eat(")").then_some(ty)
                } else {
                    DataType::plain(name)
                }
            });
        self.depth -= 1;
        ty
    }

    /// Reads the arguments of a type, up to the closing bracket.
    fn with_arguments(&mut self, name: &str) -> Option<DataType> {
        Some(match name {
            "Nullable" => DataType::Nullable(Box::new(self.data_type()?)),
            "LowCardinality" => self.data_type()?,
            "SimpleAggregateFunction" => {
                self.skip_argument()?;
                self.comma()?;
                self.data_type()?
            }
            "Array" => self.data_type()?.array(),
            "Map" => {
                let key = self.data_type()?;
                self.comma()?;
                DataType::Map(Box::new(key), Box::new(self.data_type()?))
            }
            "Tuple" => self.tuple()?,
            "Nested" => self.tuple()?.array(),
            "Variant" => DataType::Variant(self.list(Self::data_type)?),
            "Enum8" => self.enumeration(1)?,
            "Enum16" => self.enumeration(2)?,
            "FixedString" => DataType::FixedString(self.number()?),
            "Decimal" => {
                let precision = self.number()?;
                self.comma()?;
                DataType::decimal(precision, self.number()?)
            }
            "Decimal32" => DataType::decimal(9, self.number()?),
            "Decimal64" => DataType::decimal(18, self.number()?),
            "Decimal128" => DataType::decimal(38, self.number()?),
            "Decimal256" => DataType::decimal(76, self.number()?),
            "DateTime64" => {
                let scale = self.number()?;
                self.skip_rest()?;
                DataType::DateTime64 { scale }
            }
            "Time64" => DataType::Time64 { scale: self.number()? },
            "QBit" => {
                let element = self.data_type()?;
                self.skip_rest()?;
                element.array()
            }
            // A time zone, or what an object and a Dynamic keep apart.
            "DateTime" | "DateTime32" | "JSON" | "Dynamic" => {
                self.skip_rest()?;
                DataType::plain(name)?
            }
            _ => return None,
        })
    }

    fn tuple(&mut self) -> Option<DataType> {
        if self.rest.starts_with(')') {
            return Some(DataType::Tuple(Vec::new()));
        }
        let elements = self.list(|parser| {
            let name = parser.element_name();
            Some((name, parser.data_type()?))
        })?;
        if elements.iter().any(|(name, _)| name.is_none()) {
            return Some(DataType::Tuple(elements.into_iter().map(|(_, ty)| ty).collect()));
        }
        let named = elements.into_iter().map(|(name, ty)| {
            let mut key = Vec::new();
            put_text(name.unwrap_or_default().as_bytes(), &mut key);
            (key.into(), ty)
        });
        Some(DataType::NamedTuple(named.collect()))
    }

    /// Reads the name of a tuple's element, if it has one: a type follows after a space.
    fn element_name(&mut self) -> Option<String> {
        let before = self.rest;
        let name = match before.starts_with('`') {
            true => self.quoted('`'),
            false => self.word().map(str::to_owned),
        };
        if name.is_some() && self.eat(" ") {
            return name;
        }
        self.rest = before;
        None
    }

    fn enumeration(&mut self, bytes: usize) -> Option<DataType> {
        let names = self.list(|parser| {
            let name = parser.quoted('\'')?;
            parser.eat(" = ").then_some(())?;
            let mut text = Vec::new();
            put_text(name.as_bytes(), &mut text);
            Some((parser.signed()?, text.into()))
        })?;
        Some(DataType::Enum {
            bytes,
            names: names.into_iter().collect(),
        })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(", ") {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn comma(&mut self) -> Option<()> {
        self.eat(", ").then_some(())
    }

    fn number(&mut self) -> Option<usize> {
        self.word()?.parse().ok()
    }

    fn signed(&mut self) -> Option<i16> {
        let sign = if self.eat("-") { "-" } else { "" };
        format!("{sign}{}", self.word()?).parse().ok()
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'n str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Reads a text between two marks, as ClickHouse escapes it.
    fn quoted(&mut self, mark: char) -> Option<String> {
        let mut chars = self.rest.chars();
        (chars.next()? == mark).then_some(())?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                '\\' => text.push(match chars.next()? {
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    c => c,
                }),
                c if c == mark => break,
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// Skips an argument, up to the comma or the bracket after it.
    fn skip_argument(&mut self) -> Option<()> {
        self.skip_to(true)
    }

    /// Skips the remaining arguments, up to the closing bracket.
    fn skip_rest(&mut self) -> Option<()> {
        self.skip_to(false)
    }

    fn skip_to(&mut self, is_comma: bool) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.rest.chars().next()? {
                ',' if depth == 0 && is_comma => return Some(()),
                ')' if depth == 0 => return Some(()),
                mark @ ('\'' | '`' | '"') => {
                    self.quoted(mark)?;
                    continue;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            let mut chars = self.rest.chars();
            chars.next();
            self.rest = chars.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_become_types() {
        let u8 = || DataType::int(8, false);
        for (name, expected) in [
            ("UInt8", u8()),
            ("Int256", DataType::int(256, true)),
            (
                "LowCardinality(Nullable(String))",
                DataType::Nullable(Box::new(DataType::String)),
            ),
            (
                "SimpleAggregateFunction(groupArrayArray(5), Array(UInt8))",
                u8().array(),
            ),
            ("DateTime64(3, 'Europe/Berlin')", DataType::DateTime64 { scale: 3 }),
            ("DateTime('UTC')", DataType::DateTime),
            ("Decimal(20, 3)", DataType::Decimal { bytes: 16, scale: 3 }),
            ("Decimal256(5)", DataType::Decimal { bytes: 32, scale: 5 }),
            ("Tuple(UInt8, String)", DataType::Tuple(vec![u8(), DataType::String])),
            (
                "Tuple(lat UInt8, `long \\`name` String)",
                DataType::NamedTuple(vec![
                    ((*b"\"lat\"").into(), u8()),
                    ((*b"\"long `name\"").into(), DataType::String),
                ]),
            ),
            (
                "Nested(a UInt8)",
                DataType::NamedTuple(vec![((*b"\"a\"").into(), u8())]).array(),
            ),
            (
                "Map(String, Array(UInt8))",
                DataType::Map(Box::new(DataType::String), Box::new(u8().array())),
            ),
            ("JSON(`user.id)` UInt64, SKIP REGEXP '\\'),')", DataType::Json),
            ("Dynamic(max_types=1)", DataType::Dynamic),
            (
                "Variant(String, UInt8)",
                DataType::Variant(vec![DataType::String, u8()]),
            ),
            ("QBit(Float32, 4)", DataType::Float32.array()),
            ("IntervalDay", DataType::int(64, true)),
            (
                "Enum8('it\\'s' = -3, 'a, b)' = 1)",
                DataType::Enum {
                    bytes: 1,
                    names: [(-3, (*b"\"it's\"").into()), (1, (*b"\"a, b)\"").into())].into(),
                },
            ),
        ] {
            assert_eq!(DataType::of(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_texts_are_no_types() {
        let deep = "Array(".repeat(100);
        for name in [
            "",
            "UInt7",
            "UInt8)",
            "Array(UInt8",
            "Tuple(UInt8,)",
            "AggregateFunction(sum, UInt8)",
            &deep,
        ] {
            assert_eq!(DataType::of(name), None, "{name}");
        }
    }
}
