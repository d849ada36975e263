//! The function of a SimpleAggregateFunction: the functions that the type allows, and the types for
//! which they can aggregate their own results further.
//!
//! A column of this type holds plain values. ClickHouse accepts the type if the function returns
//! values of the same type, so a sum is a `UInt64` and never a `UInt8`.

use std::ops::Range;

use super::{ast::Type, error::TypeError, grammar::Grammar, suggest};

use crate::types::ast::AggregateFunction;

/// The effect of a function on the types of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// One of the values.
    Choice,
    Sum,
    /// A sum that keeps the type of the values.
    SumWithOverflow,
    Bits,
    /// All elements of arrays.
    Elements,
    /// The values of maps, key by key.
    OfMap(&'static Effect),
}

const FUNCTIONS: [(&str, Effect); 18] = [
    ("any", Effect::Choice),
    ("anyLast", Effect::Choice),
    ("anyLast_respect_nulls", Effect::Choice),
    ("any_respect_nulls", Effect::Choice),
    ("groupArrayArray", Effect::Elements),
    ("groupArrayLastArray", Effect::Elements),
    ("groupBitAnd", Effect::Bits),
    ("groupBitOr", Effect::Bits),
    ("groupBitXor", Effect::Bits),
    ("groupUniqArrayArray", Effect::Elements),
    ("groupUniqArrayArrayMap", Effect::OfMap(&Effect::Elements)),
    ("max", Effect::Choice),
    ("maxMap", Effect::OfMap(&Effect::Choice)),
    ("min", Effect::Choice),
    ("minMap", Effect::OfMap(&Effect::Choice)),
    ("sum", Effect::Sum),
    ("sumMap", Effect::OfMap(&Effect::Sum)),
    ("sumWithOverflow", Effect::SumWithOverflow),
];

/// Other names, as `system.functions` lists them.
const EXACT_ALIASES: [(&str, &str); 8] = [
    ("anyLastRespectNulls", "anyLast_respect_nulls"),
    ("anyRespectNulls", "any_respect_nulls"),
    ("anyValueRespectNulls", "any_respect_nulls"),
    ("firstValueRespectNulls", "any_respect_nulls"),
    ("lastValueRespectNulls", "anyLast_respect_nulls"),
    ("maxMappedArrays", "maxMap"),
    ("minMappedArrays", "minMap"),
    ("sumMappedArrays", "sumMap"),
];

/// Case-insensitive names.
const ALIASES: [(&str, &str); 12] = [
    ("any_value", "any"),
    ("any_value_respect_nulls", "any_respect_nulls"),
    ("bit_and", "groupBitAnd"),
    ("bit_or", "groupBitOr"),
    ("bit_xor", "groupBitXor"),
    ("first_value", "any"),
    ("first_value_respect_nulls", "any_respect_nulls"),
    ("last_value", "anyLast"),
    ("last_value_respect_nulls", "anyLast_respect_nulls"),
    ("max", "max"),
    ("min", "min"),
    ("sum", "sum"),
];

fn lookup(name: &str) -> Option<(&'static str, Effect)> {
    let exact = EXACT_ALIASES.iter().find(|(alias, _)| *alias == name);
    let any_case = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = exact.or(any_case).map_or(name, |(_, name)| name);
    FUNCTIONS.iter().find(|(known, _)| *known == name).copied()
}

/// The two kinds of arguments of the type.
enum Argument {
    Function(AggregateFunction, Effect),
    Type(Type),
}

impl Grammar<'_> {
    /// Reads `SimpleAggregateFunction(sum, UInt64)`.
    pub(super) fn simple_aggregate_function(&mut self, name: &Range<usize>) -> Option<Type> {
        let mut is_first = true;
        let arguments = self.arguments(name, |grammar| {
            if std::mem::take(&mut is_first) {
                grammar.aggregate_function()
            } else {
                grammar.data_type().map(Argument::Type)
            }
        })?;
        let mut items = arguments.items.into_iter();
        match (items.next(), items.next(), items.next()) {
            (Some((Argument::Function(function, effect), _)), Some((Argument::Type(ty), span)), None) => {
                self.require(is_closed(&function, effect, &ty, &span))?;
                Some(Type::SimpleAggregateFunction(function, Box::new(ty)))
            }
            _ => self.wrong_count(
                name,
                arguments.span,
                "two arguments, a function and the type of its values",
            ),
        }
    }

    /// Reads `sum`, `groupArrayArray(10)`.
    fn aggregate_function(&mut self) -> Option<Argument> {
        let span = self.cursor.here();
        let Some(written) = self.element_name() else {
            return self.problem(self.cursor.expected("the name of an aggregate function"));
        };
        let Some((name, effect)) = lookup(&written) else {
            self.cursor.enter("(");
            let message = format!("SimpleAggregateFunction does not support the function `{written}`");
            let known = FUNCTIONS.iter().map(|(name, _)| *name);
            return self.problem(
                TypeError::new("aggregate-function", span, message)
                    .help("use `any`, `anyLast`, `min`, `max`, `sum`, `groupBitOr`, `groupArrayArray`, `sumMap` or one of a few others")
                    .did_you_mean(suggest::closest(&written, known)),
            );
        };
        let parameters = self.arguments(&span, Self::number)?;
        let accepts_size = matches!(effect, Effect::Elements | Effect::OfMap(Effect::Elements));
        let max_size = match parameters.items.as_slice() {
            [] if name == "groupArrayLastArray" => {
                let problem = TypeError::new(
                    "aggregate-function",
                    span,
                    "`groupArrayLastArray` needs the number of values to keep",
                );
                return self.problem(problem.help("write `groupArrayLastArray(10)`"));
            }
            [] => None,
            [(1.., _)] if accepts_size => Some(parameters.items[0].0),
            [(0, zero)] if accepts_size => {
                let message = format!("`{name}` must keep at least one value");
                return self.problem(TypeError::new("type-range", zero.clone(), message));
            }
            _ => {
                let most = if accepts_size {
                    "at most one parameter"
                } else {
                    "no parameters"
                };
                let message = format!("`{name}` takes {most}");
                return self.problem(TypeError::new("type-arguments", parameters.span, message));
            }
        };
        Some(Argument::Function(AggregateFunction { name, max_size }, effect))
    }
}

