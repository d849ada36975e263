//! Certificates of senders: connections and routes that accept only those of a CA. The senders are
//! curl and Node.js.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use embedder::tables;
use rowmill_ingest::server::{ClientCertificates, Tls, not_found};
use tempfile::TempDir;
use tower::{Layer, service_fn};

use crate::support::{
    certificates::{Ca, Validity},
    collector::{self, Collector},
    engine::Database,
    service::Served,
};

/// A CA, the certificate of a server, and those of senders.
struct Files {
    folder: TempDir,
    ca: Ca,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            ca: Ca::new(),
        };
        fs::write(files.ca_file(), &files.ca.pem).unwrap();
        files.issue("server", "localhost", Validity::Now);
        files
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for a name, and returns its file and that of its key.
    fn issue(&self, file: &str, name: &str, validity: Validity) -> [PathBuf; 2] {
        write(self.folder.path(), file, &self.ca, name, validity)
    }

    /// Returns the options of a collector with TLS.
    fn options(&self) -> [String; 6] {
        let [certificate, key] = ["server.pem", "server.key"].map(|file| self.folder.path().join(file));
        let text = |file: PathBuf| file.display().to_string();
        [
            "--tls-cert".to_owned(),
            text(certificate),
            "--tls-key".to_owned(),
            text(key),
            "--tls-client-ca".to_owned(),
            text(self.ca_file()),
        ]
    }
}

fn write(folder: &Path, file: &str, ca: &Ca, name: &str, validity: Validity) -> [PathBuf; 2] {
    let pair = ca.issue(&[name], validity);
    let files = ["pem", "key"].map(|end| folder.join(format!("{file}.{end}")));
    fs::write(&files[0], pair.certificate).unwrap();
    fs::write(&files[1], pair.key).unwrap();
    files
}

/// Posts an event with curl, and returns the status; `Err` with curl's error if there is no response.
fn post(ca: &Path, url: &str, body: &str, arguments: &[&str], pair: Option<&[PathBuf; 2]>) -> Result<String, String> {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(ca)
        .args(["-H", "Content-Type: application/json", "-d", body])
        .args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
        .args(arguments);
    if let Some([certificate, key]) = pair {
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    let output = command.arg(url).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

#[test]
fn only_certificates_of_the_ca_open_a_connection() {
    if !has("curl") {
        return;
    }
    let files = Files::new();
    let database = Database::create("client_certificates");
    let options = files.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let collector = Collector::start_with(&database.url(), &options);
    let (ca, port) = (files.ca_file(), collector.address.port());
    let url = format!("https://localhost:{port}/wh/mail");
    let event = r#"{"event":"certified"}"#;

    let sender = files.issue("sender", "shop.example.com", Validity::Now);
    for (version, expected) in [("--http1.1", "200 1.1"), ("--http2", "200 2"), ("--tls-max", "200 2")] {
        let arguments = [version, "1.2"];
        let arguments = &arguments[..1 + usize::from(version == "--tls-max")];
        assert_eq!(
            post(&ca, &url, event, arguments, Some(&sender)).as_deref(),
            Ok(expected)
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let of_other = write(
        folder.path(),
        "other",
        &Ca::named("another"),
        "shop.example.com",
        Validity::Now,
    );
    let expired = files.issue("expired", "shop.example.com", Validity::Past);
    let early = files.issue("early", "shop.example.com", Validity::Future);
    for pair in [None, Some(&of_other), Some(&expired), Some(&early)] {
        for version in ["1.2", "1.3"] {
            let refused = post(&ca, &url, event, &["--tls-max", version], pair);
            assert!(refused.is_err(), "{pair:?} {refused:?}");
        }
    }
    if has("node") {
        let [certificate, key] = &sender;
        let program = format!(
            "const fs = require('fs'); const request = require('https').request({url:?}, {{ method: 'POST', agent: false, \
             ca: fs.readFileSync({ca:?}), cert: fs.readFileSync({certificate:?}), key: fs.readFileSync({key:?}), \
             headers: {{ 'Content-Type': 'application/json' }} }}, answer => {{ console.log(answer.statusCode); \
             answer.resume() }}); request.end({event:?})"
        );
        let output = Command::new("node").args(["-e", &program]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200\n", "{output:?}");
        database.wait_for_rows("mail_statistics", 4);
    }
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn a_route_accepts_the_certificates_that_it_names() {
    if !has("curl") {
        return;
    }
    let files = Files::new();
    let database = Database::create("client_certificate_names");
    let [certificate, key] = ["server.pem", "server.key"].map(|file| files.folder.path().join(file));
    let tls = Tls::load(&certificate, &key).unwrap();
    let tls = tls
        .with_client_ca(&files.ca_file(), ClientCertificates::Optional)
        .unwrap();
    let served = Served::start_tls(&database, &tables::SCHEMA, tls, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let ca = files.ca_file();
    let shop = files.issue("shop", "shop.example.com", Validity::Now);
    let address = files.issue("address", "203.0.113.9", Validity::Now);
    let wildcard = files.issue("wildcard", "*.example.com", Validity::Now);
    let other = files.issue("other", "shop.example.org", Validity::Now);
    let expired = files.issue("expired", "shop.example.com", Validity::Past);
    let mut accepted = 0;
    for (route, pair, status) in [
        ("named", Some(&shop), "200"),
        ("named", Some(&address), "200"),
        ("named", Some(&wildcard), "200"),
        ("named", Some(&other), "401"),
        ("named", None, "401"),
        ("certified", Some(&other), "200"),
        ("certified", None, "401"),
        ("open", None, "200"),
    ] {
        let url = format!("https://localhost:{}/signed/{route}", served.address.port());
        for version in ["--http1.1", "--http2"] {
            let answer = post(&ca, &url, r#"{"number":1}"#, &[version], pair).unwrap();
            assert!(answer.starts_with(status), "{route} {pair:?} {answer}");
        }
        accepted += 2 * u64::from(status == "200");
        assert!(post(&ca, &url, "{}", &[], Some(&expired)).is_err(), "{route}");
    }
    served.drain();
    assert_eq!(database.count("signed"), accepted);
    let unverified = served.writer.status().unverified;
    let count = |route: &str, reason: &str| {
        let found = unverified
            .iter()
            .find(|count| (count.route, count.reason) == (route, reason));
        found.map(|count| count.count)
    };
    assert_eq!(count("signed/named", "signature"), Some(2));
    assert_eq!(count("signed/named", "missing"), Some(2));
    assert_eq!(count("signed/certified", "missing"), Some(2));
}

#[test]
fn a_file_without_a_ca_ends_the_start() {
    let files = Files::new();
    let options = files.options();
    let folder = tempfile::tempdir().unwrap();
    let start = |ca: &Path| {
        let output = collector::command()
            .args(["serve", "--clickhouse", "http://127.0.0.1:1/stats", "--data"])
            .arg(folder.path())
            .args(&options[..4])
            .arg("--tls-client-ca")
            .arg(ca)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let key = files.folder.path().join("server.key");
    assert!(
        start(&key).contains("server.key has no certificate in PEM format"),
        "{}",
        start(&key)
    );
    let missing = files.folder.path().join("missing.pem");
    assert!(
        start(&missing).contains("missing.pem cannot be read"),
        "{}",
        start(&missing)
    );
}
