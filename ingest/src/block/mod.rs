//! Blocks: the rows of one table that are inserted together.
//!
//! A [`Block`] takes rows, encoded straight into it, and becomes a [`SealedBlock`] once it is large or old enough. Promises: a
//! block holds whole rows only, even if an encoder panics halfway, and a sealed block never changes, so that each try to
//! insert it sends the same bytes under the same token.

use std::{
    hash::Hasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use twox_hash::XxHash64;
use uuid::Uuid;

use crate::{
    layout::Layout,
    progress::{Progress, SharedProgress},
    room::{self, Rooms},
    rows::EncodedRows,
    spool::{Logged, Part, Parts, RowRange, chance},
};

/// What a row takes in memory beside its bytes: the end offset that a block is cut by.
pub(crate) const ROW_OVERHEAD: usize = size_of::<u32>();

/// Rows that stay rows are compressed into one frame, for which ClickHouse allows 1 GiB.
pub(crate) const MAX_BLOCK_BYTES: usize = 512 << 20;

/// When an open block is sealed; whatever comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// How many times as long a block may be that others wait before.
const GROWTH_BEHIND_OTHERS: usize = 3;

impl BlockLimits {
    /// Returns the limits of a block that others wait before, when ClickHouse is what limits: of fewer, longer blocks it takes more rows,
    /// which take the same memory in one block as in several.
    pub(crate) fn behind_others(self) -> Self {
        let bytes = self.bytes.saturating_mul(GROWTH_BEHIND_OTHERS);
        Self {
            bytes: bytes.min(MAX_BLOCK_BYTES),
            ..self
        }
    }

    /// Returns whether `block` has to be sealed before another row comes.
    pub(crate) fn are_reached_by(&self, block: &Block) -> bool {
        block.rows() >= self.rows || block.committed() >= self.bytes
    }
}

/// Room of delivered blocks that is kept for new ones, in bytes: that of one block with the usual options, while another one is filled.
const KEPT_ROOM: usize = 16 << 20;

/// A block that still takes rows.
#[derive(Debug)]
pub(crate) struct Block {
    /// Rows in the table's [`Format`](crate::table::Format). What lies behind the last end is no row.
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<u32>,
    /// None while there is no row.
    opened: Option<Opened>,
    /// The length of the block before it, if that was worth a room.
    follows: Option<usize>,
    rooms: Arc<Rooms>,
}

/// What an open block has from its first row on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) at: Instant,
    pub(crate) id: Uuid,
    pub(crate) progress: Arc<SharedProgress>,
    pub(crate) logged: Logged,
}

impl Opened {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            id: chance::block_id(),
            progress: Arc::default(),
            logged: Logged::default(),
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::with_rooms(Rooms::keeping(0))
    }
}

impl Block {
    /// Returns rooms for the blocks of all tables.
    pub(crate) fn rooms() -> Arc<Rooms> {
        Rooms::keeping(KEPT_ROOM)
    }

