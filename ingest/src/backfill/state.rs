//! The pieces of a backfill, and the tables in ClickHouse that keep them.

use std::{collections::BTreeMap, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::with_insert_settings;
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    sync::{TableName, qualified, receivers_of},
};

/// The timeout of one small statement.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The attempts to fix the content of a piece. ClickHouse may remember the token of an insert whose
/// rows it lost when it was killed.
const ATTEMPTS: u64 = 3;

/// The statements that create the tables. The ids take two to eight bytes a row.
const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS `rowmill_backfill_rows` (`view` LowCardinality(String), `cut` UInt64, `piece` UInt64, \
     `id` UInt64 CODEC(Delta, ZSTD(1))) ENGINE = MergeTree ORDER BY (`view`, `cut`, `id`) \
     SETTINGS non_replicated_deduplication_window = 1000 \
     COMMENT 'The rows that rowmill backfill has added to each view. Without them, it adds rows again.'",
    "CREATE TABLE IF NOT EXISTS `rowmill_backfills` (`view` LowCardinality(String), `cut` UInt64, `piece` UInt64, \
     `rows` UInt64, `state` Enum8('sending' = 1, 'done' = 2), `blocks` Map(String, UInt64), \
     `at` DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY (`view`, `cut`, `piece`) \
     COMMENT 'The pieces of rowmill backfill.'",
];

/// The name of a backfill: a view that is created again has another cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) view: &'static str,
    pub(super) cut: u64,
}

/// The number of blocks that a table had received at a time, for each table that receives rows of a
/// piece.
pub(super) type Blocks = BTreeMap<String, u64>;

/// Rows of the source that are inserted together.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) rows: u64,
    /// The blocks before the piece was sent, if it may have been.
    pub(super) sent_at: Option<Blocks>,
}

/// A piece whose content is fixed, and its records.
#[derive(Debug, Row, Deserialize)]
struct FoundPiece {
    piece: u64,
    first: u64,
    last: u64,
    rows: u64,
}

#[derive(Debug, Row, Deserialize)]
struct Record {
    piece: u64,
    is_done: bool,
    blocks: Vec<(String, u64)>,
}

/// The state of one backfill.
pub(super) struct State {
    client: Client,
    key: Key,
}

impl State {
    /// Creates the tables if they are missing.
    pub(super) async fn open(client: &Client, key: Key) -> Result<Self, super::BackfillError> {
        for statement in TABLES {
            within(TIMEOUT, client.query_raw(statement).execute()).await?;
        }
        let state = Self {
            client: client.clone(),
            key,
        };
        let other = client
            .query("SELECT count() FROM rowmill_backfill_rows WHERE view = ? AND cut != ?")
            .bind(key.view)
            .bind(key.cut);
        let others: u64 = within(TIMEOUT, other.fetch_one()).await?;
        if others > 0 {
            return Err(super::BackfillError::CreatedAgain { view: key.view });
        }
        Ok(state)
    }

    /// Returns the condition for the rows of this backfill.
    fn of_key(&self) -> String {
        let view = self.key.view.replace('\\', "\\\\").replace('\'', "\\'");
        format!("view = '{view}' AND cut = {}", self.key.cut)
    }

    /// Returns the query for the ids of a piece.
    pub(super) fn ids_of(&self, piece: &Piece) -> String {
        format!(
            "SELECT id FROM rowmill_backfill_rows WHERE {} AND piece = {} AND id >= {} AND id <= {}",
            self.of_key(),
            piece.number,
            piece.first,
            piece.last
        )
    }

    /// Returns the pieces that are not done, in their order.
    pub(super) async fn begun(&self) -> Result<Vec<Piece>, ClickHouseError> {
        let records = format!(
            "SELECT piece, max(state = 'done') > 0 AS is_done, \
             CAST(argMinIf(blocks, at, state = 'sending'), 'Array(Tuple(String, UInt64))') AS blocks \
             FROM rowmill_backfills WHERE {} GROUP BY piece",
            self.of_key()
        );
        let records: Vec<Record> = within(TIMEOUT, self.client.query_raw(&records).fetch_all()).await?;
        let mut begun = Vec::new();
        for found in self.pieces("").await? {
            let record = records.iter().find(|record| record.piece == found.piece);
            if record.is_none_or(|record| !record.is_done) {
                begun.push(Piece {
                    sent_at: record.map(|record| record.blocks.iter().cloned().collect()),
                    ..Piece::of(&found)
                });
            }
        }
        Ok(begun)
    }

    /// Returns the pieces that fulfil a condition.
    async fn pieces(&self, condition: &str) -> Result<Vec<FoundPiece>, ClickHouseError> {
        let query = format!(
            "SELECT piece, min(id) AS first, max(id) AS last, count() AS rows FROM rowmill_backfill_rows \
             WHERE {}{condition} GROUP BY piece ORDER BY piece",
            self.of_key()
        );
        within(TIMEOUT, self.client.query_raw(&query).fetch_all()).await
    }

