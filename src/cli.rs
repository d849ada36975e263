//! What can be typed behind `rowmill`.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use rowmill_ingest::{Ack, ColumnChanges, InsertQuorum, RateLimit};

/// Collects events over HTTP into typed tables of ClickHouse.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serve: ServeOptions,

    /// How the log on standard error is written; how much of it, ROWMILL_LOG says (debug, or a
    /// filter as of `env_logger`).
    #[arg(long, global = true, env = "ROWMILL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text an event, for people.
    Text,
    /// A JSON object an event, one a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Collect events (what `rowmill` alone does, too).
    Serve(ServeOptions),
    /// Run the embedded ClickHouse alone.
    Engine(EngineOptions),
    /// Check a schema folder as the build does, without a build.
    Check(CheckOptions),
    /// Show as SQL what the database lacks.
    Plan(DatabaseOptions),
    /// Do what `plan` shows.
    Apply(DatabaseOptions),
    /// List the destinations, their tables and their acknowledgements.
    Routes,
    /// Look at the rows that wait on disk, or bring them to ClickHouse.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Bring rows that ClickHouse has refused into their tables.
    #[command(subcommand)]
    Rejected(RejectedCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List the blocks that wait, oldest first.
    List(SpoolOptions),
    /// Read everything and compare the checksums; fails where something is damaged.
    Verify(SpoolOptions),
    /// Send what waits to ClickHouse, without collecting events; the collector must not be running.
    Replay(ReplayOptions),
    /// Write what waits into files: for each block its rows, and the request that inserts them.
    Export(ExportOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectedCommand {
    /// Send the rows among the dead letters once more. Rows that are in their table already are not sent; collectors may run
    /// meanwhile.
    Replay(RejectedReplayOptions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SpoolOptions {
    /// Folder of what has to outlive the process, as for `serve`.
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// How long it may take, in seconds.
    #[arg(long, default_value = "600", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) within: Duration,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RejectedReplayOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Only rows of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Only rows that were refused since then: a time as 2026-11-28T22:00:00Z, or an age as 90m, 24h or 7d.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) since: Option<SystemTime>,

    /// Only rows whose code in `rejected` is this text, or whose reason contains it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,

    /// Count the rows, and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Delete the dead letters of rows that are in their table.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) delete: bool,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

/// What has become of columns since rows were written.
#[derive(Debug, Clone, Args)]
pub(crate) struct ColumnOptions {
    /// A column of the rows that is called otherwise in the table now. May be given several times.
    #[arg(long = "map", value_name = "OLD=NEW", value_parser = renamed)]
    pub(crate) renamed: Vec<(String, String)>,

    /// A column of the rows whose values are not stored. May be given several times.
    #[arg(long = "drop", value_name = "COLUMN")]
    pub(crate) dropped: Vec<String>,

    /// A column of the rows whose values ClickHouse may convert to the type of the table's column although that may change them. May
    /// be given several times.
    #[arg(long = "convert", value_name = "COLUMN")]
    pub(crate) converted: Vec<String>,
}

impl ColumnOptions {
    /// Returns them as the runtime takes them.
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

    /// Only the blocks of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Folder to write to; it is made.
    pub(crate) to: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeOptions {
    /// Address to take events on; port 0 takes a free one.
    #[arg(long, env = "ROWMILL_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// ClickHouse, as http://user:password@host:8123/database; left out, the embedded one is run. Replicas of one another are
    /// listed with commas between them: rows go to the first that answers.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) clickhouse: Vec<String>,

    /// Address of the embedded ClickHouse's HTTP interface; port 0 takes a free one.
    #[arg(
        long,
        env = "ROWMILL_ENGINE_LISTEN",
        default_value = "127.0.0.1:8123",
        value_name = "ADDR"
    )]
    pub(crate) engine_listen: SocketAddr,

    /// Folder of what has to outlive the process.
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// What a success says to a webhook whose route says nothing of it: its row is in memory, on disk, or in its table.
    #[arg(
        long,
        env = "ROWMILL_ACK",
        default_value = "spooled",
        value_name = "accepted|spooled|stored"
    )]
    pub(crate) ack: Ack,

    /// Let every request choose that by its header X-Rowmill-Ack, not only those of routes that allow it.
    #[arg(long, env = "ROWMILL_ACK_HEADER")]
    pub(crate) ack_header: bool,

    /// Memory that waiting rows and requests in flight may take, in bytes; the requests take at most half of it.
    #[arg(
        long,
        env = "ROWMILL_MEMORY_BYTES",
        default_value_t = 256 << 20,
        value_name = "BYTES"
    )]
    pub(crate) memory_bytes: usize,

    /// Disk that waiting rows may take, in bytes.
    #[arg(
        long,
        env = "ROWMILL_SPOOL_BYTES",
        default_value_t = 8 << 30,
        value_name = "BYTES"
    )]
    pub(crate) spool_bytes: u64,

    /// Answer with the headers of another collector, header for header; left out, with those that
    /// browsers and senders of today need.
    #[arg(long, env = "ROWMILL_COMPAT", value_enum, value_name = "COLLECTOR")]
    pub(crate) compat: Option<Compat>,

    /// Days after which ClickHouse removes what stands in `rejected`; 0 keeps it for good.
    #[arg(long, env = "ROWMILL_REJECTED_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub(crate) rejected_days: u32,

    /// How much of a refused event is kept in `rejected`, in bytes.
    #[arg(
        long,
        env = "ROWMILL_REJECTED_PAYLOAD_BYTES",
        default_value_t = 64 << 10,
        value_name = "BYTES"
    )]
    pub(crate) rejected_payload_bytes: usize,

    /// Host that the collector is reached by; its parent domain is the visitor cookie's.
    #[arg(long, env = "ROWMILL_DOMAIN", value_name = "HOST")]
    pub(crate) domain: Option<String>,

    /// Proxies whose X-Real-IP and X-Forwarded-Host count, as addresses and networks with commas between them.
    #[arg(
        long,
        env = "ROWMILL_TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1",
        value_name = "LIST"
    )]
    pub(crate) trusted_proxies: String,

    /// Number of this process in its ids, 0 to 511, which no other collector of the same tables may have; left out, a free one is
    /// leased from ClickHouse.
    #[arg(long, env = "ROWMILL_NODE", value_parser = clap::value_parser!(u16).range(..512))]
    pub(crate) node: Option<u16>,

    /// Largest body of a request, in bytes.
    #[arg(
        long,
        env = "ROWMILL_MAX_BODY_BYTES",
        default_value_t = 102_400,
        value_name = "BYTES"
    )]
    pub(crate) max_body_bytes: usize,

    /// Largest body of many events, one a line (`application/x-ndjson`), in bytes.
    #[arg(
        long,
        env = "ROWMILL_MAX_BULK_BYTES",
        default_value_t = 4 << 20,
        value_name = "BYTES"
    )]
    pub(crate) max_bulk_bytes: usize,

    /// Connections that may be open; for one more, an idle one is closed. They are fewer if the limit
    /// of descriptors has no room for them; left out, that limit decides, up to 50000.
    #[arg(long, env = "ROWMILL_MAX_CONNECTIONS", value_name = "COUNT")]
    pub(crate) max_connections: Option<usize>,

    /// Connections that may be open from one address, or one IPv6 network (/64); 0 is no bound, as it
    /// has to be behind a proxy.
    #[arg(
        long,
        env = "ROWMILL_MAX_CONNECTIONS_PER_IP",
        default_value_t = 0,
        value_name = "COUNT"
    )]
    pub(crate) max_connections_per_ip: usize,

    /// How long /ready is 503 before a stop begins, while events are still taken, in seconds: the time
    /// in which a load balancer sees it.
    #[arg(long, env = "ROWMILL_PRE_STOP_SECONDS", default_value = "0", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) pre_stop_seconds: Duration,

    /// How many requests one client address may send, as 100/s, 600/m or 1000/h; more get 429. Pictures and redirects do not count. None
    /// where it is left out.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_IP", value_name = "LIMIT")]
    pub(crate) rate_limit_per_ip: Option<RateLimit>,

    /// How many requests each route takes whose schema gives it no `rate_limit`, but for pictures and redirects. None where it is left out.
    #[arg(long, env = "ROWMILL_RATE_LIMIT_PER_ROUTE", value_name = "LIMIT")]
    pub(crate) rate_limit_per_route: Option<RateLimit>,

    /// How long a stop may take until the last rows are in ClickHouse, in seconds.
    #[arg(long, env = "ROWMILL_DRAIN_SECONDS", default_value = "30", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) drain_seconds: Duration,

    /// How long one insert may take, materialized views included, before it is tried again, in seconds.
    #[arg(long, env = "ROWMILL_INSERT_TIMEOUT_SECONDS", default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) insert_timeout_seconds: Duration,

    /// How many replicas have rows before they count as stored: a number, or `auto` for more than half of them. Left out, it is
    /// as the ClickHouse user's profile says, by default the one replica that takes the insert.
    #[arg(long, env = "ROWMILL_INSERT_QUORUM", value_name = "REPLICAS")]
    pub(crate) insert_quorum: Option<InsertQuorum>,

    /// Compare the number of rows that ClickHouse has confirmed with the number in the table, and report a difference in /metrics,
    /// in /ready and in the log. Each comparison reads the column `id` of the table.
    #[arg(long, env = "ROWMILL_AUDIT")]
    pub(crate) audit: bool,

    /// The time between the confirmation of a row and its comparison, in seconds.
    #[arg(long, env = "ROWMILL_AUDIT_AFTER_SECONDS", default_value = "120", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) audit_after_seconds: Duration,
}

