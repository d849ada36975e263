//! An item path: where the events of a document are, and which of its fields they get.

use std::fmt;

/// The events inside a JSON document, and the fields of the document that each of them gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemPath {
    /// The keys that lead from the root of a document to its events: an array of objects, or one
    /// object; at least one key.
    pub keys: &'static [&'static str],
    /// The fields at the root of the document that each event gets as fields of its own. A field
    /// that the event has itself takes precedence.
    pub shared: &'static [&'static str],
}

/// Writes the path as in a schema: `data.events`.
impl fmt::Display for ItemPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keys.join("."))
    }
}
