//! Rows sent to a server whose responses the test decides.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Mutex as StdMutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full as FullBody};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore};

use super::*;
use crate::{
    store::ClickHouseUrl,
    table::{Column, ColumnKind, Format, shape::Shape},
};

mod prefetch;

const COLUMN: Column = Column::new("x", "UInt8", "`x` UInt8", ColumnKind::Plain);
static IN_ROWS: [Column; 1] = [COLUMN];
static IN_COLUMNS: [Column; 1] = [COLUMN.shaped(Shape::Fixed(1))];

const fn table(name: &'static str, index: usize, columns: &'static [Column]) -> Table {
    Table {
        name,
        index,
        columns,
        create: "",
        format: Format::RowBinary,
        row_id: None,
        partition_key: None,
    }
}
static A: Table = table("a", 0, &IN_ROWS);
static B: Table = table("b", 1, &IN_COLUMNS);
static SCHEMA: Schema = Schema::new(&[&A, &B]);

/// The columns of `B` in a later program, with one more column before `x`.
static LATER_COLUMNS: [Column; 2] = [
    Column::new("w", "UInt8", "`w` UInt8", ColumnKind::Plain).shaped(Shape::Fixed(1)),
    COLUMN.shaped(Shape::Fixed(1)),
];
static LATER_B: Table = table("b", 1, &LATER_COLUMNS);
static LATER_SCHEMA: Schema = Schema::new(&[&A, &LATER_B]);

/// An insert as the server receives it.
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

/// A proxy's response to a body that is too large for it.
const TOO_LARGE: u32 = 1_000_001;

/// The response of another service.
const NOT_CLICKHOUSE: u32 = 1_000_002;

/// A server that records the inserts and answers each with the result of `script`: a ClickHouse
/// error number, or 0 for success.
#[derive(Clone)]
struct FakeServer {
    address: SocketAddr,
    inserts: Arc<StdMutex<Vec<Insert>>>,
    /// One permit for each response that may be sent.
    responses: Arc<Semaphore>,
    /// The time that each insert takes.
    insert_time: Duration,
}

impl FakeServer {
    async fn start(script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static) -> Self {
        Self::start_slow(Duration::ZERO, script).await
    }

    async fn start_slow(
        insert_time: Duration,
        script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            inserts: Arc::default(),
            responses: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            insert_time,
        };
        let served = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = served.clone();
                let service = service_fn(move |request| answer(server.clone(), request, script));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    fn url(&self) -> ClickHouseUrl {
        format!("http://{}/stats", self.address).parse().unwrap()
    }

    /// Returns the server, without a sync of its tables.
    fn servers(&self) -> Servers {
        Servers::without_sync(self.url())
    }

    fn inserts(&self, table: &Table) -> Vec<Insert> {
        let inserts = self.inserts.lock().unwrap();
        inserts.iter().filter(|insert| insert.is_into(table)).cloned().collect()
    }
}

async fn answer(
    server: FakeServer,
    request: Request<Incoming>,
    script: impl Fn(&Insert, usize) -> u32,
) -> Result<Response<FullBody<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or("").to_owned();
    let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut parameters: HashMap<String, String> = parameters;
    let is_of_lease = |text: &[u8]| memchr::memmem::find(text, b"rowmill_nodes").is_some();
    if is_of_lease(query.as_bytes()) || is_of_lease(&body) {
        let unknown = Response::builder().status(404);
        return Ok(unknown.body("Code: 60. DB::Exception: no such table".into()).unwrap());
    }
    // Each try has a different query id.
    let query_id = parameters.remove("query_id").unwrap_or_default();
    // The body of a query is its text.
    if !parameters.contains_key("query") && body.windows(14).any(|text| text == b"system.columns") {
        let text = String::from_utf8_lossy(&body);
        let is_about = |table: &&&Table| text.contains(&format!("= '{}'", table.name));
        let table = [&A, &LATER_B, &REJECTED].iter().find(is_about).copied();
        return Ok(Response::new(table.map(columns_of).unwrap_or_default().into()));
    }
    let code = {
        let mut inserts = server.inserts.lock().unwrap();
        inserts.push(Insert { parameters, body });
        script(&inserts[inserts.len() - 1], inserts.len())
    };
    server.responses.acquire().await.unwrap().forget();
    sleep(server.insert_time).await;
    if code == NOT_CLICKHOUSE {
        return Ok(Response::new("<html>welcome</html>".into()));
    }
    let (status, text) = match code {
        0 => (200, String::new()),
        TOO_LARGE => (413, "<html>too large</html>".to_owned()),
        code => (500, format!("Code: {code}. DB::Exception: an error of the test")),
    };
    let response = Response::builder()
        .status(status)
        .header("X-ClickHouse-Query-Id", query_id)
        .header("X-ClickHouse-Summary", r#"{"written_rows":"1000000"}"#);
    Ok(response.body(text.into()).unwrap())
}

