//! Limits: usage stays under each bound, one table leaves space for the others, and delivery frees
//! space.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::{
    ack::Ack,
    block::{frame_format::FRAME_HEADER, parts::Part},
    spool::{
        LogLimits, Outcome, SpoolLimits,
        frame::SEGMENT_HEADER,
        signal::{COMMIT_INTERVAL, IDLE_DELAY},
        tests::world::{DEAD_LETTERS, LIMITS, TABLES, World},
    },
};

const ROW: &[u8] = &[7; 100];

/// A block on disk: each row in a separate frame, and twice the statement, which is short here.
const BLOCK: usize = 4 * (ROW.len() + 4) + 7 * FRAME_HEADER + 2 * 50;

#[test]
fn a_row_is_written_as_soon_as_a_task_waits_for_it() {
    let mut world = World::new(LIMITS);
    let mut after = |ack, is_idle: bool| {
        world.log().signal.reset();
        world.append(0, ack, ROW).unwrap();
        if is_idle {
            world.spool.on_idle();
        }
        let delay = world.log().signal.max_delay();
        world.commit();
        delay
    };
    assert_eq!(after(Ack::Accepted, false), Some(COMMIT_INTERVAL));
    assert_eq!(after(Ack::Spooled, false), None);
    // From here on, this thread notifies the signal when it is idle. The fourth row completes the
    // block.
    assert_eq!(after(Ack::Accepted, true), Some(COMMIT_INTERVAL));
    assert_eq!(after(Ack::Spooled, false), None, "a complete block does not wait");
    assert_eq!(after(Ack::Spooled, false), Some(IDLE_DELAY));
    assert_eq!(after(Ack::Stored, true), None);
}

#[test]
fn a_table_leaves_others_as_much_disk_as_it_uses() {
    let mut world = World::new(LIMITS);
    let half = LIMITS.log.max_bytes as usize / 2;
    let about = |bytes: usize| bytes - 2 * BLOCK..bytes + 2 * BLOCK;
    let rows = world.fill(0, ROW);
    assert!(about(half).contains(&world.disk.bytes()), "{}", world.disk.bytes());
    assert!(!world.spool.is_failing(), "the bound applies before the disk is full");
    world.fill(1, ROW);
    assert!(
        about(half + half / 2).contains(&world.disk.bytes()),
        "{}",
        world.disk.bytes()
    );

    world.deliver_all(0);
    assert!(world.fill(2, ROW) > rows / 2);
}

#[test]
fn a_table_leaves_others_as_much_memory_as_it_uses() {
    let mut world = World::new(LIMITS);
    // The disk is full.
    world.disk.0.lock().unwrap().is_full = true;
    let accepted = |world: &World, table| {
        (0..)
            .take_while(|_| world.append(table, Ack::Accepted, ROW).is_ok())
            .count()
    };
    let half = LIMITS.memory_bytes / 2;
    let cost = ROW.len() + 4;
    assert_eq!(accepted(&world, 0), half / cost);
    world.commit();
    assert_eq!((accepted(&world, 0), world.spool.is_failing()), (0, true));
    assert!(accepted(&world, 1) >= half / 2 / cost);
    assert!(!world.spool.is_nearly_full());
    for table in 2..TABLES {
        accepted(&world, table);
    }
    assert!(world.spool.is_nearly_full());
    assert!(world.spool.memory_bytes() <= LIMITS.memory_bytes);
}

#[test]
fn the_overhead_of_frames_counts_toward_the_disk_bound() {
    let mut world = World::new(LIMITS);
    for table in 0..TABLES {
        // A row of one byte uses more than fifty on disk.
        world.fill(table, b"x");
        assert!(
            world.disk.bytes() <= LIMITS.log.max_bytes as usize + BLOCK,
            "{}",
            world.disk.bytes()
        );
    }
    for table in 0..TABLES {
        world.deliver_all(table);
    }
    assert!(world.disk.bytes() <= LIMITS.log.segment_bytes as usize + SEGMENT_HEADER + BLOCK);
    assert!(world.fill(0, ROW) > 0, "there is space again");
}

