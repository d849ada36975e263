//! A copy of a table with another key while a collector inserts: no row is lost or duplicated,
//! whichever process is killed, and whenever.

mod views;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};
use tempfile::TempDir;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

/// The sorting key that the schema does not have.
const OLD_KEY: &str = "ORDER BY (date, id)";
const NEW_KEY: &str = "ORDER BY (service, name, date)";

/// A ClickHouse of the test's own, which the test can kill.
struct ClickHouse {
    engine: Option<Engine>,
    address: SocketAddr,
    folder: TempDir,
}

impl ClickHouse {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::start(&options(folder.path())).unwrap();
        Self {
            address: engine.address(),
            engine: Some(engine),
            folder,
        }
    }

    fn kill(&mut self) {
        if let Some(engine) = self.engine.take() {
            let group = Pid::from_raw(engine.process_id().try_into().unwrap());
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// Starts ClickHouse again, on the same address.
    fn restart(&mut self) {
        let options = Options {
            listen: self.address,
            ..options(self.folder.path())
        };
        self.engine = Some(wait_for("ClickHouse", || Engine::start(&options).ok()));
    }

    fn database(&self) -> Database {
        Database::of_engine("stats", self.address, &self.folder.path().join("engine"))
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}

fn options(folder: &Path) -> Options {
    Options::new(env!("CARGO_BIN_EXE_rowmill"), folder.join("engine"))
}

/// Creates the tables, and gives `mail_statistics` another sorting key than the schema's.
fn with_old_key(database: &Database) {
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success(), "{applied:?}");
    let create = database.query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw");
    assert!(create.contains(NEW_KEY), "{create}");
    database.query("DROP TABLE mail_statistics SYNC");
    database.query(&create.replace(NEW_KEY, OLD_KEY));
}

/// Inserts rows that are in the table before the copy.
fn fill(database: &Database, rows: u64) {
    for from in (0..rows).step_by(1_000_000) {
        let rows = (rows - from).min(1_000_000);
        database.query(&format!(
            "INSERT INTO mail_statistics (id, date, service, name, message_id, email) SELECT number + 1, \
             toDate('2026-01-01') + number % 90, 'wh', toString(number % 7), 'h' || toString(number), \
             toString(cityHash64(number)) FROM numbers({from}, {rows}) SETTINGS max_partitions_per_insert_block = 0"
        ));
    }
}

/// Runs `apply --allow copy` until a line of its output contains `mark`.
fn copy_until(mark: &str, database: &Database) -> Child {
    let (child, is_seen) = copy_until_or_end(mark, database);
    assert!(is_seen, "{mark}");
    child
}

/// Runs `apply --allow copy` until a line of its output contains `mark`, or until its end. Returns
/// whether there was such a line.
fn copy_until_or_end(mark: &str, database: &Database) -> (Child, bool) {
    let mut child = collector::command()
        .args(["apply", "--allow", "copy", "--clickhouse", &database.url()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let is_seen = lines.any(|line| line.unwrap().contains(mark));
    (child, is_seen)
}

/// Runs `apply --allow copy`, and kills it where a line of its output contains `mark`.
fn kill_at(mark: &str, database: &Database) {
    let mut child = copy_until(mark, database);
    let _ = child.kill();
    child.wait().unwrap();
}

fn apply(database: &Database, allow: &str) -> (bool, String) {
    let mut child = collector::command()
        .args(["apply", "--allow", allow, "--clickhouse", &database.url()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().success(), text)
}

fn plan(database: &Database) -> String {
    String::from_utf8(collector::run(&["plan", "--clickhouse", &database.url()]).stdout).unwrap()
}

/// Sends numbered events until `is_over`, and counts those that are acknowledged.
fn send(address: SocketAddr, is_over: &AtomicBool, sent: &AtomicU64) {
    while !is_over.load(Ordering::SeqCst) {
        let first = sent.load(Ordering::SeqCst);
        let lines: String = (first..first + 20)
            .map(|number| format!("{{\"message_id\":\"n{number}\"}}\n"))
            .collect();
        let answer = http::send(address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent.fetch_add(20, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the sender, also after a failed assertion.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Copies a table of `rows` rows under load, with a kill of the copy at each of `marks`, and one of
/// ClickHouse.
fn copied_under_load(rows: u64, marks: &[&str]) {
    let mut clickhouse = ClickHouse::start();
    let database = clickhouse.database();
    with_old_key(&database);
    fill(&database, rows);
    let collector = Collector::start_with(&database.url(), &["--insert-timeout-seconds", "20"]);
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = collector.address;
    thread::scope(|scope| {
        let over = Over(&is_over);
        let sender = scope.spawn(|| send(address, &is_over, &sent));
        wait_for("rows of events", || {
            (database.count("mail_statistics") > rows + 100).then_some(())
        });
        for mark in marks {
            kill_at(mark, &database);
        }
        // ClickHouse ends while the table is closed, and the copy with it.
        let mut copy = copy_until("closed to inserts", &database);
        clickhouse.kill();
        assert!(!copy.wait().unwrap().success());
        clickhouse.restart();
        let started = Instant::now();
        let (is_done, text) = apply(&database, "copy");
        assert!(is_done, "{text}");
        println!("the last copy took {:?}: {text}", started.elapsed());
        let before = sent.load(Ordering::SeqCst);
        wait_for("events after the copy", || {
            (sent.load(Ordering::SeqCst) > before + 200).then_some(())
        });
        drop(over);
        sender.join().unwrap();
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    let sent = sent.load(Ordering::SeqCst);
    println!("{rows} rows before, {sent} events meanwhile");
    assert_eq!(
        database.query(
            "SELECT count(), uniqExact(id), uniqExact(message_id), countIf(message_id LIKE 'h%'), \
             countIf(email = toString(cityHash64(toUInt64OrZero(substring(message_id, 2))))) FROM mail_statistics"
        ),
        format!("{0}\t{0}\t{0}\t{rows}\t{rows}\n", rows + sent)
    );
    let create = database.query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw");
    assert!(
        create.contains(NEW_KEY) && !create.contains("max_parts_in_total"),
        "{create}"
    );

    // The previous table accepts nothing, and goes when the operator allows it.
    let plan_text = plan(&database);
    assert!(
        plan_text.starts_with("-- drop: `mail_statistics`: `rowmill_copy_mail_statistics`, the table before its copy"),
        "{plan_text}"
    );
    let refused = database.try_query("INSERT INTO rowmill_copy_mail_statistics (id) VALUES (1)");
    assert!(refused.unwrap_err().contains("TOO_MANY_PARTS"));
    assert!(apply(&database, "drop").0);
    assert_eq!(plan(&database), "");
}

#[test]
fn a_table_with_another_key_is_copied_under_load() {
    copied_under_load(200_000, &["is created", "pass 1", "closed to inserts"]);
}

#[test]
#[ignore = "takes minutes and gigabytes"]
fn a_table_of_ten_million_rows_is_copied_under_load() {
    copied_under_load(
        10_000_000,
        &["is created", "range 1 of", "range 3 of", "pass 1", "closed to inserts"],
    );
}

#[test]
fn a_copy_that_is_killed_after_the_exchange_is_done() {
    let database = Database::create("copy_exchanged");
    with_old_key(&database);
    fill(&database, 1000);
    kill_at("are exchanged", &database);
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done, "{text}");
    assert!(
        database
            .query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw")
            .contains(NEW_KEY)
    );
    assert_eq!(database.count("mail_statistics"), 1000);
    assert_eq!(database.count("rowmill_copy_mail_statistics"), 1000);
}

#[test]
fn a_table_that_cannot_be_copied_is_refused_unchanged() {
    let database = Database::create("copy_refused");
    with_old_key(&database);
    fill(&database, 10);
    let refused = |undo: &str, reason: &str| {
        let text = plan(&database);
        assert!(
            text.contains("-- impossible in place: `mail_statistics`: ORDER BY is"),
            "{text}"
        );
        assert!(text.contains("`mail_statistics` cannot be copied: "), "{text}");
        assert!(text.contains(reason), "{reason}: {text}");
        let (is_done, error) = apply(&database, "copy");
        assert!(!is_done && error.contains(reason), "{reason}: {error}");
        if !undo.is_empty() {
            database.query(undo);
        }
    };
    let text = plan(&database);
    for step in [
        "`mail_statistics` can be copied (rowmill apply --allow copy):",
        "-- 1. CREATE TABLE IF NOT EXISTS `d`.`rowmill_copy_mail_statistics`",
        "-- 5. EXCHANGE TABLES `d`.`mail_statistics` AND `d`.`rowmill_copy_mail_statistics`, while both are closed",
        "-- 6. ALTER TABLE `d`.`mail_statistics` RESET SETTING max_parts_in_total",
    ] {
        let step = step.replace("`d`", &format!("`{}`", database.name));
        assert!(text.contains(&step), "{text}");
    }
    database.query("ALTER TABLE mail_statistics ADD COLUMN strange UInt8");
    refused(
        "ALTER TABLE mail_statistics DROP COLUMN strange",
        "another difference comes first: column `strange` is UInt8",
    );
    database.query("CREATE TABLE rowmill_copy_mail_statistics (id UInt64) ENGINE = MergeTree ORDER BY id");
    refused(
        "DROP TABLE rowmill_copy_mail_statistics SYNC",
        "`rowmill_copy_mail_statistics` exists with another definition than the schema's",
    );
    let create = database.query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw");
    database.query("RENAME TABLE mail_statistics TO plain");
    database.query(&create.replace("ENGINE = MergeTree", "ENGINE = ReplacingMergeTree"));
    refused(
        "DROP TABLE mail_statistics SYNC",
        "one of both tables is a ReplacingMergeTree",
    );
    database.query("RENAME TABLE plain TO mail_statistics");
    // Without ids of their own, the rows that are copied cannot be recognized.
    database.query("INSERT INTO mail_statistics (id) SELECT 5 FROM numbers(3)");
    let (is_done, error) = apply(&database, "copy");
    assert!(
        !is_done && error.contains("3 of its rows have the id of another row"),
        "{error}"
    );
    assert_eq!(database.count("mail_statistics"), 13);
    database.query("INSERT INTO mail_statistics (id) VALUES (99)");
}

#[test]
fn rows_in_doubt_are_found_in_the_new_table() {
    let database = Database::create("copy_doubt");
    with_old_key(&database);
    fill(&database, 1000);
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    }
    wait_for("rows whose answer is lost", || {
        (database.count("mail_statistics") > 1000).then_some(())
    });
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done, "{text}");
    proxy.loses_answers.store(false, Ordering::SeqCst);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT count(), uniqExact(id) FROM mail_statistics"),
        "1020\t1020\n"
    );
}

#[test]
fn a_mutation_during_the_copy_ends_it_and_opens_the_table() {
    let database = Database::create("copy_mutation");
    with_old_key(&database);
    fill(&database, 1000);
    kill_at("is created", &database);
    database.query("ALTER TABLE mail_statistics DELETE WHERE id = 7 SETTINGS mutations_sync = 2");
    let (is_done, text) = apply(&database, "copy");
    assert!(
        !is_done && text.contains("a mutation has changed its rows during the copy"),
        "{text}"
    );
    database.query("INSERT INTO mail_statistics (id) VALUES (5000)");
    database.query("DROP TABLE rowmill_copy_mail_statistics SYNC");
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done, "{text}");
    assert_eq!(
        database.query("SELECT count(), countIf(id = 7) FROM mail_statistics"),
        "1000\t0\n"
    );
}

#[test]
fn a_copy_that_the_disk_has_no_space_for_does_not_begin() {
    let database = Database::create("copy_space");
    with_old_key(&database);
    fill(&database, 1000);
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    // The disk of the engine has 1000 free bytes.
    proxy.change("unreserved_space", "toUInt64(1)*1000");
    let planned = collector::run(&["plan", "--clickhouse", &url]);
    let planned = String::from_utf8(planned.stdout).unwrap();
    let reason = "its disks have 1000 free bytes, and the copy needs ";
    assert!(
        planned.contains("-- `mail_statistics` cannot be copied: ") && planned.contains(reason),
        "{planned}"
    );
    let applied = collector::run(&["apply", "--allow", "copy", "--clickhouse", &url]);
    let error = String::from_utf8(applied.stderr).unwrap();
    assert!(!applied.status.success() && error.contains(reason), "{error}");
    let tables =
        database.query("SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%copy%'");
    assert_eq!(tables, "0\n");
    database.query("INSERT INTO mail_statistics (id) VALUES (5000)");
}
