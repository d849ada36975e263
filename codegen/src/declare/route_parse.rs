//! The fields of a route's bodies in whose texts JSON hides: `parse`.

use super::DeclarationReader;
use crate::{diagnostic::Diagnostic, yaml::Node};

impl DeclarationReader<'_> {
    pub(super) fn hiding(&mut self, node: Node) -> Vec<String> {
        let mut fields = self.texts(node, "a field to parse", "bad-parse");
        fields.retain(|(field, span)| {
            if field.is_empty() {
                let diagnostic = Diagnostic::error("bad-parse", "the name of a field to parse is empty");
                let help = "write the name of a field at the top level of the body";
                self.report.push(diagnostic.label(span.clone(), "").help(help));
            }
            !field.is_empty()
        });
        fields.into_iter().map(|(field, _)| field).collect()
    }
}
