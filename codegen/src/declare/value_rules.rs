//! How events are read, as a schema states it: the unit of a column's numbers, and what happens to
//! keys without a column.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node, Value},
};

/// The unit of an event's numbers in a column of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    /// The unit of the column's type, as in ClickHouse.
    Raw,
}

/// The names of the units.
pub(crate) const UNITS: [(&str, Unit); 5] = [
    ("s", Unit::Second),
    ("ms", Unit::Millisecond),
    ("us", Unit::Microsecond),
    ("ns", Unit::Nanosecond),
    ("raw", Unit::Raw),
];

/// The policy for a key of an event that no column reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownKeys {
    Ignore,
    Count,
    Reject,
    /// The columns `extra.key` and `extra.value` keep it.
    Extra,
}

/// The names of what happens to a key.
pub(crate) const UNKNOWN_KEYS: [(&str, UnknownKeys); 4] = [
    ("ignore", UnknownKeys::Ignore),
    ("count", UnknownKeys::Count),
    ("reject", UnknownKeys::Reject),
    ("extra", UnknownKeys::Extra),
];

impl DeclarationReader<'_> {
    /// Reads `unit` of a column.
    pub(super) fn unit(&mut self, node: Node, key: &Key) -> Option<Unit> {
        let place = node.span.clone().or(&key.span);
        self.one_of(&node, place, "bad-unit", "`unit`", &UNITS)
    }

    /// Reads `unknown` of a table, and its place.
    pub(super) fn unknown_keys(&mut self, node: Node) -> Option<(UnknownKeys, Span)> {
        let place = node.span.clone();
        let keys = self.one_of(&node, place.clone(), "bad-unknown", "`unknown`", &UNKNOWN_KEYS)?;
        Some((keys, place))
    }

    /// Reads one of several words.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        node: &Node,
        place: Span,
        code: &'static str,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let found = match &node.value {
            Value::Text(text) => {
                if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.trim()) {
                    return Some(*value);
                }
                format!("`{}`", text.trim())
            }
            other => other.kind().to_owned(),
        };
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("{what} must be one of `{}`, not {found}", names.join("`, `"));
        let diagnostic = Diagnostic::error(code, message).label(place, "");
        self.report.push(match &node.value {
            Value::Text(text) => diagnostic.did_you_mean(text, names),
            _ => diagnostic,
        });
        None
    }
}
