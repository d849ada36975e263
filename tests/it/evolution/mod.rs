//! A table changes while two versions of a collector run: each acknowledged row arrives once,
//! whichever version runs first, whichever has rows in its spool, and whichever delivers them after
//! a kill.
//!
//! One cell of the matrix is one test. Both versions are processes, and the test is the operator,
//! who changes the table as the plan of the new version says. ClickHouse refuses the inserts of the
//! version with the spool until all its events are acknowledged. That version then delivers its
//! rows, or is killed, and a process of the other version delivers them.

mod kinds;
mod plan;
mod process;

use rowmill_ingest::{
    ClickHouseUrl,
    schema::{apply_drift, compare, copy, drift, sync},
};
use tokio::runtime::Runtime;

use self::{
    kinds::Kind,
    process::{Process, Version},
};
use crate::support::{engine::Database, proxy::Proxy, wait_for};

/// Whether the version with the spool is killed before it delivers its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    No,
    Yes,
}

macro_rules! matrix {
    ($($kind:ident: $value:ident),*) => {
        $(
            mod $kind {
                use super::{
                    Kill::{No, Yes},
                    Version::{New, Old},
                    cell,
                    kinds::$value as KIND,
                };

                #[test]
                fn old_first_old_spool() {
                    cell(&KIND, Old, Old, No);
                }

                #[test]
                fn old_first_old_spool_killed() {
                    cell(&KIND, Old, Old, Yes);
                }

                #[test]
                fn old_first_new_spool() {
                    cell(&KIND, Old, New, No);
                }

                #[test]
                fn old_first_new_spool_killed() {
                    cell(&KIND, Old, New, Yes);
                }

                #[test]
                fn new_first_old_spool() {
                    cell(&KIND, New, Old, No);
                }

                #[test]
                fn new_first_old_spool_killed() {
                    cell(&KIND, New, Old, Yes);
                }

                #[test]
                fn new_first_new_spool() {
                    cell(&KIND, New, New, No);
                }

                #[test]
                fn new_first_new_spool_killed() {
                    cell(&KIND, New, New, Yes);
                }
            }
        )*
    };
}

matrix! {
    rename: RENAME, widen: WIDEN, narrow: NARROW, remove: REMOVE, reorder: REORDER, add: ADD, rekey: REKEY
}

