//! The table `rowmill_log_positions`: how far the rows of each partition are in their tables.
//!
//! Each server has a table of its own, which nothing copies to the others. A position is therefore
//! written to all of them, to one that is away once it is back, and the greatest one counts.
//!
//! The positions are in ClickHouse, beside the rows: a database that is restored from a backup gets
//! the rows since then again from the log. A position is written after the rows. A process that
//! ends in between leaves one that is too low, and the next process looks the rows up before it
//! sends them.

use std::{
    collections::BTreeMap,
    future::pending,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::{
    store::{Class, ClickHouseError, backoff::RETRY, failure_log::FailureLog, within},
    sync::state::State,
};

/// A row for each position that was written; the greatest of a partition counts.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS `rowmill_log_positions` (`topic` String, `partition` Int32, \
     `position` Int64, `control_offset` Int64, `at` DateTime64(3, 'UTC') DEFAULT now64(3)) \
     ENGINE = ReplacingMergeTree(`position`) ORDER BY (`topic`, `partition`)";

/// The name of the table.
pub(super) const TABLE: &str = "rowmill_log_positions";

/// The timeout of one statement; all of them are small.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest time between two inserts of positions. Each creates a part.
const INTERVAL: Duration = Duration::from_millis(500);

/// A partition of a topic.
pub(super) type PartitionId = (Arc<str>, i32);

/// How far the rows of a partition are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The rows of all records before this offset are stored.
    pub(super) position: i64,
    /// The offset in the control topic of the cut that ends there.
    pub(super) control_offset: i64,
}

#[derive(Debug, Row, Deserialize)]
struct PositionRow {
    topic: String,
    partition: i32,
    last_position: i64,
    last_control: i64,
}

/// Positions of partitions.
pub(super) type PositionMap = BTreeMap<PartitionId, Position>;

/// The positions of a log, and those that are not written yet.
#[derive(Debug)]
pub(super) struct Positions {
    states: watch::Receiver<Vec<State>>,
    /// The positions that each server lacks, in the order of the states.
    dirty: Mutex<Vec<PositionMap>>,
    changed: Notify,
}

impl Positions {
    pub(super) fn new(states: watch::Receiver<Vec<State>>) -> Self {
        let dirty = vec![BTreeMap::new(); states.borrow().len()];
        Self {
            states,
            dirty: Mutex::new(dirty),
            changed: Notify::new(),
        }
    }

    /// Records how far a partition is stored.
    pub(super) fn record(&self, partition: PartitionId, position: Position) {
        for dirty in self.dirty().iter_mut() {
            dirty.insert(partition.clone(), position);
        }
        self.changed.notify_one();
    }

