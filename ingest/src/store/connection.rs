//! A connection to a server for deliveries: inserts with the settings that delivery relies on, and
//! queries.

use std::sync::atomic::{AtomicBool, AtomicU64};

use clickhouse::Client;

use super::{ClickHouseUrl, InsertClient};

/// Settings of each insert. All of them are the defaults of some version. Each default has changed
/// between versions or can be changed by a user's profile, so delivery sets every one that it
/// relies on.
pub(crate) const INSERT_SETTINGS: [(&str, &str); 9] = [
    // The token identifies duplicates, for synchronous inserts into tables with a deduplication
    // window.
    ("insert_deduplicate", "1"),
    // A view whose table has missed a block gets the block with the next attempt; a view whose
    // table has it does not get it again.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // A response means that the rows are in the table.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    // The same for each shard of a Distributed table. Newer servers call the setting
    // distributed_foreground_insert, and still accept this name.
    ("insert_distributed_sync", "1"),
    // The response, including its summary, is complete.
    ("wait_end_of_query", "1"),
    ("max_insert_block_size", "1048449"),
    // ClickHouse computes the default of a value that a row omits, and of a NULL in a column.
    ("input_format_defaults_for_omitted_fields", "1"),
    ("input_format_null_as_default", "1"),
];

/// A server whose tables match the schema.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) inserts: InsertClient,
    /// The client for queries about stored rows.
    pub(crate) queries: Client,
    /// Whether rows count as stored only once further replicas have them.
    pub(crate) has_quorum: bool,
    /// The number of columns whose constant DEFAULT differs from the schema's.
    pub(crate) differing_defaults: AtomicU64,
    /// Whether a table is not exactly as in the schema, so that rows may need another form.
    pub(crate) is_converting: AtomicBool,
}

impl Connection {
    /// Returns a connection whose inserts have `settings` in addition to those of every insert.
    pub(crate) fn new(url: &ClickHouseUrl, settings: Vec<(&'static str, String)>) -> Self {
        Self::without(url, settings, &[])
    }

    /// Like [`new`](Self::new), without the settings of every insert that the server does not have.
    pub(crate) fn without(url: &ClickHouseUrl, settings: Vec<(&'static str, String)>, unknown: &[&str]) -> Self {
        let has_quorum = settings.iter().any(|&(name, _)| name == "insert_quorum");
        let known = INSERT_SETTINGS.iter().filter(|(name, _)| !unknown.contains(name));
        let fixed = known.map(|&(name, value)| (name, value.to_owned()));
        Self {
            inserts: InsertClient::new(url, fixed.chain(settings).collect()),
            queries: url.client(),
            has_quorum,
            differing_defaults: AtomicU64::new(0),
            is_converting: AtomicBool::new(false),
        }
    }
}
