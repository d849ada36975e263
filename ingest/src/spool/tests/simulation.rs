//! A simulation of spool and delivery: disks that tear writes and lose power, a ClickHouse that
//! remembers few tokens, one or several collectors that share it, and clients that remember their
//! acknowledgements.
//!
//! Every step is drawn from a seed, so that a failing case can be run again. Invariants: a row that
//! was acknowledged is stored in the end, a row that is stored was sent, no row is stored twice,
//! and every recovery completes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use crate::{
    ack::Ack,
    block::{
        BlockLimits,
        dice::Dice,
        layout::InsertTarget,
        parts::{Part, ranges_of},
        progress::Progress,
        random::seeded::Seeded,
        sealed::SealedBlock,
    },
    spool::{
        Outcome, Spool, SpoolLimits, TableCounts,
        commit::Round,
        disk::Disk,
        log::{Log, LogLimits},
        recover::read_rows,
        state::LogState,
        tests::disk::{DiskState, SimulatedDisk},
    },
    table::dead_letter::REJECTED,
};

/// The number of tokens that ClickHouse remembers, including those of other writers.
const WINDOW: usize = 3;

/// A ClickHouse: takes rows once for each token that it remembers, and refuses blocks with a
/// poisoned row.
///
/// Several collectors share it, and other writers insert as well, so that it soon forgets a block's
/// token.
///
/// Rows are in two partitions, the even ones and the odd ones. After an insert whose response is
/// lost, one partition may be stored and the other not, and ClickHouse may remember the token for
/// either all the same.
#[derive(Debug, Default)]
struct Store {
    /// The tokens of both partitions, newest last.
    tokens: [VecDeque<String>; 2],
    rows: HashMap<u32, usize>,
    letters: HashMap<u32, usize>,
    letter_tokens: HashSet<String>,
    /// Inserts that go on although no collector waits for the response: the block, its token, and
    /// the rows.
    running: Vec<(Uuid, String, Vec<u8>)>,
    /// Whether the table has been mended and takes the rows that it refused.
    is_mended: bool,
}

/// Returns whether ClickHouse refuses this row until the table is mended.
fn is_poisoned(row: u32) -> bool {
    row % 9 == 8
}

impl Store {
    fn insert(&mut self, token: &str, rows: &[u8]) -> Result<(), ()> {
        self.check(rows)?;
        for partition in [0, 1] {
            self.insert_partition(partition, token, rows);
        }
        Ok(())
    }

    /// Like [`insert`](Self::insert), but ClickHouse is killed in the middle.
    fn insert_and_die(&mut self, token: &str, rows: &[u8], dice: &mut Dice) {
        if self.check(rows).is_err() {
            return;
        }
        for partition in [0, 1] {
            match dice.below(4) {
                0 => {}
                // ClickHouse writes the log of tokens before it names the part.
                1 => self.remember(partition, token),
                _ => self.insert_partition(partition, token, rows),
            }
        }
    }

    /// Completes an insert that no collector waits for.
    fn end_running(&mut self, dice: &mut Dice) {
        if !self.running.is_empty() {
            let at = dice.below(self.running.len() as u64) as usize;
            let (_, token, rows) = self.running.swap_remove(at);
            // No collector hears of a refusal.
            _ = self.insert(&token, &rows);
        }
    }

    fn check(&self, rows: &[u8]) -> Result<(), ()> {
        let is_refused = !self.is_mended && rows_of(rows).into_iter().any(is_poisoned);
        if is_refused { Err(()) } else { Ok(()) }
    }

    fn insert_partition(&mut self, partition: u32, token: &str, rows: &[u8]) {
        if self.tokens[partition as usize].iter().any(|known| known == token) {
            return;
        }
        self.remember(partition, token);
        for row in rows_of(rows) {
            if row % 2 == partition {
                *self.rows.entry(row).or_default() += 1;
            }
        }
    }

    fn remember(&mut self, partition: u32, token: &str) {
        let tokens = &mut self.tokens[partition as usize];
        tokens.push_back(token.to_owned());
        if tokens.len() > WINDOW {
            tokens.pop_front();
        }
    }

    fn take_letter(&mut self, token: String, rows: &[u8]) {
        if self.letter_tokens.insert(token) {
            for row in rows_of(rows) {
                *self.letters.entry(row).or_default() += 1;
            }
        }
    }
}

/// Writes a row: its number, and then as many bytes as its last digit says.
fn encode(row: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&row.to_le_bytes());
    out.resize(out.len() + row as usize % 10, b'x');
}

