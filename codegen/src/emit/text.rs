//! Text: string literals and comments with a text of the schema, as readable as Rust allows.

use std::borrow::Cow;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// Returns a string literal that shows a text of several lines as it is, if Rust can.
pub(super) fn raw_string(text: &str) -> TokenStream {
    let is_plain = text.chars().all(|c| matches!(c, '\n' | '\t') || is_visible(c));
    // The quotes of the text are followed by fewer `#` than the literal's own.
    let hashes = (0..255).map(|count| "#".repeat(count));
    let raw = hashes
        .filter(|hashes| !text.contains(&format!("\"{hashes}")))
        .find_map(|hashes| format!("r{hashes}\"{text}\"{hashes}").parse::<Literal>().ok())
        .filter(|_| is_plain);
    raw.map_or_else(|| quote!(#text), |raw| quote!(#raw))
}

/// Returns whether a character may be in a comment or a raw string: rustc rejects characters that
/// change the direction of text, and control characters are unreadable.
pub(super) fn is_visible(c: char) -> bool {
    !c.is_control() && !changes_direction(c)
}

fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns a text with an escape for each character that a comment cannot have.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_visible(c) {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
        })
        .collect()
}

/// Returns a line of items whose documentation has no character that changes the direction of text:
/// rustc rejects it there, also as an escape. Only documentation has such a character as it is.
pub(super) fn with_visible_docs(line: &str) -> Cow<'_, str> {
    const ESCAPE: &str = "\\u{20";
    if line.contains(changes_direction) {
        return Cow::Owned(visible(line));
    }
    if line.contains(ESCAPE) && line.trim_start().starts_with("#[doc = ") {
        return Cow::Owned(line.replace(ESCAPE, "\\\\u{20"));
    }
    Cow::Borrowed(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_raw_string_has_the_value_of_its_text() {
        for (text, is_raw) in [
            ("a\n    b", true),
            ("", true),
            ("say \"hi\"", true),
            ("\"#, \"##", true),
            ("a \\ backslash\\", true),
            ("имя, ü", true),
            ("a\r\nb", false),
            ("a\tb", true),
            ("\u{202e}abc", false),
            ("\u{1}0", false),
        ] {
            let literal = raw_string(text);
            assert_eq!(literal.to_string().starts_with('r'), is_raw, "{text:?}");
            assert_eq!(syn::parse2::<syn::LitStr>(literal).unwrap().value(), text);
        }
    }
}
