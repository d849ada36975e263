//! Blocks: the rows of one table that are inserted together.
//!
//! Rows are encoded straight into a [`Block`], which becomes a [`SealedBlock`] once it is large or
//! old enough. Promises: a block only holds whole rows, even if an encoder panics halfway. A sealed
//! block never changes, so that each attempt to insert it sends the same bytes under the same
//! token.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::block::{
    buffer_pool::BufferPool,
    content::BlockRows,
    layout::InsertTarget,
    logged::Logged,
    parts::Parts,
    progress::SharedProgress,
    row_key::RowKey,
    rows::RowBatch,
    sealed::{BlockState, SealedBlock},
};

/// The memory of a row in addition to its bytes: its end offset.
pub(crate) const ROW_OVERHEAD: usize = size_of::<u32>();

/// The maximum length of a block. Rows that stay rows are compressed into one frame, for which
/// ClickHouse allows 1 GiB.
pub(crate) const MAX_BLOCK_BYTES: usize = 512 << 20;

/// The limits of an open block; the first one that is reached seals it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// The factor by which a block may be longer under backlog.
const BACKLOG_GROWTH: usize = 3;

impl BlockLimits {
    /// Returns larger limits for use under backlog. ClickHouse inserts fewer, longer blocks faster,
    /// and the rows use the same memory either way.
    pub(crate) fn when_backlogged(self) -> Self {
        let bytes = self.bytes.saturating_mul(BACKLOG_GROWTH);
        Self {
            bytes: bytes.min(MAX_BLOCK_BYTES),
            ..self
        }
    }

    /// Returns whether `block` has to be sealed before another row is appended.
    pub(crate) fn exceeded_by(&self, block: &Block) -> bool {
        block.rows() >= self.rows || block.committed() >= self.bytes
    }
}

/// The memory of delivered blocks to keep for new ones, in bytes: one block with the default
/// options, while another one is filled.
const KEPT_BYTES: usize = 16 << 20;

/// A block that still accepts rows.
#[derive(Debug)]
pub(crate) struct Block {
    /// Rows in the table's [`Format`](crate::table::Format). Bytes after the last end are not a
    /// row.
    bytes: Vec<u8>,
    /// The offset at which each row ends.
    ends: Vec<u32>,
    /// The idempotency keys of the rows that have one.
    keys: Vec<RowKey>,
    /// `None` while the block is empty, unless the caller chose its id.
    opened: Option<OpenMeta>,
    /// The length of the previous block, if it was large enough for a pooled buffer.
    previous_len: Option<usize>,
    pool: Arc<BufferPool>,
}

/// The metadata of an open block, from its first row on.
#[derive(Debug)]
pub(crate) struct OpenMeta {
    pub(crate) at: Instant,
    pub(crate) id: Uuid,
    pub(crate) progress: Arc<SharedProgress>,
    pub(crate) logged: Logged,
}

impl OpenMeta {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            id: random::block_id(),
            progress: Arc::default(),
            logged: Logged::default(),
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::with_pool(BufferPool::with_max_bytes(0))
    }
}

impl Block {
    /// Returns the buffer pool for the blocks of all tables.
    pub(crate) fn pool() -> Arc<BufferPool> {
        BufferPool::with_max_bytes(KEPT_BYTES)
    }

