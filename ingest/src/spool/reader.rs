//! Reader: gives delivery the oldest block and its rows, and records their outcome.

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
    block::{content::BlockRows, layout::InsertTarget, logged::Logged, parts::Part, sealed::SealedBlock},
    spool::{
        Counters, Outcome, Spool,
        queue::{Found, TableQueue},
        recover::{ReadError, read_rows},
        state::{LogState, Op},
    },
};

/// The rows that come next.
#[derive(Debug)]
pub(crate) struct Upcoming {
    pub(crate) block: Arc<SealedBlock>,
    pub(crate) part: Part,
    pub(crate) rows: BlockRows,
}

impl Upcoming {
    /// Returns the oldest rows of a block, or `None` if they are only on disk.
    fn of(block: Arc<SealedBlock>) -> Option<Self> {
        let part = block.next_part()?;
        let rows = block.state().content.as_ref()?.select(&part);
        Some(Self { block, part, rows })
    }
}

/// Rows that are not to be sent for now.
pub(crate) struct Parked<'a> {
    pub(crate) is_parked: &'a (dyn Fn(&SealedBlock, &Part) -> bool + Sync),
    /// Whether rows that arrive now would be parked as well.
    pub(crate) is_all: bool,
    /// When parked rows are to be retried.
    pub(crate) retry_at: Option<Instant>,
}

impl Parked<'static> {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        is_parked: &|_, _| false,
        is_all: false,
        retry_at: None,
    };
}

/// How often parked rows are retried while the spool is closing.
const CLOSING_RETRY: Duration = Duration::from_millis(200);

/// The next thing for a table's delivery to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// Rows to be sent.
    Rows(Arc<SealedBlock>, Part),
    /// Parked rows are to be retried.
    Retry,
    /// The spool is closed, and nothing is left.
    End,
}

impl Spool {
    /// Returns the oldest rows of the queue that are not parked. Waits for such rows, or until
    /// parked rows are due.
    ///
    /// A block stays until all of it is [settled](Self::settle). This function seals an open block
    /// that has reached its age. While its queue is busy with an older block, the open block keeps
    /// growing up to its limits, so that a slow ClickHouse gets fewer, larger blocks. With a log, a
    /// block is returned once all of it is on disk, or if the disk fails. Only one task at a time
    /// may wait for a queue. With `is_last`, the end comes only after all other queues have
    /// [ended](Self::ends).
    pub(crate) async fn next(&self, lane: usize, is_last: bool, parked: Parked<'_>) -> Next {
        let lane = &self.lanes[lane];
        let mut retry_at = parked.retry_at;
        loop {
            if self.is_closed() {
                retry_at = retry_at.map(|at| at.min(Instant::now() + CLOSING_RETRY));
            }
            let until = match self.look_beyond(lane, &parked) {
                Found::Rows(block, part) => return Next::Rows(block, part),
                Found::End if is_last && self.active_tables.load(Ordering::Acquire) > 1 => retry_at,
                // Parked rows are retried until the time for draining is over.
                Found::End if retry_at.is_some() => retry_at,
                Found::End => return Next::End,
                Found::Young(until) => Some(retry_at.map_or(until, |at| at.min(until))),
                Found::Nothing => retry_at,
            };
            match until {
                // Look again either way.
                Some(until) => _ = timeout_at(until, lane.changed.notified()).await,
                None => lane.changed.notified().await,
            }
            if retry_at.is_some_and(|at| at <= Instant::now()) {
                return Next::Retry;
            }
        }
    }

    /// Returns whether a queue has rows that are not parked, including those of the open block.
    pub(crate) fn has_rows(&self, lane: usize, is_parked: &(dyn Fn(&SealedBlock, &Part) -> bool + Sync)) -> bool {
        let queue = self.lanes[lane].lock();
        let is_any = |block: &Arc<SealedBlock>| unparked_part(block, is_parked).is_some();
        queue.open.rows() > 0 || queue.sealed.iter().any(is_any)
    }

