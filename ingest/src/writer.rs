//! The writer: the one handle through which rows go on their way to ClickHouse.
//!
//! Takes encoded rows and dead letters, puts them into the spool and runs its deliveries. [`Writer::append`] is synchronous and
//! takes as long as the encoding; everything slow happens behind it. ClickHouse need not be there yet: blocks wait for it.

use std::{path::Path, sync::Arc, thread, time::Duration};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    ack::{Ack, Receipt},
    block::BlockLimits,
    dead_letter::{DeadLetter, REJECTED},
    deliver::{Delivery, MAX_BLOCK_ROWS, Stores, layout},
    spool::{LogLimits, NoRoom, Spool, SpoolError, SpoolLimits, TableCounts, TableLayouts},
    table::{Schema, Table},
};

/// A block is compressed into one frame, for which ClickHouse allows 1 GiB.
const MAX_BLOCK_BYTES: usize = 512 << 20;

/// An age beyond a day is a mistake, and far ones overflow clocks.
const MAX_BLOCK_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A segment is left when it is this long, or an eighth of what the spool may be: small enough to be done with soon.
const SEGMENT_BYTES: u64 = 64 << 20;

/// A batch may reach beyond the bound of the disk by one frame.
const DISK_RESERVE: u64 = 4 << 20;

/// A delivery that ended by a panic starts again after this.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// How rows are gathered and delivered.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Rows after which a block is sealed, at most a million. Each insert makes a part on ClickHouse's disk whatever its
    /// size; 100 000 rows are what ClickHouse's own advice calls a good insert.
    pub block_rows: usize,
    /// Bytes after which a block is sealed. 16 MiB keeps wide rows from making an insert that takes long to send again.
    pub block_bytes: usize,
    /// Time after which a block is sealed, counted from its first row. One second is fresh enough to watch a dashboard by, and
    /// gives one part a second for each table at most.
    pub block_age: Duration,
    /// Memory that all rows may take; one table has at most as much of it as is free for all others. Without a folder these
    /// are all rows that ClickHouse has not confirmed, and 256 MiB carry a few thousand events a second through a minute's
    /// restart of ClickHouse.
    pub memory_bytes: usize,
    /// Disk that all segments of the spool may take; again, one table has at most as much as is free for all others.
    pub disk_bytes: u64,
    /// Inserts at a time over all tables. Two keep ClickHouse busy while one is on the way, and pace a backlog.
    pub inserts_in_flight: usize,
    /// Time for one insert, materialized views included. A try that is given up may still succeed; the next one is then a
    /// duplicate, which ClickHouse skips.
    pub insert_timeout: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            block_rows: 100_000,
            block_bytes: 16 << 20,
            block_age: Duration::from_secs(1),
            memory_bytes: 256 << 20,
            disk_bytes: 8 << 30,
            inserts_in_flight: 2,
            insert_timeout: Duration::from_secs(60),
        }
    }
}

impl WriterOptions {
    fn limits(&self) -> SpoolLimits {
        SpoolLimits {
            blocks: BlockLimits {
                rows: self.block_rows.clamp(1, MAX_BLOCK_ROWS),
                bytes: self.block_bytes.clamp(1, MAX_BLOCK_BYTES),
                age: self.block_age.min(MAX_BLOCK_AGE),
            },
            memory_bytes: self.memory_bytes,
            log: LogLimits {
                segment_bytes: SEGMENT_BYTES.min(self.disk_bytes / 8),
                max_bytes: self.disk_bytes.saturating_sub(DISK_RESERVE),
            },
        }
    }
}

/// The way of rows into the tables of one schema. A clone is one more handle to the same.
///
/// Rows that are on their way when the last handle is dropped are still delivered, as long as the runtime lives; only
/// [`drain`](Self::drain) waits for them.
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    /// The number of the schema's tables; the dead letters' lane is behind them.
    tables: usize,
    work: Mutex<Work>,
}

