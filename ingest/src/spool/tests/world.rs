//! A spool of several tables on a simulated disk, without threads: a test calls each step.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::HashMap, io, path::Path, sync::Arc, time::Duration};

use crate::{
    ack::Ack,
    block::{BlockLimits, layout::InsertTarget, receipt::Receipt, sealed::SealedBlock},
    budget::SpoolFull,
    idempotency::KeyIndex,
    spool::{
        Appender, LogLimits, Outcome, Spool, SpoolLimits, TableLayouts, TableReader,
        commit::{Committer, Remaining},
        queue::Usage,
        reader::Found,
        state::LogState,
        tests::disk::SimulatedDisk,
    },
    table::dead_letter::REJECTED,
};

/// Each table may use half of the space that the others leave, so that five of them use all but a
/// thirty-second.
pub(crate) const TABLES: usize = 5;

/// The queue of the dead letters.
pub(crate) const DEAD_LETTERS: usize = TABLES;

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
    keys: 1_000,
};

/// Returns an empty index of idempotency keys, in memory.
pub(crate) fn keys() -> KeyIndex {
    KeyIndex::in_memory(LIMITS.keys)
}

/// Returns the layouts of the tables `t0`, `t1` and so on, and of the dead letters.
pub(crate) fn layouts(tables: usize) -> TableLayouts {
    let layout = |name: String| {
        let statement = format!("INSERT INTO {name} FORMAT RowBinary");
        Arc::new(InsertTarget::new(name.into(), statement.into(), [].into(), None))
    };
    TableLayouts {
        tables: (0..tables).map(|table| layout(format!("t{table}"))).collect(),
        dead_letters: layout(REJECTED.name.to_owned()),
    }
}

pub(crate) struct World {
    limits: SpoolLimits,
    pub(crate) disk: Arc<SimulatedDisk>,
    pub(crate) spool: Spool,
    pub(crate) appender: Appender,
    pub(crate) readers: Vec<TableReader>,
    committer: Committer,
}

impl World {
    pub(crate) fn new(limits: SpoolLimits) -> Self {
        Self::on(Arc::default(), limits)
    }

    fn on(disk: Arc<SimulatedDisk>, limits: SpoolLimits) -> Self {
        let shared = Arc::clone(&disk);
        let (spool, committer) =
            Spool::recovered(shared, Path::new("simulated"), layouts(TABLES), limits, keys()).unwrap();
        Self {
            limits,
            disk,
            appender: spool.appender(),
            readers: spool.readers(),
            spool,
            committer,
        }
    }

    /// Returns the world of the next process after a loss of power, with only the synced bytes.
    pub(crate) fn after_loss_of_power(self) -> Self {
        self.disk.lose_unsynced_bytes();
        Self::on(self.disk, self.limits)
    }

    /// Writes the log until the spool is stopped, and returns the world of the next process.
    pub(crate) fn run_committer(self) -> Self {
        self.committer.run();
        Self::on(self.disk, self.limits)
    }

    /// Returns the log as all threads see it.
    pub(crate) fn log(&self) -> &LogState {
        self.spool.shared.log.as_ref().unwrap()
    }

    /// Commits once.
    pub(crate) fn commit_once(&mut self) -> io::Result<Remaining> {
        self.committer.commit_once()
    }

    /// Writes everything to disk, as far as there is space.
    pub(crate) fn commit(&mut self) {
        for _ in 0..1_000 {
            if !matches!(self.commit_once(), Ok(Remaining::More)) {
                return;
            }
        }
        panic!("the commits do not end");
    }

    pub(crate) fn append(&self, table: usize, ack: Ack, row: &[u8]) -> Result<Receipt, SpoolFull> {
        let id = self.readers[table].id();
        self.appender.append(id, ack, |out| out.extend_from_slice(row))
    }

    /// Appends rows, and writes each to disk, until one is not accepted; returns the number of
    /// accepted ones.
    pub(crate) fn fill(&mut self, table: usize, row: &[u8]) -> usize {
        for accepted in 0..100_000 {
            if self.append(table, Ack::Spooled, row).is_err() {
                return accepted;
            }
            self.commit();
        }
        panic!("the spool is never full");
    }

    /// Returns the block that would be sent next. An open block is sealed, and returned once it is
    /// on disk.
    pub(crate) fn next_block(&self, table: usize) -> Option<Arc<SealedBlock>> {
        match self.readers[table].check() {
            Found::Rows(block, _) => Some(block),
            _ => None,
        }
    }

    /// Delivers all blocks of a queue to a ClickHouse that stores everything.
    pub(crate) fn deliver_all(&mut self, table: usize) {
        while let Some(block) = self.next_block(table) {
            let part = block.next_part().unwrap();
            self.readers[table].settle(&block, &part, Outcome::Stored);
            self.commit();
        }
    }
}

/// Checks that each queue, and the budgets, count the bytes of the blocks. `unreleased` are the
/// dead letters that are on their way to disk.
pub(crate) fn assert_counted<'a>(readers: &[TableReader], unreleased: impl Iterator<Item = &'a SealedBlock>) {
    let shared = &readers[0].shared;
    let (mut memory, mut disk) = (0, 0);
    let mut extra: HashMap<_, _> = unreleased.map(|block| (block.id, Usage::of(&block.state()))).collect();
    for reader in readers {
        let blocks = reader.queue().lock();
        let known = blocks.sealed.iter().chain(&blocks.unlogged);
        let mut sealed: HashMap<_, _> = known.map(|block| (block.id, Usage::of(&block.state()))).collect();
        if reader.is_of_dead_letters() {
            sealed.extend(extra.drain());
        }
        let in_memory = blocks.open.cost() + sealed.values().map(|usage| usage.memory).sum::<usize>();
        let on_disk = sealed.values().map(|usage| usage.disk).sum::<usize>();
        assert_eq!((blocks.in_memory(), blocks.on_disk()), (in_memory, on_disk));
        memory += in_memory;
        disk += on_disk;
    }
    assert_eq!(shared.memory.used(), memory);
    assert_eq!(shared.log.as_ref().map_or(disk, |log| log.waiting.used()), disk);
}
