//! The messages of one table: batches of them, each to one partition of the topic.
//!
//! One batch is under way at a time, and waits until all in-sync replicas have it. A batch that may not
//! have arrived is sent again, to the next partition.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use super::{
    MessageFormat,
    backlog::{Backlog, Batch},
    message::{Encoder, Message, ReadRows},
    status::TableCounts,
};
use crate::{
    block::layout::InsertTarget,
    kafka::client::{Log, LogError, Partition},
    store::{Class, backoff::RETRY, failure_log::FailureLog},
};

/// The maximum length of a batch, in bytes; a single message may be longer. The brokers' default limit
/// (`message.max.bytes`) is 1 MiB.
const BATCH_BYTES: usize = 768 << 10;

/// The length of the frames that are read at once, in bytes; a single frame may be longer.
const READ_BYTES: usize = 1 << 20;

/// The blocks that wait for all topics.
#[derive(Debug, Clone)]
pub(super) struct SharedBacklog(pub(super) Arc<Mutex<Backlog>>);

impl SharedBacklog {
    /// Runs work on the backlog where it may block.
    ///
    /// # Errors
    /// That of the work.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Backlog) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let backlog = Arc::clone(&self.0);
        // A step that panics leaves at most a block that is sent again.
        let done = spawn_blocking(move || work(&mut backlog.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(io::Error::other)?
    }
}

/// The task of a table.
#[derive(Debug)]
pub(super) struct TableSender {
    log: Arc<Log>,
    topic: String,
    format: MessageFormat,
    backlog: SharedBacklog,
    counts: Arc<TableCounts>,
    /// Changes when blocks are found.
    found: watch::Receiver<u64>,
    encoders: Encoders,
    /// The partitions of the topic, once they are known, and the connection to each.
    partitions: Vec<(i32, Option<Partition>)>,
    /// The index of the partition of the next batch.
    next: usize,
    failures: u32,
    failure_log: FailureLog,
}

/// The encoder of each insert target; `None` if its rows have no form in the format.
type Encoders = HashMap<Arc<InsertTarget>, Option<Arc<Encoder>>>;

/// The largest number of insert targets whose encoders are kept: one for each build and shard.
const MAX_ENCODERS: usize = 64;

impl TableSender {
    pub(super) fn new(
        log: Arc<Log>,
        format: MessageFormat,
        backlog: SharedBacklog,
        counts: Arc<TableCounts>,
        found: watch::Receiver<u64>,
    ) -> Self {
        Self {
            topic: log.url.topic_of(&counts.table),
            log,
            format,
            backlog,
            counts,
            found,
            encoders: HashMap::new(),
            partitions: Vec::new(),
            next: fastrand::usize(..),
            failures: 0,
            failure_log: FailureLog::default(),
        }
    }

