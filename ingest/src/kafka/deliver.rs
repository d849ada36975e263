//! Deliver: the member of a log's deliveries that this process is.
//!
//! One task reads the control topic: which processes deliver, and where partitions are cut. It
//! starts a follower for each partition that this process owns, and ends the followers of those
//! that it has lost. The blocks of an ended follower are still delivered; the new owner looks them
//! up in their table before it sends them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use rskafka::record::RecordAndOffset;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use super::{
    client::{Log, LogError, Partition},
    control::Control,
    cuts::Cuts,
    follow::{Follower, Shared},
    members::{BEAT_INTERVAL, LEASE, Members},
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
    /// The end of the control topic at the start. Partitions are taken once it has been read.
    end_at_start: i64,
    /// The last time at which the brokers had a beat of this process.
    last_beat: Instant,
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
    /// The position at the start. Earlier cuts are forgotten as they are read.
    position: Option<i64>,
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
            end_at_start: 0,
            last_beat: Instant::now(),
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
        self.drain().await;
        if let Err(error) = self.shared.positions.write().await {
            tracing::warn!(%error, "the last positions of the shared log cannot be written; the rows are stored");
        }
        // The other members then take over at once.
        if let Some(control) = self.control.take() {
            _ = control.append(Control::Left(self.id).to_record()).await;
        }
    }

    /// Waits until the followers have ended, once their blocks are stored. Beats meanwhile, so that
    /// no other process takes their partitions.
    async fn drain(&mut self) {
        let control = self.control.clone();
        let beats = async {
            let Some(control) = control else {
                return pending().await;
            };
            loop {
                // After a failure, the others take over, and look up the rows.
                _ = control.append(Control::Beat(self.id).to_record()).await;
                sleep(BEAT_INTERVAL).await;
            }
        };
        let followers = &mut self.followers;
        let ends = async { while followers.join_next().await.is_some() {} };
        tokio::select! {
            () = ends => {}
            () = beats => {}
        }
    }

    /// Appends a beat. The others no longer wait for a process whose beats do not arrive, so it
    /// ends its followers then; their blocks are looked up before they are sent.
    async fn beat(&mut self, control: &Partition) -> Result<(), Failure> {
        self.end_followers_without_lease();
        let append = control.append(Control::Beat(self.id).to_record());
        timeout(LEASE, append).await.map_err(|_| LogError::Timeout)??;
        self.last_beat = Instant::now();
        Ok(())
    }

    fn end_followers_without_lease(&mut self) {
        if self.last_beat.elapsed() < LEASE {
            return;
        }
        let followers = self.partitions.values_mut();
        let ended = followers.filter_map(|followed| followed.follower.take());
        let count = ended.map(|task| task.abort()).count();
        if count > 0 {
            tracing::warn!(
                partitions = count,
                "the shared log had no beat of this process for seconds: other processes may deliver its partitions"
            );
        }
    }

    /// Waits after a failure, which is logged once in a while.
    async fn recover(&mut self, failure: Failure) {
        self.control = None;
        self.end_followers_without_lease();
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
        let control = log.partition(log.url.control_topic(), 0).await?;
        let (first, end) = control.bounds().await?;
        let mut partitions = BTreeMap::new();
        // The offset of the first record of the control topic that any partition needs.
        let mut oldest = end;
        for layout in tables {
            let topic: Arc<str> = log.url.topic_of(&layout.table).into();
            for partition in log.partitions_of(&topic, None).await? {
                let id = (Arc::clone(&topic), partition);
                let position = stored.get(&id);
                let needed = match position {
                    Some(at) if at.control_offset > end => first,
                    Some(at) => at.control_offset,
                    // Records that arrive from now on are cut after the present end.
                    None if is_empty(log, &id).await => end,
                    None => first,
                };
                oldest = oldest.min(needed);
                let followed = Followed {
                    layout: Arc::clone(layout),
                    cuts: watch::Sender::new(Cuts::default()),
                    position: position.map(|at| at.position),
                    follower: None,
                };
                partitions.insert(id, followed);
            }
        }
        self.next = oldest.max(first);
        self.end_at_start = end;
        (self.partitions, self.control) = (partitions, Some(control));
        Ok(())
    }

    /// Reads the control topic, beats, and follows the partitions that this process owns, until a
    /// failure.
    async fn follow_control(&mut self, beats: &mut Interval) -> Result<Infallible, Failure> {
        // The connection that reads waits for records; beats have one of their own.
        let log = Arc::clone(&self.shared.log);
        let connect = || timeout(LEASE, log.partition(log.url.control_topic(), 0));
        let connected = tokio::try_join!(connect(), connect());
        let (reader, sender) = connected.map_err(|_| LogError::Timeout)?;
        let (reader, sender) = (reader?, sender?);
        self.control = Some(sender.clone());
        loop {
            tokio::select! {
                read = reader.read(self.next) => match read {
                    // The brokers have removed records that are older than the topic's retention.
                    Err(error) if error.is_out_of_range() => {
                        (self.next, self.end_at_start) = reader.bounds().await?;
                    }
                    read => self.apply(read?.0),
                },
                _ = beats.tick() => self.beat(&sender).await?,
            }
            self.failures = 0;
            self.members.expire(Instant::now());
            if self.started.elapsed() >= LISTEN && self.next >= self.end_at_start {
                self.assign(&reader).await?;
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
                        followed.cuts.send_if_modified(|cuts| {
                            let is_accepted = cuts.add(cut, offset);
                            if let Some(position) = followed.position {
                                cuts.forget_before(position);
                            }
                            is_accepted
                        });
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
    async fn assign(&mut self, control: &Partition) -> Result<(), Failure> {
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
        // The cut at each of these positions is before the end that the control topic has now.
        if !gained.is_empty() {
            let (_, end) = control.bounds().await?;
            while self.next < end {
                let (records, _) = control.read(self.next).await?;
                if records.is_empty() {
                    break;
                }
                self.apply(records);
            }
        }
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

/// Returns whether a partition has no records; `false` if that cannot be found out now.
async fn is_empty(log: &Log, (topic, partition): &PartitionId) -> bool {
    let bounds = async { log.partition(topic, *partition).await?.bounds().await };
    bounds.await.is_ok_and(|(first, end)| first == end)
}
