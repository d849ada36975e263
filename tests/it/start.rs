//! A start while ClickHouse is unavailable or differs from the schema: the collector accepts events
//! at once and delivers their rows later.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};
use tempfile::TempDir;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http, wait_for,
};

const EACH_ONCE: &str =
    "SELECT count(), uniqExact(message_id), min(toUInt32(message_id)), max(toUInt32(message_id)) FROM mail_statistics";

/// A ClickHouse that stops and restarts on the same address and data.
struct Server {
    engine: Option<Engine>,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// Starts the server, creates tables with `statements`, and stops it.
    fn stopped_with(statements: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::start(&options(folder.path())).unwrap();
        let mut server = Self {
            address: engine.address(),
            engine: Some(engine),
            folder,
        };
        server.database().on_server("CREATE DATABASE stats").unwrap();
        for statement in statements {
            server.database().query(statement);
        }
        server.stop();
        server
    }

    fn stop(&mut self) {
        self.engine.take().unwrap().stop().unwrap();
    }

    fn start(&mut self) {
        let options = options(self.folder.path()).with_listen(self.address);
        self.engine = Some(Engine::start(&options).unwrap());
    }

    fn database(&self) -> Database {
        Database::of_engine("stats", self.address, &self.folder.path().join("engine"))
    }

    /// Starts a collector for the server, on the data of an earlier collector.
    fn collector(&self) -> Collector {
        Collector::start_in(&self.data(), &self.database().url(), &["--drain-seconds", "60"])
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn options(folder: &Path) -> Options {
    Options::new(env!("CARGO_BIN_EXE_rowmill"), folder.join("engine"))
}

fn send_numbered(collector: &Collector, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let body = format!(r#"{{"message_id":"{number}"}}"#);
        let answer = http::post_json(collector.address, "/wh/mail", &body);
        assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
    }
}

fn ready(collector: &Collector) -> (u16, String) {
    let answer = http::get(collector.address, "/ready");
    (answer.status, answer.text().trim().to_owned())
}

/// Asks whether rows reach ClickHouse, too.
fn store_ready(collector: &Collector) -> (u16, String) {
    let answer = http::get(collector.address, "/ready?store=1");
    (answer.status, answer.text().trim().to_owned())
}

#[test]
fn events_are_accepted_before_clickhouse_runs() {
    // The table of an older schema, without most of the current columns.
    let mut server = Server::stopped_with(&[
        "CREATE TABLE mail_statistics (id UInt64, date Date, name String, service String, message_id String) \
         ENGINE = MergeTree ORDER BY (service, name, date) SETTINGS non_replicated_deduplication_window = 1000",
    ]);
    let first = server.collector();
    send_numbered(&first, 0..5);
    assert_eq!(store_ready(&first), (503, "ClickHouse does not answer".to_owned()));
    assert_eq!(ready(&first), (200, "ready".to_owned()));
    let log = first.log();
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains("ClickHouse is unavailable: events are accepted"), "{log}");
    first.kill();
    let second = server.collector();
    send_numbered(&second, 5..8);

    server.start();
    let database = server.database();
    database.wait_for_rows("mail_statistics", 8);
    send_numbered(&second, 8..10);
    wait_for("the collector to be ready", || {
        (store_ready(&second).0 == 200).then_some(())
    });
    let ended = second.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("rows are delivered"), "{}", ended.log);
    // No insert was tried before the columns existed, so none was refused for lack of them.
    assert!(!ended.log.contains("insert"), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "10\t10\t0\t9\n");
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn a_database_that_differs_waits_for_an_operator_and_loses_nothing() {
    let mut server = Server::stopped_with(&[
        "CREATE TABLE mail_statistics (id UInt64, date Date, name String, service String, message_id UInt32) \
         ENGINE = MergeTree ORDER BY (service, name, date) SETTINGS non_replicated_deduplication_window = 1000",
    ]);
    let collector = server.collector();
    send_numbered(&collector, 0..3);
    server.start();
    wait_for("the error", || {
        let log = collector.log();
        let (_, error) = log.split_once("ERROR the schema cannot be applied without intervention")?;
        error.contains("MODIFY COLUMN `message_id` String").then_some(())
    });
    let (status, text) = store_ready(&collector);
    assert_eq!(status, 503);
    assert!(text.starts_with("the database does not match the schema"), "{text}");
    // The events are safe all the same, so a balancer must not remove the collector.
    let (status, text) = ready(&collector);
    assert_eq!(status, 200);
    assert!(
        text.starts_with("ready\nthe database does not match the schema"),
        "{text}"
    );
    send_numbered(&collector, 3..4);
    let database = server.database();
    assert_eq!(database.count("mail_statistics"), 0);

    // At a start, the same difference is an error for the operator.
    let url = database.url();
    let other = tempfile::tempdir().unwrap();
    let refused = Collector::try_start_in(other.path(), &url, &[]).unwrap_err();
    assert!(
        refused.contains("error: http://") && refused.contains("MODIFY COLUMN"),
        "{refused}"
    );

    database.query("ALTER TABLE mail_statistics MODIFY COLUMN message_id String");
    database.wait_for_rows("mail_statistics", 4);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.query(EACH_ONCE), "4\t4\t0\t3\n");
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn a_stop_before_clickhouse_runs_leaves_the_rows_for_the_next_start() {
    let mut server = Server::stopped_with(&[]);
    let url = server.database().url();
    let collector = Collector::start_in(&server.data(), &url, &["--drain-seconds", "0.2"]);
    send_numbered(&collector, 0..2);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("rows stay in the spool"), "{}", ended.log);
    server.start();
    assert_eq!(server.collector().stop().code, Some(0));
    assert_eq!(server.database().query(EACH_ONCE), "2\t2\t0\t1\n");
}

