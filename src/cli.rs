//! The command-line arguments of `rowmill`. The doc comments are the text of `--help`.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use rowmill_ingest::{Ack, layer::RateLimit, store::InsertQuorum, writer::ColumnChanges};

/// Collects events over HTTP into typed tables of ClickHouse.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serve: ServeOptions,

    /// Format of the log on standard error; ROWMILL_LOG sets its level or filter (debug, or a
    /// filter in the syntax of `env_logger`).
    #[arg(long, global = true, env = "ROWMILL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text per event, for people.
    Text,
    /// One JSON object per event and line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Collect events; `rowmill` without a command does the same.
    Serve(ServeOptions),
    /// Run only the embedded ClickHouse.
    Engine(EngineOptions),
    /// Report the problems of a schema folder that a build would report, without building.
    Check(CheckOptions),
    /// Write a new schema file, from the gallery of examples or from a table of ClickHouse.
    Init(InitOptions),
    /// Print the SQL statements that `apply` would run, and the differences that it would leave.
    Plan(ApplyOptions),
    /// Run the SQL statements that the database needs to match the schema, and print them.
    Apply(ApplyOptions),
    /// Fill the table of a materialized view from rows that are older than the view; collectors may
    /// run at the same time.
    Backfill(BackfillOptions),
    /// List the destinations with their tables, acknowledgements and rate limits.
    Routes,
    /// List, verify, replay or export the rows that wait on disk.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Replay rows that ClickHouse has refused into their tables.
    #[command(subcommand)]
    Rejected(RejectedCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List the waiting blocks, oldest first.
    List(SpoolOptions),
    /// Read the whole spool and compare the checksums; fails if data is damaged or incomplete.
    Verify(SpoolOptions),
    /// Send the waiting rows to ClickHouse; the collector must not be running.
    Replay(ReplayOptions),
    /// Write the waiting rows of each block to files, each with the request that inserts its rows.
    Export(ExportOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedCommand {
    /// Send the rows among the dead letters again, except rows that are already in their table;
    /// collectors may run at the same time.
    Replay(RejectedReplayOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SpoolOptions {
    /// Data directory of the collector, the same as for `serve`.
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Maximum duration of the replay, in seconds.
    #[arg(long, default_value = "600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) within: Duration,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RejectedReplayOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Replay only the rows of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Replay only rows refused since this time: a time such as 2026-11-28T22:00:00Z, or an age
    /// such as 90m, 24h or 7d.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) since: Option<SystemTime>,

    /// Replay only rows whose code in `rejected` is TEXT, or whose reason contains TEXT.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// Count the rows without sending them.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Delete the dead letters of rows that are in their table.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) delete: bool,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

/// Changes of columns since the rows were written.
#[derive(Debug, Clone, Args)]
pub(crate) struct ColumnOptions {
    /// Store the values of the rows' column OLD in the table's column NEW; repeatable.
    #[arg(long = "map", value_name = "OLD=NEW", value_parser = renamed)]
    pub(crate) renamed: Vec<(String, String)>,

    /// Do not store the values of this column of the rows; repeatable.
    #[arg(long = "drop", value_name = "COLUMN")]
    pub(crate) dropped: Vec<String>,

    /// Let ClickHouse convert the values of this column of the rows to the type of the table's
    /// column, even if the conversion may change the values; repeatable.
    #[arg(long = "convert", value_name = "COLUMN")]
    pub(crate) converted: Vec<String>,
}

impl ColumnOptions {
    /// Returns the changes in the runtime's type.
    pub(crate) fn changes(&self) -> ColumnChanges {
        ColumnChanges {
            renamed: self.renamed.iter().cloned().collect(),
            dropped: self.dropped.clone(),
            converted: self.converted.clone(),
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    /// Export only the blocks of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Directory for the files; created if it does not exist.
    pub(crate) to: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeOptions {
    /// Address that receives events; port 0 selects a free port.
    #[arg(long, env = "ROWMILL_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// ClickHouse as http://user:password@host:8123/database, or several replicas separated by
    /// commas; rows go to the first replica that answers. Default: the embedded ClickHouse.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) clickhouse: Vec<String>,

    /// Address of the embedded ClickHouse's HTTP interface; port 0 selects a free port.
    #[arg(
        long,
        env = "ROWMILL_ENGINE_LISTEN",
        default_value = "127.0.0.1:8123",
        value_name = "ADDR"
    )]
    pub(crate) engine_listen: SocketAddr,

    /// Data directory (spool and embedded ClickHouse).
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// Default acknowledgement for webhooks: accepted (in memory), spooled (on disk) or stored (in
    /// ClickHouse).
    #[arg(
        long,
        env = "ROWMILL_ACK",
        default_value = "spooled",
        value_name = "accepted|spooled|stored"
    )]
    pub(crate) ack: Ack,

    /// Let requests of all routes choose the acknowledgement with the header X-Rowmill-Ack, not
    /// only those of routes that allow it.
    #[arg(long, env = "ROWMILL_ACK_HEADER")]
    pub(crate) ack_header: bool,

    /// Maximum memory of waiting rows and requests in flight, in bytes; requests take at most half
    /// of it.
    #[arg(
        long,
        env = "ROWMILL_MEMORY_BYTES",
        default_value_t = 256 << 20,
        value_name = "BYTES"
    )]
    pub(crate) memory_bytes: usize,

    /// Maximum disk space of waiting rows, in bytes.
    #[arg(
        long,
        env = "ROWMILL_SPOOL_BYTES",
        default_value_t = 8 << 30,
        value_name = "BYTES"
    )]
    pub(crate) spool_bytes: u64,

    /// Respond with exactly the headers of another collector. Default: the headers that current
    /// browsers and senders need.
    #[arg(long, env = "ROWMILL_COMPAT", value_enum, value_name = "COLLECTOR")]
    pub(crate) compat: Option<Compat>,

    /// Days after which ClickHouse removes a row from `rejected`; 0 keeps the rows permanently.
    #[arg(long, env = "ROWMILL_REJECTED_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub(crate) rejected_days: u32,

    /// Maximum part of a refused event that `rejected` keeps, in bytes.
    #[arg(
        long,
        env = "ROWMILL_REJECTED_PAYLOAD_BYTES",
        default_value_t = 64 << 10,
        value_name = "BYTES"
    )]
    pub(crate) rejected_payload_bytes: usize,

    /// Payload bytes that `rejected` keeps per second, on average over 16 seconds; 0 is no limit.
    /// Beyond them, it keeps the first 256 bytes of a refused event.
    #[arg(
        long,
        env = "ROWMILL_REJECTED_BYTES_PER_SECOND",
        default_value_t = 4 << 20,
        value_name = "BYTES"
    )]
    pub(crate) rejected_bytes_per_second: usize,

    /// Public host of the collector; the visitor cookie is set for its parent domain.
    #[arg(long, env = "ROWMILL_DOMAIN", value_name = "HOST")]
    pub(crate) domain: Option<String>,

    /// Proxies whose X-Real-IP and X-Forwarded-Host are trusted: addresses and networks, separated
    /// by commas.
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

    /// Maximum length of a request body, in bytes.
    #[arg(
        long,
        env = "ROWMILL_MAX_BODY_BYTES",
        default_value_t = 102_400,
        value_name = "BYTES"
    )]
    pub(crate) max_body_bytes: usize,

    /// Maximum length of an NDJSON body (one event per line, `application/x-ndjson`), in bytes.
    #[arg(
        long,
        env = "ROWMILL_MAX_BULK_BYTES",
        default_value_t = 4 << 20,
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

    /// Time before a stop in which /ready is 503 and events are still accepted, in seconds, so that
    /// a load balancer can react.
    #[arg(long, env = "ROWMILL_PRE_STOP_SECONDS", default_value = "0", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) pre_stop_seconds: Duration,

    /// Rate limit per client address, such as 100/s, 600/m or 1000/h; requests above it get 429.
    /// Images and redirects do not count. Default: no limit.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_IP", value_name = "LIMIT")]
    pub(crate) rate_limit_per_ip: Option<RateLimit>,

    /// Rate limit of each route without a `rate_limit` in the schema, such as 1000/h; images and
    /// redirects do not count. Default: no limit.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_ROUTE", value_name = "LIMIT")]
    pub(crate) rate_limit_per_route: Option<RateLimit>,

    /// Maximum time for the delivery of the last rows to ClickHouse during a stop, in seconds.
    #[arg(long, env = "ROWMILL_DRAIN_SECONDS", default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) drain_seconds: Duration,

    /// Time after which an insert, including materialized views, is retried, in seconds.
    #[arg(long, env = "ROWMILL_INSERT_TIMEOUT_SECONDS", default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) insert_timeout_seconds: Duration,

    /// Replicas that must have rows before the rows count as stored: a number, or `auto` for more
    /// than half of the replicas. Default: the value in the ClickHouse user's profile, usually the
    /// one replica that receives the insert.
    #[arg(long, env = "ROWMILL_INSERT_QUORUM", value_name = "REPLICAS")]
    pub(crate) insert_quorum: Option<InsertQuorum>,

    /// Compare the number of confirmed rows with the number of rows in the table, and report a
    /// difference in /metrics, /ready and the log. Each comparison reads the table's column `id`.
    #[arg(long, env = "ROWMILL_AUDIT")]
    pub(crate) audit: bool,

    /// Time between the confirmation of a row and its comparison by --audit, in seconds.
    #[arg(long, env = "ROWMILL_AUDIT_AFTER_SECONDS", default_value = "120", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) audit_after_seconds: Duration,
}

