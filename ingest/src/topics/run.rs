//! Finds new blocks for the tasks of the tables, until the spool is closed and its last rows are sent.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    Topics, TopicsStatus,
    backlog::Backlog,
    send::{SharedBacklog, TableSender},
    status::{Counts, TableCounts},
};
use crate::{
    kafka::client::Log,
    spool::{
        Spool,
        links::{Consumer, SegmentLinks},
    },
    store::{Class, backoff::RETRY, failure_log::FailureLog},
    table::Schema,
};

/// The interval at which the fan-out looks for new blocks.
const TICK: Duration = Duration::from_millis(250);

/// The interval at which the fan-out forgets old blocks and retries links.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// The age at which an open block is sealed for its topic. Only while ClickHouse is away does a block
/// grow older: longer ones are fewer inserts afterwards, and this age bounds the delay of a message.
const SEAL_AGE: Duration = Duration::from_secs(5);

/// The largest number of blocks of a table in memory. Further ones stay on disk unread.
const MAX_BLOCKS: usize = 20_000;

/// How far the end of the spool has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The spool accepts no rows any more, and its deliveries go on.
    Closed,
    /// The spool's log has ended.
    Ended,
}

/// The fan-out of a spool.
#[derive(Debug)]
pub(crate) struct FanOut {
    max_bytes: u64,
    links: Arc<SegmentLinks>,
    spool: Spool,
    backlog: SharedBacklog,
    counts: Arc<Counts>,
    stage: watch::Receiver<Stage>,
    found: watch::Sender<u64>,
    failure_log: FailureLog,
    failures: u32,
    /// The time of the last tidying that succeeded.
    tidied: Option<Instant>,
}

/// A running fan-out.
#[derive(Debug)]
pub(crate) struct FanOutHandle {
    task: JoinSet<()>,
    senders: JoinSet<()>,
    stage: watch::Sender<Stage>,
    counts: Arc<Counts>,
}

/// Begins to send all rows. The spool is closed, and its deliveries go on.
pub(crate) fn send_rest(fan_out: Option<&FanOutHandle>) {
    if let Some(fan_out) = fan_out {
        fan_out.stage.send_replace(Stage::Closed);
    }
}

/// Sends what is left, until `deadline`: the rest stays on disk for the next process. The spool's log has
/// ended. A stop that is late already waits no more.
pub(crate) async fn finish(fan_out: &mut Option<FanOutHandle>, is_late: bool, deadline: impl Future<Output = ()>) {
    if let Some(mut fan_out) = fan_out.take() {
        match is_late {
            false => fan_out.finish(deadline).await,
            true => fan_out.finish(std::future::ready(())).await,
        }
    }
}

impl FanOutHandle {
    async fn finish(&mut self, deadline: impl Future<Output = ()>) {
        self.stage.send_replace(Stage::Ended);
        tokio::select! {
            biased;
            _ = self.task.join_next() => {}
            () = deadline => self.task.shutdown().await,
        }
        self.senders.shutdown().await;
        let pending = self.counts.pending_bytes.load(Ordering::Relaxed);
        if pending > 0 {
            tracing::warn!(
                bytes = pending,
                "rows stay on disk for their topics, until the next start with the same data directory"
            );
        }
    }

    /// Returns a reader of the status.
    pub(crate) fn reader(&self) -> StatusReader {
        StatusReader(Arc::clone(&self.counts))
    }
}

/// Reads the status of a fan-out.
#[derive(Debug)]
pub(crate) struct StatusReader(Arc<Counts>);

impl StatusReader {
    /// Returns what the topics have, and what waits for them.
    pub(crate) fn status(&self) -> TopicsStatus {
        self.0.status()
    }
}

