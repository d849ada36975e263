//! Backfills whose process is killed, or whose ClickHouse is: each row is in the view's table once.

use std::{
    cell::Cell,
    env,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};
use rowmill_ingest::{ClickHouseUrl, backfill::backfill};

use super::{STEPS, block_on, check_sums, decoded, fill, older_rows_in, options, send, with_older_rows};
use crate::support::{engine::Database, proxy::Proxy, wait_for};

/// The variable with the URL for the process that a test kills.
const CHILD_URL: &str = "ROWMILL_TEST_BACKFILL_URL";

/// The number of kills that a test needs at least.
const KILLS: usize = 10;

/// Runs a backfill in the process that a test starts for it.
#[test]
#[ignore = "another test runs it in a process of its own"]
fn backfill_of_a_child() {
    let Ok(url) = env::var(CHILD_URL) else { return };
    let url: ClickHouseUrl = url.parse().unwrap();
    let run = options("site_sums_view");
    block_on(backfill(&url, &embedder::tables::SCHEMA, &run, |_| {})).unwrap();
}

fn start_child(url: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "view_pipeline::kills::backfill_of_a_child"])
        .env(CHILD_URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_backfill_whose_process_is_killed_adds_each_row_once() {
    let (database, served) = with_older_rows("view_process_killed", 1000);
    // The first backfill waits for the cut.
    fill(&database, "site_visitors_view").unwrap();
    send(&served, &database, 50, 1050);
    let mut kills = 0;
    for round in 0..2 {
        for step in STEPS {
            let proxy = Proxy::start(database.engine);
            let mut child = start_child(&database.url_through(proxy.address));
            let has_ended = wait_for("a step of the backfill", || {
                let is_reached = decoded(&proxy.seen()).contains(step);
                let has_ended = child.try_wait().unwrap().is_some();
                (is_reached || has_ended).then_some(has_ended)
            });
            sleep(Duration::from_millis(round * 4));
            // SIGKILL.
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert!(!has_ended || status.success());
            kills += usize::from(status.code().is_none());
        }
    }
    assert!(kills >= KILLS, "{kills} kills");
    let report = fill(&database, "site_sums_view").unwrap();
    assert_eq!(report.total_rows, 1000);
    check_sums(&database);
}

#[test]
fn a_backfill_during_which_clickhouse_is_killed_adds_each_row_once() {
    let data = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), data.path())).unwrap();
    let database = Database::of_engine("stats", engine.address(), data.path());
    let (database, served) = older_rows_in(database, 1000);
    fill(&database, "site_visitors_view").unwrap();
    served.drain();
    drop(served);
    let (mut kills, mut round) = (0, 0);
    while kills < KILLS {
        let step = STEPS[round % STEPS.len()];
        round += 1;
        assert!(round < 4 * KILLS, "{kills} kills");
        let proxy = Proxy::start(database.engine);
        let through: ClickHouseUrl = database.url_through(proxy.address).parse().unwrap();
        let is_killed = Cell::new(false);
        let group = Pid::from_raw(engine.process_id().try_into().unwrap());
        let run = options("site_sums_view");
        let ended = block_on(async {
            let killed = async {
                while !decoded(&proxy.seen()).contains(step) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                killpg(group, Signal::SIGKILL).unwrap();
                is_killed.set(true);
                // The backfill may go on until it sees that ClickHouse is gone.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = backfill(&through, &embedder::tables::SCHEMA, &run, |_| {}) => ended,
                () = killed => unreachable!(),
            }
        });
        if is_killed.get() {
            kills += 1;
            wait_for("the end of ClickHouse", || engine.ended());
            wait_for("ClickHouse", || engine.start_again().ok());
        } else {
            // The step was not needed any more.
            ended.unwrap();
        }
    }
    let report = fill(&database, "site_sums_view").unwrap();
    assert_eq!(report.total_rows, 1000);
    check_sums(&database);
    engine.stop().unwrap();
}
