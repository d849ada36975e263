//! Shared log: the blocks that a delivery reads from a shared log, and what the log's reader asks
//! about them.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    block::{
        parts::Part,
        progress::{SharedProgress, TooLong},
        sealed::{SealedBlock, is_of_row},
    },
    spool::{Spool, TableReader},
};

impl Spool {
    /// Adds a block from a shared log to the queue of its table, unless it is there already, and
    /// returns its progress; `None` if the spool has no queue for the table. The block's memory is
    /// booked whatever the budget: the reader of the log checks it first.
    pub(crate) fn deliver(&self, block: SealedBlock) -> Option<Arc<SharedProgress>> {
        let queue = self.shared.queue(self.shared.find(&block.layout.table)?);
        let progress = Arc::clone(&block.progress);
        let mut blocks = queue.lock();
        if let Some(same) = blocks.sealed.iter().find(|same| same.id == block.id) {
            return Some(Arc::clone(&same.progress));
        }
        blocks.restore(block);
        drop(blocks);
        queue.wake_delivery();
        Some(progress)
    }

    /// Counts memory of records that wait to become blocks, whatever the budget: the reader of the
    /// log checks it first.
    pub(crate) fn book_records(&self, bytes: usize) {
        self.shared.memory.take(bytes);
    }

    /// Counts memory of records no more.
    pub(crate) fn release_records(&self, bytes: usize) {
        self.shared.memory.release(bytes);
    }

    /// Records that another process may store the rows of a block, too.
    pub(crate) fn doubt(&self, block: Uuid) {
        for queue in self.shared.queues() {
            let blocks = queue.lock();
            if let Some(found) = blocks.sealed.iter().find(|candidate| candidate.id == block) {
                found.state().parts.doubt(&Part::from(0..found.rows));
            }
        }
    }

    /// Returns the progress of the dead letters that rows of a block have become and that are not
    /// stored yet. They are only in memory, so until then, the shared log has to keep the block.
    pub(crate) fn dead_letters_of(&self, block: Uuid) -> Vec<Arc<SharedProgress>> {
        let dead_letters = self.shared.queue(self.shared.dead_letters()).lock();
        // Before its release, a dead letter is only among those that a log would have to write.
        let all = dead_letters.sealed.iter().chain(&dead_letters.unlogged);
        let own = all.filter(|letter| is_of_row(letter.id, block));
        own.map(|letter| Arc::clone(&letter.progress)).collect()
    }

    /// Returns whether no more rows of a table should be read: all rows in memory take more than
    /// half of their budget, and the table has its share of that half. A table that ClickHouse
    /// refuses thus leaves the others theirs.
    pub(crate) fn has_enough_of(&self, table: &str) -> bool {
        let memory = &self.shared.memory;
        let Some(table) = self.shared.find(table).filter(|_| memory.used() > memory.max / 2) else {
            return false;
        };
        let share = memory.max / 2 / self.shared.queues().count().max(1);
        self.shared.queue(table).lock().in_memory() >= share
    }
}