/// Checks that the result of the function has the type of its values.
fn is_closed(function: &AggregateFunction, effect: Effect, ty: &Type, span: &Range<usize>) -> Result<(), TypeError> {
    let stored = match plain(ty) {
        Type::LowCardinality(inner) => *inner,
        ty => ty,
    };
    match result(effect, &without_low_cardinality(&stored)) {
        Some(computed) if computed == stored => Ok(()),
        Some(computed) => Err(TypeError::new(
            "aggregate-type",
            span.clone(),
            format!("the result of `{function}` has another type than `{ty}`"),
        )
        .help(format!("write `{computed}`"))),
        None => Err(TypeError::new(
            "aggregate-type",
            span.clone(),
            format!("`{function}` does not accept values of the type `{ty}`"),
        )),
    }
}

/// Returns the type of the function's result for values of `ty`; none if it does not accept such
/// values.
fn result(effect: Effect, ty: &Type) -> Option<Type> {
    let integer = |bits, signed| Some(Type::Int { bits, signed });
    match (effect, ty) {
        (Effect::Choice, ty) => Some(ty.clone()),
        (Effect::Sum | Effect::SumWithOverflow | Effect::Bits, Type::Nullable(inner)) => {
            Some(Type::Nullable(Box::new(result(effect, inner)?)))
        }
        (Effect::Sum, Type::Int { bits, signed }) => integer((*bits).max(64), *signed),
        (Effect::Sum, Type::Bool) => integer(64, false),
        (Effect::Sum, Type::Enum { .. }) => integer(64, true),
        (Effect::Sum, Type::Float(_) | Type::BFloat16) => Some(Type::Float(64)),
        (
            Effect::Sum,
            Type::Decimal {
                precision: ..=18,
                scale,
            },
        ) => Some(Type::Decimal {
            precision: 38,
            scale: *scale,
        }),
        (Effect::SumWithOverflow, Type::Float(_) | Type::BFloat16)
        | (Effect::SumWithOverflow | Effect::Sum, Type::Decimal { .. })
        | (Effect::SumWithOverflow | Effect::Bits, Type::Int { .. } | Type::Bool) => Some(ty.clone()),
        (Effect::Elements, Type::Array(element)) => Some(Type::Array(Box::new(without_null(element)))),
        (Effect::OfMap(of), Type::Map(key, value)) if is_key(key) => {
            Some(Type::Map(key.clone(), Box::new(result(*of, value)?)))
        }
        (Effect::OfMap(of), Type::Tuple(elements)) if *of != Effect::Elements && elements.len() > 1 => {
            let mut elements = elements.iter();
            let keys = elements.next().filter(|(_, ty)| matches!(ty, Type::Array(_)))?;
            let mut computed = vec![(None, keys.1.clone())];
            for (_, ty) in elements {
                let Type::Array(value) = ty else { return None };
                let value = without_null(value);
                // These sums keep the type of the values.
                let is_decimal = matches!(value, Type::Decimal { .. });
                let computed_value = if is_decimal { value } else { result(*of, &value)? };
                computed.push((None, Type::Array(Box::new(computed_value))));
            }
            Some(Type::Tuple(computed))
        }
        _ => None,
    }
}

/// Returns whether the type can be the key of maps whose values are aggregated.
fn is_key(ty: &Type) -> bool {
    matches!(
        ty,
        Type::String
            | Type::FixedString(_)
            | Type::Int { .. }
            | Type::Bool
            | Type::Enum { .. }
            | Type::Date
            | Type::DateTime(_)
            | Type::Uuid
            | Type::Ipv4
            | Type::Ipv6
    )
}

