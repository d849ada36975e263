//! The options of `rowmill deliver`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use rowmill_ingest::store::InsertQuorum;

use super::{
    clickhouse::ConnectionOptions,
    shared_log::LogTopicOptions,
    value::{address, bytes, parts_per_second, seconds},
};

#[derive(Debug, Clone, Args)]
pub(crate) struct DeliverOptions {
    /// Shared log, the same as for `serve`.
    #[arg(long, env = "ROWMILL_LOG_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) log: String,

    #[command(flatten)]
    pub(crate) topics: LogTopicOptions,

    /// ClickHouse as http://user:password@host:8123/database, or several replicas separated by
    /// commas; rows go to the first replica that answers.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) clickhouse: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,

    /// Address of the pages /health, /ready and /metrics; port 0 selects a free port.
    #[arg(long, env = "ROWMILL_DELIVER_LISTEN", default_value = "127.0.0.1:8081", value_parser = address, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// File with a token that requests for the pages need, as `Authorization: Bearer`. Default: every
    /// client sees them.
    #[arg(long, env = "ROWMILL_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Maximum memory of the rows that were read and are not stored yet.
    #[arg(
        long,
        env = "ROWMILL_MEMORY_BYTES",
        default_value = "256MiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) memory_bytes: usize,

    /// Days after which ClickHouse removes a row from `rejected`; 0 keeps the rows permanently.
    #[arg(long, env = "ROWMILL_REJECTED_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub(crate) rejected_days: u32,

    /// Maximum time for the blocks that were read during a stop, such as 30 or 30s; another process
    /// delivers the others.
    #[arg(long, env = "ROWMILL_DRAIN_SECONDS", default_value = "30s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) drain_seconds: Duration,

    /// Time after which an insert, including materialized views, is retried, such as 60, 60s or 1m.
    #[arg(long, env = "ROWMILL_INSERT_TIMEOUT_SECONDS", default_value = "60s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) insert_timeout_seconds: Duration,

    /// New parts per second that all deliveries together may create in one table of a ClickHouse
    /// server, such as 5 or 0.5. Beyond it, rows wait up to a minute for a longer block. 0: no limit.
    #[arg(long, env = "ROWMILL_MAX_PARTS_PER_SECOND", default_value = "10", value_parser = parts_per_second, value_name = "PARTS")]
    pub(crate) max_parts_per_second: f64,

    /// Replicas that must have rows before the rows count as stored: a number, or `auto` for more
    /// than half of the replicas. Default: the value in the ClickHouse user's profile.
    #[arg(long, env = "ROWMILL_INSERT_QUORUM", value_name = "REPLICAS")]
    pub(crate) insert_quorum: Option<InsertQuorum>,
}
