//! An archive beside ClickHouse: `serve --archive` and `replay`.

mod faults;
mod parquet;

use std::{fs, path::Path, process::Output};

use tempfile::TempDir;

use crate::{
    handover::rows::{Rows, away, spool, text},
    support::{
        collector::{self, Collector},
        engine::Database,
        wait_for,
    },
};

/// Returns the URL of an archive in a folder.
fn url(folder: &TempDir) -> String {
    format!("file://{}", folder.path().display())
}

/// Starts a collector with an archive in a folder.
fn start(data: &Path, clickhouse: &str, archive: &str) -> Collector {
    Collector::start_in(
        data,
        clickhouse,
        &["--archive", archive, "--archive-seconds", "0.2", "--drain-seconds", "5"],
    )
}

/// Waits until a collector has archived this many rows.
fn wait_for_archived(collector: &Collector, rows: u64) {
    wait_for("archived rows", || {
        (collector.metric("rowmill_archive_rows_total") >= rows).then_some(())
    });
    assert_eq!(collector.metric("rowmill_archive_rows_total"), rows);
}

/// Runs `rowmill replay` into a database.
fn replay(archive: &str, database: &Database, variables: &[(String, String)], arguments: &[&str]) -> Output {
    collector::command()
        .args(["replay", archive])
        .args(arguments)
        .env("ROWMILL_CLICKHOUSE", database.url())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap()
}

/// Returns an empty database with the tables of the schema.
fn empty(test: &str) -> Database {
    let database = Database::create(test);
    let applied = collector::command()
        .arg("apply")
        .env("ROWMILL_CLICKHOUSE", database.url())
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", text(&applied));
    database
}

/// Checks what a replay prints: the rows of the objects, none of which ClickHouse refuses.
fn assert_replayed(output: &Output, rows: u64) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains(&format!("\n{rows} rows in ")) || text.starts_with(&format!("{rows} rows in ")),
        "{text}"
    );
    assert!(text.contains("and ClickHouse refused 0\n"), "{text}");
}

/// Checks that a replay has sent nothing and fails with a reason.
fn assert_empty(output: &Output, reason: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(reason), "{text}");
}

/// Checks that a replay has found all rows in their tables.
fn assert_found(output: &Output, rows: u64) {
    assert_replayed(output, rows);
    let text = text(output);
    assert!(text.contains(&format!("searches found {rows} of them")), "{text}");
}

/// Checks that nothing in a data folder waits for the archive.
fn assert_archived(data: &Path) {
    let list = text(&spool("list", data, &[]));
    assert!(list.contains("0 segments, 0 bytes are kept for the archive"), "{list}");
}

#[test]
fn a_folder_gets_each_row_once_and_gives_it_back() {
    let (database, mut rows) = (Database::named("archive"), Rows::default());
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = url(&archive);
    let collector = start(data.path(), &database.url(), &url);
    rows.post(collector.address, 20);
    wait_for_archived(&collector, 20);
    rows.post(collector.address, 10);
    // The stop archives the rows of the last moment.
    assert_eq!(collector.stop().code, Some(0));
    rows.wait(&database);
    assert_archived(data.path());

    // A program for zstd reads the rows.
    let objects: Vec<_> = walk(&archive.path().join("mail_statistics"));
    let read = |path: &std::path::PathBuf| zstd::decode_all(&*fs::read(path).unwrap()).unwrap();
    let all: Vec<u8> = objects.iter().flat_map(read).collect();
    for number in 0..30 {
        let payload = rows.payload(number).into_bytes();
        let found = all.windows(payload.len()).filter(|window| *window == payload).count();
        assert_eq!(found, 1, "row {number}");
    }

    assert_found(&replay(&url, &database, &[], &[]), 30);
    assert_eq!(database.count("mail_statistics"), 30);
    database.query("TRUNCATE TABLE mail_statistics");
    assert_empty(&replay(&url, &database, &[], &["--to", "1d"]), " has no rows before ");
    assert_empty(
        &replay(&url, &database, &[], &["--table", "page_views"]),
        " has no rows of the table `page_views`",
    );
    let listed = text(&replay(&url, &database, &[], &["--dry-run", "--from", "1d"]));
    assert!(listed.contains(&format!("{} objects, ", objects.len())), "{listed}");
    assert_eq!(database.count("mail_statistics"), 0);
    assert_replayed(&replay(&url, &database, &[], &["--from", "1d"]), 30);
    rows.wait(&database);
    // ClickHouse has forgotten some of the rows, and their tokens are known.
    database.query("DELETE FROM mail_statistics WHERE toUInt64(message_id) % 3 = 0");
    assert_replayed(&replay(&url, &database, &[], &[]), 30);
    rows.wait(&database);
    assert_eq!(database.count("mail_statistics"), 30);

    // Damaged and foreign objects, and one that cannot be read, do not keep the others from their table.
    database.query("TRUNCATE TABLE mail_statistics");
    let foreign = archive.path().join("rejected/2026-11-30");
    fs::create_dir_all(&foreign).unwrap();
    fs::copy(&objects[0], foreign.join(objects[0].file_name().unwrap())).unwrap();
    let name = "20200101T000000.000Z-20200101T000000.000Z-1-2.blocks.zst";
    fs::write(foreign.join(name), "damaged").unwrap();
    let replayed = replay(&url, &database, &[], &[]);
    let text = text(&replayed);
    assert_eq!(replayed.status.code(), Some(1), "{text}");
    for part in [
        "\n30 rows in ",
        "its rows are left out: it does not begin with the description",
        "its rows are left out: it has rows of the table `mail_statistics` in the folder of `rejected`",
        "some objects cannot be read",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    rows.wait(&database);
    assert_eq!(database.count("mail_statistics"), 30);
}

#[test]
fn a_replay_without_rows_fails_and_creates_nothing() {
    let root = tempfile::tempdir().unwrap();
    let replay = |folder: &str, arguments: &[&str]| {
        let output = collector::command()
            .args([
                "replay",
                &format!("file://{}", root.path().join(folder).display()),
                "--dry-run",
            ])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    let output = replay("new", &[]);
    assert!(output.contains("the objects cannot be listed"), "{output}");
    assert!(!root.path().join("new").exists());
    let output = replay("", &["--table", "nothing", "--from", "2026-11-30T22:00:00Z"]);
    let reason = "has no rows of the table `nothing` from 2026-11-30T22:00:00Z";
    assert!(output.contains(reason), "{output}");
    let output = replay("", &["--from", "1d", "--to", "2d"]);
    assert!(output.contains("--from has to be before --to"), "{output}");
}

#[test]
fn clickhouse_that_is_away_delays_no_object() {
    let (database, mut rows) = (Database::named("archive_away"), Rows::default());
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, away) = (url(&archive), away(&database));
    let collector = start(data.path(), &away.url(), &url);
    rows.post(collector.address, 10);
    wait_for_archived(&collector, 10);
    collector.kill();
    // The spool has the rows, and the next process knows that the archive has them.
    let collector = start(data.path(), &away.url(), &url);
    rows.post(collector.address, 5);
    wait_for_archived(&collector, 5);
    away.proxy.set_server(Some(database.engine));
    rows.wait(&database);
    assert_eq!(collector.stop().code, Some(0));
    assert_archived(data.path());
    let other = empty("archive_away_copy");
    assert_replayed(&replay(&url, &other, &[], &[]), 15);
    rows.wait(&other);
}

#[test]
fn a_stop_uploads_the_rows_while_clickhouse_is_away() {
    let (database, mut rows) = (Database::named("archive_stop"), Rows::default());
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, away) = (url(&archive), away(&database));
    let options = ["--archive", &url, "--archive-seconds", "3600", "--drain-seconds", "4"];
    let collector = Collector::start_in(data.path(), &away.url(), &options);
    rows.post(collector.address, 10);
    assert_eq!(collector.metric("rowmill_archive_rows_total"), 0);
    collector.stop();
    let other = empty("archive_stop_copy");
    assert_replayed(&replay(&url, &other, &[], &[]), 10);
    rows.wait(&other);
}

