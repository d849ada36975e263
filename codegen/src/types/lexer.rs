//! The lexer: text into tokens, each with its bytes, brackets already paired.
//!
//! The lexer follows ClickHouse's rules for words, numbers, quotes, `$$` texts and comments. It
//! guarantees that each bracket has its partner, so that later stages can step over parts that they
//! do not read.

use std::ops::Range;

use super::error::TypeError;

/// One piece of a declaration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Range<usize>,
}

/// The kind of a [`Token`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A bare name or keyword.
    Word,
    /// A name in backquotes or double quotes, escapes resolved.
    Quoted(String),
    /// A string, escapes resolved; `None` if its bytes are not UTF-8.
    Text(Option<String>),
    /// A number without a sign.
    Number,
    /// An opening bracket, and the index of the token that closes it.
    Open(usize),
    /// A closing bracket.
    Close,
    /// Any other sign, one character each.
    Sign(char),
}

/// Splits `text` into tokens.
///
/// # Errors
/// Returns the problems: unclosed quotes, comments and brackets, and characters without a meaning.
pub(crate) fn lex(text: &str) -> Result<Vec<Token>, Vec<TypeError>> {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
        problems: Vec::new(),
    };
    while lexer.next() {}
    let Lexer {
        mut tokens,
        mut problems,
        ..
    } = lexer;
    if problems.is_empty() {
        pair_brackets(text, &mut tokens, &mut problems);
    }
    if problems.is_empty() { Ok(tokens) } else { Err(problems) }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    problems: Vec<TypeError>,
}

