//! The options of a shared log.

use clap::Args;
use rowmill_ingest::log::{InvalidLogUrl, LogUrl, TopicOptions};

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
