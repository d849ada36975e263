//! The collector, the S3 server and ClickHouse fail at random, and each acknowledged row is in its table
//! once, and in the archive once, whatever the format of its objects.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{assert_archived, assert_found, assert_replayed, empty, parquet, replay};
use crate::{
    crash::random::Random,
    handover::rows::{Rows, Sender, away},
    support::{collector::Collector, engine::Database, object_store::ObjectStore, wait_for},
};

const ARCHIVE: &str = "s3://events/collector-1";

/// The options of a collector that soon writes objects of blocks.
const BLOCKS: [&str; 4] = ["--archive-seconds", "0.3", "--drain-seconds", "20"];

/// Runs faults for `duration`, and returns the store, the database of the collector and its rows.
fn run(test: &str, duration: Duration, options: &[&str]) -> Option<(ObjectStore, Database, Rows)> {
    let mut store = ObjectStore::start()?;
    let seed = Random::seed();
    eprintln!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let (database, mut rows) = (Database::named(test), Rows::default());
    let (away, data) = (away(&database), tempfile::tempdir().unwrap());
    away.proxy.set_server(Some(database.engine));
    let options = [&["--archive", ARCHIVE][..], options].concat();
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
    eprintln!(
        "{lives} kills, {faults} other faults: {} rows",
        database.count("mail_statistics")
    );
    Some((store, database, rows))
}

/// Checks that a replay of the archive finds each row once.
fn run_blocks(test: &str, duration: Duration) {
    let Some((store, database, rows)) = run(test, duration, &BLOCKS) else {
        return;
    };
    let (count, variables) = (database.count("mail_statistics"), store.variables());
    let other = empty(test);
    let replayed = replay(ARCHIVE, &other, &variables, &[]);
    assert_replayed(&replayed, count);
    rows.wait(&other);
    assert_eq!(other.count("mail_statistics"), count);
    assert_found(&replay(ARCHIVE, &database, &variables, &[]), count);
    assert_eq!(database.count("mail_statistics"), count);
    let objects = String::from_utf8_lossy(&replayed.stdout).lines().count() - 1;
    eprintln!("the rows are in {objects} objects, each once");
}

/// Checks that ClickHouse finds each row once in the objects of Parquet.
fn run_parquet(test: &str, duration: Duration) {
    let Some((store, database, rows)) = run(test, duration, &parquet::PARQUET) else {
        return;
    };
    let objects = store.objects("events/collector-1/mail_statistics");
    let names = objects.iter().map(|(name, _)| name);
    assert!(names.clone().all(|name| name.ends_with(".parquet")), "{names:?}");
    let other = empty(test);
    let objects: Vec<_> = objects.into_iter().map(|(_, bytes)| bytes).collect();
    parquet::load(&other, "mail_statistics", "", &objects);
    assert_eq!(other.count("mail_statistics"), database.count("mail_statistics"));
    rows.wait(&other);
    eprintln!("the rows are in {} objects, each once", objects.len());
}

#[test]
fn each_row_is_in_its_table_and_in_the_archive_once() {
    run_blocks("archive_faults", Duration::from_secs(12));
}

#[test]
#[ignore = "takes three minutes"]
fn each_row_is_in_its_table_and_in_the_archive_once_for_long() {
    run_blocks("archive_faults_long", Duration::from_secs(180));
}

#[test]
fn each_row_is_in_one_object_of_parquet() {
    run_parquet("archive_parquet_faults", Duration::from_secs(6));
}

#[test]
#[ignore = "takes three minutes"]
fn each_row_is_in_one_object_of_parquet_for_long() {
    run_parquet("archive_parquet_faults_long", Duration::from_secs(180));
}
