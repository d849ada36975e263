//! The name that the generated code gives a table or a column, if it is not to follow its name in
//! ClickHouse.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    names,
    yaml::{Key, Node},
};

impl DeclarationReader<'_> {
    /// Reads a name in Rust; reports one that is no identifier.
    pub(super) fn rust_name(&mut self, node: Node) -> Option<Key> {
        let (text, span) = self.text(node, "the name in Rust")?;
        if names::is_identifier(&text) {
            return Some(Key { text, span });
        }
        let diagnostic = Diagnostic::error("bad-rust-name", format!("`{text}` is not a name in Rust"))
            .label(span, "")
            .help("write an identifier: letters, digits and `_`, and no digit first");
        self.report.push(diagnostic);
        None
    }
}