fn rows_of(mut bytes: &[u8]) -> Vec<u32> {
    let mut rows = Vec::new();
    while let Some((row, rest)) = bytes.split_first_chunk::<4>() {
        let row = u32::from_le_bytes(*row);
        bytes = &rest[row as usize % 10..];
        rows.push(row);
    }
    assert!(bytes.is_empty(), "a part of a row");
    rows
}

/// The state of one case.
struct World {
    _chance: Seeded,
    dice: Dice,
    limits: SpoolLimits,
    collectors: Vec<Collector>,
    /// The collector whose turn it is.
    at: usize,
    store: Store,
    /// The number of rows that were sent. Row numbers are unique among all collectors, as ids are.
    sent: u32,
    acknowledged: BTreeSet<u32>,
    /// A table whose rows ClickHouse does not take until the end.
    held: Option<usize>,
    /// The number of tokens of rows in doubt and of other writers.
    tokens: usize,
    /// The number of rows that were found in their table.
    found: usize,
}

/// One process, with its folder and its clients.
struct Collector {
    disk: Arc<SimulatedDisk>,
    spool: Spool,
    log: Log,
    buffer: Vec<u8>,
    /// The rows that a client waits for, and their receipts.
    waiting: Vec<(u32, crate::block::receipt::Receipt)>,
    /// The row of each table that waits for its dead letter.
    refused: [Option<Refused>; TABLES],
    /// Blocks with no rows left.
    settled: HashSet<Uuid>,
    /// The number of segments whose last blocks were written again elsewhere.
    emptied: usize,
}

impl Collector {
    fn start(limits: SpoolLimits) -> Self {
        let disk = Arc::new(SimulatedDisk::default());
        let (spool, log) = open(&disk, limits);
        Self {
            disk,
            spool,
            log,
            buffer: Vec::new(),
            waiting: Vec::new(),
            refused: Default::default(),
            settled: HashSet::new(),
            emptied: 0,
        }
    }

    fn rows(&self, block: &SealedBlock, part: &Part) -> Vec<u8> {
        let state = block.state();
        match &state.content {
            Some(content) => content.select(part).bytes.into(),
            None => read_rows(&*self.disk, block.id, &state.logged, part)
                .unwrap()
                .bytes
                .into(),
        }
    }

    fn is_done(&self) -> bool {
        self.spool.counts().iter().all(|counts| counts.rows_pending == 0)
    }
}

const TABLES: usize = 3;

/// The queue of the dead letters.
const LETTERS: usize = TABLES;

/// A row whose dead letter is on its way to disk.
struct Refused {
    lane: usize,
    block: Arc<SealedBlock>,
    part: Part,
    letter: Arc<SealedBlock>,
}

/// Returns limits with blocks that are small beside the memory, or as large as it.
fn limits(dice: &mut Dice) -> SpoolLimits {
    let (rows, bytes, memory_bytes) = if dice.one_in(2) {
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
    }
}

fn open(disk: &Arc<SimulatedDisk>, limits: SpoolLimits) -> (Spool, Log) {
    let tables = (0..=LETTERS).map(|table| {
        let name = match table {
            LETTERS => REJECTED.name.to_owned(),
            table => format!("t{table}"),
        };
        let statement = format!("INSERT INTO {name} FORMAT RowBinary");
        Arc::new(InsertTarget::new(name.into(), statement.into(), [].into(), None))
    });
    let disk = Arc::clone(disk);
    Spool::recovered(disk, Path::new("simulated"), tables.collect(), limits).unwrap()
}

