//! The clients of the protocol tus, unmodified. `npm ci --prefix tests/tus` and a virtual environment
//! `tests/tus/venv` with `tests/tus/requirements.txt` install them; without them, the tests say that
//! they are skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use super::{assert_rows, write_events};
use crate::support::{collector::Collector, engine::Database};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tus")
}

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
    if !folder().join("node_modules").exists() {
        eprintln!("skipped: `npm ci --prefix tests/tus` installs the client");
        return;
    }
    let mut node = Command::new("node");
    upload_with(node.arg(folder().join("upload.mjs")), "tus_js");
}

#[test]
fn tuspy_uploads_over_kills() {
    let python = folder().join("venv/bin/python");
    if !python.exists() {
        eprintln!("skipped: a virtual environment tests/tus/venv with tests/tus/requirements.txt has the client");
        return;
    }
    upload_with(Command::new(python).arg(folder().join("upload.py")), "tus_py");
}
