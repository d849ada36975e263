//! The option `automated` of a route: requests of programs such as link scanners and mail proxies.

use super::DeclarationReader;
use crate::yaml::{Key, Node};

/// The words, and whether such requests are not recorded.
pub(crate) const AUTOMATED: [(&str, bool); 2] = [("keep", false), ("drop", true)];

impl DeclarationReader<'_> {
    /// Reads `automated` of a route; returns whether its automated requests are not recorded.
    pub(super) fn drops_automated(&mut self, node: Node, key: &Key) -> bool {
        let place = node.span.clone().or(&key.span);
        self.one_of(&node, place, "bad-automated", "`automated`", &AUTOMATED)
            .unwrap_or_default()
    }
}
