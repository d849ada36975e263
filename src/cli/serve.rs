//! The options of `rowmill serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use rowmill_ingest::{Ack, layer::RateLimit, store::InsertQuorum, writer::ClusterInserts};

use super::{
    archive::ArchiveOptions,
    bodies::BodyTimeOptions,
    browsers::BrowserOptions,
    clickhouse::ConnectionOptions,
    handover::HandoverOptions,
    network::NetworkOptions,
    shared_log::CollectorLogOptions,
    topics::TopicsOptions,
    uploads::UploadOptions,
    value::{address, bytes, parts_per_second, seconds},
};

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeOptions {
    /// Address that receives events, such as 127.0.0.1:8080, localhost:8080, or :8080 for all
    /// addresses of this machine; port 0 selects a free port.
    #[arg(long, env = "ROWMILL_LISTEN", default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    pub(crate) tied: bool,

    #[command(flatten)]
    pub(crate) network: NetworkOptions,

    /// ClickHouse as http://user:password@host:8123/database, or the same with https:// and 8443, or
    /// several replicas separated by commas; rows go to the first replica that answers. Default: the
    /// embedded ClickHouse.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) clickhouse: Vec<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,

    /// Address of the embedded ClickHouse's HTTP interface; port 0 selects a free port.
    #[arg(
        long,
        env = "ROWMILL_ENGINE_LISTEN",
        default_value = "127.0.0.1:8123",
        value_parser = address,
        value_name = "ADDR"
    )]
    pub(crate) engine_listen: SocketAddr,

    /// Data directory (spool and embedded ClickHouse).
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,

    #[command(flatten)]
    pub(crate) shared_log: CollectorLogOptions,

    /// Default acknowledgement for webhooks: accepted (in memory), spooled (on disk), replicated (in
    /// the shared log) or stored (in ClickHouse). Default: spooled, or replicated with --log.
    #[arg(long, env = "ROWMILL_ACK", value_name = "accepted|spooled|replicated|stored")]
    pub(crate) ack: Option<Ack>,

    /// Let requests of all routes choose the acknowledgement with the header X-Rowmill-Ack, not
    /// only those of routes that allow it.
    #[arg(long, env = "ROWMILL_ACK_HEADER")]
    pub(crate) ack_header: bool,

    /// Maximum memory of waiting rows and requests in flight, such as 268435456, 256MiB or 300MB;
    /// requests take at most half of it.
    #[arg(
        long,
        env = "ROWMILL_MEMORY_BYTES",
        default_value = "256MiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) memory_bytes: usize,

    /// Maximum disk space of waiting rows.
    #[arg(
        long,
        env = "ROWMILL_SPOOL_BYTES",
        default_value = "8GiB",
        value_parser = bytes::<u64>,
        value_name = "BYTES"
    )]
    pub(crate) spool_bytes: u64,

    /// Maximum number of idempotency keys, on routes that have them; each takes up to 75 bytes of
    /// memory and 36 bytes of disk. Beyond it, the oldest keys are forgotten.
    #[arg(
        long,
        env = "ROWMILL_IDEMPOTENCY_KEYS",
        default_value_t = 2_000_000,
        value_name = "COUNT"
    )]
    pub(crate) idempotency_keys: usize,

    /// Respond with exactly the headers of another collector. Default: the headers that current
    /// browsers and senders need.
    #[arg(long, env = "ROWMILL_COMPAT", value_enum, value_name = "COLLECTOR")]
    pub(crate) compat: Option<Compat>,

    /// Days after which ClickHouse removes a row from `rejected`; 0 keeps the rows permanently.
    #[arg(long, env = "ROWMILL_REJECTED_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub(crate) rejected_days: u32,

    /// Maximum part of a refused event that `rejected` keeps.
    #[arg(
        long,
        env = "ROWMILL_REJECTED_PAYLOAD_BYTES",
        default_value = "64KiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) rejected_payload_bytes: usize,

    /// Payload bytes that `rejected` keeps per second, on average over 16 seconds; 0 is no limit.
    /// Beyond them, it keeps the first 256 bytes of a refused event.
    #[arg(
        long,
        env = "ROWMILL_REJECTED_BYTES_PER_SECOND",
        default_value = "4MiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) rejected_bytes_per_second: usize,

    /// Public host of the collector; the visitor cookie is set for its parent domain.
    #[arg(long, env = "ROWMILL_DOMAIN", value_name = "HOST")]
    pub(crate) domain: Option<String>,

    /// Proxies that are trusted to name the client and the host: addresses and networks, separated by
    /// commas.
    #[arg(
        long,
        env = "ROWMILL_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1",
        value_name = "LIST"
    )]
    pub(crate) trusted_proxies: String,

    /// Node number in the ids of this process, 0 to 511; no other collector of the same tables may
    /// have it. Default: the process leases a free number from ClickHouse.
    #[arg(long, env = "ROWMILL_NODE", value_parser = clap::value_parser!(u16).range(..512))]
    pub(crate) node: Option<u16>,

    /// Maximum length of a request body.
    #[arg(
        long,
        env = "ROWMILL_MAX_BODY_BYTES",
        default_value = "100KiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) max_body_bytes: usize,

    /// Maximum length of a body of many events: NDJSON, a JSON array, CSV.
    #[arg(
        long,
        env = "ROWMILL_MAX_BULK_BYTES",
        default_value = "4MiB",
        value_parser = bytes::<usize>,
        value_name = "BYTES"
    )]
    pub(crate) max_bulk_bytes: usize,

    /// Maximum number of open connections; an idle one is closed for a new one. The limit of file
    /// descriptors may lower this number. Default: as many as that limit allows, up to 50000.
    #[arg(long, env = "ROWMILL_MAX_CONNECTIONS", value_name = "COUNT")]
    pub(crate) max_connections: Option<usize>,

    /// Maximum number of open connections from one address, or one IPv6 network (/64); 0 means no
    /// limit, which a collector behind a proxy needs.
    #[arg(
        long,
        env = "ROWMILL_MAX_CONNECTIONS_PER_IP",
        default_value_t = 0,
        value_name = "COUNT"
    )]
    pub(crate) max_connections_per_ip: usize,

    /// Time before a stop in which /ready is 503 and events are still accepted, such as 5 (seconds),
    /// 5s or 1m, so that a load balancer can react.
    #[arg(long, env = "ROWMILL_PRE_STOP_SECONDS", default_value = "0s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) pre_stop_seconds: Duration,

    /// Rate limit per client address, such as 100/s, 600/m or 1000/h; requests above it get 429.
    /// Images and redirects do not count. Default: no limit.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_IP", value_name = "LIMIT")]
    pub(crate) rate_limit_per_ip: Option<RateLimit>,

    /// Rate limit of each route without a `rate_limit` in the schema, such as 1000/h; images and
    /// redirects do not count. Default: no limit.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_ROUTE", value_name = "LIMIT")]
    pub(crate) rate_limit_per_route: Option<RateLimit>,

    /// Maximum time for the delivery of the last rows to ClickHouse during a stop, such as 30 or 30s.
    #[arg(long, env = "ROWMILL_DRAIN_SECONDS", default_value = "30s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) drain_seconds: Duration,

    /// Time after which an insert, including materialized views, is retried, such as 60, 60s or 1m.
    #[arg(long, env = "ROWMILL_INSERT_TIMEOUT_SECONDS", default_value = "60s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) insert_timeout_seconds: Duration,

    /// Replicas that must have rows before the rows count as stored: a number, or `auto` for more
    /// than half of the replicas. Default: the value in the ClickHouse user's profile, usually the
    /// one replica that receives the insert.
    #[arg(long, env = "ROWMILL_INSERT_QUORUM", value_name = "REPLICAS")]
    pub(crate) insert_quorum: Option<InsertQuorum>,

    /// New parts per second that all collectors together may create in one table of a ClickHouse
    /// server, such as 5 or 0.5. Beyond it, rows wait up to a minute for a longer block, unless their
    /// sender waits for the acknowledgement `stored`. 0: no limit.
    #[arg(long, env = "ROWMILL_MAX_PARTS_PER_SECOND", default_value = "10", value_parser = parts_per_second, value_name = "PARTS")]
    pub(crate) max_parts_per_second: f64,

    /// How rows get into tables over the shards of a cluster: straight to the server of their shard,
    /// or through the Distributed table of one server.
    #[arg(long, env = "ROWMILL_CLUSTER_INSERTS", value_enum, default_value_t = ClusterInsertsOption::Shards, value_name = "WAY")]
    pub(crate) cluster_inserts: ClusterInsertsOption,

    /// Compare the number of confirmed rows with the number of rows in the table, and report a
    /// difference in /metrics, /ready and the log. Each comparison reads the table's column `id`.
    #[arg(long, env = "ROWMILL_AUDIT")]
    pub(crate) audit: bool,

    /// Time between the confirmation of a row and its comparison by --audit, such as 120 or 2m.
    #[arg(long, env = "ROWMILL_AUDIT_AFTER_SECONDS", default_value = "120s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) audit_after_seconds: Duration,

    #[command(flatten)]
    pub(crate) archive: ArchiveOptions,

    #[command(flatten)]
    pub(crate) topics: TopicsOptions,

    #[command(flatten)]
    pub(crate) handover: HandoverOptions,

    #[command(flatten)]
    pub(crate) bodies: BodyTimeOptions,

    #[command(flatten)]
    pub(crate) uploads: UploadOptions,

    #[command(flatten)]
    pub(crate) browsers: BrowserOptions,
}

impl ServeOptions {
    /// Returns the acknowledgement for routes that set none.
    pub(crate) fn ack(&self) -> Ack {
        let default = match self.shared_log.log {
            Some(_) => Ack::Replicated,
            None => Ack::Spooled,
        };
        self.ack.unwrap_or(default)
    }
}

/// The way of rows into tables over the shards of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClusterInsertsOption {
    /// To a server of the row's shard.
    Shards,
    /// Through the Distributed table.
    Distributed,
}

impl From<ClusterInsertsOption> for ClusterInserts {
    fn from(option: ClusterInsertsOption) -> Self {
        match option {
            ClusterInsertsOption::Shards => Self::Shards,
            ClusterInsertsOption::Distributed => Self::Distributed,
        }
    }
}

/// A collector whose response headers Rowmill can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// The front service of Rockstat.
    Rockstat,
}
