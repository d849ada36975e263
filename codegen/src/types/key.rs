//! The elements of a key: the parts between the commas of `(date, toHour(time) DESC)`.

use std::ops::Range;

use super::{
    cursor::Cursor,
    lexer::{self, Token, TokenKind},
    literal::Literal,
    reference::{Reference, references},
};

/// One element of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyElement {
    /// The place in the key.
    pub(crate) span: Range<usize>,
    /// The tokens, with one space between them: the same for two elements that differ only in white
    /// space, comments and quotes around names.
    pub(crate) normal: String,
    pub(crate) kind: KeyElementKind,
}

/// The kind of a [`KeyElement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyElementKind {
    /// A column, or a subcolumn of it.
    Column(Reference),
    Constant,
    /// A function, with its arguments if each of them is an element.
    Call(String, Vec<KeyElement>),
    /// An element of an array, or a value of a map.
    Index(Box<KeyElement>),
    Other,
}

impl KeyElement {
    /// Returns the column, if the element is only a column.
    pub(crate) fn column(&self) -> Option<&Reference> {
        match &self.kind {
            KeyElementKind::Column(reference) => Some(reference),
            _ => None,
        }
    }

    /// Returns whether the text identifies the element: two such elements with different texts are
    /// different.
    pub(crate) fn is_plain(&self) -> bool {
        match &self.kind {
            KeyElementKind::Column(_) | KeyElementKind::Constant => true,
            KeyElementKind::Call(_, arguments) => arguments.iter().all(Self::is_plain),
            KeyElementKind::Index(_) | KeyElementKind::Other => false,
        }
    }
}

/// The maximum depth of calls in calls, and of brackets in brackets.
pub(super) const MAX_DEPTH: usize = 4;

/// Returns the elements of a key; `None` if the key cannot be read.
pub(crate) fn key_elements(text: &str) -> Option<Vec<KeyElement>> {
    let tokens = lexer::lex(text).ok()?;
    let mut tokens = tokens.as_slice();
    // The list may be between brackets, or be the call `tuple(…)`.
    for _ in 0..MAX_DEPTH {
        let is_tuple = match tokens {
            [first, rest @ ..] if first.kind == TokenKind::Word => {
                text[first.span.clone()].eq_ignore_ascii_case("tuple") && is_bracketed(text, rest)
            }
            _ => false,
        };
        if is_tuple {
            tokens = &tokens[2..tokens.len() - 1];
            break;
        }
        if !is_bracketed(text, tokens) {
            break;
        }
        tokens = &tokens[1..tokens.len() - 1];
    }
    Some(elements(text, tokens, MAX_DEPTH))
}

/// Returns whether one pair of parentheses encloses all tokens.
fn is_bracketed(text: &str, tokens: &[Token]) -> bool {
    let [first, .., last] = tokens else {
        return false;
    };
    let depth = tokens
        .iter()
        .scan(0_isize, |depth, token| {
            match token.kind {
                TokenKind::Open(_) => *depth += 1,
                TokenKind::Close => *depth -= 1,
                _ => {}
            }
            Some(*depth)
        })
        .take(tokens.len() - 1)
        .min();
    &text[first.span.clone()] == "(" && last.kind == TokenKind::Close && depth.is_some_and(|depth| depth > 0)
}

/// Splits at the commas outside of brackets.
pub(super) fn elements(text: &str, tokens: &[Token], depth: usize) -> Vec<KeyElement> {
    let mut open = 0_usize;
    tokens
        .split(|token| {
            match token.kind {
                TokenKind::Open(_) => open += 1,
                TokenKind::Close => open = open.saturating_sub(1),
                _ => {}
            }
            open == 0 && token.kind == TokenKind::Sign(',')
        })
        .filter_map(|tokens| element(text, tokens, depth))
        .collect()
}

pub(super) fn element(text: &str, mut tokens: &[Token], depth: usize) -> Option<KeyElement> {
    const DIRECTIONS: [&str; 4] = ["ASC", "ASCENDING", "DESC", "DESCENDING"];
    let is_direction = |token: &Token| {
        let word = &text[token.span.clone()];
        token.kind == TokenKind::Word && DIRECTIONS.iter().any(|known| known.eq_ignore_ascii_case(word))
    };
    if let [rest @ .., last] = tokens
        && !rest.is_empty()
        && is_direction(last)
    {
        tokens = rest;
    }
    for _ in 0..MAX_DEPTH {
        if is_bracketed(text, tokens) && !has_comma(tokens) {
            tokens = &tokens[1..tokens.len() - 1];
        }
    }
    let (first, last) = (tokens.first()?, tokens.last()?);
    let span = first.span.start..last.span.end;
    let words: Vec<&str> = tokens
        .iter()
        .map(|token| match &token.kind {
            TokenKind::Quoted(name) => name.as_str(),
            _ => &text[token.span.clone()],
        })
        .collect();
    Some(KeyElement {
        normal: words.join(" "),
        kind: kind(text, tokens, &span, depth),
        span,
    })
}

