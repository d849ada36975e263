//! The options of the archive, and of its replay.

use std::{
    ffi::OsStr,
    time::{Duration, SystemTime},
};

use clap::{Arg, Args, Command, ValueEnum, builder::TypedValueParser, error::ErrorKind};
use rowmill_ingest::archive::{Archive, ArchiveFormat, ArchiveUrl, InvalidArchiveUrl, Selection};

use super::{
    ColumnOptions, DatabaseOptions, EngineDataOptions,
    value::{bytes, seconds, since},
};

/// The archive of a collector.
#[derive(Debug, Clone, Args)]
pub(crate) struct ArchiveOptions {
    /// Archive of the rows beside ClickHouse, as s3://bucket/prefix or file:///path. S3 reads the
    /// variables AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; an
    /// endpoint with http:// needs AWS_ALLOW_HTTP=true. A folder that does not exist is created with
    /// the mode 0700. Default: none.
    #[arg(long, env = "ROWMILL_ARCHIVE", hide_env_values = true, value_parser = ArchiveUrlParser, value_name = "URL")]
    pub(crate) archive: Option<ArchiveUrl>,

    /// Tables whose rows are archived, separated by commas. Default: all tables of the schema.
    #[arg(
        long,
        env = "ROWMILL_ARCHIVE_TABLES",
        requires = "archive",
        value_delimiter = ',',
        value_name = "TABLES"
    )]
    pub(crate) archive_tables: Vec<String>,

    /// Format of the objects.
    #[arg(
        long,
        env = "ROWMILL_ARCHIVE_FORMAT",
        default_value = "blocks",
        value_name = "FORMAT"
    )]
    pub(crate) archive_format: ArchiveFormatOption,

    /// Age of a row at which it is archived even if its object has few others, such as 300, 60s or 5m.
    #[arg(long, env = "ROWMILL_ARCHIVE_SECONDS", default_value = "300s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) archive_seconds: Duration,

    /// Maximum disk space of rows that ClickHouse has and the archive has not; beyond it, the archive
    /// does not get the oldest ones.
    #[arg(
        long,
        env = "ROWMILL_ARCHIVE_BYTES",
        default_value = "8GiB",
        value_parser = bytes::<u64>,
        value_name = "BYTES"
    )]
    pub(crate) archive_bytes: u64,
}

impl ArchiveOptions {
    /// Returns the archive of tables with these names, if the options name one.
    ///
    /// # Errors
    /// No table has a name of `--archive-tables`, or the folder of the archive cannot be created.
    pub(crate) fn archive<'a>(&self, tables: impl Iterator<Item = &'a str> + Clone) -> Result<Option<Archive>, String> {
        let Some(url) = &self.archive else { return Ok(None) };
        let is_unknown = |name: &&String| !tables.clone().any(|table| table == name.as_str());
        if let Some(unknown) = self.archive_tables.iter().find(is_unknown) {
            return Err(format!("--archive-tables: the schema has no table `{unknown}`"));
        }
        url.create_folder().map_err(|error| format!("{url}: {error}"))?;
        Ok(Some(Archive {
            tables: (!self.archive_tables.is_empty()).then(|| self.archive_tables.clone()),
            age: self.archive_seconds,
            max_bytes: self.archive_bytes,
            format: self.archive_format.into(),
            ..Archive::new(url.clone())
        }))
    }
}

/// The format of an archive's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchiveFormatOption {
    /// The blocks of the spool, which `rowmill replay` inserts into ClickHouse again.
    Blocks,
    /// Parquet, which ClickHouse and other programs read.
    Parquet,
}

impl From<ArchiveFormatOption> for ArchiveFormat {
    fn from(option: ArchiveFormatOption) -> Self {
        match option {
            ArchiveFormatOption::Blocks => Self::Blocks,
            ArchiveFormatOption::Parquet => Self::Parquet,
        }
    }
}

/// The options of `rowmill replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ArchiveReplayOptions {
    /// The archive, as s3://bucket/prefix or file:///path, or the common prefix of the archives of
    /// several collectors. The replay writes nothing there.
    #[arg(value_parser = ArchiveUrlParser, value_name = "URL")]
    pub(crate) archive: ArchiveUrl,

    #[command(flatten)]
    pub(crate) database: DatabaseOptions,

    #[command(flatten)]
    pub(crate) engine: EngineDataOptions,

    /// Replay only rows that arrived from this time on: a time such as 2026-11-28T22:00:00Z, or an age
    /// such as 90m, 24h or 7d. Default: the oldest row.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) from: Option<SystemTime>,

    /// Replay only rows that arrived before this time, which has to be after --from. Default: the newest
    /// row.
    #[arg(long, value_parser = since, value_name = "TIME")]
    pub(crate) to: Option<SystemTime>,

    /// Replay only the rows of this table, of all collectors below the URL. If there are none, the exit
    /// status is 1.
    #[arg(long)]
    pub(crate) table: Option<String>,

    /// List the objects without sending their rows.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Also send rows of tables without the collector's `id`. ClickHouse recognizes such rows only by
    /// their tokens, so rows that are older than the table's deduplication window are stored twice.
    #[arg(long)]
    pub(crate) without_ids: bool,

    /// Maximum duration of the replay, such as 600s or 2h. Default: no limit.
    #[arg(long, value_parser = seconds, value_name = "DURATION")]
    pub(crate) within: Option<Duration>,

    #[command(flatten)]
    pub(crate) columns: ColumnOptions,
}

impl ArchiveReplayOptions {
    /// Returns the rows that are to be replayed.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            from: self.from,
            to: self.to,
            table: self.table.clone(),
        }
    }
}

/// Parses the address of an archive. Other than with a function, the error does not have the value:
/// an address that is refused may have credentials.
#[derive(Debug, Clone)]
struct ArchiveUrlParser;

impl TypedValueParser for ArchiveUrlParser {
    type Value = ArchiveUrl;

    fn parse_ref(&self, command: &Command, option: Option<&Arg>, value: &OsStr) -> Result<ArchiveUrl, clap::Error> {
        let invalid = |reason: String| {
            let option = option.map_or_else(|| "URL".to_owned(), ToString::to_string);
            let text = format!("invalid value for '{option}': {reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        };
        let text = value.to_str().ok_or_else(|| invalid("it is not UTF-8".to_owned()))?;
        text.parse()
            .map_err(|error: InvalidArchiveUrl| invalid(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_error_of_an_address_has_none_of_its_credentials() {
        let parse = |text: &str| ArchiveUrlParser.parse_ref(&Command::new("rowmill"), None, OsStr::new(text));
        for text in [
            "s3://key:secret@bucket",
            "s3://key:secret/rest@bucket",
            "http://key:secret@bucket",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("invalid value for 'URL'"), "{error}");
            assert!(!error.contains("secret") && !error.contains("key:"), "{error}");
        }
        assert!(parse("file:///archive").is_ok());
    }
}