/// Returns a table's rows of `system.columns`, in RowBinaryWithNamesAndTypes: name, type and the
/// kind of the default.
fn columns_of(table: &Table) -> Vec<u8> {
    let mut out = vec![3];
    let mut put = |text: &str| {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    for text in ["name", "type", "default_kind", "String", "String", "String"] {
        put(text);
    }
    for column in table.columns {
        [column.name, column.data_type, ""].into_iter().for_each(&mut put);
    }
    out
}

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(5),
        ..WriterOptions::default()
    }
}

fn put(writer: &Writer, table: &'static Table, row: u8) -> Result<(), SpoolFull> {
    writer.append(table, Ack::Accepted, |out| out.push(row)).map(drop)
}

const MAX_WAIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn each_try_sends_the_same_bytes_and_token() {
    // TOO_MANY_PARTS, then MEMORY_LIMIT_EXCEEDED, then success.
    let server = FakeServer::start(|_, n| [252, 241, 0][n - 1]).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());

    let inserts = server.inserts(&A);
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
async fn rows_without_ids_get_more_time_and_the_same_token_after_time_outs() {
    let server = FakeServer::start_slow(Duration::from_millis(500), |_, _| 0).await;
    let options = WriterOptions {
        insert_timeout: Duration::from_millis(150),
        ..options()
    };
    let writer = Writer::start(&SCHEMA, server.servers(), &options);
    for row in 0..4 {
        put(&writer, &A, row).unwrap();
    }
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&A);
    assert!(inserts.len() > 2, "{inserts:?}");
    assert!(inserts.iter().all(|insert| *insert == inserts[0]), "{inserts:?}");
    assert_eq!(writer.counters()[0].rows_inserted, 4);
}

#[tokio::test]
async fn rows_are_sent_as_columns_if_their_types_allow_it() {
    // MEMORY_LIMIT_EXCEEDED at first: the next try sends the same bytes.
    let server = FakeServer::start(|_, n| if n < 3 { 241 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &B, 0x77).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(inserts.len(), 3);
    assert!(inserts.iter().all(|insert| *insert == inserts[0]));
    assert_eq!(inserts[0].parameters["query"], "INSERT INTO `b` (`x`) FORMAT Native");
    // A single LZ4 literal, after the checksum and two lengths.
    assert!(
        inserts[0].body.ends_with(b"\x01\x01\x01x\x05UInt8\x77"),
        "{:?}",
        inserts[0]
    );
}

#[tokio::test]
async fn rows_that_do_not_match_their_types_are_sent_as_rows() {
    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    let receipt = writer.append(&B, Ack::Accepted, |out| out.extend_from_slice(b"\x77\x78"));
    assert!(receipt.is_ok());
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(inserts.len(), 1);
    assert_eq!(inserts[0].parameters["query"], "INSERT INTO `b` (`x`) FORMAT RowBinary");
    assert!(inserts[0].body.ends_with(b"\x77\x78"));
}

#[tokio::test]
async fn rows_of_an_earlier_process_are_sent_with_their_own_columns_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let query = |insert: &Insert| insert.parameters["query"].clone();
    let token = |insert: &Insert| insert.parameters["insert_deduplication_token"].clone();
    // TABLE_IS_READ_ONLY, as long as the first process runs.
    let server = FakeServer::start(|_, _| 242).await;
    let writer = Writer::open(&SCHEMA, server.servers(), &options(), folder.path()).unwrap();
    put(&writer, &B, 0x77).unwrap();
    while server.inserts(&B).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!writer.drain(Duration::ZERO).await.is_complete());
    let before = server.inserts(&B);
    assert_eq!(query(&before[0]), "INSERT INTO `b` (`x`) FORMAT Native");
    drop(writer);

    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::open(&LATER_SCHEMA, server.servers(), &options(), folder.path()).unwrap();
    let later = writer.append(&LATER_B, Ack::Accepted, |out| out.extend_from_slice(b"\x11\x22"));
    assert!(later.is_ok());
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(
        inserts.iter().map(query).collect::<Vec<_>>(),
        [
            "INSERT INTO `b` (`x`) FORMAT Native",
            "INSERT INTO `b` (`w`, `x`) FORMAT Native"
        ]
    );
    assert!(
        inserts[0].body.ends_with(b"\x01\x01\x01x\x05UInt8\x77"),
        "{:?}",
        inserts[0]
    );
    assert_eq!(token(&inserts[0]), token(&before[0]));
}

