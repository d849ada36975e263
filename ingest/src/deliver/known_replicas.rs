//! Known replicas: the connections that reach a certain server of a cluster.
//!
//! A connection counts as a replica if the server behind it says so, and if its URL has the host
//! that the cluster names. The name of a load balancer, with another server behind each connection,
//! is none of these hosts. A URL that reaches two replicas in turn in spite of that is never used
//! for a shard again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::shard_servers::Replica;
use crate::{
    store::Connection,
    sync::topology::{ClusterReplica, Topology},
};

/// The known replicas of all clusters.
#[derive(Debug, Default)]
pub(super) struct KnownReplicas {
    /// The replicas, by cluster and address.
    known: BTreeMap<(String, String), Known>,
    /// The URLs that have reached several replicas.
    ambiguous: BTreeSet<String>,
}

/// A replica that is known to answer at a URL.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) replica: Arc<Replica>,
    /// The tables with the rows of one shard that the server has.
    pub(super) locals: BTreeSet<String>,
}

impl Known {
    /// Returns the URL of the server, without credentials.
    pub(super) fn url(&self) -> String {
        self.replica.backend.inserts.url().to_string()
    }
}

impl KnownReplicas {
    pub(super) fn get(&self, cluster: &str, address: &str) -> Option<&Known> {
        self.known.get(&(cluster.to_owned(), address.to_owned()))
    }

    /// Records the replicas that the server behind a connection says it is, and forgets those that
    /// it has been and is no longer.
    pub(super) fn place(&mut self, connection: &Arc<Connection>, topology: &Topology) {
        let url = connection.inserts.url().to_string();
        for (cluster, shards) in &topology.clusters {
            let replicas = || shards.iter().flat_map(|shard| &shard.replicas);
            let own: Vec<_> = replicas().filter(|replica| replica.is_local).collect();
            let is_own = |address: &str| own.iter().any(|replica| replica.address() == address);
            let earlier = self
                .known
                .iter()
                .filter(|(key, known)| key.0 == *cluster && known.url() == url);
            let lost: Vec<_> = earlier
                .map(|(key, _)| key.clone())
                .filter(|(_, address)| !is_own(address))
                .collect();
            for key in lost {
                self.known.remove(&key);
                tracing::debug!(
                    cluster,
                    address = key.1,
                    server = url,
                    "a server is no longer this replica"
                );
                // A cluster that names the server anew does not have its old address any more.
                let has_moved = !own.is_empty() && replicas().any(|replica| replica.address() == key.1);
                if has_moved && self.ambiguous.insert(url.clone()) {
                    tracing::warn!(
                        cluster,
                        server = url,
                        cure = "Give the collector the URL of each server.",
                        "a URL of ClickHouse reaches several servers: their rows go through the Distributed table"
                    );
                }
            }
            if self.ambiguous.contains(&url) {
                self.known.retain(|_, known| known.url() != url);
                continue;
            }
            for replica in own.into_iter().filter(|replica| is_at_host(connection, replica)) {
                self.know(cluster, &replica.address(), connection, topology);
            }
        }
    }

    fn know(&mut self, cluster: &str, address: &str, connection: &Arc<Connection>, topology: &Topology) {
        let found = || Arc::new(Replica::new(address, Arc::clone(connection)));
        let has_local = topology.tables.iter().filter(|table| table.local_engine.is_some());
        let locals = has_local.map(|table| table.local.clone()).collect();
        let key = (cluster.to_owned(), address.to_owned());
        let known = self.known.entry(key).or_insert_with(|| {
            tracing::debug!(cluster, address, server = %connection.inserts.url(), "found a replica");
            Known {
                replica: found(),
                locals: BTreeSet::new(),
            }
        });
        let is_renewed = !Arc::ptr_eq(&known.replica.backend, connection);
        if is_renewed && known.url() == connection.inserts.url().to_string() {
            known.replica = found();
        }
        known.locals = locals;
    }
}

/// Returns whether a connection's URL has the host that the cluster names for a replica.
fn is_at_host(connection: &Connection, replica: &ClusterReplica) -> bool {
    let at_host = connection.on_host(&replica.host);
    let origin = connection.inserts.url().origin();
    at_host.is_some_and(|at_host| at_host.inserts.url().origin().eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sync::topology::ClusterShard;

    fn connection(url: &str) -> Arc<Connection> {
        Arc::new(Connection::new(&url.parse().unwrap(), Vec::new()))
    }

    /// Returns what the server with the host `local` says of a cluster with one server in each shard.
    fn topology(hosts: &[&str], local: &str) -> Topology {
        let shards = hosts.iter().zip(1..).map(|(host, number)| ClusterShard {
            number,
            weight: 1,
            internal_replication: true,
            replicas: vec![ClusterReplica {
                host: (*host).to_owned(),
                port: 9000,
                is_local: *host == local,
                database: String::new(),
            }],
        });
        Topology {
            tables: Vec::new(),
            clusters: [("fleet".to_owned(), shards.collect())].into(),
        }
    }

    fn addresses(replicas: &KnownReplicas) -> Vec<&str> {
        replicas.known.keys().map(|(_, address)| address.as_str()).collect()
    }

    #[test]
    fn a_url_with_another_host_than_its_replica_is_none() {
        let mut replicas = KnownReplicas::default();
        replicas.place(&connection("http://balancer/stats"), &topology(&["a", "b"], "a"));
        assert!(addresses(&replicas).is_empty());
        replicas.place(&connection("http://A/stats"), &topology(&["a", "b"], "a"));
        assert_eq!(addresses(&replicas), ["a:9000"]);
    }

    #[test]
    fn a_url_that_reaches_two_replicas_is_not_used_again() {
        let mut replicas = KnownReplicas::default();
        let [shared, other] = ["http://a/stats", "http://b/stats"].map(connection);
        replicas.place(&other, &topology(&["a", "b"], "b"));
        for local in ["a", "b", "a"] {
            replicas.place(&shared, &topology(&["a", "b"], local));
        }
        assert_eq!(addresses(&replicas), ["b:9000"]);
    }

    #[test]
    fn a_replica_is_forgotten_and_renewed_with_its_server() {
        let mut replicas = KnownReplicas::default();
        let first = connection("http://a/stats");
        let all = topology(&["a", "b"], "a");
        replicas.place(&first, &all);
        // The server is in no shard for a while: its URL is as good as before.
        replicas.place(&first, &topology(&["a", "b"], ""));
        assert!(addresses(&replicas).is_empty());
        replicas.place(&first, &all);
        let replica = Arc::clone(&replicas.get("fleet", "a:9000").unwrap().replica);
        replicas.place(&first, &all);
        assert!(Arc::ptr_eq(&replica, &replicas.get("fleet", "a:9000").unwrap().replica));
        let renewed = connection("http://a/stats");
        replicas.place(&renewed, &all);
        let replica = &replicas.get("fleet", "a:9000").unwrap().replica;
        assert!(Arc::ptr_eq(&replica.backend, &renewed));
    }
}
