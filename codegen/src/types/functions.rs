//! The names of the functions that an SQL expression or a query calls.

use std::ops::Range;

use super::lexer::{self, Token, TokenKind};

/// The name of a called function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    /// The place in the expression.
    pub(crate) span: Range<usize>,
    /// Whether the function stands where a query has a table.
    pub(crate) is_table: bool,
}

/// Words that may have a bracket after them and are no functions there.
const KEYWORDS: [&str; 60] = [
    "ALL",
    "AND",
    "ANY",
    "APPEND",
    "APPLY",
    "ARRAY",
    "AS",
    "ASOF",
    "BETWEEN",
    "BY",
    "CASE",
    "CHECK",
    "CUBE",
    "DAY",
    "DISTINCT",
    "DIV",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FILL",
    "FILTER",
    "FROM",
    "GLOBAL",
    "GROUP",
    "HAVING",
    "HOUR",
    "ILIKE",
    "IN",
    "INTERPOLATE",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "MINUTE",
    "MOD",
    "MONTH",
    "NOT",
    "OFFSET",
    "ON",
    "OR",
    "OVER",
    "PREWHERE",
    "QUALIFY",
    "REGEXP",
    "REPLACE",
    "ROLLUP",
    "SELECT",
    "SET",
    "SETS",
    "THEN",
    "TOTALS",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Words whose brackets hold no calls.
const OPAQUE: [&str; 2] = ["CODEC", "TYPE"];

/// Words before the name of a table.
const BEFORE_TABLE: [&str; 2] = ["FROM", "JOIN"];

/// Returns the names of the functions that the text calls; none if the text cannot be read.
pub(crate) fn function_names(text: &str) -> Vec<FunctionName> {
    let Ok(tokens) = lexer::lex(text) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        at += 1;
        let is_opaque = is_word_of(text, token, &OPAQUE);
        if is_opaque || is_type(text, &tokens, at - 1) {
            at = after_type(text, &tokens, at - 1);
            continue;
        }
        let Some(name) = name_of(text, token) else { continue };
        let is_call = tokens.get(at).is_some_and(|next| is_open(text, next, "("));
        let is_word = token.kind == TokenKind::Word;
        if !is_call || (is_word && is_one_of(&name, &KEYWORDS)) {
            continue;
        }
        let before = (at > 1).then(|| &tokens[at - 2]);
        // `INTERVAL 1 DAY (`, `AS alias (`, and a part of a name with dots.
        let is_other = before.is_some_and(|before| {
            matches!(
                before.kind,
                TokenKind::Sign('.') | TokenKind::Number | TokenKind::Text(_)
            ) || is_word_of(text, before, &["AS", "OVER", "WINDOW"])
        });
        if is_other {
            continue;
        }
        names.push(FunctionName {
            is_table: before.is_some_and(|before| is_word_of(text, before, &BEFORE_TABLE)),
            name,
            span: token.span.clone(),
        });
    }
    names
}

/// Returns whether a type begins at the token: after `::`, after the `.:` of a JSON path, or after
/// AS if a bracket follows that is not a query's.
fn is_type(text: &str, tokens: &[Token], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| tokens.get(index));
    let is_sign = |back: usize, sign: char| before(back).is_some_and(|token| token.kind == TokenKind::Sign(sign));
    if name_of(text, &tokens[at]).is_none() {
        return false;
    }
    let after_as = before(1).is_some_and(|token| is_word_of(text, token, &["AS"]));
    is_sign(1, ':') && (is_sign(2, ':') || is_sign(2, '.')) || after_as
}

/// Returns the token after a type with its brackets, or after an alias.
fn after_type(text: &str, tokens: &[Token], at: usize) -> usize {
    match tokens.get(at + 1) {
        Some(Token {
            kind: TokenKind::Open(close),
            span,
        }) if text[span.clone()] == *"(" => close + 1,
        _ => at + 1,
    }
}

fn name_of(text: &str, token: &Token) -> Option<String> {
    match &token.kind {
        TokenKind::Word => Some(text[token.span.clone()].to_owned()),
        TokenKind::Quoted(name) => Some(name.clone()),
        _ => None,
    }
}

fn is_open(text: &str, token: &Token, bracket: &str) -> bool {
    matches!(token.kind, TokenKind::Open(_)) && text[token.span.clone()] == *bracket
}

fn is_word_of(text: &str, token: &Token, words: &[&str]) -> bool {
    token.kind == TokenKind::Word && is_one_of(&text[token.span.clone()], words)
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_brackets_are_functions() {
        for (text, names) in [
            ("now()", vec!["now"]),
            ("a + f(g(b), 'h(')", vec!["f", "g"]),
            ("quantile(0.5)(x)", vec!["quantile"]),
            ("CAST(a AS Decimal(9, 2))", vec!["CAST"]),
            ("a::Array(Decimal(9, 2)) || f(b)", vec!["f"]),
            ("json.a.:Array(Int64)", vec![]),
            ("a IN (1, 2) AND (b OR NOT (c))", vec![]),
            ("d + INTERVAL (k) DAY", vec![]),
            ("CASE WHEN (a) THEN (b) ELSE (c) END", vec![]),
            ("arrayMap(x -> (x + 1), [1])", vec!["arrayMap"]),
            ("time + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(3))", vec![]),
            (
                "WITH t AS (SELECT f(1)) SELECT g(a) AS b FROM t WHERE (h(b))",
                vec!["f", "g", "h"],
            ),
            ("sum(a) OVER (PARTITION BY (b))", vec!["sum"]),
        ] {
            let found: Vec<_> = function_names(text).into_iter().map(|found| found.name).collect();
            assert_eq!(found, names, "{text}");
        }
        assert!(function_names("SELECT a FROM numbers(10)")[0].is_table);
        assert!(function_names("f('").is_empty());
    }
}
