//! A server over HTTP whose responses the test decides, and a schema of two tables.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use crate::{
    ack::Ack,
    budget::SpoolFull,
    store::{ClickHouseUrl, servers::Servers},
    table::{Column, ColumnKind, Format, Schema, Table, dead_letter::REJECTED, shape::Shape},
    writer::{Writer, WriterOptions},
};

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
pub(crate) static A: Table = table("a", 0, &IN_ROWS);
pub(crate) static B: Table = table("b", 1, &IN_COLUMNS);
pub(crate) static SCHEMA: Schema = Schema::new(&[&A, &B]);

/// The columns of `B` in a later program, with one more column before `x`.
static LATER_COLUMNS: [Column; 2] = [
    Column::new("w", "UInt8", "`w` UInt8", ColumnKind::Plain).shaped(Shape::Fixed(1)),
    COLUMN.shaped(Shape::Fixed(1)),
];
pub(crate) static LATER_B: Table = table("b", 1, &LATER_COLUMNS);
pub(crate) static LATER_SCHEMA: Schema = Schema::new(&[&A, &LATER_B]);

/// An insert as the server receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insert {
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) body: Bytes,
}

impl Insert {
    pub(crate) fn is_into(&self, table: &Table) -> bool {
        self.parameters["query"].starts_with(&format!("INSERT INTO `{}` ", table.name))
    }
}

/// A proxy's response to a body that is too large for it.
pub(crate) const TOO_LARGE: u32 = 1_000_001;

/// The response of another service.
pub(crate) const NOT_CLICKHOUSE: u32 = 1_000_002;

/// A server that records the inserts and answers each with the result of `script`: a ClickHouse
/// error number, or 0 for success.
#[derive(Clone)]
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    pub(crate) inserts: Arc<Mutex<Vec<Insert>>>,
    /// One permit for each response that may be sent.
    pub(crate) responses: Arc<Semaphore>,
    /// The time that each insert takes.
    pub(crate) insert_time: Duration,
}

impl FakeServer {
    pub(crate) async fn start(script: impl Fn(&Insert, usize) -> u32 + Copy + Send + Sync + 'static) -> Self {
        Self::start_slow(Duration::ZERO, script).await
    }

    pub(crate) async fn start_slow(
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

    pub(crate) fn url(&self) -> ClickHouseUrl {
        format!("http://{}/stats", self.address).parse().unwrap()
    }

    /// Returns the server, without a sync of its tables.
    pub(crate) fn servers(&self) -> Servers {
        Servers::without_sync(self.url())
    }

    pub(crate) fn inserts(&self, table: &Table) -> Vec<Insert> {
        let inserts = self.inserts.lock().unwrap();
        inserts.iter().filter(|insert| insert.is_into(table)).cloned().collect()
    }
}

async fn answer(
    server: FakeServer,
    request: Request<Incoming>,
    script: impl Fn(&Insert, usize) -> u32,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or("").to_owned();
    let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut parameters: HashMap<String, String> = parameters;
    let names = |table: &[u8]| {
        [query.as_bytes(), &body]
            .iter()
            .any(|text| memchr::memmem::find(text, table).is_some())
    };
    if names(b"rowmill_nodes") || names(b"system.tables") {
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

pub(crate) fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(5),
        ..WriterOptions::default()
    }
}

pub(crate) fn put(writer: &Writer, table: &'static Table, row: u8) -> Result<(), SpoolFull> {
    writer.append(table, Ack::Accepted, |out| out.push(row)).map(drop)
}

pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);
