//! The end of an SQL expression: the module does not parse the expression, it only finds the
//! modifier after it.
//!
//! A modifier's keyword counts as one only after an operand: in `DEFAULT a + comment COMMENT 'x'`,
//! the first `comment` is a column.

use std::ops::Range;

use super::{
    cursor::Cursor,
    error::TypeError,
    lexer::{self, TokenKind},
};

/// Words between or before operands, and those of CASE. The next word is an operand.
const OPERATORS: [&str; 24] = [
    "AND", "ANY", "BETWEEN", "BY", "CASE", "DISTINCT", "DIV", "ELSE", "ESCAPE", "FROM", "GLOBAL", "ILIKE", "IN",
    "INTERVAL", "IS", "LIKE", "MOD", "NOT", "OR", "OVER", "REGEXP", "THEN", "WHEN", "XOR",
];

/// The modifiers of a column, each by its first word.
pub(super) const MODIFIERS: [&str; 14] = [
    "ALIAS",
    "AUTO_INCREMENT",
    "CODEC",
    "COLLATE",
    "COMMENT",
    "DEFAULT",
    "EPHEMERAL",
    "MATERIALIZED",
    "NOT",
    "NULL",
    "PRIMARY",
    "SETTINGS",
    "STATISTICS",
    "TTL",
];

/// Steps over the expression that begins here and returns its bytes; `None` if a modifier or
/// nothing is here.
pub(super) fn skip(cursor: &mut Cursor<'_>) -> Option<Range<usize>> {
    if cursor.is_done() || is_probable_modifier(cursor) {
        return None;
    }
    let first = cursor.at();
    let start = cursor.here().start;
    // Whether an operand has just ended, and whether one more word may follow it: `INTERVAL 1 DAY`,
    // `DATE '2020-01-01'`.
    let (mut is_complete, mut has_unit, mut after_word) = (false, false, false);
    while let Some(token) = cursor.peek() {
        match &token.kind {
            TokenKind::Sign(',' | ';') => break,
            TokenKind::Sign(_) => {
                is_complete = false;
                after_word = false;
            }
            TokenKind::Word => {
                let word = cursor.word().unwrap_or_default();
                if is_complete && is_modifier(cursor) {
                    break;
                } else if OPERATORS.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                    has_unit |= word.eq_ignore_ascii_case("INTERVAL");
                    is_complete = false;
                    after_word = false;
                } else if !is_complete || word.eq_ignore_ascii_case("END") {
                    is_complete = true;
                    after_word = true;
                } else if has_unit {
                    has_unit = false;
                    after_word = false;
                } else {
                    break;
                }
            }
            TokenKind::Text(_) | TokenKind::Number | TokenKind::Quoted(_) => {
                if is_complete && !after_word {
                    break;
                }
                is_complete = true;
                after_word = false;
            }
            // The bracket of a call, of an index or of a whole operand.
            TokenKind::Open(_) => {
                is_complete = true;
                after_word = false;
            }
            TokenKind::Close => break,
        }
        cursor.skip();
    }
    (cursor.at() > first).then(|| cursor.since(start))
}

/// Returns the bytes of an index's expression and of its type's name: `lower(email)` and
/// `bloom_filter` in `lower(email) TYPE bloom_filter(0.01)`.
pub(crate) fn index_parts(text: &str) -> Option<(Range<usize>, Range<usize>)> {
    let tokens = lexer::lex(text).ok()?;
    let mut cursor = Cursor::new(text, &tokens);
    let start = cursor.here().start;
    cursor.skip();
    while !cursor.is_keyword(0, "TYPE") {
        if cursor.is_done() {
            return None;
        }
        cursor.skip();
    }
    let expression = cursor.since(start);
    cursor.next();
    cursor.word().map(|_| (expression, cursor.here()))
}

/// Returns the first problem that makes a text invalid as any expression: an unclosed quote or
/// bracket, or no text at all.
pub(crate) fn lexical_problem(text: &str) -> Option<TypeError> {
    match lexer::lex(text) {
        Err(problems) => problems.into_iter().next(),
        Ok(tokens) if tokens.is_empty() => Some(TypeError::new(
            "type-syntax",
            0..text.len(),
            "expected an expression, found nothing",
        )),
        Ok(_) => None,
    }
}