/// What runs behind the writer.
#[derive(Debug)]
struct Work {
    deliveries: JoinSet<()>,
    /// Writes the spool's log, if there is one.
    log: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the deliveries of all tables of `schema`, and of the dead letters. Rows are in memory alone, so that a process
    /// that is killed loses those that ClickHouse has not confirmed.
    ///
    /// Options out of range are brought to the nearest sensible value.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(schema: &'static Schema, stores: impl Into<Stores>, options: &WriterOptions) -> Self {
        let spool = Spool::in_memory(layouts(schema), options.limits());
        Self::run(schema, spool, None, stores.into(), options)
    }

    /// As [`start`](Self::start), with a spool in `folder`: rows are on disk as well until ClickHouse has confirmed them, and
    /// what an earlier process has left there is delivered first.
    ///
    /// # Errors
    /// See [`SpoolError`]: another process has the folder, or it cannot be read or written.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(
        schema: &'static Schema,
        stores: impl Into<Stores>,
        options: &WriterOptions,
        folder: &Path,
    ) -> Result<Self, SpoolError> {
        let (spool, log) = Spool::open(folder, layouts(schema), options.limits())?;
        Ok(Self::run(schema, spool, Some(log), stores.into(), options))
    }

    fn run(
        schema: &'static Schema,
        spool: Arc<Spool>,
        log: Option<thread::JoinHandle<()>>,
        stores: Stores,
        options: &WriterOptions,
    ) -> Self {
        let tables = schema.tables.len();
        let delivery = Delivery::new(
            stores,
            Arc::clone(&spool),
            tables,
            options.inserts_in_flight,
            options.insert_timeout,
        );
        // The log is written as long as anything is delivered.
        let delivery = Arc::new(StopAfter(delivery, Arc::clone(&spool)));
        let mut deliveries = JoinSet::new();
        for lane in 0..spool.lanes() {
            deliveries.spawn(run(Arc::clone(&delivery), lane, Arc::clone(spool.table(lane))));
        }
        Self {
            shared: Arc::new(Shared {
                spool,
                tables,
                work: Mutex::new(Work { deliveries, log }),
            }),
        }
    }

    /// Takes one row of `table`, a table of this writer's schema. `encode` appends the row in the table's format, and nothing
    /// else; if it panics, the row is not taken and nothing else is lost. The receipt lets `ack` be waited for.
    ///
    /// # Errors
    /// [`NoRoom`]: too many rows wait for ClickHouse, the disk fails that `ack` asks for, or the writer is draining.
    ///
    /// # Panics
    /// If the table is of another schema than the writer.
    pub fn append(
        &self,
        table: &'static Table,
        ack: Ack,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receipt, NoRoom> {
        // A table's index is its lane, but for the dead letters', which is the last of them.
        let lane = table.index.min(self.shared.tables);
        assert_eq!(
            &**self.shared.spool.table(lane),
            table.name,
            "a row of a table that is not in this schema"
        );
        self.shared.spool.append(lane, ack, encode)
    }

    /// Takes an event that could not become a row.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn reject(&self, letter: &DeadLetter<'_>, ack: Ack) -> Result<Receipt, NoRoom> {
        self.append(&REJECTED, ack, |out| letter.encode(out))
    }

    /// Returns whether rows are on disk as well as in memory.
    pub fn has_disk(&self) -> bool {
        self.shared.spool.has_disk()
    }

    /// Returns whether the room for waiting rows is all but used up, or the disk fails: time to tell a load balancer.
    pub fn is_nearly_full(&self) -> bool {
        self.shared.spool.is_nearly_full() || self.shared.spool.is_failing()
    }

    /// Returns whether the spool could not be written the last time.
    pub fn is_disk_failing(&self) -> bool {
        self.shared.spool.is_failing()
    }

    /// Returns the length of the spool's segments, in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.spool.disk_bytes()
    }

    /// Returns the memory that waiting rows take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.shared.spool.memory_bytes()
    }

    /// Returns what has happened to each table's rows: first the schema's tables, then the dead letters', then tables that an
    /// earlier process has left rows for and that the schema does not have any more.
    pub fn counters(&self) -> Vec<TableCounts> {
        self.shared.spool.counts()
    }

    /// Takes no more rows, waits until ClickHouse has all that were taken, at most for `within`, and stops the deliveries.
    ///
    /// Rows that are left then are in the folder for the next process; without a folder they are lost when the process ends,
    /// which is logged as an error.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        let shared = &self.shared;
        shared.spool.close();
        let mut work = shared.work.lock().await;
        let all_end = async { while work.deliveries.join_next().await.is_some() {} };
        if timeout(within, all_end).await.is_err() {
            work.deliveries.shutdown().await;
        }
        shared.spool.stop();
        if let Some(log) = work.log.take() {
            let ended = tokio::task::spawn_blocking(move || log.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the spool's log ended unexpectedly");
            }
        }
        drop(work);
        let left: Vec<_> = self
            .counters()
            .into_iter()
            .filter(|counts| counts.rows_pending > 0)
            .collect();
        let is_kept = shared.spool.has_disk() && !shared.spool.is_failing();
        for TableCounts {
            table, rows_pending, ..
        } in &left
        {
            if is_kept {
                tracing::warn!(%table, rows = rows_pending, "rows stay in the spool until the next start");
            } else {
                tracing::error!(%table, rows = rows_pending, "rows were not stored in time and are lost");
            }
        }
        DrainReport { left, is_kept }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.spool.close();
        self.work.get_mut().deliveries.detach_all();
    }
}

