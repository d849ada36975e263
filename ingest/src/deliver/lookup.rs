//! Checks whether rows that may be stored are in their table.
//!
//! A deduplication token alone proves nothing: ClickHouse forgets the tokens outside the
//! deduplication window, and after a kill it can remember a token whose part is gone. Rows have
//! ids, so the lookup queries the table for them. An insert is atomic only within each partition.
//! The lookup searches for each row separately, so it does not need to know the partitions.

use std::{collections::HashMap, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::{
    block::{
        content::BlockRows,
        parts::{Part, RowRange, ranges_of},
        sealed::SealedBlock,
    },
    store::{ClickHouseError, Connection, quoted, within},
    sync::{CLOSED, copy_name, is_closed, views_recognize_blocks},
};

/// The rows that a table has, of those that may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The table has none of the rows.
    None,
    /// The table has these rows and no others.
    Some(Vec<RowRange>),
    /// The table has all rows.
    All,
    /// An earlier try is still running, or a copy of the table has closed it: the table with its name
    /// may be another one in a moment, which does not know the token.
    Running,
    /// A lookup is not possible: the table's rows have no ids, or its engine does not keep every
    /// inserted row.
    Unknowable,
}

impl Found {
    /// Returns the rows of a part that the table is not known to have.
    pub(super) fn missing(&self, part: &Part) -> Part {
        match self {
            Self::All => Part::of(Vec::new()),
            Self::Some(found) => {
                let is_found = |row: &u32| found.iter().any(|rows| rows.contains(row));
                Part::of(ranges_of(part.rows().filter(|row| !is_found(row))))
            }
            Self::None | Self::Running | Self::Unknowable => part.clone(),
        }
    }
}

/// Facts about a table, which the lookup reads before the rows.
#[derive(Debug, Row, Deserialize)]
struct TableFacts {
    engine: String,
    engine_full: String,
    views: u64,
    running: u64,
    /// Tables that earlier tries have created to attach rows.
    sources: Vec<String>,
    /// The number of closed tables that a copy of the table has left: the rows may come from there,
    /// and only the other table had their tokens. While the copy runs, its table is open.
    copies: u64,
}

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(super) found: Found,
    /// Whether materialized views receive the table's rows.
    pub(super) has_views: bool,
    /// Whether the table is sure to remember the token of the rows in it, and the tables of its
    /// views have deduplication windows as well.
    pub(super) is_remembered: bool,
    /// Whether the replicas of the table share their tokens, so that a server may know the token of
    /// rows that it does not show yet.
    pub(super) is_replicated: bool,
}

impl Lookup {
    const UNKNOWABLE: Self = Self {
        found: Found::Unknowable,
        has_views: false,
        is_remembered: false,
        is_replicated: false,
    };

    /// Queries the block's table for the rows of `part`, which are `rows`.
    ///
    /// # Errors
    /// An error of ClickHouse. The rows are still in doubt.
    pub(super) async fn of(
        connection: &Connection,
        block: &SealedBlock,
        part: &Part,
        rows: &BlockRows,
        timeout: Duration,
    ) -> Result<Self, ClickHouseError> {
        let layout = &block.layout;
        let Some(column) = layout.row_id.map(|at| &*layout.columns[at].name) else {
            return Ok(Self::UNKNOWABLE);
        };
        let Some(ids) = layout.row_ids(&rows.bytes, &rows.ends) else {
            return Ok(Self::UNKNOWABLE);
        };
        match Self::query(connection, block, part, column, &ids, timeout).await {
            // For example, the user may only insert.
            Err(error) if !error.is_transient() => {
                tracing::debug!(table = %layout.table, %error, "the table cannot be queried for its rows");
                Ok(Self::UNKNOWABLE)
            }
            result => result,
        }
    }

    async fn query(
        connection: &Connection,
        block: &SealedBlock,
        part: &Part,
        column: &str,
        ids: &[u64],
        timeout: Duration,
    ) -> Result<Self, ClickHouseError> {
        let client = &connection.queries;
        let Some(facts) = table_facts(client, block, timeout).await? else {
            return Ok(Self::UNKNOWABLE);
        };
        let mut lookup = Self {
            found: Found::Running,
            has_views: facts.views > 0,
            is_remembered: false,
            is_replicated: facts.engine.starts_with("Replicated") || facts.engine.starts_with("Shared"),
        };
        if facts.running > 0 || (lookup.has_views && is_closed(&facts.engine_full)) {
            return Ok(lookup);
        }
        drop_tables(client, &facts.sources, timeout).await?;
        let query = Query {
            client,
            table: &block.layout.table,
            column,
            ids,
            age: block.age(),
            timeout,
        };
        lookup.found = query.found(part).await?;
        if lookup.found != Found::All && !keeps_each_row(&facts.engine) {
            lookup.found = Found::Unknowable;
        }
        let may_be_missed = (lookup.has_views || connection.has_quorum) && facts.copies == 0;
        if may_be_missed && matches!(lookup.found, Found::All | Found::Some(_)) {
            // A new view may fill a table that has no deduplication window yet.
            lookup.is_remembered =
                query.is_remembered(&facts).await? && views_recognize_blocks(client, &block.layout.table).await?;
        }
        Ok(lookup)
    }
}

/// Returns the prefix of the query ids of all tries of a block.
pub(super) fn query_prefix(block: &SealedBlock) -> String {
    format!("rowmill-{}-", block.id)
}

/// Returns the prefix of the names of all tables that delivery creates to attach rows of a block.
pub(super) fn attach_prefix(block: &SealedBlock) -> String {
    format!("rowmill_attach_{}_", block.id.simple())
}

