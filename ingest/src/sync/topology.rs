//! The topology of clusters, as one server sees it: the Distributed tables of a schema, the shards of
//! their clusters, and which of these servers the asked one is.
//!
//! Reads
//! [system.clusters](https://clickhouse.com/docs/operations/system-tables/clusters), and the sharding
//! key from the definition of each table.

use std::{collections::BTreeMap, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::definition::{split, split_at_close};
use crate::{
    store::{ClickHouseError, within},
    table::{Schema, Table},
};

/// What a server knows of the clusters behind its tables.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) tables: Vec<DistributedTable>,
    /// The shards of each cluster, in the order of their numbers.
    pub(crate) clusters: BTreeMap<String, Vec<ClusterShard>>,
}

/// A Distributed table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DistributedTable {
    pub(crate) name: String,
    pub(crate) cluster: String,
    /// The database of the tables with the rows of one shard.
    pub(crate) database: String,
    /// The name of those tables, unquoted.
    pub(crate) local: String,
    /// The sharding key as ClickHouse writes it; `None` for a table without one.
    pub(crate) sharding_key: Option<String>,
    /// The columns with their types.
    pub(crate) columns: Vec<(String, String)>,
    /// The engine of the table with this server's rows; `None` if the server has no such table.
    pub(crate) local_engine: Option<String>,
}

impl DistributedTable {
    /// Returns whether the replicas of a shard get each other's rows by themselves.
    pub(crate) fn is_replicated(&self) -> bool {
        let engine = self.local_engine.as_deref().unwrap_or_default();
        engine.starts_with("Replicated") || engine.starts_with("Shared")
    }
}

/// A shard of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterShard {
    /// Counted from 1.
    pub(crate) number: u32,
    pub(crate) weight: u32,
    /// Whether a Distributed table inserts into one replica and leaves the others to replication.
    pub(crate) internal_replication: bool,
    pub(crate) replicas: Vec<ClusterReplica>,
}

/// A server of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterReplica {
    pub(crate) host: String,
    /// The port of ClickHouse's native protocol.
    pub(crate) port: u16,
    /// Whether this is the server that was asked.
    pub(crate) is_local: bool,
    /// Another database of the replica than that of the Distributed table, or an empty text.
    pub(crate) database: String,
}

impl ClusterReplica {
    /// Returns `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Returns the names of the schema's tables over the shards of a cluster.
pub(crate) fn distributed_tables(schema: &Schema) -> Vec<&'static str> {
    let is_distributed = |table: &&&Table| table.create.contains("ENGINE = Distributed(");
    schema
        .tables
        .iter()
        .filter(is_distributed)
        .map(|table| table.name)
        .collect()
}

#[derive(Debug, Row, Deserialize)]
struct FoundTable {
    name: String,
    engine_full: String,
}

#[derive(Debug, Row, Deserialize)]
struct FoundColumn {
    table: String,
    name: String,
    data_type: String,
}

#[derive(Debug, Row, Deserialize)]
struct FoundEngine {
    name: String,
    engine: String,
}

#[derive(Debug, Row, Deserialize)]
struct FoundReplica {
    cluster: String,
    shard: u32,
    weight: u32,
    internal_replication: u8,
    host: String,
    port: u16,
    is_local: u8,
    database: String,
}

impl Topology {
    /// Reads the topology behind the tables with these names. Each query takes at most `timeout`.
    ///
    /// # Errors
    /// ClickHouse is unreachable, or refuses a query.
    pub(crate) async fn read(client: &Client, names: &[&str], timeout: Duration) -> Result<Self, ClickHouseError> {
        let tables = client
            .query(
                "SELECT name, engine_full FROM system.tables \
                 WHERE database = currentDatabase() AND engine = 'Distributed' AND name IN ?",
            )
            .bind(names);
        let tables: Vec<FoundTable> = within(timeout, tables.fetch_all()).await?;
        let mut tables: Vec<_> = tables
            .into_iter()
            .filter_map(|table| DistributedTable::parse(table.name, &table.engine_full))
            .collect();
        if tables.is_empty() {
            return Ok(Self::default());
        }
        let locals: Vec<_> = tables.iter().map(|table| table.local.as_str()).collect();
        let engines = client
            .query("SELECT name, engine FROM system.tables WHERE database = currentDatabase() AND name IN ?")
            .bind(&locals);
        let engines: Vec<FoundEngine> = within(timeout, engines.fetch_all()).await?;
        let columns = client
            .query(
                "SELECT table, name, type AS data_type FROM system.columns \
                 WHERE database = currentDatabase() AND table IN ?",
            )
            .bind(names);
        let columns: Vec<FoundColumn> = within(timeout, columns.fetch_all()).await?;
        let clusters: Vec<_> = tables.iter().map(|table| table.cluster.as_str()).collect();
        let clusters = clusters_of(client, &clusters, timeout).await?;
        for table in &mut tables {
            let engine = engines.iter().find(|found| found.name == table.local);
            table.local_engine = engine.map(|found| found.engine.clone());
            let own = columns.iter().filter(|column| column.table == table.name);
            table.columns = own
                .map(|column| (column.name.clone(), column.data_type.clone()))
                .collect();
        }
        Ok(Self { tables, clusters })
    }
}

