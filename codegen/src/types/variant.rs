//! `Variant(T, …)`: the types that it may hold, and the order in which ClickHouse tries them.
//!
//! ClickHouse prints the types in the order of their names, and numbers them in that order. A text,
//! in JSON too, becomes the first type that accepts it, in another order: deep types before flat
//! ones, numbers by ascending width, strings nearly last.

use std::ops::Range;

use super::{
    ast::{Shape, Type},
    common_type,
    error::TypeError,
    grammar::Grammar,
};

/// ClickHouse numbers the types with one byte, and 255 is NULL.
const MAX_VARIANTS: usize = 255;

/// The shapes that a Geometry holds, in the order of their names.
pub(crate) const GEOMETRIES: [Shape; 6] = [
    Shape::LineString,
    Shape::MultiLineString,
    Shape::MultiPolygon,
    Shape::Point,
    Shape::Polygon,
    Shape::Ring,
];

impl Grammar<'_> {
    /// Reads `Variant(String, UInt64)`.
    pub(super) fn variant(&mut self, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, Self::data_type)?;
        if arguments.items.is_empty() {
            return self.wrong_count(name, arguments.span, "at least one type");
        }
        let mut variants: Vec<(Type, Range<usize>)> = Vec::new();
        for (ty, span) in arguments.items {
            self.require(is_allowed_in_variant(&ty, &span))?;
            if let Some((other, _)) = variants
                .iter()
                .find(|(other, _)| *other != ty && common_type::exists(other, &ty))
            {
                let message = format!("`{other}` and `{ty}` are too similar for one Variant");
                let problem = TypeError::new("variant-alike", span, message);
                return self.problem(problem.help("keep the type that holds the values of both"));
            }
            if !variants.iter().any(|(other, _)| *other == ty) {
                variants.push((ty, span));
            }
        }
        if variants.len() > MAX_VARIANTS {
            let message = format!("a Variant can have at most {MAX_VARIANTS} types");
            return self.problem(TypeError::new("type-range", arguments.span, message));
        }
        let mut variants: Vec<Type> = variants.into_iter().map(|(ty, _)| ty).collect();
        variants.sort_by_cached_key(Type::to_string);
        Some(Type::Variant(variants))
    }
}

fn is_allowed_in_variant(ty: &Type, span: &Range<usize>) -> Result<(), TypeError> {
    let problem = || {
        TypeError::new(
            "variant-inner",
            span.clone(),
            format!("`{ty}` cannot be inside Variant"),
        )
    };
    match ty {
        _ if ty.is_nullable() => Err(problem().help("remove the Nullable: NULL is a value of each Variant")),
        Type::Variant(_) | Type::Geometry => Err(problem().help("add its types to the outer Variant")),
        Type::Dynamic { .. } => Err(problem().help("use `Dynamic` alone, which holds values of any type")),
        // The rules are those for the inner type.
        Type::SimpleAggregateFunction(_, inner) => is_allowed_in_variant(inner, span).map_err(|_| problem()),
        _ => Ok(()),
    }
}

/// Returns the indexes of the variants in the order in which ClickHouse tries them.
pub(crate) fn text_order(variants: &[Type]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(rank(&variants[*index], Rank::default())));
    order
}

/// The rank of a type; ClickHouse tries higher ranks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Rank {
    /// The depth of nested arrays, tuples and maps.
    depth: usize,
    /// The sum of the priorities of the simple types and of all types around them.
    priority: usize,
    /// The depth of nested Nullable and LowCardinality.
    wrappers: usize,
}

