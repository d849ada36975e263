//! `rowmill spool --log`: reports on the rows of a shared log, and stores them without `deliver`.

use std::{fs, process::Output};

use super::{assert_rows, send, start_collector};
use crate::support::{broker::Broker, collector, engine::Database};

fn run(arguments: &[&str], log: &str) -> Output {
    let mut command = collector::command();
    command.arg("spool").args(arguments);
    // Without a URL, `--log` is the one of the variable.
    command.env("ROWMILL_LOG_URL", log).output().unwrap()
}

/// Runs a command that must succeed, and returns its output.
fn spool(arguments: &[&str], log: &str) -> String {
    let output = run(arguments, log);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn rows_of_a_log_are_listed_verified_exported_and_replayed() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_spool"), broker.log("spooled"));
    let clickhouse = database.url();
    let collector = start_collector(&database, &log, &[]);
    for number in 0..6 {
        send(&collector, number);
    }
    let listed = spool(&["list", "--log"], &log);
    assert!(listed.contains("6 rows wait in 6 records of kafka://"), "{listed}");
    assert!(listed.contains("mail_statistics"), "{listed}");
    assert!(listed.contains("no position of a delivery is known"), "{listed}");
    assert!(spool(&["verify", "--log", &log], "").contains("all checksums are correct"));

    // The files are the bodies of INSERTs.
    let copy = Database::create("log_spool_copy");
    let applied = collector::run(&["apply", "--clickhouse", &copy.url()]);
    assert!(applied.status.success(), "{applied:?}");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let exported = spool(&["export", to, "--table", "mail_statistics", "--log"], &log);
    assert!(exported.starts_with("2 files of rows in"), "{exported}");
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "rows") {
            let request = fs::read_to_string(file.with_extension("sql")).unwrap();
            let (statement, _) = request.split_once("\n-- records ").unwrap();
            let mut body = format!("{statement}\n").into_bytes();
            body.extend(fs::read(&file).unwrap());
            copy.insert(&body, file.to_str().unwrap());
        }
    }
    assert_rows(&copy, 0..6);

    let replay = [
        "replay",
        "--log",
        &log,
        "--clickhouse",
        &clickhouse,
        "--log-replicas",
        "1",
    ];
    let replayed = spool(&replay, "");
    assert!(
        replayed.contains("6 records wait in") && replayed.contains("all rows are in ClickHouse"),
        "{replayed}"
    );
    assert_rows(&database, 0..6);
    let list = ["list", "--clickhouse", &clickhouse, "--log"];
    assert!(spool(&list, &log).contains("0 rows wait in 0 records"));
    send(&collector, 6);
    let listed = spool(&list, &log);
    assert!(listed.contains("1 rows wait in 1 records"), "{listed}");
    assert!(!listed.contains("no position"), "{listed}");
    spool(&replay, "");
    assert_rows(&database, 0..7);
}

#[test]
fn a_record_that_is_no_row_fails_the_check() {
    let Some(broker) = Broker::start() else { return };
    let (database, log) = (Database::named("log_foreign"), broker.log("foreign"));
    let collector = start_collector(&database, &log, &[]);
    send(&collector, 0);
    broker.produce("foreign.mail_statistics", r#"{"key":"a","value":"b"}"#);
    let verified = run(&["verify", "--log"], &log);
    assert!(!verified.status.success());
    let error = String::from_utf8_lossy(&verified.stderr);
    assert!(
        error.contains("1 records are damaged or no rows of their table"),
        "{error}"
    );
    let listed = spool(&["list", "--log"], &log);
    assert!(listed.contains("1 rows wait in 1 records"), "{listed}");
    assert!(
        listed.contains("foreign.mail_statistics 0: 1 records are damaged"),
        "{listed}"
    );
    let error = run(&["list", "--log"], "http://a/b");
    assert!(String::from_utf8_lossy(&error.stderr).contains("--log: the scheme is not `kafka`"));
}
