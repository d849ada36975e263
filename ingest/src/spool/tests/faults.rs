//! Faults: what the disk does to acknowledged rows. Each case here has once lost some.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{pin::pin, sync::Arc, task::Context, task::Waker};

use crate::{
    ack::Ack,
    block::{parts::Part, sealed::SealedBlock},
    spool::{
        Outcome, SpoolLimits,
        disk::Disk,
        log::LogLimits,
        recover::read_rows,
        tests::limits::{LIMITS, World},
    },
};

/// Returns limits with which each batch gets a new segment.
fn small_segments(max_bytes: u64) -> SpoolLimits {
    let log = LogLimits {
        segment_bytes: 1,
        max_bytes,
    };
    SpoolLimits { log, ..LIMITS }
}

/// Appends a row, writes it to disk in as many rounds as that takes, and returns whether it was
/// acknowledged.
fn append(world: &mut World, lane: usize, row: &[u8]) -> bool {
    let receipt = world.spool.append(lane, Ack::Spooled, |out| out.extend_from_slice(row));
    world.commit();
    world.commit();
    let waiting = receipt.unwrap().waiting.unwrap();
    waiting.progress.look(|progress| progress.level(&waiting.rows)) >= Ack::Spooled
}

/// Returns how many rows the next process finds.
fn rows_after_loss_of_power(world: World) -> u64 {
    let world = world.after_loss_of_power();
    world.spool.counts().iter().map(|counts| counts.rows_pending).sum()
}

fn home(block: &SealedBlock) -> u64 {
    block.state().logged.segment.unwrap()
}

#[test]
fn rows_behind_half_a_mark_that_could_not_be_cut_off_are_not_lost() {
    let mut world = World::new(LIMITS);
    // One block is stored and another one is open, so that the mark is appended to the active
    // segment.
    assert!(append(&mut world, 0, b"open"));
    assert!(append(&mut world, 1, b"stored"));
    assert!(world.next_block(1).is_none());
    world.commit();
    let stored = world.next_block(1).unwrap();
    {
        let mut disk = world.disk.0.lock().unwrap();
        (disk.fails_after, disk.truncate_fails) = (Some(10), true);
    }
    world.spool.settle(1, &stored, &Part::from(0..1), Outcome::Stored);
    world.commit();
    for row in 0..20 {
        assert!(append(&mut world, 2, &[row; 30]), "the disk is well again");
    }
    assert!(append(&mut world, 0, b"open"));
    // The rows are where this process looks for them, and where the next one does.
    let block = world.next_block(2).unwrap();
    let rows = read_rows(&*world.disk, block.id, &block.state().logged, &Part::from(0..4));
    assert_eq!(rows.unwrap().bytes.len(), 4 * 30);
    let world = world.after_loss_of_power();
    let pending: Vec<_> = world.spool.counts().iter().map(|counts| counts.rows_pending).collect();
    assert_eq!((pending[0], pending[2]), (2, 20));
}

#[test]
fn a_mark_behind_half_a_mark_that_could_not_be_cut_off_is_found() {
    for marks in [1, 2] {
        let mut world = World::new(small_segments(1 << 20));
        for lane in [0, 1] {
            for _ in 0..2 {
                world.spool.append(lane, Ack::Spooled, |out| out.push(7)).unwrap();
            }
        }
        world.commit();
        assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
        world.commit();
        let blocks = [0, 1].map(|lane| world.next_block(lane).unwrap());
        assert_eq!(home(&blocks[0]), home(&blocks[1]));
        {
            let mut disk = world.disk.0.lock().unwrap();
            (disk.fails_after, disk.truncate_fails) = (Some(10), true);
        }
        for (lane, block) in blocks.iter().enumerate().take(marks) {
            world.spool.settle(lane, block, &Part::from(0..2), Outcome::Refused);
        }
        world.commit();
        world.commit();
        assert_eq!(rows_after_loss_of_power(world), 4 - 2 * marks as u64);
    }
}

/// Returns a world with a block of two rows, in a segment that is worth compacting.
fn sparse() -> (World, Arc<SealedBlock>) {
    let mut world = World::new(small_segments(2 << 10));
    for _ in 0..2 {
        world.spool.append(0, Ack::Spooled, |out| out.push(7)).unwrap();
    }
    world
        .spool
        .append(1, Ack::Spooled, |out| out.extend_from_slice(&[7; 900]))
        .unwrap();
    world.commit();
    assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
    world.commit();
    let [block, other] = [0, 1].map(|lane| world.next_block(lane).unwrap());
    assert_eq!(home(&block), home(&other));
    world.spool.evict(0, &block);
    world.spool.settle(1, &other, &Part::from(0..1), Outcome::Stored);
    (world, block)
}

#[test]
fn one_block_at_a_time_is_read_to_be_moved() {
    let mut world = World::new(small_segments(3 << 10));
    let small = [0, 2, 3];
    for lane in small {
        world.spool.append(lane, Ack::Spooled, |out| out.push(7)).unwrap();
    }
    world
        .spool
        .append(1, Ack::Spooled, |out| out.extend_from_slice(&[7; 900]))
        .unwrap();
    world.commit();
    assert!((0..4).all(|lane| world.next_block(lane).is_none()));
    world.commit();
    let blocks = small.map(|lane| world.next_block(lane).unwrap());
    for (lane, block) in small.into_iter().zip(&blocks) {
        world.spool.evict(lane, block);
    }
    let large = world.next_block(1).unwrap();
    world.spool.settle(1, &large, &Part::from(0..1), Outcome::Stored);
    world.disk.0.lock().unwrap().is_full = true;
    for _ in 0..5 {
        world.commit();
    }
    let in_memory = blocks.iter().filter(|block| block.state().content.is_some());
    assert_eq!(
        in_memory.count(),
        1,
        "the others stay on disk as long as it takes nothing"
    );
}

