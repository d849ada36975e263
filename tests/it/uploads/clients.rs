//! The clients of the protocol tus, unmodified.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use super::{assert_rows, write_events};
use crate::support::{clients, collector::Collector, engine::Database};

/// Uploads a file with a client, while the collector is killed some times.
fn upload_with(client: &mut Command, test: &str) {
    const EVENTS: usize = 60_000;
    let (database, data) = (Database::named(test), tempfile::tempdir().unwrap());
    let file = data.path().join("events.ndjson");
    let mut body = Vec::new();
    write_events(&mut body, false, EVENTS).unwrap();
    fs::write(&file, &body).unwrap();
    let spool = data.path().join("data");
    let mut collector = Collector::start_in(&spool, &database.url(), &[]);
    let address = collector.address;
    let mut client = client
        .arg(format!("http://{address}/upload/wh/mail"))
        .arg(&file)
        .args(["application/x-ndjson", "500000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for wait in [700, 300, 200] {
        sleep(Duration::from_millis(wait));
        collector.kill();
        collector = Collector::start_at(address, &spool, &database.url(), &[]);
    }
    let status = client.wait().unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_rows(&database, EVENTS);
    drop(collector);
}

#[test]
fn tus_js_client_uploads_over_kills() {
    let Some(folder) = clients::of_npm() else { return };
    let mut node = Command::new("node");
    upload_with(node.arg(folder.join("tus.mjs")), "tus_js");
}

#[test]
fn tuspy_uploads_over_kills() {
    let Some((folder, python)) = clients::of_pypi() else {
        return;
    };
    upload_with(Command::new(python).arg(folder.join("tus.py")), "tus_py");
}

#[test]
fn the_scripts_of_the_page_work_as_typed() {
    const EVENTS: usize = 1_000;
    let page = include_str!("../../../docs/uploads.md");
    let (database, data) = (Database::named("uploads_scripts"), tempfile::tempdir().unwrap());
    let collector = Collector::start(&database);
    let file = data.path().join("events.ndjson");
    let script = |language: &str| {
        let start = page.split(&format!("```{language}\n")).nth(1).unwrap();
        let script = start.split("```").next().unwrap();
        let script = script.replace("127.0.0.1:8080", &collector.address.to_string());
        script.replace("\"events.ndjson\"", &format!("{:?}", file.to_str().unwrap()))
    };
    let run = |command: &mut Command, events: std::ops::Range<usize>| {
        let lines = events.map(|number| super::event(number) + "\n");
        fs::write(&file, lines.collect::<String>()).unwrap();
        let output = command.output().unwrap();
        // Both clients end well after an error that their script prints.
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
    };
    let mut expected = 0;
    if let Some(folder) = clients::of_npm() {
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", &script("js")]);
        run(node.current_dir(folder), 0..EVENTS);
        expected += EVENTS;
    }
    if let Some((_, python)) = clients::of_pypi() {
        let mut python = Command::new(python);
        run(python.args(["-c", &script("python")]), expected..expected + EVENTS);
        expected += EVENTS;
    }
    assert_rows(&database, expected);
}