/// Returns whether a modifier may begin with the word.
pub(super) fn is_modifier_word(word: &str) -> bool {
    MODIFIERS.iter().any(|modifier| modifier.eq_ignore_ascii_case(word))
}

/// Returns whether the word here begins a modifier, if it is not an operand.
fn is_modifier(cursor: &Cursor<'_>) -> bool {
    let Some(word) = cursor.word() else {
        return false;
    };
    match MODIFIERS.iter().find(|modifier| modifier.eq_ignore_ascii_case(word)) {
        Some(&"NOT") => cursor.is_keyword(1, "NULL"),
        Some(&"PRIMARY") => cursor.is_keyword(1, "KEY"),
        found => found.is_some(),
    }
}

/// Returns whether the word here, in the place of an operand, is more likely a modifier, as its
/// continuation is typical of the modifier.
fn is_probable_modifier(cursor: &Cursor<'_>) -> bool {
    let Some(word) = cursor.word() else {
        return false;
    };
    let next = cursor.peek_nth(1).map(|token| &token.kind);
    match word.to_ascii_uppercase().as_str() {
        "COMMENT" => matches!(next, Some(TokenKind::Text(_))),
        "CODEC" | "STATISTICS" | "SETTINGS" => cursor.is_open(1, "("),
        "PRIMARY" => cursor.is_keyword(1, "KEY"),
        "NOT" => cursor.is_keyword(1, "NULL"),
        "ALIAS" | "DEFAULT" | "EPHEMERAL" | "MATERIALIZED" | "TTL" => {
            matches!(
                next,
                Some(TokenKind::Word | TokenKind::Quoted(_) | TokenKind::Number | TokenKind::Text(_))
            ) && !cursor.word_nth(1).is_some_and(|word| {
                OPERATORS
                    .iter()
                    .chain(&MODIFIERS)
                    .any(|known| known.eq_ignore_ascii_case(word))
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::{super::lexer::lex, *};

    /// Returns the part of `text` that is the expression.
    fn expression(text: &str) -> &str {
        let tokens = lex(text).unwrap();
        skip(&mut Cursor::new(text, &tokens)).map_or("", |span| &text[span])
    }

    #[test]
    fn an_expression_ends_before_a_modifier() {
        for whole in [
            "-1",
            "'x'",
            "now64(3)",
            "a + comment",
            "codec",
            "t.comment + 1",
            "k IS NOT NULL",
            "k IS NULL",
            "k IS NOT DISTINCT FROM 5",
            "k NOT IN (1, 2)",
            "NOT k",
            "NULL",
            "CASE WHEN a THEN NULL ELSE 3 END",
            "d + INTERVAL 1 DAY",
            "d + INTERVAL (k) DAY + INTERVAL 1 MONTH",
            "DATE '2020-01-01'",
            "k::Nullable(UInt64)",
            "arrayMap(x -> x + 1, [1])[1]",
            "k ? 1 : 2",
            "k BETWEEN 1 AND 5",
        ] {
            for after in [
                "",
                "COMMENT 'x'",
                "CODEC(ZSTD)",
                "NOT NULL",
                "NULL",
                "TTL d",
                "PRIMARY KEY",
                "comment 'x'",
            ] {
                let text = format!("{whole} {after}");
                assert_eq!(expression(&text), whole, "{text}");
            }
        }
    }

    #[test]
    fn an_expression_ends_before_unexpected_text() {
        assert_eq!(expression("5 foo"), "5");
        assert_eq!(expression("'x' COMENT 'y'"), "'x'");
        assert_eq!(expression("5, 6"), "5");
        assert_eq!(expression("5 6"), "5");
    }

    #[test]
    fn modifiers_are_not_expressions() {
        for text in ["", "COMMENT 'x'", "CODEC(LZ4)", "PRIMARY KEY", "TTL d + 1", "DEFAULT 5"] {
            assert_eq!(expression(text), "", "{text}");
        }
        assert_eq!(expression("comment"), "comment");
        assert_eq!(expression("ttl + 1"), "ttl + 1");
    }
}
