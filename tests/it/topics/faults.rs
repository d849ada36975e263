//! The collector, the broker and ClickHouse fail at random, and each acknowledged row is in its table
//! once, and in its topic at least once.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{SENT, assert_sent, reader::Reader, start};
use crate::{
    crash::random::Random,
    handover::rows::{Rows, Sender, away},
    support::{broker::Broker, engine::Database, wait_for},
};

/// Runs faults for `duration`.
fn run(test: &str, duration: Duration) {
    let Some(broker) = Broker::start() else { return };
    let seed = Random::seed();
    eprintln!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let (database, mut rows) = (Database::named(test), Rows::default());
    let (away, data) = (away(&database), tempfile::tempdir().unwrap());
    away.proxy.set_server(Some(database.engine));
    let topics = broker.log("faults");
    let start = || start(data.path(), &away.url(), &topics, &["--drain-seconds", "30"]);
    let begin = Instant::now();
    let (mut kills, mut faults) = (0, 0);
    while begin.elapsed() < duration {
        let collector = start();
        let sender = Sender::start(&mut rows, collector.address);
        for _ in 0..random.below(4) {
            sleep(Duration::from_millis(random.below(500)));
            faults += 1;
            match random.below(5) {
                0 => {
                    broker.pause();
                    sleep(Duration::from_millis(random.below(700)));
                    broker.resume();
                }
                1 | 2 => {
                    broker.go_away();
                    sleep(Duration::from_millis(random.below(700)));
                    broker.come_back();
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
        kills += 1;
    }
    let collector = start();
    rows.post(collector.address, 1);
    rows.wait(&database);
    wait_for("the broker, which was away", || {
        let failing = collector.metric("rowmill_topics_failing{table=\"mail_statistics\"}");
        (collector.metric(SENT) > 0 && failing == 0).then_some(())
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_sent(data.path());

    let count = database.count("mail_statistics");
    let reader = Reader::start(
        &database,
        &broker,
        "mail_statistics",
        "faults.mail_statistics",
        "JSONEachRow",
    );
    reader.wait_for(count);
    reader.assert_equals_table("1");
    reader.assert_headers();
    let messages = reader.query("SELECT count() FROM messages FINAL");
    eprintln!(
        "{kills} kills, {faults} other faults: {count} rows, each in the topic, in {} messages",
        messages.trim()
    );
}

#[test]
fn each_row_is_in_its_table_once_and_in_its_topic() {
    run("topics_faults", Duration::from_secs(10));
}

#[test]
#[ignore = "takes three minutes"]
fn each_row_is_in_its_table_once_and_in_its_topic_for_long() {
    run("topics_faults_long", Duration::from_secs(180));
}
