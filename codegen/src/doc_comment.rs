//! Doc comments: the YAML comments directly above a column or a table, or after it on its line.
//! They become documentation of the Rust.

use crate::{
    source::{Sources, Span},
    types,
};

/// Returns the comments on the entry whose key is at `key` and whose value ends where `value` ends.
pub(crate) fn remarks(sources: &Sources, key: &Span, value: &Span) -> Vec<String> {
    let mut remarks = above(sources, key);
    remarks.extend(behind(sources, value));
    remarks
}

/// Returns the comment lines directly above the line that begins with the key.
fn above(sources: &Sources, key: &Span) -> Vec<String> {
    let before = sources.before(key);
    let (lines, indent) = before.rsplit_once('\n').unwrap_or(("", before));
    // Between braces, a comment above belongs to the whole line.
    if !indent.trim_matches([' ', '"', '\'']).is_empty() {
        return Vec::new();
    }
    let mut remarks: Vec<String> = lines
        .rsplit('\n')
        .map_while(|line| line.trim().strip_prefix('#'))
        .take_while(|remark| !is_declaration(remark))
        .map(|remark| remark.trim().to_owned())
        .collect();
    remarks.reverse();
    remarks
}

/// Returns the comment after a value on its last line.
fn behind(sources: &Sources, value: &Span) -> Option<String> {
    let rest = sources.behind(value).split('\n').next()?;
    let spaced = rest.trim_start_matches(['"', '\'']).trim_start_matches(',');
    // A `#` without a space before it does not begin a comment.
    if !spaced.starts_with([' ', '\t']) {
        return None;
    }
    let remark = spaced.trim().strip_prefix('#')?;
    Some(remark.trim().to_owned())
}

/// Returns whether a comment is a column that was commented out.
fn is_declaration(remark: &str) -> bool {
    remark
        .split_once(':')
        .is_some_and(|(name, rest)| !name.trim().contains(' ') && types::parse(rest.trim()).is_ok())
}
