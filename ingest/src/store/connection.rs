//! A connection to a server for deliveries: inserts with the settings that delivery relies on, and
//! queries.

use std::sync::atomic::{AtomicBool, AtomicU64};

use clickhouse::Client;
use url::Url;

use super::{ClickHouseUrl, InsertClient, table_stores::TableStores};

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
    /// The stores of the tables, as far as they have been asked for.
    pub(crate) stores: TableStores,
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
            stores: TableStores::default(),
        }
    }

    /// Returns a connection to another host with the same scheme, port, credentials, database and
    /// settings; `None` if `host` is no host.
    pub(crate) fn on_host(&self, host: &str) -> Option<Self> {
        let (inserts, queries) = self.inserts.on_host(host)?;
        Some(Self {
            inserts,
            queries,
            has_quorum: self.has_quorum,
            differing_defaults: AtomicU64::new(0),
            is_converting: AtomicBool::new(false),
            stores: TableStores::default(),
        })
    }
}

impl ClickHouseUrl {
    /// Returns the URL with another host; `None` if `host` is no host.
    pub(super) fn on_host(&self, host: &str) -> Option<Self> {
        let (scheme, rest) = self.origin.split_once("://").filter(|_| !host.is_empty())?;
        // As in `from_str`: with an `http` scheme, `Url` would drop the default port.
        let mut origin = Url::parse(&format!("clickhouse://{rest}")).ok()?;
        // The text of an IPv6 address has no brackets in ClickHouse's tables.
        let bracketed = format!("[{host}]");
        let host = if host.contains(':') { &bracketed } else { host };
        origin.set_host(Some(host)).ok()?;
        let (_, rest) = origin.as_str().split_once("://")?;
        Some(Self {
            origin: format!("{scheme}://{rest}"),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn another_host_has_the_same_scheme_port_and_database() {
        for (url, host, expected) in [
            ("http://ann:secret@a/stats", "b.local", "http://b.local:8123/stats"),
            ("https://a:443/stats", "10.0.0.2", "https://10.0.0.2:443/stats"),
            ("http://[::1]:80/stats", "::2", "http://[::2]:80/stats"),
        ] {
            let url: ClickHouseUrl = url.parse().unwrap();
            let other = url.on_host(host).unwrap();
            assert_eq!(other.to_string(), expected);
            assert_eq!(other.has_password(), url.has_password());
        }
        let url: ClickHouseUrl = "http://a/stats".parse().unwrap();
        for host in ["", "a/b", "a b", "me@b", "b#c"] {
            assert!(url.on_host(host).is_none(), "{host}");
        }
    }
}