/// A collector whose response headers Rowmill can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// The front service of Rockstat.
    Rockstat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EngineOptions {
    /// Address of the HTTP interface; port 0 selects a free port.
    #[arg(long, env = "ROWMILL_ENGINE_LISTEN", default_value = "127.0.0.1:8123")]
    pub(crate) listen: SocketAddr,

    /// Data directory of ClickHouse.
    #[arg(
        long,
        env = "ROWMILL_ENGINE_DATA",
        default_value = "./data/engine",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,

    /// Exit when standard input closes.
    #[arg(long, hide = true)]
    pub(crate) tied: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckOptions {
    /// Schema folder.
    #[arg(default_value = "schemas")]
    pub(crate) schemas: PathBuf,

    /// Output format of the problems.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct InitOptions {
    /// Example of the gallery, for example gallery/logs. Default: list the examples.
    #[arg(long, value_name = "NAME", conflicts_with = "from_table")]
    pub(crate) from: Option<String>,

    /// Table of ClickHouse, as TABLE or DATABASE.TABLE.
    #[arg(long, value_name = "TABLE", requires = "clickhouse")]
    pub(crate) from_table: Option<String>,

    /// ClickHouse that has the table, as http://user:password@host:8123/database.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    pub(crate) clickhouse: Option<String>,

    /// Schema folder for the new file, whose name is that of the example or of the table.
    #[arg(long, default_value = "schemas", value_name = "DIR")]
    pub(crate) schemas: PathBuf,
}

/// The output format of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The text that the build prints.
    Text,
    /// One JSON object per line, for editors.
    Json,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Also run statements of this kind; may be repeated. Without it, only statements run that
    /// touch neither existing rows nor anything that only the database has.
    #[arg(long, value_name = "KIND")]
    pub(crate) allow: Vec<Allowed>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BackfillOptions {
    /// Name of the view.
    pub(crate) view: String,

    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Only rows whose id is from this time or later: a time such as 2026-11-28T22:00:00Z, or an age
    /// such as 90m, 24h or 7d. Default: all rows.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) from: Option<SystemTime>,

    /// Only rows whose id is from before this time. Default: the rows before those that the view takes
    /// by itself.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) to: Option<SystemTime>,

    /// Rows of one INSERT SELECT; ClickHouse holds the result of the query over them in memory.
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u64).range(1..), value_name = "COUNT")]
    pub(crate) piece_rows: u64,

    /// What is true of a piece that an earlier run was sending when it ended, if ClickHouse cannot
    /// recognize it any more.
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) in_doubt: Option<PieceInDoubt>,
}