    /// Returns the insert target of the queue's own rows.
    pub(crate) fn layout(&self, lane: usize) -> &Arc<InsertTarget> {
        &self.lanes[lane].layout
    }

    /// Returns whether some rows of a part may be stored although ClickHouse has not confirmed
    /// them.
    pub(crate) fn is_in_doubt(&self, block: &SealedBlock, part: &Part) -> bool {
        block.state().parts.is_in_doubt(part)
    }

    /// Notes that rows are not stored.
    pub(crate) fn trust(&self, block: &SealedBlock, part: &Part) {
        block.state().parts.trust(part);
    }

    /// Returns a block of a queue that waits to be delivered.
    pub(crate) fn block(&self, lane: usize, id: Uuid) -> Option<Arc<SealedBlock>> {
        let queue = self.lanes[lane].lock();
        queue.sealed.iter().find(|block| block.id == id).cloned()
    }

    /// Returns whether a block of the queue was divided because ClickHouse refused some of it.
    pub(crate) fn has_divided(&self, lane: usize) -> bool {
        let queue = self.lanes[lane].lock();
        queue.sealed.iter().any(|block| block.state().parts.is_divided())
    }

    /// Waits until the block after the queue's oldest one is sealed and in memory, and returns its
    /// oldest rows.
    ///
    /// [`next`](Self::next) need not return the same rows: the block may not be on disk yet.
    pub(crate) async fn upcoming(&self, lane: usize) -> Upcoming {
        let lane = &self.lanes[lane];
        loop {
            let second = lane.lock().sealed.get(1).cloned();
            if let Some(upcoming) = second.and_then(Upcoming::of) {
                return upcoming;
            }
            lane.changed.notified().await;
        }
    }

    /// Like [`look_beyond`](Self::look_beyond), with nothing parked.
    #[cfg(test)]
    pub(super) fn look(&self, lane: &TableQueue) -> Found {
        self.look_beyond(lane, &Parked::NONE)
    }

    fn look_beyond(&self, lane: &TableQueue, parked: &Parked<'_>) -> Found {
        let mut queue = lane.lock();
        let unparked = |block: &Arc<SealedBlock>| Some((Arc::clone(block), unparked_part(block, parked.is_parked)?));
        let mut found = queue.sealed.iter().find_map(unparked);
        if found.is_none() && parked.is_all && !queue.sealed.is_empty() {
            // The open block grows meanwhile.
            return if self.is_closed() { Found::End } else { Found::Nothing };
        }
        if found.is_none() {
            let Some(opened) = queue.open.opened() else {
                return if self.is_closed() { Found::End } else { Found::Nothing };
            };
            let until = opened.at + self.limits.age;
            // The block may have become long while older ones waited.
            let is_long = self.limits.exceeded_by(&queue.open);
            if !self.is_closed() && !is_long && Instant::now() < until {
                return Found::Young(until);
            }
            lane.seal(&mut queue, self.log.as_ref());
            found = queue.sealed.back().and_then(unparked);
        }
        let Some((block, part)) = found else {
            return Found::Nothing;
        };
        // A failing disk must not keep rows from ClickHouse.
        let is_fixed = !self.has_disk() || self.is_failing() || block.state().logged.is_sealed;
        if is_fixed {
            Found::Rows(block, part)
        } else {
            Found::Nothing
        }
    }

