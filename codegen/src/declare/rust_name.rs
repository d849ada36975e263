//! The name that the generated code gives a table, a column or a value of an enum, if it is not to
//! follow its name in ClickHouse.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    names,
    yaml::{Key, Node, Value},
};

/// The keys of `rust` in the long form of a column.
pub(crate) const RUST_KEYS: [&str; 2] = ["name", "values"];

/// The names in Rust of a column: a text is the name of its field.
#[derive(Debug, Clone, Default)]
pub(crate) struct RustNames {
    pub(crate) field: Option<Key>,
    pub(crate) values: Vec<RustValue>,
}

/// A value of an enum, and its name in Rust.
#[derive(Debug, Clone)]
pub(crate) struct RustValue {
    pub(crate) value: Key,
    pub(crate) name: Key,
}

impl DeclarationReader<'_> {
    /// Reads the names of a column.
    pub(super) fn rust_names(&mut self, node: Node) -> RustNames {
        let mut names = RustNames::default();
        let Value::Map(entries) = node.value else {
            names.field = self.rust_name(node);
            return names;
        };
        for (key, node) in entries {
            match key.text.as_str() {
                "name" => names.field = self.rust_name(node),
                "values" => {
                    let example = "values: { 'in progress': Running }";
                    for (value, node) in self
                        .mapping(node, "`values` must map values to names", example)
                        .unwrap_or_default()
                    {
                        let name = self.variant_name(node);
                        names.values.extend(name.map(|name| RustValue { value, name }));
                    }
                }
                _ => self.unknown_key(&key, "`rust`", &RUST_KEYS),
            }
        }
        names
    }

    /// Reads the name of an enum's value; reports one that is no name of a variant.
    fn variant_name(&mut self, node: Node) -> Option<Key> {
        let name = self.rust_name(node)?;
        if name.text.starts_with(char::is_uppercase) && !name.text.contains('_') {
            return Some(name);
        }
        let diagnostic = Diagnostic::error("bad-rust-name", format!("`{}` is not a name of a variant", name.text))
            .label(name.span, "")
            .help("begin each word with a capital letter, without `_`: `InProgress`");
        self.report.push(diagnostic);
        None
    }

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
