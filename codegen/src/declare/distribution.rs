//! The options of a table on a cluster: its replicas, and its shards.

use super::DeclarationReader;
use crate::{
    source::Span,
    sql::Sql,
    yaml::{Key, Node, Value},
};

/// How a table is spread over the servers of a cluster, as its options state it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Distribution {
    /// Whether the servers of a shard replicate the table.
    pub(crate) replicated: Option<(bool, Span)>,
    /// The shards that have the rows.
    pub(crate) distributed: Option<(Distributed, Span)>,
    /// The expression that determines the shard of a row, and the place of its key.
    pub(crate) sharding_key: Option<(Sql, Span)>,
}

/// The value of `distributed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Distributed {
    /// Each server has its own rows.
    No,
    /// The rows are on the shards of the table's own cluster.
    OwnCluster,
    /// The rows are on the shards of the cluster with this name.
    Cluster(String),
}

impl Distribution {
    /// Takes the options that `self` does not state from `base`.
    pub(crate) fn inherit(&mut self, base: &Self) {
        if self.replicated.is_none() {
            self.replicated.clone_from(&base.replicated);
        }
        if self.distributed.is_none() {
            self.distributed.clone_from(&base.distributed);
        }
        if self.sharding_key.is_none() {
            self.sharding_key.clone_from(&base.sharding_key);
        }
    }

    /// Returns whether the rows are on the shards of a cluster.
    pub(crate) fn is_distributed(&self) -> bool {
        self.distributed
            .as_ref()
            .is_some_and(|(distributed, _)| *distributed != Distributed::No)
    }
}

impl DeclarationReader<'_> {
    /// Reads `distributed`, `replicated` or `sharding_key`.
    pub(super) fn distribution(&mut self, key: &Key, node: Node, distribution: &mut Distribution) {
        let span = key.span.clone();
        match key.text.as_str() {
            "replicated" => distribution.replicated = Some((self.boolean(node, "`replicated`"), span)),
            "sharding_key" => {
                distribution.sharding_key = self.expression(node, "`sharding_key`").map(|sql| (sql, span));
            }
            _ => distribution.distributed = self.distributed(node).map(|distributed| (distributed, span)),
        }
    }

    fn distributed(&mut self, node: Node) -> Option<Distributed> {
        match &node.value {
            Value::Text(text) if text == "true" => Some(Distributed::OwnCluster),
            Value::Text(text) if text == "false" => Some(Distributed::No),
            _ => self
                .text(node, "`distributed`")
                .map(|(name, _)| Distributed::Cluster(name)),
        }
    }
}
