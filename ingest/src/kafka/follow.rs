//! Follow: reads the records of one partition, has them cut, and hands their blocks to the spool of
//! a delivery.
//!
//! ```text
//! propose   records that are many, long or old enough get a cut in the control topic
//! take      an accepted cut makes blocks of the records before it
//! settle    blocks that are stored, in order, move the partition's position
//! ```

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
    cuts::{AcceptedCut, Cuts, LogBlock, Sequences, Uncut},
    positions::{PartitionId, Position, Positions},
    read::{read, report_removed},
    record::{Layouts, RowsRecord},
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
    control: Option<Partition>,
    failures: u32,
    failure_log: FailureLog,
}

impl Follower {
    /// Follows the partition until the spool is closed and all blocks that it got are stored.
    pub(super) async fn run(self) {
        let (position, sequences) = self.start().await;
        let mut follow = Follow {
            shared: &self.shared,
            id: self.id.clone(),
            own: self.layout,
            layouts: Layouts::default(),
            uncut: Uncut::new(position, sequences),
            since: None,
            in_flight: VecDeque::new(),
            own_cut: None,
            control: None,
            failures: 0,
            failure_log: FailureLog::default(),
        };
        let (sender, records) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        let (log, spool) = (Arc::clone(&self.shared.log), self.shared.spool.clone());
        readers.spawn(read(log, spool, self.id, position, sender));
        follow.run(records, self.cuts).await;
    }

    /// Returns the offset of the first record that is not stored, and the last records before it.
    async fn start(&self) -> (i64, Sequences) {
        let mut failures = 0;
        let (first, end) = loop {
            let bounds = async {
                let partition = self.shared.log.partition(&self.id.0, self.id.1).await?;
                partition.bounds().await
            };
            match bounds.await {
                Ok(bounds) => break bounds,
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(topic = &*self.id.0, partition = self.id.1, %error, "a partition of the shared log cannot be read and will be retried");
                    }
                    sleep(RETRY.wait(failures)).await;
                }
            }
        };
        let Some(stored) = self.stored else {
            return (first, Sequences::new());
        };
        let (topic, partition) = (&*self.id.0, self.id.1);
        let position = stored.position;
        if position < first {
            report_removed(topic, partition, first - position);
            return (first, Sequences::new());
        }
        if position > end {
            tracing::error!(
                topic,
                partition,
                position,
                end,
                "the partition ends before the position of the rows that are stored: it was created again, or the \
                 brokers have lost records; its records are delivered from the first one"
            );
            return (first, Sequences::new());
        }
        let sequences = self.cuts.borrow().sequences_at(position).cloned();
        (position, sequences.unwrap_or_default())
    }
}

impl Follow<'_> {
    async fn run(&mut self, mut records: mpsc::Receiver<Vec<RecordAndOffset>>, mut cuts: watch::Receiver<Cuts>) {
        let Shared { spool, limits, .. } = self.shared;
        loop {
            let is_closed = spool.is_closed();
            let next = cuts.borrow_and_update().after(self.uncut.position()).cloned();
            if let Some(next) = &next {
                let is_read = self.uncut.next() >= next.cut.end;
                if is_read && self.in_flight.len() < MAX_IN_FLIGHT && !is_closed {
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
            let may_propose = next.is_none() && !has_proposed && has_room && !is_closed && !self.uncut.is_empty();
            if may_propose && self.is_due() {
                self.propose().await;
                continue;
            }
            let due_at = self.since.filter(|_| may_propose).map(|since| since + limits.age);
            // Records up to an accepted cut are read in any case: they are the next blocks.
            let wants_records = match &next {
                Some(next) => self.uncut.next() < next.cut.end,
                None => !self.is_long(),
            };
            let oldest = self.in_flight.front().map(|oldest| oldest.blocks.clone());
            let mut oldest = pin!(are_stored(spool, oldest.unwrap_or_default()));
            tokio::select! {
                Some(read) = records.recv(), if wants_records && !is_closed => self.add(read),
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
            let layout = read
                .as_ref()
                .and_then(|read| self.layouts.get(read.layout(), &self.own));
            match (read, layout) {
                (Some(read), Some(layout)) => {
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
    }

    /// Corrects the memory of all records that wait for a cut.
    fn count(&self, before: usize) {
        let after = self.uncut.bytes();
        let counter = &self.shared.uncut_bytes;
        if after >= before {
            counter.fetch_add(after - before, Ordering::Relaxed);
        } else {
            counter.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    fn is_long(&self) -> bool {
        let limits = &self.shared.limits;
        self.uncut.rows() >= limits.rows || self.uncut.bytes() >= limits.bytes || self.shared.is_short_of_memory()
    }

    /// Returns whether the records that were read should become a block.
    fn is_due(&self) -> bool {
        let is_old = self
            .since
            .is_some_and(|since| since.elapsed() >= self.shared.limits.age);
        is_old || self.is_long()
    }

    /// Proposes to cut the partition after the records that were read.
    async fn propose(&mut self) {
        let cut = self.uncut.propose();
        let end = cut.end;
        let control = Control::Cut {
            topic: (*self.id.0).to_owned(),
            partition: self.id.1,
            cut,
        };
        match self.send(&control).await {
            Ok(offset) => {
                self.failures = 0;
                self.own_cut = Some((offset, end));
            }
            Err(error) => {
                self.failures += 1;
                if self.failure_log.due(Class::Retry).is_some() {
                    tracing::warn!(topic = &*self.id.0, %error, "the control topic of the shared log cannot be written and will be retried");
                }
                sleep(RETRY.wait(self.failures)).await;
            }
        }
    }

    async fn send(&mut self, control: &Control) -> Result<i64, LogError> {
        let log = &self.shared.log;
        let connection = match self.control.take() {
            Some(connection) => connection,
            None => log.partition(log.url.control_topic(), 0).await?,
        };
        let offset = connection.append(control.to_record()).await?;
        self.control = Some(connection);
        Ok(offset)
    }

    /// Makes blocks of the records before an accepted cut, and hands them to the delivery.
    fn take(&mut self, accepted: &AcceptedCut) {
        let before = self.uncut.bytes();
        // Another process may have sent the blocks of its own cut. If it sends those of this cut,
        // it does so later, and finds them in the table.
        let is_in_doubt = self.own_cut.is_none_or(|(offset, _)| offset != accepted.control_offset);
        let mut blocks = Vec::new();
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
            blocks,
            position: Position {
                position: accepted.cut.end,
                control_offset: accepted.control_offset,
            },
        });
    }

    /// Records that the oldest blocks are stored.
    fn settle_oldest(&mut self) {
        if let Some(stored) = self.in_flight.pop_front() {
            self.shared.positions.record(self.id.clone(), stored.position);
        }
    }
}

impl Drop for Follow<'_> {
    fn drop(&mut self) {
        // Another process delivers the partition now, or this one follows it again.
        for (block, _) in self.in_flight.iter().flat_map(|in_flight| &in_flight.blocks) {
            self.shared.spool.doubt(*block);
        }
        self.shared.uncut_bytes.fetch_sub(self.uncut.bytes(), Ordering::Relaxed);
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