#[test]
fn rows_in_memory_do_not_exceed_the_disk_bound() {
    let log = LogLimits {
        max_bytes: 2 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    for row in 0..54 {
        let table = row % TABLES;
        assert!(world.append(table, Ack::Accepted, ROW).is_ok(), "{row}");
    }
    world.commit();
    let bytes = world.disk.bytes();
    assert!(
        (log.max_bytes as usize..log.max_bytes as usize + BLOCK).contains(&bytes),
        "{bytes}"
    );
    assert!(world.spool.is_failing());
}

#[test]
fn refused_rows_get_dead_letters_on_a_full_disk() {
    let log = LogLimits {
        max_bytes: 2 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    for row in 0..54 {
        let receipt = world.append(row % TABLES, Ack::Accepted, ROW);
        assert!(receipt.is_ok(), "{row}");
    }
    world.commit();
    assert!(world.spool.is_failing());

    let block = world.next_block(0).unwrap();
    for row in 0..block.rows {
        let dead_letter = world.readers[0]
            .persist_dead_letter(&block, row, |out| out.extend_from_slice(ROW))
            .unwrap();
        // A commit that ends a full segment writes no block; the next commit does.
        world.commit();
        world.commit();
        assert!(dead_letter.progress.read(|progress| progress.on_disk == 1), "{row}");
        let part = Part::from(row..row + 1);
        world.readers[0].settle(&block, &part, Outcome::Refused);
        world.readers[0].release_dead_letter(dead_letter);
    }
    assert!(block.next_part().is_none());
}

#[test]
fn dead_letters_leave_most_of_the_space_to_rows() {
    let (rows, dead_letters) = (0, DEAD_LETTERS);
    let mut world = World::new(LIMITS);
    let dropped = |world: &World| world.spool.counts()[dead_letters].rows_rejected_full;

    // In memory, as long as nothing is written to disk …
    let in_memory = (0..100).filter(|_| world.append(dead_letters, Ack::Accepted, ROW).is_ok());
    assert_eq!(in_memory.count(), LIMITS.memory_bytes / 8 / (ROW.len() + 4));
    assert_eq!(dropped(&world), 100 - 9);
    // … and on disk.
    world.commit();
    world.fill(dead_letters, ROW);
    let share = LIMITS.log.max_bytes as usize / 8;
    assert!(
        (share..share + LIMITS.memory_bytes / 8 + 2 * BLOCK).contains(&world.disk.bytes()),
        "{}",
        world.disk.bytes()
    );
    assert!(!world.spool.is_failing());

    // A row that ClickHouse refuses has been acknowledged, so its dead letter may exceed the share.
    for _ in 0..3 {
        world.append(rows, Ack::Spooled, &[7]).unwrap();
    }
    world.commit();
    assert!(world.next_block(rows).is_none());
    world.commit();
    let block = world.next_block(rows).unwrap();
    assert!(
        world.readers[0]
            .persist_dead_letter(&block, 0, |out| out.push(8))
            .is_ok()
    );

    let of_rows = world.fill(rows, ROW) * ROW.len();
    // Each row is in a separate frame, which uses half as much again, and each block has its
    // statement twice.
    assert!(of_rows > LIMITS.log.max_bytes as usize / 6, "{of_rows}");
    world.deliver_all(dead_letters);
    assert!(world.fill(dead_letters, ROW) > 0, "there is space again");
}

#[test]
fn the_spool_reports_nearly_full_before_the_disk_is_full() {
    let log = LogLimits {
        max_bytes: 256 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    world.fill(0, ROW);
    assert!(!world.spool.is_nearly_full());
    for table in 1..TABLES {
        world.fill(table, ROW);
    }
    assert!(world.spool.is_nearly_full() && !world.spool.is_failing());
    assert!(
        world.spool.memory_bytes() < LIMITS.memory_bytes / 2,
        "memory is not the cause"
    );
    world.deliver_all(0);
    assert!(!world.spool.is_nearly_full());
}
