//! Syntax: errors of files that are not YAML, in words that help the author of a schema.

use crate::{
    diagnostic::Diagnostic,
    source::{Source, Span},
};

const TOO_LARGE: &str = "this file is too large; each YAML alias counts as its whole content";

/// The most pieces of a template that the report shows. They are enough to find the others.
const MAX_MARKS: usize = 20;

/// Returns an error if a file is an EJS template. The original rendered its files as templates
/// before it parsed them as YAML. Rowmill compiles the tables, so it needs all values at build
/// time.
pub(crate) fn template(file: usize, source: &Source) -> Option<Diagnostic> {
    let mut diagnostic = None;
    for (start, _) in source.text.match_indices("<%").take(MAX_MARKS) {
        let line = source.text[start..].lines().next().unwrap_or_default();
        let length = line.find("%>").map_or(line.len(), |end| end + "%>".len());
        let span = Span {
            file,
            range: start..start + length,
        };
        diagnostic = Some(
            diagnostic
                .unwrap_or_else(|| {
                    Diagnostic::error("template", "schema files are YAML, not templates")
                        .help("write the value itself; the program gets addresses and passwords when it starts")
                })
                .label(span, ""),
        );
    }
    diagnostic
}

/// Returns the problem of a file that is not YAML.
pub(crate) fn syntax_error(error: &serde_yaml::Error, file: usize, source: &Source) -> Diagnostic {
    let error = error.without_snippet();
    let range = error.location().map_or(0..0, |location| {
        let start = offset(&source.text, location.line() as usize, location.column() as usize);
        let length = source.text[start..].chars().next().map_or(0, char::len_utf8);
        let length = location
            .span()
            .byte_len()
            .map_or(length, |length| length as usize)
            .max(length);
        start..(start + length).min(source.text.len())
    });
    let message = plain_words(&error.to_string());
    let help = help(&message, &source.text[range.start..]);
    let diagnostic = Diagnostic::error("yaml", message).label(Span { file, range }, "");
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// Returns the help text for a common mistake, by the parser's message and the text where the
/// parser stopped.
fn help(message: &str, text: &str) -> Option<&'static str> {
    if message == TOO_LARGE {
        None
    } else if message.contains("unknown anchor") {
        Some(
            "put a string that begins with `*` between double quotes; to inherit another table's columns, write `_options: { extend: … }`",
        )
    } else if text.starts_with(['`', '@', '%', '*', '&', '!', '|', '>']) {
        Some(
            "this character has a special meaning in YAML: put a value or key that begins with it between double quotes",
        )
    } else if message.contains("tab") {
        Some("indent with spaces")
    } else if message.contains("mapping values are not allowed") {
        Some(
            "write a space after the `:` of each key, put a value that contains `: ` between double quotes, and indent a mapping deeper than its key",
        )
    } else if message.contains("block mapping") {
        Some("indent all entries of a mapping equally")
    } else {
        None
    }
}

/// Removes the place from a parser's message, since the report shows the place.
fn plain_words(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    // The parser's messages about its limits assume that the reader knows these limits.
    if message.starts_with("budget breached: Depth") || message.starts_with("recursion limit") {
        return "mappings and lists nest too deep here".to_owned();
    }
    if message.starts_with("budget breached") {
        return TOO_LARGE.to_owned();
    }
    message
        .rsplit_once(" at line ")
        .map_or(message, |(words, _)| words)
        .to_owned()
}

/// Returns the byte offset of a line and a column, both counted from 1, the column in characters.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = &text[start..];
    let within = rest
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(rest.len(), |(at, _)| at);
    start + within
}
