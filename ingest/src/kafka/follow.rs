//! Follow: reads the records of one partition, has them cut, and hands their blocks to the spool of
//! a delivery.
//!
//! ```text
//! propose   records that are many, long or old enough get a cut in the control topic
//! take      an accepted cut makes blocks of the records before it
//! settle    blocks that are stored, in order, move the partition's position
//! ```
//!
//! `start` finds the first record.

use std::{
    collections::VecDeque,
    future::pending,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rskafka::record::RecordAndOffset;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{
    client::{Log, LogError, Partition},
    control::Control,
    cuts::{AcceptedCut, Cuts, LogBlock, Uncut},
    lag::{LagGauge, Lags},
    positions::{PartitionId, Position, Positions},
    read::read,
    record::{Layouts, RowsRecord, Unreadable},
};
use crate::{
    ack::Ack,
    block::{
        BlockLimits,
        layout::InsertTarget,
        progress::{SharedProgress, WaitCondition},
        sealed::SealedBlock,
    },
    spool::Spool,
    store::{Class, backoff::RETRY, failure_log::FailureLog},
};

/// The number of cuts whose blocks are not all stored. One is inserted while others are read.
const MAX_IN_FLIGHT: usize = 3;

/// The parts of a delivery that the followers of all partitions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    pub(super) spool: Spool,
    pub(super) limits: BlockLimits,
    pub(super) positions: Positions,
    pub(super) lags: Lags,
    /// The memory of the records that wait for a cut, in bytes.
    uncut_bytes: AtomicUsize,
    max_uncut_bytes: usize,
}

impl Shared {
    /// Returns the shared parts of a delivery whose rows take at most `memory_bytes`.
    pub(super) fn new(
        log: Arc<Log>,
        spool: Spool,
        limits: BlockLimits,
        positions: Positions,
        memory_bytes: usize,
    ) -> Self {
        Self {
            log,
            spool,
            limits,
            positions,
            lags: Lags::default(),
            uncut_bytes: AtomicUsize::new(0),
            max_uncut_bytes: memory_bytes / 4,
        }
    }

    /// Returns whether records should be cut although they are few.
    fn is_short_of_memory(&self) -> bool {
        self.uncut_bytes.load(Ordering::Relaxed) > self.max_uncut_bytes
    }
}

/// A follower of one partition.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) id: PartitionId,
    /// The insert target of the topic's table in this build.
    pub(super) layout: Arc<InsertTarget>,
    pub(super) cuts: watch::Receiver<Cuts>,
    /// The position that the table of positions has.
    pub(super) stored: Option<Position>,
}

/// The blocks of one cut, which are on their way to their table.
struct InFlight {
    blocks: Vec<(Uuid, Arc<SharedProgress>)>,
    /// The time of the oldest record, if it has any.
    oldest_ms: Option<i64>,
    position: Position,
}

/// The records of a partition, and what has become of them.
struct Follow<'a> {
    shared: &'a Shared,
    id: PartitionId,
    own: Arc<InsertTarget>,
    layouts: Layouts,
    uncut: Uncut,
    /// The time at which the oldest record that waits for a cut was read.
    since: Option<Instant>,
    in_flight: VecDeque<InFlight>,
    /// The offset in the control topic of the last cut that this process has proposed, and its end.
    own_cut: Option<(i64, i64)>,
    /// The end of the last cut that this process has begun to propose.
    proposed_end: i64,
    /// The end of the partition at the start, if its position was not known: an earlier process may
    /// have stored the records before it.
    in_doubt_until: i64,
    /// Whether a later version has written the next record, which stops the reading.
    is_held: bool,
    lag: Arc<LagGauge>,
    control: Option<Partition>,
    failures: u32,
    failure_log: FailureLog,
}

/// A proposal on its way to the control topic. Returns the connection for the next one, and the
/// cut's offset there.
type Proposal = Pin<Box<dyn Future<Output = Result<(Partition, i64), LogError>> + Send>>;

impl Follower {
    /// Follows the partition until the spool is closed and all blocks that it got are stored.
    pub(super) async fn run(self) {
        let Some(start) = self.start().await else { return };
        let lag = self.shared.lags.add(&self.id, start.position, start.end);
        let mut follow = Follow {
            shared: &self.shared,
            id: self.id.clone(),
            own: self.layout,
            layouts: Layouts::default(),
            uncut: Uncut::new(start.position, start.sequences),
            since: None,
            in_flight: VecDeque::new(),
            own_cut: None,
            proposed_end: 0,
            in_doubt_until: start.in_doubt_until,
            is_held: false,
            lag: Arc::clone(&lag),
            control: None,
            failures: 0,
            failure_log: FailureLog::default(),
        };
        let (sender, records) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        let (log, spool) = (Arc::clone(&self.shared.log), self.shared.spool.clone());
        let table = Arc::clone(&follow.own.table);
        readers.spawn(read(log, spool, table, self.id, start.position, lag, sender));
        follow.run(records, self.cuts).await;
    }
}

