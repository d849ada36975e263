//! Deliver: the member of a log's deliveries that this process is.
//!
//! One task reads the control topic: which processes deliver, and where partitions are cut. It
//! starts a follower for each partition that this process owns, and ends the followers of those
//! that it has lost. The blocks of an ended follower are still delivered; the new owner looks them
//! up in their table before it sends them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use rskafka::record::RecordAndOffset;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

use super::{
    client::{LogError, Partition},
    control::Control,
    cuts::Cuts,
    follow::{Follower, Shared},
    members::{BEAT_INTERVAL, Members},
    positions::{PartitionId, Position},
};
use crate::{
    block::layout::InsertTarget,
    store::{Class, ClickHouseError, backoff::RETRY, failure_log::FailureLog},
};

/// The time for which a new member only listens, so that it knows the others before it takes
/// partitions: longer than the interval of their beats.
const LISTEN: Duration = Duration::from_secs(3);

/// The interval at which positions of other members are read, so that cuts can be forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// A member of a log's deliveries.
pub(super) struct Member {
    id: Uuid,
    shared: Arc<Shared>,
    members: Members,
    /// The partitions of the schema's tables, with the cuts of each.
    partitions: BTreeMap<PartitionId, Followed>,
    followers: JoinSet<()>,
    control: Option<Partition>,
    /// The offset of the next record of the control topic.
    next: i64,
    started: Instant,
    /// The last time at which cuts were forgotten.
    forgotten: Instant,
    failures: u32,
    failure_log: FailureLog,
}

/// A partition, which this process may own.
struct Followed {
    layout: Arc<InsertTarget>,
    cuts: watch::Sender<Cuts>,
    /// `None` if another process owns the partition.
    follower: Option<AbortHandle>,
}

