//! The calls in an SQL expression: functions, casts and the operators that divide, with their
//! arguments.
//!
//! The module scans the tokens of the expression and does not parse it.

use std::ops::Range;

use super::{
    ast::Type,
    key::{KeyElement, MAX_DEPTH, element, elements},
    lexer::{self, Token, TokenKind},
    literal::Literal,
};

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The function's name; `CAST` and `accurateCast` are the names of all casts, `modulo`,
    /// `intDiv` and `divide` those of the operators.
    pub(crate) function: String,
    pub(crate) arguments: Vec<KeyElement>,
    /// The type that a cast converts into.
    pub(crate) target: Option<Type>,
    /// The place in the expression.
    pub(crate) span: Range<usize>,
    /// Whether a condition decides for which rows the call is needed, as in
    /// `if(n = 0, 0, intDiv(m, n))`.
    pub(crate) is_guarded: bool,
}

/// [`calls`] skips a longer expression, as it reads nested calls again at each level.
const MAX_TOKENS: usize = 2_000;

/// Words whose following operands are needed for some rows only.
const GUARDING_WORDS: [&str; 5] = ["AND", "ELSE", "OR", "THEN", "WHEN"];

/// Functions that need the arguments after the first for some rows only.
const GUARDING_FUNCTIONS: [&str; 4] = ["and", "if", "multiIf", "or"];

/// Returns the calls; none if the expression cannot be read.
pub(crate) fn calls(text: &str) -> Vec<Call> {
    let Ok(tokens) = lexer::lex(text) else {
        return Vec::new();
    };
    if tokens.len() > MAX_TOKENS {
        return Vec::new();
    }
    let scanner = CallScanner { text, tokens: &tokens };
    let mut calls = Vec::new();
    // The state of the current bracket, and the states of the brackets around it.
    let mut here = Frame::default();
    let mut outer = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        calls.extend(scanner.call_at(at).map(|call| Call {
            is_guarded: here.is_guarded,
            ..call
        }));
        match &token.kind {
            TokenKind::Open(_) => {
                let function = at.checked_sub(1).and_then(|before| scanner.word(before));
                let inner = Frame {
                    is_guarded: here.is_guarded,
                    is_list_guarded: here.is_guarded,
                    do_commas_guard: function.is_some_and(|name| is_one_of(name, &GUARDING_FUNCTIONS)),
                };
                outer.push(std::mem::replace(&mut here, inner));
            }
            TokenKind::Close => here = outer.pop().unwrap_or_default(),
            TokenKind::Sign(',') => here.is_guarded = here.is_list_guarded || here.do_commas_guard,
            TokenKind::Sign('?') => here.is_guarded = true,
            TokenKind::Word => here.is_guarded |= scanner.word(at).is_some_and(|word| is_one_of(word, &GUARDING_WORDS)),
            _ => {}
        }
    }
    calls
}

#[derive(Debug, Default)]
struct Frame {
    /// Whether the current position is guarded.
    is_guarded: bool,
    /// Whether the whole bracket is guarded.
    is_list_guarded: bool,
    /// Whether the items after the first comma are guarded.
    do_commas_guard: bool,
}

#[derive(Clone, Copy)]
struct CallScanner<'t> {
    text: &'t str,
    tokens: &'t [Token],
}

impl<'t> CallScanner<'t> {
    /// Returns the call whose name or operator is at this token.
    fn call_at(self, at: usize) -> Option<Call> {
        match &self.tokens[at].kind {
            TokenKind::Word => match self.bracket(at + 1) {
                Some(close) if !self.is_operator(at) => self.function(at, close),
                _ if !self.ends_operand(at) => None,
                _ => match self.word(at)?.to_ascii_uppercase().as_str() {
                    "DIV" => self.operator(at, "intDiv"),
                    "MOD" => self.operator(at, "modulo"),
                    _ => None,
                },
            },
            TokenKind::Sign('%') => self.operator(at, "modulo"),
            TokenKind::Sign('/') => self.operator(at, "divide"),
            TokenKind::Sign(':') if self.is_sign(at + 1, ':') => self.cast(at),
            _ => None,
        }
    }