    /// Sends the rows of the table until the fan-out ends.
    pub(super) async fn run(mut self) {
        loop {
            // Before the look: what is found until then is taken.
            self.found.borrow_and_update();
            let table = Arc::clone(&self.counts.table);
            match self.backlog.run(move |backlog| backlog.take(&table, READ_BYTES)).await {
                Ok(Some(batch)) => self.send(batch).await,
                Ok(None) => {
                    self.recover();
                    if self.found.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => self.wait_after_disk(&error).await,
            }
        }
    }

    async fn send(&mut self, batch: Batch) {
        let Batch { rows, cursors } = batch;
        let messages = self.encode(rows).await;
        let mut waiting: VecDeque<_> = chunks(messages).into();
        let (mut rows, mut bytes, mut too_long) = (0, 0, 0);
        while let Some(messages) = waiting.pop_front() {
            let length: usize = messages.iter().map(|message| message.bytes).sum();
            let count = messages.len();
            let Some(mut messages) = self.send_messages(messages).await else {
                (rows, bytes) = (rows + count, bytes + length);
                continue;
            };
            // Longer than the brokers accept.
            match messages.len() {
                0 | 1 => too_long += messages.len() as u64,
                count => {
                    waiting.push_front(messages.split_off(count / 2));
                    waiting.push_front(messages);
                }
            }
        }
        if too_long > 0 {
            self.counts.dropped_rows.fetch_add(too_long, Ordering::Relaxed);
            tracing::error!(
                topic = self.topic,
                rows = too_long,
                "rows do not reach their topic: their messages are longer than the brokers accept (`max.message.bytes` of the topic)"
            );
        }
        let table = Arc::clone(&self.counts.table);
        let sent = self.backlog.run(move |backlog| backlog.sent(&table, &cursors)).await;
        // A row counts once the next process knows of it.
        self.counts.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Err(error) = sent {
            self.wait_after_disk(&error).await;
        }
    }

    /// Returns the messages of rows. Rows that cannot be encoded are counted and logged.
    async fn encode(&mut self, rows: Vec<ReadRows>) -> Vec<Message> {
        let count: usize = rows.iter().map(|rows| rows.content.ends.len()).sum();
        let mut with_encoders = Vec::with_capacity(rows.len());
        for rows in rows {
            let encoder = self.encoder(&rows.layout);
            with_encoders.push((rows, encoder));
        }
        let encoded = spawn_blocking(move || {
            let (mut messages, mut lost) = (Vec::new(), Vec::new());
            for (rows, encoder) in with_encoders {
                let unknown = rows.numbers.iter().cloned().flatten().collect();
                let malformed = match encoder {
                    Some(encoder) => encoder.put(&rows, &mut messages),
                    None => unknown,
                };
                if !malformed.is_empty() {
                    lost.push((rows.block, malformed));
                }
            }
            (messages, lost)
        });
        let (messages, lost) = match encoded.await {
            Ok(encoded) => encoded,
            Err(error) => {
                self.counts.dropped_rows.fetch_add(count as u64, Ordering::Relaxed);
                tracing::error!(topic = self.topic, %error, rows = count, "rows do not reach their topic: they cannot be encoded");
                return Vec::new();
            }
        };
        for (block, rows) in lost {
            self.counts.dropped_rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
            tracing::error!(
                topic = self.topic, %block, rows = rows.len(), first = rows.first(),
                "rows do not reach their topic: their bytes are not those of their columns"
            );
        }
        messages
    }

    fn encoder(&mut self, layout: &Arc<InsertTarget>) -> Option<Arc<Encoder>> {
        if let Some(known) = self.encoders.get(layout) {
            return known.clone();
        }
        let encoder = match Encoder::of(layout, self.format) {
            Ok(encoder) => Some(Arc::new(encoder)),
            Err(error) => {
                tracing::error!(topic = self.topic, %error, "rows of an earlier build do not reach their topic");
                None
            }
        };
        if self.encoders.len() >= MAX_ENCODERS {
            self.encoders.clear();
        }
        self.encoders.insert(Arc::clone(layout), encoder.clone());
        encoder
    }

    /// Sends messages until the brokers confirm them. Returns them if they are longer than the brokers
    /// accept.
    async fn send_messages(&mut self, messages: Vec<Message>) -> Option<Vec<Message>> {
        loop {
            match self.try_send(&messages).await {
                Ok(()) => {
                    self.recover();
                    return None;
                }
                Err(error) if error.is_too_large() => {
                    // The brokers have answered.
                    self.recover();
                    return Some(messages);
                }
                Err(error) => {
                    let (topic, log) = (&self.topic, &self.log.url);
                    match self.failure_log.due(Class::Retry) {
                        None => {}
                        Some(true) => {
                            tracing::warn!(topic, brokers = %log, %error, "rows cannot be sent to their topic and wait on disk; the fan-out retries");
                        }
                        Some(false) => {
                            tracing::error!(topic, brokers = %log, %error, "rows cannot be sent to their topic for minutes and wait on disk; the fan-out retries");
                        }
                    }
                    self.fail();
                    sleep(RETRY.wait(self.failures)).await;
                }
            }
        }
    }

    async fn try_send(&mut self, messages: &[Message]) -> Result<(), LogError> {
        if self.partitions.is_empty() {
            let found = self.log.partitions_of(&self.topic, None).await?;
            self.partitions = found.into_iter().map(|partition| (partition, None)).collect();
        }
        self.next = self.next.wrapping_add(1);
        let index = self.next % self.partitions.len().max(1);
        let Some((partition, connection)) = self.partitions.get_mut(index) else {
            return Err(LogError::Timeout);
        };
        // After an error, the connection is not used again: it may still wait for the broker.
        let connected = match connection.take() {
            Some(connected) => connected,
            None => self.log.partition(&self.topic, *partition).await?,
        };
        let records = messages.iter().map(|message| message.record.clone()).collect();
        connected.append_all(records).await?;
        *connection = Some(connected);
        Ok(())
    }

    /// Counts a failure.
    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.counts.is_failing.store(true, Ordering::Relaxed);
        // The topic may be gone, or have other partitions.
        self.partitions.clear();
    }

    /// Records that the brokers have answered.
    fn recover(&mut self) {
        if self.failures > 0 {
            tracing::info!(topic = self.topic, "the topic takes rows again");
        }
        self.failures = 0;
        self.failure_log = FailureLog::default();
        self.counts.is_failing.store(false, Ordering::Relaxed);
    }

    async fn wait_after_disk(&mut self, error: &io::Error) {
        if self.failure_log.due(Class::Retry).is_some() {
            tracing::error!(topic = self.topic, %error, "the data folder of the fan-out cannot be used; the fan-out retries");
        }
        self.fail();
        sleep(RETRY.wait(self.failures)).await;
    }
}

/// Divides messages into batches of at most [`BATCH_BYTES`], and of at least one message.
fn chunks(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for message in messages {
        if bytes + message.bytes > BATCH_BYTES && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += message.bytes;
        chunk.push(message);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rskafka::{chrono::DateTime, record::Record};

    use super::*;

    #[test]
    fn messages_are_divided_by_length_and_a_long_one_is_alone() {
        let message = |bytes| Message {
            record: Record {
                key: None,
                value: None,
                headers: BTreeMap::new(),
                timestamp: DateTime::UNIX_EPOCH,
            },
            bytes,
        };
        let half = BATCH_BYTES / 2;
        let lengths = |lengths: &[usize]| -> Vec<usize> {
            let messages = lengths.iter().copied().map(message).collect();
            chunks(messages).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&[half, half, 1, 1, BATCH_BYTES + 1, 1]), [2, 2, 1, 1]);
        assert_eq!(lengths(&[]), [0_usize; 0]);
    }
}