    /// Returns rows of a block, from memory or from disk. Damaged rows are missing, and the damage
    /// is logged.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn rows(self: &Arc<Self>, block: &Arc<SealedBlock>, part: &Part) -> io::Result<BlockRows> {
        if let Some(content) = &block.state().content {
            return Ok(content.select(part));
        }
        let (spool, block, part) = (Arc::clone(self), Arc::clone(block), part.clone());
        match tokio::task::spawn_blocking(move || spool.read(&block, &part)).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn read(&self, block: &SealedBlock, part: &Part) -> io::Result<BlockRows> {
        let Some(log) = &self.log else {
            return Err(io::ErrorKind::NotFound.into());
        };
        loop {
            let logged = {
                let state = block.state();
                // A block that is about to move is in memory again.
                if let Some(content) = &state.content {
                    return Ok(content.select(part));
                }
                state.logged.clone()
            };
            match read_rows(&*log.disk, block.id, &logged, part) {
                Ok(rows) => return Ok(rows),
                Err(ReadError::Damaged(frame)) => {
                    tracing::error!(
                        table = %block.layout.table, block = %block.id, segment = logged.segment, rows = ?frame.rows,
                        "rows were damaged on disk and are lost; the segment is kept as a `.damaged` file"
                    );
                    log.damaged.fetch_add(1, Ordering::Relaxed);
                    if let Some(segment) = logged.segment {
                        log.disk.set_aside(segment)?;
                    }
                    block.state().logged.frames.retain(|candidate| *candidate != frame);
                }
                Err(ReadError::Io(error))
                    if error.kind() == io::ErrorKind::NotFound && Self::forget_deleted(log, block, &logged)? =>
                {
                    tracing::error!(
                        table = %block.layout.table, block = %block.id, segment = logged.segment, rows = part.len(),
                        "a segment was deleted, and rows that were only in it are lost"
                    );
                }
                // The block may just have been moved to another segment.
                Err(ReadError::Io(error)) if block.state().logged.segment == logged.segment => return Err(error),
                Err(ReadError::Io(_)) => {}
            }
        }
    }

    /// Forgets the frames of a block whose only segment has been deleted; returns whether it did.
    /// While the folder is missing as well, it may come back, and the block is kept.
    fn forget_deleted(log: &LogState, block: &SealedBlock, logged: &Logged) -> io::Result<bool> {
        let segments = log.disk.segments()?;
        let is_there = logged.segment.is_none_or(|segment| segments.contains(&segment));
        let mut state = block.state();
        let is_gone = !is_there && state.content.is_none() && state.logged.segment == logged.segment;
        if is_gone {
            state.logged.frames.clear();
        }
        Ok(is_gone)
    }

    /// Drops the in-memory copy of a block that has to wait, if it is on disk.
    pub(crate) fn evict(&self, lane: usize, block: &SealedBlock) {
        if self.has_disk() {
            self.lanes[lane].lock().evict(block, &self.memory);
        }
    }

    /// Records the outcome of rows of a block, and forgets the block when nothing is left of it.
    pub(crate) fn settle(&self, lane: usize, block: &Arc<SealedBlock>, part: &Part, outcome: Outcome) {
        let lane = &self.lanes[lane];
        let mut queue = lane.lock();
        let is_all = {
            let mut state = block.state();
            part.ranges().iter().for_each(|rows| state.parts.remove(rows));
            state.parts.is_empty()
        };
        if is_all {
            queue.forget(block, &self.memory, self.log.as_ref());
        }
        drop(queue);
        let rows = part.len() as u64;
        match outcome {
            Outcome::Stored => {
                Counters::add(&lane.counters.rows_inserted, rows);
                Counters::add(&lane.counters.inserts, 1);
            }
            Outcome::Refused => Counters::add(&lane.counters.rows_refused, rows),
            Outcome::Lost => Counters::add(&lane.counters.rows_lost, rows),
        }
        if is_all || outcome != Outcome::Stored {
            block.progress.change(|progress| {
                if outcome != Outcome::Stored {
                    progress.refused.extend(part.rows());
                }
                progress.is_done = is_all;
            });
        }
        let Some(log) = &self.log else { return };
        let last = part.ranges().len() - 1;
        for (at, rows) in part.ranges().iter().enumerate() {
            log.push(Op::Done {
                block: block.id,
                rows: rows.clone(),
                is_all: is_all && at == last,
                // ClickHouse remembers no token of a refused row, by which it would recognize the
                // row if it were sent again.
                durable: outcome == Outcome::Refused,
            });
        }
    }

