//! Sealed blocks: their rows do not change any more.

use std::{
    hash::Hasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use twox_hash::XxHash64;
use uuid::Uuid;

use crate::block::{
    content::BlockRows,
    layout::InsertTarget,
    logged::Logged,
    parts::{Part, Parts},
    progress::{Progress, SharedProgress},
    row_key::RowKey,
};

/// A block whose rows do not change any more.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) layout: Arc<InsertTarget>,
    /// The block's permanent id: a version 7 UUID, so that ids sort by the time the blocks were
    /// opened. [Dead letters](Self::dead_letter_id) have other versions.
    pub(crate) id: Uuid,
    /// The number of rows, including those that are already stored.
    pub(crate) rows: u32,
    /// The length of the rows, in bytes.
    pub(crate) bytes: usize,
    /// The time of the first row; `None` if an earlier process has opened the block.
    pub(super) opened: Option<Instant>,
    pub(crate) progress: Arc<SharedProgress>,
    pub(super) state: Mutex<BlockState>,
}

/// The mutable state of a sealed block.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// The rows; `None` if they are only on disk.
    pub(crate) content: Option<BlockRows>,
    /// The location of the rows on disk.
    pub(crate) logged: Logged,
    /// The rows that are not stored yet, in order: the whole block, or parts of it.
    pub(crate) parts: Parts,
    /// The idempotency keys of the rows, until the block is complete on disk.
    pub(crate) keys: Box<[RowKey]>,
    /// The server that may have rows in doubt: the address of one of a shard's, or one of the writer's,
    /// as the deliveries name it.
    pub(crate) sent_to: Option<Arc<str>>,
}

impl SealedBlock {
    /// Returns a block that is only on disk.
    pub(crate) fn on_disk(
        layout: Arc<InsertTarget>,
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
            opened: None,
            progress: Arc::new(SharedProgress::new(progress)),
            state: Mutex::new(BlockState {
                content: None,
                logged,
                parts,
                keys: Box::default(),
                sent_to: None,
            }),
        }
    }

    /// Returns a block with its rows in memory that was read from a shared log. `is_in_doubt`:
    /// another process may have stored some of the rows.
    pub(crate) fn from_shared_log(layout: Arc<InsertTarget>, id: Uuid, rows: BlockRows, is_in_doubt: bool) -> Self {
        let count = u32::try_from(rows.ends.len()).unwrap_or(u32::MAX);
        let mut parts = Parts::whole(count);
        if is_in_doubt {
            parts.doubt(&Part::from(0..count));
        }
        Self {
            layout,
            id,
            rows: count,
            bytes: rows.bytes.len(),
            opened: None,
            progress: Arc::default(),
            state: Mutex::new(BlockState {
                content: Some(rows),
                logged: Logged::default(),
                parts,
                keys: Box::default(),
                sent_to: None,
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, BlockState> {
        // No holder of the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time since the first row; `None` if an earlier process has opened the block.
    ///
    /// It is the longer one of the times of two clocks: one may have been set back, and the other
    /// stops while the machine sleeps.
    pub(crate) fn age(&self) -> Option<Duration> {
        let monotonic = self.opened?.elapsed();
        let (seconds, nanos) = self.id.get_timestamp()?.to_unix();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH + Duration::new(seconds, nanos));
        Some(monotonic.max(wall.unwrap_or_default()))
    }

    /// Returns the oldest rows that are not stored.
    pub(crate) fn next_part(&self) -> Option<Part> {
        self.state().parts.iter().next()
    }

    /// Returns the id of the block with a row's dead letter; `None` if this block is a dead letter.
    pub(crate) fn dead_letter_id(&self, row: u32) -> Option<Uuid> {
        dead_letter_id(self.id, row)
    }

    /// Returns the id of the block with the dead letters about rows that stay in this block. `row`
    /// is the first of those rows.
    ///
    /// The id is the block's id with the row's number in its random bits, as version 4, which no
    /// other block has.
    pub(crate) fn notice_id(&self, row: u32) -> Uuid {
        const VERSION: u128 = 0xf << 76;
        let id = self.id.as_u128() ^ u128::from(row);
        Uuid::from_u128(id & !VERSION | 4 << 76)
    }

    /// Returns the `insert_deduplication_token` of a part. ClickHouse stores the rows once, however
    /// often they are sent under it.
    ///
    /// The token of rows with gaps between them covers exactly these rows.
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

/// Returns the id of the block with the dead letter of a block's row; `None` if the block is a dead
/// letter. The same row always has the same dead letter, however often it is refused.
///
/// The id is the block's id with the row's number in its random bits, as version 8, which no other
/// block has.
pub(crate) fn dead_letter_id(block: Uuid, row: u32) -> Option<Uuid> {
    const VERSION: u128 = 0xf << 76;
    let id = block.as_u128() ^ u128::from(row);
    (!is_dead_letter(block)).then(|| Uuid::from_u128(id & !VERSION | 8 << 76))
}

/// Returns whether a block has the dead letters of rows of `block`: its id is that of
/// [`dead_letter_id`] or of [`SealedBlock::notice_id`].
pub(crate) fn is_of_row(dead_letters: Uuid, block: Uuid) -> bool {
    const VERSION: u128 = 0xf << 76;
    let difference = (dead_letters.as_u128() ^ block.as_u128()) & !VERSION;
    matches!(dead_letters.get_version_num(), 4 | 8) && difference <= u128::from(u32::MAX)
}

/// Returns whether a block's id belongs to the dead letter of another block's row.
pub(crate) fn is_dead_letter(block: Uuid) -> bool {
    block.get_version_num() == 8
}
