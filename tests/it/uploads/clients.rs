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