#[tokio::test]
async fn a_failing_table_delays_no_other_table_and_loses_no_row() {
    // UNKNOWN_TABLE or NETWORK_ERROR for one table, at first.
    for code in [60, 210] {
        let missing = move |insert: &Insert, n| if insert.is_into(&A) && n < 3 { code } else { 0 };
        let server = FakeServer::start(missing).await;
        let writer = Writer::start(&SCHEMA, server.servers(), &options());
        put(&writer, &A, 1).unwrap();
        while server.inserts(&A).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        put(&writer, &B, 2).unwrap();
        while writer.counters()[1].rows_inserted == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(writer.counters()[0].rows_pending, 1);
        assert!(writer.drain(MAX_WAIT).await.is_complete());
        assert_eq!(writer.counters()[0].rows_inserted, 1);
    }
}

#[tokio::test]
async fn a_refused_row_does_not_affect_other_rows() {
    // CANNOT_READ_ALL_DATA if 0x77 is among the one-byte rows; the compressed body contains them
    // verbatim.
    let refusing = |insert: &Insert, _| {
        if insert.is_into(&A) && insert.body.contains(&0x77) {
            33
        } else {
            0
        }
    };
    let server = FakeServer::start(refusing).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for row in [1, 2, 0x77, 4, 5, 6] {
        put(&writer, &A, row).unwrap();
    }
    while writer.counters()[0].rows_pending > 0 || writer.counters()[2].rows_inserted == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let counts = writer.counters();
    assert_eq!((counts[0].rows_inserted, counts[0].rows_refused), (5, 1));
    assert_eq!(counts[2].rows_inserted, 1);
    let tokens: Vec<_> = server
        .inserts(&A)
        .iter()
        .map(|insert| insert.parameters["insert_deduplication_token"].clone())
        .collect();
    let distinct: std::collections::HashSet<_> = tokens.iter().collect();
    assert_eq!(tokens.len(), distinct.len(), "each part has its own token");
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_smaller_parts() {
    // A proxy responds 413 to more than three rows together.
    let too_large = |insert: &Insert, _| {
        let rows = insert.body.iter().filter(|byte| **byte == 0x77).count();
        if insert.is_into(&A) && rows > 3 { TOO_LARGE } else { 0 }
    };
    let server = FakeServer::start(too_large).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for _ in 0..20 {
        put(&writer, &A, 0x77).unwrap();
    }
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let counts = &writer.counters()[0];
    assert_eq!((counts.rows_inserted, counts.rows_refused), (20, 0));
}

#[tokio::test]
async fn a_single_row_that_is_too_large_becomes_a_dead_letter() {
    let server = FakeServer::start(|insert: &Insert, _| if insert.is_into(&A) { TOO_LARGE } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 0x77).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(
        (writer.counters()[0].rows_refused, writer.counters()[2].rows_inserted),
        (1, 1)
    );
}

#[tokio::test]
async fn an_answer_that_does_not_confirm_the_insert_is_no_success() {
    let server = FakeServer::start(|_, n| if n < 3 { NOT_CLICKHOUSE } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    while server.inserts(&A).len() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(writer.counters()[0].rows_inserted, 0);
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&A);
    assert_eq!((inserts.len(), writer.counters()[0].rows_inserted), (3, 1));
    assert!(inserts.iter().all(|insert| *insert == inserts[0]));
}

#[tokio::test]
async fn rows_that_are_refused_without_end_do_not_hold_those_that_come_later() {
    let refusing = |insert: &Insert, _| {
        let is_bad = insert.body.contains(&0x77);
        if insert.is_into(&A) && is_bad { 33 } else { 0 }
    };
    let server = FakeServer::start(refusing).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for _ in 0..130 {
        put(&writer, &A, 0x77).unwrap();
    }
    while writer.counters()[0].rows_refused < 100 {
        sleep(Duration::from_millis(1)).await;
    }
    // After a hundred refusals, the delivery holds the table's rows until ClickHouse accepts one.
    put(&writer, &A, 1).unwrap();
    while writer.counters()[0].rows_pending > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let counts = &writer.counters()[0];
    assert_eq!((counts.rows_inserted, counts.rows_refused), (1, 130));
}

#[tokio::test]
async fn a_restart_does_not_give_a_table_that_refuses_every_row_a_hundred_more() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = |insert: &Insert, _| if insert.is_into(&A) { 33 } else { 0 };
    let server = FakeServer::start(refusing).await;
    let mut refused = 0;
    for start in 0..4 {
        let writer = Writer::open(&SCHEMA, server.servers(), &options(), folder.path()).unwrap();
        if start == 0 {
            for _ in 0..450 {
                put(&writer, &A, 1).unwrap();
            }
            while writer.counters()[0].rows_refused < 100 {
                sleep(Duration::from_millis(1)).await;
            }
        } else {
            let before = server.inserts(&A).len();
            while server.inserts(&A).len() < before + 2 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        refused += writer.counters()[0].rows_refused;
        writer.drain(Duration::ZERO).await;
    }
    assert_eq!(refused, 100);
    // The operator repairs the table.
    let repaired = FakeServer::start(|_, _| 0).await;
    let writer = Writer::open(&SCHEMA, repaired.servers(), &options(), folder.path()).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(writer.counters()[0].rows_inserted, 350);
}

#[tokio::test]
async fn a_table_that_refuses_every_row_is_held() {
    let server = FakeServer::start(|insert, _| if insert.is_into(&A) { 33 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
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
async fn another_server_replaces_an_unreachable_one() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unreachable = format!("http://{unreachable}/stats").parse::<ClickHouseUrl>().unwrap();
    let server = FakeServer::start(|_, _| 0).await;
    let servers = Servers::without_sync_of([unreachable, server.url()]);
    let writer = Writer::start(&SCHEMA, servers, &options());
    put(&writer, &A, 1).unwrap();
    put(&writer, &B, 1).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(server.inserts(&A).len() + server.inserts(&B).len(), 2);
}

#[tokio::test]
async fn draining_ends_at_its_deadline_and_reports_the_remaining_rows() {
    let server = FakeServer::start(|insert, _| if insert.is_into(&A) { 242 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
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
    assert_eq!(put(&writer, &B, 9), Err(SpoolFull));

    let sent = server.inserts(&A).len();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(server.inserts(&A).len(), sent, "the deliveries have stopped");
}

#[tokio::test]
async fn a_drain_counts_lost_rows_apart_from_those_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: ClickHouseUrl = format!("http://{unreachable}/stats").parse().unwrap();
    let start = || Writer::open(&SCHEMA, Servers::without_sync(url.clone()), &options(), &spool).unwrap();
    let writer = start();
    for row in 0..3 {
        put(&writer, &A, row).unwrap();
    }
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (3, 0, true));
    let counts = report.left[0].clone();
    let partly = TableCounts {
        rows_on_disk: 2,
        ..counts.clone()
    };
    let report = DrainReport::new(vec![counts, partly], true);
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (6, 1, false));
    drop(writer);

    // Rows of a folder that is gone are lost, although they were on disk.
    let writer = start();
    std::fs::rename(&spool, folder.path().join("moved")).unwrap();
    std::fs::write(&spool, "").unwrap();
    put(&writer, &A, 3).unwrap();
    while !writer.status().is_disk_failing {
        sleep(Duration::from_millis(1)).await;
    }
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (4, 4, false));
}

#[tokio::test]
async fn rows_wait_for_an_unreachable_clickhouse() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{unreachable}/stats").parse::<ClickHouseUrl>().unwrap();
    let writer = Writer::start(&SCHEMA, Servers::without_sync(url), &options());
    put(&writer, &A, 1).unwrap();
    while writer.counters()[0].retries < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(writer.counters()[0].rows_pending, 1);
}