fn has_comma(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind == TokenKind::Sign(','))
}

fn kind(text: &str, tokens: &[Token], span: &Range<usize>, depth: usize) -> KeyElementKind {
    let part = &text[span.clone()];
    if Literal::of_expression(part).is_some() {
        return KeyElementKind::Constant;
    }
    if let [name, rest @ ..] = tokens
        && name.kind == TokenKind::Word
        && is_bracketed(text, rest)
        && let Some(depth) = depth.checked_sub(1)
    {
        let arguments = elements(text, &rest[1..rest.len() - 1], depth);
        return KeyElementKind::Call(text[name.span.clone()].to_owned(), arguments);
    }
    match references(part).as_slice() {
        [only] if only.span == (0..part.len()) => KeyElementKind::Column(Reference {
            parts: only.parts.clone(),
            span: span.clone(),
        }),
        _ => indexed(text, tokens, depth).map_or(KeyElementKind::Other, |of| KeyElementKind::Index(Box::new(of))),
    }
}

/// Returns the value that the index at the end selects from.
fn indexed(text: &str, tokens: &[Token], depth: usize) -> Option<KeyElement> {
    let last = tokens.last()?;
    let mut open_brackets = 0_usize;
    let open = tokens.iter().rposition(|token| {
        match token.kind {
            TokenKind::Close => open_brackets += 1,
            TokenKind::Open(_) => open_brackets = open_brackets.saturating_sub(1),
            _ => {}
        }
        open_brackets == 0
    })?;
    let is_index = last.kind == TokenKind::Close && &text[tokens[open].span.clone()] == "[";
    let is_one = tokens[..open]
        .iter()
        .all(|token| !matches!(token.kind, TokenKind::Sign(sign) if sign != '.'));
    (is_index && is_one).then(|| element(text, &tokens[..open], depth.checked_sub(1)?))?
}

/// Returns whether the text has a comma outside of all brackets.
pub(crate) fn is_bare_list(text: &str) -> bool {
    let Ok(tokens) = lexer::lex(text) else {
        return false;
    };
    let mut cursor = Cursor::new(text, &tokens);
    cursor.skip_to_comma();
    !cursor.is_done()
}

/// Returns the names of the types in a printed type.
pub(crate) fn type_names(printed: &str) -> impl Iterator<Item = &str> {
    let tokens = lexer::lex(printed).unwrap_or_default();
    let is_word = |token: &Token| token.kind == TokenKind::Word;
    // The first of two words is the name of an element.
    let names: Vec<Range<usize>> = tokens
        .iter()
        .enumerate()
        .filter(|(index, token)| is_word(token) && !tokens.get(index + 1).is_some_and(is_word))
        .map(|(_, token)| token.span.clone())
        .collect();
    names.into_iter().map(|span| &printed[span])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn normals(text: &str) -> Vec<String> {
        let elements = key_elements(text).unwrap();
        elements.into_iter().map(|element| element.normal).collect()
    }

    #[test]
    fn a_key_is_split_into_its_elements() {
        for (text, expected) in [
            ("a", vec!["a"]),
            ("(a, `b` DESC, f( c,1 ))", vec!["a", "b", "f ( c , 1 )"]),
            ("tuple()", vec![]),
            ("()", vec![]),
            ("((a))", vec!["a"]),
            ("(a, (b), )", vec!["a", "b"]),
            ("tuple(a, b)", vec!["a", "b"]),
            ("(a) + (b)", vec!["( a ) + ( b )"]),
            ("(a, (b, c))", vec!["a", "( b , c )"]),
        ] {
            assert_eq!(normals(text), expected, "{text}");
        }
        assert_eq!(key_elements("(a"), None);
    }

    #[test]
    fn elements_have_their_kind() {
        let elements = key_elements("(a.b, toDate(c, 'x'), d + 1, -5)").unwrap();
        assert_eq!(elements[0].column().unwrap().parts, ["a", "b"]);
        assert!(matches!(&elements[1].kind, KeyElementKind::Call(name, arguments)
            if name == "toDate" && arguments.len() == 2));
        assert!(elements[1].is_plain() && !elements[2].is_plain());
        assert_eq!(elements[2].kind, KeyElementKind::Other);
        assert_eq!(elements[3].kind, KeyElementKind::Constant);
    }

    #[test]
    fn element_names_are_not_type_names() {
        let names: Vec<_> = type_names("Tuple(JSON UInt8, `Dynamic` Array(Enum8('JSON' = 1)))").collect();
        assert_eq!(names, ["Tuple", "UInt8", "Array", "Enum8"]);
    }

    #[test]
    fn bare_lists_are_recognized() {
        assert!(is_bare_list("a, b"));
        assert!(!is_bare_list("(a, b)") && !is_bare_list("f(a, b)") && !is_bare_list("'a, b'"));
    }
}
