//! Commit: the frames that a commit writes, its urgency, and the rows left after a failure or at
//! the end.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{pin::pin, sync::Arc, task::Context, task::Waker, time::Duration};

use crate::{
    ack::Ack,
    block::parts::Part,
    spool::{
        LogLimits, Outcome, SpoolLimits,
        commit::Remaining,
        disk::Disk,
        frame::{self, Kind, SegmentHeader},
        reader::Found,
        scan::scan,
        signal::COMMIT_INTERVAL,
        tests::{
            disk::SimulatedDisk,
            world::{LIMITS, World},
        },
    },
};

use Kind::{Done, Open, Rows, Seal, Split, Synced};

/// Returns the kinds of the frames in each segment.
fn frames(disk: &SimulatedDisk) -> Vec<Vec<Kind>> {
    let kinds = |segment| {
        let bytes = disk.read(segment).unwrap();
        let SegmentHeader::Known(format) = frame::read_segment_header(&bytes) else {
            panic!("not a segment")
        };
        let scan = scan(&bytes, format, 0);
        assert!(scan.damage.is_empty() && scan.torn.is_empty());
        scan.frames.iter().map(|frame| frame.header.kind).collect()
    };
    disk.segments().unwrap().into_iter().map(kinds).collect()
}

/// Changes a world before a commit.
type Step = fn(&mut World);

fn append(world: &mut World) {
    world.append(0, Ack::Spooled, b"row").unwrap();
}

fn append_to_both(world: &mut World) {
    append(world);
    world.append(1, Ack::Spooled, b"row").unwrap();
}

fn append_a_block(world: &mut World) {
    (0..LIMITS.blocks.rows).for_each(|_| append(world));
}

/// Settles the first row of the oldest block.
fn settle_one(world: &mut World) {
    let block = world.next_block(0).unwrap();
    world.readers[0].settle(&block, &Part::from(0..1), Outcome::Stored);
}

/// Requests a cut of the oldest block, without waiting for it.
fn cut(world: &mut World) {
    let block = world.next_block(0).unwrap();
    let reader = world.readers[0].clone();
    let mut cut = pin!(reader.cut(&block, 2));
    let mut context = Context::from_waker(Waker::noop());
    assert!(cut.as_mut().poll(&mut context).is_pending());
}

fn nothing(_: &mut World) {}

#[test]
fn a_commit_writes_only_new_frames() {
    // A commit follows each step.
    let cases: [(&str, &[Step], &[Kind]); 8] = [
        ("nothing", &[nothing], &[]),
        ("a row", &[append], &[Open, Rows, Open]),
        (
            "rows of a block that is on disk",
            &[append, append],
            &[Open, Rows, Open, Rows],
        ),
        ("no row twice", &[append, nothing], &[Open, Rows, Open]),
        ("a sealed block", &[append_a_block], &[Open, Rows, Open, Seal]),
        (
            "two tables, in one batch",
            &[append_to_both],
            &[Open, Rows, Open, Open, Rows, Open],
        ),
        (
            "stored rows of a block",
            &[append_a_block, settle_one],
            &[Open, Rows, Open, Seal, Done],
        ),
        ("a cut", &[append_a_block, cut], &[Open, Rows, Open, Seal, Split]),
    ];
    for (case, steps, expected) in cases {
        let mut world = World::new(LIMITS);
        for step in steps {
            step(&mut world);
            assert_eq!(world.commit_once().unwrap(), Remaining::Nothing, "{case}");
        }
        assert_eq!(frames(&world.disk).concat(), expected, "{case}");
    }
}

