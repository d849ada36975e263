//! Append to shards: appends the rows of a Distributed table to the queues of their shards.
//!
//! A row without a queue of its own waits in the queue of the Distributed table. Rows that arrive
//! together are accepted together: the queues of all of them are locked until each row is appended.

use crate::{
    ack::Ack,
    block::{ROW_OVERHEAD, WORTH_TAKING_OVER, receipt::Receipt, rows::RowBatch},
    budget::SpoolFull,
    sharding::Router,
    spool::{append::Appender, table_id::TableId},
};

impl Appender {
    /// Appends one row.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    #[cold]
    pub(super) fn append_to_shard(
        &self,
        router: &Router<TableId>,
        table: TableId,
        ack: Ack,
        row: &[u8],
    ) -> Result<Receipt, SpoolFull> {
        let queue = router.queue(row).unwrap_or(table);
        self.append_counted(queue, ack, 1, |blocks, admit| {
            blocks.open.append(|out| out.extend_from_slice(row), admit)
        })
    }

    /// Appends rows: all of them, or none. `rows` may be empty afterwards.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(super) fn append_to_shards(
        &self,
        router: &Router<TableId>,
        table: TableId,
        ack: Ack,
        rows: &mut RowBatch,
    ) -> Result<Receipt, SpoolFull> {
        let mut batches: Vec<(TableId, RowBatch)> = Vec::new();
        let expected = 2 * rows.bytes().len() / router.len().max(1);
        for row in rows.iter() {
            let queue = router.queue(row).unwrap_or(table);
            let at = batches.iter().position(|(id, _)| *id == queue);
            let at = at.unwrap_or_else(|| {
                batches.push((queue, RowBatch::with_capacity_for(expected.min(rows.bytes().len()))));
                batches.len() - 1
            });
            rows.copy_row(row, &mut batches[at].1)?;
        }
        if let [(queue, _)] = batches[..] {
            return self.append_to_block(queue, ack, rows);
        }
        // Each thread locks queues in the same order.
        batches.sort_unstable_by_key(|(queue, _)| *queue);
        let counts: Vec<_> = batches.iter().map(|(queue, rows)| (*queue, rows.count())).collect();
        let result = match self.is_full(table, ack) {
            true => Err(SpoolFull),
            false => self.append_batches(ack, batches),
        };
        for (queue, count) in counts {
            self.count_appended(queue, count, result.is_ok());
        }
        result
    }

    fn append_batches(&self, ack: Ack, mut batches: Vec<(TableId, RowBatch)>) -> Result<Receipt, SpoolFull> {
        let (memory, max_rows) = (&self.shared.memory, self.shared.limits.rows);
        let queues = batches.iter().map(|(id, _)| self.shared.queue(*id));
        let mut locked: Vec<_> = queues.map(|queue| (queue, queue.lock())).collect();
        let mut reserved = 0;
        for ((_, blocks), (_, rows)) in locked.iter().zip(&batches) {
            let cost = rows.bytes().len() + rows.count() * ROW_OVERHEAD;
            let has_space = self.check_space(blocks, false).is_ok() && memory.reserve(cost, blocks.in_memory());
            if !has_space {
                memory.release(reserved);
                return Err(SpoolFull);
            }
            reserved += cost;
        }
        let mut receipts = Vec::with_capacity(batches.len());
        for ((queue, mut blocks), (_, rows)) in locked.drain(..).zip(&mut batches) {
            let (count, length) = (rows.count(), rows.bytes().len());
            if blocks.open.rows() + count > max_rows || length >= WORTH_TAKING_OVER {
                blocks.seal();
            }
            // The memory is reserved, and an open block is never so long that these rows do not fit.
            let is_appended = blocks.open.append_rows(rows, |_| true);
            debug_assert!(is_appended, "a block has at most 4 GiB");
            receipts.push(self.accept(queue, blocks, ack, count, false));
        }
        Ok(Receipt::of_all(receipts))
    }
}