impl Follow<'_> {
    async fn run(&mut self, mut records: mpsc::Receiver<Vec<RecordAndOffset>>, mut cuts: watch::Receiver<Cuts>) {
        let Shared { spool, .. } = self.shared;
        let mut proposal: Option<Proposal> = None;
        loop {
            let is_closed = spool.is_closed();
            let next = cuts.borrow_and_update().after(self.uncut.position()).cloned();
            if let Some(next) = &next {
                let is_read = self.uncut.next() >= next.cut.end;
                // The answer to a proposal tells whether the cut is its own.
                let may_take = proposal.is_none() && self.in_flight.len() < MAX_IN_FLIGHT && !is_closed;
                if is_read && may_take {
                    self.take(next);
                    continue;
                }
            }
            if is_closed && self.in_flight.is_empty() {
                return;
            }
            // After a proposal, this or another cut is accepted.
            let has_proposed = self.own_cut.is_some_and(|(_, end)| end > self.uncut.position());
            let has_room = self.in_flight.len() < MAX_IN_FLIGHT;
            let may_propose = next.is_none()
                && proposal.is_none()
                && !has_proposed
                && has_room
                && !is_closed
                && !self.uncut.is_empty();
            if may_propose && self.is_due() {
                proposal = Some(self.propose());
                continue;
            }
            let due_at = self.since.filter(|_| may_propose).map(|since| since + self.block_age());
            // Records up to an accepted cut are read in any case: they are the next blocks.
            // A partition without records gets some although those of others take much memory.
            let wants_records = match &next {
                Some(next) => self.uncut.next() < next.cut.end,
                None => self.uncut.is_empty() || !self.is_long(),
            };
            let wants_records = wants_records && !self.is_held && !is_closed;
            let oldest = self.in_flight.front().map(|oldest| oldest.blocks.clone());
            let mut oldest = pin!(are_stored(spool, oldest.unwrap_or_default()));
            tokio::select! {
                Some(read) = records.recv(), if wants_records => self.add(read),
                proposed = answer(&mut proposal), if proposal.is_some() => {
                    proposal = None;
                    self.proposed(proposed);
                }
                changed = cuts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {}
                () = &mut oldest, if !self.in_flight.is_empty() => self.settle_oldest(),
                () = spool.closed(), if !is_closed => {}
            }
        }
    }

    /// Adds records that were read.
    fn add(&mut self, records: Vec<RecordAndOffset>) {
        let before = self.uncut.bytes();
        for RecordAndOffset { record, offset } in records {
            if offset < self.uncut.next() {
                continue;
            }
            let read = RowsRecord::read(record);
            if let Err(Unreadable::Version(version)) = read {
                tracing::error!(
                    topic = &*self.id.0,
                    partition = self.id.1,
                    offset,
                    version,
                    "a record of the shared log has the format of another version, and its partition is not delivered: \
                     update the deliveries"
                );
                self.is_held = true;
                break;
            }
            let layout = read
                .as_ref()
                .ok()
                .and_then(|read| self.layouts.get(read.layout(), &self.own));
            match (read, layout) {
                (Ok(read), Some(layout)) => {
                    self.since.get_or_insert_with(Instant::now);
                    self.uncut.push(offset, layout, read);
                }
                _ => {
                    tracing::error!(
                        topic = &*self.id.0,
                        partition = self.id.1,
                        offset,
                        "a record of the shared log is damaged or no row of this table, and is skipped"
                    );
                    self.uncut.skip(offset);
                }
            }
        }
        self.count(before);
        self.update_oldest();
    }

    /// Corrects the memory of all records that wait for a cut.
    fn count(&self, before: usize) {
        let after = self.uncut.bytes();
        let Shared { spool, uncut_bytes, .. } = self.shared;
        if after >= before {
            uncut_bytes.fetch_add(after - before, Ordering::Relaxed);
            spool.book_records(after - before);
        } else {
            uncut_bytes.fetch_sub(before - after, Ordering::Relaxed);
            spool.release_records(before - after);
        }
    }

    fn is_long(&self) -> bool {
        let limits = &self.shared.limits;
        self.uncut.rows() >= limits.rows || self.uncut.bytes() >= limits.bytes || self.shared.is_short_of_memory()
    }

    fn block_age(&self) -> Duration {
        self.shared.spool.block_age_of(self.own.schema_table())
    }

    /// Returns whether the records that were read should become a block.
    fn is_due(&self) -> bool {
        let is_old = self.since.is_some_and(|since| since.elapsed() >= self.block_age());
        is_old || self.is_long()
    }

    /// Proposes to cut the partition after the records that were read. After a failure, the
    /// proposal ends when the next one may begin.
    fn propose(&mut self) -> Proposal {
        let cut = self.uncut.propose();
        self.proposed_end = cut.end;
        let control = Control::Cut {
            topic: (*self.id.0).to_owned(),
            partition: self.id.1,
            cut,
        };
        let (log, connection) = (Arc::clone(&self.shared.log), self.control.take());
        let wait = RETRY.wait(self.failures + 1);
        Box::pin(async move {
            let sent = send(&log, connection, &control).await;
            if sent.is_err() {
                sleep(wait).await;
            }
            sent
        })
    }

    /// Records the answer to a proposal.
    fn proposed(&mut self, answer: Result<(Partition, i64), LogError>) {
        match answer {
            Ok((connection, offset)) => {
                self.failures = 0;
                self.own_cut = Some((offset, self.proposed_end));
                self.control = Some(connection);
            }
            Err(error) => {
                self.failures += 1;
                if self.failure_log.due(Class::Retry).is_some() {
                    tracing::warn!(topic = &*self.id.0, %error, "the control topic of the shared log cannot be written and will be retried");
                }
            }
        }
    }

    /// Makes blocks of the records before an accepted cut, and hands them to the delivery.
    fn take(&mut self, accepted: &AcceptedCut) {
        let before = self.uncut.bytes();
        // Another process may have sent the blocks of its own cut. If it sends those of this cut,
        // it does so later, and finds them in the table.
        let is_own = self
            .own_cut
            .is_some_and(|(offset, _)| offset == accepted.control_offset);
        // Without its position, a partition may have been cut and stored before, too.
        let is_in_doubt = !is_own || self.uncut.position() < self.in_doubt_until;
        let mut blocks = Vec::new();
        let oldest_ms = self.uncut.oldest_ms();
        for block in self.uncut.take(&accepted.cut) {
            let id = block_id(&self.id, &block);
            let sealed = SealedBlock::from_shared_log(block.layout, id, block.rows, is_in_doubt);
            if let Some(progress) = self.shared.spool.deliver(sealed) {
                blocks.push((id, progress));
            }
        }
        self.count(before);
        self.since = (!self.uncut.is_empty()).then(Instant::now);
        self.in_flight.push_back(InFlight {
            oldest_ms: oldest_ms.filter(|_| !blocks.is_empty()),
            blocks,
            position: Position {
                position: accepted.cut.end,
                control_offset: accepted.control_offset,
            },
        });
        self.update_oldest();
    }

    /// Records that the oldest blocks are stored.
    fn settle_oldest(&mut self) {
        if let Some(stored) = self.in_flight.pop_front() {
            self.shared.positions.record(self.id.clone(), stored.position);
            self.lag.set_position(stored.position.position);
            self.update_oldest();
        }
    }

    /// Updates the time of the oldest record that is not stored.
    fn update_oldest(&self) {
        let in_flight = self.in_flight.iter().find_map(|in_flight| in_flight.oldest_ms);
        self.lag.set_oldest(in_flight.or_else(|| self.uncut.oldest_ms()));
    }
}

