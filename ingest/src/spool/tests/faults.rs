//! Faults: failures of the disk lose no acknowledged row. Each case here has once lost some.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{pin::pin, sync::Arc, task::Context, task::Waker};

use crate::{
    ack::Ack,
    block::{parts::Part, receipt::Waiting, sealed::SealedBlock},
    spool::{
        Outcome, SpoolLimits,
        disk::Disk,
        log::LogLimits,
        read::read_rows,
        tests::world::{LIMITS, World},
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

/// Appends a row, writes it to disk with the necessary commits, and returns whether it was
/// acknowledged.
fn append(world: &mut World, table: usize, row: &[u8]) -> bool {
    let receipt = world.append(table, Ack::Spooled, row);
    world.commit();
    world.commit();
    let waiting = receipt.unwrap().waiting.unwrap();
    waiting.progress.read(|progress| progress.level(&waiting.rows)) >= Ack::Spooled
}

/// Returns the number of rows that the next process finds.
fn rows_after_loss_of_power(world: World) -> u64 {
    let world = world.after_loss_of_power();
    world.spool.counts().iter().map(|counts| counts.rows_pending).sum()
}

fn segment_of(block: &SealedBlock) -> u64 {
    block.state().logged.segment.unwrap()
}

#[test]
fn rows_after_a_torn_mark_are_not_lost() {
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
    world.readers[1].settle(&stored, &Part::from(0..1), Outcome::Stored);
    world.commit();
    for row in 0..20 {
        assert!(append(&mut world, 2, &[row; 30]), "the disk works again");
    }
    assert!(append(&mut world, 0, b"open"));
    // Both this process and the next one find the rows.
    let block = world.next_block(2).unwrap();
    let rows = read_rows(&*world.disk, block.id, &block.state().logged, &Part::from(0..4));
    assert_eq!(rows.unwrap().bytes.len(), 4 * 30);
    let world = world.after_loss_of_power();
    let pending: Vec<_> = world.spool.counts().iter().map(|counts| counts.rows_pending).collect();
    assert_eq!((pending[0], pending[2]), (2, 20));
}

#[test]
fn a_mark_after_a_torn_mark_is_found() {
    for marks in [1, 2] {
        let mut world = World::new(small_segments(1 << 20));
        for table in [0, 1] {
            for _ in 0..2 {
                world.append(table, Ack::Spooled, &[7]).unwrap();
            }
        }
        world.commit();
        assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
        world.commit();
        let blocks = [0, 1].map(|table| world.next_block(table).unwrap());
        assert_eq!(segment_of(&blocks[0]), segment_of(&blocks[1]));
        {
            let mut disk = world.disk.0.lock().unwrap();
            (disk.fails_after, disk.truncate_fails) = (Some(10), true);
        }
        for (table, block) in blocks.iter().enumerate().take(marks) {
            world.readers[table].settle(block, &Part::from(0..2), Outcome::Refused);
        }
        world.commit();
        world.commit();
        assert_eq!(rows_after_loss_of_power(world), 4 - 2 * marks as u64);
    }
}

#[test]
fn rows_on_disk_and_rows_in_memory_are_counted_apart() {
    let on_disk = |world: &World| {
        let counts = world.spool.counts();
        [0, 1].map(|table| (counts[table].rows_pending, counts[table].rows_on_disk))
    };
    let mut world = World::new(LIMITS);
    assert_eq!(on_disk(&world), [(0, 0), (0, 0)]);
    // A sealed block of four rows, one of which is refused, and an open one.
    for _ in 0..6 {
        assert!(append(&mut world, 0, &[7]));
    }
    let block = world.next_block(0).unwrap();
    world.readers[0].settle(&block, &Part::from(1..2), Outcome::Refused);
    world.commit();
    assert_eq!(on_disk(&world), [(5, 5), (0, 0)]);
    world.disk.0.lock().unwrap().fails_after = Some(0);
    for table in [0, 1] {
        world.append(table, Ack::Accepted, &[7]).unwrap();
    }
    assert!(world.commit_once().is_err());
    assert_eq!(on_disk(&world), [(6, 5), (1, 0)]);
    assert_eq!(rows_after_loss_of_power(world), 5);
}

/// Returns a world with a block of two rows, in a segment that is worth compacting.
fn sparse() -> (World, Arc<SealedBlock>) {
    let mut world = World::new(small_segments(2 << 10));
    for _ in 0..2 {
        world.append(0, Ack::Spooled, &[7]).unwrap();
    }
    world.append(1, Ack::Spooled, &[7; 900]).unwrap();
    world.commit();
    assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
    world.commit();
    let [block, other] = [0, 1].map(|table| world.next_block(table).unwrap());
    assert_eq!(segment_of(&block), segment_of(&other));
    world.readers[0].evict(&block);
    world.readers[1].settle(&other, &Part::from(0..1), Outcome::Stored);
    (world, block)
}

#[test]
fn compaction_loads_one_block_at_a_time() {
    let mut world = World::new(small_segments(3 << 10));
    let small = [0, 2, 3];
    for table in small {
        world.append(table, Ack::Spooled, &[7]).unwrap();
    }
    world.append(1, Ack::Spooled, &[7; 900]).unwrap();
    world.commit();
    assert!((0..4).all(|table| world.next_block(table).is_none()));
    world.commit();
    let blocks = small.map(|table| world.next_block(table).unwrap());
    for (table, block) in small.into_iter().zip(&blocks) {
        world.readers[table].evict(block);
    }
    let large = world.next_block(1).unwrap();
    world.readers[1].settle(&large, &Part::from(0..1), Outcome::Stored);
    world.disk.0.lock().unwrap().is_full = true;
    for _ in 0..5 {
        world.commit();
    }
    let in_memory = blocks.iter().filter(|block| block.state().content.is_some());
    assert_eq!(in_memory.count(), 1, "the other blocks stay on disk while it is full");
}

/// Divides a block in two halves; the next commit records that.
fn split(world: &mut World, block: &Arc<SealedBlock>) {
    let reader = world.readers[0].clone();
    let mut split = pin!(reader.cut(block, 1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(split.as_mut().poll(&mut context).is_pending());
    world.commit();
    assert!(matches!(
        split.as_mut().poll(&mut context),
        std::task::Poll::Ready(Ok(()))
    ));
}

#[test]
fn compaction_moves_a_block_out_of_a_sparse_segment() {
    let (mut world, block) = sparse();
    let before = segment_of(&block);
    world.commit();
    world.commit();
    assert!(segment_of(&block) > before && !world.disk.segments().unwrap().contains(&before));
}

#[test]
fn a_cut_survives_the_move_of_its_block() {
    // The cut comes in the commit that would move the block, or while the block waits to move.
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
fn a_cut_of_a_moved_block_survives() {
    let (mut world, block) = sparse();
    let before = segment_of(&block);
    world.commit();
    world.commit();
    assert!(segment_of(&block) > before);
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
    use crate::spool::{
        Appender, Spool, TableReader,
        commit::{Committer, Remaining},
        disk::Folder,
        reader::Found,
        tests::world::{keys, layouts},
    };

    struct Opened {
        spool: Spool,
        appender: Appender,
        readers: Vec<TableReader>,
        committer: Committer,
    }

    impl Opened {
        fn on(folder: &Path) -> Self {
            let disk = Folder::lock(folder).unwrap().unwrap();
            let (spool, committer) = Spool::recovered(Arc::new(disk), folder, layouts(2), LIMITS, keys()).unwrap();
            Self {
                appender: spool.appender(),
                readers: spool.readers(),
                spool,
                committer,
            }
        }

        fn append(&self, table: usize, row: u8) -> Waiting {
            let id = self.readers[table].id();
            let receipt = self.appender.append(id, Ack::Spooled, |out| out.push(row));
            receipt.unwrap().waiting.unwrap()
        }

        /// Commits until there is nothing left to write, including commits that fail.
        fn commit(&mut self) {
            for _ in 0..10 {
                if matches!(self.committer.commit_once(), Ok(Remaining::Nothing)) {
                    return;
                }
            }
            panic!("the commits do not end");
        }
    }

    #[test]
    fn rows_in_a_deleted_file_are_written_again_before_the_acknowledgement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut opened = Opened::on(&path);
        opened.append(0, 1);
        opened.commit();
        fs::remove_dir_all(&path).unwrap();

        let second = opened.append(0, 2);
        let first_try = opened.committer.commit_once();
        assert!(
            first_try.is_err() && opened.spool.is_failing(),
            "the commit notices the deletion before the response"
        );
        assert!(second.progress.read(|progress| progress.level(&second.rows)) < Ack::Spooled);
        opened.commit();
        assert!(second.progress.read(|progress| progress.level(&second.rows)) >= Ack::Spooled);
        assert!(
            Folder::lock(&path).unwrap().is_none(),
            "the new folder is this process' own"
        );

        // Rows that were in memory are on disk again, including those acknowledged before.
        drop(opened);
        let opened = Opened::on(&path);
        assert_eq!(opened.spool.counts()[0].rows_pending, 2);
    }

    #[tokio::test]
    async fn rows_only_in_a_deleted_file_do_not_block_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut opened = Opened::on(&path);
        let reader = opened.readers[0].clone();
        for row in 0..4 {
            opened.append(0, row);
        }
        opened.commit();
        let Found::Rows(block, part) = reader.check() else {
            panic!("no block")
        };
        reader.evict(&block);
        fs::remove_dir_all(&path).unwrap();
        // As long as the folder is missing, it may come back.
        assert!(reader.rows(&block, &part).await.is_err());
        opened.append(1, 7);
        opened.commit();
        assert!(reader.rows(&block, &part).await.unwrap().ends.is_empty());
        reader.settle(&block, &part, Outcome::Lost);
        opened.commit();
        assert_eq!(opened.spool.counts()[0].rows_pending, 0);
    }
}
