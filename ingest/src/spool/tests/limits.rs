//! Limits: usage stays under each bound, one table leaves space for the others, and space is freed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    ack::Ack,
    block::{BlockLimits, frame_format::FRAME_HEADER, layout::InsertTarget, parts::Part, sealed::SealedBlock},
    spool::{
        Outcome, Spool, SpoolLimits,
        commit::Round,
        frame::SEGMENT_HEADER,
        log::{Log, LogLimits},
        queue::Found,
        signal::{COMMIT_INTERVAL, IDLE_DELAY},
        tests::disk::SimulatedDisk,
    },
    table::dead_letter::REJECTED,
};

/// Each table takes half of what the others leave, so that five of them take all but a
/// thirty-second.
const TABLES: usize = 5;

const ROW: &[u8] = &[7; 100];

/// A block on disk: each row in a separate frame, and twice the statement, which is short here.
const BLOCK: usize = 4 * (ROW.len() + 4) + 7 * FRAME_HEADER + 2 * 50;

pub(crate) const LIMITS: SpoolLimits = SpoolLimits {
    blocks: BlockLimits {
        rows: 4,
        bytes: 1 << 20,
        age: Duration::ZERO,
    },
    memory_bytes: 8 << 10,
    log: LogLimits {
        segment_bytes: 4 << 10,
        max_bytes: 32 << 10,
    },
};

/// A spool of several tables on a simulated disk, without its thread.
pub(crate) struct World {
    limits: SpoolLimits,
    pub(crate) disk: Arc<SimulatedDisk>,
    pub(crate) spool: Arc<Spool>,
    log: Log,
    buffer: Vec<u8>,
}

impl World {
    pub(crate) fn new(limits: SpoolLimits) -> Self {
        Self::on(Arc::default(), limits)
    }

    fn on(disk: Arc<SimulatedDisk>, limits: SpoolLimits) -> Self {
        let tables = (0..TABLES).map(|table| {
            let statement = format!("INSERT INTO t{table} FORMAT RowBinary");
            Arc::new(InsertTarget::new(
                format!("t{table}").into(),
                statement.into(),
                [].into(),
                None,
            ))
        });
        let shared = Arc::clone(&disk);
        let (spool, log) = Spool::recovered(shared, Path::new("simulated"), tables.collect(), limits).unwrap();
        Self {
            limits,
            disk,
            spool: Arc::new(spool),
            log,
            buffer: Vec::new(),
        }
    }

    /// Returns the world of the next process after a loss of power: it has only what was synced.
    pub(crate) fn after_loss_of_power(self) -> Self {
        self.disk.lose_what_is_not_synced();
        Self::on(self.disk, self.limits)
    }

    /// Writes everything to disk, as far as there is space.
    pub(crate) fn commit(&mut self) {
        let state = self.spool.log.as_ref().unwrap();
        for _ in 0..1_000 {
            if !matches!(
                self.spool.round(state, &mut self.log, &mut self.buffer),
                Ok(Round::More)
            ) {
                return;
            }
        }
        panic!("it does not end");
    }

    /// Appends rows, and writes each to disk, until one is not accepted; returns the number of
    /// accepted ones.
    fn fill(&mut self, lane: usize, row: &[u8]) -> usize {
        for taken in 0..100_000 {
            if self
                .spool
                .append(lane, Ack::Spooled, |out| out.extend_from_slice(row))
                .is_err()
            {
                return taken;
            }
            self.commit();
        }
        panic!("it is never full");
    }

    /// Returns the block that would be sent next. An open block is sealed, and returned once it is
    /// on disk.
    pub(crate) fn next_block(&self, lane: usize) -> Option<Arc<SealedBlock>> {
        match self.spool.look(&self.spool.lanes[lane]) {
            Found::Rows(block, _) => Some(block),
            _ => None,
        }
    }

    /// Delivers all blocks of a queue to a ClickHouse that takes everything.
    fn deliver_all(&mut self, lane: usize) {
        while let Some(block) = self.next_block(lane) {
            let part = block.next_part().unwrap();
            self.spool.settle(lane, &block, &part, Outcome::Stored);
            self.commit();
        }
    }
}

