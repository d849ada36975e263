//! Rows that another collector takes over: none is lost and none is stored twice.

mod kills;
pub mod rows;

use std::{fs, path::Path, process::Command, sync::atomic::Ordering};

use self::rows::{Rows, Sender, Taker, away, handed_over, send, spool, text, waiting};
use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http, wait_for,
};

#[test]
fn a_stopped_collector_hands_its_rows_over_once() {
    let database = Database::named("handover");
    let (mut taker, mut rows) = (Taker::start(&database), Rows::default());
    let away = away(&database);
    let data = waiting(&away, &mut rows, 3);
    // A later run of the collector leaves further blocks, and dead letters.
    let collector = Collector::start_in(data.path(), &away.url(), &["--drain-seconds", "0.1"]);
    rows.post(collector.address, 4);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{").status, 400);
    let in_use = send(data.path(), &taker);
    assert_eq!(in_use.status.code(), Some(1));
    assert!(
        text(&in_use).contains("another process is using this spool"),
        "{}",
        text(&in_use)
    );
    assert_eq!(collector.stop().code, Some(0));
    let copy = tempfile::tempdir().unwrap();
    copy_folder(data.path(), copy.path());

    let wrong = data.path().join("wrong");
    fs::write(&wrong, "a-secret-that-nobody-has\n").unwrap();
    let refused = spool(
        "send",
        data.path(),
        &[&taker.url(), "--handover-secret-file", wrong.to_str().unwrap()],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("the other collector has another secret"),
        "{}",
        text(&refused)
    );
    assert!(!text(&refused).contains("nobody"), "{}", text(&refused));
    assert_eq!(database.count("mail_statistics"), 0);

    let sent = send(data.path(), &taker);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent));
    assert!(text(&sent).starts_with("8 rows in "), "{}", text(&sent));
    assert!(
        text(&sent).contains("it had 0 of the blocks before\nthe spool is empty\n"),
        "{}",
        text(&sent)
    );
    rows.wait(&database);
    database.wait_for_rows("rejected", 1);
    let metric = "rowmill_rows_received_total{table=\"mail_statistics\"}";
    assert_eq!(taker.metric(metric), 7);

    // An empty folder, and a copy of it from before.
    let again = send(data.path(), &taker);
    assert!(
        again.status.success() && text(&again).starts_with("0 rows"),
        "{}",
        text(&again)
    );
    taker.restart(&database);
    let copied = send(copy.path(), &taker);
    assert!(copied.status.success(), "{}", text(&copied));
    assert_eq!(handed_over(&copied), (8, 3), "{}", text(&copied));
    assert_eq!(taker.metric(metric), 0, "a restart begins at 0, and knows all blocks");
    rows.wait(&database);
    assert_eq!(database.count("rejected"), 1);
}

#[test]
fn a_collector_without_the_secret_takes_nothing() {
    let database = Database::named("handover_closed");
    let mut rows = Rows::default();
    let data = waiting(&away(&database), &mut rows, 2);
    let taker = Taker::start_with(&database, &[]);
    let refused = send(data.path(), &taker);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("the other collector takes no rows at this URL"),
        "{}",
        text(&refused)
    );
    // Nor does the listener of the events, where the path is an event's.
    let url = format!("http://{}", taker.collector().address);
    let refused = spool("send", data.path(), &[&url, "--handover-secret-file", taker.secret()]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(
        text(&refused).contains("2 rows are still in the spool"),
        "{}",
        text(&refused)
    );

    let listener = ["--handover-secret-file", taker.secret()];
    let log = Collector::try_start_in(tempfile::tempdir().unwrap().path(), &database.url(), &listener).unwrap_err();
    assert!(log.contains("name its address with --admin-listen"), "{log}");
}

#[test]
fn damaged_rows_stay_behind_and_the_others_go() {
    let database = Database::named("handover_damage");
    let (taker, mut rows) = (Taker::start(&database), Rows::default());
    let data = waiting(&away(&database), &mut rows, 6);
    let segment = fs::read_dir(data.path().join("spool"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let segment = segment.filter(|path| path.extension().is_some_and(|extension| extension == "spool"));
    let segment = segment.min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let damaged = rows.payload(2);
    let at = bytes
        .windows(damaged.len())
        .position(|window| window == damaged.as_bytes());
    bytes[at.unwrap()] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let sent = send(data.path(), &taker);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent));
    assert!(text(&sent).starts_with("5 rows in 1 blocks"), "{}", text(&sent));
    assert!(text(&sent).contains("damaged on disk"), "{}", text(&sent));
    rows.forget(2);
    rows.wait(&database);
}