/// A collector whose answers can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// Rockstat's front service.
    Rockstat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EngineOptions {
    /// Address of the HTTP interface; port 0 takes a free one.
    #[arg(long, env = "ROWMILL_ENGINE_LISTEN", default_value = "127.0.0.1:8123")]
    pub(crate) listen: SocketAddr,

    /// Folder of the databases.
    #[arg(
        long,
        env = "ROWMILL_ENGINE_DATA",
        default_value = "./data/engine",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,

    /// End with the process that holds the other end of standard input.
    #[arg(long, hide = true)]
    pub(crate) tied: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckOptions {
    /// Folder of the schema.
    #[arg(default_value = "schemas")]
    pub(crate) schemas: PathBuf,

    /// How to show the problems.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How problems are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As the build shows them.
    Text,
    /// One JSON object a line, for editors.
    Json,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseOptions {
    /// ClickHouse, as http://user:password@host:8123/database.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    pub(crate) clickhouse: String,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or("not of the form OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Reads a time, or how long ago it was.
fn since(text: &str) -> Result<SystemTime, String> {
    const HELP: &str = "neither a time as 2026-11-28T22:00:00Z nor an age as 90m, 24h or 7d";
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
    fn a_time_is_written_whole_or_as_an_age() {
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
    fn no_command_is_serve() {
        let cli = Cli::parse_from(["rowmill", "--listen", "127.0.0.1:0"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen.port(), 0);
    }
}