    /// Returns an empty block; its rows, and those of the blocks that follow it, lie in `rooms`.
    pub(crate) fn with_rooms(rooms: Arc<Rooms>) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            opened: None,
            follows: None,
            rooms,
        }
    }

    /// Returns an empty block that will have this id.
    pub(crate) fn named(id: Uuid) -> Self {
        Self {
            opened: Some(Opened { id, ..Opened::now() }),
            ..Self::default()
        }
    }

    /// Lets `encode` write one row behind the others, and keeps it if `admit` allows its cost in bytes of memory.
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
                self.opened.get_or_insert_with(Opened::now);
                true
            }
            None => {
                self.leave(start);
                false
            }
        }
    }

    /// Puts rows behind the others if `admit` allows their cost in bytes of memory: all of them, or none. An empty block takes long
    /// ones over with their memory.
    pub(crate) fn append_rows(&mut self, rows: &mut EncodedRows, admit: impl FnOnce(usize) -> bool) -> bool {
        let start = self.start();
        let (bytes, ends) = rows.content();
        let cost = bytes.len() + ends.len() * ROW_OVERHEAD;
        let Ok(start) = u32::try_from(start) else { return false };
        let is_admitted = u32::try_from(self.bytes.len() + bytes.len()).is_ok() && admit(cost);
        if is_admitted && start == 0 && bytes.len() >= WORTH_TAKING_OVER {
            self.leave(0);
            (self.bytes, self.ends) = rows.take();
            self.opened.get_or_insert_with(Opened::now);
        } else if is_admitted && !ends.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.ends.extend(ends.iter().map(|end| start + end));
            self.opened.get_or_insert_with(Opened::now);
        } else {
            self.leave(start as usize);
        }
        is_admitted
    }

    /// Returns where the next row begins, where an encoder that panicked may have left a part of its own.
    #[inline]
    fn start(&mut self) -> usize {
        let start = self.committed();
        // Not before there is a row: a table that has become quiet must not hold a large room.
        if self.bytes.capacity() == 0
            && let Some(length) = self.follows
        {
            self.bytes = self.rooms.take(length);
            if self.bytes.capacity() == 0 {
                // Growth would copy each row once more. What is not used yet takes no memory.
                self.bytes.reserve_exact(length);
            }
        }
        self.bytes.truncate(start);
        start
    }

    /// Forgets a row that was not kept, and its memory: an empty block is never sealed, so that it must not hold a large room.
    fn leave(&mut self, start: usize) {
        self.bytes.truncate(start);
        if start == 0 && self.bytes.capacity() >= room::WORTH_KEEPING {
            self.rooms.give(std::mem::take(&mut self.bytes));
        }
        // One row that was too large must not keep its memory.
        self.bytes.shrink_to(start.saturating_mul(2).max(KEPT_CAPACITY));
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Returns what it has from its first row on; none while there is no row.
    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// As [`opened`](Self::opened), to be changed.
    pub(crate) fn opened_mut(&mut self) -> Option<&mut Opened> {
        self.opened.as_mut()
    }

    /// Returns the rows, and where each ends.
    pub(crate) fn content(&self) -> (&[u8], &[u32]) {
        (&self.bytes[..self.committed()], &self.ends)
    }

    /// Returns the memory that the rows take.
    pub(crate) fn cost(&self) -> usize {
        self.committed() + self.rows() * ROW_OVERHEAD
    }

    /// Takes the rows out as a sealed block and leaves an empty one; none if there is no row.
    pub(crate) fn seal(&mut self, layout: &Arc<Layout>) -> Option<SealedBlock> {
        self.bytes.truncate(self.committed());
        let opened = self.opened.take()?;
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut ends = std::mem::take(&mut self.ends);
        // A vector grows by doubling; waiting blocks must not take twice the memory that they are counted for.
        let length = bytes.len();
        bytes.shrink_to(length + length / 8);
        ends.shrink_to_fit();
        self.follows = (length >= room::WORTH_KEEPING).then_some(length);
        let rows = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        Some(SealedBlock {
            layout: Arc::clone(layout),
            id: opened.id,
            rows,
            bytes: length,
            progress: opened.progress,
            state: Mutex::new(BlockState {
                parts: Parts::whole(rows),
                content: Some(Content {
                    bytes: self.rooms.lend(bytes),
                    ends: ends.into(),
                }),
                logged: opened.logged,
            }),
        })
    }

    /// Returns the length of the whole rows.
    fn committed(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }
}

/// Rows of so many bytes are not copied while a lock is held: a megabyte takes about as long as an event.
pub(crate) const WORTH_TAKING_OVER: usize = 4 << 20;

/// An empty block may keep this much memory for its next rows.
const KEPT_CAPACITY: usize = 64 << 10;

/// Rows, in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// The rows, as they are sent.
    pub(crate) bytes: Bytes,
    /// Where each row ends in `bytes`.
    pub(crate) ends: Arc<[u32]>,
}

impl Content {
    /// Returns the rows of a part.
    pub(crate) fn select(&self, part: &Part) -> Self {
        if let [rows] = part.ranges() {
            return self.slice(rows);
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(part.len()));
        for rows in part.ranges() {
            let slice = self.slice(rows);
            let start = bytes.len() as u32;
            ends.extend(slice.ends.iter().map(|end| start + end));
            bytes.extend_from_slice(&slice.bytes);
        }
        Self {
            bytes: bytes.into(),
            ends: ends.into(),
        }
    }