#[test]
fn a_store_that_is_away_delays_no_row() {
    let (database, mut rows) = (Database::named("archive_store_away"), Rows::default());
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let away = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "not-in-the-log"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = ["--archive", "s3://bucket/rows", "--archive-seconds", "0.2"];
    let collector = Collector::start_in_as(data.path(), &database.url(), &away, &options);
    rows.post(collector.address, 10);
    rows.wait(&database);
    wait_for("a failure", || {
        (collector.metric("rowmill_archive_failing") == 1).then_some(())
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended.log.contains("rows cannot be archived and wait on disk"),
        "{}",
        ended.log
    );
    assert!(ended.log.contains("rows stay on disk for the archive"), "{}", ended.log);
    assert!(!ended.log.contains("not-in-the-log"), "{}", ended.log);
    let list = text(&spool("list", data.path(), &[]));
    assert!(list.contains("0 rows wait in 0 blocks"), "{list}");
    assert!(
        list.contains("1 segments, ") && list.contains("kept for the archive"),
        "{list}"
    );

    // Another store gets them.
    let collector = start(data.path(), &database.url(), &url(&archive));
    wait_for_archived(&collector, 10);
    rows.post(collector.address, 3);
    wait_for_archived(&collector, 13);
    collector.kill();
    let other = empty("archive_store_copy");
    assert_replayed(&replay(&url(&archive), &other, &[], &[]), 13);
    rows.wait(&other);

    // One that is away for too long gets no more.
    let collector = Collector::start_in_as(data.path(), &database.url(), &away, &options);
    rows.post(collector.address, 4);
    rows.wait(&database);
    collector.stop();
    let bound = [&options[..], &["--archive-bytes", "0"]].concat();
    let collector = Collector::start_in_as(data.path(), &database.url(), &away, &bound);
    wait_for("dropped rows", || {
        (collector.metric("rowmill_archive_dropped_bytes_total") > 0).then_some(())
    });
    let ended = collector.stop();
    assert!(ended.log.contains("rows are not archived"), "{}", ended.log);
    assert_archived(data.path());
}

#[test]
fn a_mistake_in_the_options_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    let start =
        |arguments: &[&str]| Collector::try_start_in(data.path(), "http://127.0.0.1:1/stats", arguments).unwrap_err();
    let folder = format!("file://{}/archive", data.path().display());
    for (arguments, reason) in [
        (
            &["--archive", "http://bucket"][..],
            "expected s3://bucket/prefix or file:///path",
        ),
        (
            &["--archive", "s3://key:secret@bucket"],
            "credentials belong in AWS_ACCESS_KEY_ID",
        ),
        (
            &["--archive", &folder, "--archive-tables", "mail_statistics,nothing"],
            "--archive-tables: the schema has no table `nothing`",
        ),
        (
            &["--archive", &folder, "--log", "kafka://127.0.0.1:1/events"],
            "--archive reads the spool, which a collector with --log does not have",
        ),
    ] {
        let log = start(arguments);
        assert!(log.contains(reason), "{arguments:?}: {log}");
        assert!(!log.contains("key:secret"), "{log}");
    }
}

/// Returns the files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(walk(&path)),
            path => files.push(path),
        }
    }
    files
}