#[tokio::test]
async fn rows_are_delivered_after_the_last_handle_is_dropped() {
    let server = FakeServer::start(|_, _| 0).await;
    let options = WriterOptions {
        block_age: options::MAX_BLOCK_AGE,
        ..options()
    };
    put(&Writer::start(&SCHEMA, server.servers(), &options), &B, 1).unwrap();
    while server.inserts(&B).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn dead_letters_go_to_their_own_table() {
    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    let dead_letter = DeadLetter {
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
    writer.reject(&dead_letter, Ack::Accepted).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(server.inserts(&REJECTED).len(), 1);
    assert_eq!(writer.counters()[2].rows_inserted, 1);
}

#[tokio::test]
async fn rows_wait_for_the_schema_if_no_server_responds() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: ClickHouseUrl = format!("http://{unreachable}/stats").parse().unwrap();
    let writer = Writer::start(&SCHEMA, url, &options());
    assert_eq!(writer.synced(MAX_WAIT).await.unwrap(), SchemaState::Unreachable);
    put(&writer, &A, 1).unwrap();
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), writer.counters()[0].retries), (1, 0));
}

#[tokio::test]
async fn rows_wait_if_the_server_refuses_the_schema() {
    // AUTHENTICATION_FAILED
    let server = FakeServer::start(|_, _| 516).await;
    let url: ClickHouseUrl = format!("http://{}/stats", server.address).parse().unwrap();
    let writer = Writer::start(&SCHEMA, url, &options());
    put(&writer, &A, 1).unwrap();
    let error = writer.synced(MAX_WAIT).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains(&server.address.to_string()));
    assert_eq!(writer.schema_state(), SchemaState::Rejected);
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), writer.counters()[0].retries), (1, 0));
}

#[tokio::test]
async fn draining_stops_when_its_deadline_completes() {
    let server = FakeServer::start(|_, _| 252).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    let deadline = async {
        while writer.counters()[0].retries == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(writer.drain_until(deadline).await.rows_left(), 1);
}
