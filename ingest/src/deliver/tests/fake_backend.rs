//! A store without a server: each reply is in a script, and each request becomes a line of text.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    block::{
        content::BlockRows,
        layout::InsertTarget,
        parts::{Part, RowRange},
        sealed::SealedBlock,
    },
    deliver::{
        Changes, Failure,
        adapt::Origin,
        backend::Backend,
        compress::Form,
        lookup::{Found, Lookup},
        view_search::{NumberedRow, RefusedRows},
    },
    store::{ClickHouseError, InsertRequest},
};

/// The usual timeout of a request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest wait that counts as `soon`, and as `later`.
const SOON: Duration = Duration::from_millis(40);
const LATER: Duration = Duration::from_millis(450);

/// An error of the store.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// An error of ClickHouse with this code.
    Code(u32),
    /// The same, after the server has begun to respond.
    Late(u32),
    /// The same, of a materialized view.
    View(u32),
    /// A single insert has too many partitions.
    Partitions,
    /// A proxy responds 413.
    TooLarge,
    /// A proxy responds 403.
    Forbidden,
    /// The server is unreachable.
    NotSent,
    /// The connection breaks before the response.
    CutOff,
    TimedOut,
    /// The response is a success of another service.
    Unconfirmed,
}

impl Fault {
    fn error(self) -> ClickHouseError {
        use clickhouse::error::Error;
        let of_clickhouse = |text: String| ClickHouseError::from(Error::BadResponse(text));
        let broken = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        match self {
            Self::Code(code) => of_clickhouse(format!("Code: {code}. DB::Exception: an error of the test")),
            Self::Late(code) => of_clickhouse(format!("Code: {code}. DB::Exception: an error of the test")).late(),
            Self::View(code) => of_clickhouse(format!("Code: {code}. DB::Exception: no: while pushing to view d.v")),
            Self::Partitions => of_clickhouse(
                "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100)".to_owned(),
            ),
            Self::TooLarge => ClickHouseError::refused(http::StatusCode::PAYLOAD_TOO_LARGE, "<html>".to_owned()),
            Self::Forbidden => ClickHouseError::refused(http::StatusCode::FORBIDDEN, "<html>".to_owned()),
            Self::NotSent => ClickHouseError::not_sent(broken()),
            Self::CutOff => ClickHouseError::cut_off(broken()),
            Self::TimedOut => ClickHouseError::timed_out(),
            Self::Unconfirmed => ClickHouseError::unconfirmed("its body is not empty"),
        }
    }
}

/// The store's reply to a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// The rows are stored, or the statement has ended.
    Done,
    Fails(Fault),
    /// The result of a lookup.
    Has(Lookup),
    /// The result of a query for strings.
    Strings(&'static [&'static str]),
    /// Rows on which a view throws.
    Throws(&'static [u32]),
}

pub(super) fn has(found: Found) -> Reply {
    Reply::Has(Lookup {
        found,
        has_views: false,
        is_remembered: false,
        is_replicated: false,
    })
}

/// Returns a lookup's reply for a table that has some of the rows.
pub(super) fn has_some(rows: &[RowRange]) -> Reply {
    has(Found::Some(rows.to_vec()))
}

/// Returns the reply of a lookup for a table with views. `is_remembered` is whether the table is
/// sure to remember the token.
pub(super) fn has_with_views(found: Found, is_remembered: bool) -> Reply {
    Reply::Has(Lookup {
        found,
        has_views: true,
        is_remembered,
        is_replicated: false,
    })
}

/// The replies that are left, and the requests so far.
#[derive(Debug)]
pub(super) struct Script {
    replies: VecDeque<(&'static str, Reply)>,
    pub(super) requests: Vec<String>,
    /// The ids of blocks, by their first request, and the table of each.
    blocks: Vec<(String, Uuid)>,
    last_reply: Instant,
}

impl Script {
    pub(super) fn new(steps: &[(&'static str, Reply)]) -> Self {
        Self {
            replies: steps.iter().cloned().collect(),
            requests: Vec::new(),
            blocks: Vec::new(),
            last_reply: Instant::now(),
        }
    }

    /// Returns whether the next request comes after a wait of any length.
    fn expects_wait(&self) -> bool {
        let next = self.replies.front();
        next.is_some_and(|(request, _)| request.starts_with("wait: "))
    }

    /// Returns a block's table, with the block's number among those of the table unless it is the
    /// first one.
    fn name_of(&mut self, table: &str, block: Uuid) -> String {
        if !self.blocks.iter().any(|(_, id)| *id == block) {
            self.blocks.push((table.to_owned(), block));
        }
        let mut of_table = self.blocks.iter().filter(|(name, _)| name == table);
        match of_table.position(|(_, id)| *id == block) {
            Some(0) | None => table.to_owned(),
            Some(at) => format!("{table}#{}", at + 1),
        }
    }

    /// Returns a token with the block's name in place of its id, and without a hash of rows.
    fn readable(&mut self, token: &str) -> String {
        let mut fields = token.split(':');
        let (table, id) = (fields.next().unwrap(), fields.next().unwrap());
        let (id, generation) = id.split_at(36);
        let name = self.name_of(table, id.parse().unwrap());
        let rows: String = fields.next().map(|rows| format!(":{rows}")).unwrap_or_default();
        let hash = match fields.next().map(|hash| hash.split_once('@')) {
            Some(Some((_, generation))) => format!("…@{generation}"),
            Some(None) => "…".to_owned(),
            None => String::new(),
        };
        format!("{name}{generation}{rows}{hash}")
    }
}

/// The tables are as in the schema.
static NOT_CONVERTING: AtomicBool = AtomicBool::new(false);

/// A server of the fake store.
#[derive(Debug)]
pub(in crate::deliver) struct FakeBackend {
    pub(super) script: Arc<Mutex<Script>>,
    /// The beginning of each request's text.
    pub(super) name: &'static str,
    pub(super) has_quorum: bool,
}

impl FakeBackend {
    /// Returns a server that expects no request.
    pub(in crate::deliver) fn silent(name: &'static str) -> Self {
        Self {
            script: Arc::new(Mutex::new(Script::new(&[]))),
            name,
            has_quorum: false,
        }
    }

    /// Records a request, and returns its reply. Never returns if the script has another request.
    async fn reply(&self, text: impl FnOnce(&mut Script) -> String) -> Reply {
        let reply = {
            let mut script = self.script.lock().unwrap();
            let wait = match script.last_reply.elapsed() {
                wait if wait < SOON => "",
                _ if script.expects_wait() => "wait: ",
                wait if wait < LATER => "soon: ",
                _ => "later: ",
            };
            let text = text(&mut script);
            let request = format!("{wait}{}{text}", self.name);
            let expected = script.replies.pop_front();
            let reply = expected
                .filter(|(expected, _)| *expected == request)
                .map(|(_, reply)| reply);
            script.requests.push(request);
            script.last_reply = Instant::now();
            reply
        };
        match reply {
            Some(reply) => reply,
            None => pending().await,
        }
    }
}

fn done(reply: Reply) -> Result<(), ClickHouseError> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Fails(fault) => Err(fault.error()),
        other => panic!("no reply to a statement: {other:?}"),
    }
}

impl Backend for FakeBackend {
    fn has_quorum(&self) -> bool {
        self.has_quorum
    }

