//! `QBit(T, N)` and `QBit(T, N, stride)`: vectors of a fixed length, stored bit by bit.

use std::ops::Range;

use super::{ast::Type, error::TypeError, grammar::Grammar};

/// The maximum dimension: ClickHouse stores each bit of all numbers as a FixedString of one eighth
/// of the dimension in bytes, and limits the length of a FixedString.
const MAX_DIMENSION: u64 = 8 * 0xFF_FFFF;

enum Argument {
    Element(Type),
    Number(u64),
}

impl Grammar<'_> {
    /// Reads `QBit(Float32, 1536)`.
    pub(super) fn qbit(&mut self, name: &Range<usize>) -> Option<Type> {
        let mut is_first = true;
        let arguments = self.arguments(name, |grammar| {
            if std::mem::take(&mut is_first) {
                grammar.data_type().map(Argument::Element)
            } else {
                grammar.number().map(Argument::Number)
            }
        })?;
        let mut items = arguments.items.into_iter();
        let wanted = "the type of its numbers, their count, and optionally a stride";
        match (items.next(), items.next(), items.next(), items.next()) {
            (
                Some((Argument::Element(element), element_span)),
                Some((Argument::Number(dimension), dimension_span)),
                stride,
                None,
            ) => {
                self.require(is_element(&element, &element_span))?;
                self.require(is_dimension(dimension, &dimension_span))?;
                let stride = match stride {
                    Some((Argument::Number(stride), span)) => {
                        self.require(is_stride(stride, dimension, &span))?;
                        (stride < dimension).then_some(u32::try_from(stride).ok()?)
                    }
                    _ => None,
                };
                Some(Type::QBit {
                    element: Box::new(element),
                    dimension: u32::try_from(dimension).ok()?,
                    stride,
                })
            }
            _ => self.wrong_count(name, arguments.span, wanted),
        }
    }
}

fn is_element(ty: &Type, span: &Range<usize>) -> Result<(), TypeError> {
    if matches!(
        ty,
        Type::BFloat16 | Type::Float(_) | Type::Int { bits: 8, signed: true }
    ) {
        return Ok(());
    }
    let message = format!("a QBit cannot hold numbers of the type `{ty}`");
    Err(TypeError::new("qbit-element", span.clone(), message).help("use `BFloat16`, `Float32`, `Float64` or `Int8`"))
}

fn is_dimension(dimension: u64, span: &Range<usize>) -> Result<(), TypeError> {
    if (1..=MAX_DIMENSION).contains(&dimension) {
        return Ok(());
    }
    let message = format!("a QBit must have from 1 to {MAX_DIMENSION} numbers, not {dimension}");
    Err(TypeError::new("type-range", span.clone(), message))
}

fn is_stride(stride: u64, dimension: u64, span: &Range<usize>) -> Result<(), TypeError> {
    let divides = stride > 0 && dimension.is_multiple_of(stride);
    if divides && (stride == dimension || stride.is_multiple_of(8)) {
        return Ok(());
    }
    let message = format!("the stride {stride} does not divide {dimension} numbers into groups of whole bytes");
    Err(TypeError::new("type-range", span.clone(), message).help("use a multiple of 8 that divides the dimension"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse;

    #[test]
    fn vectors_are_shown_as_clickhouse_shows_them() {
        for (written, shown) in [
            ("QBit(REAL, 3)", "QBit(Float32, 3)"),
            ("QBit(Int8,16,8)", "QBit(Int8, 16, 8)"),
            ("QBit(BFloat16, 16, 16)", "QBit(BFloat16, 16)"),
        ] {
            assert_eq!(parse(written).unwrap().ty.to_string(), shown);
        }
        for (text, code) in [
            ("QBit(Float32)", "type-arguments"),
            ("QBit(Float32, 16, 8, 8)", "type-arguments"),
            ("QBit(UInt8, 3)", "qbit-element"),
            ("QBit(Nullable(Float32), 3)", "qbit-element"),
            ("QBit(Float32, 0)", "type-range"),
            ("QBit(Float32, 4294967296)", "type-range"),
            ("QBit(Float32, 16, 12)", "type-range"),
            ("QBit(Float32, 20, 16)", "type-range"),
            ("QBit(Float32, 8, 4)", "type-range"),
            ("QBit(Float32, 8, 0)", "type-range"),
        ] {
            assert_eq!(parse(text).unwrap_err()[0].code, code, "{text}");
        }
    }
}
