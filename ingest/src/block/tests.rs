#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::block::parts::Part;

fn layout() -> Arc<InsertTarget> {
    Arc::new(InsertTarget::new(
        "t".into(),
        "INSERT INTO t FORMAT RowBinary".into(),
        [].into(),
        None,
    ))
}

fn sealed(block: &mut Block) -> (SealedBlock, BlockRows) {
    let sealed = block.seal(&layout()).unwrap();
    let content = sealed.state().content.clone().unwrap();
    (sealed, content)
}

fn put(block: &mut Block, row: &[u8]) -> bool {
    block.append(|out| out.extend_from_slice(row), |_| true)
}

#[test]
fn a_block_contains_its_rows_back_to_back_and_their_ends() {
    let mut block = Block::default();
    assert!(put(&mut block, b"one") && put(&mut block, b"") && put(&mut block, b"three"));
    assert_eq!((block.rows(), block.cost()), (3, 8 + 3 * ROW_OVERHEAD));

    let (sealed, content) = sealed(&mut block);
    assert_eq!(&content.bytes[..], b"onethree");
    assert_eq!(&content.ends[..], [3, 3, 8]);
    assert_eq!(
        (content.cost(), sealed.rows, sealed.bytes),
        (8 + 3 * ROW_OVERHEAD, 3, 8)
    );
    for (rows, bytes, ends) in [
        (0..2, &b"one"[..], &[3, 3][..]),
        (1..3, b"three", &[0, 5]),
        (0..3, b"onethree", &[3, 3, 8]),
        (2..3, b"three", &[5]),
        (1..1, b"", &[]),
    ] {
        let slice = content.slice(&rows);
        assert_eq!((&slice.bytes[..], &slice.ends[..]), (bytes, ends), "{rows:?}");
    }
    assert_eq!((block.rows(), block.cost(), block.opened().is_none()), (0, 0, true));
    assert!(block.seal(&layout()).is_none());
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
    assert_eq!(&sealed(&mut block).1.bytes[..], b"onetwo");
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
    assert_eq!(&sealed(&mut block).1.bytes[..], b"one");
}

#[test]
fn a_row_that_is_not_admitted_leaves_the_block_empty() {
    let mut block = Block::default();
    let mut requested = 0;
    let kept = block.append(
        |out| out.extend_from_slice(b"row"),
        |cost| {
            requested = cost;
            false
        },
    );
    assert!(!kept);
    assert_eq!(requested, 3 + ROW_OVERHEAD);
    assert!(block.rows() == 0 && block.opened().is_none());
    assert!(block.seal(&layout()).is_none());
}

#[test]
fn a_backlog_triples_the_byte_limit_up_to_the_maximum() {
    let limits = |bytes| BlockLimits {
        rows: 5,
        bytes,
        age: Duration::ZERO,
    };
    for (usual, longer) in [
        (10, 30),
        (MAX_BLOCK_BYTES / 2, MAX_BLOCK_BYTES),
        (MAX_BLOCK_BYTES, MAX_BLOCK_BYTES),
    ] {
        let limits = limits(usual).when_backlogged();
        assert_eq!((limits.rows, limits.bytes), (5, longer));
    }
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
    assert!(!by_rows.exceeded_by(&block) && !by_bytes.exceeded_by(&block));
    put(&mut block, b"d");
    assert!(by_rows.exceeded_by(&block) && by_bytes.exceeded_by(&block));
}

#[test]
fn a_large_block_reuses_the_buffer_of_an_earlier_one() {
    let mut block = Block::with_pool(Block::pool());
    let row = [b'x'; 1024];
    let mut fill = |rows: usize| {
        for _ in 0..rows {
            put(&mut block, &row);
        }
        sealed(&mut block)
    };
    drop(fill(2_000));
    let kept = |block: &Block| block.pool.acquire(usize::MAX).capacity();
    let (second, content) = fill(2_000);
    assert!(content.bytes.iter().all(|byte| *byte == b'x') && content.bytes.len() == 2_000 << 10);
    drop((second, content));
    // The next block takes the buffer …
    put(&mut block, &row);
    assert_eq!(kept(&block), 0);
    // … and returns it if it stays small; the block after that does not request one.
    drop(sealed(&mut block));
    block.pool.release(Vec::with_capacity(2 << 20));
    put(&mut block, &row);
    assert_eq!(kept(&block), 2 << 20);
}