/// Reads the shards of clusters.
async fn clusters_of(
    client: &Client,
    clusters: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Vec<ClusterShard>>, ClickHouseError> {
    let rows = |internal_replication: &'static str| {
        let query = client
            .query(&format!(
                "SELECT cluster, toUInt32(shard_num) AS shard, toUInt32(shard_weight) AS weight, \
                 toUInt8({internal_replication}) AS internal_replication, host_name AS host, port, is_local, \
                 default_database AS database FROM system.clusters WHERE cluster IN ? \
                 ORDER BY cluster, shard_num, replica_num",
            ))
            .bind(clusters);
        within(timeout, query.fetch_all::<FoundReplica>())
    };
    let rows = match rows("internal_replication").await {
        Ok(rows) => rows,
        Err(error) if error.is_transient() => return Err(error),
        // Servers before 24.10 do not list the setting.
        Err(_) => rows("0").await?,
    };
    let mut found: BTreeMap<String, Vec<ClusterShard>> = BTreeMap::new();
    for row in rows {
        let shards = found.entry(row.cluster).or_default();
        if shards.last().is_none_or(|shard| shard.number != row.shard) {
            shards.push(ClusterShard {
                number: row.shard,
                weight: row.weight,
                internal_replication: row.internal_replication > 0,
                replicas: Vec::new(),
            });
        }
        if let Some(shard) = shards.last_mut() {
            shard.replicas.push(ClusterReplica {
                host: row.host,
                port: row.port,
                is_local: row.is_local > 0,
                database: row.database,
            });
        }
    }
    Ok(found)
}

impl DistributedTable {
    /// Reads the definition of an engine:
    /// `Distributed('cluster', 'database', 'table'[, key[, 'policy']])`.
    fn parse(name: String, engine: &str) -> Option<Self> {
        let (arguments, _) = split_at_close(engine.strip_prefix("Distributed(")?)?;
        let mut arguments = split(arguments, ',');
        let cluster = text_of(arguments.next()?)?;
        let database = text_of(arguments.next()?)?;
        let local = text_of(arguments.next()?)?;
        Some(Self {
            name,
            cluster,
            database,
            local,
            sharding_key: arguments.next().map(str::to_owned),
            columns: Vec::new(),
            local_engine: None,
        })
    }
}

/// Returns the value of a text in quotes.
fn text_of(literal: &str) -> Option<String> {
    let quoted = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => characters.next()?,
            other => other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_names_cluster_table_and_key() {
        let parse = |engine| DistributedTable::parse("orders".to_owned(), engine);
        let expected = |database: &str, key: Option<&str>| {
            Some(DistributedTable {
                name: "orders".to_owned(),
                cluster: "fleet".to_owned(),
                database: database.to_owned(),
                local: "orders_local".to_owned(),
                sharding_key: key.map(str::to_owned),
                columns: Vec::new(),
                local_engine: None,
            })
        };
        for (engine, database, key) in [
            ("Distributed('fleet', 'stats', 'orders_local')", "stats", None),
            (
                "Distributed('fleet', 'stats', 'orders_local', cityHash64(id, `a, b)`)) SETTINGS fsync_after_insert = 1",
                "stats",
                Some("cityHash64(id, `a, b)`)"),
            ),
            (
                r"Distributed('fleet', 'it\'s', 'orders_local', id, 'policy')",
                "it's",
                Some("id"),
            ),
        ] {
            assert_eq!(parse(engine), expected(database, key), "{engine}");
        }
        assert_eq!(parse("MergeTree ORDER BY id"), None);
        assert_eq!(parse("Distributed('fleet', 'stats')"), None);
    }
}
