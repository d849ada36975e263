//! Syntax: errors of files that are not YAML, in words that help the author of a schema.

mod words;

use crate::{
    diagnostic::Diagnostic,
    source::{Source, Span},
};

const TOO_LARGE: &str = "this file is too large; each YAML alias counts as its whole content";

const SPECIAL: &str =
    "this character has a special meaning in YAML: put a value or key that begins with it between double quotes";

/// The length of the longest key that YAML allows, in characters.
const MAX_KEY: usize = 1_024;

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
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    let text = source.text.get(range.start..).unwrap_or_default();
    if message.starts_with("budget breached: Depth") || message.starts_with("recursion limit") {
        return Diagnostic::error("yaml", "mappings and lists nest too deep here").label(Span { file, range }, "");
    }
    if message.starts_with("budget breached") || message.starts_with("alias ") && message.contains("exceeded") {
        return Diagnostic::error("yaml", TOO_LARGE).label(Span { file, range }, "");
    }
    let is_quote = message.contains("quote");
    let bracket = words::unclosed_bracket(&source.text).filter(|bracket| !is_quote && *bracket <= range.start);
    if let Some(bracket) = bracket {
        return unclosed(bracket, Span { file, range }, source);
    }
    let (_, line) = source.lines_around(range.clone());
    let line_text = source.text[line.clone()].trim_start();
    let start = line.end - line_text.len();
    let is_about_key = message.contains("simple key") || message.contains("mapping values");
    if is_about_key && line_text.find(": ").is_some_and(|length| length > MAX_KEY) {
        return Diagnostic::error("yaml", format!("this name is longer than {MAX_KEY} characters"))
            .label(
                Span {
                    file,
                    range: start..start + 1,
                },
                "",
            )
            .help("YAML allows no longer key; give it a shorter name");
    }
    let is_item = message.contains("block mapping") && line_text.starts_with("- ");
    let (words, help) = words::words(if is_item { words::UNEXPECTED_LIST } else { message }, text);
    let special = text
        .starts_with(['`', '@', '%', '*', '&', '!', '|', '>'])
        .then_some(SPECIAL);
    let diagnostic = Diagnostic::error("yaml", words).label(Span { file, range }, "");
    help.or(special).into_iter().fold(diagnostic, Diagnostic::help)
}

/// Returns the problem of a bracket that nothing closes; the parser stops at the entries after it.
fn unclosed(bracket: usize, stop: Span, source: &Source) -> Diagnostic {
    let is_mapping = source.text[bracket..].starts_with('{');
    let (open, close) = if is_mapping { ('{', '}') } else { ('[', ']') };
    let span = Span {
        file: stop.file,
        range: bracket..bracket + 1,
    };
    let diagnostic = Diagnostic::error("yaml", format!("unclosed `{open}`")).label(span, "");
    let is_at_end = source.text[stop.range.start..].trim().is_empty();
    let diagnostic = match is_at_end {
        true => diagnostic,
        false => diagnostic.label(stop, format!("a `{close}` is missing before this")),
    };
    diagnostic.help(format!("write a `{close}` at the end of the value"))
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
