//! The collector, the S3 server and ClickHouse fail at random, and each acknowledged row is in its table
//! once, and in the archive once.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{assert_archived, assert_found, assert_replayed, empty, replay};
use crate::{
    crash::random::Random,
    handover::rows::{Rows, Sender, away},
    support::{collector::Collector, engine::Database, object_store::ObjectStore, wait_for},
};

const ARCHIVE: &str = "s3://events/collector-1";

/// Runs faults for `duration`.
fn run(test: &str, duration: Duration) {
    let Some(mut store) = ObjectStore::start() else { return };
    let seed = Random::seed();
    eprintln!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let (database, mut rows) = (Database::named(test), Rows::default());
    let (away, data) = (away(&database), tempfile::tempdir().unwrap());
    away.proxy.set_server(Some(database.engine));
    let options = [
        "--archive",
        ARCHIVE,
        "--archive-seconds",
        "0.3",
        "--drain-seconds",
        "20",
    ];
    let variables = store.variables();
    let start = |clickhouse: &str| Collector::start_in_as(data.path(), clickhouse, &variables, &options);
    let begin = Instant::now();
    let (mut lives, mut faults) = (0, 0);
    while begin.elapsed() < duration {
        let collector = start(&away.url());
        let sender = Sender::start(&mut rows, collector.address);
        for _ in 0..random.below(4) {
            sleep(Duration::from_millis(random.below(500)));
            faults += 1;
            match random.below(5) {
                0 | 1 => {
                    store.pause();
                    sleep(Duration::from_millis(random.below(700)));
                    store.resume();
                }
                2 => {
                    store.go_away();
                    sleep(Duration::from_millis(random.below(700)));
                    store.come_back();
                }
                _ => {
                    away.proxy.set_server(None);
                    sleep(Duration::from_millis(random.below(500)));
                    away.proxy.set_server(Some(database.engine));
                }
            }
        }
        sleep(Duration::from_millis(random.below(1500)));
        collector.kill();
        sender.stop(&mut rows);
        lives += 1;
    }
    let collector = start(&away.url());
    rows.post(collector.address, 1);
    rows.wait(&database);
    wait_for("the S3 server, which has just started", || {
        let is_archived = collector.metric("rowmill_archive_rows_total") > 0;
        (is_archived && collector.metric("rowmill_archive_failing") == 0).then_some(())
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_archived(data.path());
    let count = database.count("mail_statistics");
    let other = empty(test);
    let replayed = replay(ARCHIVE, &other, &variables, &[]);
    assert_replayed(&replayed, count);
    rows.wait(&other);
    assert_eq!(other.count("mail_statistics"), count);
    assert_found(&replay(ARCHIVE, &database, &variables, &[]), count);
    assert_eq!(database.count("mail_statistics"), count);
    let objects = String::from_utf8_lossy(&replayed.stdout).lines().count() - 1;
    eprintln!("{lives} kills, {faults} other faults: {count} rows in {objects} objects, each once");
}

#[test]
fn each_row_is_in_its_table_and_in_the_archive_once() {
    run("archive_faults", Duration::from_secs(12));
}

#[test]
#[ignore = "takes three minutes"]
fn each_row_is_in_its_table_and_in_the_archive_once_for_long() {
    run("archive_faults_long", Duration::from_secs(180));
}