/// Drops tables that earlier tries have created to attach rows, and waits until no statement uses
/// them any more.
async fn drop_tables(client: &Client, names: &[String], timeout: Duration) -> Result<(), ClickHouseError> {
    for name in names {
        let drop = format!("DROP TABLE IF EXISTS {} SYNC", quoted(name));
        match within(timeout, client.query_raw(&drop).execute()).await {
            Err(error) if !error.is_transient() => {
                tracing::debug!(name, %error, "a table that is no longer needed cannot be dropped");
            }
            result => result?,
        }
    }
    Ok(())
}

async fn table_facts(
    client: &Client,
    block: &SealedBlock,
    timeout: Duration,
) -> Result<Option<TableFacts>, ClickHouseError> {
    let query = client
        .query(
            "SELECT engine, engine_full, toUInt64(length(dependencies_table)) AS views, \
             ifNull(toUInt64((SELECT count() FROM system.processes WHERE startsWith(query_id, ?))), toUInt64(0)) AS running, \
             (SELECT groupArray(name) FROM system.tables WHERE database = currentDatabase() AND startsWith(name, ?)) AS sources, \
             ifNull(toUInt64((SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = ? \
             AND position(engine_full, ?) > 0)), toUInt64(0)) AS copies \
             FROM system.tables WHERE database = currentDatabase() AND name = ?",
        )
        .bind(query_prefix(block))
        .bind(attach_prefix(block))
        .bind(copy_name(&block.layout.table))
        .bind(CLOSED)
        .bind(&*block.layout.table);
    within(timeout, query.fetch_optional::<TableFacts>()).await
}

/// Returns whether a table of this engine shows each inserted row until the row is deleted. Other
/// engines merge rows with the same key, forward rows or keep none.
pub(crate) fn keeps_each_row(engine: &str) -> bool {
    matches!(
        engine,
        "MergeTree" | "ReplicatedMergeTree" | "SharedMergeTree" | "Memory" | "Log" | "TinyLog" | "StripeLog"
    )
}

/// The longest time from the last write to the files of a part to its block number.
const COMMIT_TIME: Duration = Duration::from_secs(30);

/// Queries about the rows of one part.
struct Query<'a> {
    client: &'a Client,
    table: &'a str,
    column: &'a str,
    ids: &'a [u64],
    /// The time since the first row.
    age: Option<Duration>,
    timeout: Duration,
}

impl Query<'_> {
    /// Returns the rows that are in the table.
    async fn found(&self, part: &Part) -> Result<Found, ClickHouseError> {
        let select = format!(
            "SELECT {column} FROM {table} WHERE {}",
            self.condition(),
            column = quoted(self.column),
            table = quoted(self.table)
        );
        let numbers: HashMap<u64, u32> = self.ids.iter().copied().zip(part.rows()).collect();
        let read = async {
            let mut rows = Vec::new();
            let mut cursor = self.client.query_raw(&select).fetch::<u64>()?;
            while let Some(id) = cursor.next().await? {
                rows.extend(numbers.get(&id));
            }
            Ok(rows)
        };
        let mut rows = within(self.timeout, read).await?;
        rows.sort_unstable();
        rows.dedup();
        Ok(match rows.len() {
            0 => Found::None,
            all if all == numbers.len() => Found::All,
            _ => Found::Some(ranges_of(rows)),
        })
    }

    /// Returns whether the table's deduplication window still contains the token of these rows: the
    /// table has had few enough inserts since theirs.
    ///
    /// Each insert has a block number. That of the rows is at least the first one of their part,
    /// which may have been merged with much older ones, and greater than those of parts that are
    /// older than the rows. Parts stay in `system.parts` for eight minutes after a merge.
    async fn is_remembered(&self, facts: &TableFacts) -> Result<bool, ClickHouseError> {
        let window = ["non_replicated_deduplication_window", "replicated_deduplication_window"]
            .into_iter()
            .find_map(|name| number_after(&facts.engine_full, name));
        // In a Replicated table, each partition has its own block numbers.
        let age = self.age.filter(|_| facts.engine == "MergeTree");
        let older = age.map_or_else(
            || "0".to_owned(),
            |age| {
                let seconds = (age + COMMIT_TIME).as_secs() + 1;
                format!("toInt64(maxIf(max_block_number, modification_time < now() - toIntervalSecond({seconds})))")
            },
        );
        let select = format!(
            "SELECT toInt64(max(max_block_number)) - greatest({older}, toInt64(minIf(min_block_number, \
             active AND name IN (SELECT DISTINCT _part FROM {table} WHERE {})))) \
             FROM system.parts WHERE database = currentDatabase() AND table = {name}",
            self.condition(),
            name = sql_string(self.table),
            table = quoted(self.table)
        );
        let since = within(self.timeout, self.client.query_raw(&select).fetch_one::<i64>()).await?;
        // Only half of the window counts, since other collectors insert in the meantime.
        Ok(window.is_some_and(|window| since >= 0 && since.unsigned_abs() < window / 2))
    }

    fn condition(&self) -> String {
        let least = self.ids.iter().min().copied().unwrap_or_default();
        let most = self.ids.iter().max().copied().unwrap_or_default();
        format!("{} BETWEEN {least} AND {most}", quoted(self.column))
    }
}

/// Quotes a string as ClickHouse's SQL requires.
pub(super) fn sql_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns the number after `name = ` in the settings of a table's engine.
fn number_after(engine: &str, name: &str) -> Option<u64> {
    let at = engine.find(&format!("{name} = "))? + name.len() + 3;
    let digits = engine[at..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
