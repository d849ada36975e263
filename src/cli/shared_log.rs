//! The options of a shared log.

use std::{env, error::Error};

use clap::Args;
use rowmill_ingest::{
    ClickHouseUrl,
    log::{InvalidLogUrl, LogUrl, TopicOptions},
};

use super::clickhouse::ConnectionOptions;

/// The topics that a process creates.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LogTopicOptions {
    /// Partitions of each topic that the process creates in the shared log; as many processes can
    /// deliver a table at the same time.
    #[arg(long, env = "ROWMILL_LOG_PARTITIONS", default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) log_partitions: u16,

    /// Replicas of each topic that the process creates in the shared log.
    #[arg(long, env = "ROWMILL_LOG_REPLICAS", default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) log_replicas: u16,
}

impl LogTopicOptions {
    /// Returns the options in the runtime's type.
    pub(crate) fn topics(self) -> TopicOptions {
        TopicOptions {
            partitions: self.log_partitions,
            replicas: self.log_replicas,
        }
    }
}

/// Reads the URL of a shared log. The error does not contain the URL, which may have a password.
pub(crate) fn log_url(text: &str) -> Result<LogUrl, String> {
    text.parse().map_err(|error: InvalidLogUrl| format!("--log: {error}"))
}

/// The shared log whose rows a command of `rowmill spool` reads.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpoolLogOption {
    /// Use the rows of this shared log in place of the data directory's; without a URL, the one of the
    /// variable ROWMILL_LOG_URL.
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "URL")]
    log: Option<String>,
}

impl SpoolLogOption {
    /// Returns the URL of the log; `None` if the command is about a data directory.
    ///
    /// # Errors
    /// The URL is invalid or missing.
    pub(crate) fn url(&self) -> Result<Option<LogUrl>, String> {
        match self.log.as_deref() {
            None => Ok(None),
            Some("") => {
                let url = env::var("ROWMILL_LOG_URL");
                let url = url.map_err(|_| "--log: name the shared log, or set ROWMILL_LOG_URL".to_owned())?;
                log_url(&url).map(Some)
            }
            Some(url) => log_url(url).map(Some),
        }
    }
}

/// The shared log that a command of `rowmill spool` inspects.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogInspectOptions {
    #[command(flatten)]
    pub(crate) log: SpoolLogOption,

    /// With --log, the ClickHouse whose rows do not wait any more, as
    /// http://user:password@host:8123/database. Default: none, so all rows of the log count.
    #[arg(long, env = "ROWMILL_CLICKHOUSE", hide_env_values = true, value_name = "URL")]
    clickhouse: Option<String>,

    #[command(flatten)]
    connection: ConnectionOptions,
}

impl LogInspectOptions {
    /// Returns the database with the positions of the log, if there is one.
    ///
    /// # Errors
    /// The URL or an option of the connection is invalid.
    pub(crate) fn database(&self) -> Result<Option<ClickHouseUrl>, Box<dyn Error>> {
        let url = self.clickhouse.as_ref().map(|url| self.connection.url(url));
        url.transpose()
    }
}

/// The shared log of a collector.
#[derive(Debug, Clone, Args)]
pub(crate) struct CollectorLogOptions {
    /// Shared log that keeps the rows in place of the data directory, as
    /// kafka://host:9092/prefix or kafka+tls://user:password@host:9093/prefix. With ?key=COLUMN or
    /// ?key=TABLE.COLUMN, rows with the same value of the column are in one partition. Default: none.
    #[arg(long, env = "ROWMILL_LOG_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) log: Option<String>,

    /// Also deliver the rows of the shared log in this process, as `rowmill deliver` does.
    #[arg(long, env = "ROWMILL_LOG_DELIVER", requires = "log")]
    pub(crate) log_deliver: bool,

    #[command(flatten)]
    pub(crate) topics: LogTopicOptions,
}
