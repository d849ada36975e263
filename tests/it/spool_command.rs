//! `rowmill spool`: reports on waiting rows, and delivers them to ClickHouse without a collector.

use std::{fs, path::Path, process::Output};

use tempfile::TempDir;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
};

/// Returns a data folder with rows that wait because their table was unavailable.
fn waiting(database: &Database, rows: u32) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &["--drain-seconds", "0.1"]);
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    for row in 0..rows {
        let body = format!(r#"{{"event":"sent","message_id":"{row}"}}"#);
        let answer = http::post_json(collector.address, "/wh/mail", &body);
        assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
    }
    collector.kill();
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    data
}

fn spool(data: &Path, command: &str, arguments: &[&str]) -> Output {
    collector::command()
        .args(["spool", command, "--data"])
        .arg(data)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn waiting_rows_are_listed_verified_and_replayed_once() {
    let database = Database::named("spool_replay");
    let data = waiting(&database, 5);
    let listed = spool(data.path(), "list", &[]);
    assert!(listed.status.success(), "{}", text(&listed));
    assert!(text(&listed).contains("5 rows wait in"), "{}", text(&listed));
    assert!(text(&listed).contains("mail_statistics "), "{}", text(&listed));
    assert!(spool(data.path(), "verify", &[]).status.success());

    let replayed = spool(data.path(), "replay", &["--clickhouse", &database.url()]);
    assert!(replayed.status.success(), "{}", text(&replayed));
    assert_eq!(
        database.query("SELECT count(), uniqExact(message_id) FROM mail_statistics"),
        "5\t5\n"
    );
    let again = spool(data.path(), "list", &[]);
    assert!(text(&again).contains("0 rows wait"), "{}", text(&again));
}

#[test]
fn waiting_rows_are_exported_as_insert_bodies() {
    let database = Database::named("spool_export");
    let data = waiting(&database, 3);
    let to = data.path().join("out");
    let exported = spool(data.path(), "export", &[to.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", text(&exported));
    let mut rows = 0;
    for entry in fs::read_dir(&to).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rows") {
            let statement = fs::read_to_string(path.with_extension("sql")).unwrap();
            let (statement, token) = statement.split_once("\n-- insert_deduplication_token = ").unwrap();
            let mut body = format!("{statement}\n").into_bytes();
            body.extend(fs::read(&path).unwrap());
            database.insert(&body, token.trim());
            rows += 1;
        }
    }
    assert!(rows > 0);
    assert_eq!(database.count("mail_statistics"), 3);

    // A later replay recognizes the rows.
    assert!(
        spool(data.path(), "replay", &["--clickhouse", &database.url()])
            .status
            .success()
    );
    assert_eq!(database.count("mail_statistics"), 3);
}

#[test]
fn damage_is_found_and_loses_only_the_damaged_row() {
    let database = Database::named("spool_damage");
    let data = waiting(&database, 6);
    let segment = fs::read_dir(data.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .unwrap();
    // The row of the first webhook, which was synced before the second row was written.
    let mut bytes = fs::read(&segment).unwrap();
    let row = bytes.windows(5).position(|window| window == b"\x04sent").unwrap();
    bytes[row + 1] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let verified = spool(data.path(), "verify", &[]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("bytes are damaged"), "{}", text(&verified));
    assert!(text(&verified).contains("5 rows wait in"), "{}", text(&verified));

    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("damaged on disk"), "{}", ended.log);
    assert_eq!(database.count("mail_statistics"), 5);
    assert!(text(&spool(data.path(), "verify", &[])).contains("damaged: "));
}

#[test]
fn a_file_without_its_last_byte_is_incomplete() {
    let database = Database::named("spool_cut");
    let data = waiting(&database, 3);
    assert!(spool(data.path(), "verify", &[]).status.success());
    let last = fs::read_dir(data.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .max()
        .unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    let verified = spool(data.path(), "verify", &[]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("are incomplete"), "{}", text(&verified));
}

#[test]
fn a_folder_without_a_spool_is_an_error() {
    let nowhere = tempfile::tempdir().unwrap();
    let listed = spool(nowhere.path(), "list", &[]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(&listed).contains("there is no spool"), "{}", text(&listed));
}
