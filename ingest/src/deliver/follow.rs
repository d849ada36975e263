//! Follows the clusters of Distributed tables: finds the server of each replica, keeps the servers of
//! the shards, and sets the way of rows to them.
//!
//! Each server tells by `is_local` in `system.clusters` which replica it is. A replica that none of
//! the writer's URLs reaches may answer on the HTTP port of the first of them; what answers there
//! counts only if it says that it is that replica. Rows of a shard without a known server go through the
//! Distributed table, as do all rows of a table whose sharding key only ClickHouse can compute.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    known_replicas::KnownReplicas,
    run::{StopAfter, run},
    shard_servers::Members,
    shards::CurrentShard,
};
use crate::{
    block::{layout::InsertTarget, shard::Shard},
    sharding::{Router, ShardingKey, UnknownKey},
    spool::{Spool, TableId, TableReader},
    store::Connection,
    sync::{
        state::State,
        topology::{ClusterShard, DistributedTable, Topology},
    },
};

/// The interval at which changes of the clusters are noticed.
const INTERVAL: Duration = Duration::from_secs(10);

/// The wait before the clusters are read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time of one query about a cluster.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time of one query to a server that may be a replica.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the clusters are followed for.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The names of the Distributed tables.
    pub(crate) tables: Vec<String>,
    /// Whether rows go to the shards; otherwise only those that are sealed for them already.
    pub(crate) routes_rows: bool,
}

/// The state of the task.
struct Follower {
    delivery: Arc<StopAfter>,
    spool: Spool,
    follow: Follow,
    known: KnownReplicas,
    /// The last message about each table.
    logged: BTreeMap<String, String>,
}

/// Follows the clusters, and runs the deliveries of the shards: of those that `left` reads, which
/// have rows of an earlier process, and of each one that becomes known. Returns once the spool is
/// closed and these deliveries have ended. Sets `is_settled` once the clusters have been read and each
/// server has been tried.
pub(crate) async fn follow(
    delivery: Arc<StopAfter>,
    mut states: watch::Receiver<Vec<State>>,
    follow: Follow,
    left: Vec<TableReader>,
    is_settled: watch::Sender<bool>,
) {
    let spool = delivery.1.clone();
    let mut deliveries = JoinSet::new();
    for reader in left {
        deliveries.spawn(run(Arc::clone(&delivery), reader));
    }
    let mut follower = Follower {
        delivery,
        spool: spool.clone(),
        follow,
        known: KnownReplicas::default(),
        logged: BTreeMap::new(),
    };
    let mut ready = Vec::new();
    loop {
        let interval = if *is_settled.borrow() { INTERVAL } else { RETRY };
        let is_over = async {
            let changed = states.wait_for(|states| positions(states) != ready).await;
            changed.is_err()
        };
        tokio::select! {
            is_over = is_over => if is_over { break },
            () = sleep(interval), if !ready.is_empty() => {}
            () = ended(&spool, &mut deliveries) => return,
        }
        let connections = connections(&states.borrow());
        // A server that has not been tried yet may be the only one of its shard.
        let is_each_tried = !states.borrow().iter().any(|state| matches!(state, State::Unknown));
        ready = connections.iter().map(|(index, _)| *index).collect();
        tokio::select! {
            (is_read, readers) = follower.refresh(&connections) => {
                for reader in readers {
                    deliveries.spawn(run(Arc::clone(&follower.delivery), reader));
                }
                let is_known = is_read && is_each_tried;
                is_settled.send_if_modified(|settled| is_known && !std::mem::replace(settled, true));
            }
            () = ended(&spool, &mut deliveries) => return,
        }
    }
    ended(&spool, &mut deliveries).await;
}

/// Waits until the spool is closed and all deliveries have ended.
async fn ended(spool: &Spool, deliveries: &mut JoinSet<()>) {
    spool.closed().await;
    while deliveries.join_next().await.is_some() {}
}

/// Returns the positions of the servers that are ready.
fn positions(states: &[State]) -> Vec<usize> {
    let ready = states.iter().enumerate();
    ready
        .filter(|(_, state)| matches!(state, State::Ready(_)))
        .map(|(index, _)| index)
        .collect()
}

fn connections(states: &[State]) -> Vec<(usize, Arc<Connection>)> {
    let ready = states.iter().enumerate();
    ready
        .filter_map(|(index, state)| match state {
            State::Ready(connection) => Some((index, Arc::clone(connection))),
            _ => None,
        })
        .collect()
}

