//! A shared log in place of the spool: `serve --log` and `deliver`, with a broker of its own.

mod connections;
mod cost;
mod faults;
mod spool;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{
    broker::Broker,
    collector::{self, Collector},
    engine::Database,
    http,
    kafka_gate::Rule,
    wait_for,
};

/// The topics of a broker that stands alone, and the log in place of the default.
pub fn log_options(log: &str) -> [&str; 6] {
    ["--log", log, "--log-replicas", "1", "--log-partitions", "2"]
}

/// A process of `rowmill deliver`, which is killed when it is dropped.
#[derive(Debug)]
pub struct Deliverer {
    child: Child,
    address: SocketAddr,
}

impl Deliverer {
    fn start(clickhouse: &str, log: &str) -> Self {
        Self::start_program(collector::command(), clickhouse, log)
    }

    /// Starts the deliverer of another program.
    pub fn start_program(mut program: Command, clickhouse: &str, log: &str) -> Self {
        let mut child = program
            .arg("deliver")
            .args(log_options(log))
            .args(["--listen", "127.0.0.1:0"])
            .env("ROWMILL_CLICKHOUSE", clickhouse)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = log.read_to_string(&mut text);
            // Shown if the test fails.
            eprint!("{text}");
        });
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap()
            .parse()
            .unwrap();
        Self { child, address }
    }

    /// Returns the sum of a metric over the partitions of a table.
    fn sum(&self, name: &str, topic: &str) -> f64 {
        let metrics = http::get(self.address, "/metrics");
        let start = format!("{name}{{topic=\"{topic}\",");
        let samples = metrics.text().lines().filter(|line| line.starts_with(&start));
        samples
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    }

    /// Stops the process and waits until it has ended.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Deliverer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a collector whose rows go to the log.
fn start_collector(database: &Database, log: &str, more: &[&str]) -> Collector {
    Collector::start_with(&database.url(), &[&log_options(log)[..], more].concat())
}

/// Returns the event with this number.
fn event(number: u64) -> String {
    let event = ["open", "click", "bounce"][(number % 3) as usize];
    format!(r#"{{"message_id":"{number}","event":"{event}","email":"{number}@example.org","detailed":"Ünï {number}"}}"#)
}

/// Sends an event that must be acknowledged as replicated.
fn send(collector: &Collector, number: u64) {
    let answer = http::post_json(collector.address, "/wh/mail", &event(number));
    assert_eq!(
        (answer.status, answer.header("x-rowmill-ack")),
        (200, Some("replicated")),
        "{}",
        answer.text()
    );
}

/// Asserts that the rows of all `numbers`, and no others, are in the table once, with their values.
fn assert_rows(database: &Database, numbers: impl Iterator<Item = u64>) {
    let rows = database.query(
        "SELECT message_id, event, email, detailed, count() FROM mail_statistics \
         GROUP BY ALL ORDER BY toUInt64(message_id) FORMAT TSV",
    );
    let expected = numbers.map(|number| {
        let event = ["open", "click", "bounce"][(number % 3) as usize];
        format!("{number}\t{event}\t{number}@example.org\tÜnï {number}\t1")
    });
    assert!(rows.lines().eq(expected), "{rows}");
}

#[test]
fn a_replicated_row_outlives_its_collector_and_the_disk() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_disk"), broker.log("disk"));
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &log_options(&log));
    for number in 0..40 {
        send(&collector, number);
    }
    // A dead letter goes the same way.
    let answer = http::post_json(collector.address, "/wh/mail", r#"{"message_id":{"a":[1]}"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let rejected = "rowmill_rows_inserted_total{table=\"rejected\"}";
    wait_for("the dead letter in the log", || {
        (collector.metric(rejected) == 1).then_some(())
    });
    collector.kill();
    fs::remove_dir_all(data.path()).unwrap();

    let deliverer = Deliverer::start(&database.url(), &log);
    database.wait_for_rows("mail_statistics", 40);
    database.wait_for_rows("rejected", 1);
    assert_rows(&database, 0..40);
    assert_eq!(http::get(deliverer.address, "/health").status, 200);
    deliverer.stop();
    // All positions were written, so the next process delivers only what is new.
    let positions = "SELECT sum(position) FROM (SELECT max(position) AS position FROM rowmill_log_positions GROUP BY topic, partition)";
    let delivered: u64 = database.query(positions).trim().parse().unwrap();
    assert!(delivered > 0);
    let collector = start_collector(&database, &log, &["--log-deliver"]);
    for number in 40..50 {
        send(&collector, number);
    }
    database.wait_for_rows("mail_statistics", 50);
    assert_rows(&database, 0..50);
    assert_eq!(collector.stop().code, Some(0));
}