impl World {
    fn new(seed: u64, collectors: usize) -> Self {
        let mut dice = Dice::new(seed);
        let chance = Seeded::new(!seed);
        let limits = limits(&mut dice);
        Self {
            _chance: chance,
            held: dice.one_in(2).then_some(0),
            dice,
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

    fn collector(&mut self) -> &mut Collector {
        &mut self.collectors[self.at]
    }

    fn is_shared(&self) -> bool {
        self.collectors.len() > 1
    }

    fn step(&mut self) {
        if self.is_shared() {
            self.at = self.dice.below(self.collectors.len() as u64) as usize;
            self.interfere();
        }
        match self.dice.below(100) {
            0..40 => self.send(),
            40..60 => self.commit(),
            60..88 => self.deliver(),
            88..91 => self.crash(),
            91..93 => self.break_disk(|disk, dice| {
                disk.fails_after = Some(dice.below(200) as usize);
                disk.truncate_fails = dice.one_in(2);
            }),
            93..95 => self.break_disk(|disk, dice| {
                disk.sync_fails = true;
                disk.truncate_fails = dice.one_in(2);
            }),
            95..97 => self.break_disk(|disk, dice| disk.is_full = dice.one_in(2)),
            _ => self.restart(),
        }
        self.collect_acks();
    }

    /// Changes ClickHouse in a way that no collector has a part in.
    fn interfere(&mut self) {
        match self.dice.below(8) {
            0..2 => {
                self.tokens += 1;
                let partition = self.dice.below(2) as u32;
                self.store
                    .remember(partition, &format!("other writer's {}", self.tokens));
            }
            2..4 => self.store.end_running(&mut self.dice),
            _ => {}
        }
    }

    fn break_disk(&mut self, how: impl FnOnce(&mut DiskState, &mut Dice)) {
        let disk = &self.collectors[self.at].disk;
        how(&mut disk.0.lock().unwrap(), &mut self.dice);
    }

    fn send(&mut self) {
        let lane = self.dice.below(TABLES as u64) as usize;
        let ack = [Ack::Accepted, Ack::Spooled, Ack::Stored][self.dice.below(3) as usize];
        let row = self.sent;
        self.sent += 1;
        let collector = self.collector();
        if let Ok(receipt) = collector.spool.append(lane, ack, |out| encode(row, out)) {
            collector.waiting.push((row, receipt));
        }
    }

    fn commit(&mut self) {
        let memory_bytes = self.limits.memory_bytes;
        let collector = self.collector();
        let state = collector.spool.log.as_ref().unwrap();
        let sparse = collector.log.sparse().next();
        let was_failing = collector.spool.is_failing();
        let round = collector.spool.round(state, &mut collector.log, &mut collector.buffer);
        if let Ok(Round::Idle) = round
            && !was_failing
        {
            let used = collector.spool.memory_bytes();
            assert!(
                used <= memory_bytes / 4,
                "{used} bytes stay in memory beside a disk that takes them"
            );
        }
        if let Some((segment, blocks)) = sparse
            && !collector.disk.segments().unwrap().contains(&segment)
        {
            let is_waiting = |block: &Arc<SealedBlock>| blocks.contains(&block.id);
            collector.emptied += usize::from(
                collector
                    .spool
                    .lanes
                    .iter()
                    .any(|lane| lane.lock().sealed.iter().any(is_waiting)),
            );
        }
    }

    /// Collects the acknowledgements that clients wait for.
    fn collect_acks(&mut self) {
        let collector = &mut self.collectors[self.at];
        for (row, receipt) in std::mem::take(&mut collector.waiting) {
            let Some(waiting) = &receipt.waiting else { continue };
            let progress = waiting.progress.look(Progress::clone);
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
        let lane = self.dice.below(LETTERS as u64 + 1) as usize;
        let held = self.held;
        let collector = self.collector();
        if held == Some(lane) || collector.refused.get(lane).is_some_and(Option::is_some) {
            return self.bury(lane);
        }
        let spool = &collector.spool;
        let crate::spool::queue::Found::Rows(block, part) = spool.look(&spool.lanes[lane]) else {
            return;
        };
        let rows = collector.rows(&block, &part);
        let outcome = self.dice.below(10);
        let spool = &self.collectors[self.at].spool;
        if outcome == 0 {
            // ClickHouse is unreachable.
            return spool.evict(lane, &block);
        }
        if lane == LETTERS {
            self.store.take_letter(block.token(&part), &rows);
            if outcome > 1 {
                spool.settle(lane, &block, &part, Outcome::Stored);
            }
        } else {
            self.deliver_rows(lane, &block, part, &rows, outcome);
        }
        if block.next_part().is_none() {
            self.collector().settled.insert(block.id);
        }
    }

    /// Looks up rows that may be stored, and sends those that are not, as delivery does.
    fn deliver_rows(&mut self, lane: usize, block: &Arc<SealedBlock>, part: Part, rows: &[u8], outcome: u64) {
        let is_shared = self.is_shared();
        let collector = &mut self.collectors[self.at];
        let numbers: Vec<_> = part.rows().zip(rows_of(rows)).collect();
        let token = match collector.spool.is_in_doubt(block, &part) {
            false => block.token(&part),
            true if self.store.running.iter().any(|(running, ..)| *running == block.id) => {
                // An earlier attempt may still store them.
                return collector.spool.evict(lane, block);
            }
            true => {
                let is_there = |(_, row): &&(u32, u32)| self.store.rows.contains_key(row);
                let there = ranges_of(numbers.iter().filter(is_there).map(|(number, _)| *number));
                if !there.is_empty() {
                    let there = Part::of(there);
                    self.found += there.len();
                    return collector.spool.settle(lane, block, &there, Outcome::Stored);
                }
                // A remembered token proves nothing about rows that are not there, so they get a
                // new one.
                self.tokens += 1;
                format!("{}@{}", block.token(&part), self.tokens)
            }
        };
        if outcome == 1 {
            // The collector gets no response.
            self.store.insert_and_die(&token, rows, &mut self.dice);
            return collector.spool.doubt(block, &part);
        }
        if is_shared && outcome == 2 {
            // The insert takes longer than the collector waits.
            self.store.running.push((block.id, token, rows.to_vec()));
            return collector.spool.doubt(block, &part);
        }
        match self.store.insert(&token, rows) {
            Ok(()) => collector.spool.settle(lane, block, &part, Outcome::Stored),
            Err(()) if part.len() == 1 => {
                let row = part.bounds().start;
                let letter = collector
                    .spool
                    .persist_dead_letter(LETTERS, block, row, |out| out.extend_from_slice(rows));
                collector.refused[lane] = letter.ok().map(|letter| Refused {
                    lane,
                    block: Arc::clone(block),
                    part,
                    letter,
                });
            }
            Err(()) => {
                // Like `Spool::cut`, but immediately. A failing disk is tried again later.
                _ = LogState::cut(&mut collector.log, block, part.middle().unwrap());
            }
        }
    }

    /// Like the end of `Spool::refuse`: settles a row whose dead letter is on disk, and releases
    /// the dead letter.
    fn bury(&mut self, lane: usize) {
        let is_kept = |refused: &mut Refused| refused.letter.progress.look(|progress| progress.on_disk > 0);
        let collector = self.collector();
        let refused = collector
            .refused
            .get_mut(lane)
            .and_then(|refused| refused.take_if(is_kept));
        let Some(Refused {
            lane,
            block,
            part,
            letter,
        }) = refused
        else {
            return;
        };
        collector.spool.settle(lane, &block, &part, Outcome::Refused);
        collector.spool.release_dead_letter(LETTERS, letter);
        if block.next_part().is_none() {
            collector.settled.insert(block.id);
        }
    }

    /// Kills the process, or cuts the power as well.
    fn crash(&mut self) {
        if self.dice.one_in(2) {
            self.collectors[self.at].disk.crash(&mut self.dice);
        }
        // Meanwhile the table may be mended, or made stricter.
        self.store.is_mended ^= self.dice.one_in(3);
        self.reopen();
        self.forget_what_came_back();
    }

    /// Ends the process in order and starts it again.
    fn restart(&mut self) {
        let is_well = self.collector().disk.0.lock().unwrap().is_well();
        self.collector().spool.close();
        self.commit();
        self.commit();
        self.collect_acks();
        self.collector().log.remove_finished();
        self.reopen();
        // A block that could not be marked as done comes back, and ClickHouse recognizes it by its
        // token.
        let is_none_back = self.forget_what_came_back() == 0;
        assert!(is_none_back || !is_well, "a block that is done has come back");
    }

    /// Removes blocks that a crash has brought back from the settled ones; returns their number.
    fn forget_what_came_back(&mut self) -> usize {
        let collector = self.collector();
        let waiting = collector.spool.lanes.iter().flat_map(|lane| lane.lock().sealed.clone());
        let back: Vec<_> = waiting
            .map(|block| block.id)
            .filter(|id| collector.settled.remove(id))
            .collect();
        back.len()
    }

    fn reopen(&mut self) {
        let limits = self.limits;
        let collector = self.collector();
        collector.waiting.clear();
        collector.refused = Default::default();
        // A start that fails has changed nothing, and is tried again.
        self.break_disk(|disk, _| (disk.sync_fails, disk.truncate_fails) = (false, false));
        let collector = self.collector();
        (collector.spool, collector.log) = open(&collector.disk, limits);
    }

    /// Runs until all rows are delivered.
    fn run_dry(&mut self) {
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
            self.store.end_running(&mut self.dice);
            if self.collectors.iter().all(Collector::is_done) {
                return;
            }
        }
        let counts: Vec<_> = self
            .collectors
            .iter()
            .map(|collector| collector.spool.counts())
            .collect();
        panic!("it does not end: {counts:?}");
    }

    fn check(&self) {
        let Store { rows, letters, .. } = &self.store;
        for row in &self.acknowledged {
            let is_there = rows.contains_key(row) || letters.contains_key(row);
            assert!(is_there, "row {row} was acknowledged and is lost");
        }
        for row in letters.keys() {
            assert!(!rows.contains_key(row), "row {row} is stored, and a dead letter");
        }
        for (&row, &times) in rows.iter().chain(letters) {
            assert!(row < self.sent, "row {row} was never sent");
            assert_eq!(times, 1, "row {row} is stored {times} times");
        }
        for collector in &self.collectors {
            let aside = collector.disk.0.lock().unwrap().aside;
            assert_eq!(aside, 0, "a torn write is no damage");
        }
    }
}

fn run(seed: u64, collectors: usize) -> World {
    run_watched(seed, collectors, |_| {})
}

/// Runs a case, and calls `watch` after each step.
fn run_watched(seed: u64, collectors: usize, mut watch: impl FnMut(&World)) -> World {
    let mut world = World::new(seed, collectors);
    let steps = (20 + world.dice.below(100)) * collectors as u64;
    for _ in 0..steps {
        world.step();
        watch(&world);
        let memory_bytes = world.limits.memory_bytes;
        let collector = world.collector();
        let bytes = collector.disk.bytes();
        // The bound, the segments in reserve, and the frames around one block.
        assert!(bytes < (8 << 10) + 600, "the disk's bound: {bytes}");
        assert!(collector.spool.memory_bytes() <= memory_bytes + 200);
    }
    world.run_dry();
    watch(&world);
    world.check();
    // Delivered rows leave nothing on disk.
    for at in 0..collectors {
        world.at = at;
        world.collector().log.remove_finished();
        world.commit();
        world.reopen();
        assert!(world.collector().is_done());
    }
    world
}

/// Seeds that once found a bug.
const SEEDS: [u64; 12] = [
    645, 3677, 4244, 2250, 71_543, 3108, 7738, 6177, 15_470, 22_096, 121_418, 14_063,
];

/// Runs all seeds with this number of collectors, and checks that the cases cover something.
/// `ROWMILL_SIMULATION_SEED` runs one case alone.
fn run_all(collectors: usize, cases: u64) {
    if let Ok(seed) = std::env::var("ROWMILL_SIMULATION_SEED") {
        run(seed.parse().unwrap(), collectors);
        return;
    }
    let cases = std::env::var("ROWMILL_SIMULATION_CASES").map_or(cases, |cases| cases.parse().unwrap());
    let (mut sent, mut acknowledged, mut letters, mut emptied, mut found) = (0_u64, 0, 0, 0, 0);
    for seed in SEEDS.into_iter().chain(0..cases) {
        let world = std::panic::catch_unwind(|| run(seed, collectors));
        let world = world.unwrap_or_else(|_| panic!("seed {seed} of {collectors} collectors"));
        sent += u64::from(world.sent);
        acknowledged += world.acknowledged.len();
        letters += world.store.letters.len();
        emptied += world
            .collectors
            .iter()
            .map(|collector| collector.emptied)
            .sum::<usize>();
        found += world.found;
    }
    assert!(acknowledged as u64 > sent / 6, "{acknowledged} of {sent}");
    assert!(
        letters > 0 && emptied > 0 && found > 0,
        "{letters} letters, {emptied} segments emptied, {found} rows found"
    );
}

#[test]
fn what_is_acknowledged_is_stored_once_whatever_happens() {
    run_all(1, 10_000);
}

#[test]
fn collectors_that_share_a_table_store_each_row_once() {
    run_all(2, 1_500);
    run_all(6, 500);
}

/// The visible state of a world: what is on disk to the last bit, what each table has left to do,
/// the acknowledged rows, and the tokens that ClickHouse remembers.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    segments: Vec<BTreeMap<u64, Vec<u8>>>,
    counts: Vec<Vec<TableCounts>>,
    acknowledged: BTreeSet<u32>,
    tokens: BTreeSet<String>,
}

impl Snapshot {
    fn of(world: &World) -> Self {
        let collectors = world.collectors.iter();
        let segments = collectors.clone().map(|collector| {
            let state = collector.disk.0.lock().unwrap();
            let segments = state.segments.iter();
            segments
                .map(|(number, segment)| (*number, segment.bytes.clone()))
                .collect()
        });
        Self {
            segments: segments.collect(),
            counts: collectors.map(|collector| collector.spool.counts()).collect(),
            acknowledged: world.acknowledged.clone(),
            tokens: world.store.tokens.iter().flatten().cloned().collect(),
        }
    }
}

#[test]
fn a_seed_repeats_its_case_to_the_last_bit() {
    for (seed, collectors) in SEEDS.into_iter().chain(0..20).map(|seed| (seed, 1 + seed as usize % 2)) {
        let [first, second] = [(), ()].map(|()| {
            let mut steps = Vec::new();
            run_watched(seed, collectors, |world| steps.push(Snapshot::of(world)));
            steps
        });
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        assert_eq!((differs, first.len()), (None, second.len()), "seed {seed}");
    }
}
