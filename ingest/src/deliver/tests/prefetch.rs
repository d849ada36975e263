//! The blocks that a delivery prefetches while an insert is in flight.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::fake_server::{A, B, FakeServer, Insert, MAX_WAIT, SCHEMA, options, put};
use crate::{
    ack::Ack,
    block::{parts::Part, sealed::SealedBlock},
    deliver::{
        Changes, Delivery,
        servers::{ServerPool, Turns},
    },
    spool::{Appender, Next, Outcome, Parked, Spool, TableLayouts, TableReader},
    store::Connection,
    sync::state::State,
    table::Table,
    writer::{Writer, WriterOptions},
};

/// A delivery of small blocks to a server that answers one insert per permit.
struct Scene {
    spool: Spool,
    appender: Appender,
    readers: Vec<TableReader>,
    delivery: Arc<Delivery>,
    server: FakeServer,
    inserts: usize,
    _states: watch::Sender<Vec<State>>,
}

impl Scene {
    async fn begin(script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static, inserts: usize) -> Self {
        Self::of_blocks(1, script, inserts).await
    }

    async fn of_blocks(
        block_rows: usize,
        script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static,
        inserts: usize,
    ) -> Self {
        let server = FakeServer::start(script).await;
        server.responses.forget_permits(Semaphore::MAX_PERMITS);
        let options = WriterOptions {
            block_rows,
            ..options()
        };
        let spool = Spool::in_memory(TableLayouts::of(&SCHEMA), options.limits());
        let connection = Arc::new(Connection::new(&server.url(), Vec::new()));
        let (states, receiver) = watch::channel(vec![State::Ready(connection)]);
        let servers = ServerPool::new(receiver, Turns::All);
        let delivery = Arc::new(Delivery::new(
            servers,
            spool.clone(),
            inserts,
            MAX_WAIT,
            Changes::default(),
            None,
        ));
        Self {
            appender: spool.appender(),
            readers: spool.readers(),
            spool,
            delivery,
            server,
            inserts,
            _states: states,
        }
    }

    /// Returns the number of tables with a prefetched block.
    fn prefetched(&self) -> usize {
        self.inserts - self.delivery.free_prefetch_permits()
    }

    fn put(&self, table: usize, row: u8) {
        let id = self.readers[table].id();
        let receipt = self.appender.append(id, Ack::Accepted, |out| out.push(row));
        assert!(receipt.is_ok());
    }

    /// Returns the first table's next block.
    async fn next(&self) -> Arc<SealedBlock> {
        match self.readers[0].next_block(Parked::NONE).await {
            Next::Rows(block, _) => block,
            other => panic!("{other:?}"),
        }
    }

    fn deliver(&self, table: usize) {
        let (delivery, reader) = (Arc::clone(&self.delivery), self.readers[table].clone());
        tokio::spawn(async move { delivery.run(reader).await });
    }

    async fn until(&self, is_done: impl Fn() -> bool) {
        let waiting = async {
            while !is_done() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(MAX_WAIT, waiting).await.is_ok(), "{:?}", self.spool.counts());
    }

    fn rows_of(&self, table: &Table) -> Vec<u8> {
        let inserts = self.server.inserts(table);
        inserts
            .iter()
            .map(|insert| insert.body[insert.body.len() - 1])
            .collect()
    }
}

#[tokio::test]
async fn the_next_block_is_prefetched_during_an_insert() {
    for (at, table) in [(0, &A), (1, &B)] {
        let scene = Scene::begin(|_, _| 0, 2).await;
        scene.put(at, 1);
        scene.deliver(at);
        scene.until(|| scene.server.inserts(table).len() == 1).await;
        assert_eq!(scene.prefetched(), 0, "there is no next block yet");
        for row in 2..=5 {
            scene.put(at, row);
        }
        scene.until(|| scene.prefetched() == 1).await;
        assert_eq!(scene.rows_of(table), [1], "the prefetched block waits");
        scene.server.responses.add_permits(Semaphore::MAX_PERMITS);
        scene.until(|| scene.spool.counts()[at].rows_inserted == 5).await;
        assert_eq!(scene.rows_of(table), [1, 2, 3, 4, 5]);
        let token = |insert: &Insert| insert.parameters["insert_deduplication_token"].clone();
        let mut tokens: Vec<_> = scene.server.inserts(table).iter().map(token).collect();
        tokens.dedup();
        assert_eq!(tokens.len(), 5);
        assert_eq!(scene.prefetched(), 0);
    }
}