fn without_null(ty: &Type) -> Type {
    match ty {
        Type::Nullable(inner) => (**inner).clone(),
        ty => ty.clone(),
    }
}

/// Returns the type with its shapes, Nested and SimpleAggregateFunction replaced by the types that
/// ClickHouse stores for them.
fn plain(ty: &Type) -> Type {
    match ty {
        Type::Shape(shape) => plain(&shape.spelled_out()),
        Type::SimpleAggregateFunction(_, inner) => plain(inner),
        Type::Nested(elements) => {
            let elements = elements.iter().map(|(name, ty)| (Some(name.clone()), plain(ty)));
            Type::Array(Box::new(Type::Tuple(elements.collect())))
        }
        ty => ty.map_parts(&plain),
    }
}

fn without_low_cardinality(ty: &Type) -> Type {
    match ty {
        Type::LowCardinality(inner) => without_low_cardinality(inner),
        ty => ty.map_parts(&without_low_cardinality),
    }
}

impl Type {
    /// Returns the type with `part` applied to each type in it.
    pub(super) fn map_parts(&self, part: &dyn Fn(&Self) -> Self) -> Self {
        match self {
            Self::LowCardinality(inner) => Self::LowCardinality(Box::new(part(inner))),
            Self::Nullable(inner) => Self::Nullable(Box::new(part(inner))),
            Self::Array(element) => Self::Array(Box::new(part(element))),
            Self::Map(key, value) => Self::Map(Box::new(part(key)), Box::new(part(value))),
            Self::Tuple(elements) => Self::Tuple(elements.iter().map(|(name, ty)| (name.clone(), part(ty))).collect()),
            Self::Variant(variants) => Self::Variant(variants.iter().map(part).collect()),
            ty => ty.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse;

    /// Returns the type as printed, or the help of its problem.
    fn shown(function: &str, ty: &str) -> Result<String, Option<String>> {
        match parse(&format!("SimpleAggregateFunction({function}, {ty})")) {
            Ok(declaration) => Ok(declaration.ty.to_string()),
            Err(problems) => Err(problems.into_iter().next().unwrap().help),
        }
    }

    #[test]
    fn a_sum_has_the_widest_type() {
        for ty in [
            "UInt64",
            "Int64",
            "Int128",
            "Float64",
            "Decimal(38, 2)",
            "Decimal(20, 2)",
            "Nullable(UInt64)",
        ] {
            assert!(shown("sum", ty).is_ok(), "{ty}");
        }
        for (narrow, wide) in [
            ("UInt8", "UInt64"),
            ("Int32", "Int64"),
            ("Float32", "Float64"),
            ("Bool", "UInt64"),
            ("Decimal(9, 2)", "Decimal(38, 2)"),
            ("Nullable(Int8)", "Nullable(Int64)"),
        ] {
            assert_eq!(shown("sum", narrow), Err(Some(format!("write `{wide}`"))), "{narrow}");
        }
        for ty in ["String", "Date", "IntervalDay", "Array(UInt64)"] {
            assert_eq!(shown("sum", ty), Err(None), "{ty}");
        }
        assert!(shown("sumWithOverflow", "Decimal(9, 2)").is_ok());
    }

    #[test]
    fn maps_are_aggregated_by_their_keys() {
        for ty in [
            "Map(String, UInt64)",
            "Map(UUID, Float64)",
            "Map(Enum8('a' = 1), Nullable(Int64))",
            "Tuple(Array(String), Array(UInt64), Array(Float64))",
        ] {
            assert!(shown("sumMap", ty).is_ok(), "{ty}");
        }
        for ty in [
            "Map(String, UInt8)",
            "Map(LowCardinality(String), UInt64)",
            "Map(Float64, UInt64)",
            "Map(Array(UInt8), UInt64)",
            "Tuple(a Array(String), b Array(UInt64))",
            "Tuple(Array(String), Array(Nullable(UInt64)))",
            "Tuple(Array(String))",
        ] {
            assert!(shown("sumMap", ty).is_err(), "{ty}");
        }
        assert!(shown("groupUniqArrayArrayMap", "Map(String, Ring)").is_ok());
    }

    #[test]
    fn a_low_cardinality_is_only_allowed_outside() {
        assert!(shown("any", "LowCardinality(Nullable(String))").is_ok());
        assert_eq!(
            shown("any", "Array(LowCardinality(String))"),
            Err(Some("write `Array(String)`".into()))
        );
    }

    #[test]
    fn aliases_print_as_the_functions_name() {
        for (written, name) in [
            ("FIRST_VALUE", "any"),
            ("lastValueRespectNulls", "anyLast_respect_nulls"),
            ("`bit_and`", "groupBitAnd"),
            ("SUM()", "sum"),
        ] {
            assert_eq!(
                shown(written, "UInt64"),
                Ok(format!("SimpleAggregateFunction({name}, UInt64)"))
            );
        }
        assert!(shown("groupArrayArray(3)", "Array(UInt8)").is_ok());
        assert!(shown("ANY", "UInt64").is_err());
    }
}
