//! Each answer of the store, and what delivery does next: sends rows again, and under which token;
//! looks them up, divides them, holds them, or turns them into dead letters.
//!
//! A line is a request, with the store's reply. `a` is the table and the token of all rows of its
//! first block; `a:0-2` is the token of two of them, `a:0-4…` that of rows with gaps, and `a@1` a
//! token after ClickHouse has confirmed rows that are not there. `soon` and `later` are the waits
//! before a request: those of transient errors, and those of errors for the operator. `wait` is
//! either of them, since the waits of transient errors grow with each failure.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{
    fake_backend::{
        FakeBackend,
        Fault::{self, Code, CutOff, Forbidden, Late, NotSent, Partitions, TimedOut, TooLarge, Unconfirmed, View},
        Reply::{self, Done, Fails, Strings, Throws},
        Script, TIMEOUT, has, has_some, has_with_views,
    },
    fake_server::{SCHEMA, options},
};
use crate::{
    ack::Ack,
    deliver::{Changes, Delivery, lookup::Found, servers::ActiveServer},
    spool::{Spool, TableLayouts},
    sync::state::State,
    writer::WriterOptions,
};

/// The number of rows in a block.
const BLOCK_ROWS: usize = 4;

/// The time after which a delivery that waits for something else has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Rows, and the store's replies until delivery has settled them.
struct Case {
    shows: &'static str,
    /// The number of rows, [`BLOCK_ROWS`] in a block.
    rows: u8,
    /// The number of dead letters of rejected events.
    dead_letters: u8,
    steps: Vec<(&'static str, Reply)>,
    /// The number of rows that are acknowledged as stored, and the counters that are not 0.
    ends: &'static str,
    servers: &'static [&'static str],
    has_quorum: bool,
}

impl Case {
    fn new(shows: &'static str, rows: u8, steps: Vec<(&'static str, Reply)>, ends: &'static str) -> Self {
        Self {
            shows,
            rows,
            dead_letters: 0,
            steps,
            ends,
            servers: &[""],
            has_quorum: false,
        }
    }

    /// Delivers the rows, and compares each request with the steps.
    async fn run(self) {
        let shows = self.shows;
        let script = Arc::new(Mutex::new(Script::new(&self.steps)));
        let ends = timeout(PATIENCE, self.deliver(&script)).await;
        let requests = script.lock().unwrap().requests.clone();
        let expected: Vec<_> = self.steps.iter().map(|(request, _)| *request).collect();
        assert_eq!(requests, expected, "{shows}");
        assert_eq!(ends.as_deref(), Ok(self.ends), "{shows}");
    }

    /// Delivers the rows and their dead letters, and returns the outcome.
    async fn deliver(&self, script: &Arc<Mutex<Script>>) -> String {
        let options = WriterOptions {
            block_rows: BLOCK_ROWS,
            ..options()
        };
        let spool = Spool::in_memory(TableLayouts::of(&SCHEMA), options.limits());
        let server = |name: &&'static str| {
            State::Ready(Arc::new(FakeBackend {
                script: Arc::clone(script),
                name,
                has_quorum: self.has_quorum,
            }))
        };
        let (_states, states) = watch::channel(self.servers.iter().map(server).collect());
        let servers = ActiveServer::new(states);
        let delivery = Delivery::new(servers, spool.clone(), 1, TIMEOUT, Changes::default(), None);
        let [a, b, dead_letters] = spool.readers().try_into().unwrap();
        let mut receipts = Vec::new();
        for row in 0..self.rows {
            let receipt = spool.appender().append(a.id(), Ack::Stored, |out| out.push(row));
            receipts.push(receipt.unwrap());
        }
        for row in 0..self.dead_letters {
            let appended = spool
                .appender()
                .append(dead_letters.id(), Ack::Accepted, |out| out.push(row));
            assert!(appended.is_ok());
        }
        let acknowledge = async {
            let mut acknowledged = 0;
            for receipt in receipts {
                acknowledged += u32::from(receipt.reached_within(PATIENCE).await == Ack::Stored);
            }
            spool.close();
            acknowledged
        };
        let ((), acknowledged) = tokio::join!(delivery.run(a), acknowledge);
        delivery.run(b).await;
        delivery.run(dead_letters).await;

        let mut ends = format!("{acknowledged} acknowledged");
        let counts = &spool.counts()[0];
        for (count, name) in [
            (counts.rows_refused, "refused"),
            (counts.rows_found, "found"),
            (counts.rows_missing, "missing"),
            (counts.rows_refused_by_views, "refused by views"),
            (counts.views_in_doubt, "views in doubt"),
        ] {
            if count > 0 {
                write!(ends, ", {count} {name}").unwrap();
            }
        }
        assert_eq!(counts.rows_pending, 0);
        ends
    }
}

