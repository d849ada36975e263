//! Reads a type as ClickHouse prints it in `system.columns`, which is how an insert target has it.

use std::sync::Arc;

use super::{
    MAX_DEPTH,
    data_type::{DataType, Element, Enumeration},
};

impl DataType {
    /// Reads a type; `None` if this build does not know it or its bytes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text };
        let data_type = parser.data_type(0)?;
        parser.rest.is_empty().then_some(data_type)
    }
}

/// The text that is not read yet.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn data_type(&mut self, depth: usize) -> Option<DataType> {
        if depth > MAX_DEPTH {
            return None;
        }
        let name = self.word()?;
        if let Some(shape) = DataType::of_shape(name) {
            return Some(shape);
        }
        if name.starts_with("Interval") {
            return Some(DataType::Interval);
        }
        Some(match name {
            "Bool" => DataType::Bool,
            "Float32" => DataType::Float32,
            "Float64" => DataType::Float64,
            "BFloat16" => DataType::BFloat16,
            "Date" => DataType::Date,
            "Date32" => DataType::Date32,
            "DateTime" => {
                // The time zone only affects how ClickHouse displays the time.
                self.skip_arguments()?;
                DataType::DateTime
            }
            "DateTime64" => self.arguments(|parser| {
                let digits = parser.number()?;
                if parser.take(", ") {
                    parser.quoted('\'')?;
                }
                (digits <= 9).then_some(DataType::DateTime64(digits))
            })?,
            "Time" => DataType::Time,
            "Time64" => self.arguments(|parser| {
                let digits = parser.number()?;
                (digits <= 9).then_some(DataType::Time64(digits))
            })?,
            "String" => DataType::String,
            "FixedString" => self.arguments(|parser| Some(DataType::FixedString(parser.number()?)))?,
            "UUID" => DataType::Uuid,
            "IPv4" => DataType::Ipv4,
            "IPv6" => DataType::Ipv6,
            "Enum8" => self.arguments(|parser| parser.enumeration(1))?,
            "Enum16" => self.arguments(|parser| parser.enumeration(2))?,
            "JSON" => {
                self.skip_arguments()?;
                DataType::Json
            }
            "Geometry" => DataType::Geometry,
            "Dynamic" => {
                self.skip_arguments()?;
                DataType::Dynamic
            }
            "Decimal" => self.arguments(Self::decimal)?,
            "LowCardinality" => self.arguments(|parser| parser.data_type(depth + 1))?,
            "SimpleAggregateFunction" => self.arguments(|parser| {
                parser.skip_argument()?;
                parser.comma()?;
                parser.data_type(depth + 1)
            })?,
            "Nullable" => self.arguments(|parser| Some(DataType::Nullable(Box::new(parser.data_type(depth + 1)?))))?,
            "Array" => self.arguments(|parser| Some(DataType::Array(Box::new(parser.data_type(depth + 1)?))))?,
            "Map" => self.arguments(|parser| {
                let key = parser.data_type(depth + 1)?;
                parser.comma()?;
                Some(DataType::Map(Box::new(key), Box::new(parser.data_type(depth + 1)?)))
            })?,
            "Tuple" => DataType::Tuple(self.elements(depth)?),
            "Nested" => DataType::Array(Box::new(DataType::Tuple(self.elements(depth)?))),
            "Variant" => self.arguments(|parser| {
                let types = parser.list(|parser| parser.data_type(depth + 1))?;
                Some(DataType::Variant(types.into()))
            })?,
            "QBit" => self.arguments(|parser| {
                let element = parser.data_type(depth + 1)?;
                while parser.take(", ") {
                    parser.number::<u64>()?;
                }
                Some(DataType::QBit(Box::new(element)))
            })?,
            name => integer(name)?,
        })
    }

    /// Reads arguments in parentheses.
    fn arguments<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.take("(").then_some(())?;
        let value = read(self)?;
        self.take(")").then_some(value)
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = vec![read(self)?];
        while self.take(", ") {
            items.push(read(self)?);
        }
        Some(items)
    }

    fn elements(&mut self, depth: usize) -> Option<Box<[Element]>> {
        let elements = self.arguments(|parser| parser.list(|parser| parser.element(depth)))?;
        Some(elements.into())
    }

    /// Reads `name Type` or `Type`.
    fn element(&mut self, depth: usize) -> Option<Element> {
        let before = self.rest;
        let name = match self.rest.starts_with('`') {
            true => Some(self.quoted('`')?.into_boxed_str()),
            false => self.word().map(Into::into),
        };
        if !self.take(" ") {
            self.rest = before;
            return Some(Element {
                name: None,
                data_type: self.data_type(depth + 1)?,
            });
        }
        Some(Element {
            name,
            data_type: self.data_type(depth + 1)?,
        })
    }

    fn decimal(&mut self) -> Option<DataType> {
        let precision = self.number()?;
        self.comma()?;
        let scale = self.number()?;
        ((1..=76).contains(&precision) && scale <= precision).then_some(DataType::Decimal { precision, scale })
    }

    fn enumeration(&mut self, width: usize) -> Option<DataType> {
        let mut names = self.list(|parser| {
            let name = parser.quoted('\'')?;
            parser.take(" = ").then_some(())?;
            Some((parser.number::<i16>()?, name.into_boxed_str()))
        })?;
        names.sort_unstable();
        let names: Arc<[_]> = names.into();
        Some(DataType::Enum(Enumeration { width, names }))
    }

    fn word(&mut self) -> Option<&'t str> {
        let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let is_end = |c: char| !c.is_ascii_digit() && c != '-';
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse().ok()
    }

    /// Reads a text in quotes, which escapes characters with a backslash.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix(quote)?.chars();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => text.push(match chars.next()? {
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    other => other,
                }),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// Skips arguments in parentheses, if there are any.
    fn skip_arguments(&mut self) -> Option<()> {
        if !self.take("(") {
            return Some(());
        }
        while !self.take(")") {
            self.skip_argument()?;
            _ = self.take(",");
        }
        Some(())
    }

    /// Skips the text until the next comma or the closing parenthesis on this level.
    fn skip_argument(&mut self) -> Option<()> {
        let mut level = 0_usize;
        loop {
            match self.rest.chars().next()? {
                ')' | ',' if level == 0 => return Some(()),
                quote @ ('\'' | '`') => {
                    self.quoted(quote)?;
                    continue;
                }
                '(' => level += 1,
                ')' => level -= 1,
                _ => {}
            }
            let mut chars = self.rest.chars();
            chars.next();
            self.rest = chars.as_str();
        }
    }

    fn comma(&mut self) -> Option<()> {
        self.take(", ").then_some(())
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn integer(name: &str) -> Option<DataType> {
    let (is_signed, bits) = match name.strip_prefix("UInt") {
        Some(bits) => (false, bits),
        None => (true, name.strip_prefix("Int")?),
    };
    let bits = bits.parse().ok()?;
    [8, 16, 32, 64, 128, 256]
        .contains(&bits)
        .then_some(DataType::Int { bits, is_signed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn element(name: Option<&str>, data_type: DataType) -> Element {
        Element {
            name: name.map(Into::into),
            data_type,
        }
    }

    #[test]
    fn a_type_is_read_as_clickhouse_prints_it() {
        let int = |bits, is_signed| DataType::Int { bits, is_signed };
        let boxed = |data_type| Box::new(data_type);
        let array = |data_type| DataType::Array(boxed(data_type));
        let point = || DataType::of_shape("Point").unwrap();
        for (text, expected) in [
            ("UInt8", int(8, false)),
            ("Int256", int(256, true)),
            (
                "Decimal(20, 3)",
                DataType::Decimal {
                    precision: 20,
                    scale: 3,
                },
            ),
            ("DateTime('Europe/Berlin')", DataType::DateTime),
            ("DateTime64(3, 'UTC')", DataType::DateTime64(3)),
            ("DateTime64(9)", DataType::DateTime64(9)),
            ("Time64(6)", DataType::Time64(6)),
            ("IntervalSecond", DataType::Interval),
            (
                "LowCardinality(Nullable(String))",
                DataType::Nullable(boxed(DataType::String)),
            ),
            (
                "SimpleAggregateFunction(groupArrayArray(10), Array(UUID))",
                array(DataType::Uuid),
            ),
            (
                "Map(LowCardinality(String), Array(IPv6))",
                DataType::Map(boxed(DataType::String), boxed(array(DataType::Ipv6))),
            ),
            (
                "Tuple(a UInt8, `b c` FixedString(4))",
                DataType::Tuple(
                    [
                        element(Some("a"), int(8, false)),
                        element(Some("b c"), DataType::FixedString(4)),
                    ]
                    .into(),
                ),
            ),
            (
                "Tuple(Point, Ring)",
                DataType::Tuple([element(None, point()), element(None, array(point()))].into()),
            ),
            (
                "Nested(x Int8, y MultiPolygon)",
                array(DataType::Tuple(
                    [
                        element(Some("x"), int(8, true)),
                        element(Some("y"), array(array(array(point())))),
                    ]
                    .into(),
                )),
            ),
            ("JSON", DataType::Json),
            (
                "JSON(max_dynamic_paths=1, a.b Tuple(x Int8), SKIP `)`, SKIP REGEXP '\\'(')",
                DataType::Json,
            ),
            ("Array(Dynamic(max_types=1))", array(DataType::Dynamic)),
            (
                "Variant(Bool, DateTime('UTC'), JSON(a UInt32))",
                DataType::Variant([DataType::Bool, DataType::DateTime, DataType::Json].into()),
            ),
            (
                "Nullable(QBit(BFloat16, 2))",
                DataType::Nullable(boxed(DataType::QBit(boxed(DataType::BFloat16)))),
            ),
            ("QBit(Float32, 64, 8)", DataType::QBit(boxed(DataType::Float32))),
        ] {
            assert_eq!(DataType::parse(text), Some(expected), "{text}");
        }
        let Some(DataType::Enum(names)) = DataType::parse(r"Enum8('it\'s' = -128, 'a\\b, c' = 0, ')' = 5)") else {
            unreachable!("it is an Enum")
        };
        assert_eq!(names.name(-128), Some("it's"));
        assert_eq!(names.name(0), Some(r"a\b, c"));
        assert_eq!(names.name(5), Some(")"));
        assert_eq!(names.name(1), None);
    }

    #[test]
    fn another_text_is_no_type() {
        let deep = format!("{}UInt8{}", "Array(".repeat(400), ")".repeat(400));
        for text in [
            "",
            "UInt7",
            "Int",
            "Nothing",
            "Array",
            "Array(",
            "Array()",
            "Array(UInt8",
            "Array(UInt8))",
            "Tuple()",
            "Tuple(a )",
            "Map(String)",
            "Enum8('a')",
            "Enum8('a = 1)",
            "FixedString(-1)",
            "Decimal(77, 0)",
            "Decimal(3, 4)",
            "DateTime64(10)",
            "AggregateFunction(sum, UInt64)",
            "JSON(",
            "DateTime('UTC'",
            &deep,
        ] {
            assert_eq!(DataType::parse(text), None, "{text}");
        }
    }
}