#[test]
fn a_hangup_stops_the_collector_in_order() {
    let database = Database::named("hangup");
    let collector = Collector::start_with(&database.url(), &[]);
    send_numbered(&collector, 0..3);
    collector.signal(Signal::SIGHUP);
    let ended = collector.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "3\t3\t0\t2\n");
}

#[test]
fn under_nohup_the_collector_survives_a_hangup() {
    let database = Database::named("nohup");
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rowmill")])
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--clickhouse",
            &database.url(),
            "--data",
        ])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let KillOnDrop(child) = &mut KillOnDrop(child);
    stdout.read_line(&mut line).unwrap();
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGHUP).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "the collector still ignores the signal");
    assert_eq!(http::post_json(address, "/wh/mail", "{}").status, 200);
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(wait_for("the end of the collector", || child.try_wait().unwrap()).success());
    assert_eq!(database.count("mail_statistics"), 1);
}

#[test]
fn a_stop_is_announced_while_events_are_accepted() {
    let database = Database::named("announced");
    let collector = Collector::start_with(&database.url(), &["--pre-stop-seconds", "86400"]);
    wait_for("the collector to be ready", || {
        (store_ready(&collector).0 == 200).then_some(())
    });
    collector.signal(Signal::SIGTERM);
    let stopping = (503, "the collector is stopping".to_owned());
    wait_for("the announcement", || (ready(&collector) == stopping).then_some(()));
    assert_eq!(store_ready(&collector), stopping);
    // Each event uses a separate connection.
    send_numbered(&collector, 0..3);
    assert!(collector.log().contains("about to stop"), "{}", collector.log());
    // A second signal ends the announcement, and the stop is still orderly.
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("stopping at once"), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "3\t3\t0\t2\n");
}

#[test]
fn an_announced_stop_begins_by_itself() {
    let database = Database::named("announced_shortly");
    let collector = Collector::start_with(&database.url(), &["--pre-stop-seconds", "0.2"]);
    let started = Instant::now();
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_second_signal_stops_at_once() {
    let server = Server::stopped_with(&[]);
    let url = server.database().url();
    // An orderly stop waits a day for ClickHouse.
    let mut collector = Collector::start_in(&server.data(), &url, &["--drain-seconds", "86400"]);
    send_numbered(&collector, 0..2);
    // A request with an incomplete body is in flight too.
    let slow = http::open(
        collector.address,
        b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    );
    collector.signal(Signal::SIGTERM);
    wait_for("the stop", || collector.log().contains("stopping: ").then_some(()));
    collector.signal(Signal::SIGINT);
    wait_for("the end", || collector.has_ended().then_some(()));
    let ended = collector.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("stopping at once"), "{}", ended.log);
    assert!(ended.log.contains("rows stay in the spool"), "{}", ended.log);
    drop(slow);
    let mut server = server;
    server.start();
    assert_eq!(server.collector().stop().code, Some(0));
    assert_eq!(server.database().query(EACH_ONCE), "2\t2\t0\t1\n");
}