impl Rank {
    fn nested(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    /// Returns the maximum depth and wrappers of the parts, and the sum of `own` and their
    /// priorities.
    fn enclosing(own: usize, parts: impl Iterator<Item = Self>) -> Self {
        parts.fold(
            Self {
                priority: own,
                ..Self::default()
            },
            |all, part| Self {
                depth: all.depth.max(part.depth),
                priority: all.priority + part.priority,
                wrappers: all.wrappers.max(part.wrappers),
            },
        )
    }
}

const ARRAY: usize = 33;
const TUPLE: usize = 32;
const MAP: usize = 31;

fn rank(ty: &Type, at: Rank) -> Rank {
    match ty {
        Type::Nullable(inner) | Type::LowCardinality(inner) => rank(
            inner,
            Rank {
                wrappers: at.wrappers + 1,
                ..at
            },
        ),
        Type::SimpleAggregateFunction(_, inner) => rank(inner, at),
        Type::Shape(shape) => rank(&shape.spelled_out(), at),
        Type::Nested(_) => rank(&common_type::spelled_out(ty), at),
        Type::Array(element) => {
            let element = rank(element, at.nested());
            Rank {
                priority: element.priority + ARRAY,
                ..element
            }
        }
        Type::Tuple(elements) => Rank::enclosing(TUPLE, elements.iter().map(|(_, element)| rank(element, at.nested()))),
        Type::Map(key, value) => Rank::enclosing(MAP, [key, value].into_iter().map(|part| rank(part, at.nested()))),
        Type::Variant(variants) => greatest(variants.iter().map(|variant| rank(variant, at))),
        Type::Geometry => greatest(GEOMETRIES.iter().map(|shape| rank(&shape.spelled_out(), at))),
        _ => Rank {
            priority: priority(ty),
            ..at
        },
    }
}

fn greatest(ranks: impl Iterator<Item = Rank>) -> Rank {
    ranks.fold(Rank::default(), |all, rank| Rank {
        depth: all.depth.max(rank.depth),
        priority: all.priority.max(rank.priority),
        wrappers: all.wrappers.max(rank.wrappers),
    })
}

/// Returns a simple type's priority; a type that is not listed here has none in ClickHouse.
fn priority(ty: &Type) -> usize {
    match ty {
        Type::Enum { bits: 8, .. } => 29,
        Type::Enum { .. } => 28,
        Type::Uuid => 27,
        Type::Ipv4 => 26,
        Type::Ipv6 | Type::Bool => 25,
        Type::Int { bits, signed } => {
            let width = usize::from(*bits / 8).trailing_zeros() as usize;
            24 - 2 * width - usize::from(!signed)
        }
        Type::Decimal { precision, .. } => match precision {
            ..=9 => 12,
            ..=18 => 11,
            ..=38 => 10,
            _ => 9,
        },
        Type::Float(32) => 8,
        Type::Float(_) => 7,
        Type::Date => 6,
        Type::Date32 => 5,
        Type::DateTime(_) => 4,
        Type::DateTime64(..) => 3,
        Type::FixedString(_) => 2,
        Type::String => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::{super::parse, *};

    /// Returns the types in the order in which ClickHouse tries them.
    fn tried(text: &str) -> Vec<String> {
        let Type::Variant(variants) = parse(text).unwrap().ty else {
            panic!("not a Variant: {text}")
        };
        let order = text_order(&variants);
        order.into_iter().map(|index| variants[index].to_string()).collect()
    }

    #[test]
    fn deep_types_are_tried_first_and_strings_nearly_last() {
        assert_eq!(
            tried(
                "Variant(String, UInt8, Array(UInt8), Array(Array(String)), UUID, Time, Bool, Date, Map(String, UInt8))"
            ),
            [
                "Array(Array(String))",
                "Array(UInt8)",
                "Map(String, UInt8)",
                "UUID",
                "Bool",
                "UInt8",
                "Date",
                "String",
                "Time"
            ]
        );
    }

    #[test]
    fn types_are_sorted_by_name_and_deduplicated() {
        for (written, shown) in [
            ("Variant(UUID, String, UUID)", "Variant(String, UUID)"),
            ("Variant(BIGINT, VARCHAR(3))", "Variant(Int64, String)"),
            ("Variant(UInt64, Int64)", "Variant(Int64, UInt64)"),
        ] {
            assert_eq!(parse(written).unwrap().ty.to_string(), shown);
        }
    }

    #[test]
    fn invalid_variants_are_rejected() {
        for (text, code) in [
            ("Variant()", "type-arguments"),
            ("Variant(UInt8, UInt64)", "variant-alike"),
            ("Variant(Ring, LineString)", "variant-alike"),
            ("Variant(Nullable(UInt8), String)", "variant-inner"),
            ("Variant(LowCardinality(Nullable(String)), UUID)", "variant-inner"),
            ("Variant(Variant(UInt8, UUID), String)", "variant-inner"),
            ("Variant(Geometry, String)", "variant-inner"),
            ("Variant(Dynamic, String)", "variant-inner"),
        ] {
            assert_eq!(parse(text).unwrap_err()[0].code, code, "{text}");
        }
    }
}
