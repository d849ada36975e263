//! One case: its collectors and ClickHouse, and the steps that a seed draws.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    collector::{Collector, DEAD_LETTERS, Refused, TABLES},
    store::{Store, rows_of},
};
use crate::{
    ack::Ack,
    block::{
        BlockLimits,
        parts::{Part, ranges_of},
        progress::Progress,
        random::seeded::Seeded,
        rng::Rng,
        sealed::SealedBlock,
    },
    spool::{
        LogLimits, Outcome, SpoolLimits, TableReader, commit::Remaining, disk::Disk, reader::Found,
        tests::disk::DiskState,
    },
};

/// The state of one case.
pub(super) struct World {
    _seeded: Seeded,
    pub(super) rng: Rng,
    pub(super) limits: SpoolLimits,
    pub(super) collectors: Vec<Collector>,
    /// The index of the current collector.
    pub(super) at: usize,
    pub(super) store: Store,
    /// The number of rows that were sent. Row numbers are unique among all collectors, as ids are.
    pub(super) sent: u32,
    pub(super) acknowledged: BTreeSet<u32>,
    /// A table whose rows ClickHouse does not accept until the end.
    held: Option<usize>,
    /// The number of tokens of rows in doubt and of other writers.
    tokens: usize,
    /// The number of rows that were found in their table.
    pub(super) found: usize,
}

/// Returns limits with blocks that are small compared with the memory, or as large.
fn limits(rng: &mut Rng) -> SpoolLimits {
    let (rows, bytes, memory_bytes) = if rng.one_in(2) {
        (12, 120, 4 << 10)
    } else {
        (100, 600, 600)
    };
    SpoolLimits {
        blocks: BlockLimits {
            rows,
            bytes,
            age: Duration::ZERO,
        },
        memory_bytes,
        log: LogLimits {
            segment_bytes: 1 << 10,
            max_bytes: 6 << 10,
        },
        keys: 1_000,
    }
}

impl World {
    pub(super) fn new(seed: u64, collectors: usize) -> Self {
        let mut rng = Rng::new(seed);
        let seeded = Seeded::new(!seed);
        let limits = limits(&mut rng);
        Self {
            _seeded: seeded,
            held: rng.one_in(2).then_some(0),
            rng,
            limits,
            collectors: (0..collectors).map(|_| Collector::start(limits)).collect(),
            at: 0,
            store: Store::default(),
            sent: 0,
            acknowledged: BTreeSet::new(),
            tokens: 0,
            found: 0,
        }
    }

    pub(super) fn collector(&mut self) -> &mut Collector {
        &mut self.collectors[self.at]
    }

    fn is_shared(&self) -> bool {
        self.collectors.len() > 1
    }

    pub(super) fn step(&mut self) {
        if self.is_shared() {
            self.at = self.rng.below(self.collectors.len() as u64) as usize;
            self.interfere();
        }
        match self.rng.below(100) {
            0..40 => self.send(),
            40..60 => self.commit(),
            60..88 => self.deliver(),
            88..91 => self.crash(),
            91..93 => self.break_disk(|disk, rng| {
                disk.fails_after = Some(rng.below(200) as usize);
                disk.truncate_fails = rng.one_in(2);
            }),
            93..95 => self.break_disk(|disk, rng| {
                disk.sync_fails = true;
                disk.truncate_fails = rng.one_in(2);
            }),
            95..97 => self.break_disk(|disk, rng| disk.is_full = rng.one_in(2)),
            _ => self.restart(),
        }
        self.collect_acks();
    }

    /// Changes ClickHouse without any collector.
    fn interfere(&mut self) {
        match self.rng.below(8) {
            0..2 => {
                self.tokens += 1;
                let partition = self.rng.below(2) as u32;
                self.store
                    .remember(partition, &format!("other writer's {}", self.tokens));
            }
            2..4 => self.store.end_running(&mut self.rng),
            _ => {}
        }
    }

    fn break_disk(&mut self, how: impl FnOnce(&mut DiskState, &mut Rng)) {
        let disk = &self.collectors[self.at].disk;
        how(&mut disk.0.lock().unwrap(), &mut self.rng);
    }