impl Lexer<'_> {
    /// Reads one token, space or comment; returns false at the end.
    fn next(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else {
            return false;
        };
        match first {
            _ if first.is_whitespace() => self.at += first.len_utf8(),
            '-' if rest.starts_with("--") => self.line_comment(),
            '/' if rest.starts_with("//") => self.line_comment(),
            '#' if rest.starts_with("# ") || rest.starts_with("#!") => self.line_comment(),
            '/' if rest.starts_with("/*") => self.block_comment(),
            '\'' | '"' | '`' => self.quoted(first),
            '$' if self.heredoc() => {}
            'x' | 'X' | 'b' | 'B' if rest[1..].starts_with('\'') => self.encoded(first),
            '0'..='9' => {
                let (length, kind) = number_or_word(rest);
                self.push(kind, length);
            }
            _ if is_word(first) => self.push(TokenKind::Word, word_length(rest)),
            '(' | '[' | '{' => self.push(TokenKind::Open(usize::MAX), 1),
            ')' | ']' | '}' => self.push(TokenKind::Close, 1),
            _ if ".,=<>!+-*/%:?|&^~@;".contains(first) => self.push(TokenKind::Sign(first), 1),
            _ => self.unexpected_character(first),
        }
        true
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token {
            kind,
            span: self.at..self.at + length,
        });
        self.at += length;
    }

    fn problem(&mut self, length: usize, message: impl Into<String>) -> &mut TypeError {
        let index = self.problems.len();
        self.problems
            .push(TypeError::new("type-syntax", self.at..self.at + length, message));
        self.at += length;
        &mut self.problems[index]
    }

    fn line_comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    /// Reads a block comment; these comments nest.
    fn block_comment(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let (mut depth, mut index) = (0_usize, 0);
        while index < rest.len() {
            if rest[index..].starts_with(b"/*") {
                depth += 1;
                index += 2;
            } else if rest[index..].starts_with(b"*/") {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    self.at += index;
                    return;
                }
            } else {
                index += 1;
            }
        }
        self.problem(2, "this comment is not closed").help = Some("close it with `*/`".into());
        self.at = self.text.len();
    }

    fn quoted(&mut self, quote: char) {
        let rest = &self.text[self.at..];
        let Some((length, value)) = unquote(rest, quote as u8) else {
            let help = format!("close it with `{quote}`; a `{quote}` inside it must be written twice");
            let rest = rest.len();
            self.problem(
                rest,
                if quote == '\'' {
                    "this string is not closed"
                } else {
                    "this quoted name is not closed"
                },
            )
            .help = Some(help);
            return;
        };
        match (quote, String::from_utf8(value)) {
            ('\'', value) => self.push(TokenKind::Text(value.ok()), length),
            (_, Ok(name)) if !name.is_empty() => self.push(TokenKind::Quoted(name), length),
            (_, Ok(_)) => drop(self.problem(length, "a name cannot be empty")),
            (_, Err(_)) => drop(self.problem(length, "a name must be UTF-8")),
        }
    }

    /// Reads `x'4142'` or `b'01000001'`, a text written as its bytes; the first byte may have fewer
    /// digits.
    fn encoded(&mut self, prefix: char) {
        let (radix, per_byte, kind) = match prefix {
            'x' | 'X' => (16, 2, "hexadecimal"),
            _ => (2, 8, "binary"),
        };
        let rest = &self.text[self.at + 2..];
        let digits = rest
            .bytes()
            .take_while(|byte| char::from(*byte).is_digit(radix))
            .count();
        if !rest[digits..].starts_with('\'') {
            let length = rest.find('\'').map_or(rest.len(), |end| end + 1);
            let _ = self.problem(
                2 + length,
                format!("only {kind} digits are allowed between these quotes"),
            );
            return;
        }
        let first = digits % per_byte;
        let ends = (first..=digits).step_by(per_byte).filter(|end| *end > 0);
        let bytes = ends.filter_map(|end| {
            let byte = &rest[end.saturating_sub(per_byte)..end];
            u8::from_str_radix(byte, radix).ok()
        });
        let text = String::from_utf8(bytes.collect()).ok();
        self.push(TokenKind::Text(text), digits + 3);
    }

    /// Reads `$tag$text$tag$`; returns false if `$` begins a word.
    fn heredoc(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let tag = 1 + rest[1..]
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        let Some(marker) = rest.get(..=tag).filter(|marker| marker.ends_with('$')) else {
            return false;
        };
        let Some(length) = rest[marker.len()..].find(marker) else {
            return false;
        };
        let value = rest[marker.len()..marker.len() + length].to_owned();
        self.push(TokenKind::Text(Some(value)), length + 2 * marker.len());
        true
    }

    fn unexpected_character(&mut self, first: char) {
        let help = match first {
            '‘' | '’' | '“' | '”' | '«' | '»' | '´' => {
                Some("put strings between straight quotes: `'…'`".to_owned())
            }
            _ if first.is_alphabetic() => Some("put names with non-ASCII letters between backquotes".to_owned()),
            _ => None,
        };
        self.problem(
            first.len_utf8(),
            format!("`{}` is not allowed here", first.escape_debug()),
        )
        .help = help;
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

fn word_length(text: &str) -> usize {
    text.bytes().take_while(|byte| is_word(*byte as char)).count()
}

/// Returns the length and the kind of a token that begins with a digit: a number, or with letters a
/// word, as in `5a`.
fn number_or_word(text: &str) -> (usize, TokenKind) {
    let bytes = text.as_bytes();
    let digits = |from: usize, is_digit: fn(&u8) -> bool| {
        let mut end = from;
        while end < bytes.len()
            && (is_digit(&bytes[end])
                || (bytes[end] == b'_'
                    && end > from
                    && bytes[end - 1] != b'_'
                    && bytes.get(end + 1).is_some_and(is_digit)))
        {
            end += 1;
        }
        end
    };
    let (mut end, is_digit, exponent): (_, fn(&u8) -> bool, _) = match bytes {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (2, u8::is_ascii_hexdigit, b'p'),
        [b'0', b'b', b'0' | b'1', ..] => (2, |byte| matches!(byte, b'0' | b'1'), 0),
        _ => (0, u8::is_ascii_digit, b'e'),
    };
    end = digits(end, is_digit);
    if exponent != 0 {
        if bytes.get(end) == Some(&b'.') {
            end = digits(end + 1, is_digit);
        }
        if bytes.get(end).is_some_and(|byte| byte.to_ascii_lowercase() == exponent) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let power = digits(end + 1 + sign, u8::is_ascii_digit);
            if power > end + 1 + sign {
                end = power;
            }
        }
    }
    let word = word_length(text);
    if word > end {
        (word, TokenKind::Word)
    } else {
        (end, TokenKind::Number)
    }
}

