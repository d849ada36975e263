//! Reader: returns the oldest block of a table and its rows to delivery, and records their outcome.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    block::{content::BlockRows, layout::InsertTarget, parts::Part, sealed::SealedBlock},
    idempotency::now_s,
    spool::{
        counters::Counters,
        queue::{Blocks, TableQueue},
        read::read_block,
        shared::Shared,
        state::Op,
        table_id::TableId,
    },
};

/// The outcome of a row's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// ClickHouse has stored the rows.
    Stored,
    /// The shared log has the rows.
    Logged,
    /// ClickHouse has refused the rows, and they are dead letters.
    Refused,
    /// The disk has lost the rows, and the reader has logged the loss.
    Lost,
}

/// The rows after those that are being delivered.
#[derive(Debug)]
pub(crate) struct NextBlock {
    pub(crate) block: Arc<SealedBlock>,
    pub(crate) part: Part,
    pub(crate) rows: BlockRows,
}

impl NextBlock {
    /// Returns the oldest rows of a block, or `None` if they are only on disk.
    fn of(block: Arc<SealedBlock>) -> Option<Self> {
        let part = block.next_part()?;
        let rows = block.state().content.as_ref()?.select(&part);
        Some(Self { block, part, rows })
    }
}

/// Rows that delivery does not send for now.
pub(crate) struct Parked<'a> {
    pub(crate) is_parked: &'a (dyn Fn(&SealedBlock, &Part) -> bool + Sync),
    /// Whether rows that arrive now would be parked as well.
    pub(crate) is_all: bool,
    /// The time of the next retry of parked rows.
    pub(crate) retry_at: Option<Instant>,
}

impl Parked<'static> {
    /// No rows: delivery sends all.
    pub(crate) const NONE: Self = Self {
        is_parked: &|_, _| false,
        is_all: false,
        retry_at: None,
    };
}

/// The interval between retries of parked rows while the spool is closing.
const CLOSING_RETRY: Duration = Duration::from_millis(200);

/// The next step of a table's delivery.
#[derive(Debug)]
pub(crate) enum Next {
    /// Rows to send.
    Rows(Arc<SealedBlock>, Part),
    /// The retry of parked rows is due.
    Retry,
    /// The spool is closed, and nothing is left.
    End,
}

/// The state of a queue for its delivery at one moment.
#[derive(Debug)]
pub(super) enum Found {
    Rows(Arc<SealedBlock>, Part),
    /// An open block, to be sealed at this time.
    Young(Instant),
    Nothing,
    End,
}

/// The handle through which a table's delivery reads rows from the spool.
#[derive(Debug, Clone)]
pub(crate) struct TableReader {
    pub(super) shared: Arc<Shared>,
    table: TableId,
}

impl TableReader {
    pub(super) fn new(shared: Arc<Shared>, table: TableId) -> Self {
        Self { shared, table }
    }

    pub(super) fn queue(&self) -> &TableQueue {
        self.shared.queue(self.table)
    }

    /// Returns the table's id.
    pub(crate) fn id(&self) -> TableId {
        self.table
    }

    /// Returns the id of the schema's table whose rows the queue has: for the rows of a shard, that of
    /// the Distributed table, unless the schema no longer has it.
    pub(crate) fn schema_queue(&self) -> Option<TableId> {
        self.shared.schema_queue(self.table)
    }

    /// Returns whether the table is that of the dead letters.
    pub(crate) fn is_of_dead_letters(&self) -> bool {
        self.table == self.shared.dead_letters()
    }

    /// Returns the insert target of the queue's own rows.
    pub(crate) fn layout(&self) -> &Arc<InsertTarget> {
        &self.queue().layout
    }