    /// Fixes the content of the next piece: the rows with ids from `first` to `last` that are in no
    /// piece yet. Returns `None` if there are none.
    pub(super) async fn begin(
        &self,
        source: &str,
        id: &str,
        first: u64,
        last: u64,
        timeout: Duration,
    ) -> Result<Option<Piece>, ClickHouseError> {
        let (key, source, id) = (self.of_key(), quoted(source), quoted(id));
        let rows = format!(
            "FROM {source} WHERE {id} >= {first} AND {id} <= {last} AND {id} NOT IN \
             (SELECT id FROM rowmill_backfill_rows WHERE {key} AND id >= {first} AND id <= {last})"
        );
        let missing = format!("SELECT count() {rows}");
        let missing: u64 = within(timeout, self.client.query_raw(&missing).fetch_one()).await?;
        if missing == 0 {
            return Ok(None);
        }
        let last_number = format!("SELECT max(piece) FROM rowmill_backfill_rows WHERE {key}");
        let last_number: u64 = within(TIMEOUT, self.client.query_raw(&last_number).fetch_one()).await?;
        for number in (last_number + 1..).take(usize::try_from(ATTEMPTS).unwrap_or(1)) {
            let Key { view, cut } = self.key;
            let view_text = view.replace('\\', "\\\\").replace('\'', "\\'");
            let insert = format!(
                "INSERT INTO rowmill_backfill_rows (view, cut, piece, id) SELECT '{view_text}', {cut}, {number}, {id} {rows}"
            );
            let client = with_insert_settings(&self.client, &format!("rowmill-backfill-rows/{view}/{cut}/{number}"));
            within(timeout, client.query_raw(&insert).execute()).await?;
            let found = self.pieces(&format!(" AND piece = {number}")).await?;
            if let Some(found) = found.first() {
                return Ok(Some(Piece::of(found)));
            }
        }
        // Another process may have added the rows meanwhile; the caller looks again.
        Err(clickhouse::error::Error::TimedOut.into())
    }

    /// Records that a piece may be in the view's table from now on.
    pub(super) async fn record_sending(
        &self,
        url: &ClickHouseUrl,
        target: &str,
        piece: &Piece,
    ) -> Result<(), ClickHouseError> {
        let tables = receivers_of(&self.client, url.database(), target).await?;
        let names = tables.into_iter().map(|(name, _)| name);
        let blocks = self.blocks_of(&names.collect::<Vec<_>>()).await?;
        let blocks = blocks
            .iter()
            .map(|(name, blocks)| format!("'{}', {blocks}", text(name)));
        self.record(piece, "sending", &blocks.collect::<Vec<_>>().join(", "))
            .await
    }

    /// Records that a piece is in the view's table.
    pub(super) async fn record_done(&self, piece: &Piece) -> Result<(), ClickHouseError> {
        self.record(piece, "done", "").await
    }

    async fn record(&self, piece: &Piece, state: &str, blocks: &str) -> Result<(), ClickHouseError> {
        let statement = format!(
            "INSERT INTO rowmill_backfills (view, cut, piece, rows, state, blocks) \
             SELECT '{}', {}, {}, {}, '{state}', CAST(map({blocks}), 'Map(String, UInt64)')",
            text(self.key.view),
            self.key.cut,
            piece.number,
            piece.rows
        );
        let client = self.client.clone().with_setting("async_insert", "0");
        within(TIMEOUT, client.query_raw(&statement).execute()).await
    }

    /// Returns a table that may have forgotten the token of a piece, if there is one: a table
    /// remembers a number of blocks, and `sent_at` are its blocks before the piece.
    pub(super) async fn forgetful_table(
        &self,
        url: &ClickHouseUrl,
        target: &str,
        sent_at: &Blocks,
    ) -> Result<Option<String>, ClickHouseError> {
        let tables = receivers_of(&self.client, url.database(), target).await?;
        let names: Vec<_> = tables.iter().map(|(name, _)| name.clone()).collect();
        let now = self.blocks_of(&names).await?;
        let is_forgetful = |(name, window): &(TableName, Option<u64>)| {
            let name = qualified(name);
            let (before, now) = (sent_at.get(&name).copied(), now.get(&name).copied());
            let since = now.unwrap_or(0).checked_sub(before.unwrap_or(0));
            // Half of the window, since inserts may be on their way.
            since.is_none_or(|since| since > window.unwrap_or(0) / 2)
        };
        Ok(tables
            .iter()
            .find(|table| is_forgetful(table))
            .map(|(name, _)| qualified(name)))
    }

    /// Returns the number of blocks that tables have received, by their quoted names.
    async fn blocks_of(&self, tables: &[TableName]) -> Result<Blocks, ClickHouseError> {
        let (databases, names): (Vec<_>, Vec<_>) = tables.iter().map(|(database, name)| (database, name)).unzip();
        // ClickHouse counts the blocks of a replicated table by partition.
        let query = self
            .client
            .query(
                "SELECT database, table, toUInt64(if(is_shared, sum(top), max(top))) AS blocks FROM \
                 (SELECT database, table, partition_id, \
                 startsWith(engine, 'Replicated') OR startsWith(engine, 'Shared') AS is_shared, \
                 max(max_block_number) AS top FROM system.parts WHERE database IN ? AND table IN ? \
                 GROUP BY database, table, partition_id, is_shared) GROUP BY database, table, is_shared",
            )
            .bind(databases)
            .bind(names);
        let rows: Vec<(String, String, u64)> = within(TIMEOUT, query.fetch_all()).await?;
        Ok(rows
            .into_iter()
            .map(|(database, table, blocks)| ((database, table), blocks))
            .filter(|(name, _)| tables.contains(name))
            .map(|(name, blocks)| (qualified(&name), blocks))
            .collect())
    }

    /// Returns the rows of all pieces.
    pub(super) async fn total_rows(&self) -> Result<u64, ClickHouseError> {
        let query = format!("SELECT count() FROM rowmill_backfill_rows WHERE {}", self.of_key());
        within(TIMEOUT, self.client.query_raw(&query).fetch_one()).await
    }
}

impl Piece {
    const fn of(found: &FoundPiece) -> Self {
        Self {
            number: found.piece,
            first: found.first,
            last: found.last,
            rows: found.rows,
            sent_at: None,
        }
    }
}

/// Escapes a text for single quotes.
fn text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