impl Drop for Follow<'_> {
    fn drop(&mut self) {
        // Another process delivers the partition now, or this one follows it again.
        for (block, _) in self.in_flight.iter().flat_map(|in_flight| &in_flight.blocks) {
            self.shared.spool.doubt(*block);
        }
        let uncut = self.uncut.bytes();
        self.shared.uncut_bytes.fetch_sub(uncut, Ordering::Relaxed);
        self.shared.spool.release_records(uncut);
    }
}

/// Appends a record to the control topic; returns the connection and the record's offset.
async fn send(log: &Log, connection: Option<Partition>, control: &Control) -> Result<(Partition, i64), LogError> {
    let connection = match connection {
        Some(connection) => connection,
        None => log.partition(log.url.control_topic(), 0).await?,
    };
    let offset = connection.append(control.to_record()).await?;
    Ok((connection, offset))
}

/// Waits for the answer to a proposal, if there is one.
async fn answer(proposal: &mut Option<Proposal>) -> Result<(Partition, i64), LogError> {
    match proposal {
        Some(proposal) => proposal.await,
        None => pending().await,
    }
}

/// Waits until all rows of a cut are in their table or in the stored dead letters.
async fn are_stored(spool: &Spool, blocks: Vec<(Uuid, Arc<SharedProgress>)>) {
    for (id, progress) in &blocks {
        wait(progress).await;
        for dead_letter in spool.dead_letters_of(*id) {
            wait(&dead_letter).await;
        }
    }
}

async fn wait(progress: &Arc<SharedProgress>) {
    let condition = WaitCondition {
        rows: 0..u32::MAX,
        ack: Ack::Stored,
        fail_fast: false,
    };
    progress.until(condition).await;
}

/// Returns the id of a block: a name-based UUID (version 5) of its place. The id of its first rows
/// distinguishes a partition from an earlier one of the same name.
fn block_id((topic, partition): &PartitionId, block: &LogBlock) -> Uuid {
    let name = format!(
        "{topic}/{partition}/{}-{}/{}",
        block.first, block.last, block.first_block
    );
    let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}
