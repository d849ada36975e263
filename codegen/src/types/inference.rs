//! Inference: the type of a column that has only a default.
//!
//! For a literal, returns the type that ClickHouse infers; for the name of a column, that column.
//! Only ClickHouse knows the type of any other expression.

use super::{
    ast::Type,
    literal::Literal,
    reference::{Reference, references},
};

/// The type, or the column that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inferred {
    Type(Type),
    Column(Reference),
}

/// Words for numbers that are not finite; case-insensitive.
const NOT_FINITE: [&str; 3] = ["inf", "infinity", "nan"];

/// Returns the type of the expression as far as it can be inferred.
pub(super) fn inferred(expression: &str) -> Option<Inferred> {
    if let Some(literal) = Literal::of_expression(expression) {
        return common_type(&[&literal]).map(Inferred::Type);
    }
    if NOT_FINITE.iter().any(|word| word.eq_ignore_ascii_case(expression)) {
        return Some(Inferred::Type(Type::Float(64)));
    }
    // Any text around the name, except brackets, changes the value.
    let column = references(expression).pop()?;
    let is_bracket = |bracket: char| move |c: char| c == bracket || c.is_whitespace();
    let is_all = expression[..column.span.start].chars().all(is_bracket('('))
        && expression[column.span.end..].chars().all(is_bracket(')'));
    is_all.then_some(Inferred::Column(column))
}

/// Returns the common type of the values, which are the elements of one array; `None` if they have
/// none that a table can hold, or only a Variant.
fn common_type(values: &[&Literal]) -> Option<Type> {
    let some: Vec<&Literal> = values
        .iter()
        .copied()
        .filter(|value| **value != Literal::Null)
        .collect();
    let ty = match some.first()? {
        Literal::Null => return None,
        Literal::Bool(_) => map_all(&some, |value| matches!(value, Literal::Bool(_)).then_some(())).map(|_| Type::Bool),
        Literal::Text(_) => {
            map_all(&some, |value| matches!(value, Literal::Text(_)).then_some(())).map(|_| Type::String)
        }
        Literal::Number(_) => number_type(&map_all(&some, |value| match value {
            Literal::Number(number) => Some(number.as_str()),
            _ => None,
        })?),
        Literal::Array(_) => {
            let arrays = map_all(&some, |value| match value {
                Literal::Array(items) => Some(items),
                _ => None,
            })?;
            let items: Vec<&Literal> = arrays.into_iter().flatten().collect();
            common_type(&items).map(|element| Type::Array(Box::new(element)))
        }
        Literal::Tuple(first) => {
            let tuples = map_all(&some, |value| match value {
                Literal::Tuple(items) if items.len() == first.len() => Some(items),
                _ => None,
            })?;
            let element = |place: usize| {
                let items: Vec<&Literal> = tuples.iter().filter_map(|items| items.get(place)).collect();
                common_type(&items).map(|ty| (None, ty))
            };
            (0..first.len()).map(element).collect::<Option<_>>().map(Type::Tuple)
        }
    }?;
    match ty {
        ty if some.len() == values.len() => Some(ty),
        Type::Array(_) | Type::Tuple(_) => None,
        ty => Some(Type::Nullable(Box::new(ty))),
    }
}

/// Returns the result of `find` for each value, if every value has one.
fn map_all<'l, T>(values: &[&'l Literal], find: impl Fn(&'l Literal) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(|value| find(value)).collect()
}

/// Returns the smallest type for the numbers, which have the format of [`Literal::Number`].
fn number_type(numbers: &[&str]) -> Option<Type> {
    let (mut max, mut is_float) = (0, false);
    // The bits of the negative numbers, and of the others.
    let (mut negative_bits, mut positive_bits) = (0, 0);
    for number in numbers {
        match number.parse::<i128>() {
            Ok(number) => {
                max = max.max(number);
                if number < 0 {
                    negative_bits = negative_bits.max(bits_of(|bits| number >= -(1 << (bits - 1))));
                } else {
                    positive_bits = positive_bits.max(bits_of(|bits| number < 1 << bits));
                }
            }
            Err(_) => is_float = true,
        }
    }
    let int = |bits, signed| Some(Type::Int { bits, signed });
    if is_float {
        // A Float64 cannot hold all integers of more bits.
        (negative_bits <= 32 && positive_bits <= 32).then_some(Type::Float(64))
    } else if negative_bits == 0 {
        int(positive_bits, false)
    } else if positive_bits < negative_bits {
        int(negative_bits, true)
    } else if positive_bits < 64 {
        int(2 * positive_bits, true)
    } else {
        (max <= i128::from(i64::MAX)).then_some(Type::Int { bits: 64, signed: true })
    }
}

fn bits_of(fits: impl Fn(u16) -> bool) -> u16 {
    [8, 16, 32].into_iter().find(|bits| fits(*bits)).unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred_type(expression: &str) -> Option<String> {
        match inferred(expression)? {
            Inferred::Type(ty) => Some(ty.to_string()),
            Inferred::Column(column) => Some(format!("that of {}", column.name())),
        }
    }

    /// ClickHouse 26.7 infers these types for `CREATE TABLE t (c DEFAULT …)`.
    #[test]
    fn types_match_those_of_clickhouse() {
        for (expression, ty) in [
            ("0", "UInt8"),
            ("255", "UInt8"),
            ("256", "UInt16"),
            ("65536", "UInt32"),
            ("4294967296", "UInt64"),
            ("18446744073709551616", "Float64"),
            ("-0", "UInt8"),
            ("+5", "UInt8"),
            ("- 5", "Int8"),
            ("-129", "Int16"),
            ("-9223372036854775808", "Int64"),
            ("0x10", "UInt8"),
            ("1e3", "Float64"),
            ("Infinity", "Float64"),
            ("'x'", "String"),
            ("x'41'", "String"),
            ("TRUE", "Bool"),
            ("[0, -1]", "Array(Int16)"),
            ("[-300, 200]", "Array(Int16)"),
            ("[65535, -1]", "Array(Int32)"),
            ("[9223372036854775807, -1]", "Array(Int64)"),
            ("[4294967295, 1.5]", "Array(Float64)"),
            ("[true, NULL]", "Array(Nullable(Bool))"),
            ("[[1, NULL], [], [300]]", "Array(Array(Nullable(UInt16)))"),
            ("[(1, NULL), (2, 'a')]", "Array(Tuple(UInt8, Nullable(String)))"),
            ("(1,)", "Tuple(UInt8)"),
            ("k", "that of k"),
            ("( `a b` )", "that of a b"),
        ] {
            assert_eq!(inferred_type(expression).as_deref(), Some(ty), "{expression}");
        }
    }

    #[test]
    fn other_expressions_have_no_inferred_type() {
        for expression in [
            "NULL",
            "[]",
            "[NULL]",
            "[1, 'a']",
            "[18446744073709551615, -1]",
            "[4294967297, 1.5]",
            "[[1], NULL]",
            "[(1, 2), NULL]",
            "[(1,), (2, 3)]",
            "[[1], 2]",
            "k + 1",
            "-k",
            "(k, k2)",
            "toString(k)",
            "k::Int8",
        ] {
            assert_eq!(inferred_type(expression), None, "{expression}");
        }
    }
}