#[test]
fn a_row_is_written_as_soon_as_somebody_waits_for_it() {
    let mut world = World::new(LIMITS);
    let mut after = |ack, rests: bool| {
        let spool = Arc::clone(&world.spool);
        let signal = &spool.log.as_ref().unwrap().signal;
        signal.lower();
        spool.append(0, ack, |out| out.extend_from_slice(ROW)).unwrap();
        if rests {
            spool.rest();
        }
        let patience = signal.patience();
        world.commit();
        patience
    };
    assert_eq!(after(Ack::Accepted, false), Some(COMMIT_INTERVAL));
    assert_eq!(after(Ack::Spooled, false), None);
    // From here on, this thread notifies the signal when it is idle. The fourth row completes the
    // block.
    assert_eq!(after(Ack::Accepted, true), Some(COMMIT_INTERVAL));
    assert_eq!(
        after(Ack::Spooled, false),
        None,
        "a block that is whole waits for nobody"
    );
    assert_eq!(after(Ack::Spooled, false), Some(IDLE_DELAY));
    assert_eq!(after(Ack::Stored, true), None);
}

#[test]
fn a_table_leaves_others_as_much_disk_as_it_has() {
    let mut world = World::new(LIMITS);
    let half = LIMITS.log.max_bytes as usize / 2;
    let about = |bytes: usize| bytes - 2 * BLOCK..bytes + 2 * BLOCK;
    let taken = world.fill(0, ROW);
    assert!(about(half).contains(&world.disk.bytes()), "{}", world.disk.bytes());
    assert!(!world.spool.is_failing(), "it is told before the disk is full");
    world.fill(1, ROW);
    assert!(
        about(half + half / 2).contains(&world.disk.bytes()),
        "{}",
        world.disk.bytes()
    );

    world.deliver_all(0);
    assert!(world.fill(2, ROW) > taken / 2);
}

#[test]
fn a_table_leaves_others_as_much_memory_as_it_has() {
    let mut world = World::new(LIMITS);
    // The disk takes nothing.
    world.disk.0.lock().unwrap().is_full = true;
    let accepted = |world: &World, lane| {
        (0..)
            .take_while(|_| {
                world
                    .spool
                    .append(lane, Ack::Accepted, |out| out.extend_from_slice(ROW))
                    .is_ok()
            })
            .count()
    };
    let half = LIMITS.memory_bytes / 2;
    let cost = ROW.len() + 4;
    assert_eq!(accepted(&world, 0), half / cost);
    world.commit();
    assert_eq!((accepted(&world, 0), world.spool.is_failing()), (0, true));
    assert!(accepted(&world, 1) >= half / 2 / cost);
    assert!(!world.spool.is_nearly_full());
    for lane in 2..TABLES {
        accepted(&world, lane);
    }
    assert!(world.spool.is_nearly_full());
    assert!(world.spool.memory_bytes() <= LIMITS.memory_bytes);
}

#[test]
fn whatever_frames_take_beside_rows_is_within_the_bound_of_the_disk() {
    let mut world = World::new(LIMITS);
    for lane in 0..TABLES {
        // A row of one byte takes more than fifty on disk.
        world.fill(lane, b"x");
        assert!(
            world.disk.bytes() <= LIMITS.log.max_bytes as usize + BLOCK,
            "{}",
            world.disk.bytes()
        );
    }
    for lane in 0..TABLES {
        world.deliver_all(lane);
    }
    assert!(world.disk.bytes() <= LIMITS.log.segment_bytes as usize + SEGMENT_HEADER + BLOCK);
    assert!(world.fill(0, ROW) > 0, "there is room again");
}

