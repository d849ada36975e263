//! Append: appends rows to the open block of their table, within the bounds of memory and disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    ack::Ack,
    block::{
        BlockLimits, WORTH_TAKING_OVER,
        receipt::{Receipt, Waiting},
        row_key::RowKey,
        rows::RowBatch,
    },
    budget::SpoolFull,
    idempotency::PendingRows,
    spool::{
        counters::Counters,
        queue::{Blocks, LockedQueue, TableQueue},
        shared::Shared,
        signal::Urgency,
        state::DEAD_LETTERS_SHARE,
        table_id::TableId,
    },
};

/// With this many sealed blocks, a table has one that is being inserted, one that is being
/// prepared, and one that waits.
const WAITING_BLOCKS: usize = 3;

/// The interval at which a full spool is logged, in seconds.
const LOG_INTERVAL_S: u64 = 60;

/// The handle that appends rows to the spool.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(super) shared: Arc<Shared>,
    started: Instant,
    /// The time of the next log of a full spool, in seconds since the start: for rows, and for dead
    /// letters.
    next_log_s: [AtomicU64; 2],
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            started: Instant::now(),
            next_log_s: Default::default(),
        }
    }

    /// Appends one row, which `encode` writes straight into the table's open block.
    ///
    /// # Errors
    /// [`SpoolFull`], also if `ack` requires the disk and the disk is known to fail.
    pub(crate) fn append(
        &self,
        table: TableId,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receipt, SpoolFull> {
        if let Some(router) = self.shared.queue(table).router() {
            let mut row = Vec::new();
            encode(&mut row);
            return self.append_to_shard(&router, table, ack, &row);
        }
        self.append_counted(table, ack, 1, |blocks, admit| blocks.open.append(encode, admit))
    }

    /// Appends rows to one block for each shard of their table: all of them, or none. `rows` may be
    /// empty afterwards.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(crate) fn append_rows(&self, table: TableId, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
        match self.shared.queue(table).router() {
            Some(router) => self.append_to_shards(&router, table, ack, rows),
            None => self.append_to_block(table, ack, rows),
        }
    }

    /// Appends rows to one block.
    pub(super) fn append_to_block(&self, table: TableId, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
        let (count, is_long) = (rows.count(), rows.bytes().len() >= WORTH_TAKING_OVER);
        let max_rows = self.shared.limits.rows;
        self.append_counted(table, ack, count, |blocks, admit| {
            if blocks.open.rows() + count > max_rows || is_long {
                // These rows go into one block together. The open block would exceed its limit, or
                // copying the rows into it would take longer than taking over their buffer.
                blocks.seal();
            }
            blocks.open.append_rows(rows, admit)
        })
    }

    /// Appends rows as [`append_rows`](Self::append_rows) does, at least one, with their idempotency
    /// keys. The rows of a key are numbered within `rows`. Also returns the place of the rows. Rows of
    /// several shards wait in the table's own queue, since a key belongs to one block.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(crate) fn append_with_keys(
        &self,
        table: TableId,
        ack: Ack,
        rows: &mut RowBatch,
        keys: &[RowKey],
    ) -> Result<(Receipt, PendingRows), SpoolFull> {
        let router = self.shared.queue(table).router();
        let table = router
            .and_then(|router| router.common_queue(rows.iter()))
            .unwrap_or(table);
        let (count, max_rows) = (rows.count(), self.shared.limits.rows);
        let is_long = rows.bytes().len() >= WORTH_TAKING_OVER;
        let mut place = None;
        let receipt = self.append_counted(table, ack, count, |blocks, admit| {
            if blocks.open.rows() + count > max_rows || is_long {
                blocks.seal();
            }
            let first = blocks.open.rows();
            if !blocks.open.append_rows(rows, |cost| admit(cost + size_of_val(keys))) {
                return false;
            }
            let (Ok(first), Some(opened)) = (u32::try_from(first), blocks.open.opened()) else {
                return false;
            };
            place = Some(PendingRows {
                progress: Arc::clone(&opened.progress),
                rows: first..u32::try_from(blocks.open.rows()).unwrap_or(u32::MAX),
            });
            blocks.open.add_keys(keys.iter().map(|key| RowKey {
                rows: first + key.rows.start..first + key.rows.end,
                record: key.record,
            }));
            true
        })?;
        Ok((receipt, place.ok_or(SpoolFull)?))
    }

    /// Returns the receipt of rows that were appended earlier.
    pub(crate) fn receipt_of(&self, pending: Option<PendingRows>, ack: Ack) -> Receipt {
        let is_durable = self.shared.is_durable();
        let waiting = pending.filter(|_| ack > Ack::Spooled || (ack == Ack::Spooled && is_durable));
        Receipt {
            waiting: waiting.map(|PendingRows { progress, rows }| Waiting {
                progress,
                rows,
                ack,
                is_durable,
            }),
            others: None,
        }
    }

    /// Appends `rows` rows with `put`, and counts whether they were accepted.
    pub(super) fn append_counted(
        &self,
        table: TableId,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut LockedQueue<'_>, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        let result = self.append_to(table, ack, rows, put);
        self.count_appended(table, rows, result.is_ok());
        result
    }

    /// Counts whether rows were accepted.
    pub(super) fn count_appended(&self, table: TableId, rows: usize, is_accepted: bool) {
        let counters = &self.shared.queue(table).counters;
        let counter = match is_accepted {
            true => &counters.rows_appended,
            false => &counters.rows_rejected_full,
        };
        Counters::add(counter, rows as u64);
        if !is_accepted && !self.shared.is_closed() {
            self.log_full(table);
        }
    }

    fn append_to(
        &self,
        table: TableId,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut LockedQueue<'_>, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        let memory = &self.shared.memory;
        // Skip the encoding if no row fits anyway.
        if self.is_full(table, ack) {
            return Err(SpoolFull);
        }
        let is_dead_letter = table == self.shared.dead_letters();
        let queue = self.shared.queue(table);
        let mut blocks = queue.lock();
        self.check_space(&blocks, is_dead_letter)?;
        let held = blocks.in_memory();
        let is_within_share = |cost: usize| !is_dead_letter || held + cost <= memory.max / DEAD_LETTERS_SHARE;
        let admit = |cost| is_within_share(cost) && memory.reserve(cost, held);
        if !put(&mut blocks, &admit) {
            return Err(SpoolFull);
        }
        Ok(self.accept(queue, blocks, ack, rows, is_dead_letter))
    }

    /// Returns whether no row fits into memory, or `ack` requires a disk or a log that is known to
    /// fail.
    #[inline]
    pub(super) fn is_full(&self, table: TableId, ack: Ack) -> bool {
        let memory = &self.shared.memory;
        memory.used() >= memory.max || (ack >= Ack::Spooled && self.shared.is_failing_for(table))
    }

    /// Checks that a locked queue accepts rows: the spool is open, and the disk has space.
    #[inline]
    pub(super) fn check_space(&self, blocks: &Blocks, is_dead_letter: bool) -> Result<(), SpoolFull> {
        // Read under the lock: a thread that closes the spool and then takes the lock sees the last
        // row.
        if self.shared.is_closed() {
            return Err(SpoolFull);
        }
        if let Some(log) = &self.shared.log
            && !(log.has_space(blocks.on_disk())
                && (!is_dead_letter || log.has_space_for_dead_letters(blocks.on_disk())))
        {
            return Err(SpoolFull);
        }
        Ok(())
    }

    /// Completes an append: seals the block if it is long enough, and wakes the log and delivery.
    /// Returns the receipt of the last `rows` rows of the open block.
    #[inline]
    pub(super) fn accept(
        &self,
        queue: &TableQueue,
        mut blocks: LockedQueue<'_>,
        ack: Ack,
        rows: usize,
        is_dead_letter: bool,
    ) -> Receipt {
        let first = blocks.open.rows() - rows;
        let receipt = self.receipt(&blocks, ack, rows);
        let is_newly_awaited = ack == Ack::Stored && !blocks.is_awaited;
        blocks.is_awaited |= ack == Ack::Stored;
        if self.limits_of(&blocks, is_dead_letter).exceeded_by(&blocks.open) {
            Counters::add(&queue.sealed.full, 1);
            blocks.seal();
        } else if let Some(log) = &self.shared.log {
            queue.mark_dirty(match ack {
                Ack::Accepted => Urgency::Soon,
                Ack::Spooled | Ack::Replicated | Ack::Stored => log.signal.wait_urgency(),
            });
        }
        drop(blocks);
        if first == 0 || is_newly_awaited {
            queue.wake_delivery();
        }
        receipt
    }

    /// Returns the receipt for the last `rows` rows of the open block.
    fn receipt(&self, blocks: &Blocks, ack: Ack, rows: usize) -> Receipt {
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let is_durable = self.shared.is_durable();
        let waiting = match (ack, blocks.open.opened()) {
            (Ack::Spooled | Ack::Replicated | Ack::Stored, Some(opened)) if is_durable || ack > Ack::Spooled => {
                Some(Waiting {
                    progress: Arc::clone(&opened.progress),
                    rows: count(blocks.open.rows() - rows)..count(blocks.open.rows()),
                    ack,
                    is_durable,
                })
            }
            _ => None,
        };
        Receipt { waiting, others: None }
    }

    /// Returns the limits of a queue's open block.
    fn limits_of(&self, blocks: &Blocks, is_dead_letter: bool) -> BlockLimits {
        let Shared { limits, memory, .. } = &*self.shared;
        if is_dead_letter {
            // Blocks that wait are only on disk. Memory holds this block, the next one, and those
            // being written.
            BlockLimits {
                bytes: limits.bytes.min(memory.max / DEAD_LETTERS_SHARE / 4),
                ..*limits
            }
        } else if blocks.sealed.len() < WAITING_BLOCKS {
            *limits
        } else {
            limits.when_backlogged()
        }
    }

    /// Seals the open blocks that are as long as blocks without a backlog. A sender of rows without
    /// end is the backlog, and longer blocks would only take more memory.
    pub(crate) fn seal_long_blocks(&self) {
        for queue in self.shared.queues() {
            let mut blocks = queue.lock();
            if self.shared.limits.exceeded_by(&blocks.open) {
                blocks.seal();
            }
        }
    }

    /// Logs that the spool is full, once per interval and not once per row.
    #[cold]
    fn log_full(&self, table: TableId) {
        let is_dead_letter = table == self.shared.dead_letters();
        let now_s = self.started.elapsed().as_secs();
        let next_log_s = &self.next_log_s[usize::from(is_dead_letter)];
        let due_s = next_log_s.load(Ordering::Relaxed);
        let next_s = now_s + LOG_INTERVAL_S;
        let is_ours = || {
            next_log_s
                .compare_exchange(due_s, next_s, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now_s < due_s || !is_ours() {
            return;
        }
        if is_dead_letter {
            tracing::error!("dead letters are dropped: pending dead letters have reached their limit");
        } else if self.shared.log.is_none() && self.shared.is_failing_for(table) {
            tracing::error!("rows are rejected until the shared log can be reached");
        } else {
            let log = self.shared.log.as_ref();
            tracing::error!(
                memory_bytes = self.shared.memory.used(),
                disk_bytes = log.map_or(0, |log| log.bytes.load(Ordering::Relaxed)),
                disk_is_failing = self.shared.is_failing(),
                "rows are rejected: the spool is full until ClickHouse stores some of its rows"
            );
        }
    }
}