    /// Returns an empty block. Its buffers, and those of later blocks, come from the pool `pool`.
    pub(crate) fn with_pool(pool: Arc<BufferPool>) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            keys: Vec::new(),
            opened: None,
            previous_len: None,
            pool,
        }
    }

    /// Returns an empty block with this id.
    pub(crate) fn with_id(id: Uuid) -> Self {
        Self {
            opened: Some(OpenMeta { id, ..OpenMeta::now() }),
            ..Self::default()
        }
    }

    /// Appends one row that `encode` writes, and keeps it if `admit` allows its cost in bytes of
    /// memory.
    ///
    /// Returns whether the row was kept. `encode` must only append.
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>), admit: impl FnOnce(usize) -> bool) -> bool {
        let start = self.start();
        encode(&mut self.bytes);
        debug_assert!(self.bytes.len() >= start, "an encoder must only append");
        let cost = self.bytes.len().saturating_sub(start) + ROW_OVERHEAD;
        let end = u32::try_from(self.bytes.len()).ok().filter(|_| admit(cost));
        match end {
            Some(end) => {
                self.ends.push(end);
                self.opened.get_or_insert_with(OpenMeta::now);
                true
            }
            None => {
                self.discard_from(start);
                false
            }
        }
    }

    /// Appends all rows, or none, if `admit` allows their cost in bytes of memory. An empty block
    /// takes over the memory of long batches instead of copying them.
    pub(crate) fn append_rows(&mut self, rows: &mut RowBatch, admit: impl FnOnce(usize) -> bool) -> bool {
        let start = self.start();
        let (bytes, ends) = rows.content();
        let cost = bytes.len() + ends.len() * ROW_OVERHEAD;
        let Ok(start) = u32::try_from(start) else { return false };
        let is_admitted = u32::try_from(self.bytes.len() + bytes.len()).is_ok() && admit(cost);
        if is_admitted && start == 0 && bytes.len() >= WORTH_TAKING_OVER {
            self.discard_from(0);
            (self.bytes, self.ends) = rows.take();
            self.opened.get_or_insert_with(OpenMeta::now);
        } else if is_admitted && !ends.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.ends.extend(ends.iter().map(|end| start + end));
            self.opened.get_or_insert_with(OpenMeta::now);
        } else {
            self.discard_from(start as usize);
        }
        is_admitted
    }

    /// Adds idempotency keys of the last rows. The memory budget counts them already.
    pub(crate) fn add_keys(&mut self, keys: impl Iterator<Item = RowKey>) {
        self.keys.extend(keys);
    }

    /// Returns the idempotency keys of the rows, in the order of the rows.
    pub(crate) fn keys(&self) -> &[RowKey] {
        &self.keys
    }

    /// Returns the offset of the next row, and removes the partial row of an encoder that panicked.
    #[inline]
    fn start(&mut self) -> usize {
        let start = self.committed();
        // Only once there is a row to write: an idle table must not hold a large buffer.
        if self.bytes.capacity() == 0
            && let Some(length) = self.previous_len
        {
            self.bytes = self.pool.acquire(length);
            if self.bytes.capacity() == 0 {
                // Growth would copy each row once more. Unused capacity takes no physical memory.
                self.bytes.reserve_exact(length);
            }
        }
        self.bytes.truncate(start);
        start
    }

    /// Discards a row that was not kept, and its memory: an empty block is never sealed, so it must
    /// not hold a large buffer.
    fn discard_from(&mut self, start: usize) {
        self.bytes.truncate(start);
        if start == 0 && self.bytes.capacity() >= buffer_pool::WORTH_KEEPING {
            self.pool.release(std::mem::take(&mut self.bytes));
        }
        // One row that was too large must not keep its memory.
        self.bytes.shrink_to(start.saturating_mul(2).max(KEPT_CAPACITY));
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Returns the metadata of the open block; `None` while there is no row, unless the caller
    /// chose its id.
    pub(crate) fn opened(&self) -> Option<&OpenMeta> {
        self.opened.as_ref()
    }

    /// Returns the metadata of the open block, mutably.
    pub(crate) fn opened_mut(&mut self) -> Option<&mut OpenMeta> {
        self.opened.as_mut()
    }

    /// Returns the rows, and the offset at which each ends.
    pub(crate) fn content(&self) -> (&[u8], &[u32]) {
        (&self.bytes[..self.committed()], &self.ends)
    }

    /// Returns the memory that the rows take, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.committed() + self.rows() * ROW_OVERHEAD + size_of_val(&*self.keys)
    }

    /// Seals the rows as a block and leaves an empty one. Returns `None` if there is no row.
    pub(crate) fn seal(&mut self, layout: &Arc<InsertTarget>) -> Option<SealedBlock> {
        self.bytes.truncate(self.committed());
        let opened = self.opened.take()?;
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut ends = std::mem::take(&mut self.ends);
        // Vectors grow by doubling; waiting blocks must not take twice the memory that they count
        // for.
        let length = bytes.len();
        bytes.shrink_to(length + length / 8);
        ends.shrink_to_fit();
        self.previous_len = (length >= buffer_pool::WORTH_KEEPING).then_some(length);
        let rows = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        Some(SealedBlock {
            layout: Arc::clone(layout),
            id: opened.id,
            rows,
            bytes: length,
            opened: Some(opened.at),
            progress: opened.progress,
            state: Mutex::new(BlockState {
                parts: Parts::whole(rows),
                content: Some(BlockRows {
                    bytes: self.pool.freeze(bytes),
                    ends: ends.into(),
                }),
                logged: opened.logged,
                keys: std::mem::take(&mut self.keys).into(),
                sent_to: None,
            }),
        })
    }

    /// Returns the length of the whole rows.
    fn committed(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }
}

/// Batches from this size on are not copied while a lock is held: a copy of a megabyte takes about
/// as long as an event.
pub(crate) const WORTH_TAKING_OVER: usize = 4 << 20;

/// The memory that an empty block may keep for its next rows.
const KEPT_CAPACITY: usize = 64 << 10;

pub(crate) mod buffer_pool;
pub(crate) mod content;
pub(crate) mod frame_format;
pub(crate) mod layout;
pub(crate) mod logged;
pub(crate) mod parts;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod receipt;
#[cfg(test)]
pub(crate) mod rng;
pub(crate) mod row_key;
pub(crate) mod rows;
pub(crate) mod sealed;
pub(crate) mod shard;
#[cfg(test)]
mod tests;