#[test]
fn a_sealed_block_has_little_unused_capacity() {
    let mut block = Block::with_pool(Block::pool());
    // Growth by doubling would have a capacity of nearly twice as much.
    for _ in 0..2_100 {
        put(&mut block, &[b'x'; 1024]);
    }
    let length = sealed(&mut block).0.bytes;
    let capacity = block.pool.acquire(usize::MAX).capacity();
    assert!((length..=length + length / 8).contains(&capacity), "{capacity}");
}

#[test]
fn an_empty_block_keeps_no_large_buffer() {
    let mut block = Block::with_pool(Block::pool());
    for _ in 0..2_000 {
        put(&mut block, &[b'x'; 1024]);
    }
    drop(sealed(&mut block));
    let mut rows = RowBatch::default();
    for admit in [false, true] {
        assert_eq!(block.append_rows(&mut rows, |_| admit), admit);
        assert_eq!(block.bytes.capacity(), 0);
        assert!(!block.append(|out| out.push(1), |_| false));
        assert!(block.bytes.capacity() <= KEPT_CAPACITY);
    }
    assert!(block.pool.acquire(usize::MAX).capacity() >= 2_000 << 10);
}

#[test]
fn an_empty_block_takes_over_the_buffer_of_a_large_batch() {
    let table = &crate::table::dead_letter::REJECTED;
    let long = || {
        let mut rows = RowBatch::default();
        for byte in [b'a', b'b'] {
            rows.push(table, |out| out.resize(out.len() + WORTH_TAKING_OVER / 2, byte))
                .unwrap();
        }
        rows
    };
    let mut rows = long();
    let address = rows.bytes().as_ptr();
    let mut block = Block::default();
    assert!(block.append_rows(&mut rows, |cost| cost == WORTH_TAKING_OVER + 2 * ROW_OVERHEAD));
    assert_eq!((block.content().0.as_ptr(), rows.count()), (address, 0));
    // A block that has rows copies the batch.
    assert!(block.append_rows(&mut long(), |_| true));
    let half = u32::try_from(WORTH_TAKING_OVER / 2).unwrap();
    let (bytes, ends) = block.content();
    assert_eq!(ends, [half, 2 * half, 3 * half, 4 * half]);
    assert_eq!([0, half, 2 * half, 3 * half].map(|at| bytes[at as usize]), *b"abab");
    // Rows that are not admitted stay in their batch.
    let mut rows = long();
    assert!(!Block::default().append_rows(&mut rows, |_| false));
    assert_eq!(rows.count(), 2);
}

#[test]
fn equal_rows_in_two_blocks_have_two_tokens() {
    let mut block = Block::default();
    put(&mut block, b"same");
    let first = block.seal(&layout()).unwrap();
    put(&mut block, b"same");
    let second = block.seal(&layout()).unwrap();
    assert_ne!(first.token(&Part::from(0..1)), second.token(&Part::from(0..1)));
    assert!(first.id < second.id, "ids sort as blocks were opened");
}

#[test]
fn each_part_has_a_different_token() {
    let mut block = Block::default();
    for row in [b"a", b"b"] {
        put(&mut block, row);
    }
    let (block, _) = sealed(&mut block);
    assert_eq!(block.token(&Part::from(0..2)), format!("t:{}", block.id));
    assert_eq!(block.token(&Part::from(1..2)), format!("t:{}:1-2", block.id));
    assert_ne!(block.token(&Part::from(0..1)), block.token(&Part::from(1..2)));
}
