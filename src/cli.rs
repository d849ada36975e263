//! The command-line arguments of `rowmill`. The doc comments are the text of `--help`.

mod archive;
mod bodies;
mod browsers;
mod clickhouse;
mod deliver;
mod dev;
mod forget;
mod handover;
mod init;
mod network;
mod serve;
mod shared_log;
mod sign;
mod topics;
mod uploads;
mod value;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use rowmill_ingest::writer::ColumnChanges;

use self::value::{address, renamed, seconds, since};
pub(crate) use self::{
    archive::ArchiveReplayOptions,
    clickhouse::{ConnectionOptions, is_password_in},
    deliver::DeliverOptions,
    dev::DevOptions,
    forget::ForgetOptions,
    handover::{AdoptOptions, HandoverOptions, SecretOptions, SendOptions},
    init::{Embed, InitOptions},
    network::{AdminListen, NetworkOptions},
    serve::{Compat, ServeOptions},
    shared_log::{LogInspectOptions, LogTopicOptions, SpoolLogOption, log_url},
    sign::SignOptions,
    uploads::uploads_folder,
};

/// The environment variables that belong to no option.
const VARIABLES: &str = "\
Environment variables:
  ROWMILL_LOG     Level or filter of the log: error, warn, info, debug, trace, or a filter in the syntax of `env_logger`
  ROWMILL_ENGINE  Program `clickhouse` or library `libchdb.so` of the embedded ClickHouse
  ROWMILL_CACHE   Folder for the library that is fetched; default: ~/.cache/rowmill
Each option of a command has the variable that `COMMAND --help` names in [env: …].";

/// Collects events over HTTP into typed tables of ClickHouse.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = VARIABLES)]
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
#[allow(clippy::large_enum_variant, reason = "a process has one command")]
pub(crate) enum Command {
    /// Collect events; `rowmill` without a command does the same.
    Serve(Box<ServeOptions>),
    /// Deliver the rows of a shared log to ClickHouse; several processes share the work.
    Deliver(Box<DeliverOptions>),
    /// Run only the embedded ClickHouse.
    Engine(EngineOptions),
    /// Report the problems of a schema folder that a build would report, without building.
    Check(CheckOptions),
    /// Write a new crate with a collector of its own tables, or a new schema file: from the gallery
    /// of examples, or from a table of ClickHouse.
    Init(InitOptions),
    /// Check the schema at each save of a file, build the crate in this folder, and restart its
    /// collector.
    Dev(DevOptions),
    /// Print the JSON Schema of schema files, for editors.
    Schema,
    /// Print the SQL statements that `apply` would run, and the differences that it would leave.
    Plan(PlanOptions),
    /// Run the SQL statements that the database needs to match the schema, and print them.
    Apply(ApplyCommand),
    /// Fill the table of a materialized view from rows that are older than the view; collectors may
    /// run at the same time.
    Backfill(BackfillOptions),
    /// List the destinations with their tables, acknowledgements and rate limits.
    Routes,
    /// Print the TypeScript types of the browser client, with the fields of each route.
    ClientTypes,
    /// Print a link of a redirect that is signed for its target.
    Sign(SignOptions),
    /// List, verify, replay, export or hand over the rows that wait on disk.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Insert the rows of an archive into their tables, except rows that are already there.
    Replay(ArchiveReplayOptions),
    /// Replay rows that ClickHouse has refused into their tables.
    #[command(subcommand)]
    Rejected(RejectedCommand),
    /// Print the SQL statements that delete the rows and dead letters of a person, or run them.
    Forget(ForgetOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List the waiting blocks, oldest first.
    List(InspectOptions),
    /// Read the whole spool and compare the checksums; fails if data is damaged or incomplete.
    Verify(InspectOptions),
    /// Send the waiting rows to ClickHouse; the collector of the data directory must not be running.
    Replay(ReplayOptions),
    /// Write the waiting rows of each block to files, each with the request that inserts its rows.
    Export(ExportOptions),
    /// Hand the waiting rows to another collector, which sends them to ClickHouse; the collector of
    /// the data directory must not be running.
    Send(SendOptions),
    /// Hand the waiting rows of a collector that runs no more to one that runs.
    Adopt(AdoptOptions),
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
pub(crate) struct InspectOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    #[command(flatten)]
    pub(crate) log: LogInspectOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    #[command(flatten)]
    pub(crate) log: SpoolLogOption,

    #[command(flatten)]
    pub(crate) topics: LogTopicOptions,

    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    /// Create the tables and columns of the schema that the database lacks before the replay.
    #[arg(long)]
    pub(crate) create_tables: bool,

    /// Maximum duration of the replay, such as 600, 600s or 10m.
    #[arg(long, default_value = "600s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) within: Duration,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RejectedReplayOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    #[command(flatten)]
    pub(crate) engine: EngineDataOptions,

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

    #[command(flatten)]
    pub(crate) log: LogInspectOptions,

    /// Export only the blocks of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Directory for the files; created if it does not exist.
    pub(crate) to: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct EngineOptions {
    /// Address of the HTTP interface; port 0 selects a free port.
    #[arg(long, env = "ROWMILL_ENGINE_LISTEN", default_value = "127.0.0.1:8123", value_parser = address, value_name = "ADDR")]
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

    /// Also let the embedded ClickHouse create the tables and views in an empty database, and report
    /// what it refuses or changes.
    #[arg(long)]
    pub(crate) engine: bool,

    /// Output format of the problems.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
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
pub(crate) struct PlanOptions {
    #[command(flatten)]
    pub(crate) apply: ApplyOptions,

    /// Exit with status 2 if the database differs from the schema; 0 means that it is the same, and
    /// 1 an error.
    #[arg(long)]
    pub(crate) exit_code: bool,

    /// Also write the plan to this file, for `apply FILE`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyCommand {
    /// A plan of `plan --out FILE`: make its changes, or none if the database or the schema needs
    /// others by now.
    #[arg(value_name = "PLAN", conflicts_with = "allow")]
    pub(crate) plan: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) options: ApplyOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApplyOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    #[command(flatten)]
    pub(crate) engine: EngineDataOptions,

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

    #[command(flatten)]
    pub(crate) engine: EngineDataOptions,

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

    /// The state of a piece that an earlier run was sending when it ended, if ClickHouse cannot
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
    /// ClickHouse as http://user:password@host:8123/database, or the same with https:// and 8443.
    /// Default: the embedded ClickHouse in the data directory.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    pub(crate) clickhouse: Option<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
}

/// The place of the embedded ClickHouse.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineDataOptions {
    /// Data directory with the embedded ClickHouse, the same as for `serve`.
    #[arg(long, env = "ROWMILL_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,
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
    fn serve_is_the_default_command() {
        let cli = Cli::parse_from(["rowmill", "--listen", "127.0.0.1:0"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen.port(), 0);
    }
}
