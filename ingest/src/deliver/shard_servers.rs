//! The servers of a shard: its replicas, and the one that gets the next insert.
//!
//! An insert goes to the replica with the fewest inserts in flight. A replica that does not answer is
//! left out for a while, longer after each failure. Rows that a replica may have stored stay with
//! it, unless their table is replicated: then every replica knows the token.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::store::{Connection, backoff::Backoff};

/// The time for which a replica that did not answer gets no inserts, if others answer.
const AWAY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

/// The servers of one shard, for the tables of all builds.
#[derive(Debug)]
pub(crate) struct ShardServers<B = Connection> {
    members: watch::Sender<Members<B>>,
    /// One permit for each insert that may run at a time, so that a slow shard takes none of the
    /// others'.
    pub(super) permits: Semaphore,
}

/// The replicas of a shard that are known to be it.
#[derive(Debug)]
pub(crate) struct Members<B = Connection> {
    pub(crate) replicas: Vec<Arc<Replica<B>>>,
    /// The names of the replicated tables of a shard, whose rows and tokens every replica gets.
    pub(crate) replicated: BTreeSet<String>,
}

impl<B> Clone for Members<B> {
    fn clone(&self) -> Self {
        Self {
            replicas: self.replicas.clone(),
            replicated: self.replicated.clone(),
        }
    }
}

impl<B> Default for Members<B> {
    fn default() -> Self {
        Self {
            replicas: Vec::new(),
            replicated: BTreeSet::new(),
        }
    }
}

/// A server of a shard.
#[derive(Debug)]
pub(crate) struct Replica<B = Connection> {
    /// `host:port` of ClickHouse's native protocol, as the cluster names the server.
    pub(crate) address: Arc<str>,
    pub(crate) backend: Arc<B>,
    in_flight: AtomicUsize,
    health: Mutex<Health>,
}

/// The last answers of a replica.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    away_until: Option<Instant>,
}

/// The replica of one insert, which counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Chosen<B>(Arc<Replica<B>>);

impl<B> Replica<B> {
    pub(crate) fn new(address: impl Into<Arc<str>>, backend: Arc<B>) -> Self {
        Self {
            address: address.into(),
            backend,
            in_flight: AtomicUsize::new(0),
            health: Mutex::default(),
        }
    }

    fn away_until(&self) -> Option<Instant> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.away_until.filter(|until| *until > Instant::now())
    }
}

impl<B> ShardServers<B> {
    /// Returns a shard without any server, for `inserts_in_flight` inserts at a time.
    pub(super) fn new(inserts_in_flight: usize) -> Self {
        Self {
            members: watch::Sender::default(),
            permits: Semaphore::new(inserts_in_flight),
        }
    }

    /// Replaces the servers.
    pub(super) fn set(&self, members: Members<B>) {
        self.members.send_replace(members);
    }

    /// Returns whether rows must wait for a server.
    pub(super) fn none_ready(&self) -> bool {
        self.members.borrow().replicas.is_empty()
    }

    /// Waits until there is a server.
    pub(super) async fn wait(&self) {
        let mut members = self.members.subscribe();
        let has_any = |members: &Members<B>| !members.replicas.is_empty();
        if members.wait_for(has_any).await.is_err() {
            pending().await
        }
    }

    /// Returns the server for an insert into `table`, the name of the table with the rows of one
    /// shard. `in_doubt` is the address of the server that may have the rows. Returns `None` if there
    /// is no server that may get them.
    pub(super) fn choose(&self, table: &str, in_doubt: Option<&str>) -> Option<Chosen<B>> {
        let members = self.members.borrow();
        let replicas = &members.replicas;
        let earlier = in_doubt.and_then(|address| replicas.iter().find(|replica| *replica.address == *address));
        let chosen = match earlier {
            Some(earlier) if !members.replicated.contains(table) || earlier.away_until().is_none() => earlier,
            _ => {
                let load =
                    |replica: &&Arc<Replica<B>>| (replica.away_until(), replica.in_flight.load(Ordering::Relaxed));
                // Of equals, `min_by_key` returns the first: rotate them.
                let start = fastrand::usize(..replicas.len().max(1));
                let (before, after) = replicas.split_at_checked(start)?;
                after.iter().chain(before).min_by_key(load)?
            }
        };
        chosen.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Chosen(Arc::clone(chosen)))
    }
}

impl<B> Chosen<B> {
    pub(super) fn backend(&self) -> &B {
        &self.0.backend
    }

    pub(super) fn address(&self) -> &Arc<str> {
        &self.0.address
    }

    /// Records whether the server answered.
    pub(super) fn record(&self, has_answered: bool) {
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        if has_answered {
            *health = Health::default();
        } else {
            health.failures += 1;
            health.away_until = Some(Instant::now() + AWAY.wait(health.failures));
        }
    }
}

impl<B> Drop for Chosen<B> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TABLE: &str = "orders_local";

    fn servers(replicated: bool) -> ShardServers<()> {
        let servers = ShardServers::new(2);
        assert!(servers.none_ready() && servers.choose(TABLE, None).is_none());
        let replica = |address: &str| Arc::new(Replica::new(address, Arc::new(())));
        servers.set(Members {
            replicas: vec![replica("a:9000"), replica("b:9000")],
            replicated: replicated.then(|| TABLE.to_owned()).into_iter().collect(),
        });
        servers
    }

    fn address(servers: &ShardServers<()>, in_doubt: Option<&str>) -> Arc<str> {
        Arc::clone(servers.choose(TABLE, in_doubt).unwrap().address())
    }

    #[test]
    fn the_replica_with_the_fewest_inserts_is_next() {
        let servers = servers(true);
        for _ in 0..20 {
            let first = servers.choose(TABLE, None).unwrap();
            let second = servers.choose(TABLE, None).unwrap();
            assert_ne!(first.address(), second.address());
            drop(first);
            assert_ne!(*address(&servers, None), **second.address());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_replica_is_left_out_for_a_while() {
        let servers = servers(true);
        let silent = servers.choose(TABLE, None).unwrap();
        let name = Arc::clone(silent.address());
        silent.record(false);
        drop(silent);
        for _ in 0..20 {
            assert_ne!(address(&servers, Some(&name)), name);
        }
        tokio::time::advance(2 * AWAY.cap).await;
        assert_eq!(address(&servers, Some(&name)), name);
        let others = |_: &usize| address(&servers, None) == name;
        assert!((0..100).find(others).is_some(), "it gets rows again");
    }

    #[tokio::test(start_paused = true)]
    async fn rows_in_doubt_stay_with_their_server_unless_the_table_is_replicated() {
        for (is_replicated, expected) in [(false, "a:9000"), (true, "b:9000")] {
            let servers = servers(is_replicated);
            for _ in 0..20 {
                assert_eq!(*address(&servers, Some("a:9000")), *"a:9000");
            }
            let chosen = servers.choose(TABLE, Some("a:9000")).unwrap();
            chosen.record(false);
            drop(chosen);
            assert_eq!(*address(&servers, Some("a:9000")), *expected);
        }
    }
}