/// Returns the length of the quoted piece at the start of `text`, and its value.
///
/// The escapes are ClickHouse's: unknown ones keep their backslash, `\N` is empty.
fn unquote(text: &str, quote: u8) -> Option<(usize, Vec<u8>)> {
    let bytes = text.as_bytes();
    let (mut index, mut value) = (1, Vec::new());
    loop {
        let byte = *bytes.get(index)?;
        index += 1;
        if byte == quote {
            if bytes.get(index) != Some(&quote) {
                return Some((index, value));
            }
            index += 1;
            value.push(quote);
        } else if byte == b'\\' {
            let escaped = *bytes.get(index)?;
            index += 1;
            match escaped {
                b'a' => value.push(0x07),
                b'b' => value.push(0x08),
                b'e' => value.push(0x1b),
                b'f' => value.push(0x0c),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'v' => value.push(0x0b),
                b'0' => value.push(0),
                b'N' => {}
                b'\\' | b'\'' | b'"' | b'`' | b'/' | b'=' => value.push(escaped),
                b'x' => match bytes.get(index..index + 2).and_then(hex_byte) {
                    Some(byte) => {
                        value.push(byte);
                        index += 2;
                    }
                    None => value.extend(b"\\x"),
                },
                _ => value.extend([b'\\', escaped]),
            }
        } else {
            value.push(byte);
        }
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| digits.get(index).and_then(|byte| (*byte as char).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn pair_brackets(text: &str, tokens: &mut [Token], problems: &mut Vec<TypeError>) {
    let mut open = Vec::new();
    for index in 0..tokens.len() {
        let span = tokens[index].span.clone();
        match tokens[index].kind {
            TokenKind::Open(_) => open.push(index),
            TokenKind::Close => {
                let closing = &text[span.clone()];
                match open.pop() {
                    Some(start) if closing_of(&text[tokens[start].span.clone()]) == closing => {
                        tokens[start].kind = TokenKind::Open(index);
                    }
                    Some(start) => {
                        let wanted = closing_of(&text[tokens[start].span.clone()]);
                        problems.push(TypeError::new(
                            "type-syntax",
                            span,
                            format!("expected `{wanted}`, found `{closing}`"),
                        ));
                        return;
                    }
                    None => {
                        problems.push(
                            TypeError::new("type-syntax", span, format!("this `{closing}` has no opening bracket"))
                                .help(format!("remove the `{closing}`")),
                        );
                        return;
                    }
                }
            }
            _ => {}
        }
    }
    for index in open {
        let span = tokens[index].span.clone();
        let bracket = &text[span.clone()];
        problems.push(
            TypeError::new("type-syntax", span, format!("this `{bracket}` is not closed"))
                .help(format!("add a `{}`", closing_of(bracket))),
        );
    }
}

fn closing_of(bracket: &str) -> &'static str {
    match bracket {
        "[" => "]",
        "{" => "}",
        _ => ")",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        lex(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    fn text(value: &str) -> TokenKind {
        TokenKind::Text(Some(value.to_owned()))
    }

    #[test]
    fn escapes_are_resolved_as_in_clickhouse() {
        assert_eq!(kinds(r"'a\'b''c\\d'"), [text(r"a'b'c\d")]);
        assert_eq!(kinds(r"'\n\t\x41\N\q\/'"), [text("\n\tA\\q/")]);
        assert_eq!(kinds(r"'\xff'"), [TokenKind::Text(None)]);
        assert_eq!(kinds("$$a'b$$ $t$c$$d$t$"), [text("a'b"), text("c$$d")]);
    }

    #[test]
    fn names_are_quoted_in_two_ways() {
        assert_eq!(
            kinds(r#"`a``b` "c""d" `e\`f`"#),
            ["a`b", "c\"d", "e`f"].map(|name| TokenKind::Quoted(name.to_owned()))
        );
    }

    #[test]
    fn digits_with_letters_are_words() {
        for number in ["0", "1_000", "1.5", "5.", "1e-5", "0x1F", "0b11", "0x1.8p4", "1_0.5_0"] {
            assert_eq!(kinds(number), [TokenKind::Number], "{number}");
        }
        for word in ["5a", "0x", "1_", "1__0", "0b12"] {
            assert_eq!(kinds(word), [TokenKind::Word], "{word}");
        }
    }

    #[test]
    fn comments_are_skipped() {
        let lexed = lex("a -- b\n/* c /* d */ e */ f // g\n# h\n#! i").unwrap();
        assert_eq!(
            lexed.iter().map(|token| token.span.clone()).collect::<Vec<_>>(),
            [0..1, 25..26]
        );
    }

    #[test]
    fn open_brackets_have_the_index_of_their_partner() {
        assert_eq!(kinds("([])")[..2], [TokenKind::Open(3), TokenKind::Open(2)]);
    }

    #[test]
    fn lexical_errors_have_their_spans() {
        for (source, message, span) in [
            ("a 'b", "this string is not closed", 2..4),
            ("`b", "this quoted name is not closed", 0..2),
            ("``", "a name cannot be empty", 0..2),
            ("a /* b", "this comment is not closed", 2..4),
            ("a(b", "this `(` is not closed", 1..2),
            ("a)", "this `)` has no opening bracket", 1..2),
            ("a(b]", "expected `)`, found `]`", 3..4),
            ("a ‘b", "`‘` is not allowed here", 2..5),
            ("a \\", "`\\\\` is not allowed here", 2..3),
        ] {
            let problems = lex(source).unwrap_err();
            assert_eq!(
                (problems[0].message.as_str(), problems[0].span.clone()),
                (message, span),
                "{source}"
            );
        }
    }
}