fn layouts(schema: &Schema) -> TableLayouts {
    schema.tables.iter().copied().chain([&REJECTED]).map(layout).collect()
}

/// Stops the spool's log when nobody delivers any more.
#[derive(Debug)]
struct StopAfter(Delivery, Arc<Spool>);

impl Drop for StopAfter {
    fn drop(&mut self) {
        self.1.stop();
    }
}

/// Runs a lane's deliveries, again after a panic: its blocks are still in the spool, and another try sends the same.
async fn run(delivery: Arc<StopAfter>, lane: usize, table: Arc<str>) {
    loop {
        // A set of one: when this task is stopped, it stops the one within.
        let mut one = JoinSet::new();
        let delivery = Arc::clone(&delivery);
        one.spawn(async move { delivery.0.run(lane).await });
        match one.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%table, %error, "a delivery ended unexpectedly and is started again");
                sleep(RESTART_WAIT).await;
            }
            _ => return,
        }
    }
}

/// What [`Writer::drain`] could not bring to ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainReport {
    /// The tables with rows that are left.
    pub left: Vec<TableCounts>,
    /// Whether those rows are on disk, for the next process.
    pub is_kept: bool,
}

impl DrainReport {
    /// Returns whether every row that was taken is stored.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the number of rows that are left.
    pub fn rows_left(&self) -> u64 {
        self.left.iter().map(|counts| counts.rows_pending).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Mutex as StdMutex};