    /// Notes that rows may be stored although ClickHouse has not confirmed them.
    pub(crate) fn doubt(&self, block: &SealedBlock, part: &Part) {
        block.state().parts.doubt(part);
    }

    /// Divides a block at `row`, durably: the rows on either side are inserted separately.
    ///
    /// # Errors
    /// The disk's. The block is then not divided.
    pub(crate) async fn cut(&self, block: &Arc<SealedBlock>, row: u32) -> io::Result<()> {
        if let Some(log) = &self.log {
            let (reply, answer) = oneshot::channel();
            log.push(Op::Cut {
                block: Arc::clone(block),
                row,
                reply,
            });
            answer.await.map_err(io::Error::other)?
        } else {
            block.state().parts.cut(row);
            Ok(())
        }
    }
}

/// Returns the first part of a block that is not parked.
fn unparked_part(block: &SealedBlock, is_parked: &(dyn Fn(&SealedBlock, &Part) -> bool + Sync)) -> Option<Part> {
    // The lock is not held during the callback.
    let parts: Vec<_> = block.state().parts.iter().collect();
    parts.into_iter().find(|part| !is_parked(block, part))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        ack::Ack,
        block::BlockLimits,
        spool::{LogLimits, SpoolLimits},
    };

    const LIMITS: SpoolLimits = SpoolLimits {
        blocks: BlockLimits {
            rows: 1_000,
            bytes: 10,
            age: Duration::from_secs(3600),
        },
        memory_bytes: 1 << 20,
        log: LogLimits {
            segment_bytes: 0,
            max_bytes: 0,
        },
    };

    fn spool() -> Arc<Spool> {
        let layout = InsertTarget::new("t".into(), "INSERT INTO t FORMAT RowBinary".into(), [].into(), None);
        Spool::in_memory(vec![Arc::new(layout)], LIMITS)
    }

    fn append(spool: &Spool, bytes: usize) {
        for _ in 0..bytes {
            assert!(spool.append(0, Ack::Accepted, |out| out.push(7)).is_ok());
        }
    }

    fn sealed(spool: &Spool) -> Vec<usize> {
        spool.lanes[0].lock().sealed.iter().map(|block| block.bytes).collect()
    }

    /// Settles the block that would be sent next and returns its length.
    fn settle_next(spool: &Arc<Spool>) -> Option<usize> {
        let Found::Rows(block, _) = spool.look(&spool.lanes[0]) else {
            return None;
        };
        spool.settle(0, &block, &Part::from(0..block.rows), Outcome::Stored);
        Some(block.bytes)
    }

    #[test]
    fn a_block_that_others_wait_before_becomes_longer() {
        let spool = spool();
        append(&spool, 30 + 30 + 30 + 25);
        assert_eq!(sealed(&spool), [10, 10, 10, 30, 30]);
        for left in [&[10, 10, 30, 30][..], &[10, 30, 30], &[30, 30]] {
            assert_eq!(settle_next(&spool), Some(10));
            assert_eq!(sealed(&spool), left);
        }
        // Fewer blocks than `WAITING_BLOCKS` wait now, so the usual limits apply.
        append(&spool, 1);
        assert_eq!(sealed(&spool), [30, 30, 26]);
    }

    #[test]
    fn a_long_block_does_not_wait_for_its_age_when_it_is_the_oldest() {
        let spool = spool();
        append(&spool, 30 + 25);
        assert_eq!(sealed(&spool), [10, 10, 10]);
        for bytes in [10, 10, 10, 25] {
            assert_eq!(settle_next(&spool), Some(bytes));
        }
        append(&spool, 9);
        assert_eq!(settle_next(&spool), None);
    }
}
