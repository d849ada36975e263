//! Literals: the defaults that are known without ClickHouse.

use super::{
    cursor::Cursor,
    lexer::{self, TokenKind},
};

/// The maximum depth of nested literals; ClickHouse computes deeper ones.
const MAX_DEPTH: usize = 32;

/// A value as written in SQL, without a type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    /// A decimal number as ClickHouse reads it: a 64-bit integer has only digits and perhaps a
    /// minus, a Float64 has a point or an exponent.
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Tuple(Vec<Self>),
}

impl Literal {
    /// Returns the literal that the expression is; `None` if the expression is more than a literal.
    pub(crate) fn of_expression(expression: &str) -> Option<Self> {
        let tokens = lexer::lex(expression).ok()?;
        let mut cursor = Cursor::new(expression, &tokens);
        let literal = value(&mut cursor, MAX_DEPTH)?;
        cursor.is_done().then_some(literal)
    }
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Option<Literal> {
    let depth = depth.checked_sub(1)?;
    if let Some((mut inner, _)) = cursor.enter("[") {
        return Some(Literal::Array(values(&mut inner, depth, false)?.0));
    }
    if let Some((mut inner, _)) = cursor.enter("(") {
        let (mut items, ends_in_comma) = values(&mut inner, depth, true)?;
        // One value in brackets is the value itself; with a comma after it, it is a tuple.
        return match items.len() {
            1 if !ends_in_comma => items.pop(),
            0 => None,
            _ => Some(Literal::Tuple(items)),
        };
    }
    let is_negative = cursor.eat_sign('-');
    let is_signed = is_negative || cursor.eat_sign('+');
    let token = cursor.next()?;
    let written = cursor.slice(token.span.clone());
    match &token.kind {
        TokenKind::Number => number(written, is_negative).map(Literal::Number),
        TokenKind::Text(Some(text)) if !is_signed => Some(Literal::Text(text.clone())),
        TokenKind::Word if !is_signed => match written.to_ascii_lowercase().as_str() {
            "null" => Some(Literal::Null),
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

fn values(cursor: &mut Cursor<'_>, depth: usize, may_end_in_comma: bool) -> Option<(Vec<Literal>, bool)> {
    let mut items = Vec::new();
    if cursor.is_done() {
        return Some((items, false));
    }
    loop {
        items.push(value(cursor, depth)?);
        if cursor.is_done() {
            return Some((items, false));
        }
        if !cursor.eat_sign(',') {
            return None;
        }
        if cursor.is_done() {
            return may_end_in_comma.then_some((items, true));
        }
    }
}

/// Returns the number in the format of [`Literal::Number`].
fn number(written: &str, is_negative: bool) -> Option<String> {
    let whole = whole_number(written)
        .map(i128::from)
        .map(|value| if is_negative { -value } else { value });
    if let Some(value) = whole.filter(|value| *value >= i128::from(i64::MIN)) {
        return Some(value.to_string());
    }
    if written.starts_with("0x") || written.starts_with("0X") || written.starts_with("0b") {
        return None;
    }
    let value: f64 = written.replace('_', "").parse().ok()?;
    value
        .is_finite()
        .then(|| format!("{:?}", if is_negative { -value } else { value }))
}

/// Returns the value of a number token if it is a whole number of at most 64 bits.
pub(super) fn whole_number(written: &str) -> Option<u64> {
    let digits = written.replace('_', "");
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&digits[2..], 16).ok(),
        [b'0', b'b', ..] => u64::from_str_radix(&digits[2..], 2).ok(),
        _ => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Literal {
        Literal::Number(text.to_owned())
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn numbers_are_read_as_in_clickhouse() {
        for (written, read) in [
            ("-1", "-1"),
            ("- 1", "-1"),
            ("+1", "1"),
            ("007", "7"),
            ("1_000", "1000"),
            ("0x10", "16"),
            ("0b11", "3"),
            ("-0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9223372036854775809", "-9.223372036854776e18"),
            ("5.", "5.0"),
            ("1e2", "100.0"),
            ("-0.25", "-0.25"),
        ] {
            assert_eq!(Literal::of_expression(written), Some(number(read)), "{written}");
        }
    }

    #[test]
    fn literals_nest() {
        let cases = [
            ("[]", Literal::Array(vec![])),
            ("[1, -2]", Literal::Array(vec![number("1"), number("-2")])),
            (
                "[['a'], NULL]",
                Literal::Array(vec![Literal::Array(vec![text("a")]), Literal::Null]),
            ),
            ("(1, TRUE)", Literal::Tuple(vec![number("1"), Literal::Bool(true)])),
            ("(1,)", Literal::Tuple(vec![number("1")])),
            ("((1))", number("1")),
            ("'it''s' -- a remark", text("it's")),
        ];
        for (written, literal) in cases {
            assert_eq!(Literal::of_expression(written), Some(literal), "{written}");
        }
    }

    #[test]
    fn other_expressions_are_not_literals() {
        for written in [
            "now()", "1 + 1", "a", "`true`", "--1", "- 'a'", "[1,]", "()", "1e400", "inf", "1::Int8", "[a]", "'\\xff'",
            "",
        ] {
            assert_eq!(Literal::of_expression(written), None, "{written}");
        }
        assert_eq!(
            Literal::of_expression(&format!("{}{}", "[".repeat(40), "]".repeat(40))),
            None
        );
    }
}
