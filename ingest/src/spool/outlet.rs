//! Outlet: what delivery asks of the spool: the oldest block, its rows, and what becomes of them.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::{sync::oneshot, time::timeout_at};

use super::{
    Counters, Outcome, RowRange, Spool,
    lane::{Found, Lane},
    recover::{ReadError, read_rows},
    state::Op,
};
use crate::block::{Content, SealedBlock};

/// Rows that will be next.
#[derive(Debug)]
pub(crate) struct Upcoming {
    pub(crate) block: Arc<SealedBlock>,
    pub(crate) part: RowRange,
    pub(crate) rows: Content,
}

impl Upcoming {
    /// Returns the oldest rows of a block; none where they are on disk alone.
    fn of(block: Arc<SealedBlock>) -> Option<Self> {
        let part = block.next_part()?;
        let rows = block.state().content.as_ref()?.slice(&part);
        Some(Self { block, part, rows })
    }
}

impl Spool {
    /// Returns the lane's oldest block, and waits for one; none once the spool is closed and the lane empty.
    ///
    /// The block stays first until all of it is [settled](Self::settle). An open block is sealed here when its age is reached:
    /// while its lane is busy with an older one it goes on growing up to its limits, so that a slow ClickHouse gets fewer, larger
    /// blocks. With a log, a block is given once all of it is on disk. One task at a time may wait for a lane.
    /// With `is_last`, it is not the end before all other lanes have [ended](Self::ends).
    pub(crate) async fn next(&self, lane: usize, is_last: bool) -> Option<Arc<SealedBlock>> {
        let lane = &self.lanes[lane];
        loop {
            match self.look(lane) {
                Found::Block(block) => return Some(block),
                Found::End if is_last && self.givers.load(Ordering::Acquire) > 1 => lane.changed.notified().await,
                // Either way there is something new to look at.
                Found::Young(until) => _ = timeout_at(until, lane.changed.notified()).await,
                Found::Nothing => lane.changed.notified().await,
                Found::End => return None,
            }
        }
    }

    /// Returns what comes behind the lane's oldest block, once it is sealed, and as long as it is in memory.
    ///
    /// It is no promise that this is what [`next`](Self::next) gives: a block is not on disk yet, perhaps.
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

    pub(super) fn look(&self, lane: &Lane) -> Found {
        let mut queue = lane.lock();
        if queue.sealed.is_empty() {
            let Some(opened) = queue.open.opened() else {
                return if self.is_closed() { Found::End } else { Found::Nothing };
            };
            let until = opened.at + self.limits.age;
            // It may have become long while others waited before it.
            let is_long = self.limits.are_reached_by(&queue.open);
            if !self.is_closed() && !is_long && tokio::time::Instant::now() < until {
                return Found::Young(until);
            }
            lane.seal(&mut queue, self.log.as_ref());
        }
        let Some(block) = queue.sealed.front() else {
            return Found::Nothing;
        };
        // A disk that fails must not keep rows from ClickHouse.
        let is_fixed = !self.has_disk() || self.is_failing() || block.state().logged.is_sealed;
        if is_fixed {
            Found::Block(Arc::clone(block))
        } else {
            Found::Nothing
        }
    }

    /// Returns rows of a block, from memory or from disk. What damage has hit is missing, and told.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn rows(self: &Arc<Self>, block: &Arc<SealedBlock>, part: &RowRange) -> io::Result<Content> {
        if let Some(content) = &block.state().content {
            return Ok(content.slice(part));
        }
        let (spool, block, part) = (Arc::clone(self), Arc::clone(block), part.clone());
        match tokio::task::spawn_blocking(move || spool.read(&block, &part)).await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn read(&self, block: &SealedBlock, part: &RowRange) -> io::Result<Content> {
        let Some(log) = &self.log else {
            return Err(io::ErrorKind::NotFound.into());
        };
        loop {
            let logged = block.state().logged.clone();
            match read_rows(&*log.disk, block.id, &logged, part) {
                Ok(rows) => return Ok(rows),
                Err(ReadError::Damaged(frame)) => {
                    tracing::error!(
                        table = %block.layout.table, block = %block.id, segment = logged.segment, rows = ?frame.rows,
                        "rows were damaged on disk and are lost; the segment is set aside"
                    );
                    if let Some(segment) = logged.segment {
                        log.disk.set_aside(segment)?;
                    }
                    block.state().logged.frames.retain(|candidate| *candidate != frame);
                }
                // It may have been moved to another segment just now.
                Err(ReadError::Io(error)) if block.state().logged.segment == logged.segment => return Err(error),
                Err(ReadError::Io(_)) => {}
            }
        }
    }

    /// Lets a block that has to wait be on disk alone.
    pub(crate) fn evict(&self, lane: usize, block: &SealedBlock) {
        if self.has_disk() {
            self.lanes[lane].lock().evict(block, &self.memory);
        }
    }

    /// Notes what has become of rows of the lane's oldest block, and forgets the block when nothing is left of it.
    pub(crate) fn settle(&self, lane: usize, block: &Arc<SealedBlock>, part: &RowRange, outcome: Outcome) {
        let lane = &self.lanes[lane];
        let mut queue = lane.lock();
        let is_all = {
            let mut state = block.state();
            state.parts.settle(part);
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
            Outcome::Lost => {}
        }
        if is_all || outcome != Outcome::Stored {
            block.progress.change(|progress| {
                if outcome != Outcome::Stored {
                    progress.refused.extend(part.clone());
                }
                progress.is_done = is_all;
            });
        }
        if let Some(log) = &self.log {
            log.push(Op::Done {
                block: block.id,
                rows: part.clone(),
                is_all,
                // Its letter has no token that would tell ClickHouse that the row was refused.
                for_good: outcome == Outcome::Refused,
            });
        }
    }

    /// Puts the halves of a part that ClickHouse refuses in its place, for good.
    ///
    /// # Errors
    /// It could not be written down, and nothing is changed.
    pub(crate) async fn split(&self, block: &Arc<SealedBlock>, part: &RowRange) -> io::Result<()> {
        if let Some(log) = &self.log {
            let (reply, answer) = oneshot::channel();
            log.push(Op::Split {
                block: Arc::clone(block),
                rows: part.clone(),
                reply,
            });
            answer.await.map_err(io::Error::other)?
        } else {
            block.state().parts.split(part);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        ack::Ack,
        block::{BlockLimits, Layout},
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
        let layout = Layout {
            table: "t".into(),
            statement: "INSERT INTO t FORMAT RowBinary".into(),
            columnar: None,
        };
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

    /// Settles the block that would be sent next, and returns its length.
    fn settle_next(spool: &Arc<Spool>) -> Option<usize> {
        let Found::Block(block) = spool.look(&spool.lanes[0]) else {
            return None;
        };
        spool.settle(0, &block, &(0..block.rows), Outcome::Stored);
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
        // Nobody but ClickHouse and what is made ready is before it any more.
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
