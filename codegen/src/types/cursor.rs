//! The cursor: the position of the grammar in the tokens, and queries about this position.

use std::ops::Range;

use super::{
    error::TypeError,
    lexer::{Token, TokenKind},
};

/// A position among the tokens of a text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
    /// The token that closes the current bracket, or the end of the tokens.
    end: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(text: &'t str, tokens: &'t [Token]) -> Self {
        Self {
            text,
            tokens,
            at: 0,
            end: tokens.len(),
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Moves to a position that [`Cursor::at`] has returned.
    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.end);
    }

    /// Returns the next token inside the bracket.
    pub(crate) fn peek(&self) -> Option<&'t Token> {
        self.peek_nth(0)
    }

    pub(crate) fn peek_nth(&self, nth: usize) -> Option<&'t Token> {
        self.tokens[..self.end].get(self.at + nth)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    pub(crate) fn next(&mut self) -> Option<&'t Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    pub(crate) fn slice(&self, span: Range<usize>) -> &'t str {
        &self.text[span]
    }

    /// Returns the next token if it is a bare word.
    pub(crate) fn word(&self) -> Option<&'t str> {
        self.word_nth(0)
    }

    pub(crate) fn word_nth(&self, nth: usize) -> Option<&'t str> {
        self.peek_nth(nth)
            .filter(|token| token.kind == TokenKind::Word)
            .map(|token| self.slice(token.span.clone()))
    }

    pub(crate) fn is_keyword(&self, nth: usize, keyword: &str) -> bool {
        self.word_nth(nth)
            .is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    pub(crate) fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(0, keyword);
        self.at += usize::from(found);
        found
    }

    /// Steps over all of `words`, separated by spaces, or over none of them.
    pub(crate) fn eat_keywords(&mut self, words: &str) -> bool {
        let mut count = 0;
        for word in words.split(' ') {
            if !self.is_keyword(count, word) {
                return false;
            }
            count += 1;
        }
        self.at += count;
        true
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.peek().is_some_and(|token| token.kind == TokenKind::Sign(sign))
    }

    pub(crate) fn eat_sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    /// Returns the next token if it is a name, bare or quoted.
    pub(crate) fn name(&self) -> Option<String> {
        match &self.peek()?.kind {
            TokenKind::Quoted(name) => Some(name.clone()),
            _ => self.word().map(str::to_owned),
        }
    }

    pub(crate) fn is_open(&self, nth: usize, bracket: &str) -> bool {
        self.peek_nth(nth)
            .is_some_and(|token| matches!(token.kind, TokenKind::Open(_)) && self.slice(token.span.clone()) == bracket)
    }

    /// Steps over the bracket that begins here; returns a cursor for its content, and the bytes of
    /// the whole bracket.
    pub(crate) fn enter(&mut self, bracket: &str) -> Option<(Self, Range<usize>)> {
        if !self.is_open(0, bracket) {
            return None;
        }
        let token = self.peek()?;
        let TokenKind::Open(close) = token.kind else {
            return None;
        };
        let span = token.span.start..self.tokens.get(close)?.span.end;
        let inner = Self {
            at: self.at + 1,
            end: close,
            ..*self
        };
        self.at = close + 1;
        Some((inner, span))
    }

    /// Steps over one token, or over a whole bracket.
    pub(crate) fn skip(&mut self) {
        match self.peek().map(|token| &token.kind) {
            Some(TokenKind::Open(close)) => self.at = close + 1,
            Some(_) => self.at += 1,
            None => {}
        }
    }

    /// Steps to the comma that ends the current item of a list.
    pub(crate) fn skip_to_comma(&mut self) {
        while !self.is_done() && !self.is_sign(',') {
            self.skip();
        }
    }

    /// Returns the bytes of the next token, or the empty range after the last one.
    pub(crate) fn here(&self) -> Range<usize> {
        match self.tokens.get(self.at) {
            Some(token) => token.span.clone(),
            None => self.text.len()..self.text.len(),
        }
    }

    /// Returns the bytes from `start` to the end of the last token before this position.
    pub(crate) fn since(&self, start: usize) -> Range<usize> {
        let end = self
            .at
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
            .map_or(start, |token| token.span.end);
        start..end.max(start)
    }

    /// Builds the error for a token other than the expected one.
    pub(crate) fn expected(&self, what: &str) -> TypeError {
        let message = match self.tokens.get(self.at) {
            Some(token) => format!("expected {what}, found `{}`", self.slice(token.span.clone())),
            None => format!("expected {what}, found nothing"),
        };
        TypeError::new("type-syntax", self.here(), message)
    }
}
