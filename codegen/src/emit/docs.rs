//! Turns comments in the schema into rustdoc, escaping text that Markdown would interpret.

use crate::model::{Column, Table};

/// Returns the documentation of a table's row.
pub(super) fn row(table: &Table) -> Vec<String> {
    let mut docs = vec![format!(" A row of `{}`.", table.name)];
    for paragraph in paragraphs(table.comment.as_deref(), &table.doc_comments) {
        docs.push(String::new());
        docs.extend(lines(&paragraph));
    }
    docs
}

/// Returns the documentation of a column's field.
pub(super) fn field(column: &Column) -> Vec<String> {
    let mut docs = Vec::new();
    for paragraph in paragraphs(column.declaration.comment.as_deref(), &column.doc_comments) {
        docs.extend(lines(&paragraph));
        docs.push(String::new());
    }
    docs.push(format!(" `{}`{}", column.declaration.ty, event_keys_text(column)));
    docs
}

/// Returns the part of a column's documentation on its values in events; it follows the type.
fn event_keys_text(column: &Column) -> String {
    let event = &column.event;
    let mut text = String::new();
    if event.is_required {
        text.push_str(", required");
    }
    if !event.from.is_empty() {
        let paths: Vec<String> = event.from.iter().map(|path| format!("`{}`", path.text)).collect();
        text.push_str(&format!(", from {}", paths.join(" or ")));
    }
    if let Some(source) = &event.source {
        text.push_str(&format!(", from `{}`", source.key.text));
    }
    if let Some(max_bytes) = event.max_bytes {
        text.push_str(&format!(", of at most {max_bytes} bytes"));
    }
    text
}

/// Returns the comments, paragraph by paragraph.
fn paragraphs(comment: Option<&str>, doc_comments: &[String]) -> impl Iterator<Item = String> {
    let doc_comments = (!doc_comments.is_empty()).then(|| doc_comments.join("\n"));
    comment.map(str::to_owned).into_iter().chain(doc_comments)
}

/// Returns the lines of a text, escaped so that Markdown shows them as they are: rustdoc does not
/// test any line as code, and finds no tags, and no links except web addresses.
fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| match line.trim() {
        "" => String::new(),
        line => format!(" {}", escaped(line)),
    })
}

fn escaped(line: &str) -> String {
    // Code remains code if it is closed on its line.
    let keeps_code = line.matches('`').count().is_multiple_of(2) && !line.contains("``");
    let mut escaped = String::with_capacity(line.len());
    if line.starts_with("~~~") {
        escaped.push('\\');
    }
    let (mut rest, mut is_code) = (line, false);
    while let Some(c) = rest.chars().next() {
        let address = if is_code { 0 } else { address_length(rest) };
        if address > 0 {
            escaped.push_str(&format!("<{}>", &rest[..address]));
            rest = &rest[address..];
            continue;
        }
        match c {
            '`' if keeps_code => is_code = !is_code,
            '`' | '\\' | '[' | ']' | '<' | '>' if !is_code => escaped.push('\\'),
            _ => {}
        }
        escaped.push(c);
        rest = &rest[c.len_utf8()..];
    }
    escaped
}

/// Returns the length of the web address that begins here, without the punctuation after it.
fn address_length(text: &str) -> usize {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return 0;
    }
    let end = text
        .find(|c: char| c.is_whitespace() || c.is_control() || "<>\"`[]()\\".contains(c))
        .unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        lines(text).collect()
    }

    #[test]
    fn markdown_syntax_is_escaped() {
        for (text, expected) in [
            ("plain, and *so* on", "plain, and *so* on"),
            ("an [array] of <T>", "an \\[array\\] of \\<T\\>"),
            ("as `Vec<[u8]>` has it", "as `Vec<[u8]>` has it"),
            ("a ` alone, and <b>", "a \\` alone, and \\<b\\>"),
            ("```rust", "\\`\\`\\`rust"),
            ("~~~", "\\~~~"),
            ("    indented", "indented"),
            (
                "see https://example.org/a_b?c=[d].",
                "see <https://example.org/a_b?c=>\\[d\\].",
            ),
            ("(https://example.org).", "(<https://example.org>)."),
            ("C:\\x", "C:\\\\x"),
        ] {
            assert_eq!(shown(text), [format!(" {expected}")], "{text}");
        }
        assert_eq!(shown("a\n\n\tb"), [" a", "", " b"]);
    }
}
