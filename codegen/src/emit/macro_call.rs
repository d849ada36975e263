//! Macro calls: the text of the tokens between the braces of a call, one entry on each line.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::text::visible;

const INDENT: &str = "    ";

/// Appends the lines of a macro call's tokens, each after `indent`.
pub(super) fn write(tokens: &TokenStream, indent: &str, out: &mut String) {
    let mut writer = Writer {
        out,
        indent: indent.to_owned(),
        before: Before::LineStart,
        brackets: 0,
    };
    writer.tokens(tokens);
    writer.end_line();
}

struct Writer<'o> {
    out: &'o mut String,
    indent: String,
    before: Before,
    /// The number of open `(`, `[` and `<`; a `,` inside of them does not end the line.
    brackets: usize,
}

/// The end of the text so far, which decides whether a space follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    LineStart,
    /// A name, a literal, or the end of brackets.
    Word,
    /// A sign that has a space after it.
    Spaced,
    /// A sign without a space after it.
    Tight,
}

impl Writer<'_> {
    fn tokens(&mut self, tokens: &TokenStream) {
        let mut tokens = tokens.clone().into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some(text) = doc_text(tokens.peek()) {
                        tokens.next();
                        self.end_line();
                        self.push("///", false);
                        self.out.push_str(text.trim_end());
                        self.end_line();
                    } else {
                        self.push("#", false);
                        self.before = Before::Tight;
                    }
                }
                TokenTree::Punct(punct) => {
                    let mut sign = punct.as_char().to_string();
                    if punct.spacing() == Spacing::Joint
                        && let Some(TokenTree::Punct(next)) = tokens.peek()
                        && matches!((punct.as_char(), next.as_char()), (':', ':') | ('=', '>'))
                    {
                        sign.push(next.as_char());
                        tokens.next();
                    }
                    self.sign(&sign);
                }
                TokenTree::Group(group) => match group.delimiter() {
                    Delimiter::Brace => {
                        self.push("{", true);
                        self.end_line();
                        self.indent.push_str(INDENT);
                        self.tokens(&group.stream());
                        self.end_line();
                        self.indent.truncate(self.indent.len() - INDENT.len());
                        self.push("}", false);
                        self.end_line();
                    }
                    Delimiter::Parenthesis => self.group("(", &group.stream(), ")"),
                    Delimiter::Bracket => self.group("[", &group.stream(), "]"),
                    Delimiter::None => self.tokens(&group.stream()),
                },
                TokenTree::Ident(_) | TokenTree::Literal(_) => {
                    self.push(&token.to_string(), self.before == Before::Word);
                    self.before = Before::Word;
                }
            }
        }
    }

    fn group(&mut self, open: &str, tokens: &TokenStream, close: &str) {
        self.push(open, false);
        self.before = Before::Tight;
        self.brackets += 1;
        self.tokens(tokens);
        self.brackets -= 1;
        self.before = Before::Tight;
        self.push(close, false);
        self.before = Before::Word;
    }

    fn sign(&mut self, sign: &str) {
        let is_spaced = matches!(sign, "=" | "=>");
        self.push(sign, is_spaced);
        match sign {
            "," | ";" if self.brackets == 0 => self.end_line(),
            "," | ";" | ":" | "=" | "=>" => self.before = Before::Spaced,
            "<" => {
                self.brackets += 1;
                self.before = Before::Tight;
            }
            ">" => {
                self.brackets = self.brackets.saturating_sub(1);
                self.before = Before::Word;
            }
            _ => self.before = Before::Tight,
        }
    }

    /// Appends a token. A space is before it if `is_spaced`, or if the sign before it has one.
    fn push(&mut self, text: &str, is_spaced: bool) {
        let is_after_sign = self.before == Before::Spaced && !matches!(text, "," | ";");
        match self.before {
            Before::LineStart => self.out.push_str(&self.indent),
            _ if is_spaced || is_after_sign => self.out.push(' '),
            _ => {}
        }
        self.out.push_str(text);
        self.before = Before::Tight;
    }

    fn end_line(&mut self) {
        if self.before != Before::LineStart {
            self.out.push('\n');
            self.before = Before::LineStart;
        }
    }
}

/// Returns the attribute's text, as a comment can have it, if the tokens after a `#` are
/// `[doc = "…"]`.
fn doc_text(after_hash: Option<&TokenTree>) -> Option<String> {
    let Some(TokenTree::Group(group)) = after_hash else {
        return None;
    };
    if group.delimiter() != Delimiter::Bracket {
        return None;
    }
    let mut tokens = group.stream().into_iter();
    let (Some(TokenTree::Ident(name)), Some(_), Some(TokenTree::Literal(text))) =
        (tokens.next(), tokens.next(), tokens.next())
    else {
        return None;
    };
    let text = syn::parse_str::<syn::LitStr>(&text.to_string()).ok()?.value();
    (name == "doc").then(|| visible(&text))
}
