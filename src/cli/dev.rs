//! The options of `rowmill dev`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct DevOptions {
    /// Folder of the crate, with its `Cargo.toml`, and with the collector as its program.
    #[arg(long = "crate", default_value = ".", value_name = "DIR")]
    pub(crate) package: PathBuf,

    /// Schema folder, below the folder of the crate.
    #[arg(long, default_value = "schemas", value_name = "DIR")]
    pub(crate) schemas: PathBuf,

    /// Options of `serve` for the collector, after `--`.
    #[arg(last = true, value_name = "OPTION")]
    pub(crate) serve: Vec<String>,
}