/// The reason why a round of the member has failed.
enum Failure {
    Log(LogError),
    Store(ClickHouseError),
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<ClickHouseError> for Failure {
    fn from(error: ClickHouseError) -> Self {
        Self::Store(error)
    }
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            id: Uuid::now_v7(),
            shared,
            members: Members::default(),
            partitions: BTreeMap::new(),
            followers: JoinSet::new(),
            control: None,
            next: 0,
            started: Instant::now(),
            forgotten: Instant::now(),
            failures: 0,
            failure_log: FailureLog::default(),
        }
    }

    /// Delivers the rows of `tables` until the spool is closed and all blocks that were taken are
    /// stored.
    pub(super) async fn run(mut self, tables: Vec<Arc<InsertTarget>>) {
        let shared = Arc::clone(&self.shared);
        let deliver = async {
            while let Err(failure) = self.start(&tables).await {
                self.recover(failure).await;
            }
            self.started = Instant::now();
            let mut beats = interval(BEAT_INTERVAL);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let Err(failure) = self.follow_control(&mut beats).await;
                self.recover(failure).await;
            }
        };
        let keep_positions = shared.positions.keep();
        tokio::select! {
            () = deliver => {}
            () = keep_positions => {}
            () = shared.spool.closed() => {}
        }
        // Each follower ends once its blocks are stored.
        while self.followers.join_next().await.is_some() {}
        if let Err(error) = self.shared.positions.write().await {
            tracing::warn!(%error, "the last positions of the shared log cannot be written; the rows are stored");
        }
        // The other members then take over at once.
        if let Some(control) = self.control.take() {
            _ = control.append(Control::Left(self.id).to_record()).await;
        }
    }

    /// Waits after a failure, which is logged once in a while.
    async fn recover(&mut self, failure: Failure) {
        self.control = None;
        self.failures += 1;
        if self.failure_log.due(Class::Retry).is_some() {
            match failure {
                Failure::Log(error) => {
                    tracing::warn!(log = %self.shared.log.url, %error, "the shared log cannot be reached and will be retried");
                }
                Failure::Store(error) => {
                    tracing::warn!(%error, "the positions of the shared log cannot be read and will be retried");
                }
            }
        }
        sleep(RETRY.wait(self.failures)).await;
    }

    /// Finds the partitions of all tables, and the first record of the control topic to read.
    async fn start(&mut self, tables: &[Arc<InsertTarget>]) -> Result<(), Failure> {
        let stored = self.shared.positions.read().await?;
        let log = &self.shared.log;
        log.partitions_of(log.url.control_topic(), Some(1)).await?;
        let mut partitions = BTreeMap::new();
        for layout in tables {
            let topic: Arc<str> = log.url.topic_of(&layout.table).into();
            for partition in log.partitions_of(&topic, None).await? {
                let followed = Followed {
                    layout: Arc::clone(layout),
                    cuts: watch::Sender::new(Cuts::default()),
                    follower: None,
                };
                partitions.insert((Arc::clone(&topic), partition), followed);
            }
        }
        let control = log.partition(log.url.control_topic(), 0).await?;
        let (first, end) = control.bounds().await?;
        let offsets = partitions.keys().map(|id| stored.get(id).map(|at| at.control_offset));
        // A partition without a position needs all cuts.
        let oldest = offsets.min().flatten().unwrap_or(first);
        self.next = if oldest > end { first } else { oldest.max(first) };
        (self.partitions, self.control) = (partitions, Some(control));
        Ok(())
    }

    /// Reads the control topic, beats, and follows the partitions that this process owns, until a
    /// failure.
    async fn follow_control(&mut self, beats: &mut Interval) -> Result<Infallible, Failure> {
        // The connection that reads waits for records; beats have one of their own.
        let log = Arc::clone(&self.shared.log);
        let reader = log.partition(log.url.control_topic(), 0).await?;
        let sender = log.partition(log.url.control_topic(), 0).await?;
        self.control = Some(sender.clone());
        loop {
            tokio::select! {
                read = reader.read(self.next) => match read {
                    // The brokers have removed records that are older than the topic's retention.
                    Err(error) if error.is_out_of_range() => self.next = reader.bounds().await?.0,
                    read => self.apply(read?.0),
                },
                _ = beats.tick() => {
                    sender.append(Control::Beat(self.id).to_record()).await?;
                }
            }
            self.failures = 0;
            self.members.expire(Instant::now());
            if self.started.elapsed() >= LISTEN {
                self.assign().await?;
            }
            if self.forgotten.elapsed() >= FORGET_INTERVAL {
                self.forgotten = Instant::now();
                self.forget_cuts().await?;
            }
        }
    }

    /// Applies records of the control topic.
    fn apply(&mut self, records: Vec<RecordAndOffset>) {
        let now = Instant::now();
        for RecordAndOffset { record, offset } in records {
            if offset < self.next {
                continue;
            }
            self.next = offset + 1;
            match Control::read(&record) {
                Some(Control::Beat(member)) => self.members.beat(member, now),
                Some(Control::Left(member)) => self.members.left(member),
                Some(Control::Cut { topic, partition, cut }) => {
                    if let Some(followed) = self.partitions.get(&(topic.into(), partition)) {
                        followed.cuts.send_if_modified(|cuts| cuts.add(cut, offset));
                    }
                }
                None => tracing::debug!(
                    offset,
                    "a record of the control topic is skipped: a later version wrote it"
                ),
            }
        }
    }

    /// Starts followers of the partitions that this process owns now, and ends those of the others.
    async fn assign(&mut self) -> Result<(), Failure> {
        let owns = |id: &PartitionId| self.members.owner(&id.0, id.1) == Some(self.id);
        let changes = self.partitions.iter().filter(|(id, followed)| {
            let is_followed = followed.follower.as_ref().is_some_and(|task| !task.is_finished());
            is_followed != owns(id)
        });
        let changed: Vec<_> = changes.map(|(id, _)| id.clone()).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (gained, lost): (Vec<_>, Vec<_>) = changed.into_iter().partition(owns);
        for id in &lost {
            if let Some(task) = self
                .partitions
                .get_mut(id)
                .and_then(|followed| followed.follower.take())
            {
                task.abort();
            }
        }
        // Another owner may have moved the positions since the last look.
        let stored = if gained.is_empty() {
            BTreeMap::new()
        } else {
            self.shared.positions.read().await?
        };
        for id in &gained {
            let Some(followed) = self.partitions.get_mut(id) else {
                continue;
            };
            let follower = Follower {
                shared: Arc::clone(&self.shared),
                id: id.clone(),
                layout: Arc::clone(&followed.layout),
                cuts: followed.cuts.subscribe(),
                stored: stored.get(id).copied(),
            };
            followed.follower = Some(self.followers.spawn(follower.run()));
        }
        // The set keeps the results of ended tasks.
        while self.followers.try_join_next().is_some() {}
        tracing::info!(
            gained = gained.len(),
            lost = lost.len(),
            "the partitions of this process have changed"
        );
        Ok(())
    }

    /// Forgets the cuts whose blocks are stored.
    async fn forget_cuts(&mut self) -> Result<(), Failure> {
        let stored = self.shared.positions.read().await?;
        for (id, followed) in &self.partitions {
            if let Some(Position { position, .. }) = stored.get(id) {
                followed.cuts.send_if_modified(|cuts| {
                    cuts.forget_before(*position);
                    false
                });
            }
        }
        Ok(())
    }
}
