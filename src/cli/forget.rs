//! The options of `rowmill forget`.

use std::path::PathBuf;

use clap::Args;

use super::{DatabaseOptions, EngineDataOptions};

#[derive(Clone, Args)]
#[group(id = "person", required = true, multiple = false, args = ["value", "value_file"])]
pub(crate) struct ForgetOptions {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    #[command(flatten)]
    pub(crate) engine: EngineDataOptions,

    /// Column with the value, in all tables that have it. Default: the columns that the schema marks
    /// with `pii`.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,

    /// Value of the column in the rows of the person. Other users of the machine can see it while the
    /// command runs; use --value-file where there are any.
    #[arg(long, value_name = "VALUE")]
    pub(crate) value: Option<String>,

    /// File with the value; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) value_file: Option<PathBuf>,

    /// Only rows and dead letters of this table.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// Run the statements, and check that the rows are gone.
    #[arg(long)]
    pub(crate) apply: bool,

    /// Do not require a spool in the data directory: no collector keeps rows on disk that are still to
    /// be sent.
    #[arg(long)]
    pub(crate) no_spool: bool,
}

/// Shows no value.
impl std::fmt::Debug for ForgetOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForgetOptions")
            .field("column", &self.column)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
