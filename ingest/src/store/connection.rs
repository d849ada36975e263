//! A server as deliveries use it: inserts with the settings that delivery rests on, and questions.

use clickhouse::Client;

use super::{ClickHouseUrl, InsertClient};

/// Settings of each insert. All of them are the defaults of some version, and each default has changed
/// or can be changed by a user's profile; none that delivery rests on is inherited.
const SETTINGS: [(&str, &str); 9] = [
    // The token decides what is a duplicate, for synchronous inserts into tables that keep a deduplication window.
    ("insert_deduplicate", "1"),
    // A view whose table has missed a block gets it by the next try, and one that has it does not get it again.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // An answer means that the rows are in the table.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    // Of each shard behind a Distributed table, too. Newer servers call it distributed_foreground_insert, and know this name as well.
    ("insert_distributed_sync", "1"),
    // The answer, its summary included, is complete.
    ("wait_end_of_query", "1"),
    ("max_insert_block_size", "1048449"),
    // What a row leaves to a default is computed, be it said in a row or by a NULL in a column.
    ("input_format_defaults_for_omitted_fields", "1"),
    ("input_format_null_as_default", "1"),
];

/// A server whose tables are as the schema says.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) inserts: InsertClient,
    /// For questions about what is stored.
    pub(crate) queries: Client,
    /// More replicas than the one that is asked have to have rows before they are stored.
    pub(crate) has_quorum: bool,
}

impl Connection {
    /// Returns a connection whose inserts have `settings` beside those that every insert has.
    pub(crate) fn new(url: &ClickHouseUrl, settings: Vec<(&'static str, String)>) -> Self {
        let has_quorum = settings.iter().any(|&(name, _)| name == "insert_quorum");
        let fixed = SETTINGS.iter().map(|&(name, value)| (name, value.to_owned()));
        Self {
            inserts: InsertClient::new(url, fixed.chain(settings).collect()),
            queries: url.client(),
            has_quorum,
        }
    }
}
