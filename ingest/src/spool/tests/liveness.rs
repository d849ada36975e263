//! Liveness: no refusal and no fault leaves rows waiting. A row that waits to be stored gets its
//! response soon after any of them.
//!
//! The log has its own thread and each table's delivery its own task, so that the tests find
//! a missing wake-up.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    ack::Ack,
    block::{BlockLimits, receipt::Receipt, rows::RowBatch},
    spool::{
        Appender, Next, Outcome, Parked, Spool, SpoolLimits, TableId, TableReader,
        log::LogLimits,
        tests::{
            disk::SimulatedDisk,
            world::{keys, layouts},
        },
    },
    table::dead_letter::REJECTED,
};

/// Much longer than any wait here.
const SOON: Duration = Duration::from_secs(10);

const LIMITS: SpoolLimits = SpoolLimits {
    blocks: BlockLimits {
        rows: 100,
        bytes: 1 << 20,
        age: Duration::from_millis(20),
    },
    memory_bytes: 16 << 10,
    log: LogLimits {
        segment_bytes: 8 << 10,
        max_bytes: 64 << 10,
    },
    keys: 1_000,
};

const TABLES: usize = 2;

/// A row that ClickHouse refuses.
const POISON: &[u8] = b"poison";

/// A spool with all of its threads and tasks.
struct World {
    disk: Arc<SimulatedDisk>,
    spool: Spool,
    appender: Appender,
    /// The table that gets all rows.
    table: TableId,
    /// Whether ClickHouse is reachable.
    store: watch::Sender<bool>,
    deliveries: JoinSet<()>,
    committer: Option<thread::JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: SpoolLimits) -> Self {
        let disk = Arc::<SimulatedDisk>::default();
        let shared = Arc::clone(&disk);
        let (spool, committer) =
            Spool::recovered(shared, Path::new("simulated"), layouts(TABLES), limits, keys()).unwrap();
        let store = watch::Sender::new(true);
        let mut deliveries = JoinSet::new();
        for reader in spool.readers() {
            deliveries.spawn(deliver(reader, store.subscribe()));
        }
        Self {
            disk,
            appender: spool.appender(),
            table: spool.readers()[0].id(),
            spool,
            store,
            deliveries,
            committer: Some(thread::spawn(move || committer.run())),
        }
    }

    fn append(&self, ack: Ack, row: &[u8]) -> Option<Receipt> {
        self.appender
            .append(self.table, ack, |out| out.extend_from_slice(row))
            .ok()
    }

    fn append_many(&self, rows: usize, row: &[u8]) -> Option<Receipt> {
        let mut batch = RowBatch::with_capacity_for(0);
        for _ in 0..rows {
            batch.push(&REJECTED, |out| out.extend_from_slice(row)).unwrap();
        }
        self.appender.append_rows(self.table, Ack::Stored, &mut batch).ok()
    }

    /// Waits until a row is accepted, and then until it is stored.
    async fn is_alive(&self, fault: &str) {
        let stored = async {
            let receipt = loop {
                match self.append(Ack::Stored, b"alive") {
                    Some(receipt) => break receipt,
                    None => sleep(Duration::from_millis(5)).await,
                }
            };
            receipt.reached().await
        };
        let reached = timeout(SOON, stored).await;
        assert_eq!(reached.ok(), Some(Ack::Stored), "after {fault}");
        self.is_empty(fault).await;
    }

    /// Waits until no row is pending.
    async fn is_empty(&self, fault: &str) {
        let emptied = async {
            while self.spool.counts().iter().any(|counts| counts.rows_pending > 0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let emptied = timeout(SOON, emptied).await;
        assert!(emptied.is_ok(), "after {fault}: {:?}", self.spool.counts());
    }

    /// Waits until `condition` returns true.
    async fn until(&self, mut condition: impl FnMut() -> bool) {
        let waits = async {
            while !condition() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(SOON, waits).await.is_ok(), "the condition is not met");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().is_full = false;
        self.spool.close();
        self.spool.stop();
        _ = self.committer.take().map(thread::JoinHandle::join);
    }
}

/// Like `Delivery`, to a ClickHouse that stores everything but poison.
async fn deliver(reader: TableReader, mut store: watch::Receiver<bool>) {
    while let Next::Rows(block, _) = reader.next_block(Parked::NONE).await {
        while let Some(part) = block.next_part() {
            _ = store.wait_for(|is_there| *is_there).await;
            let Ok(rows) = reader.rows(&block, &part).await else {
                sleep(Duration::from_millis(5)).await;
                continue;
            };
            let is_poisoned = rows.bytes.windows(POISON.len()).any(|bytes| bytes == POISON);
            if reader.is_of_dead_letters() || !is_poisoned {
                reader.settle(&block, &part, Outcome::Stored);
            } else if part.len() > 1 {
                let middle = part.middle().unwrap();
                if reader.cut(&block, middle).await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            } else {
                let refused = reader.move_to_dead_letters(&block, &part, |out| out.push(b'!'));
                if refused.await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
    reader.finish();
}

#[tokio::test]
async fn rows_before_a_refused_batch_are_stored() {
    let age = Duration::from_secs(3600);
    let world = World::with(SpoolLimits {
        blocks: BlockLimits { age, ..LIMITS.blocks },
        ..LIMITS
    });
    let receipt = world.append_many(60, b"row").unwrap();
    let progress = Arc::clone(&receipt.waiting.as_ref().unwrap().progress);
    world.until(|| progress.read(|progress| progress.on_disk == 60)).await;
    // The second batch would exceed the block's limit. The block is therefore sealed, and the batch
    // does not fit into memory.
    assert!(world.append_many(90, &[7; 400]).is_none());
    let reached = timeout(SOON, receipt.reached()).await;
    assert_eq!(reached.ok(), Some(Ack::Stored));
}

#[tokio::test]
async fn rows_are_stored_after_memory_was_full() {
    let world = World::new();
    world.disk.0.lock().unwrap().is_full = true;
    while world.append(Ack::Accepted, &[7; 100]).is_some() {}
    world.disk.0.lock().unwrap().is_full = false;
    world.is_alive("memory was full").await;
    assert_eq!(world.spool.memory_bytes(), 0, "each reserved byte is released");
}

#[tokio::test]
async fn rows_are_stored_after_a_row_too_large_and_a_panic_of_an_encoder() {
    let world = World::new();
    for before in [false, true] {
        if before {
            assert!(world.append(Ack::Accepted, b"before").is_some());
        }
        assert!(world.append(Ack::Stored, &[7; 20 << 10]).is_none());
        world.is_alive("a row that is too large").await;

        if before {
            assert!(world.append(Ack::Accepted, b"before").is_some());
        }
        let panics = AssertUnwindSafe(|| {
            _ = world.appender.append(world.table, Ack::Stored, |out| {
                out.extend_from_slice(b"half a row");
                panic!("a test's own");
            });
        });
        assert!(catch_unwind(panics).is_err());
        world.is_alive("an encoder panicked").await;
    }
}

#[tokio::test]
async fn rows_are_stored_after_each_failure_of_the_disk() {
    let world = World::new();
    for fault in ["a write", "a sync", "a sync and its truncation", "a full disk"] {
        // ClickHouse is unreachable as well, so that only the disk has to come back.
        world.store.send_replace(false);
        {
            let mut disk = world.disk.0.lock().unwrap();
            match fault {
                "a write" => disk.fails_after = Some(10),
                "a sync" => disk.sync_fails = true,
                "a sync and its truncation" => (disk.sync_fails, disk.truncate_fails) = (true, true),
                _ => disk.is_full = true,
            }
        }
        let receipt = world.append(Ack::Spooled, b"row").unwrap();
        // While the disk fails, the response does not wait for it.
        let reached = timeout(SOON, receipt.reached()).await.ok();
        assert!(reached.is_some(), "{fault}");
        if fault == "a full disk" {
            // The disk fails again when the log creates a segment. On that path, no queue is marked
            // as changed again.
            world.until(|| world.disk.0.lock().unwrap().refusals >= 3).await;
        }
        world.disk.0.lock().unwrap().is_full = false;
        // No append wakes the log.
        world.until(|| !world.spool.is_failing()).await;
        world.store.send_replace(true);
        world.is_alive(fault).await;
    }
}

#[tokio::test]
async fn rows_are_stored_after_the_spool_was_full() {
    let world = World::new();
    world.store.send_replace(false);
    let filled = async {
        while let Some(receipt) = world.append(Ack::Spooled, &[7; 200]) {
            receipt.reached().await;
        }
    };
    assert!(timeout(SOON, filled).await.is_ok());
    world.store.send_replace(true);
    world.is_alive("the disk was full of waiting rows").await;
}

#[tokio::test]
async fn rows_in_a_block_with_a_refused_row_are_stored() {
    let world = World::new();
    let good = world.append(Ack::Stored, b"good").unwrap();
    let bad = world.append(Ack::Stored, POISON).unwrap();
    for _ in 0..5 {
        assert!(world.append(Ack::Accepted, b"good").is_some());
    }
    assert_eq!(timeout(SOON, good.reached()).await.ok(), Some(Ack::Stored));
    assert_eq!(timeout(SOON, bad.reached()).await.ok(), Some(Ack::Spooled));
    world.is_alive("a row was refused").await;
}

#[tokio::test]
async fn rows_that_are_only_on_disk_are_stored() {
    let world = World::new();
    world.store.send_replace(false);
    for _ in 0..5 {
        let receipts: Vec<_> = (0..50).map_while(|_| world.append(Ack::Spooled, &[7; 40])).collect();
        for receipt in receipts {
            receipt.reached().await;
        }
    }
    assert!(world.spool.memory_bytes() <= LIMITS.memory_bytes / 4);
    world.store.send_replace(true);
    world.is_alive("rows were on disk alone").await;
}

#[tokio::test]
async fn rows_accepted_before_the_close_are_stored() {
    let mut world = World::new();
    let receipt = world.append(Ack::Stored, b"row").unwrap();
    world.spool.close();
    assert!(world.append(Ack::Stored, b"late").is_none());
    assert!(world.append_many(2, b"late").is_none());
    assert_eq!(timeout(SOON, receipt.reached()).await.ok(), Some(Ack::Stored));
    let ended = async { while world.deliveries.join_next().await.is_some() {} };
    assert!(timeout(SOON, ended).await.is_ok(), "the deliveries end");
}