impl Follower {
    /// Reads the clusters. Returns whether a server has told or refused them, and the readers of new
    /// queues, whose deliveries have to be started.
    async fn refresh(&mut self, connections: &[(usize, Arc<Connection>)]) -> (bool, Vec<TableReader>) {
        let names: Vec<_> = self.follow.tables.iter().map(String::as_str).collect();
        let read = connections.iter().map(|(_, connection)| {
            let names = &names;
            async move { Topology::read(&connection.queries, names, TIMEOUT).await }
        });
        let mut reference: Option<(Topology, Arc<Connection>)> = None;
        let mut is_refused = false;
        for ((_, connection), topology) in connections.iter().zip(join_all(read).await) {
            match topology {
                Ok(topology) => {
                    self.known.place(connection, &topology);
                    reference.get_or_insert_with(|| (topology, Arc::clone(connection)));
                }
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "the clusters of a server could not be read");
                }
                Err(error) => {
                    is_refused = true;
                    if self.logged.insert(String::new(), error.to_string()).is_none() {
                        tracing::warn!(
                            %error, cure = error.hint(),
                            "the clusters of a server cannot be read: rows go through the Distributed tables"
                        );
                    }
                }
            }
        }
        let Some((topology, connection)) = reference else {
            return (is_refused, Vec::new());
        };
        self.find_others(&topology, connections).await;
        let mut readers = Vec::new();
        // From here on, nothing waits: each new queue gets its delivery.
        if self.follow.routes_rows && !self.spool.is_closed() {
            let database = connection.inserts.url().database();
            for table in &topology.tables {
                let shards = topology.clusters.get(&table.cluster).map_or(&[][..], Vec::as_slice);
                self.route(table, shards, database, &mut readers);
            }
        }
        for (cluster, shards) in &topology.clusters {
            let current = shards
                .iter()
                .map(|shard| self.current(cluster, shard, &topology.tables));
            self.delivery.0.shards.update(cluster, &current.collect::<Vec<_>>());
        }
        (true, readers)
    }

    /// Asks the known replicas that are behind none of `connections` again, and looks for those that
    /// are not known, on the port of the first of `connections`.
    async fn find_others(&mut self, topology: &Topology, connections: &[(usize, Arc<Connection>)]) {
        let Some((_, first)) = connections.first() else {
            return;
        };
        let names: Vec<_> = self.follow.tables.iter().map(String::as_str).collect();
        let urls: Vec<_> = connections
            .iter()
            .map(|(_, connection)| connection.inserts.url().to_string())
            .collect();
        let replicas = topology.clusters.iter().flat_map(|(cluster, shards)| {
            let replicas = shards.iter().flat_map(|shard| &shard.replicas);
            replicas.map(move |replica| (cluster, replica))
        });
        let others = replicas.filter_map(|(cluster, replica)| {
            let known = self.known.get(cluster, &replica.address());
            match known {
                Some(known) if urls.contains(&known.url()) => None,
                _ => Some((cluster, replica, known.map(|known| Arc::clone(&known.replica.backend)))),
            }
        });
        let probes = others.map(|(cluster, replica, known)| {
            let names = &names;
            async move {
                let is_known = known.is_some();
                let connection = match known {
                    Some(connection) => connection,
                    None => Arc::new(first.on_host(&replica.host)?),
                };
                let topology = Topology::read(&connection.queries, names, PROBE_TIMEOUT).await.ok()?;
                let mut own = topology.clusters.get(cluster)?.iter().flat_map(|shard| &shard.replicas);
                let is_found = own.any(|own| own.is_local && own.address() == replica.address());
                (is_found || is_known).then_some((connection, topology))
            }
        });
        for (connection, topology) in join_all(probes).await.into_iter().flatten() {
            self.known.place(&connection, &topology);
        }
    }

    /// Returns a shard with its known servers.
    fn current(&self, cluster: &str, shard: &ClusterShard, tables: &[DistributedTable]) -> CurrentShard {
        let replicas = addresses(shard);
        let known = replicas.iter().filter_map(|address| self.known.get(cluster, address));
        let replicated = tables.iter().filter(|table| table.is_replicated());
        CurrentShard {
            number: shard.number,
            members: Members {
                replicas: known.map(|known| Arc::clone(&known.replica)).collect(),
                replicated: replicated.map(|table| table.local.clone()).collect(),
            },
            replicas,
        }
    }

    /// Sets the way of a table's rows.
    fn route(
        &mut self,
        table: &DistributedTable,
        shards: &[ClusterShard],
        database: &str,
        readers: &mut Vec<TableReader>,
    ) {
        let Some((id, layout)) = self.spool.table(&table.name) else {
            return;
        };
        let key = match check(table, shards, database).and_then(|()| key_of(table, shards, &layout)) {
            Ok(key) => key,
            Err(reason) => {
                self.spool.set_router(id, None);
                return self.log(table, &reason);
            }
        };
        let mut missing = Vec::new();
        let mut queues = Vec::with_capacity(shards.len());
        for shard in shards {
            let queue = match self.is_direct(table, shard) {
                true => self.add_queue(table, shard, &layout, readers),
                false => None,
            };
            if queue.is_none() {
                missing.push(format!("{} ({})", shard.number, addresses(shard).join(", ")));
            }
            queues.push((shard.weight, queue));
        }
        if self.spool.is_closed() {
            return;
        }
        self.spool.set_router(id, Router::new(key, queues));
        let message = match missing.is_empty() {
            true => format!("rows go to {} shards directly", shards.len()),
            false => format!(
                "rows of these shards go through the Distributed table, since no URL of ClickHouse reaches a server \
                 of theirs with the table `{}`: {}",
                table.local,
                missing.join(", ")
            ),
        };
        self.log(table, &message);
    }

    /// Returns whether rows can be inserted into a shard itself: a server of it is known, and its
    /// replicas need no copy from the Distributed table.
    fn is_direct(&self, table: &DistributedTable, shard: &ClusterShard) -> bool {
        let is_copied = shard.replicas.len() == 1 || shard.internal_replication || table.is_replicated();
        let has_local = |address: &str| {
            let known = self.known.get(&table.cluster, address);
            known.is_some_and(|known| known.locals.contains(&table.local))
        };
        is_copied && addresses(shard).iter().any(|address| has_local(address))
    }

    /// Returns the queue of a shard, and adds the reader of a new one to `readers`.
    fn add_queue(
        &self,
        table: &DistributedTable,
        shard: &ClusterShard,
        layout: &InsertTarget,
        readers: &mut Vec<TableReader>,
    ) -> Option<TableId> {
        let shard = Shard {
            table: Arc::clone(&layout.table),
            cluster: table.cluster.as_str().into(),
            number: shard.number,
            replicas: addresses(shard),
        };
        // The delivery finds the servers that the coming update sets.
        self.delivery.0.shards.servers(&shard);
        let (id, reader) = self.spool.add_shard(layout.on_shard(&table.local, shard))?;
        readers.extend(reader);
        Some(id)
    }

    /// Logs the way of a table's rows when it changes.
    fn log(&mut self, table: &DistributedTable, message: &str) {
        let DistributedTable { name, cluster, .. } = table;
        if self.logged.get(name).is_none_or(|logged| logged != message) {
            tracing::info!(table = name, cluster, "{message}");
            self.logged.insert(name.clone(), message.to_owned());
        }
    }
}