impl FanOut {
    /// Opens the links in the spool's folder.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn links(folder: &Path) -> io::Result<Arc<SegmentLinks>> {
        Ok(Arc::new(SegmentLinks::open(folder, Consumer::FanOut)?))
    }

    /// Starts the fan-out of a spool, whose segments get `links`. The spool's deliveries start later:
    /// until then, no segment of an earlier process is removed that has no link yet.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn start(
        topics: &Topics,
        links: Arc<SegmentLinks>,
        spool: Spool,
        schema: &Schema,
    ) -> io::Result<FanOutHandle> {
        let tables = schema.tables.iter().filter(|table| topics.has(table.name));
        let tables: Vec<Arc<str>> = tables.map(|table| table.name.into()).collect();
        let backlog = Backlog::open(Arc::clone(&links), spool.clone(), tables.iter().cloned(), MAX_BLOCKS)?;
        let backlog = SharedBacklog(Arc::new(Mutex::new(backlog)));
        let counts = Arc::new(Counts {
            tables: tables
                .into_iter()
                .map(|table| Arc::new(TableCounts::new(table)))
                .collect(),
            ..Counts::default()
        });
        let log = Arc::new(Log::new(topics.url.clone(), topics.created));
        let (stage, receiver) = watch::channel(Stage::Open);
        let found = watch::Sender::new(0);
        let mut senders = JoinSet::new();
        for table in &counts.tables {
            let sender = TableSender::new(
                Arc::clone(&log),
                topics.format,
                backlog.clone(),
                Arc::clone(table),
                found.subscribe(),
            );
            senders.spawn(sender.run());
        }
        let fan_out = Self {
            max_bytes: topics.max_bytes,
            links,
            spool,
            backlog,
            counts: Arc::clone(&counts),
            stage: receiver,
            found,
            failure_log: FailureLog::default(),
            failures: 0,
            tidied: None,
        };
        let mut task = JoinSet::new();
        task.spawn(fan_out.run());
        Ok(FanOutHandle {
            task,
            senders,
            stage,
            counts,
        })
    }

    async fn run(mut self) {
        loop {
            // Before the look: what the spool has written until then is found.
            let stage = *self.stage.borrow_and_update();
            let age = match stage {
                Stage::Open => SEAL_AGE,
                Stage::Closed | Stage::Ended => Duration::ZERO,
            };
            let has_topic = |table: &str| self.counts.tables.iter().any(|counts| *counts.table == *table);
            self.spool.seal_older(age, has_topic);
            let wait = match self.look().await {
                Ok(is_over) if is_over && stage == Stage::Ended => return,
                Ok(_) => {
                    self.failures = 0;
                    self.failure_log = FailureLog::default();
                    TICK
                }
                Err(error) => {
                    self.record(&error);
                    if stage == Stage::Ended {
                        return;
                    }
                    RETRY.wait(self.failures)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.links.filled() => {}
                _ = self.stage.changed() => {}
            }
        }
    }

    /// Finds the new blocks, and limits those that wait. Returns whether each table has sent its rows, or
    /// cannot send them now.
    async fn look(&mut self) -> io::Result<bool> {
        let is_tidied = self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY_INTERVAL);
        let (max_bytes, counts) = (self.max_bytes, Arc::clone(&self.counts));
        let step = move |backlog: &mut Backlog| {
            // A failure of one step ends no other: a full disk is still limited, and rows that can be read
            // are still sent.
            let read = backlog.read();
            let tidied = if is_tidied { Ok(()) } else { backlog.tidy() };
            let is_tidy = tidied.is_ok();
            let removed = backlog.remove_links();
            let limited = backlog.limit(max_bytes, &counts);
            let is_over =
                |table: &Arc<TableCounts>| backlog.is_empty(&table.table) || table.is_failing.load(Ordering::Relaxed);
            let is_over = matches!(read, Ok(false)) && counts.tables.iter().all(is_over);
            Ok((is_over, is_tidy, read.map(drop).and(tidied).and(removed).and(limited)))
        };
        let (is_over, is_tidy, result) = self.backlog.run(step).await?;
        if !is_tidied && is_tidy {
            self.tidied = Some(Instant::now());
        }
        self.found.send_modify(|count| *count = count.wrapping_add(1));
        result.map(|()| is_over)
    }

    /// Logs a failure of the disk.
    fn record(&mut self, error: &io::Error) {
        self.failures = self.failures.saturating_add(1);
        self.links.note_full(error);
        if self.failure_log.due(Class::Retry).is_some() {
            tracing::error!(%error, "the data folder of the fan-out cannot be used; the fan-out retries");
        }
    }
}