    fn address(&self) -> String {
        self.name.to_owned()
    }

    /// Without a request in the script: the waits of the probes are random.
    async fn answers(&self, _: Duration) -> bool {
        true
    }

    /// The servers whose names begin with `replica` have the same rows.
    async fn store_of(&self, _: &str, _: Duration) -> Result<Option<Arc<str>>, ClickHouseError> {
        Ok(self.name.starts_with("replica").then(|| "/tables/a".into()))
    }

    async fn insert(&self, request: InsertRequest<'_>, timeout: Duration) -> Result<(), ClickHouseError> {
        let InsertRequest {
            statement, token, rows, ..
        } = request;
        let views = if request.ignores_views {
            " without errors of views"
        } else {
            ""
        };
        let into = if statement.contains("rowmill_attach_") {
            " into the source"
        } else {
            ""
        };
        let time = match timeout.as_secs() / TIMEOUT.as_secs() {
            1 => String::new(),
            times => format!(" in {times} times the time"),
        };
        let reply = self.reply(|script| format!("insert {rows} as {}{into}{views}{time}", script.readable(token)));
        done(reply.await)
    }

    async fn look_up(
        &self,
        block: &SealedBlock,
        part: &Part,
        rows: &BlockRows,
        _: Duration,
    ) -> Result<Lookup, ClickHouseError> {
        assert_eq!(rows.ends.len(), part.len());
        let reply = self.reply(|script| {
            let name = script.name_of(&block.layout.table, block.id);
            let rows: Vec<_> = part
                .ranges()
                .iter()
                .map(|rows| format!("{}-{}", rows.start, rows.end))
                .collect();
            format!("look up {name}:{}", rows.join(","))
        });
        match reply.await {
            Reply::Has(lookup) => Ok(lookup),
            Reply::Fails(fault) => Err(fault.error()),
            other => panic!("no reply to a lookup: {other:?}"),
        }
    }

    /// The rows always fit the table.
    fn is_converting(&self) -> &AtomicBool {
        &NOT_CONVERTING
    }

    async fn form_of(&self, _: &InsertTarget, _: &Changes, _: Origin, _: Duration) -> Result<Form, Failure> {
        Ok(Form::Own)
    }

    async fn execute(&self, sql: &str, _: String, _: Duration) -> Result<(), ClickHouseError> {
        done(self.reply(|_| without_source(sql)).await)
    }

    async fn strings(&self, sql: &str, _: Duration) -> Result<Vec<String>, ClickHouseError> {
        let select = sql.split(" FROM ").next().unwrap();
        match self.reply(|_| select.to_owned()).await {
            Reply::Strings(strings) => Ok(strings.iter().map(|text| (*text).to_owned()).collect()),
            Reply::Fails(fault) => Err(fault.error()),
            other => panic!("no reply to a query: {other:?}"),
        }
    }

    async fn refused_by_views(
        &self,
        block: &SealedBlock,
        _: &[NumberedRow],
        _: Duration,
    ) -> Result<Vec<RefusedRows>, ClickHouseError> {
        let text = |script: &mut Script| format!("search {}", script.name_of(&block.layout.table, block.id));
        match self.reply(text).await {
            Reply::Throws(rows) => {
                let view = ("d".to_owned(), "v".to_owned());
                let refused = |row: &u32| ((*row, u64::from(*row)), Fault::View(395).error());
                let rows = rows.iter().map(refused).collect();
                Ok(vec![RefusedRows {
                    view,
                    rows,
                    unseparated: Vec::new(),
                }])
            }
            Reply::Fails(fault) => Err(fault.error()),
            other => panic!("no reply to a search: {other:?}"),
        }
    }
}

/// Returns a statement with `source` as the name of the table that attaches rows.
fn without_source(sql: &str) -> String {
    let names = sql.split('`').map(|text| match text.starts_with("rowmill_attach_") {
        true => "source",
        false => text,
    });
    names.collect::<Vec<_>>().join("")
}
