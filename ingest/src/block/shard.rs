//! Shards: the part of a cluster that a block's rows belong to.

use std::{fmt, sync::Arc};

/// The shard of a Distributed table whose rows a block has. The block goes to a server of the shard
/// itself, into the table with the rows of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shard {
    /// The name of the Distributed table, unquoted.
    pub(crate) table: Arc<str>,
    /// The name of the cluster, unquoted.
    pub(crate) cluster: Box<str>,
    /// The number of the shard in its cluster, from 1, when the block began. It changes when a shard
    /// before it is removed.
    pub(crate) number: u32,
    /// The servers of the shard when the block began, as `host:port` of ClickHouse's native protocol,
    /// sorted. A shard is the same one as long as it has one of them.
    pub(crate) replicas: Box<[Box<str>]>,
}

impl Shard {
    /// Returns whether the rows of both shards are for the same table on the same servers. The number
    /// of a shard may have changed since.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.table == other.table && self.cluster == other.cluster && self.replicas == other.replicas
    }

    /// Returns whether the shard has the server at this address.
    pub(crate) fn has_replica(&self, address: &str) -> bool {
        self.replicas.iter().any(|replica| **replica == *address)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            number,
            replicas,
            ..
        } = self;
        write!(f, "shard {number} of the cluster `{cluster}` ({})", replicas.join(", "))
    }
}
