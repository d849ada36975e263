//! The shards that rows wait for, and the servers of each.
//!
//! A shard is the same one as long as it has one of its servers. Blocks name the servers of their
//! shard, so a block finds its shard again after the cluster has got other shards, in another order,
//! or other replicas.

use std::sync::{Arc, Mutex, PoisonError};

use super::shard_servers::{Members, ShardServers};
use crate::{block::shard::Shard, store::Connection};

/// The servers of all shards.
#[derive(Debug)]
pub(crate) struct Shards<B = Connection> {
    inserts_in_flight: usize,
    known: Mutex<Vec<KnownShard<B>>>,
}

/// A shard that rows wait for.
#[derive(Debug)]
struct KnownShard<B> {
    shard: Shard,
    servers: Arc<ShardServers<B>>,
    /// Whether a cluster without the shard has been logged.
    is_reported: bool,
}

/// A shard of a cluster as it is now.
#[derive(Debug)]
pub(crate) struct CurrentShard<B = Connection> {
    /// The number of the shard, from 1.
    pub(crate) number: u32,
    /// The addresses of all its replicas.
    pub(crate) replicas: Box<[Box<str>]>,
    /// The replicas that can be reached, and their tables.
    pub(crate) members: Members<B>,
}

impl<B> Shards<B> {
    /// Returns no shards; each will have at most `inserts_in_flight` inserts at a time.
    pub(super) fn new(inserts_in_flight: usize) -> Self {
        Self {
            inserts_in_flight,
            known: Mutex::default(),
        }
    }

    /// Returns the servers of a shard.
    pub(super) fn servers(&self, shard: &Shard) -> Arc<ShardServers<B>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |known: &&KnownShard<B>| known.shard.cluster == shard.cluster && known.shard.replicas == shard.replicas;
        if let Some(known) = known.iter().find(is_same) {
            return Arc::clone(&known.servers);
        }
        let servers = Arc::new(ShardServers::new(self.inserts_in_flight));
        known.push(KnownShard {
            shard: shard.clone(),
            servers: Arc::clone(&servers),
            is_reported: false,
        });
        servers
    }

    /// Replaces the servers of the known shards of `cluster` by those that the cluster has now.
    pub(super) fn update(&self, cluster: &str, current: &[CurrentShard<B>]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for known in known.iter_mut().filter(|known| *known.shard.cluster == *cluster) {
            let is_same = |current: &&CurrentShard<B>| {
                let mut replicas = current.replicas.iter();
                replicas.any(|address| known.shard.has_replica(address))
            };
            // A server may belong to several shards; then the number decides.
            let same = current.iter().filter(is_same);
            let same = same.min_by_key(|current| current.number != known.shard.number);
            known.servers.set(match same {
                Some(current) => current.members.clone(),
                None => Members::default(),
            });
            if same.is_none() && !known.is_reported {
                tracing::error!(
                    cluster,
                    shard = known.shard.number,
                    servers = known.shard.replicas.join(", "),
                    "the cluster no longer has the servers of a shard: rows that are sealed for it are held until \
                     one of these servers is in the cluster again"
                );
            }
            known.is_reported = same.is_none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::shard_servers::Replica;

    fn shard(number: u32, replicas: &[&str]) -> Shard {
        Shard {
            table: "orders".into(),
            cluster: "fleet".into(),
            number,
            replicas: replicas.iter().map(|address| (*address).into()).collect(),
        }
    }

    fn current(number: u32, replicas: &[&str]) -> CurrentShard<()> {
        let replica = |address: &&str| Arc::new(Replica::new(*address, Arc::new(())));
        CurrentShard {
            number,
            replicas: replicas.iter().map(|address| (*address).into()).collect(),
            members: Members {
                replicas: replicas.iter().map(replica).collect(),
                ..Members::default()
            },
        }
    }

    fn address(servers: &ShardServers<()>) -> Option<Arc<str>> {
        Some(Arc::clone(servers.choose("orders_local", None)?.address()))
    }

    #[test]
    fn a_shard_keeps_its_servers_when_the_cluster_changes() {
        let shards = Shards::new(2);
        let [first, second] =
            [(1, ["a:9000"]), (2, ["b:9000"])].map(|(number, at)| shards.servers(&shard(number, &at)));
        assert_eq!(address(&first), None);
        shards.update("fleet", &[current(1, &["a:9000"]), current(2, &["b:9000"])]);
        shards.update("another", &[]);
        assert_eq!(address(&first).as_deref(), Some("a:9000"));
        assert_eq!(address(&second).as_deref(), Some("b:9000"));

        // The first shard is gone, so the second one has its number, and has got a replica.
        shards.update("fleet", &[current(1, &["b:9000", "c:9000"]), current(2, &["d:9000"])]);
        assert_eq!(address(&first), None);
        let found: Vec<_> = (0..100).filter_map(|_| address(&second)).collect();
        assert!(
            found.iter().all(|address| matches!(&**address, "b:9000" | "c:9000")),
            "{found:?}"
        );
        assert!(Arc::ptr_eq(&second, &shards.servers(&shard(2, &["b:9000"]))));
    }
}