#[test]
fn a_stop_hands_over_what_clickhouse_does_not_take() {
    let database = Database::named("drain_to");
    let (taker, mut rows) = (Taker::start(&database), Rows::default());
    let data = tempfile::tempdir().unwrap();
    let url = taker.url();
    let options = [
        "--drain-seconds",
        "0.3",
        "--drain-to",
        &url,
        "--handover-secret-file",
        taker.secret(),
    ];
    let collector = Collector::start_in(data.path(), &away(&database).url(), &options);
    let load = Sender::start(&mut rows, collector.address);
    wait_for("rows under load", || {
        (load.acknowledged.load(Ordering::SeqCst) >= 50).then_some(())
    });
    let ended = collector.stop();
    load.stop(&mut rows);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let line = "rows that ClickHouse did not take in time are handed over";
    assert!(ended.log.contains(line), "{}", ended.log);
    assert!(text(&spool("list", data.path(), &[])).contains("0 rows wait in 0 blocks"));
    rows.wait(&database);
}

#[test]
fn a_stop_that_cannot_hand_over_keeps_the_rows() {
    let database = Database::named("drain_to_nobody");
    let (mut taker, mut rows) = (Taker::start(&database), Rows::default());
    taker.kill();
    let data = tempfile::tempdir().unwrap();
    let url = taker.url();
    let options = [
        "--drain-seconds",
        "0.1",
        "--drain-to-seconds",
        "0.5",
        "--drain-to",
        &url,
        "--handover-secret-file",
        taker.secret(),
    ];
    let collector = Collector::start_in(data.path(), &away(&database).url(), &options);
    rows.post(collector.address, 5);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains("5 rows wait in the spool of"), "{}", ended.log);
    taker.restart(&database);
    let sent = send(data.path(), &taker);
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent));
    rows.wait(&database);
}

#[test]
fn a_collector_adopts_a_dead_ones_folder_under_load() {
    let database = Database::named("adopt");
    let (taker, mut rows) = (Taker::start(&database), Rows::default());
    let proxy = away(&database);
    let data = waiting(&proxy, &mut rows, 40);
    // Some of the rows are stored, and the dead collector has not heard of it.
    proxy.proxy.set_server(Some(database.engine));
    let dying = Collector::start_in(data.path(), &proxy.url(), &[]);
    database.wait_for_rows("mail_statistics", 40);
    dying.kill();
    let more = Collector::start_in(data.path(), &away(&database).url(), &["--drain-seconds", "0.1"]);
    rows.post(more.address, 40);
    more.kill();

    let load = Sender::start(&mut rows, taker.collector().address);
    let url = taker.url();
    let options = [&*url, "--handover-secret-file", taker.secret()];
    let adopted = collector::command()
        .args(["spool", "adopt", data.path().to_str().unwrap(), "--to"])
        .args(options)
        .output()
        .unwrap();
    assert_eq!(adopted.status.code(), Some(0), "{}", text(&adopted));
    load.stop(&mut rows);
    rows.wait(&database);
    assert!(text(&spool("list", data.path(), &[])).contains("0 rows wait"));
}

/// Runs the commands of docs/handover.md as typed, except for addresses and paths.
#[test]
fn the_commands_of_the_page_work() {
    let page = include_str!("../../docs/handover.md");
    let database = Database::named("handover_page");
    let (taker, mut rows) = (Taker::start(&database), Rows::default());
    let away = away(&database);
    let program = collector::command();
    let program = program.get_program().to_str().unwrap();
    let commands: Vec<_> = page.lines().filter(|line| line.starts_with("rowmill spool ")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let data = waiting(&away, &mut rows, 3);
        let (folder, url) = (data.path().to_str().unwrap(), taker.url());
        let command = command
            .replacen("rowmill", program, 1)
            .replace("http://127.0.0.1:9090", &url)
            .replace("http://collector-0:9090", &url)
            .replace("/mnt/dead/data", folder)
            .replace("./data", folder)
            .replace("-file handover-secret", &format!("-file {}", taker.secret()));
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output));
    }
    rows.wait(&database);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(path, copy).unwrap();
        }
    }
}
