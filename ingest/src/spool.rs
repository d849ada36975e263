//! The spool: blocks between the moment a row is taken and the moment ClickHouse has it.
//!
//! Takes rows, gives sealed blocks, oldest first and each table for itself; a block stays until it is reported done. Promises:
//! the memory of all rows in it stays under one bound, beyond which [`Spool::append`] says [`Full`]; a lock is held for one
//! row's encoding and never across an `.await`.
//!
//! Its operations are those of a log, append · seal · next · done: this one lives in memory, so that a crash loses what is not
//! done; one on disk can stand in its place.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant as StdInstant,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    block::{Block, BlockLimits, SealedBlock},
    table::Table,
};

/// No room for a row: the spool's bound is reached, or it has been closed. The row was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another row until ClickHouse has taken some")
    }
}

impl std::error::Error for Full {}

/// How often lack of room is logged.
const ALARM_INTERVAL_S: u64 = 60;

/// The rows of all tables that are not yet stored.
#[derive(Debug)]
pub(crate) struct Spool {
    lanes: Box<[Lane]>,
    limits: BlockLimits,
    max_bytes: usize,
    /// The cost of all rows, open and sealed. It never exceeds `max_bytes`.
    pending_bytes: AtomicUsize,
    closed: AtomicBool,
    closing: Notify,
    started: StdInstant,
    /// When lack of room is logged again, in seconds since the start.
    next_alarm_s: AtomicU64,
}

/// One table's way through the spool.
#[derive(Debug)]
struct Lane {
    table: &'static Table,
    queue: Mutex<Queue>,
    /// Something for [`Spool::next`] to look at: a block was opened or sealed, or the spool closed.
    changed: Notify,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    open: Block,
    sealed: VecDeque<Arc<SealedBlock>>,
}

/// What has happened to one table's rows since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows_appended: AtomicU64,
    pub(crate) rows_without_room: AtomicU64,
    pub(crate) rows_inserted: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// One table's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableCounts {
    /// The table's name.
    pub table: &'static str,
    /// Rows taken since the start.
    pub rows_appended: u64,
    /// Rows not taken because there was no room.
    pub rows_without_room: u64,
    /// Rows that ClickHouse has confirmed.
    pub rows_inserted: u64,
    /// Blocks that ClickHouse has confirmed.
    pub inserts: u64,
    /// Inserts that failed and were, or will be, tried again.
    pub retries: u64,
    /// Rows taken and not yet confirmed.
    pub rows_pending: u64,
    /// Blocks with such rows, the open one included.
    pub blocks_pending: u64,
    /// The memory that such rows take, in bytes.
    pub bytes_pending: u64,
}

/// What [`Spool::next`] finds.
enum Found {
    Block(Arc<SealedBlock>),
    /// An open block, to be sealed at this time.
    Young(Instant),
    Nothing,
    End,
}

impl Spool {
    /// Returns an empty spool with a lane for each of `tables`, in the order of their indices, and a last one for `last`.
    pub(crate) fn new(tables: &[&'static Table], last: &'static Table, limits: BlockLimits, max_bytes: usize) -> Self {
        let lanes = tables.iter().copied().chain([last]).map(|table| Lane {
            table,
            queue: Mutex::default(),
            changed: Notify::new(),
            counters: Counters::default(),
        });
        Self {
            lanes: lanes.collect(),
            limits,
            max_bytes,
            pending_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            started: StdInstant::now(),
            next_alarm_s: AtomicU64::new(0),
        }
    }

    /// Returns the tables; a table's place among them is its lane.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &'static Table> {
        self.lanes.iter().map(|lane| lane.table)
    }

    /// Returns a lane's counters.
    pub(crate) fn counters(&self, lane: usize) -> &Counters {
        &self.lanes[lane].counters
    }