#[test]
fn without_the_log_events_are_refused_and_accepted_again_after_it_comes_back() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_away"), broker.log("away"));
    let collector = start_collector(&database, &log, &[]);
    send(&collector, 0);
    broker.go_away();
    let refused = http::post_json(collector.address, "/wh/mail", &event(1));
    assert_eq!(
        (refused.status, refused.header("retry-after").is_some()),
        (503, true),
        "{}",
        refused.text()
    );
    // A pixel does not wait.
    assert_eq!(
        http::get(collector.address, "/pixel/mail?message_id=2&event=open").status,
        200
    );
    broker.come_back();
    wait_for("an accepted event", || {
        let answer = http::post_json(collector.address, "/wh/mail", &event(3));
        (answer.status == 200).then_some(())
    });
    let _deliverer = Deliverer::start(&database.url(), &log);
    wait_for("the rows", || {
        let ids = database.query("SELECT groupUniqArray(message_id) FROM mail_statistics");
        ["'0'", "'2'", "'3'"].iter().all(|id| ids.contains(id)).then_some(())
    });
    let log = collector.stop().log;
    assert!(
        log.contains("rows cannot be appended to the shared log and will be retried"),
        "{log}"
    );
    assert!(log.contains("the shared log accepts rows again"), "{log}");
}

#[test]
fn a_route_or_a_request_for_stored_rows_is_not_promised_them() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_stored"), broker.log("stored"));
    let data = tempfile::tempdir().unwrap();
    let options = [&log_options(&log)[..], &["--ack", "stored"]].concat();
    let error = Collector::try_start_in(data.path(), &database.url(), &options).unwrap_err();
    assert!(error.contains("--ack stored is not possible with --log"), "{error}");

    let collector = start_collector(&database, &log, &["--ack-header"]);
    let send = |ack: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Rowmill-Ack", ack)];
        let answer = http::send(collector.address, "POST", "/wh/mail", &headers, event(1).as_bytes());
        (
            answer.status,
            answer.header("x-rowmill-ack").unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(send("stored"), (503, "replicated".to_owned()));
    assert_eq!(send("spooled"), (200, "spooled".to_owned()));
    assert_eq!(send("accepted").0, 200);
}

#[test]
fn the_pages_of_a_collector_that_delivers_are_those_of_both() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_both"), broker.log("both"));
    let other = start_collector(&database, &log, &[]);
    let collector = start_collector(&database, &log, &["--log-deliver"]);
    for number in 0..10 {
        send(if number < 4 { &collector } else { &other }, number);
    }
    database.wait_for_rows("mail_statistics", 10);
    let of_table = |name: &str| format!("rowmill_{name}{{table=\"mail_statistics\"}}");
    wait_for("all rows in the counter", || {
        (collector.metric(&of_table("rows_inserted_total")) == 10).then_some(())
    });
    assert_eq!(collector.metric(&of_table("rows_appended_total")), 4);
    wait_for("no lag", || {
        let metrics = http::get(collector.address, "/metrics");
        let lag = "rowmill_log_lag_records{topic=\"both.mail_statistics\",partition=\"1\"} 0\n";
        metrics.text().contains(lag).then_some(())
    });
    // The delivery's trouble is there, and does not keep events away.
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    send(&collector, 10);
    wait_for("the held table", || {
        (collector.metric(&of_table("table_held")) == 1).then_some(())
    });
    let ready = http::get(collector.address, "/ready");
    assert_eq!(ready.status, 200);
    assert!(
        ready
            .text()
            .contains("table mail_statistics: rows wait for an operator"),
        "{}",
        ready.text()
    );
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    database.wait_for_rows("mail_statistics", 11);
    assert_rows(&database, 0..11);
}

