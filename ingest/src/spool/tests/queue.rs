//! Queue: the usage that the queues count, and the blocks that they schedule for the log.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use crate::{
    ack::Ack,
    block::{parts::Part, rows::RowBatch},
    spool::{
        LogLimits, Outcome, Spool, SpoolLimits, TableReader,
        read::read_block,
        tests::world::{DEAD_LETTERS, LIMITS, World, assert_counted, keys, layouts},
    },
    table::dead_letter::REJECTED,
};

fn assert_recounted(world: &World) {
    assert_counted(&world.readers, std::iter::empty());
}

#[test]
fn each_change_of_a_block_is_counted() {
    // Each batch gets a new segment.
    let log = LogLimits {
        segment_bytes: 1,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    let cost = 7 + 4;
    let usage = |world: &World| {
        let blocks = world.readers[0].queue().lock();
        (blocks.in_memory(), blocks.on_disk())
    };

    // An open block is in memory alone, also once it is on disk: it is not complete there.
    world.append(0, Ack::Accepted, b"any row").unwrap();
    assert_eq!(usage(&world), (cost, 0));
    world.commit();
    assert_eq!(usage(&world), (cost, 0));
    assert_recounted(&world);

    // A sealed block is on disk once the commit is done, and stays in memory while it is next.
    assert!(world.next_block(0).is_none());
    world.commit();
    let block = world.next_block(0).unwrap();
    let on_disk = usage(&world).1;
    assert!(on_disk > 0);
    assert_eq!(usage(&world), (cost, on_disk));
    assert_recounted(&world);

    // A second eviction frees nothing more.
    for _ in 0..2 {
        world.readers[0].evict(&block);
        assert_eq!(usage(&world), (0, on_disk));
        assert_recounted(&world);
    }

    // A loaded block is in memory again; a second load uses no more.
    let content = read_block(world.log(), &block, &Part::from(0..1)).unwrap();
    for _ in 0..2 {
        world.readers[0].queue().lock().load(&block, content.clone());
        assert_eq!(usage(&world), (cost, on_disk));
        assert_recounted(&world);
    }

    // A settled block uses nothing.
    world.readers[0].settle(&block, &Part::from(0..1), Outcome::Stored);
    assert_eq!(usage(&world), (0, 0));
    assert_recounted(&world);
}

#[test]
fn dead_letters_are_counted() {
    let mut world = World::new(LIMITS);
    world.append(0, Ack::Spooled, b"bad").unwrap();
    assert!(world.next_block(0).is_none());
    world.commit();
    let block = world.next_block(0).unwrap();
    let dead_letter = world.readers[0].persist_dead_letter(&block, 0, |out| out.extend_from_slice(b"letter"));
    let dead_letter = dead_letter.unwrap();
    assert_recounted(&world);
    world.commit();
    assert_counted(&world.readers, [&*dead_letter].into_iter());
    assert_eq!(
        world.readers[DEAD_LETTERS].queue().lock().in_memory(),
        0,
        "it is on disk"
    );
    world.readers[0].settle(&block, &Part::from(0..1), Outcome::Refused);
    world.readers[0].release_dead_letter(dead_letter);
    assert_recounted(&world);
}

#[test]
fn recovered_blocks_count_only_on_disk() {
    let mut world = World::new(LIMITS);
    world.fill(0, &[7; 100]);
    world.commit();
    let world = world.after_loss_of_power();
    let blocks = world.readers[0].queue().lock();
    assert_eq!(blocks.in_memory(), 0);
    assert!(blocks.on_disk() > 0);
    drop(blocks);
    assert_recounted(&world);
}

#[test]
fn a_block_that_moves_is_counted_once() {
    let log = LogLimits {
        segment_bytes: 1,
        max_bytes: 2 << 10,
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    world.append(0, Ack::Spooled, b"stays").unwrap();
    world.append(1, Ack::Spooled, &[7; 900]).unwrap();
    world.commit();
    assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
    world.commit();
    let [block, other] = [0, 1].map(|table| world.next_block(table).unwrap());
    let before = block.state().logged.segment;
    world.readers[0].evict(&block);
    world.readers[1].settle(&other, &Part::from(0..1), Outcome::Stored);
    for _ in 0..3 {
        _ = world.commit_once();
        assert_recounted(&world);
    }
    assert!(block.state().logged.segment > before);
}

#[test]
fn rejected_rows_leave_the_queue_unchanged() {
    for has_open_block in [false, true] {
        let world = World::new(LIMITS);
        if has_open_block {
            world.append(0, Ack::Accepted, b"before").unwrap();
        }
        let before = world.spool.memory_bytes();
        world.readers[0].queue().take_dirty();

        assert!(world.append(0, Ack::Spooled, &[7; 20 << 10]).is_err());
        let id = world.readers[0].id();
        let panics = AssertUnwindSafe(|| {
            _ = world.appender.append(id, Ack::Spooled, |out| {
                out.extend_from_slice(b"half a row");
                panic!("a test's own");
            });
        });
        assert!(catch_unwind(panics).is_err());
        assert_eq!(world.spool.memory_bytes(), before);
        assert!(!world.readers[0].queue().is_dirty(), "no row is new");

        world.append(0, Ack::Spooled, b"after").unwrap();
        let blocks = world.readers[0].queue().lock();
        let expected: &[u8] = if has_open_block { b"beforeafter" } else { b"after" };
        assert_eq!(blocks.open.content().0, expected);
        drop(blocks);
        assert_recounted(&world);
    }
}

#[test]
fn a_rejected_batch_leaves_earlier_rows_scheduled() {
    let mut world = World::new(LIMITS);
    world.append(0, Ack::Accepted, b"before").unwrap();
    world.commit();
    world.log().signal.reset();
    let mut rows = RowBatch::with_capacity_for(0);
    for _ in 0..4 {
        rows.push(&REJECTED, |out| out.extend_from_slice(&[7; 4 << 10]))
            .unwrap();
    }
    let id = world.readers[0].id();
    assert!(world.appender.append_rows(id, Ack::Stored, &mut rows).is_err());
    // The append has sealed the block, since the batch would exceed its limit of rows.
    assert!(world.readers[0].queue().is_dirty());
    assert_eq!(
        world.log().signal.max_delay(),
        None,
        "a sealed block is written at once"
    );
    world.commit();
    let block = world.next_block(0).unwrap();
    assert_eq!((block.rows, block.bytes), (1, 6));
    assert_recounted(&world);
}

#[test]
fn the_dead_letters_have_a_separate_queue() {
    let mut world = World::new(LIMITS);
    let flags: Vec<_> = world.readers.iter().map(TableReader::is_of_dead_letters).collect();
    assert_eq!(flags, [false, false, false, false, false, true]);
    assert_eq!(world.spool.id_of(&REJECTED), world.readers[DEAD_LETTERS].id());

    // Tables of an earlier build come after the dead letters.
    world.append(4, Ack::Spooled, b"row").unwrap();
    world.append(DEAD_LETTERS, Ack::Spooled, b"letter").unwrap();
    world.commit();
    let disk = Arc::clone(&world.disk);
    drop(world);
    let (spool, _committer) = Spool::recovered(disk, Path::new("simulated"), layouts(1), LIMITS, keys()).unwrap();
    let pending: Vec<_> = spool
        .counts()
        .into_iter()
        .map(|counts| (counts.table, counts.rows_pending))
        .collect();
    assert_eq!(pending, [("t0".into(), 0), (REJECTED.name.into(), 1), ("t4".into(), 1)]);
    let readers = spool.readers();
    assert_eq!(spool.id_of(&REJECTED), readers[1].id());
    assert!(readers[1].is_of_dead_letters() && !readers[2].is_of_dead_letters());
}
