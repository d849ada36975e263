//! One process of a case, with its folder and its clients.

use std::{collections::HashSet, path::Path, sync::Arc};

use uuid::Uuid;

use super::store::encode;
use crate::{
    ack::Ack,
    block::{parts::Part, receipt::Receipt, sealed::SealedBlock},
    budget::SpoolFull,
    spool::{
        Appender, Outcome, Spool, SpoolLimits, TableReader,
        commit::Committer,
        read::read_rows,
        tests::{
            disk::SimulatedDisk,
            world::{assert_counted, keys, layouts},
        },
    },
};

/// One process, with its folder and its clients.
pub(super) struct Collector {
    pub(super) disk: Arc<SimulatedDisk>,
    pub(super) spool: Spool,
    appender: Appender,
    pub(super) readers: Vec<TableReader>,
    pub(super) committer: Committer,
    /// The rows that a client waits for, and their receipts.
    pub(super) waiting: Vec<(u32, Receipt)>,
    /// The row of each table that waits for its dead letter.
    pub(super) refused: [Option<Refused>; TABLES],
    /// Blocks with no rows left.
    pub(super) settled: HashSet<Uuid>,
    /// The number of segments whose last blocks have moved to another segment.
    pub(super) emptied: usize,
}

impl Collector {
    pub(super) fn start(limits: SpoolLimits) -> Self {
        let disk = Arc::new(SimulatedDisk::default());
        let (spool, committer) = open(&disk, limits);
        Self {
            disk,
            appender: spool.appender(),
            readers: spool.readers(),
            spool,
            committer,
            waiting: Vec::new(),
            refused: Default::default(),
            settled: HashSet::new(),
            emptied: 0,
        }
    }

    pub(super) fn append(&self, table: usize, ack: Ack, row: u32) -> Result<Receipt, SpoolFull> {
        let id = self.readers[table].id();
        self.appender.append(id, ack, |out| encode(row, out))
    }

    /// Returns rows of a block, from memory or from disk.
    pub(super) fn rows(&self, block: &SealedBlock, part: &Part) -> Vec<u8> {
        let state = block.state();
        match &state.content {
            Some(content) => content.select(part).bytes.into(),
            None => read_rows(&*self.disk, block.id, &state.logged, part)
                .unwrap()
                .bytes
                .into(),
        }
    }

    /// Starts the process again, on the same disk.
    pub(super) fn restart(&mut self, limits: SpoolLimits) {
        self.waiting.clear();
        self.refused = Default::default();
        (self.spool, self.committer) = open(&self.disk, limits);
        (self.appender, self.readers) = (self.spool.appender(), self.spool.readers());
    }

    /// Checks that the spool counts the bytes of its blocks.
    pub(super) fn check_counts(&self) {
        let refused = self.refused.iter().flatten();
        assert_counted(&self.readers, refused.map(|refused| &*refused.dead_letter));
    }

    /// Like the end of `TableReader::move_to_dead_letters`: settles a row whose dead letter is on
    /// disk, and releases the dead letter.
    pub(super) fn finish_refusal(&mut self, table: usize) {
        let is_kept = |refused: &mut Refused| refused.dead_letter.progress.read(|progress| progress.on_disk > 0);
        let refused = self.refused.get_mut(table).and_then(|refused| refused.take_if(is_kept));
        let Some(Refused {
            table,
            block,
            part,
            dead_letter,
        }) = refused
        else {
            return;
        };
        let reader = &self.readers[table];
        reader.settle(&block, &part, Outcome::Refused);
        reader.release_dead_letter(dead_letter);
        if block.next_part().is_none() {
            self.settled.insert(block.id);
        }
    }

    /// Removes the recovered blocks from the settled ones; returns their number.
    pub(super) fn forget_recovered(&mut self) -> usize {
        let queues = self.readers.iter().map(TableReader::queue);
        let waiting = queues.flat_map(|queue| queue.lock().sealed.clone());
        let back: Vec<_> = waiting
            .map(|block| block.id)
            .filter(|id| self.settled.remove(id))
            .collect();
        back.len()
    }

    pub(super) fn is_done(&self) -> bool {
        self.spool.counts().iter().all(|counts| counts.rows_pending == 0)
    }
}

pub(super) const TABLES: usize = 3;

/// The queue of the dead letters.
pub(super) const DEAD_LETTERS: usize = TABLES;

/// A row whose dead letter is on its way to disk.
pub(super) struct Refused {
    pub(super) table: usize,
    pub(super) block: Arc<SealedBlock>,
    pub(super) part: Part,
    pub(super) dead_letter: Arc<SealedBlock>,
}

fn open(disk: &Arc<SimulatedDisk>, limits: SpoolLimits) -> (Spool, Committer) {
    let disk = Arc::clone(disk);
    Spool::recovered(disk, Path::new("simulated"), layouts(TABLES), limits, keys()).unwrap()
}