    fn function(self, at: usize, close: usize) -> Option<Call> {
        let name = self.word(at)?;
        let inner = &self.tokens[at + 2..close];
        let is_cast = name.eq_ignore_ascii_case("CAST") || name == "accurateCast";
        let mut arguments = elements(self.text, inner, MAX_DEPTH);
        let mut target = None;
        if is_cast {
            let mut depth = 0_usize;
            let as_word = inner.iter().position(|token| {
                match token.kind {
                    TokenKind::Open(_) => depth += 1,
                    TokenKind::Close => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && self.text[token.span.clone()].eq_ignore_ascii_case("AS")
            });
            if let Some(as_word) = as_word {
                arguments = element(self.text, &inner[..as_word], MAX_DEPTH).into_iter().collect();
                target = self.data_type(&inner[as_word + 1..]);
            } else {
                let text = arguments.get(1).map(|text| &self.text[text.span.clone()])?;
                if let Some(Literal::Text(text)) = Literal::of_expression(text) {
                    target = super::parse(&text).ok().map(|declaration| declaration.ty);
                }
            }
        }
        Some(Call {
            function: if name.eq_ignore_ascii_case("CAST") {
                "CAST"
            } else {
                name
            }
            .to_owned(),
            arguments,
            target,
            span: self.tokens[at].span.start..self.tokens[close].span.end,
            is_guarded: false,
        })
    }

    fn cast(self, at: usize) -> Option<Call> {
        let start = self.operand_start(at.checked_sub(1)?)?;
        let name = at + 2;
        let end = self.bracket(name + 1).unwrap_or(name);
        Some(Call {
            function: "CAST".to_owned(),
            arguments: element(self.text, &self.tokens[start..at], MAX_DEPTH)
                .into_iter()
                .collect(),
            target: self.data_type(self.tokens.get(name..=end)?),
            span: self.tokens[start].span.start..self.tokens[end].span.end,
            is_guarded: false,
        })
    }

    fn operator(self, at: usize, function: &str) -> Option<Call> {
        let start = self.operand_start(at.checked_sub(1)?)?;
        let end = self.operand_end(at + 1)?;
        let operands = [&self.tokens[start..at], &self.tokens[at + 1..=end]];
        Some(Call {
            function: function.to_owned(),
            arguments: operands
                .into_iter()
                .filter_map(|operand| element(self.text, operand, MAX_DEPTH))
                .collect(),
            target: None,
            span: self.tokens[start].span.start..self.tokens[end].span.end,
            is_guarded: false,
        })
    }

    /// Returns the first token of the operand that ends with token `last`: a name, a call, an
    /// index, a bracket or a cast.
    fn operand_start(self, mut last: usize) -> Option<usize> {
        loop {
            let first = match self.tokens[last].kind {
                TokenKind::Close => {
                    let is_open = |token: &Token| token.kind == TokenKind::Open(last);
                    let open = self.tokens[..last].iter().rposition(is_open)?;
                    let is_call = open.checked_sub(1).is_some_and(|before| self.word(before).is_some());
                    match &self.text[self.tokens[open].span.clone()] {
                        "(" if is_call => open - 1,
                        "[" if open > 0 && self.ends_operand(open) => {
                            last = open - 1;
                            continue;
                        }
                        _ => open,
                    }
                }
                TokenKind::Word | TokenKind::Quoted(_) | TokenKind::Text(_) | TokenKind::Number => last,
                _ => return None,
            };
            let is_before = |back: usize, sign| first.checked_sub(back).is_some_and(|at| self.is_sign(at, sign));
            last = match first {
                2.. if is_before(1, '.') => first - 2,
                3.. if is_before(1, ':') && is_before(2, ':') => first - 3,
                _ => return Some(first),
            };
        }
    }

    /// Returns the last token of the operand that begins here; none if a sign is here.
    fn operand_end(self, mut at: usize) -> Option<usize> {
        loop {
            let mut end = match self.tokens.get(at)?.kind {
                TokenKind::Open(close) => close,
                TokenKind::Word | TokenKind::Quoted(_) => self.bracket(at + 1).unwrap_or(at),
                TokenKind::Number | TokenKind::Text(_) => at,
                _ => return None,
            };
            while let Some(TokenKind::Open(close)) = self.tokens.get(end + 1).map(|token| &token.kind) {
                end = *close;
            }
            if !self.is_sign(end + 1, '.') {
                return Some(end);
            }
            at = end + 2;
        }
    }

    /// Returns whether an operand ends before the token.
    fn ends_operand(self, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| &self.tokens[before].kind);
        matches!(
            before,
            Some(TokenKind::Word | TokenKind::Quoted(_) | TokenKind::Number | TokenKind::Text(_) | TokenKind::Close)
        )
    }