#[test]
fn what_has_gathered_in_memory_does_not_go_beyond_the_bound_of_the_disk() {
    let log = LogLimits {
        max_bytes: 2 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    for row in 0..54 {
        let lane = row % TABLES;
        assert!(
            world
                .spool
                .append(lane, Ack::Accepted, |out| out.extend_from_slice(ROW))
                .is_ok(),
            "{row}"
        );
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
fn refused_rows_leave_a_full_disk_by_their_letters() {
    let letters = TABLES - 1;
    let log = LogLimits {
        max_bytes: 2 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    for row in 0..54 {
        let receipt = world
            .spool
            .append(row % TABLES, Ack::Accepted, |out| out.extend_from_slice(ROW));
        assert!(receipt.is_ok(), "{row}");
    }
    world.commit();
    assert!(world.spool.is_failing());

    let block = world.next_block(0).unwrap();
    for row in 0..block.rows {
        let letter = world
            .spool
            .persist_dead_letter(letters, &block, row, |out| out.extend_from_slice(ROW))
            .unwrap();
        world.commit();
        assert!(letter.progress.look(|progress| progress.on_disk == 1), "{row}");
        let part = Part::from(row..row + 1);
        world.spool.settle(0, &block, &part, Outcome::Refused);
        world.spool.release_dead_letter(letters, letter);
    }
    assert!(block.next_part().is_none());
}

#[test]
fn dead_letters_leave_the_room_to_rows() {
    let layout = |table: &str| Arc::new(InsertTarget::new(table.into(), "".into(), [].into(), None));
    let (rows, letters) = (0, 1);
    let disk: Arc<SimulatedDisk> = Arc::default();
    let shared = Arc::clone(&disk);
    let tables = vec![layout("t"), layout(REJECTED.name)];
    let (spool, log) = Spool::recovered(shared, Path::new("simulated"), tables, LIMITS).unwrap();
    let mut world = World {
        limits: LIMITS,
        disk,
        spool: Arc::new(spool),
        log,
        buffer: Vec::new(),
    };
    let dropped = |world: &World| world.spool.counts()[letters].rows_without_room;

    // In memory, as long as nothing is written to disk …
    let in_memory = (0..100).filter(|_| {
        world
            .spool
            .append(letters, Ack::Accepted, |out| out.extend_from_slice(ROW))
            .is_ok()
    });
    assert_eq!(in_memory.count(), LIMITS.memory_bytes / 8 / (ROW.len() + 4));
    assert_eq!(dropped(&world), 100 - 9);
    // … and on disk.
    world.commit();
    world.fill(letters, ROW);
    let share = LIMITS.log.max_bytes as usize / 8;
    assert!(
        (share..share + LIMITS.memory_bytes / 8 + 2 * BLOCK).contains(&world.disk.bytes()),
        "{}",
        world.disk.bytes()
    );
    assert!(!world.spool.is_failing());

    // A row that ClickHouse refuses has been acknowledged, and is kept however many dead letters
    // there are.
    for _ in 0..3 {
        world.spool.append(rows, Ack::Spooled, |out| out.push(7)).unwrap();
    }
    world.commit();
    assert!(world.next_block(rows).is_none());
    world.commit();
    let block = world.next_block(rows).unwrap();
    assert!(
        world
            .spool
            .persist_dead_letter(letters, &block, 0, |out| out.push(8))
            .is_ok()
    );

    let of_rows = world.fill(rows, ROW) * ROW.len();
    // Each row is in a separate frame, which takes half as much again.
    assert!(of_rows > LIMITS.log.max_bytes as usize / 5, "{of_rows}");
    world.deliver_all(letters);
    assert!(world.fill(letters, ROW) > 0, "there is room again");
}

#[test]
fn a_load_balancer_is_told_before_the_disk_is_full() {
    let log = LogLimits {
        max_bytes: 256 << 10,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    world.fill(0, ROW);
    assert!(!world.spool.is_nearly_full());
    for lane in 1..TABLES {
        world.fill(lane, ROW);
    }
    assert!(world.spool.is_nearly_full() && !world.spool.is_failing());
    assert!(
        world.spool.memory_bytes() < LIMITS.memory_bytes / 2,
        "it is not the memory"
    );
    world.deliver_all(0);
    assert!(!world.spool.is_nearly_full());
}
