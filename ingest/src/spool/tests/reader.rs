//! Reader: the blocks that delivery gets, and their lengths.

use std::time::Duration;

use crate::{
    ack::Ack,
    block::{BlockLimits, parts::Part},
    spool::{Appender, LogLimits, Outcome, Spool, SpoolLimits, TableReader, reader::Found, tests::world::layouts},
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
    keys: 1_000,
};

struct World {
    appender: Appender,
    reader: TableReader,
}

impl World {
    fn new() -> Self {
        let spool = Spool::in_memory(layouts(1), LIMITS);
        Self {
            appender: spool.appender(),
            reader: spool.readers()[0].clone(),
        }
    }

    fn append(&self, bytes: usize) {
        for _ in 0..bytes {
            let row = self.appender.append(self.reader.id(), Ack::Accepted, |out| out.push(7));
            assert!(row.is_ok());
        }
    }

    fn sealed(&self) -> Vec<usize> {
        let blocks = self.reader.queue().lock();
        blocks.sealed.iter().map(|block| block.bytes).collect()
    }

    /// Settles the block that would be sent next and returns its length.
    fn settle_next(&self) -> Option<usize> {
        let Found::Rows(block, _) = self.reader.check() else {
            return None;
        };
        self.reader.settle(&block, &Part::from(0..block.rows), Outcome::Stored);
        Some(block.bytes)
    }
}

#[test]
fn a_block_in_a_backlog_becomes_longer() {
    let world = World::new();
    world.append(30 + 30 + 30 + 25);
    assert_eq!(world.sealed(), [10, 10, 10, 30, 30]);
    for left in [&[10, 10, 30, 30][..], &[10, 30, 30], &[30, 30]] {
        assert_eq!(world.settle_next(), Some(10));
        assert_eq!(world.sealed(), left);
    }
    // Fewer blocks than `WAITING_BLOCKS` wait now, so the usual limits apply.
    world.append(1);
    assert_eq!(world.sealed(), [30, 30, 26]);
}

#[test]
fn a_full_oldest_block_does_not_wait_for_its_age() {
    let world = World::new();
    world.append(30 + 25);
    assert_eq!(world.sealed(), [10, 10, 10]);
    for bytes in [10, 10, 10, 25] {
        assert_eq!(world.settle_next(), Some(bytes));
    }
    world.append(9);
    assert_eq!(world.settle_next(), None);
}
