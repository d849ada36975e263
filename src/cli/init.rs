//! The options of `rowmill init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::clickhouse::ConnectionOptions;

#[derive(Debug, Clone, Args)]
pub(crate) struct InitOptions {
    /// Folder for a new crate with a collector of its own tables; its last part is the name of the
    /// crate. Without a name and an option, the examples of the gallery are listed.
    #[arg(value_name = "NAME", conflicts_with_all = ["from", "from_table", "schemas"])]
    pub(crate) name: Option<PathBuf>,

    /// Write a service that holds the layer of the tables, in place of a collector.
    #[arg(long, value_enum, requires = "name", value_name = "SERVER")]
    pub(crate) embed: Option<Embed>,

    /// Source of Rowmill for the new crate: a folder, or the URL of a git repository. Default: the
    /// folder that this program was built from.
    #[arg(long, requires = "name", value_name = "FOLDER|URL")]
    pub(crate) rowmill: Option<String>,

    /// Example of the gallery, for example gallery/logs, that becomes a schema file.
    #[arg(long, value_name = "EXAMPLE", conflicts_with = "from_table")]
    pub(crate) from: Option<String>,

    /// Table of ClickHouse, as TABLE or DATABASE.TABLE, that becomes a schema file.
    #[arg(long, value_name = "TABLE", requires = "clickhouse")]
    pub(crate) from_table: Option<String>,

    /// ClickHouse that has the table, as http://user:password@host:8123/database.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    pub(crate) clickhouse: Option<String>,

    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,

    /// Schema folder for the new file, whose name is that of the example or of the table.
    #[arg(long, default_value = "schemas", value_name = "DIR")]
    pub(crate) schemas: PathBuf,
}

/// The server of a service that holds the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Embed {
    /// An axum application.
    Axum,
    /// A hyper service.
    Hyper,
}
