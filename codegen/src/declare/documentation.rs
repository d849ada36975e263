//! The keys that only document a column or a table: `deprecated`, `owner` and `example`. They change
//! neither the table in ClickHouse nor what the collector accepts.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    yaml::{Key, Node},
};

/// The documentation of a column or a table beyond its comments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documentation {
    /// Since when or why it should not be filled any more.
    pub(crate) deprecated: Option<String>,
    /// The person or team to ask.
    owner: Option<String>,
    /// A value that an event may have.
    example: Option<String>,
}

impl Documentation {
    /// Adds a paragraph for each key to the comments.
    pub(super) fn added_to(&self, mut comments: Vec<String>) -> Vec<String> {
        let paragraphs = [
            self.deprecated.as_ref().map(|text| format!("Deprecated: {text}")),
            self.owner.as_ref().map(|text| format!("Owner: {text}")),
            self.example.as_ref().map(|text| format!("Example: `{text}`")),
        ];
        for paragraph in paragraphs.into_iter().flatten() {
            if !comments.is_empty() {
                comments.push(String::new());
            }
            comments.push(paragraph);
        }
        comments
    }
}

impl DeclarationReader<'_> {
    /// Reads the value of one of the keys.
    pub(super) fn documentation(&mut self, key: &Key, node: Node, documentation: &mut Documentation) {
        let Some((text, span)) = self.text(node, &format!("`{}`", key.text)) else {
            return;
        };
        let text = text.trim().to_owned();
        if text.is_empty() {
            let diagnostic = Diagnostic::error("not-a-text", format!("`{}` is empty", key.text));
            self.report.push(diagnostic.label(span, "").help("remove it"));
            return;
        }
        match key.text.as_str() {
            "deprecated" => documentation.deprecated = Some(text),
            "owner" => documentation.owner = Some(text),
            _ => documentation.example = Some(text),
        }
    }
}