    use bytes::Bytes;
    use clickhouse::Client;
    use http_body_util::{BodyExt, Full as FullBody};
    use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        store::StoreUrl,
        table::{Column, ColumnKind, Format},
    };

    static COLUMNS: [Column; 1] = [Column {
        name: "x",
        data_type: "UInt8",
        declaration: "`x` UInt8",
        kind: ColumnKind::Plain,
        is_nullable: false,
        takes_object: false,
    }];

    const fn table(name: &'static str, index: usize) -> Table {
        Table {
            name,
            index,
            columns: &COLUMNS,
            create: "",
            format: Format::RowBinary,
        }
    }
    static A: Table = table("a", 0);
    static B: Table = table("b", 1);
    static SCHEMA: Schema = Schema { tables: &[&A, &B] };

    /// An insert as a server sees it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Insert {
        parameters: HashMap<String, String>,
        body: Bytes,
    }

    impl Insert {
        fn is_into(&self, table: &Table) -> bool {
            self.parameters["query"].starts_with(&format!("INSERT INTO `{}` ", table.name))
        }
    }

    /// A server that keeps the inserts and answers each as `script` says: a ClickHouse error number, or 0 for success.
    #[derive(Clone)]
    struct FakeStore {
        address: SocketAddr,
        inserts: Arc<StdMutex<Vec<Insert>>>,
    }

    impl FakeStore {
        async fn start(script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let store = Self {
                address: listener.local_addr().unwrap(),
                inserts: Arc::default(),
            };
            let served = store.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let store = served.clone();
                    let service = service_fn(move |request| answer(store.clone(), request, script));
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            });
            store
        }

        fn client(&self) -> Client {
            format!("http://{}/stats", self.address)
                .parse::<StoreUrl>()
                .unwrap()
                .client()
        }

        fn inserts(&self, table: &Table) -> Vec<Insert> {
            let inserts = self.inserts.lock().unwrap();
            inserts.iter().filter(|insert| insert.is_into(table)).cloned().collect()
        }
    }

    async fn answer(
        store: FakeStore,
        request: Request<Incoming>,
        script: impl Fn(&Insert, usize) -> u32,
    ) -> Result<Response<FullBody<Bytes>>, Infallible> {
        let query = request.uri().query().unwrap_or("").to_owned();
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut inserts = store.inserts.lock().unwrap();
        inserts.push(Insert { parameters, body });
        let code = script(&inserts[inserts.len() - 1], inserts.len());
        let (status, text) = match code {
            0 => (200, String::new()),
            code => (500, format!("Code: {code}. DB::Exception: as the test wants it")),
        };
        Ok(Response::builder().status(status).body(text.into()).unwrap())
    }

    fn options() -> WriterOptions {
        WriterOptions {
            block_age: Duration::from_millis(5),
            ..WriterOptions::default()
        }
    }

    fn put(writer: &Writer, table: &'static Table, row: u8) -> Result<(), NoRoom> {
        writer.append(table, Ack::Accepted, |out| out.push(row)).map(drop)
    }

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn each_try_sends_the_same_bytes_under_the_same_token() {
        // TOO_MANY_PARTS, then MEMORY_LIMIT_EXCEEDED, then success.
        let store = FakeStore::start(|_, n| [252, 241, 0][n - 1]).await;
        let writer = Writer::start(&SCHEMA, store.client(), &options());
        put(&writer, &A, 1).unwrap();
        assert!(writer.drain(SOON).await.is_complete());

        let inserts = store.inserts(&A);
        assert_eq!(inserts.len(), 3);
        assert!(inserts.iter().all(|insert| *insert == inserts[0]));
        let parameters = &inserts[0].parameters;
        assert_eq!(parameters["query"], "INSERT INTO `a` (`x`) FORMAT RowBinary");
        assert_eq!(parameters["database"], "stats");
        assert!(parameters["insert_deduplication_token"].starts_with("a:"));
        for (name, value) in [
            ("insert_deduplicate", "1"),
            ("async_insert", "0"),
            ("wait_for_async_insert", "1"),
        ] {
            assert_eq!(parameters[name], value);
        }
        let counts = &writer.counters()[0];
        assert_eq!((counts.rows_inserted, counts.inserts, counts.retries), (1, 1, 2));
        assert_eq!((counts.rows_pending, counts.bytes_pending), (0, 0));
    }

    #[tokio::test]
    async fn a_table_in_trouble_delays_no_other_and_loses_nothing() {
        // UNKNOWN_TABLE and NETWORK_ERROR for one, at first.
        for code in [60, 210] {
            let missing = move |insert: &Insert, n| if insert.is_into(&A) && n < 3 { code } else { 0 };
            let store = FakeStore::start(missing).await;
            let writer = Writer::start(&SCHEMA, store.client(), &options());
            put(&writer, &A, 1).unwrap();
            while store.inserts(&A).is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            put(&writer, &B, 2).unwrap();
            while writer.counters()[1].rows_inserted == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(writer.counters()[0].rows_pending, 1);
            assert!(writer.drain(SOON).await.is_complete());
            assert_eq!(writer.counters()[0].rows_inserted, 1);
        }
    }

    #[tokio::test]
    async fn a_refused_row_costs_itself_alone() {
        // CANNOT_READ_ALL_DATA, where a 7 is among the rows of one byte; the compressed body has them as they are.
        let refusing = |insert: &Insert, _| {
            if insert.is_into(&A) && insert.body.contains(&0x77) {
                33
            } else {
                0
            }
        };
        let store = FakeStore::start(refusing).await;
        let writer = Writer::start(&SCHEMA, store.client(), &options());
        for row in [1, 2, 0x77, 4, 5, 6] {
            put(&writer, &A, row).unwrap();
        }
        while writer.counters()[0].rows_pending > 0 || writer.counters()[2].rows_inserted == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let counts = writer.counters();
        assert_eq!((counts[0].rows_inserted, counts[0].rows_refused), (5, 1));
        assert_eq!(counts[2].rows_inserted, 1);
        let tokens: Vec<_> = store
            .inserts(&A)
            .iter()
            .map(|insert| insert.parameters["insert_deduplication_token"].clone())
            .collect();
        let distinct: std::collections::HashSet<_> = tokens.iter().collect();
        assert_eq!(
            tokens.len(),
            distinct.len(),
            "no part is sent under another one's token"
        );
    }

    #[tokio::test]
    async fn a_table_that_refuses_every_row_is_held() {
        let store = FakeStore::start(|insert, _| if insert.is_into(&A) { 33 } else { 0 }).await;
        let writer = Writer::start(&SCHEMA, store.client(), &options());
        for _ in 0..200 {
            put(&writer, &A, 1).unwrap();
        }
        while writer.counters()[2].rows_inserted < 100 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(!writer.drain(Duration::from_millis(300)).await.is_complete());
        let counts = writer.counters();
        assert_eq!((counts[0].rows_pending, counts[0].rows_refused), (100, 100));
    }

    #[tokio::test]
    async fn another_server_takes_over_from_one_that_is_away() {
        let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let away = format!("http://{away}/stats").parse::<StoreUrl>().unwrap().client();
        let store = FakeStore::start(|_, _| 0).await;
        let stores: Stores = [away, store.client()].into_iter().collect();
        let writer = Writer::start(&SCHEMA, stores, &options());
        put(&writer, &A, 1).unwrap();
        put(&writer, &B, 1).unwrap();
        assert!(writer.drain(SOON).await.is_complete());
        assert_eq!(store.inserts(&A).len() + store.inserts(&B).len(), 2);
    }

    #[tokio::test]
    async fn draining_ends_at_its_deadline_and_tells_what_is_left() {
        let store = FakeStore::start(|insert, _| if insert.is_into(&A) { 242 } else { 0 }).await;
        let writer = Writer::start(&SCHEMA, store.client(), &options());
        for row in 0..3 {
            put(&writer, &A, row).unwrap();
            put(&writer, &B, row).unwrap();
        }
        let report = writer.drain(Duration::from_millis(300)).await;
        assert!(!report.is_complete());
        assert_eq!(report.rows_left(), 3);
        assert_eq!(
            report.left.iter().map(|counts| &*counts.table).collect::<Vec<_>>(),
            ["a"]
        );
        assert_eq!(put(&writer, &B, 9), Err(NoRoom));

        let sent = store.inserts(&A).len();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(store.inserts(&A).len(), sent, "the deliveries have been stopped");
    }

    #[tokio::test]
    async fn rows_wait_for_a_clickhouse_that_is_not_there_yet() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let client = format!("http://{unused}/stats").parse::<StoreUrl>().unwrap().client();
        let writer = Writer::start(&SCHEMA, client, &options());
        put(&writer, &A, 1).unwrap();
        while writer.counters()[0].retries < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(writer.counters()[0].rows_pending, 1);
    }

    #[tokio::test]
    async fn rows_are_delivered_after_the_last_handle_is_gone() {
        let store = FakeStore::start(|_, _| 0).await;
        let options = WriterOptions {
            block_age: MAX_BLOCK_AGE,
            ..options()
        };
        put(&Writer::start(&SCHEMA, store.client(), &options), &B, 1).unwrap();
        while store.inserts(&B).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn dead_letters_go_to_their_own_table() {
        let store = FakeStore::start(|_, _| 0).await;
        let writer = Writer::start(&SCHEMA, store.client(), &options());
        let letter = DeadLetter {
            time: jiff::Timestamp::UNIX_EPOCH,
            id: 1,
            service: "wh",
            name: "mail",
            table: "a",
            column: "x",
            code: "wrong_kind",
            reason: "text for a number",
            payload: b"{}",
            ip: "",
        };
        writer.reject(&letter, Ack::Accepted).unwrap();
        assert!(writer.drain(SOON).await.is_complete());
        assert_eq!(store.inserts(&REJECTED).len(), 1);
        assert_eq!(writer.counters()[2].rows_inserted, 1);
    }
}
