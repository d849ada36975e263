//! The arguments of a type: lists in brackets, and the numbers and strings in them.

use std::ops::Range;

use super::{
    ast::quote_text,
    error::TypeError,
    grammar::{Grammar, RESERVED},
    lexer::TokenKind,
    literal,
};

/// An argument and its bytes.
pub(super) type Argument<T> = (T, Range<usize>);

/// An argument that ClickHouse reads and ignores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    WholeNumber,
    Other,
}

/// The arguments of a type; also empty if there are no brackets.
pub(super) struct Arguments<T> {
    pub(super) items: Vec<Argument<T>>,
    /// The brackets with their content, or the type's name if there are no brackets.
    pub(super) span: Range<usize>,
}

impl Grammar<'_> {
    /// Reads a whole number, which may have a plus before it; a minus is always an error.
    pub(super) fn number(&mut self) -> Option<u64> {
        let start = self.cursor.here().start;
        let is_negative = self.cursor.is_sign('-');
        if is_negative || self.cursor.is_sign('+') {
            self.cursor.next();
        }
        let Some(token) = self.cursor.peek().filter(|token| token.kind == TokenKind::Number) else {
            return self.problem(self.cursor.expected("a number"));
        };
        self.cursor.next();
        let value = literal::whole_number(self.cursor.slice(token.span.clone()));
        if is_negative || value.is_none() {
            let span = self.cursor.since(start);
            let message = format!(
                "expected a whole number from 0, found `{}`",
                self.cursor.slice(span.clone())
            );
            return self.problem(TypeError::new("type-arguments", span, message));
        }
        value
    }

    /// Reads any argument in a position that ClickHouse ignores.
    pub(super) fn anything(&mut self) -> Option<Ignored> {
        let is_signed = self.cursor.is_sign('-') || self.cursor.is_sign('+');
        if is_signed {
            self.cursor.next();
        }
        let ignored = match self.cursor.peek().map(|token| &token.kind) {
            Some(TokenKind::Number) => {
                let is_whole_number = literal::whole_number(self.cursor.slice(self.cursor.here())).is_some();
                if is_whole_number && !is_signed {
                    Ignored::WholeNumber
                } else {
                    Ignored::Other
                }
            }
            Some(TokenKind::Text(_) | TokenKind::Word | TokenKind::Quoted(_)) if !is_signed => Ignored::Other,
            _ => return self.problem(self.cursor.expected("an argument")),
        };
        self.cursor.next();
        Some(ignored)
    }

    /// Adds a warning that ClickHouse ignores an argument.
    pub(super) fn ignored_argument(&mut self, span: Range<usize>, why: &str, help: impl Into<String>) {
        let message = format!("ClickHouse ignores `{}`: {why}", self.cursor.slice(span.clone()));
        self.warnings
            .push(TypeError::warning("read-over", span, message).help(help));
    }

    /// Reads a string; `what` describes it in messages.
    pub(super) fn text(&mut self, what: &str) -> Option<String> {
        match self.cursor.peek().map(|token| &token.kind) {
            Some(TokenKind::Text(Some(text))) => {
                let span = self.cursor.here();
                let written = self.cursor.slice(span.clone());
                if !written.starts_with(['\'', '$']) {
                    let message = format!("ClickHouse reads `{written}` as the string `{}`", text.escape_debug());
                    let warning = TypeError::warning("encoded-text", span, message);
                    let help = format!("write `{}`", quote_text(text));
                    let is_readable = !text.contains(char::is_control);
                    self.warnings
                        .push(if is_readable { warning.help(help) } else { warning });
                }
                self.cursor.next();
                Some(text.clone())
            }
            Some(TokenKind::Text(None)) => {
                let span = self.cursor.here();
                self.cursor.next();
                self.problem(TypeError::new("type-arguments", span, format!("{what} must be UTF-8")))
            }
            _ => {
                let problem = self.cursor.expected(&format!("{what} between single quotes"));
                let problem = match self.cursor.name() {
                    Some(name) => problem.help(format!("write `{}`", quote_text(&name))),
                    None => problem,
                };
                self.problem(problem)
            }
        }
    }

    /// Reads exactly `N` arguments.
    pub(super) fn exactly<T, const N: usize>(
        &mut self,
        name: &Range<usize>,
        wanted: &str,
        item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<[Argument<T>; N]> {
        let Arguments { items, span } = self.arguments(name, item)?;
        match items.try_into() {
            Ok(items) => Some(items),
            Err(_) => self.wrong_count(name, span, wanted),
        }
    }

    /// Records that the type does not have these arguments.
    pub(super) fn wrong_count<T>(&mut self, name: &Range<usize>, span: Range<usize>, wanted: &str) -> Option<T> {
        let shown = self.cursor.slice(name.clone());
        let has_none = span == *name;
        let problem = TypeError::new("type-arguments", span, format!("`{shown}` takes {wanted}"));
        self.problem(if has_none {
            problem.help(format!("write `{shown}(…)`"))
        } else {
            problem
        })
    }

    /// Reads a list in brackets, which may end in a comma; returns `None` if any item has a
    /// problem.
    pub(super) fn arguments<T>(
        &mut self,
        name: &Range<usize>,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Arguments<T>> {
        let Some((inner, span)) = self.cursor.enter("(") else {
            return Some(Arguments {
                items: Vec::new(),
                span: name.clone(),
            });
        };
        let after = std::mem::replace(&mut self.cursor, inner);
        let (mut items, mut is_sound) = (Vec::new(), true);
        while !self.cursor.is_done() {
            let start = self.cursor.here().start;
            let value = item(self);
            if value.is_some() && !self.cursor.is_done() && !self.cursor.is_sign(',') {
                is_sound = false;
                self.unexpected_in_list();
            }
            match value {
                Some(value) => items.push((value, self.cursor.since(start))),
                None => is_sound = false,
            }
            self.cursor.skip_to_comma();
            self.cursor.eat_sign(',');
        }
        self.cursor = after;
        is_sound.then_some(Arguments { items, span })
    }

    fn unexpected_in_list(&mut self) {
        let mut problem = self.cursor.expected("`,` or `)`");
        if self.cursor.is_keyword(0, "NULL") {
            problem = problem.help("inside a type, write `Nullable(…)` for NULL");
        } else if self
            .cursor
            .word()
            .is_some_and(|word| RESERVED.iter().any(|known| known.eq_ignore_ascii_case(word)))
        {
            problem = problem.help("write modifiers after the type of the whole column");
        }
        self.problems.push(problem);
    }
}
