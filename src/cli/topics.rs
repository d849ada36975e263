//! The options of the fan-out to Kafka topics.

use clap::{Args, ValueEnum};
use rowmill_ingest::{
    log::{InvalidLogUrl, LogUrl, TopicOptions},
    table::Schema,
    topics::{MessageFormat, Topics},
};

use super::value::bytes;

/// The format of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicsFormat {
    /// A JSON object with a key for each column, as ClickHouse reads it in JSONEachRow.
    Json,
    /// The bytes that ClickHouse reads in RowBinary.
    Rowbinary,
}

impl From<TopicsFormat> for MessageFormat {
    fn from(format: TopicsFormat) -> Self {
        match format {
            TopicsFormat::Json => Self::Json,
            TopicsFormat::Rowbinary => Self::RowBinary,
        }
    }
}

/// The topics of a collector's rows.
#[derive(Debug, Clone, Args)]
pub(crate) struct TopicsOptions {
    /// Brokers that get each row as a message beside ClickHouse, and the prefix of the topics, as
    /// kafka://host:9092/prefix or kafka+tls://user:password@host:9093/prefix. The rows of a table go to
    /// the topic prefix.TABLE. Default: none.
    #[arg(long, env = "ROWMILL_TOPICS", hide_env_values = true, value_name = "URL")]
    pub(crate) topics: Option<String>,

    /// Tables whose rows go to a topic, separated by commas. Default: all tables of the schema.
    #[arg(
        long,
        env = "ROWMILL_TOPICS_TABLES",
        requires = "topics",
        value_delimiter = ',',
        value_name = "TABLES"
    )]
    pub(crate) topics_tables: Vec<String>,

    /// Format of a message.
    #[arg(
        long,
        env = "ROWMILL_TOPICS_FORMAT",
        value_enum,
        default_value = "json",
        value_name = "FORMAT"
    )]
    pub(crate) topics_format: TopicsFormat,

    /// Partitions of a topic that does not exist, and that the collector creates.
    #[arg(long, env = "ROWMILL_TOPICS_PARTITIONS", default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) topics_partitions: u16,

    /// Replicas of a topic that the collector creates.
    #[arg(long, env = "ROWMILL_TOPICS_REPLICAS", default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) topics_replicas: u16,

    /// Maximum disk space of rows that ClickHouse has and their topics have not; beyond it, the topics do
    /// not get the oldest ones.
    #[arg(
        long,
        env = "ROWMILL_TOPICS_BYTES",
        default_value = "8GiB",
        value_parser = bytes::<u64>,
        value_name = "BYTES"
    )]
    pub(crate) topics_bytes: u64,
}

impl TopicsOptions {
    /// Returns the topics of the schema's tables, if the options name any.
    ///
    /// # Errors
    /// The URL is malformed, no table has a name of `--topics-tables`, or the rows of a table cannot be
    /// messages. The error does not contain the URL, which may have a password.
    pub(crate) fn topics(&self, schema: &Schema) -> Result<Option<Topics>, String> {
        let Some(url) = &self.topics else { return Ok(None) };
        let url: LogUrl = url
            .parse()
            .map_err(|error: InvalidLogUrl| format!("--topics: {error}"))?;
        let topics = Topics {
            created: TopicOptions {
                partitions: self.topics_partitions,
                replicas: self.topics_replicas,
            },
            tables: (!self.topics_tables.is_empty()).then(|| self.topics_tables.clone()),
            format: self.topics_format.into(),
            max_bytes: self.topics_bytes,
            ..Topics::new(url)
        };
        topics
            .check(schema)
            .map_err(|error| format!("--topics-tables: {error}"))?;
        Ok(Some(topics))
    }
}