    /// Creates the table on all servers that are ready and returns the greatest positions in it.
    /// Waits until a server is ready and none is still unknown.
    ///
    /// # Errors
    /// That of the last server, if none could be read.
    pub(super) async fn read(&self) -> Result<PositionMap, ClickHouseError> {
        let mut found = Vec::new();
        let mut failure = None;
        for (server, client) in self.clients().await {
            match read(&client).await {
                Ok(positions) => found.push((server, positions)),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure.filter(|_| found.is_empty()) {
            return Err(error);
        }
        let mut greatest = PositionMap::new();
        for (partition, position) in found.iter().flat_map(|(_, positions)| positions) {
            raise(&mut greatest, partition, *position);
        }
        // A server that was away gets what it has missed.
        let mut dirty = self.dirty();
        for (server, dirty) in dirty.iter_mut().enumerate() {
            let own = found.iter().find(|(of, _)| *of == server).map(|(_, own)| own);
            for (partition, position) in &greatest {
                if own.and_then(|own| own.get(partition)) != Some(position) {
                    raise(dirty, partition, *position);
                }
            }
        }
        drop(dirty);
        self.changed.notify_one();
        Ok(greatest)
    }

    /// Writes the positions as they change, in an endless loop.
    pub(super) async fn keep(&self) {
        let mut failures = 0;
        let mut failure_log = FailureLog::default();
        loop {
            if self.dirty().iter().all(BTreeMap::is_empty) {
                self.changed.notified().await;
                continue;
            }
            self.clients().await;
            match self.write().await {
                Ok(()) => {
                    failures = 0;
                    failure_log = FailureLog::default();
                    sleep(INTERVAL).await;
                }
                Err(error) => {
                    failures += 1;
                    if failure_log.due(Class::Retry).is_some() {
                        tracing::warn!(%error, "the positions of the shared log cannot be written; the rows are stored");
                    }
                    sleep(RETRY.wait(failures)).await;
                }
            }
        }
    }

    /// Writes the positions that have changed to all servers that are ready.
    ///
    /// # Errors
    /// That of the last server that has failed; its positions are written later.
    pub(super) async fn write(&self) -> Result<(), ClickHouseError> {
        let mut result = Ok(());
        let ready = ready(&self.states.borrow());
        for (server, client) in ready {
            let positions = self.dirty().get_mut(server).map(mem::take).unwrap_or_default();
            if positions.is_empty() {
                continue;
            }
            if let Err(error) = write(&client, &positions).await {
                if let Some(dirty) = self.dirty().get_mut(server) {
                    for (partition, position) in &positions {
                        dirty.entry(partition.clone()).or_insert(*position);
                    }
                }
                result = Err(error);
            }
        }
        result
    }

    /// Returns the servers that are ready, with their numbers. Waits until there is one and none is
    /// still unknown.
    async fn clients(&self) -> Vec<(usize, Client)> {
        let mut states = self.states.clone();
        loop {
            let ready = ready(&states.borrow_and_update());
            if !ready.is_empty() {
                return ready;
            }
            if states.changed().await.is_err() {
                // The sync tasks have ended, since the runtime is about to shut down.
                pending::<()>().await;
            }
        }
    }

    fn dirty(&self) -> MutexGuard<'_, Vec<PositionMap>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the clients of the servers that are ready; none while one is unknown.
fn ready(states: &[State]) -> Vec<(usize, Client)> {
    if states.iter().any(|state| matches!(state, State::Unknown)) {
        return Vec::new();
    }
    let ready = states.iter().enumerate().filter_map(|(server, state)| match state {
        State::Ready(connection) => Some((server, connection.queries.clone())),
        _ => None,
    });
    ready.collect()
}

/// Raises the position of a partition.
fn raise(positions: &mut PositionMap, partition: &PartitionId, position: Position) {
    let known = positions.entry(partition.clone()).or_insert(position);
    if known.position < position.position {
        *known = position;
    }
}

/// Creates the table on a server and returns the positions in it.
async fn read(client: &Client) -> Result<PositionMap, ClickHouseError> {
    within(STATEMENT_TIMEOUT, client.query(CREATE).execute()).await?;
    select(client).await
}

/// Returns the positions in the table of a server.
pub(super) async fn select(client: &Client) -> Result<PositionMap, ClickHouseError> {
    let select = client.query(
        "SELECT topic, partition, max(position) AS last_position, \
         argMax(control_offset, position) AS last_control \
         FROM rowmill_log_positions GROUP BY topic, partition",
    );
    let rows = within(STATEMENT_TIMEOUT, select.fetch_all::<PositionRow>()).await?;
    let position = |row: PositionRow| {
        let position = Position {
            position: row.last_position,
            control_offset: row.last_control,
        };
        ((row.topic.into(), row.partition), position)
    };
    Ok(rows.into_iter().map(position).collect())
}

/// Writes positions to a server, whose table may be missing if it was away at the start.
async fn write(client: &Client, positions: &PositionMap) -> Result<(), ClickHouseError> {
    within(STATEMENT_TIMEOUT, client.query(CREATE).execute()).await?;
    let values: Vec<_> = positions
        .iter()
        .map(|((topic, partition), at)| {
            // The characters of a topic need no quotes.
            format!("('{topic}', {partition}, {}, {})", at.position, at.control_offset)
        })
        .collect();
    let insert = format!(
        "INSERT INTO rowmill_log_positions (topic, partition, position, control_offset) VALUES {}",
        values.join(", ")
    );
    within(STATEMENT_TIMEOUT, client.query_raw(&insert).execute()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_a_position_and_the_greatest_one_counts() {
        let (_states, states) = watch::channel(vec![State::Unknown, State::Unreachable]);
        let positions = Positions::new(states);
        let id: PartitionId = ("events.mail".into(), 0);
        let at = |position| Position {
            position,
            control_offset: position * 10,
        };
        positions.record(id.clone(), at(4));
        assert!(positions.dirty().iter().all(|dirty| dirty.get(&id) == Some(&at(4))));
        assert_eq!(positions.dirty().len(), 2);
        let mut greatest = PositionMap::new();
        for position in [4, 9, 7] {
            raise(&mut greatest, &id, at(position));
        }
        assert_eq!(greatest.get(&id), Some(&at(9)));
    }
}