impl TableReader {
    /// Records that a row is longer than the shared log accepts, before it is settled: its sender
    /// must not send it again.
    pub(crate) fn mark_too_long(&self, block: &SealedBlock, row: u32, bytes: usize) {
        block
            .progress
            .update(|progress| progress.too_long.push(TooLong { row, bytes }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::{
        ack::Ack,
        block::{BlockLimits, content::BlockRows, layout::InsertTarget},
        spool::{LogEnd, LogLimits, Next, Outcome, Parked, SpoolLimits, TableLayouts},
        table::dead_letter::REJECTED,
    };

    fn spool(end: LogEnd) -> Spool {
        let tables = TableLayouts {
            tables: Vec::new(),
            dead_letters: InsertTarget::of(&REJECTED),
        };
        let limits = SpoolLimits {
            blocks: BlockLimits {
                rows: 10,
                bytes: 1000,
                age: Duration::ZERO,
            },
            memory_bytes: 1 << 20,
            log: LogLimits {
                segment_bytes: 0,
                max_bytes: 0,
            },
            keys: 1,
        };
        Spool::of_shared_log(tables, limits, end)
    }

    #[tokio::test]
    async fn a_row_is_replicated_once_it_is_in_the_log() {
        let spool = spool(LogEnd::Appends);
        let (appender, table) = (spool.appender(), spool.id_of(&REJECTED));
        let append = |ack| appender.append(table, ack, |out| out.push(1));
        let receipts = [Ack::Spooled, Ack::Replicated, Ack::Stored].map(|ack| append(ack).unwrap());
        assert!(!append(Ack::Accepted).unwrap().is_pending());
        let reader = &spool.readers()[0];
        let Next::Rows(block, part) = reader.next_block(Parked::NONE).await else {
            return;
        };
        // The log takes the rows in two records.
        reader.settle(&block, &Part::from(0..1), Outcome::Logged);
        reader.settle(&block, &Part::from(1..part.bounds().end), Outcome::Logged);
        let mut reached = Vec::new();
        for receipt in receipts {
            reached.push(receipt.await);
        }
        assert_eq!(reached, [Ack::Spooled, Ack::Replicated, Ack::Replicated]);
        assert_eq!(spool.memory_bytes(), 0);
    }

    #[tokio::test]
    async fn rows_that_wait_for_a_log_that_is_away_are_refused() {
        let spool = spool(LogEnd::Appends);
        let (appender, table) = (spool.appender(), spool.id_of(&REJECTED));
        let append = |ack| appender.append(table, ack, |out| out.push(1));
        let waiting = append(Ack::Replicated).unwrap();
        let reader = &spool.readers()[0];
        reader.set_failing(true);
        assert_eq!(waiting.await, Ack::Accepted);
        assert!(append(Ack::Replicated).is_err() && append(Ack::Spooled).is_err());
        assert!(append(Ack::Accepted).is_ok());
        reader.set_failing(false);
        assert!(append(Ack::Replicated).is_ok());
    }

    #[test]
    fn a_block_is_in_its_queue_once_and_its_dead_letters_are_found() {
        let spool = spool(LogEnd::Delivers);
        let id = uuid::Builder::from_sha1_bytes([7; 16]).into_uuid();
        let block = |id| {
            let layout = Arc::clone(spool.readers()[0].layout());
            let rows = BlockRows {
                bytes: vec![1; 3].into(),
                ends: [1, 2, 3].into(),
            };
            SealedBlock::from_shared_log(layout, id, rows, false)
        };
        let first = spool.deliver(block(id)).unwrap();
        assert!(Arc::ptr_eq(&first, &spool.deliver(block(id)).unwrap()));
        assert_eq!(spool.counts()[0].rows_pending, 3);
        let reader = &spool.readers()[0];
        let in_doubt = || reader.is_in_doubt(&reader.block(id).unwrap(), &Part::from(1..2));
        assert!(!in_doubt());
        spool.doubt(id);
        assert!(in_doubt());
        let (table, budget) = (&reader.layout().table, &spool.shared.memory);
        assert!(!spool.has_enough_of(table));
        // Other tables take the memory; this one is still read until it has its share.
        budget.take(budget.max);
        assert!(!spool.has_enough_of(table));
        let rows = BlockRows {
            bytes: vec![1; budget.max / 2].into(),
            ends: [budget.max as u32 / 2].into(),
        };
        let layout = Arc::clone(reader.layout());
        spool.deliver(SealedBlock::from_shared_log(layout, Uuid::from_u128(3), rows, false));
        assert!(spool.has_enough_of(table));
        budget.release(budget.max);
        assert!(spool.dead_letters_of(id).is_empty());
        let dead_letter = block(id).dead_letter_id(2).unwrap();
        let of_dead_letter = spool.deliver(block(dead_letter)).unwrap();
        spool.deliver(block(Uuid::from_u128(5 << 76)));
        let found = spool.dead_letters_of(id);
        assert!(found.len() == 1 && Arc::ptr_eq(&found[0], &of_dead_letter));
    }
}