/// Kills a child that a failed test leaves.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_collector_with_a_closed_log_stops_on_sigterm() {
    let database = Database::named("unread");
    let data = tempfile::tempdir().unwrap();
    let child = collector::command()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--clickhouse",
            &database.url(),
            "--data",
        ])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let KillOnDrop(child) = &mut KillOnDrop(child);
    // From here on, standard error cannot be written: not at the start, not for the example
    // requests, not at the stop.
    drop(child.stderr.take());
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = wait_for("the end of the collector", || child.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_replica_that_starts_later_gets_its_tables() {
    let first = Database::named("start_first");
    let mut second = Server::stopped_with(&[]);
    let data = tempfile::tempdir().unwrap();
    let urls = format!("{},{}", second.database().url(), first.url());
    let collector = Collector::start_in(data.path(), &urls, &[]);
    send_numbered(&collector, 0..2);
    first.wait_for_rows("mail_statistics", 2);
    assert_eq!(store_ready(&collector), (200, "ready".to_owned()));
    second.start();
    wait_for("the tables of the second server", || {
        let tables = second.database().query("SHOW TABLES");
        tables.contains("mail_statistics").then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
}

#[test]
fn a_silent_clickhouse_delays_no_start() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stats", silent.local_addr().unwrap());
    let collector = Collector::start_with(&url, &["--drain-seconds", "0.1"]);
    send_numbered(&collector, 0..1);
    // A thread of the test reads the log, so the line may come after the response.
    wait_for("the line about ClickHouse", || {
        collector.log().contains("ClickHouse is unavailable").then_some(())
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// Returns the process and the address of the ClickHouse that a collector started last.
fn engine_of(collector: &Collector) -> Option<(Pid, SocketAddr)> {
    let log = collector.log();
    let value = |name: &str| {
        let values = log.rsplit(name).next().filter(|rest| rest.len() < log.len());
        values.and_then(|rest| rest.split([' ', '\n']).next())
    };
    let process = value("process=")?.parse().unwrap();
    let address = value("url=")?
        .trim_matches('"')
        .strip_prefix("http://")?
        .parse()
        .unwrap();
    Some((Pid::from_raw(process), address))
}

fn is_alive(process: Pid) -> bool {
    kill(process, None).is_ok()
}

#[test]
fn a_killed_embedded_clickhouse_is_restarted() {
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_with_engine(data.path());
    let (first, address) = engine_of(&collector).unwrap();
    let database = Database::of_engine("stats", address, &data.path().join("engine"));
    send_numbered(&collector, 0..3);
    database.wait_for_rows("mail_statistics", 3);
    let mut killed = first;
    for round in 1..=2 {
        kill(killed, Signal::SIGKILL).unwrap();
        send_numbered(&collector, round * 3..round * 3 + 3);
        killed = wait_for("another engine", || {
            let (process, _) = engine_of(&collector)?;
            (process != killed).then_some(process)
        });
        database.wait_for_rows("mail_statistics", u64::from(round) * 3 + 3);
    }
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("signal: 9"), "{}", ended.log);
    wait_for("no process is left", || (!is_alive(killed)).then_some(()));
    let collector = Collector::start_with_engine(data.path());
    let (engine, address) = engine_of(&collector).unwrap();
    let rows = Database {
        engine: address,
        ..database
    };
    assert_eq!(rows.query(EACH_ONCE), "9\t9\t0\t8\n");
    // Even a killed collector leaves no ClickHouse running.
    collector.kill();
    wait_for("no process is left", || (!is_alive(engine)).then_some(()));
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn an_altered_engine_is_not_loaded() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("engine").join(rowmill_engine::VERSION);
    fs::create_dir_all(&folder).unwrap();
    let library = folder.join("libchdb.so");
    fs::write(&library, b"\x7fELF of somebody else").unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = collector::command()
        .args(["engine", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .env("ROWMILL_CACHE", cache.path())
        .env_remove("ROWMILL_ENGINE")
        // A `clickhouse` there would come first.
        .env("PATH", "")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        error.contains("is not the embedded ClickHouse that this program was built for"),
        "{error}"
    );
    // A sum that is wrong leaves no record, and the file stays for who looks at it.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}