/// Returns the sorted addresses of a shard's replicas.
fn addresses(shard: &ClusterShard) -> Box<[Box<str>]> {
    let mut addresses: Vec<Box<str>> = shard.replicas.iter().map(|replica| replica.address().into()).collect();
    addresses.sort_unstable();
    addresses.into()
}

/// Checks that the rows of a table can be inserted into the shards themselves.
///
/// # Errors
/// The reason why not.
fn check(table: &DistributedTable, shards: &[ClusterShard], database: &str) -> Result<(), String> {
    let through = "rows go through the Distributed table";
    let replicas = || shards.iter().flat_map(|shard| &shard.replicas);
    let is_other = |other: &str| !other.is_empty() && other != database;
    if shards.is_empty() {
        return Err(format!("{through}: its server does not know the cluster"));
    }
    if is_other(&table.database) || replicas().any(|replica| is_other(&replica.database)) {
        return Err(format!("{through}: the rows of a shard are in another database"));
    }
    let mut addresses: Vec<_> = replicas().map(|replica| replica.address()).collect();
    addresses.sort_unstable();
    if addresses.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("{through}: a server is in the cluster twice"));
    }
    Ok(())
}

/// Returns the sharding key of a table; `None` if it has none, or if there is one shard.
///
/// # Errors
/// The reason why only ClickHouse can compute the key.
fn key_of(
    table: &DistributedTable,
    shards: &[ClusterShard],
    layout: &InsertTarget,
) -> Result<Option<ShardingKey>, String> {
    let Some(key) = table.sharding_key.as_deref().filter(|_| shards.len() > 1) else {
        return Ok(None);
    };
    let key = ShardingKey::parse(key, layout, &table.columns);
    key.map(Some).map_err(|reason| {
        let reason = match reason {
            UnknownKey::Expression => "the sharding key is neither an integer column nor cityHash64, intHash64, \
                                       sipHash64 or xxHash64 of columns"
                .to_owned(),
            UnknownKey::Column(name) => format!("the rows do not have the column `{name}` with the table's type"),
            UnknownKey::Type(data_type) => format!("a value of the type {data_type} is in or before the sharding key"),
        };
        format!("rows go through the Distributed table: {reason}")
    })
}