/// The state of a piece in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PieceInDoubt {
    /// The table of the view has the rows.
    Stored,
    /// The table of the view does not have the rows; they are sent.
    Missing,
}

/// A kind of change that an operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Allowed {
    /// ClickHouse reads and writes existing rows, or deletes rows by a TTL.
    Rewrite,
    /// Values of existing rows change, because a column gets a type that cannot hold them.
    Lossy,
    /// Columns, indexes, projections, constraints and TTLs that only the database has are removed,
    /// and tables before a copy.
    Drop,
    /// A table that needs another key, partition key or fixed setting is copied into a new table,
    /// which takes its place; collectors may insert meanwhile.
    Copy,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseOptions {
    /// ClickHouse as http://user:password@host:8123/database.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    pub(crate) clickhouse: String,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("not of the form OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Parses a time, or an age as a time in the past.
fn since(text: &str) -> Result<SystemTime, String> {
    const HELP: &str = "expected a time such as 2026-11-28T22:00:00Z, or an age such as 90m, 24h or 7d";
    if let Ok(time) = text.parse::<Timestamp>() {
        return SystemTime::try_from(time).map_err(|error| error.to_string());
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(HELP)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(HELP.to_owned()),
    };
    let age = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds));
    age.and_then(|age| SystemTime::now().checked_sub(Duration::from_secs(age)))
        .ok_or_else(|| HELP.to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_is_absolute_or_an_age() {
        assert_eq!(
            since("1970-01-01T00:01:00Z"),
            Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(60))
        );
        for (text, seconds) in [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("5s", 5)] {
            let age = since(text).ok().and_then(|time| time.elapsed().ok());
            assert_eq!(age.map(|age| age.as_secs()), Some(seconds), "{text}");
        }
        for text in [
            "",
            "d",
            "7",
            "7w",
            "-1d",
            "é",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn serve_is_the_default_command() {
        let cli = Cli::parse_from(["rowmill", "--listen", "127.0.0.1:0"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen.port(), 0);
    }
}