    /// Returns the rows in `rows`.
    fn slice(&self, rows: &RowRange) -> Self {
        let (first, last) = (rows.start as usize, rows.end as usize);
        if first == 0 && last == self.ends.len() {
            return self.clone();
        }
        let ends = &self.ends[first..last];
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = ends.last().copied().unwrap_or(start);
        Self {
            bytes: self.bytes.slice(start as usize..end as usize),
            ends: ends.iter().map(|end| end - start).collect(),
        }
    }

    /// Returns the memory that it takes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * ROW_OVERHEAD
    }
}

/// A block whose rows nothing changes any more.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) layout: Arc<Layout>,
    /// Its name for ever; a version 7 UUID, so that ids sort as blocks were opened, but for [letters](Self::letter_id).
    pub(crate) id: Uuid,
    /// The number of rows, those that are already stored included.
    pub(crate) rows: u32,
    /// The length of the rows.
    pub(crate) bytes: usize,
    pub(crate) progress: Arc<SharedProgress>,
    state: Mutex<BlockState>,
}

/// What does change of a sealed block.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// The rows; none where they are on disk alone.
    pub(crate) content: Option<Content>,
    /// Where they are on disk.
    pub(crate) logged: Logged,
    /// What is not stored yet, in its order: the whole block, or what is left of its halves.
    pub(crate) parts: Parts,
}

impl SealedBlock {
    /// Returns a block that is on disk alone.
    pub(crate) fn on_disk(
        layout: Arc<Layout>,
        id: Uuid,
        rows: u32,
        bytes: usize,
        logged: Logged,
        parts: Parts,
    ) -> Self {
        let progress = Progress {
            on_disk: rows,
            ..Progress::default()
        };
        Self {
            layout,
            id,
            rows,
            bytes,
            progress: Arc::new(SharedProgress::new(progress)),
            state: Mutex::new(BlockState {
                content: None,
                logged,
                parts,
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, BlockState> {
        // Nothing that holds it can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the oldest rows that are not stored.
    pub(crate) fn next_part(&self) -> Option<Part> {
        self.state().parts.iter().next()
    }

    /// Returns the id of the block that has the dead letter of one of the rows, if this is no dead letter itself.
    pub(crate) fn letter_id(&self, row: u32) -> Option<Uuid> {
        letter_id(self.id, row)
    }

    /// Returns the id of the block that has the dead letters about rows which stay in their own block, and of which `row` is the first.
    ///
    /// It is the block's with the row's number in its random bits, and of version 4, which no other block is.
    pub(crate) fn notice_id(&self, row: u32) -> Uuid {
        const VERSION: u128 = 0xf << 76;
        let id = self.id.as_u128() ^ u128::from(row);
        Uuid::from_u128(id & !VERSION | 4 << 76)
    }

    /// Returns the `insert_deduplication_token` under which ClickHouse takes these rows once, however often they are sent.
    ///
    /// Rows with gaps between them have a token of just these rows.
    pub(crate) fn token(&self, part: &Part) -> String {
        let (table, id, bounds) = (&self.layout.table, self.id, part.bounds());
        match part.ranges() {
            [rows] if *rows == (0..self.rows) => format!("{table}:{id}"),
            [_] => format!("{table}:{id}:{}-{}", bounds.start, bounds.end),
            ranges => {
                let mut hash = XxHash64::with_seed(0);
                for row in ranges.iter().flat_map(|range| [range.start, range.end]) {
                    hash.write(&row.to_le_bytes());
                }
                format!("{table}:{id}:{}-{}:{:x}", bounds.start, bounds.end, hash.finish())
            }
        }
    }
}

/// Returns the id of the block that has the dead letter of one of a block's rows, if that is no dead letter itself: the same row has
/// the same letter, however often it is refused.
///
/// It is the block's with the row's number in its random bits, and of version 8, which no other block is.
pub(crate) fn letter_id(block: Uuid, row: u32) -> Option<Uuid> {
    const VERSION: u128 = 0xf << 76;
    let id = block.as_u128() ^ u128::from(row);
    (!is_letter(block)).then(|| Uuid::from_u128(id & !VERSION | 8 << 76))
}

/// Returns whether a block's id is that of a dead letter of another block's row.
pub(crate) fn is_letter(block: Uuid) -> bool {
    block.get_version_num() == 8
}

#[cfg(test)]
mod tests;
