//! Sealed blocks: rows that nothing changes any more.

use std::{
    hash::Hasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use twox_hash::XxHash64;
use uuid::Uuid;

use crate::block::{
    content::BlockRows,
    layout::InsertTarget,
    logged::Logged,
    parts::{Part, Parts},
    progress::{Progress, SharedProgress},
};

/// A block whose rows nothing changes any more.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    pub(crate) layout: Arc<InsertTarget>,
    /// Its name for ever; a version 7 UUID, so that ids sort as blocks were opened, but for [letters](Self::letter_id).
    pub(crate) id: Uuid,
    /// The number of rows, those that are already stored included.
    pub(crate) rows: u32,
    /// The length of the rows.
    pub(crate) bytes: usize,
    pub(crate) progress: Arc<SharedProgress>,
    pub(super) state: Mutex<BlockState>,
}

/// What does change of a sealed block.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// The rows; none where they are on disk alone.
    pub(crate) content: Option<BlockRows>,
    /// Where they are on disk.
    pub(crate) logged: Logged,
    /// What is not stored yet, in its order: the whole block, or what is left of its halves.
    pub(crate) parts: Parts,
}

impl SealedBlock {
    /// Returns a block that is on disk alone.
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