/// Returns a case in which the first insert of a block fails, and the same rows go out again.
fn retried(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![("insert 4 as a", Fails(fault)), ("soon: insert 4 as a", Done)];
    Case::new(shows, 4, steps, "4 acknowledged")
}

/// Returns a case in which the first insert of a block fails, and the rows are held.
fn held(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![("insert 4 as a", Fails(fault)), ("later: insert 4 as a", Done)];
    Case::new(shows, 4, steps, "4 acknowledged")
}

/// Returns a case in which the outcome of the first insert is unknown, and the table has the rows.
fn in_doubt(shows: &'static str, fault: Fault) -> Case {
    let steps = vec![
        ("insert 4 as a", Fails(fault)),
        ("soon: look up a:0-4", has(Found::All)),
    ];
    Case::new(shows, 4, steps, "4 acknowledged, 4 found")
}

#[tokio::test(start_paused = true)]
async fn the_answer_decides_whether_rows_are_acknowledged_sent_again_held_or_looked_up() {
    for case in [
        Case::new("success", 4, vec![("insert 4 as a", Done)], "4 acknowledged"),
        Case::new(
            "blocks in order",
            9,
            vec![
                ("insert 4 as a", Fails(NotSent)),
                ("soon: insert 4 as a", Done),
                ("insert 4 as a#2", Done),
                ("insert 1 as a#3", Done),
            ],
            "9 acknowledged",
        ),
        retried("unreachable", NotSent),
        retried("TOO_MANY_SIMULTANEOUS_QUERIES", Code(202)),
        retried("TOO_MANY_PARTS of the table", Code(252)),
        retried("SERVER_OVERLOADED", Code(745)),
        held("UNKNOWN_TABLE", Code(60)),
        held("NO_SUCH_COLUMN_IN_TABLE", Code(16)),
        held("AUTHENTICATION_FAILED", Code(516)),
        in_doubt("cut off", CutOff),
        in_doubt("timed out", TimedOut),
        in_doubt("the success of another service", Unconfirmed),
        in_doubt("MEMORY_LIMIT_EXCEEDED", Code(241)),
        in_doubt("NETWORK_ERROR", Code(210)),
        in_doubt("an unknown error", Code(9999)),
        in_doubt("a late exception", Late(252)),
    ] {
        case.run().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rows_in_doubt_are_sent_again_only_if_their_table_lacks_them() {
    let lost = ("insert 4 as a", Fails(CutOff));
    for case in [
        Case::new(
            "no row is stored",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "some partitions are stored",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has_some(&[0..1, 3..4])),
                ("look up a:1-3", has(Found::None)),
                ("insert 2 as a:1-3", Done),
                ("look up a:1-3", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the other partitions leave a gap",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has_some(&[1..2])),
                ("look up a:0-1,2-4", has(Found::None)),
                ("insert 3 as a:0-4…", Done),
                ("look up a:0-1,2-4", has(Found::All)),
            ],
            "4 acknowledged, 1 found",
        ),
        Case::new(
            "an earlier try still runs, and then a lookup fails",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::Running)),
                ("soon: look up a:0-4", Fails(Code(60))),
                ("soon: look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged, 4 found",
        ),
        Case::new(
            "the proxy's refusal does not prove that the rows are not stored",
            4,
            vec![
                ("insert 4 as a", Fails(Forbidden)),
                ("later: look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged, 4 found",
        ),
        Case::new(
            "a row is refused, and the lookup has shown that none is stored",
            2,
            vec![
                ("insert 2 as a", Fails(CutOff)),
                ("soon: look up a:0-2", has(Found::None)),
                ("insert 2 as a", Fails(Code(33))),
                ("insert 1 as a:0-1", Done),
                ("insert 1 as a:1-2", Fails(Code(33))),
                ("insert 1 as rejected", Done),
            ],
            "1 acknowledged, 1 refused",
        ),
        Case::new(
            "ClickHouse remembers the token of rows that are gone",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has(Found::All)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "ClickHouse remembers the token of rows, and some of them are gone",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_some(&[2..4])),
                ("soon: look up a:0-4", has_some(&[2..4])),
                ("look up a:0-2", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("look up a:0-2", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the table never shows the rows",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has(Found::None)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a@2", Done),
                ("look up a:0-4", has(Found::None)),
                ("wait: look up a:0-4", has(Found::None)),
                ("insert 4 as a@3", Done),
                ("look up a:0-4", has(Found::None)),
                ("wait: look up a:0-4", has(Found::None)),
            ],
            "4 acknowledged, 4 missing",
        ),
        Case::new(
            "rows without ids rely on their token",
            4,
            vec![
                lost.clone(),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "another server gets the rows",
                4,
                vec![
                    ("first: insert 4 as a", Fails(NotSent)),
                    ("soon: second: insert 4 as a", Fails(CutOff)),
                    ("soon: first: look up a:0-4", has(Found::All)),
                ],
                "4 acknowledged, 4 found",
            )
        },
        Case {
            servers: &["first: ", "second: "],
            ..Case::new(
                "an error of ClickHouse moves no rows to another server",
                4,
                vec![
                    ("first: insert 4 as a", Fails(Code(252))),
                    ("soon: first: insert 4 as a", Done),
                ],
                "4 acknowledged",
            )
        },
        Case {
            has_quorum: true,
            ..Case::new(
                "the other replicas may lack what this one has",
                4,
                vec![
                    lost.clone(),
                    (
                        "soon: look up a:0-4",
                        Reply::Has(crate::deliver::lookup::Lookup {
                            found: Found::All,
                            has_views: false,
                            is_remembered: true,
                        }),
                    ),
                    ("insert 4 as a", Done),
                ],
                "4 acknowledged",
            )
        },
    ] {
        case.run().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_too_many_or_refused_are_halved_until_one_is_left() {
    for case in [
        Case::new(
            "413",
            4,
            vec![
                ("insert 4 as a", Fails(TooLarge)),
                ("look up a:0-2", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("look up a:0-2", has(Found::All)),
                ("look up a:2-4", has(Found::All)),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "parts grow again after each success",
            8,
            vec![
                ("insert 4 as a", Fails(Partitions)),
                ("insert 2 as a:0-2", Fails(Partitions)),
                ("insert 1 as a:0-1", Done),
                ("insert 1 as a:1-2", Done),
                ("insert 2 as a:2-4", Done),
                ("insert 4 as a#2", Done),
            ],
            "8 acknowledged",
        ),
        Case::new(
            "too many partitions",
            3,
            vec![
                ("insert 3 as a", Fails(Partitions)),
                ("insert 1 as a:0-1", Done),
                ("insert 2 as a:1-3", Fails(Partitions)),
                ("insert 1 as a:1-2", Done),
                ("insert 1 as a:2-3", Done),
            ],
            "3 acknowledged",
        ),
        Case::new(
            "413 for a single row",
            1,
            vec![("insert 1 as a", Fails(TooLarge)), ("insert 1 as rejected", Done)],
            "0 acknowledged, 1 refused",
        ),
        Case::new(
            "a refused row",
            4,
            vec![
                ("insert 4 as a", Fails(Code(33))),
                ("insert 2 as a:0-2", Done),
                ("insert 2 as a:2-4", Fails(Code(33))),
                ("insert 1 as a:2-3", Fails(Code(33))),
                ("insert 1 as a:3-4", Done),
                ("insert 1 as rejected", Done),
            ],
            "3 acknowledged, 1 refused",
        ),
        Case::new(
            "a half with an unknown outcome is looked up alone",
            4,
            vec![
                ("insert 4 as a", Fails(Code(33))),
                ("insert 2 as a:0-2", Fails(CutOff)),
                ("soon: look up a:0-2", has(Found::All)),
                ("insert 2 as a:2-4", Done),
            ],
            "4 acknowledged, 2 found",
        ),
        Case::new(
            "the refused dead letter of a row is sent again and never becomes another one",
            1,
            vec![
                ("insert 1 as a", Fails(Code(33))),
                ("insert 1 as rejected", Fails(Code(33))),
                ("soon: insert 1 as rejected", Fails(CutOff)),
                ("soon: look up rejected:0-1", has(Found::All)),
            ],
            "0 acknowledged, 1 refused",
        ),
        Case {
            dead_letters: 2,
            ..Case::new(
                "refused dead letters of events are sent again together",
                0,
                vec![
                    ("insert 2 as rejected", Fails(Code(33))),
                    ("soon: insert 2 as rejected", Done),
                ],
                "0 acknowledged",
            )
        },
        Case::new(
            "fewer rows after two time-outs",
            4,
            vec![
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::None)),
                ("insert 2 as a:0-2", Done),
                ("insert 2 as a:2-4", Done),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "rows without ids get more time, under the same token, and the next block is divided",
            8,
            vec![
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a in 2 times the time", Fails(TimedOut)),
                ("soon: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a in 4 times the time", Done),
                ("insert 2 as a#2:0-2", Done),
                ("insert 2 as a#2:2-4", Done),
            ],
            "8 acknowledged",
        ),
    ] {
        case.run().await;
    }
}

const ENGINE: (&str, Reply) = ("SELECT engine_full", Strings(&["MergeTree ORDER BY x"]));
const CREATE: (&str, Reply) = ("CREATE TABLE source AS a ENGINE = MergeTree ORDER BY x", Done);
const PARTITIONS: (&str, Reply) = ("SELECT DISTINCT _partition_id", Strings(&["all"]));
const ATTACH: (&str, Reply) = ("ALTER TABLE a ATTACH PARTITION ID 'all' FROM source", Done);
const DROP: (&str, Reply) = ("DROP TABLE source SYNC", Done);

#[tokio::test(start_paused = true)]
async fn views_get_rows_once() {
    let lost = ("insert 4 as a", Fails(CutOff));
    let found = |found, is_remembered| ("soon: look up a:0-4", has_with_views(found, is_remembered));
    for case in [
        Case::new(
            "the table has the rows, and its views may have missed them",
            4,
            vec![lost.clone(), found(Found::All, true), ("insert 4 as a", Done)],
            "4 acknowledged",
        ),
        Case::new(
            "the table may have forgotten the token",
            4,
            vec![lost.clone(), found(Found::All, false)],
            "4 acknowledged, 4 found, 1 views in doubt",
        ),
        Case::new(
            "the table has some rows, and the views get all of them under their token",
            4,
            vec![
                lost.clone(),
                found(Found::Some(vec![0..2]), true),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::Some(vec![0..2]), true)),
                ENGINE,
                CREATE,
                ("insert 2 as a:2-4 into the source", Done),
                PARTITIONS,
                ATTACH,
                DROP,
                ("look up a:0-4", has_with_views(Found::All, true)),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "the table has some rows and may have forgotten their token",
            4,
            vec![
                lost.clone(),
                found(Found::Some(vec![0..2]), false),
                ("insert 2 as a", Done),
                ("look up a:0-4", has_with_views(Found::All, false)),
            ],
            "4 acknowledged, 1 views in doubt",
        ),
        Case::new(
            "ClickHouse remembers the token of rows that are gone, and a lost response hides that they are attached",
            4,
            vec![
                lost.clone(),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::None, false)),
                ENGINE,
                CREATE,
                ("insert 4 as a into the source", Done),
                PARTITIONS,
                (ATTACH.0, Fails(CutOff)),
                found(Found::All, true),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
        Case::new(
            "another engine takes no partitions, so the rows go out under another token",
            4,
            vec![
                lost.clone(),
                found(Found::None, false),
                ("insert 4 as a", Done),
                ("look up a:0-4", has_with_views(Found::None, false)),
                ("SELECT engine_full", Strings(&["Memory"])),
                found(Found::None, false),
                ("insert 4 as a@1", Done),
                ("look up a:0-4", has_with_views(Found::All, false)),
            ],
            "4 acknowledged, 1 views in doubt",
        ),
        Case::new(
            "a view throws on a row, which is missing only there",
            4,
            vec![
                ("insert 4 as a", Fails(View(395))),
                ("look up a:0-4", has_with_views(Found::All, true)),
                ("insert 4 as a without errors of views", Done),
                ("search a", Throws(&[2])),
                ("insert 3 as a", Done),
                ("insert 1 as rejected", Done),
            ],
            "4 acknowledged, 1 refused by views",
        ),
        Case::new(
            "a view throws, and no lookup is possible",
            4,
            vec![
                ("insert 4 as a", Fails(View(395))),
                ("look up a:0-4", has(Found::Unknowable)),
                ("later: look up a:0-4", has(Found::Unknowable)),
                ("insert 4 as a", Done),
            ],
            "4 acknowledged",
        ),
    ] {
        case.run().await;
    }
}
