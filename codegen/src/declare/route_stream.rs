//! The option `stream` of a route: whether long bodies are decoded while they arrive.

use super::DeclarationReader;
use crate::{
    source::Span,
    yaml::{Key, Node},
};

impl DeclarationReader<'_> {
    /// Reads `stream: true`, and returns the place of the key; `None` if the route has no streams.
    pub(super) fn stream(&mut self, node: Node, key: &Key) -> Option<Span> {
        self.boolean(node, "`stream`").then(|| key.span.clone())
    }
}
