//! The stores of a server's tables: what other servers have the same rows and the same tokens.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio::time::Instant;

use super::{ClickHouseError, within};

/// The time for which an answer counts. An operator may replace a table by a replicated one.
const LIFETIME: Duration = Duration::from_secs(60);

/// The known stores of one server's tables.
#[derive(Debug, Default)]
pub(crate) struct TableStores(Mutex<Answers>);

/// The store of each table that has one, and the time of the answer.
type Answers = HashMap<String, (Instant, Option<Arc<str>>)>;

/// What a server says of a table.
#[derive(Debug, Row, Deserialize)]
struct Facts {
    engine: String,
    engine_full: String,
    uuid: String,
}

impl TableStores {
    /// Returns the name of the store of a table's rows and tokens. Servers where it is the same share
    /// them. `None`: the server has them for itself.
    ///
    /// # Errors
    /// A transient error of ClickHouse. A server that refuses the query counts as one that shares
    /// nothing.
    pub(crate) async fn of(
        &self,
        client: &Client,
        table: &str,
        timeout: Duration,
    ) -> Result<Option<Arc<str>>, ClickHouseError> {
        if let Some((since, store)) = self.lock().get(table)
            && since.elapsed() < LIFETIME
        {
            return Ok(store.clone());
        }
        let store = match read(client, table, timeout).await {
            Err(error) if !error.is_transient() => {
                tracing::debug!(table, %error, "the table's replicas cannot be read");
                None
            }
            result => result?,
        };
        let store: Option<Arc<str>> = store.map(Into::into);
        self.lock().insert(table.to_owned(), (Instant::now(), store.clone()));
        Ok(store)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(client: &Client, table: &str, timeout: Duration) -> Result<Option<String>, ClickHouseError> {
    let query = client
        .query(
            "SELECT engine, engine_full, toString(uuid) AS uuid FROM system.tables \
             WHERE database = currentDatabase() AND name = ?",
        )
        .bind(table);
    let Some(facts) = within(timeout, query.fetch_optional::<Facts>()).await? else {
        return Ok(None);
    };
    if facts.engine == "Distributed" {
        return Ok(Some(facts.engine_full));
    }
    if facts.engine.starts_with("Shared") {
        return Ok(Some(format!("{} {}", facts.engine, facts.uuid)));
    }
    if !facts.engine.starts_with("Replicated") {
        return Ok(None);
    }
    // Tables of two Keepers may have the same path, but hardly the same replicas. A table with one
    // replica has its rows for itself.
    let query = client
        .query(
            "SELECT concat(zookeeper_path, ' ', arrayStringConcat(arraySort(mapKeys(replica_is_active)), ',')) \
             FROM system.replicas WHERE database = currentDatabase() AND table = ? AND length(replica_is_active) > 1",
        )
        .bind(table);
    within(timeout, query.fetch_optional::<String>()).await
}
