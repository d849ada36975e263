//! The values of an Enum: parsed, numbered as ClickHouse numbers them, and sorted by their numbers.

use std::{collections::HashMap, ops::Range};

use super::{arguments::Argument, ast::Type, check, error::TypeError, grammar::Grammar, lexer::TokenKind, literal};

/// `'name'` or `'name' = number`.
pub(super) struct Element {
    name: String,
    value: Option<i64>,
}

/// Reads one element.
pub(super) fn element(grammar: &mut Grammar<'_>) -> Option<Element> {
    let name = grammar.text("the name of an enum value")?;
    if !grammar.cursor.eat_sign('=') {
        return Some(Element { name, value: None });
    }
    // ClickHouse treats `==` as the same operator.
    grammar.cursor.eat_sign('=');
    let start = grammar.cursor.here().start;
    let is_negative = grammar.cursor.eat_sign('-');
    if !is_negative {
        grammar.cursor.eat_sign('+');
    }
    let Some(token) = grammar.cursor.peek().filter(|token| token.kind == TokenKind::Number) else {
        grammar.problems.push(grammar.cursor.expected("a whole number"));
        return None;
    };
    grammar.cursor.next();
    // A number too large for an i64 is too large for any enum, so i64::MAX replaces it.
    let written = grammar.cursor.slice(token.span.clone());
    match literal::whole_number(written).map(|value| i64::try_from(value).unwrap_or(i64::MAX)) {
        Some(value) => Some(Element {
            name,
            value: Some(if is_negative { -value } else { value }),
        }),
        None => {
            let span = grammar.cursor.since(start);
            let message = format!("an enum value must be a whole number, not `{written}`");
            grammar.problems.push(TypeError::new("type-arguments", span, message));
            None
        }
    }
}

/// Builds the type from its elements.
///
/// # Errors
/// Returns the problems: no elements, numbers for some of them only, duplicate names or numbers,
/// and numbers that `bits` cannot hold.
pub(super) fn number(
    bits: Option<u8>,
    elements: Vec<Argument<Element>>,
    span: Range<usize>,
) -> Result<Type, Vec<TypeError>> {
    check::enum_is_not_empty(elements.len(), &span).map_err(|problem| vec![problem])?;
    numbers_are_all_or_none(&elements).map_err(|problem| vec![problem])?;

    let mut next = 1;
    let numbered: Vec<(String, i64, Range<usize>)> = elements
        .into_iter()
        .map(|(Element { name, value }, span)| {
            let value = value.unwrap_or(next);
            next = value.saturating_add(1);
            (name, value, span)
        })
        .collect();
    // Without bits, the values determine the size; a value that does not fit 16 bits is then an
    // error for 16 bits.
    let bits = bits.unwrap_or_else(|| {
        let fits_8 = numbered.iter().all(|(_, value, _)| i8::try_from(*value).is_ok());
        if fits_8 { 8 } else { 16 }
    });

    let (mut names, mut used) = (HashMap::new(), HashMap::new());
    let (mut values, mut problems) = (Vec::with_capacity(numbered.len()), Vec::new());
    for (name, value, span) in &numbered {
        match check::enum_range(name, *value, bits, span) {
            Ok(value) => values.push((name.clone(), value)),
            Err(problem) => problems.push(problem),
        }
        if names.insert(name.as_str(), *value).is_some() {
            problems.push(TypeError::new(
                "enum-duplicate",
                span.clone(),
                format!("this enum has the name `{name}` twice"),
            ));
        } else if let Some(other) = used.insert(*value, name) {
            let message = format!("`{name}` has the same number {value} as `{other}`");
            problems.push(TypeError::new("enum-duplicate", span.clone(), message));
        }
    }
    if problems.is_empty() {
        values.sort_by_key(|(_, value)| *value);
        Ok(Type::Enum { bits, values })
    } else {
        Err(problems)
    }
}

/// Checks that, after the first element, either all elements have a number or none. The first may
/// have a number from which the others count.
fn numbers_are_all_or_none(elements: &[Argument<Element>]) -> Result<(), TypeError> {
    let Some((second, rest)) = elements.get(1..).and_then(<[_]>::split_first) else {
        return Ok(());
    };
    match rest
        .iter()
        .find(|(element, _)| element.value.is_some() != second.0.value.is_some())
    {
        None => Ok(()),
        Some((_, span)) => {
            let message = "some values of this enum have a number and some have none";
            Err(TypeError::new("enum-numbers", span.clone(), message)
                .help("write a number for each value, or only for the first, from which ClickHouse counts"))
        }
    }
}