    /// Returns whether the word is an operator, as in `a DIV (b)`.
    fn is_operator(self, at: usize) -> bool {
        self.ends_operand(at) && self.word(at).is_some_and(|word| is_one_of(word, &["DIV", "MOD"]))
    }

    fn data_type(self, tokens: &[Token]) -> Option<Type> {
        let span = tokens.first()?.span.start..tokens.last()?.span.end;
        Some(super::parse(&self.text[span]).ok()?.ty)
    }

    /// Returns the token that closes the parenthesis that opens here.
    fn bracket(self, at: usize) -> Option<usize> {
        let token = self.tokens.get(at)?;
        match token.kind {
            TokenKind::Open(close) if self.text[token.span.clone()] == *"(" => Some(close),
            _ => None,
        }
    }

    fn word(self, at: usize) -> Option<&'t str> {
        let token = self.tokens.get(at)?;
        (token.kind == TokenKind::Word).then(|| &self.text[token.span.clone()])
    }

    fn is_sign(self, at: usize, sign: char) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| token.kind == TokenKind::Sign(sign))
    }
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Returns each call as `function(argument; …) → target`.
    fn shown(text: &str) -> Vec<String> {
        let shown = |call: Call| {
            assert!(text.get(call.span.clone()).is_some());
            let arguments: Vec<_> = call.arguments.iter().map(|argument| &*argument.normal).collect();
            let target = call.target.map(|ty| format!(" → {ty}")).unwrap_or_default();
            format!("{}({}){target}", call.function, arguments.join("; "))
        };
        calls(text).into_iter().map(shown).collect()
    }

    #[test]
    fn calls_are_found_with_their_arguments() {
        for (text, expected) in [
            ("a + 1", &[] as &[&str]),
            ("toUInt32(a)", &["toUInt32(a)"]),
            ("f(g(a, 2), b[1])", &["f(g ( a , 2 ); b [ 1 ])", "g(a; 2)"]),
            ("CAST(a AS UInt8)", &["CAST(a) → UInt8"]),
            (
                "cast(f(a, 'x'), 'Date')",
                &["CAST(f ( a , 'x' ); 'Date') → Date", "f(a; 'x')"],
            ),
            ("a::Date", &["CAST(a) → Date"]),
            // The scanner reports a type with brackets as a function, which is harmless.
            (
                "a.b[1]::Decimal(9, 2)",
                &["CAST(a . b [ 1 ]) → Decimal(9, 2)", "Decimal(9; 2)"],
            ),
            (
                "1 + lower(a)::UInt8::String",
                &[
                    "lower(a)",
                    "CAST(lower ( a )) → UInt8",
                    "CAST(lower ( a ) : : UInt8) → String",
                ],
            ),
            ("a % b", &["modulo(a; b)"]),
            ("(a + 1) % t.b", &["modulo(a + 1; t . b)"]),
            ("a DIV (b)", &["intDiv(a; b)"]),
            ("a mod f(b)", &["modulo(a; f ( b ))", "f(b)"]),
            ("mod(a, b)", &["mod(a; b)"]),
            ("a / -b", &[]),
            ("(a", &[]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn guarded_calls_are_recognized() {
        let guarded = |text: &str| -> Vec<_> {
            let guarded = calls(text).into_iter().filter(|call| call.is_guarded);
            guarded.map(|call| call.function).collect()
        };
        for (text, expected) in [
            ("if(a, f(b), g(c))", &["f", "g"] as &[&str]),
            ("multiIf(a, f(b), c, g(d), e)", &["f", "g"]),
            ("a AND f(b)", &["f"]),
            ("or(a, f(b))", &["f"]),
            ("a ? f(b) : c", &["f"]),
            ("CASE WHEN a THEN f(b) ELSE g(c) END", &["f", "g"]),
            ("(a OR (b + f(c)))", &["f"]),
        ] {
            assert_eq!(guarded(text), expected, "{text}");
        }
        assert!(guarded("if(f(a), b, c)").is_empty());
        assert!(guarded("a AND b, f(c)").is_empty());
    }
}
