//! Decides whether two types have a common type that holds the values of both. ClickHouse does not
//! accept two such types in one Variant, as the type of a value would be arbitrary.

use super::ast::Type;

/// Returns whether ClickHouse has a common type for the values of both.
pub(super) fn exists(a: &Type, b: &Type) -> bool {
    let (a, b) = (spelled_out(a), spelled_out(b));
    // A Bool has a common type with a number only inside arrays.
    if a != b && (a == Type::Bool || b == Type::Bool) {
        return false;
    }
    has_common_type(&a, &b)
}

/// Returns the type with its shapes, SimpleAggregateFunction, LowCardinality and Nested replaced by
/// the types of their values.
pub(super) fn spelled_out(ty: &Type) -> Type {
    match ty {
        Type::Shape(shape) => spelled_out(&shape.spelled_out()),
        Type::SimpleAggregateFunction(_, inner) | Type::LowCardinality(inner) => spelled_out(inner),
        Type::Nested(elements) => {
            let elements = elements.iter().map(|(name, ty)| (Some(name.clone()), spelled_out(ty)));
            Type::Array(Box::new(Type::Tuple(elements.collect())))
        }
        ty => ty.map_parts(&spelled_out),
    }
}

fn has_common_type(a: &Type, b: &Type) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        (Type::Nullable(a), b) | (b, Type::Nullable(a)) => has_common_type(a, b),
        (Type::Array(a), Type::Array(b)) => {
            matches!(**a, Type::Dynamic { .. }) || matches!(**b, Type::Dynamic { .. }) || has_common_type(a, b)
        }
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            has_common_type(key, other_key) && has_common_type(value, other_value)
        }
        // ClickHouse compares the elements by position and ignores their names.
        (Type::Tuple(a), Type::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((_, a), (_, b))| has_common_type(a, b))
        }
        (Type::Json(_), Type::Json(_)) => true,
        (Type::Interval(_), other) | (other, Type::Interval(_)) => {
            is_number(other) || matches!(other, Type::Interval(_) | Type::Uuid | Type::Ipv6 | Type::QBit { .. })
        }
        (
            Type::String | Type::FixedString(_) | Type::Enum { .. },
            Type::String | Type::FixedString(_) | Type::Enum { .. },
        ) => true,
        (Type::Date | Type::Date32, Type::Time | Type::Time64(_))
        | (Type::Time | Type::Time64(_), Type::Date | Type::Date32) => false,
        (a, b) if is_date_or_time(a) && is_date_or_time(b) => true,
        (Type::Decimal { .. }, Type::Decimal { .. } | Type::Int { bits: ..=64, .. })
        | (Type::Int { bits: ..=64, .. }, Type::Decimal { .. }) => true,
        (a, b) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => integers(a, b),
            (Some((bits, _)), None) if is_float(b) => bits <= 32,
            (None, Some((bits, _))) if is_float(a) => bits <= 32,
            _ => is_float(a) && is_float(b),
        },
    }
}

/// Returns whether two integer types have a common type. With UInt64 and at most 64 signed bits,
/// the common type would be a slow one, which ClickHouse does not choose. There is no type of more
/// than 256 bits.
fn integers((bits, signed): (u16, bool), (other_bits, other_signed): (u16, bool)) -> bool {
    let (unsigned, signed) = match (signed, other_signed) {
        (false, true) => (bits, other_bits),
        (true, false) => (other_bits, bits),
        _ => return true,
    };
    unsigned < signed || !matches!(unsigned, 64 | 256)
}

/// Returns the bits and the sign of a type that counts as an integer.
fn integer(ty: &Type) -> Option<(u16, bool)> {
    match ty {
        Type::Int { bits, signed } => Some((*bits, *signed)),
        Type::Enum { bits, .. } => Some((u16::from(*bits), true)),
        Type::Ipv4 => Some((32, false)),
        Type::Bool => Some((8, false)),
        _ => None,
    }
}

fn is_float(ty: &Type) -> bool {
    matches!(ty, Type::Float(_) | Type::BFloat16)
}

fn is_number(ty: &Type) -> bool {
    integer(ty).is_some() || is_float(ty)
}

fn is_date_or_time(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..) | Type::Time | Type::Time64(_)
    )
}
