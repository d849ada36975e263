//! The fan-out: rows as messages of Kafka topics, beside ClickHouse.
//!
//! The fan-out reads the blocks of the spool's [links](crate::spool), as the archive does. Each table
//! has its own task and its own topic. Delivery does not know of them: brokers that are slow or away
//! delay no insert, ClickHouse delays no message, and a topic that is missing delays no other one.
//! Promises: each row that the spool had on disk is in its topic at least once, also if ClickHouse has
//! refused it, and after any kill; a repeated message has the same headers as the first. The rows that
//! wait for their topics are bounded, and those that are given up are logged as an error.
//!
//! ```text
//! json      rows as JSON
//! message   the messages of a block's rows
//! backlog   the blocks that wait for their topic, and the cursor of each
//! send      the messages of one table, in batches
//! run       finds new blocks, until the spool is closed
//! status    counts, for metrics
//! ```
//!
//! The cursor is the [journal](crate::archive) of the blocks whose rows are all in their topic. A
//! process that is killed sends the rows of a block again from its first one.

mod backlog;
mod json;
mod message;
mod run;
mod send;
mod status;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use self::json::JsonRows;
pub(crate) use self::run::{FanOut, FanOutHandle, StatusReader, finish, send_rest};
pub use self::status::{TopicStatus, TopicsStatus};
use crate::{
    block::layout::InsertTarget,
    kafka::{LogUrl, TopicOptions},
    table::Schema,
};

/// The topics of a writer's rows, beside ClickHouse.
///
/// ```
/// use rowmill_ingest::{WriterOptions, topics::{MessageFormat, Topics}};
///
/// let topics = Topics {
///     format: MessageFormat::RowBinary,
///     ..Topics::new("kafka://broker:9092/events".parse()?)
/// };
/// let options = WriterOptions { topics: Some(topics), ..WriterOptions::default() };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Topics {
    /// The brokers, and the prefix of the topics: each table has the topic `prefix.TABLE`.
    pub url: LogUrl,
    /// The number of partitions and of replicas of a topic that does not exist, and is created.
    pub created: TopicOptions,
    /// The tables whose rows are sent; `None` for all of the schema, without the dead letters.
    pub tables: Option<Vec<String>>,
    /// The format of a message.
    pub format: MessageFormat,
    /// Disk space of rows that only the topics still need. Beyond it, the oldest are given up, which
    /// is logged as an error.
    pub max_bytes: u64,
}

impl Topics {
    /// Returns topics of all tables, with a row in JSON in each message: 8 GiB of rows wait while the
    /// brokers are away.
    pub fn new(url: LogUrl) -> Self {
        Self {
            url,
            created: TopicOptions::default(),
            tables: None,
            format: MessageFormat::Json,
            max_bytes: 8 << 30,
        }
    }

    /// Checks that the rows of the tables can be messages of the format.
    ///
    /// # Errors
    /// The schema has no table of a name, or a column has a type that the format has no form for.
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        for name in self.tables.iter().flatten() {
            if !schema.tables.iter().any(|table| table.name == name) {
                return Err(format!("the schema has no table `{name}`"));
            }
        }
        let chosen = schema.tables.iter().filter(|table| self.has(table.name));
        for table in chosen.filter(|_| self.format == MessageFormat::Json) {
            JsonRows::of(&InsertTarget::of(table)).map_err(|error| format!("the table `{}`: {error}", table.name))?;
        }
        Ok(())
    }

    fn has(&self, table: &str) -> bool {
        self.tables
            .as_ref()
            .is_none_or(|tables| tables.iter().any(|name| name == table))
    }
}

/// The format of a message, which has one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// An object with a key for each column, as ClickHouse reads it in the format `JSONEachRow`.
    Json,
    /// The bytes that ClickHouse reads in the format `RowBinary`, or in `RowBinaryWithDefaults` if the
    /// table has columns whose DEFAULT only ClickHouse can compute.
    RowBinary,
}

impl fmt::Display for MessageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::RowBinary => "rowbinary",
        })
    }
}

/// The text is not the name of a [`MessageFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the formats of a message are `json` and `rowbinary`")
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for MessageFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "json" => Ok(Self::Json),
            "rowbinary" => Ok(Self::RowBinary),
            _ => Err(UnknownFormat),
        }
    }
}