#[tokio::test]
async fn at_most_as_many_blocks_are_prefetched_as_inserts_may_run() {
    let scene = Scene::begin(|_, _| 0, 1).await;
    for table in [0, 1] {
        scene.deliver(table);
        scene.put(table, 1);
    }
    scene.until(|| !scene.rows_of(&A).is_empty()).await;
    for row in 2..=3 {
        scene.put(0, row);
        scene.put(1, row);
    }
    scene.until(|| scene.prefetched() == 1).await;
    // Answer one insert at a time: the second table's delivery starts while the first table has a
    // prefetched block.
    for inserts in 1..=6 {
        scene.server.responses.add_permits(1);
        let inserted = || {
            scene
                .spool
                .counts()
                .iter()
                .map(|counts| counts.rows_inserted)
                .sum::<u64>()
        };
        scene.until(|| inserted() == inserts).await;
    }
    assert_eq!(scene.prefetched(), 0);
    assert_eq!((scene.rows_of(&A), scene.rows_of(&B)), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[tokio::test]
async fn no_block_is_prefetched_after_a_block_that_is_retried() {
    // MEMORY_LIMIT_EXCEEDED, three times.
    let scene = Scene::begin(|_, n| if n < 4 { 241 } else { 0 }, 2).await;
    scene.deliver(0);
    scene.put(0, 1);
    scene.until(|| !scene.rows_of(&A).is_empty()).await;
    scene.put(0, 2);
    scene.put(0, 3);
    scene.until(|| scene.prefetched() == 1).await;
    for tries in 1..=3 {
        scene.until(|| scene.server.inserts(&A).len() == tries).await;
        scene.server.responses.add_permits(1);
        scene.until(|| scene.spool.counts()[0].retries == tries as u64).await;
        assert_eq!(scene.prefetched(), 0);
    }
    scene.server.responses.add_permits(Semaphore::MAX_PERMITS / 2);
    scene.until(|| scene.spool.counts()[0].rows_inserted == 3).await;
    assert_eq!(scene.rows_of(&A), [1, 1, 1, 1, 2, 3]);
}

#[tokio::test]
async fn a_prefetched_block_waits_for_all_parts_of_the_block_before_it() {
    let scene = Scene::of_blocks(2, |_, _| 0, 2).await;
    scene.put(0, 1);
    scene.put(0, 2);
    let block = scene.next().await;
    scene.readers[0].cut(&block, 1).await.unwrap();
    scene.deliver(0);
    scene.until(|| scene.rows_of(&A) == [1]).await;
    scene.put(0, 3);
    scene.put(0, 4);
    scene.until(|| scene.prefetched() == 1).await;
    scene.server.responses.add_permits(Semaphore::MAX_PERMITS);
    scene.until(|| scene.spool.counts()[0].rows_inserted == 4).await;
    assert_eq!(scene.rows_of(&A), [1, 2, 4]);
}

#[tokio::test]
async fn no_block_of_a_throttled_backlog_is_prefetched() {
    let scene = Scene::begin(|_, _| 0, 2).await;
    for row in 1..=3 {
        scene.put(0, row);
    }
    scene.deliver(0);
    scene.until(|| scene.rows_of(&A) == [1]).await;
    assert_eq!(scene.prefetched(), 0);
}

#[tokio::test]
async fn rows_on_disk_use_no_memory_during_their_insert() {
    let folder = tempfile::tempdir().unwrap();
    let server = FakeServer::start(|_, n| if n == 1 { 241 } else { 0 }).await;
    server.responses.forget_permits(Semaphore::MAX_PERMITS);
    let writer = Writer::open(&SCHEMA, server.servers(), &options(), folder.path()).unwrap();
    put(&writer, &B, 0x77).unwrap();
    while server.inserts(&B).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(writer.status().memory_bytes, 0);
    server.responses.add_permits(Semaphore::MAX_PERMITS);
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(inserts.len(), 2);
    assert_eq!(inserts[0], inserts[1]);
}

#[tokio::test]
async fn prefetch_returns_the_whole_second_block() {
    let scene = Scene::begin(|_, _| 0, 2).await;
    let at_once = Duration::ZERO;
    assert!(timeout(at_once, scene.readers[0].prefetch()).await.is_err());
    scene.put(0, 1);
    assert!(timeout(at_once, scene.readers[0].prefetch()).await.is_err());
    scene.put(0, 2);
    scene.put(0, 3);
    let prefetched = scene.readers[0].prefetch().await;
    assert_eq!(
        (&prefetched.rows.bytes[..], prefetched.part.clone()),
        (&[2][..], Part::from(0..1))
    );
    let first = scene.next().await;
    assert_ne!(first.id, prefetched.block.id);
    scene.readers[0].settle(&first, &Part::from(0..1), Outcome::Stored);
    let next = scene.next().await;
    assert_eq!(next.id, prefetched.block.id);
}
