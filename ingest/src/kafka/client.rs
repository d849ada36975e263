//! The connection to the brokers: a thin layer over `rskafka` that gives each request a time limit.
//!
//! Each partition has one connection for records that are appended, and one for records that are
//! read: a broker answers the requests of a connection in order, and a read waits for new records.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use rskafka::{
    BackoffConfig,
    chrono::{DateTime, Utc},
    client::{
        Client, ClientBuilder, Credentials, SaslConfig,
        error::{Error, ProtocolError},
        partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling},
    },
    record::{Record, RecordAndOffset},
};
use tokio::{sync::OnceCell, time::timeout};

use super::url::{LogUrl, Login, Mechanism};
use crate::{lease::nodes::unix_ms, store::system_config};

/// The time limit of a request. A broker waits up to 30 s for its replicas.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// The time limit of the requests that find the leader of a partition.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read waits for new records at the broker.
const READ_WAIT_MS: i32 = 500;

/// The maximum length of the records of one answer; a single record may be longer.
const READ_BYTES: i32 = 1 << 20;

/// The retries of a request after the leader of a partition has moved. Longer outages are for the
/// callers, which report them.
const RETRIES: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_millis(500),
    base: 2.0,
    deadline: Some(Duration::from_secs(3)),
};

/// An error of the brokers.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The client's, or the brokers'.
    Client(Error),
    /// The brokers did not answer in time.
    Timeout,
}

impl LogError {
    /// Returns whether a record is longer than the brokers accept.
    pub(crate) fn is_too_large(&self) -> bool {
        self.is(ProtocolError::MessageTooLarge) || self.is(ProtocolError::RecordListTooLarge)
    }

    /// Returns whether a partition has no record at an offset any more, or not yet.
    pub(super) fn is_out_of_range(&self) -> bool {
        self.is(ProtocolError::OffsetOutOfRange)
    }

    fn is(&self, expected: ProtocolError) -> bool {
        matches!(self, Self::Client(Error::ServerError { protocol_error, .. }) if *protocol_error == expected)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(Error::ServerError { protocol_error, .. }) => write!(f, "{protocol_error}"),
            Self::Client(error) => error.fmt(f),
            Self::Timeout => f.write_str("the brokers did not answer in time"),
        }
    }
}

/// Limits a request to `limit`.
async fn limited<T>(limit: Duration, request: impl Future<Output = Result<T, Error>>) -> Result<T, LogError> {
    match timeout(limit, request).await {
        Ok(result) => result.map_err(LogError::Client),
        Err(_) => Err(LogError::Timeout),
    }
}

/// The number of partitions and of replicas of the topics that a process creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicOptions {
    /// The number of partitions of a table's topic.
    pub partitions: u16,
    /// The number of replicas of a partition.
    pub replicas: u16,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            replicas: 3,
        }
    }
}

/// The brokers of a shared log, or of other topics. The first request connects to them.
pub(crate) struct Log {
    pub(crate) url: LogUrl,
    topics: TopicOptions,
    client: OnceCell<Client>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.url).finish()
    }
}

