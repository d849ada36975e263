//! Types: what the bytes of a value mean.

use std::sync::Arc;

use super::InvalidValue;

/// The type of a value. LowCardinality and SimpleAggregateFunction are their inner types, Nested is an
/// array of tuples, and a shape is the tuple or the arrays that it stands for: the bytes are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataType {
    Bool,
    /// 8 to 256 bits.
    Int {
        bits: u16,
        is_signed: bool,
    },
    Float32,
    Float64,
    BFloat16,
    /// `precision` digits, `scale` of them after the point.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    Date32,
    DateTime,
    /// The digits of a second's fraction.
    DateTime64(u8),
    Time,
    /// The digits of a second's fraction.
    Time64(u8),
    /// A number of any unit.
    Interval,
    String,
    /// The length in bytes.
    FixedString(usize),
    Uuid,
    Ipv4,
    Ipv6,
    Enum(Enumeration),
    /// An object as text.
    Json,
    Nullable(Box<Self>),
    Array(Box<Self>),
    Map(Box<Self>, Box<Self>),
    /// Either all elements have names or none.
    Tuple(Box<[Element]>),
    /// The types in the order of their numbers.
    Variant(Box<[Self]>),
    /// A Variant of all shapes.
    Geometry,
    Dynamic,
    /// A vector of these numbers.
    QBit(Box<Self>),
}

/// An element of a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: Option<Box<str>>,
    pub(crate) data_type: DataType,
}

/// The names of an Enum, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enumeration {
    /// The bytes of a number: 1 or 2.
    pub(crate) width: usize,
    /// The numbers in ascending order, each with its name.
    pub(crate) names: Arc<[(i16, Box<str>)]>,
}

impl Enumeration {
    /// Returns the name of a number.
    pub(crate) fn name(&self, number: i16) -> Option<&str> {
        let at = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.names.get(at).map(|(_, name)| &**name)
    }
}

impl DataType {
    /// Returns the bytes of a Decimal with this precision.
    pub(crate) fn decimal_width(precision: u8) -> usize {
        match precision {
            0..=9 => 4,
            10..=18 => 8,
            19..=38 => 16,
            _ => 32,
        }
    }

    /// Returns the type of the shape with this name: a point is a tuple of two numbers, and the others
    /// are arrays of simpler ones.
    pub(crate) fn of_shape(name: &str) -> Option<Self> {
        let element = match name {
            "Point" => {
                let number = || Element {
                    name: None,
                    data_type: Self::Float64,
                };
                return Some(Self::Tuple([number(), number()].into()));
            }
            "Ring" | "LineString" => "Point",
            "Polygon" => "Ring",
            "MultiLineString" => "LineString",
            "MultiPolygon" => "Polygon",
            _ => return None,
        };
        Self::of_shape(element).map(|element| Self::Array(Box::new(element)))
    }

    /// Returns the type of the shape with this number in a Geometry.
    pub(crate) fn of_shape_number(number: u8) -> Result<Self, InvalidValue> {
        let name = SHAPES.get(usize::from(number));
        name.and_then(|name| Self::of_shape(name))
            .ok_or(InvalidValue::Malformed)
    }
}

/// The shapes of a Geometry, in the order of their numbers.
const SHAPES: [&str; 6] = [
    "LineString",
    "MultiLineString",
    "MultiPolygon",
    "Point",
    "Polygon",
    "Ring",
];
