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
        queue::{Blocks, LockedQueue},
        shared::{Shared, TableId},
        signal::Urgency,
        state::DEAD_LETTERS_SHARE,
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
    shared: Arc<Shared>,
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
        self.append_counted(table, ack, 1, |blocks, admit| blocks.open.append(encode, admit))
    }

    /// Appends rows to one block: all of them, or none. `rows` may be empty afterwards.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    pub(crate) fn append_rows(&self, table: TableId, ack: Ack, rows: &mut RowBatch) -> Result<Receipt, SpoolFull> {
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
    /// keys. The rows of a key are numbered within `rows`. Also returns the place of the rows.
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
        let has_disk = self.shared.log.is_some();
        let waiting = pending.filter(|_| ack == Ack::Stored || (ack == Ack::Spooled && has_disk));
        Receipt {
            waiting: waiting.map(|PendingRows { progress, rows }| Waiting {
                progress,
                rows,
                ack,
                has_disk,
            }),
        }
    }

    /// Appends `rows` rows with `put`, and counts whether they were accepted.
    fn append_counted(
        &self,
        table: TableId,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut LockedQueue<'_>, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        let result = match self.shared.is_closed() {
            true => Err(SpoolFull),
            false => self.append_to(table, ack, rows, put),
        };
        let counters = &self.shared.queue(table).counters;
        let counter = match result {
            Ok(_) => &counters.rows_appended,
            Err(SpoolFull) => &counters.rows_rejected_full,
        };
        Counters::add(counter, rows as u64);
        if result.is_err() && !self.shared.is_closed() {
            self.log_full(table);
        }
        result
    }

    fn append_to(
        &self,
        table: TableId,
        ack: Ack,
        rows: usize,
        put: impl FnOnce(&mut LockedQueue<'_>, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Receipt, SpoolFull> {
        let Shared { memory, log, .. } = &*self.shared;
        // Skip the encoding if no row fits anyway.
        if memory.used() >= memory.max || (ack >= Ack::Spooled && self.shared.is_failing()) {
            return Err(SpoolFull);
        }
        let is_dead_letter = table == self.shared.dead_letters();
        let queue = self.shared.queue(table);
        let mut blocks = queue.lock();
        // Read under the lock: a thread that closes the spool and then takes the lock sees the last
        // row.
        if self.shared.is_closed() {
            return Err(SpoolFull);
        }
        if let Some(log) = log
            && !(log.has_space(blocks.on_disk())
                && (!is_dead_letter || log.has_space_for_dead_letters(blocks.on_disk())))
        {
            return Err(SpoolFull);
        }
        let held = blocks.in_memory();
        let is_within_share = |cost: usize| !is_dead_letter || held + cost <= memory.max / DEAD_LETTERS_SHARE;
        let admit = |cost| is_within_share(cost) && memory.reserve(cost, held);
        if !put(&mut blocks, &admit) {
            return Err(SpoolFull);
        }
        let first = blocks.open.rows() - rows;
        let receipt = self.receipt(&blocks, ack, rows);
        if self.limits_of(&blocks, is_dead_letter).exceeded_by(&blocks.open) {
            blocks.seal();
        } else if let Some(log) = log {
            queue.mark_dirty(match ack {
                Ack::Accepted => Urgency::Soon,
                Ack::Spooled | Ack::Stored => log.signal.wait_urgency(),
            });
        }
        drop(blocks);
        if first == 0 {
            queue.wake_delivery();
        }
        Ok(receipt)
    }

    /// Returns the receipt for the last `rows` rows of the open block.
    fn receipt(&self, blocks: &Blocks, ack: Ack, rows: usize) -> Receipt {
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let has_disk = self.shared.log.is_some();
        let waiting = match (ack, blocks.open.opened()) {
            (Ack::Spooled | Ack::Stored, Some(opened)) if has_disk || ack == Ack::Stored => Some(Waiting {
                progress: Arc::clone(&opened.progress),
                rows: count(blocks.open.rows() - rows)..count(blocks.open.rows()),
                ack,
                has_disk,
            }),
            _ => None,
        };
        Receipt { waiting }
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