    fn send(&mut self) {
        let table = self.rng.below(TABLES as u64) as usize;
        let ack = [Ack::Accepted, Ack::Spooled, Ack::Stored][self.rng.below(3) as usize];
        let row = self.sent;
        self.sent += 1;
        let collector = self.collector();
        if let Ok(receipt) = collector.append(table, ack, row) {
            collector.waiting.push((row, receipt));
        }
    }

    pub(super) fn commit(&mut self) {
        let memory_bytes = self.limits.memory_bytes;
        let collector = self.collector();
        let candidate = collector.committer.log.compaction_candidates().next();
        let was_failing = collector.spool.is_failing();
        let committed = collector.committer.commit_once();
        if let Ok(Remaining::Nothing) = committed
            && !was_failing
        {
            let used = collector.spool.memory_bytes();
            assert!(
                used <= memory_bytes / 4,
                "{used} bytes stay in memory although the disk works"
            );
        }
        if let Some((segment, blocks)) = candidate
            && !collector.disk.segments().unwrap().contains(&segment)
        {
            let is_waiting = |block: &Arc<SealedBlock>| blocks.contains(&block.id);
            let mut queues = collector.readers.iter().map(TableReader::queue);
            let is_moved = queues.any(|queue| queue.lock().sealed.iter().any(is_waiting));
            collector.emptied += usize::from(is_moved);
        }
    }

    /// Collects the acknowledgements that clients wait for.
    fn collect_acks(&mut self) {
        let collector = &mut self.collectors[self.at];
        for (row, receipt) in std::mem::take(&mut collector.waiting) {
            let Some(waiting) = &receipt.waiting else { continue };
            let progress = waiting.progress.read(Progress::clone);
            if progress.level(&waiting.rows) >= waiting.ack {
                self.acknowledged.insert(row);
                if waiting.ack == Ack::Stored {
                    assert!(self.store.rows.contains_key(&row), "row {row} is not in its table");
                }
            } else if !progress.is_failing && !progress.is_done {
                collector.waiting.push((row, receipt));
            }
        }
    }

    /// Sends the oldest rows of a table, with a random outcome.
    fn deliver(&mut self) {
        let table = self.rng.below(DEAD_LETTERS as u64 + 1) as usize;
        let held = self.held;
        let collector = self.collector();
        if held == Some(table) || collector.refused.get(table).is_some_and(Option::is_some) {
            return collector.finish_refusal(table);
        }
        let Found::Rows(block, part) = collector.readers[table].check() else {
            return;
        };
        let rows = collector.rows(&block, &part);
        let outcome = self.rng.below(10);
        let reader = &self.collectors[self.at].readers[table];
        if outcome == 0 {
            // ClickHouse is unreachable.
            return reader.evict(&block);
        }
        if table == DEAD_LETTERS {
            self.store.insert_dead_letter(block.token(&part), &rows);
            if outcome > 1 {
                reader.settle(&block, &part, Outcome::Stored);
            }
        } else {
            self.deliver_rows(table, &block, part, &rows, outcome);
        }
        if block.next_part().is_none() {
            self.collector().settled.insert(block.id);
        }
    }