#[test]
fn a_row_that_the_broker_finds_too_long_is_refused_for_good() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_too_long"), broker.log("long"));
    broker.set_rule(Rule::MaxRecordBytes(200_000));
    let options = ["--log-deliver", "--max-body-bytes", "1000000"];
    let collector = start_collector(&database, &log, &options);
    send(&collector, 0);
    let long = |number: u64| event(number).replace("Ünï", &"x".repeat(250_000));
    let answer = http::post_json(collector.address, "/wh/mail", &long(1));
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), None);
    let reason = answer.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(" bytes, more than the shared log accepts"), "{reason}");
    // The others of a request are recorded, also those after the long one.
    let lines = [event(2), long(3), event(4)].join("\n");
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = http::send(collector.address, "POST", "/wh/mail", &headers, lines.as_bytes());
    assert_eq!(answer.status, 413, "{}", answer.text());
    send(&collector, 5);
    database.wait_for_rows("mail_statistics", 4);
    assert_rows(&database, [0, 2, 4, 5].into_iter());
    database.wait_for_rows("rejected", 2);
    let letters = database.query(
        "SELECT code, table, length(payload), payload_bytes > 250000, reason LIKE '%max.message.bytes%' FROM rejected \
         GROUP BY ALL FORMAT TSV",
    );
    assert_eq!(letters.trim(), "log-too-large\tmail_statistics\t65536\t1\t1");
    let stopped = collector.stop();
    assert!(
        stopped.log.contains("a row is longer than the brokers accept"),
        "{}",
        stopped.log
    );
    assert_eq!(stopped.code, Some(0));
}

#[test]
fn the_lag_is_that_of_rows_that_wait_for_their_table() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_lag"), broker.log("lag"));
    let collector = start_collector(&database, &log, &[]);
    let deliverer = Deliverer::start(&database.url(), &log);
    send(&collector, 0);
    database.wait_for_rows("mail_statistics", 1);
    let records = || deliverer.sum("rowmill_log_lag_records", "lag.mail_statistics");
    let seconds = || deliverer.sum("rowmill_log_lag_seconds", "lag.mail_statistics");
    wait_for("no lag", || (records() == 0.0 && seconds() == 0.0).then_some(()));
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    for number in 1..11 {
        send(&collector, number);
    }
    wait_for("the lag of all records", || (records() == 10.0).then_some(()));
    wait_for("the age of the oldest record", || (seconds() > 0.5).then_some(()));
    assert_eq!(deliverer.sum("rowmill_log_lag_records", "lag.rejected"), 0.0);
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    database.wait_for_rows("mail_statistics", 11);
    wait_for("no lag again", || (records() == 0.0 && seconds() == 0.0).then_some(()));
    // A collector delivers nothing, and has no lag.
    assert!(
        !http::get(collector.address, "/metrics")
            .text()
            .contains("rowmill_log_lag")
    );
}

#[test]
fn rows_with_one_value_of_the_key_are_in_one_partition() {
    let Some(broker) = Broker::start() else { return };
    let database = Database::named("log_key");
    let data = tempfile::tempdir().unwrap();
    let wrong = broker.log("key?key=no_such_column");
    let error = Collector::try_start_in(data.path(), &database.url(), &log_options(&wrong)).unwrap_err();
    assert!(
        error.contains("--log: no table has the column of `key=no_such_column`"),
        "{error}"
    );
    // All events have the same `list_id`, and each its own `email`.
    let used = |prefix: &str, key: &str, from: u64| {
        let log = broker.log(&format!("{prefix}?key={key}"));
        let collector = start_collector(&database, &log, &["--log-deliver"]);
        for number in from..from + 20 {
            send(&collector, number);
        }
        database.wait_for_rows("mail_statistics", from + 20);
        assert_eq!(collector.stop().code, Some(0));
        let partitions = format!(
            "SELECT uniq(partition), sum(position) FROM (SELECT partition, max(position) AS position \
             FROM rowmill_log_positions WHERE topic = '{prefix}.mail_statistics' GROUP BY partition) WHERE position > 0 \
             FORMAT TSV"
        );
        database.query(&partitions).trim().to_owned()
    };
    assert_eq!(used("one", "mail_statistics.list_id", 0), "1\t20");
    assert_eq!(used("each", "email", 20), "2\t20");
    assert_rows(&database, 0..40);
}

#[test]
fn two_deliveries_share_the_partitions_and_one_takes_over() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_shared"), broker.log("shared"));
    let collector = start_collector(&database, &log, &[]);
    let first = Deliverer::start(&database.url(), &log);
    let mut second = None;
    for number in 0..60 {
        send(&collector, number);
        if number == 20 {
            second = Some(Deliverer::start(&database.url(), &log));
            thread::sleep(Duration::from_millis(10));
        }
    }
    database.wait_for_rows("mail_statistics", 60);
    // An orderly stop hands the partitions over at once.
    first.stop();
    for number in 60..80 {
        send(&collector, number);
    }
    database.wait_for_rows("mail_statistics", 80);
    assert_rows(&database, 0..80);
    drop(second);
}