/// Divides a block in two halves; the next round records that.
fn split(world: &mut World, block: &Arc<SealedBlock>) {
    let spool = Arc::clone(&world.spool);
    let mut split = pin!(spool.cut(block, 1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(split.as_mut().poll(&mut context).is_pending());
    world.commit();
    assert!(matches!(
        split.as_mut().poll(&mut context),
        std::task::Poll::Ready(Ok(()))
    ));
}

#[test]
fn a_block_is_moved_out_of_a_segment_that_is_worth_it() {
    let (mut world, block) = sparse();
    let before = home(&block);
    world.commit();
    world.commit();
    assert!(home(&block) > before && !world.disk.segments().unwrap().contains(&before));
}

#[test]
fn halves_are_not_forgotten_when_their_block_was_about_to_move() {
    // The block is divided in the round that would move it, or while it waits to be written.
    for waits in [false, true] {
        let (mut world, block) = sparse();
        if waits {
            world.disk.0.lock().unwrap().is_full = true;
            world.commit();
            world.disk.0.lock().unwrap().is_full = false;
        }
        split(&mut world, &block);
        world.commit();
        world.commit();
        drop(block);
        let world = world.after_loss_of_power();
        let parts: Vec<_> = world
            .next_block(0)
            .unwrap()
            .state()
            .parts
            .iter()
            .map(|part| part.bounds())
            .collect();
        assert_eq!(parts, [0..1, 1..2], "waits: {waits}");
    }
}

#[test]
fn halves_are_not_forgotten_when_their_block_has_moved() {
    let (mut world, block) = sparse();
    let before = home(&block);
    world.commit();
    world.commit();
    assert!(home(&block) > before);
    split(&mut world, &block);
    drop(block);
    let world = world.after_loss_of_power();
    let parts: Vec<_> = world
        .next_block(0)
        .unwrap()
        .state()
        .parts
        .iter()
        .map(|part| part.bounds())
        .collect();
    assert_eq!(parts, [0..1, 1..2]);
}

/// A spool on a real disk, whose folder is deleted.
mod deleted {
    use std::{fs, path::Path};

    use super::*;
    use crate::block::layout::InsertTarget;
    use crate::spool::{Outcome, Spool, commit::Round, disk::Folder, log::Log, queue::Found};

    fn open(folder: &Path) -> (Spool, Log) {
        let tables =
            ["a", "b"].map(|table| Arc::new(InsertTarget::new(table.into(), "INSERT".into(), [].into(), None)));
        let disk = Folder::lock(folder).unwrap().unwrap();
        Spool::recovered(Arc::new(disk), folder, tables.into(), LIMITS).unwrap()
    }

    /// Runs rounds until there is nothing left to write, including rounds that fail.
    fn commit(spool: &Spool, log: &mut Log) {
        for _ in 0..10 {
            if matches!(
                spool.round(spool.log.as_ref().unwrap(), log, &mut Vec::new()),
                Ok(Round::Idle)
            ) {
                return;
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn rows_that_are_acknowledged_are_in_a_file_that_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let (spool, mut log) = open(&path);
        let append = |lane, row: u8| {
            spool
                .append(lane, Ack::Spooled, |out| out.push(row))
                .unwrap()
                .waiting
                .unwrap()
        };
        append(0, 1);
        commit(&spool, &mut log);
        fs::remove_dir_all(&path).unwrap();

        let second = append(0, 2);
        let first_try = spool.round(spool.log.as_ref().unwrap(), &mut log, &mut Vec::new());
        assert!(
            first_try.is_err() && spool.is_failing(),
            "it is noticed before the answer"
        );
        assert!(second.progress.look(|progress| progress.level(&second.rows)) < Ack::Spooled);
        commit(&spool, &mut log);
        assert!(second.progress.look(|progress| progress.level(&second.rows)) >= Ack::Spooled);
        assert!(
            Folder::lock(&path).unwrap().is_none(),
            "the new folder is this process' own"
        );

        // Rows that were in memory are on disk again, including those acknowledged before.
        drop((spool, log));
        let (spool, _log) = open(&path);
        assert_eq!(spool.counts()[0].rows_pending, 2);
    }

    #[tokio::test]
    async fn rows_that_were_in_a_deleted_file_alone_do_not_hold_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let (spool, mut log) = open(&path);
        let spool = Arc::new(spool);
        for row in 0..4 {
            spool.append(0, Ack::Spooled, |out| out.push(row)).unwrap();
        }
        commit(&spool, &mut log);
        let Found::Rows(block, part) = spool.look(&spool.lanes[0]) else {
            panic!("no block")
        };
        spool.evict(0, &block);
        fs::remove_dir_all(&path).unwrap();
        // As long as the folder is missing, it may come back.
        assert!(spool.rows(&block, &part).await.is_err());
        spool.append(1, Ack::Spooled, |out| out.push(7)).unwrap();
        commit(&spool, &mut log);
        assert!(spool.rows(&block, &part).await.unwrap().ends.is_empty());
        spool.settle(0, &block, &part, Outcome::Lost);
        commit(&spool, &mut log);
        assert_eq!(spool.counts()[0].rows_pending, 0);
    }
}
