//! Doc comments: the YAML comments directly above a column or a table, or after it on its line.
//! They become documentation of the Rust.

use crate::{
    source::{Sources, Span},
    types,
};

/// Returns the comments on the entry whose key is at `key` and whose value ends where `value` ends.
pub(crate) fn doc_comments(sources: &Sources, key: &Span, value: &Span) -> Vec<String> {
    let mut doc_comments = above(sources, key);
    doc_comments.extend(after(sources, value));
    doc_comments
}

/// Returns the comment lines directly above the line that begins with the key.
fn above(sources: &Sources, key: &Span) -> Vec<String> {
    let before = sources.before(key);
    let (lines, indent) = before.rsplit_once('\n').unwrap_or(("", before));
    // Between braces, a comment above belongs to the whole line.
    if !indent.trim_matches([' ', '"', '\'']).is_empty() {
        return Vec::new();
    }
    let mut doc_comments: Vec<String> = lines
        .rsplit('\n')
        .map_while(|line| line.trim().strip_prefix('#'))
        .take_while(|comment| !is_declaration(comment))
        .map(|comment| comment.trim().to_owned())
        .collect();
    doc_comments.reverse();
    doc_comments
}

/// Returns the comment after a value on its last line.
fn after(sources: &Sources, value: &Span) -> Option<String> {
    let rest = sources.after(value).split('\n').next()?;
    let spaced = rest.trim_start_matches(['"', '\'']).trim_start_matches(',');
    // A `#` without a space before it does not begin a comment.
    if !spaced.starts_with([' ', '\t']) {
        return None;
    }
    let comment = spaced.trim().strip_prefix('#')?;
    Some(comment.trim().to_owned())
}

/// Returns whether a comment is a column that was commented out.
fn is_declaration(comment: &str) -> bool {
    comment
        .split_once(':')
        .is_some_and(|(name, rest)| !name.trim().contains(' ') && types::parse(rest.trim()).is_ok())
}