    /// Returns the table's counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.queue().counters
    }

    /// Returns the oldest rows of the queue that are not parked. Waits for such rows, or until
    /// parked rows are due.
    ///
    /// A block stays until all of it is [settled](Self::settle). This function seals an open block
    /// that has reached its age. While its queue is busy with an older block, the open block keeps
    /// growing up to its limits, so that a slow ClickHouse gets fewer, larger blocks. With a log,
    /// this function returns a block once all of it is on disk, or if the disk fails. Only one task
    /// at a time may wait for a queue. For the dead letters, the end comes only after all other
    /// deliveries have [finished](Self::finish).
    pub(crate) async fn next_block(&self, parked: Parked<'_>) -> Next {
        let queue = self.queue();
        let mut retry_at = parked.retry_at;
        loop {
            if self.shared.is_closed() {
                retry_at = retry_at.map(|at| at.min(Instant::now() + CLOSING_RETRY));
            }
            let until = match self.check_unparked(&parked) {
                Found::Rows(block, part) => return Next::Rows(block, part),
                Found::End if self.is_of_dead_letters() && !self.shared.is_last_active() => retry_at,
                // Parked rows are retried until the time for draining is over.
                Found::End if retry_at.is_some() => retry_at,
                Found::End => return Next::End,
                Found::Young(until) => Some(retry_at.map_or(until, |at| at.min(until))),
                Found::Nothing => retry_at,
            };
            match until {
                // Check again in either case.
                Some(until) => _ = timeout_at(until, queue.changed()).await,
                None => queue.changed().await,
            }
            if retry_at.is_some_and(|at| at <= Instant::now()) {
                return Next::Retry;
            }
        }
    }

    /// Waits until the block after the queue's oldest one is sealed and in memory, and returns its
    /// oldest rows.
    ///
    /// [`next_block`](Self::next_block) need not return the same rows: the block may not be on disk
    /// yet.
    pub(crate) async fn prefetch(&self) -> NextBlock {
        let queue = self.queue();
        loop {
            let second = queue.lock().sealed.get(1).cloned();
            if let Some(next) = second.and_then(NextBlock::of) {
                return next;
            }
            queue.changed().await;
        }
    }

    /// Returns the age at which the queue's open block is sealed.
    pub(crate) fn block_age(&self) -> Duration {
        self.queue().block_age()
    }

    /// Returns how many blocks were sealed because of their age, and how many because they were full,
    /// since the last call.
    pub(crate) fn take_sealed(&self) -> (u64, u64) {
        self.queue().sealed.take()
    }

    /// Sets the age at which the queue's open block is sealed.
    pub(crate) fn set_block_age(&self, age: Duration) {
        self.queue().set_block_age(age);
    }

    /// Like [`check_unparked`](Self::check_unparked), with nothing parked.
    #[cfg(test)]
    pub(super) fn check(&self) -> Found {
        self.check_unparked(&Parked::NONE)
    }

    fn check_unparked(&self, parked: &Parked<'_>) -> Found {
        let shared = &self.shared;
        let mut blocks = self.queue().lock();
        let unparked = |block: &Arc<SealedBlock>| Some((Arc::clone(block), unparked_part(block, parked.is_parked)?));
        let mut found = blocks.sealed.iter().find_map(unparked);
        if found.is_none() && parked.is_all && !blocks.sealed.is_empty() {
            // The open block keeps growing.
            return if shared.is_closed() { Found::End } else { Found::Nothing };
        }
        if found.is_none() {
            let Some(opened) = blocks.open.opened() else {
                return if shared.is_closed() { Found::End } else { Found::Nothing };
            };
            let until = opened.at + self.age_of_open(&blocks);
            // The block may have become long while older ones waited.
            let is_long = shared.limits.exceeded_by(&blocks.open);
            if !shared.is_closed() && !is_long && Instant::now() < until {
                return Found::Young(until);
            }
            let sealed = &self.queue().sealed;
            Counters::add(if is_long { &sealed.full } else { &sealed.old }, 1);
            blocks.seal();
            found = blocks.sealed.back().and_then(unparked);
        }
        let Some((block, part)) = found else {
            return Found::Nothing;
        };
        // A failing disk must not keep rows from ClickHouse.
        let is_ready = shared.log.is_none() || shared.is_failing() || block.state().logged.is_sealed;
        if is_ready {
            Found::Rows(block, part)
        } else {
            Found::Nothing
        }
    }

    /// Returns the age at which the open block is sealed. Rows that a sender waits for, or that are only
    /// in memory, do not wait longer than the options say.
    fn age_of_open(&self, blocks: &Blocks) -> Duration {
        let (age, least) = (self.queue().block_age(), self.shared.limits.age);
        match blocks.is_awaited || self.shared.log.is_none() || self.shared.is_failing() {
            true => age.min(least),
            false => age,
        }
    }

    /// Returns whether the queue has rows that are not parked, including those of the open block.
    pub(crate) fn has_rows(&self, is_parked: &(dyn Fn(&SealedBlock, &Part) -> bool + Sync)) -> bool {
        let blocks = self.queue().lock();
        let is_any = |block: &Arc<SealedBlock>| unparked_part(block, is_parked).is_some();
        blocks.open.rows() > 0 || blocks.sealed.iter().any(is_any)
    }

    /// Returns whether the queue has blocks that wait after its oldest one.
    pub(crate) fn has_backlog(&self) -> bool {
        self.queue().lock().sealed.len() > 1
    }

    /// Returns whether a block of the queue was divided because ClickHouse refused some of it.
    pub(crate) fn has_divided(&self) -> bool {
        let blocks = self.queue().lock();
        blocks.sealed.iter().any(|block| block.state().parts.is_divided())
    }

    /// Returns a block of the queue that waits to be delivered.
    pub(crate) fn block(&self, id: Uuid) -> Option<Arc<SealedBlock>> {
        let blocks = self.queue().lock();
        blocks.sealed.iter().find(|block| block.id == id).cloned()
    }

    /// Returns rows of a block, from memory or from disk. Damaged rows are missing; the log
    /// contains the damage.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn rows(&self, block: &Arc<SealedBlock>, part: &Part) -> io::Result<BlockRows> {
        if let Some(content) = &block.state().content {
            return Ok(content.select(part));
        }
        let log = self.shared.log.clone().ok_or(io::ErrorKind::NotFound)?;
        let (block, part) = (Arc::clone(block), part.clone());
        match tokio::task::spawn_blocking(move || read_block(&log, &block, &part)).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Drops the in-memory copy of a block that has to wait, if it is on disk.
    pub(crate) fn evict(&self, block: &SealedBlock) {
        if self.shared.log.is_some() {
            self.queue().lock().evict(block);
        }
    }

    /// Returns whether some rows of a part may be stored although ClickHouse has not confirmed
    /// them.
    pub(crate) fn is_in_doubt(&self, block: &SealedBlock, part: &Part) -> bool {
        block.state().parts.is_in_doubt(part)
    }

    /// Records that rows may be stored although ClickHouse has not confirmed them.
    pub(crate) fn doubt(&self, block: &SealedBlock, part: &Part) {
        block.state().parts.doubt(part);
    }

    /// Records that rows are not stored.
    pub(crate) fn trust(&self, block: &SealedBlock, part: &Part) {
        block.state().parts.trust(part);
    }

    /// Divides a block at `row`, durably: the rows on either side are inserted separately.
    ///
    /// # Errors
    /// The disk's. The block is then not divided.
    pub(crate) async fn cut(&self, block: &Arc<SealedBlock>, row: u32) -> io::Result<()> {
        if let Some(log) = &self.shared.log {
            let (reply, receiver) = oneshot::channel();
            log.push(Op::Cut {
                block: Arc::clone(block),
                row,
                reply,
            });
            receiver.await.map_err(io::Error::other)?
        } else {
            block.state().parts.cut(row);
            Ok(())
        }
    }

    /// Records the server that a block goes to next, durably unless the disk fails: after a restart, rows
    /// that may be stored are looked for there.
    pub(crate) async fn send_to(&self, block: &Arc<SealedBlock>, server: Arc<str>) {
        if let Some(log) = &self.shared.log
            && !self.shared.is_failing()
        {
            let (reply, receiver) = oneshot::channel();
            log.push(Op::SendTo {
                block: Arc::clone(block),
                server: Arc::clone(&server),
                reply,
            });
            match receiver.await {
                Ok(Ok(())) => return,
                // The disk must not keep rows from ClickHouse.
                Ok(Err(error)) => tracing::debug!(block = %block.id, %error, "the server of a block is not on disk"),
                Err(_) => {}
            }
        }
        block.state().sent_to = Some(server);
    }

    /// Records the outcome of rows of a block, and forgets the block when nothing is left of it.
    pub(crate) fn settle(&self, block: &Arc<SealedBlock>, part: &Part, outcome: Outcome) {
        let queue = self.queue();
        let mut blocks = queue.lock();
        let is_all = {
            let mut state = block.state();
            part.ranges().iter().for_each(|rows| state.parts.remove(rows));
            state.parts.is_empty()
        };
        // The log has the keys of a block that is complete on disk. Delivery does not wait for a
        // disk that fails.
        let keys: Vec<_> = match is_all {
            true => block.state().keys.iter().map(|key| key.record).collect(),
            false => Vec::new(),
        };
        if is_all {
            blocks.forget(block);
        }
        drop(blocks);
        if !keys.is_empty() {
            self.shared.keys.logged(&keys, now_s());
        }
        let rows = part.len() as u64;
        match outcome {
            Outcome::Stored | Outcome::Logged => {
                Counters::add(&queue.counters.rows_inserted, rows);
                Counters::add(&queue.counters.inserts, 1);
            }
            Outcome::Refused => Counters::add(&queue.counters.rows_refused, rows),
            Outcome::Lost => Counters::add(&queue.counters.rows_lost, rows),
        }
        let is_refused = matches!(outcome, Outcome::Refused | Outcome::Lost);
        if is_all || outcome != Outcome::Stored {
            block.progress.update(|progress| {
                if is_refused {
                    progress.refused.extend(part.rows());
                }
                progress.is_in_shared_log |= outcome == Outcome::Logged;
                progress.is_done = is_all;
            });
        }
        let Some(log) = &self.shared.log else { return };
        let last = part.ranges().len() - 1;
        for (at, rows) in part.ranges().iter().enumerate() {
            log.push(Op::Done {
                block: block.id,
                rows: rows.clone(),
                is_all: is_all && at == last,
                // ClickHouse remembers no token of a refused row, so it would not recognize the row
                // if delivery sent it again.
                durable: outcome == Outcome::Refused,
            });
        }
    }

    /// Records whether the shared log accepts the table's rows. While it does not, the appender
    /// rejects rows that wait for it, and waiting responses are sent.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        let queue = self.queue();
        queue.is_failing.store(is_failing, Ordering::Relaxed);
        let blocks = queue.lock();
        let sealed = blocks.sealed.iter().map(|block| &block.progress);
        let open = blocks.open.opened().map(|opened| &opened.progress);
        let waiting: Vec<_> = sealed.chain(open).map(Arc::clone).collect();
        drop(blocks);
        for progress in waiting {
            progress.update(|progress| progress.is_failing = is_failing);
        }
    }

    /// Records that the table's delivery has ended and moves no more rows to the dead letters. The
    /// delivery of the dead letters calls this function as well.
    pub(crate) fn finish(&self) {
        self.shared.table_finished();
    }
}

/// Returns the first part of a block that is not parked.
fn unparked_part(block: &SealedBlock, is_parked: &(dyn Fn(&SealedBlock, &Part) -> bool + Sync)) -> Option<Part> {
    // The lock is not held during the callback.
    let parts: Vec<_> = block.state().parts.iter().collect();
    parts.into_iter().find(|part| !is_parked(block, part))
}