impl Log {
    pub(crate) fn new(url: LogUrl, topics: TopicOptions) -> Self {
        Self {
            url,
            topics,
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> Result<&Client, LogError> {
        let connect = async {
            let mut builder = ClientBuilder::new(self.url.brokers.clone())
                .client_id("rowmill")
                .backoff_config(RETRIES);
            if self.url.is_tls {
                builder = builder.tls_config(system_config());
            }
            if let Some(login) = &self.url.login {
                builder = builder.sasl_config(sasl(login));
            }
            builder.build().await
        };
        self.client.get_or_try_init(|| limited(CONNECT_TIMEOUT, connect)).await
    }

    /// Returns the partitions of a topic, which is created if it does not exist.
    pub(crate) async fn partitions_of(&self, topic: &str, partitions: Option<u16>) -> Result<Vec<i32>, LogError> {
        let client = self.client().await?;
        if let Some(found) = self.topics().await?.remove(topic) {
            return Ok(found);
        }
        let controller = client.controller_client().map_err(LogError::Client)?;
        let partitions = partitions.unwrap_or(self.topics.partitions);
        let replicas = i16::try_from(self.topics.replicas).unwrap_or(i16::MAX);
        let create = controller.create_topic(topic, partitions.into(), replicas, 5_000);
        match limited(CONNECT_TIMEOUT, create).await {
            Err(error) if !error.is(ProtocolError::TopicAlreadyExists) => return Err(error),
            _ => {}
        }
        match self.topics().await?.remove(topic) {
            Some(found) => Ok(found),
            // Not every broker knows the topic yet.
            None => Err(LogError::Timeout),
        }
    }

    /// Returns the partitions of all topics.
    pub(super) async fn topics(&self) -> Result<BTreeMap<String, Vec<i32>>, LogError> {
        let client = self.client().await?;
        let topics = limited(CONNECT_TIMEOUT, client.list_topics()).await?;
        Ok(topics
            .into_iter()
            .map(|topic| (topic.name, topic.partitions.into_iter().collect()))
            .collect())
    }

    /// Returns a connection for the records of a partition.
    pub(crate) async fn partition(&self, topic: &str, partition: i32) -> Result<Partition, LogError> {
        let client = self.client().await?;
        let connect = client.partition_client(topic, partition, UnknownTopicHandling::Error);
        let client = limited(CONNECT_TIMEOUT, connect).await?;
        Ok(Partition {
            client: Arc::new(client),
        })
    }
}

/// A connection to the leader of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    client: Arc<PartitionClient>,
}

impl Partition {
    /// Appends a record and returns its offset, once all in-sync replicas have it (`acks=all`).
    ///
    /// After an error, the partition may have the record, or have it later.
    pub(super) async fn append(&self, record: Record) -> Result<i64, LogError> {
        let append = self.client.produce(vec![record], Compression::NoCompression);
        let offsets = limited(REQUEST_TIMEOUT, append).await?;
        Ok(offsets.first().copied().unwrap_or_default())
    }

    /// Appends records as one batch, as [`append`](Self::append) appends one.
    pub(crate) async fn append_all(&self, records: Vec<Record>) -> Result<(), LogError> {
        let append = self.client.produce(records, Compression::NoCompression);
        limited(REQUEST_TIMEOUT, append).await.map(drop)
    }

    /// Returns the next records from `offset` on, after a wait of half a second at most, and the
    /// offset after the partition's last record.
    pub(super) async fn read(&self, offset: i64) -> Result<(Vec<RecordAndOffset>, i64), LogError> {
        let read = self.client.fetch_records(offset, 1..READ_BYTES, READ_WAIT_MS);
        limited(REQUEST_TIMEOUT, read).await
    }

    /// Returns the offset after the last record.
    pub(super) async fn end(&self) -> Result<i64, LogError> {
        limited(CONNECT_TIMEOUT, self.client.get_offset(OffsetAt::Latest)).await
    }

    /// Returns the offsets of the first record and after the last one.
    pub(super) async fn bounds(&self) -> Result<(i64, i64), LogError> {
        let first = limited(REQUEST_TIMEOUT, self.client.get_offset(OffsetAt::Earliest)).await?;
        let end = limited(REQUEST_TIMEOUT, self.client.get_offset(OffsetAt::Latest)).await?;
        Ok((first, end))
    }
}

/// Returns the time of a record, for people: nothing depends on it.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(unix_ms()).unwrap_or_default()).unwrap_or_default()
}

fn sasl(login: &Login) -> SaslConfig {
    let credentials = Credentials::new(login.user.clone(), login.password.clone());
    match login.mechanism {
        Mechanism::Plain => SaslConfig::Plain(credentials),
        Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }
}