    /// Looks up rows that may be stored, and sends those that are not, as delivery does.
    fn deliver_rows(&mut self, table: usize, block: &Arc<SealedBlock>, part: Part, rows: &[u8], outcome: u64) {
        let is_shared = self.is_shared();
        let collector = &mut self.collectors[self.at];
        let reader = collector.readers[table].clone();
        let numbers: Vec<_> = part.rows().zip(rows_of(rows)).collect();
        let token = match reader.is_in_doubt(block, &part) {
            false => block.token(&part),
            true if self.store.running.iter().any(|(running, ..)| *running == block.id) => {
                // An earlier attempt may still store them.
                return reader.evict(block);
            }
            true => {
                let is_there = |(_, row): &&(u32, u32)| self.store.rows.contains_key(row);
                let there = ranges_of(numbers.iter().filter(is_there).map(|(number, _)| *number));
                if !there.is_empty() {
                    let there = Part::of(there);
                    self.found += there.len();
                    return reader.settle(block, &there, Outcome::Stored);
                }
                // A remembered token proves nothing about rows that are not there, so they get a
                // new one.
                self.tokens += 1;
                format!("{}@{}", block.token(&part), self.tokens)
            }
        };
        if outcome == 1 {
            // The collector gets no response.
            self.store.insert_and_crash(&token, rows, &mut self.rng);
            return reader.doubt(block, &part);
        }
        if is_shared && outcome == 2 {
            // The insert takes longer than the collector waits.
            self.store.running.push((block.id, token, rows.to_vec()));
            return reader.doubt(block, &part);
        }
        match self.store.insert(&token, rows) {
            Ok(()) => reader.settle(block, &part, Outcome::Stored),
            Err(()) if part.len() == 1 => {
                let row = part.bounds().start;
                let dead_letter = reader.persist_dead_letter(block, row, |out| out.extend_from_slice(rows));
                collector.refused[table] = dead_letter.ok().map(|dead_letter| Refused {
                    table,
                    block: Arc::clone(block),
                    part,
                    dead_letter,
                });
            }
            Err(()) => {
                // Like `TableReader::cut`, but immediately. A failing disk is tried again later.
                _ = collector.committer.cut(block, part.middle().unwrap());
            }
        }
    }

    /// Kills the process, or cuts the power as well.
    fn crash(&mut self) {
        if self.rng.one_in(2) {
            self.collectors[self.at].disk.crash(&mut self.rng);
        }
        // The operator may have repaired the table, or made it stricter.
        self.store.is_repaired ^= self.rng.one_in(3);
        self.reopen();
        self.collector().forget_recovered();
    }

    /// Ends the process in order and starts it again.
    fn restart(&mut self) {
        let is_working = self.collector().disk.0.lock().unwrap().is_working();
        self.collector().spool.close();
        self.commit();
        self.commit();
        self.collect_acks();
        self.collector().committer.log.remove_finished();
        self.reopen();
        // A block that could not be marked as done comes back, and ClickHouse recognizes it by its
        // token.
        let is_none_back = self.collector().forget_recovered() == 0;
        assert!(is_none_back || !is_working, "a block that is done has come back");
    }

    pub(super) fn reopen(&mut self) {
        let limits = self.limits;
        // A failed start changes nothing, and the case retries it.
        self.break_disk(|disk, _| (disk.sync_fails, disk.truncate_fails) = (false, false));
        self.collector().restart(limits);
    }

    /// Runs until all rows are delivered.
    pub(super) fn run_dry(&mut self) {
        self.held = None;
        for collector in &self.collectors {
            let mut state = collector.disk.0.lock().unwrap();
            (state.fails_after, state.sync_fails, state.truncate_fails, state.is_full) = (None, false, false, false);
        }
        for turn in 0..20_000 * self.collectors.len() {
            self.at = turn % self.collectors.len();
            self.commit();
            self.deliver();
            self.collect_acks();
            self.store.end_running(&mut self.rng);
            if self.collectors.iter().all(Collector::is_done) {
                return;
            }
        }
        let counts: Vec<_> = self
            .collectors
            .iter()
            .map(|collector| collector.spool.counts())
            .collect();
        panic!("the deliveries do not end: {counts:?}");
    }

    pub(super) fn check(&self) {
        let Store { rows, dead_letters, .. } = &self.store;
        for row in &self.acknowledged {
            let is_there = rows.contains_key(row) || dead_letters.contains_key(row);
            assert!(is_there, "row {row} was acknowledged and is lost");
        }
        for row in dead_letters.keys() {
            assert!(!rows.contains_key(row), "row {row} is stored, and a dead letter");
        }
        for (&row, &times) in rows.iter().chain(dead_letters) {
            assert!(row < self.sent, "row {row} was never sent");
            assert_eq!(times, 1, "row {row} is stored {times} times");
        }
        for collector in &self.collectors {
            let quarantined = collector.disk.0.lock().unwrap().quarantined;
            assert_eq!(quarantined, 0, "a torn write is not damage");
        }
    }
}