/// Runs one cell. `first` is the version that runs when the other one starts: the old one, which
/// runs during the change, or the new one, beside which the old one is started again.
fn cell(kind: &'static Kind, first: Version, spool: Version, kill: Kill) {
    let database = Database::create(&format!("evolution_{}", kind.table));
    let proxies = Proxies {
        old: Proxy::start(database.engine),
        new: Proxy::start(database.engine),
    };
    let (old_data, new_data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = |version| {
        let data = if version == Version::Old { &old_data } else { &new_data };
        Process::start(
            kind,
            version,
            &database.url_through(proxies.of(version).address),
            data.path(),
        )
    };
    let mut sent = Vec::new();
    let mut send = |process: &Process, version: Version, numbers: std::ops::Range<u32>| {
        for number in numbers {
            process.send(
                kind.table,
                &format!(r#"{{"number":{number},{}}}"#, (kind.event)(version, number)),
            );
            sent.push((version, number));
        }
    };

    // The old version has created the table.
    let old = start(Version::Old);
    send(&old, Version::Old, 0..3);
    database.wait_for_rows(kind.table, 3);
    let (old, new) = match first {
        Version::Old => {
            if spool == Version::Old {
                proxies.refuse(spool);
                send(&old, Version::Old, 10..13);
            }
            change(kind, &database);
            (old, start(Version::New))
        }
        Version::New => {
            old.stop();
            change(kind, &database);
            let new = start(Version::New);
            (start(Version::Old), new)
        }
    };
    assert_eq!(plan(kind, &database, Version::Old), kind.plan_of_old);
    proxies.refuse(spool);
    let (holding, other) = match spool {
        Version::Old => (old, new),
        Version::New => (new, old),
    };
    send(&holding, spool, 20..23);
    send(&other, spool.other(), 30..33);
    let waiting = match kill {
        Kill::No => {
            proxies.of(spool).accept();
            holding
        }
        Kill::Yes => {
            holding.kill();
            let data = if spool == Version::Old { &old_data } else { &new_data };
            Process::start(kind, spool.other(), &database.url(), data.path())
        }
    };

    let mut rows: Vec<_> = sent
        .iter()
        .filter_map(|(version, number)| Some(format!("{number}\t{}", (kind.row)(*version, *number)?)))
        .collect();
    let dead_letters = (sent.len() - rows.len()) as u64;
    wait_for("all rows", || {
        let counts = (database.count(kind.table), database.count("rejected"));
        (counts == (rows.len() as u64, dead_letters)).then_some(())
    });
    waiting.stop();
    other.stop();
    rows.sort_by_key(|row| row.split('\t').next().unwrap().parse::<u32>().unwrap());
    let found = database.query(&format!(
        "SELECT number, {} FROM {} ORDER BY number",
        kind.payload, kind.table
    ));
    assert_eq!(found.lines().collect::<Vec<_>>(), rows);
    let ids = format!("SELECT uniqExact(id) = count() FROM {}", kind.table);
    assert_eq!(database.query(&ids), "1\n");
    let reasons = "SELECT DISTINCT code, position(reason, 'which cannot hold the value') > 0 FROM rejected";
    let expected = if dead_letters > 0 { "clickhouse-395\t1\n" } else { "" };
    assert_eq!(database.query(reasons), expected);
    // Neither version has reversed the change.
    let columns = format!(
        "SELECT arrayStringConcat(groupArray(name || ' ' || type), ',') FROM (SELECT name, type FROM system.columns \
         WHERE database = currentDatabase() AND table = '{}' ORDER BY position)",
        kind.table
    );
    assert_eq!(database.query(&columns).trim_end(), kind.columns);
}

/// The proxies between each version and ClickHouse.
struct Proxies {
    old: Proxy,
    new: Proxy,
}

impl Proxies {
    fn of(&self, version: Version) -> &Proxy {
        match version {
            Version::Old => &self.old,
            Version::New => &self.new,
        }
    }

    /// Refuses the inserts of a version, as a busy ClickHouse does.
    fn refuse(&self, version: Version) {
        self.of(version)
            .refuse("insert_deduplication_token", "Code: 252. DB::Exception: Too many parts");
    }
}

/// Changes the table as the plan of the new version says, with `rowmill apply` and all its
/// permissions.
fn change(kind: &Kind, database: &Database) {
    assert_eq!(plan(kind, database, Version::New), kind.plan_of_new);
    let (url, schema) = (
        database.url().parse::<ClickHouseUrl>().unwrap(),
        kind.schema(Version::New),
    );
    Runtime::new().unwrap().block_on(async {
        // The renamed column has another type as well.
        for _ in 0..2 {
            if let Err(error) = sync(&url, schema).await {
                assert!(!error.differences().is_empty(), "{error}");
                apply(&url, kind).await;
            }
        }
        sync(&url, schema).await.unwrap();
        apply(&url, kind).await;
        if kind.table == "rekey" {
            copy(&url, schema, kind.table, |_| {}).await.unwrap();
            // Drops the table before the copy.
            apply(&url, kind).await;
        }
    });
    assert_eq!(plan(kind, database, Version::New), [""; 0]);
}

/// Makes the changes that are possible in place.
async fn apply(url: &ClickHouseUrl, kind: &Kind) {
    let report = drift(url, kind.schema(Version::New)).await.unwrap();
    let refused = apply_drift(url, &report, |drift| drift.table == kind.table)
        .await
        .unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Returns what a version plans for the table.
fn plan(kind: &Kind, database: &Database, version: Version) -> Vec<String> {
    let url: ClickHouseUrl = database.url().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let (planned, found) = runtime.block_on(compare(&url, kind.schema(version))).unwrap();
    let name = format!("`{}`", kind.table);
    let mut lines: Vec<_> = planned
        .map_or_else(|_| Vec::new(), |report| report.statements)
        .into_iter()
        .map(|statement| database.without_name(&statement))
        .filter(|statement| statement.contains(&name))
        .collect();
    lines.extend(
        found
            .drifts
            .iter()
            .filter(|drift| drift.table == kind.table)
            .map(|drift| {
                let stops = if drift.stops_start { "stops the start: " } else { "" };
                let text = drift.to_string();
                let text = text.split(" (the table has ").next().unwrap();
                format!("{stops}{text}")
            }),
    );
    lines.extend(
        found
            .notes
            .iter()
            .filter(|note| note.contains(&name))
            .map(|note| format!("note: {note}")),
    );
    lines
}
