//! The table `rowmill_log_positions`: how far the rows of each partition are in their tables.
//!
//! The positions are in ClickHouse, beside the rows: a database that is restored from a backup gets
//! the rows since then again from the log. A position is written after the rows. A process that
//! ends in between leaves one that is too low, and the next process looks the rows up before it
//! sends them.

use std::{
    collections::BTreeMap,
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

/// The positions of a log, and those that are not written yet.
#[derive(Debug)]
pub(super) struct Positions {
    states: watch::Receiver<Vec<State>>,
    dirty: Mutex<BTreeMap<PartitionId, Position>>,
    changed: Notify,
}

impl Positions {
    pub(super) fn new(states: watch::Receiver<Vec<State>>) -> Self {
        Self {
            states,
            dirty: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Records how far a partition is stored.
    pub(super) fn record(&self, partition: PartitionId, position: Position) {
        self.dirty().insert(partition, position);
        self.changed.notify_one();
    }

    /// Creates the table and returns the positions in it. Waits until ClickHouse is ready.
    ///
    /// # Errors
    /// ClickHouse's.
    pub(super) async fn read(&self) -> Result<BTreeMap<PartitionId, Position>, ClickHouseError> {
        let client = self.client().await;
        within(STATEMENT_TIMEOUT, client.query(CREATE).execute()).await?;
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

    /// Writes the positions as they change, in an endless loop.
    pub(super) async fn keep(&self) {
        let mut failures = 0;
        let mut failure_log = FailureLog::default();
        loop {
            if self.dirty().is_empty() {
                self.changed.notified().await;
                continue;
            }
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

    /// Writes the positions that have changed.
    ///
    /// # Errors
    /// ClickHouse's; the positions are written later.
    pub(super) async fn write(&self) -> Result<(), ClickHouseError> {
        let positions = mem::take(&mut *self.dirty());
        if positions.is_empty() {
            return Ok(());
        }
        let client = self.client().await;
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
        let result = within(STATEMENT_TIMEOUT, client.query_raw(&insert).execute()).await;
        if result.is_err() {
            let mut dirty = self.dirty();
            for (partition, position) in positions {
                dirty.entry(partition).or_insert(position);
            }
        }
        result
    }

    /// Returns the client of a server that is ready, or waits for one.
    async fn client(&self) -> Client {
        let mut states = self.states.clone();
        let ready = |states: &Vec<State>| {
            states.iter().find_map(|state| match state {
                State::Ready(connection) => Some(connection.queries.clone()),
                _ => None,
            })
        };
        loop {
            if let Some(client) = ready(&states.borrow_and_update()) {
                return client;
            }
            if states.changed().await.is_err() {
                // The sync tasks have ended, since the runtime is about to shut down.
                std::future::pending::<()>().await;
            }
        }
    }

    fn dirty(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Position>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