    /// Takes one row, which `encode` writes straight into the table's open block.
    ///
    /// # Errors
    /// [`Full`] when the bound is reached, or the spool is closed.
    ///
    /// # Panics
    /// If the table has no lane here: its rows would go into another one.
    pub(crate) fn append(&self, table: &Table, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Full> {
        // A table's index is its lane, but for the dead letters', which is the last.
        let lane = &self.lanes[table.index.min(self.lanes.len() - 1)];
        assert_eq!(
            lane.table.name, table.name,
            "a row of a table that is not in this schema"
        );
        let result = self.append_to(lane, encode);
        let counter = match result {
            Ok(()) => &lane.counters.rows_appended,
            Err(Full) => &lane.counters.rows_without_room,
        };
        Counters::add(counter, 1);
        if result.is_err() && !self.is_closed() {
            self.raise_alarm();
        }
        result
    }

    /// Logs that rows are not taken, once in a while and not once a row.
    #[cold]
    fn raise_alarm(&self) {
        let now_s = self.started.elapsed().as_secs();
        let due_s = self.next_alarm_s.load(Ordering::Relaxed);
        let next_s = now_s + ALARM_INTERVAL_S;
        let is_ours = || {
            self.next_alarm_s
                .compare_exchange(due_s, next_s, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now_s >= due_s && is_ours() {
            tracing::error!(
                max_bytes = self.max_bytes,
                "rows are not taken: no room is left until ClickHouse has taken some of those that wait"
            );
        }
    }

    fn append_to(&self, lane: &Lane, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Full> {
        // Spares the encoding when nothing fits anyway.
        if self.pending_bytes.load(Ordering::Relaxed) >= self.max_bytes {
            return Err(Full);
        }
        let mut queue = lane.lock();
        // Read under the lock: whoever closes and then takes the lock has seen the last row.
        if self.is_closed() || !queue.open.append(encode, |cost| self.reserve(cost)) {
            return Err(Full);
        }
        let is_first = queue.open.rows() == 1;
        let is_sealed = self.limits.are_reached_by(&queue.open);
        if is_sealed {
            queue.seal(lane.table);
        }
        drop(queue);
        if is_first || is_sealed {
            lane.changed.notify_one();
        }
        Ok(())
    }

    /// Returns the lane's oldest block, and waits for one; none once the spool is closed and the lane empty.
    ///
    /// The block stays first until it is [done](Self::done). An open block is sealed here when its age is reached: while its
    /// lane is busy with an older one it goes on growing, so that a slow ClickHouse gets fewer, larger blocks.
    /// One task at a time may wait for a lane.
    pub(crate) async fn next(&self, lane: usize) -> Option<Arc<SealedBlock>> {
        let lane = &self.lanes[lane];
        loop {
            match self.look(lane) {
                Found::Block(block) => return Some(block),
                // Either way there is something new to look at.
                Found::Young(until) => _ = timeout_at(until, lane.changed.notified()).await,
                Found::Nothing => lane.changed.notified().await,
                Found::End => return None,
            }
        }
    }

    fn look(&self, lane: &Lane) -> Found {
        let mut queue = lane.lock();
        if queue.sealed.is_empty() {
            let Some(opened_at) = queue.open.opened_at() else {
                return if self.is_closed() { Found::End } else { Found::Nothing };
            };
            let until = opened_at + self.limits.age;
            if !self.is_closed() && Instant::now() < until {
                return Found::Young(until);
            }
            queue.seal(lane.table);
        }
        queue.sealed.front().cloned().map_or(Found::Nothing, Found::Block)
    }

    /// Forgets the lane's oldest block, which ClickHouse has confirmed.
    pub(crate) fn done(&self, lane: usize, block: &SealedBlock) {
        let lane = &self.lanes[lane];
        let mut queue = lane.lock();
        if queue.sealed.front().is_none_or(|first| first.id != block.id) {
            debug_assert!(false, "only the oldest block can be done");
            return;
        }
        queue.sealed.pop_front();
        drop(queue);
        self.pending_bytes.fetch_sub(block.cost(), Ordering::Relaxed);
        Counters::add(&lane.counters.rows_inserted, block.rows() as u64);
        Counters::add(&lane.counters.inserts, 1);
    }

    /// Takes no more rows, and seals open blocks as soon as their lanes come to them.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
        for lane in &self.lanes {
            lane.changed.notify_one();
        }
    }

    /// Returns whether [`close`](Self::close) has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until the spool is closed.
    pub(crate) async fn closed(&self) {
        // Made before the look at the flag: it catches a call that comes in between.
        let closing = self.closing.notified();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Returns whether less than a sixteenth of the bound is free: rows may still fit, but not for long.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.pending_bytes.load(Ordering::Relaxed) > self.max_bytes - self.max_bytes / 16
    }

    /// Returns the counters of all tables.
    pub(crate) fn counts(&self) -> Vec<TableCounts> {
        self.lanes.iter().map(Lane::counts).collect()
    }

    /// Books `cost` bytes if they are free.
    fn reserve(&self, cost: usize) -> bool {
        self.pending_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| {
                pending.checked_add(cost).filter(|&sum| sum <= self.max_bytes)
            })
            .is_ok()
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic can only come from an encoder, and a block forgets what that left (see `Block::append`).
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> TableCounts {
        let queue = self.lock();
        let sealed = queue.sealed.iter();
        let (rows, bytes) = sealed.fold((queue.open.rows(), queue.open.cost()), |(rows, bytes), block| {
            (rows + block.rows(), bytes + block.cost())
        });
        let blocks = queue.sealed.len() + usize::from(queue.open.rows() > 0);
        drop(queue);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TableCounts {
            table: self.table.name,
            rows_appended: read(&self.counters.rows_appended),
            rows_without_room: read(&self.counters.rows_without_room),
            rows_inserted: read(&self.counters.rows_inserted),
            inserts: read(&self.counters.inserts),
            retries: read(&self.counters.retries),
            rows_pending: rows as u64,
            blocks_pending: blocks as u64,
            bytes_pending: bytes as u64,
        }
    }
}

impl Queue {
    fn seal(&mut self, table: &'static Table) {
        if let Some(block) = self.open.seal(table) {
            self.sealed.push_back(Arc::new(block));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{panic::catch_unwind, time::Duration};

    use super::*;
    use crate::{block::ROW_OVERHEAD, table::Format};

    const fn table(name: &'static str, index: usize) -> Table {
        Table {
            name,
            index,
            columns: &[],
            create: "",
            format: Format::RowBinary,
        }
    }
    static A: Table = table("a", 0);
    static B: Table = table("b", usize::MAX);

    const AGE: Duration = Duration::from_secs(1);

    fn spool(rows: usize, max_bytes: usize) -> Spool {
        let limits = BlockLimits {
            rows,
            bytes: 1 << 20,
            age: AGE,
        };
        Spool::new(&[&A], &B, limits, max_bytes)
    }

    fn put(spool: &Spool, lane: usize, row: &[u8]) -> Result<(), Full> {
        spool.append([&A, &B][lane], |out| out.extend_from_slice(row))
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_waits_for_its_age() {
        let spool = spool(10, 1 << 20);
        let start = Instant::now();
        put(&spool, 0, b"one").unwrap();
        let append_later = async {
            tokio::time::sleep(AGE / 2).await;
            put(&spool, 0, b"two").unwrap();
        };
        let (block, ()) = tokio::join!(spool.next(0), append_later);
        assert_eq!(&block.unwrap().bytes[..], b"onetwo");
        assert_eq!(start.elapsed().as_millis(), AGE.as_millis());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reached_limit_seals_at_once_and_the_oldest_comes_first() {
        let spool = spool(2, 1 << 20);
        let start = Instant::now();
        for row in [b"1", b"2", b"3", b"4"] {
            put(&spool, 0, row).unwrap();
        }
        let first = spool.next(0).await.unwrap();
        assert_eq!(&first.bytes[..], b"12");
        assert_eq!(
            spool.next(0).await.unwrap().id,
            first.id,
            "a block stays until it is done"
        );
        spool.done(0, &first);
        assert_eq!(&spool.next(0).await.unwrap().bytes[..], b"34");
        assert!(start.elapsed() < AGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_lane_wakes_for_a_first_row() {
        let spool = Arc::new(spool(10, 1 << 20));
        let waiting = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { spool.next(1).await.map(|block| block.table.name) }
        });
        tokio::time::sleep(AGE * 100).await;
        put(&spool, 1, b"late").unwrap();
        assert_eq!(waiting.await.unwrap(), Some("b"));
    }

    #[tokio::test]
    async fn memory_is_bounded_over_all_tables_and_freed_by_done() {
        let room = 3 * (10 + ROW_OVERHEAD);
        let spool = spool(1, room);
        put(&spool, 0, &[0; 10]).unwrap();
        put(&spool, 1, &[0; 10]).unwrap();
        assert_eq!(put(&spool, 0, &[0; 11]), Err(Full));
        put(&spool, 0, &[0; 10]).unwrap();
        assert!(spool.is_nearly_full());
        assert_eq!(put(&spool, 1, b""), Err(Full));

        let block = spool.next(1).await.unwrap();
        spool.done(1, &block);
        put(&spool, 0, &[0; 10]).unwrap();

        let [a, b] = spool.counts()[..] else {
            panic!("two tables")
        };
        assert_eq!((a.rows_pending, a.blocks_pending, a.rows_without_room), (3, 3, 1));
        assert_eq!(
            (b.rows_pending, b.rows_inserted, b.inserts, b.rows_without_room),
            (0, 1, 1, 1)
        );
        assert_eq!(a.bytes_pending as usize, room);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_seals_what_is_open_and_ends_the_lanes() {
        let spool = spool(10, 1 << 20);
        put(&spool, 0, b"last").unwrap();
        spool.close();
        assert_eq!(put(&spool, 0, b"too late"), Err(Full));
        let start = Instant::now();
        let block = spool.next(0).await.unwrap();
        assert_eq!(&block.bytes[..], b"last");
        spool.done(0, &block);
        assert!(spool.next(0).await.is_none() && spool.next(1).await.is_none());
        spool.closed().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_panicking_encoder_costs_its_own_row_only() {
        let spool = spool(10, 1 << 20);
        put(&spool, 0, b"one").unwrap();
        let before = spool.pending_bytes.load(Ordering::Relaxed);
        let torn = catch_unwind(|| {
            let spool = std::panic::AssertUnwindSafe(&spool);
            spool.append(&A, |out| {
                out.push(1);
                panic!("an encoder's mistake");
            })
        });
        assert!(torn.is_err());
        assert_eq!(spool.pending_bytes.load(Ordering::Relaxed), before);
        put(&spool, 0, b"two").unwrap();
        assert_eq!(spool.counts()[0].rows_pending, 2);
    }

    #[test]
    fn threads_never_exceed_the_bound() {
        let spool = spool(7, 10_000);
        let taken: usize = std::thread::scope(|scope| {
            let run = |lane| {
                let spool = &spool;
                scope.spawn(move || (0..1000).filter(|_| put(spool, lane, &[0; 16]).is_ok()).count())
            };
            [run(0), run(1), run(0), run(1)]
                .map(|thread| thread.join().unwrap())
                .iter()
                .sum()
        });
        assert_eq!(taken, 10_000 / (16 + ROW_OVERHEAD));
    }
}