#[test]
fn a_full_segment_is_followed_by_a_new_one() {
    let log = LogLimits {
        segment_bytes: 1,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    append(&mut world);
    assert_eq!(world.commit_once().unwrap(), Remaining::Nothing);
    append(&mut world);
    // The open block ends with its segment. The commit writes its last row there, and ends it.
    assert_eq!(world.commit_once().unwrap(), Remaining::More);
    append(&mut world);
    assert_eq!(world.commit_once().unwrap(), Remaining::Nothing);
    let first = vec![Open, Rows, Open, Rows, Seal];
    assert_eq!(frames(&world.disk), [first, vec![Synced, Open, Rows, Open]]);
}

#[test]
fn each_change_has_its_urgency() {
    let close: Step = |world| world.spool.close();
    let stop: Step = |world| world.spool.stop();
    let accept: Step = |world| _ = world.append(0, Ack::Accepted, b"row").unwrap();
    let evict: Step = |world| {
        let block = world.next_block(0).unwrap();
        world.readers[0].evict(&block);
    };
    let refuse: Step = |world| {
        let block = world.next_block(0).unwrap();
        _ = world.readers[0]
            .persist_dead_letter(&block, 0, |out| out.push(b'!'))
            .unwrap();
    };
    let (never, soon, now) = (Some(Duration::MAX), Some(COMMIT_INTERVAL), None);
    let cases: [(&str, Step, Option<Duration>); 9] = [
        ("nothing", nothing, never),
        ("a row that no task waits for", accept, soon),
        ("a row that a task waits for", append, now),
        ("a sealed block", append_a_block, now),
        ("stored rows", settle_one, soon),
        ("a cut", cut, now),
        ("a dead letter of a row", refuse, now),
        ("an eviction", evict, never),
        ("the end of appends", close, never),
    ];
    for (case, step, delay) in cases.into_iter().chain([("the end of the log", stop, now)]) {
        let mut world = World::new(LIMITS);
        append_a_block(&mut world);
        world.commit();
        world.log().signal.reset();
        step(&mut world);
        assert_eq!(world.log().signal.max_delay(), delay, "{case}");
    }
}

#[test]
fn the_next_commit_writes_the_rows_of_a_failed_one() {
    for fault in ["a full disk", "a write", "a sync", "a sync and its truncation"] {
        for is_sealed in [false, true] {
            let mut world = World::new(LIMITS);
            // The segment is active, so that the write fails in it.
            append_to_both(&mut world);
            world.commit();
            {
                let mut disk = world.disk.0.lock().unwrap();
                match fault {
                    "a full disk" => disk.is_full = true,
                    "a write" => disk.fails_after = Some(10),
                    "a sync" => disk.sync_fails = true,
                    _ => (disk.sync_fails, disk.truncate_fails) = (true, true),
                }
            }
            let receipt = world.append(0, Ack::Spooled, b"row").unwrap().waiting.unwrap();
            if is_sealed {
                (0..LIMITS.blocks.rows - 2).for_each(|_| append(&mut world));
            }
            let level = || receipt.progress.read(|progress| progress.level(&receipt.rows));
            assert!(world.commit_once().is_err(), "{fault}");
            assert!(world.spool.is_failing() && level() < Ack::Spooled, "{fault}");
            assert!(receipt.progress.read(|progress| progress.is_failing), "{fault}");
            // While the disk fails, the spool accepts no row that requires it.
            assert!(world.append(1, Ack::Spooled, b"row").is_err(), "{fault}");

            // No append wakes the log.
            world.disk.0.lock().unwrap().is_full = false;
            world.commit();
            assert!(!world.spool.is_failing() && level() == Ack::Spooled, "{fault}");
            let rows = if is_sealed { LIMITS.blocks.rows as u64 } else { 2 };
            let world = world.after_loss_of_power();
            let pending: Vec<_> = world.spool.counts().iter().map(|counts| counts.rows_pending).collect();
            assert_eq!(pending[..2], [rows, 1], "{fault}");
        }
    }
}

#[test]
fn a_closed_spool_delivers_its_last_block_and_accepts_no_row() {
    let hour = Duration::from_secs(3600);
    let mut limits = LIMITS;
    limits.blocks.age = hour;
    let mut world = World::new(limits);
    append(&mut world);
    assert!(matches!(world.readers[0].check(), Found::Young(_)));
    assert!(matches!(world.readers[1].check(), Found::Nothing));

    world.spool.close();
    assert!(world.append(0, Ack::Accepted, b"late").is_err());
    assert_eq!(world.spool.counts()[0].rows_rejected_full, 1);
    assert!(matches!(world.readers[1].check(), Found::End));
    // The block is sealed although it is young, and delivery gets it once it is on disk.
    assert!(matches!(world.readers[0].check(), Found::Nothing));
    world.commit();
    let block = world.next_block(0).unwrap();
    world.readers[0].settle(&block, &Part::from(0..1), Outcome::Stored);
    assert!(matches!(world.readers[0].check(), Found::End));
}

#[test]
fn a_stopped_committer_writes_the_remaining_rows_and_ends() {
    for (fault, left) in [(false, 2), (true, 0)] {
        let world = World::new(LIMITS);
        world.append(0, Ack::Accepted, b"row").unwrap();
        world.append(1, Ack::Accepted, b"row").unwrap();
        world.disk.0.lock().unwrap().is_full = fault;
        world.spool.stop();
        let world = world.run_committer();
        let pending = world
            .spool
            .counts()
            .iter()
            .map(|counts| counts.rows_pending)
            .sum::<u64>();
        assert_eq!(pending, left, "the disk fails: {fault}");
    }
}

#[test]
fn a_stopped_committer_removes_segments_of_stored_rows() {
    let mut world = World::new(LIMITS);
    append_a_block(&mut world);
    world.commit();
    let block = world.next_block(0).unwrap();
    let all = Part::from(0..block.rows);
    world.readers[0].settle(&block, &all, Outcome::Stored);
    world.spool.stop();
    let disk = Arc::clone(&world.disk);
    drop(world.run_committer());
    assert!(disk.segments().unwrap().is_empty());
}

#[test]
fn a_block_with_an_awaited_row_does_not_become_older() {
    let mut world = World::new(LIMITS);
    let reader = world.readers[0].clone();
    reader.set_block_age(Duration::from_secs(3600));
    for round in 0..2 {
        world.append(0, Ack::Spooled, b"a").unwrap();
        assert!(matches!(reader.check(), Found::Young(_)), "{round}");
        world.append(0, Ack::Stored, b"b").unwrap();
        world.append(0, Ack::Spooled, b"c").unwrap();
        // It is sealed, and delivery gets it once it is on disk.
        assert!(matches!(reader.check(), Found::Nothing), "{round}");
        world.commit();
        let block = world.next_block(0).unwrap();
        assert_eq!(block.rows, 3);
        reader.settle(&block, &Part::from(0..3), Outcome::Stored);
    }
    assert_eq!(reader.take_sealed(), (2, 0));
    assert_eq!(reader.take_sealed(), (0, 0));
}
