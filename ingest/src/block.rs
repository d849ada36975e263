//! Blocks: the rows of one table that are inserted together.
//!
//! A [`Block`] takes rows, encoded straight into it, and becomes a [`SealedBlock`] once it is large or old enough. Promises: a
//! block holds whole rows only, even if an encoder panics halfway, and a sealed block never changes, so that each try to
//! insert it sends the same bytes under the same token.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::table::Table;

/// What a row takes in memory beside its bytes: the end offset that a refused block is cut by.
pub(crate) const ROW_OVERHEAD: usize = size_of::<u32>();

/// When an open block is sealed; whatever comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockLimits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

impl BlockLimits {
    /// Returns whether `block` has to be sealed before another row comes.
    pub(crate) fn are_reached_by(&self, block: &Block) -> bool {
        block.rows() >= self.rows || block.committed() >= self.bytes
    }
}

/// A block that still takes rows.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Rows in the table's [`Format`](crate::table::Format). What lies behind the last end is no row.
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<u32>,
    opened_at: Option<Instant>,
}

impl Block {
    /// Lets `encode` write one row behind the others, and keeps it if `admit` allows its cost in bytes of memory.
    ///
    /// Returns whether the row was kept. `encode` must only append.
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>), admit: impl FnOnce(usize) -> bool) -> bool {
        let start = self.committed();
        // An encoder that panicked may have left a part of its row here.
        self.bytes.truncate(start);
        encode(&mut self.bytes);
        debug_assert!(self.bytes.len() >= start, "an encoder must only append");
        let cost = self.bytes.len().saturating_sub(start) + ROW_OVERHEAD;
        let end = u32::try_from(self.bytes.len()).ok().filter(|_| admit(cost));
        match end {
            Some(end) => {
                self.ends.push(end);
                self.opened_at.get_or_insert_with(Instant::now);
                true
            }
            None => {
                self.bytes.truncate(start);
                false
            }
        }
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Returns when the first row came; none while there is no row.
    pub(crate) fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Returns the memory that the rows take.
    pub(crate) fn cost(&self) -> usize {
        self.committed() + self.rows() * ROW_OVERHEAD
    }

    /// Takes the rows out as a sealed block and leaves an empty one; none if there is no row.
    pub(crate) fn seal(&mut self, table: &'static Table) -> Option<SealedBlock> {
        self.bytes.truncate(self.committed());
        self.opened_at = None;
        if self.ends.is_empty() {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut ends = std::mem::take(&mut self.ends);
        // A vector grows by doubling; waiting blocks must not take twice the memory that they are counted for.
        bytes.shrink_to_fit();
        ends.shrink_to_fit();
        Some(SealedBlock {
            table,
            id: Uuid::now_v7(),
            bytes: bytes.into(),
            ends,
        })
    }

    /// Returns the length of the whole rows.
    fn committed(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }
}

/// A block that nothing changes any more.
#[derive(Debug)]
pub(crate) struct SealedBlock {
    /// The table that its rows are for.
    pub(crate) table: &'static Table,
    /// Its name for ever; a version 7 UUID, so that ids sort as blocks were sealed.
    pub(crate) id: Uuid,
    /// The rows, as they are sent.
    pub(crate) bytes: Bytes,
    /// Where each row ends in `bytes`.
    pub(crate) ends: Vec<u32>,
}

impl SealedBlock {
    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Returns the memory that the block takes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + self.rows() * ROW_OVERHEAD
    }

    /// Returns the `insert_deduplication_token` under which ClickHouse takes this block once, however often it is sent.
    pub(crate) fn token(&self) -> String {
        format!("{}:{}", self.table.name, self.id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::table::Format;

    static TABLE: Table = Table {
        name: "t",
        index: 0,
        columns: &[],
        create: "",
        format: Format::RowBinary,
    };

    fn put(block: &mut Block, row: &[u8]) -> bool {
        block.append(|out| out.extend_from_slice(row), |_| true)
    }

    #[test]
    fn rows_lie_back_to_back_with_their_ends() {
        let mut block = Block::default();
        assert!(put(&mut block, b"one") && put(&mut block, b"") && put(&mut block, b"three"));
        assert_eq!((block.rows(), block.cost()), (3, 8 + 3 * ROW_OVERHEAD));

        let sealed = block.seal(&TABLE).unwrap();
        assert_eq!(&sealed.bytes[..], b"onethree");
        assert_eq!(sealed.ends, [3, 3, 8]);
        assert_eq!(sealed.cost(), 8 + 3 * ROW_OVERHEAD);
        assert_eq!((block.rows(), block.cost(), block.opened_at()), (0, 0, None));
        assert!(block.seal(&TABLE).is_none());
    }

    #[test]
    fn a_panic_in_an_encoder_leaves_no_part_of_a_row() {
        let mut block = Block::default();
        put(&mut block, b"one");
        for _ in 0..2 {
            let torn = catch_unwind(AssertUnwindSafe(|| {
                block.append(
                    |out| {
                        out.extend_from_slice(b"half");
                        panic!("an encoder's mistake");
                    },
                    |_| true,
                )
            }));
            assert!(torn.is_err());
        }
        assert_eq!(block.rows(), 1);
        put(&mut block, b"two");
        assert_eq!(&block.seal(&TABLE).unwrap().bytes[..], b"onetwo");
    }

    #[test]
    fn a_panic_before_sealing_leaves_no_part_of_a_row() {
        let mut block = Block::default();
        put(&mut block, b"one");
        let torn = catch_unwind(AssertUnwindSafe(|| {
            block.append(
                |out| {
                    out.push(0);
                    panic!("an encoder's mistake");
                },
                |_| true,
            )
        }));
        assert!(torn.is_err());
        assert_eq!(&block.seal(&TABLE).unwrap().bytes[..], b"one");
    }

    #[test]
    fn a_row_that_is_not_admitted_leaves_nothing() {
        let mut block = Block::default();
        let mut asked = 0;
        let kept = block.append(
            |out| out.extend_from_slice(b"row"),
            |cost| {
                asked = cost;
                false
            },
        );
        assert!(!kept);
        assert_eq!(asked, 3 + ROW_OVERHEAD);
        assert_eq!((block.rows(), block.opened_at()), (0, None));
        assert!(block.seal(&TABLE).is_none());
    }

    #[test]
    fn limits_are_reached_by_rows_or_by_bytes() {
        let by_rows = BlockLimits {
            rows: 2,
            bytes: 100,
            age: Duration::MAX,
        };
        let by_bytes = BlockLimits {
            rows: 100,
            bytes: 4,
            age: Duration::MAX,
        };
        let mut block = Block::default();
        put(&mut block, b"abc");
        assert!(!by_rows.are_reached_by(&block) && !by_bytes.are_reached_by(&block));
        put(&mut block, b"d");
        assert!(by_rows.are_reached_by(&block) && by_bytes.are_reached_by(&block));
    }

    #[test]
    fn equal_rows_in_two_blocks_have_two_tokens() {
        let mut block = Block::default();
        put(&mut block, b"same");
        let first = block.seal(&TABLE).unwrap();
        put(&mut block, b"same");
        let second = block.seal(&TABLE).unwrap();
        assert_eq!(first.token(), first.token());
        assert_ne!(first.token(), second.token());
        assert!(first.id < second.id, "ids sort as blocks were sealed");
    }
}
