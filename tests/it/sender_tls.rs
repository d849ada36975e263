//! TLS for senders: real clients, certificates that change under load, and handshakes that do not
//! end.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{
    certificates::{Ca, Pair, Validity},
    collector::Collector,
    engine::Database,
    http,
    tls_client::TlsClient,
    wait_for,
};

/// A collector with TLS, and its files.
struct Server {
    collector: Collector,
    database: Database,
    folder: TempDir,
    ca: Ca,
    /// The CA's file.
    ca_file: PathBuf,
}

impl Server {
    fn start(test: &str, arguments: &[&str]) -> Self {
        let (database, folder, ca) = (Database::create(test), tempfile::tempdir().unwrap(), Ca::new());
        let files = issue(&ca).write(folder.path()).map(|file| file.display().to_string());
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, &ca.pem).unwrap();
        let tls = ["--tls-cert", &files[0], "--tls-key", &files[1]];
        let collector = Collector::start_with(&database.url(), &[&tls, arguments].concat());
        Self {
            collector,
            database,
            folder,
            ca,
            ca_file,
        }
    }

    fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.collector.address.port())
    }

    /// Returns the value of a metric, over TLS.
    fn metric(&self, name: &str) -> u64 {
        let text = curl(&self.ca_file, &["-s", &self.url("/metrics")]).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

fn issue(ca: &Ca) -> Pair {
    ca.issue(&["localhost", "127.0.0.1"], Validity::Now)
}

/// Runs curl, which trusts the CA, and returns its output; `None` if there is no curl.
fn curl(ca: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(ca)
        .args(arguments)
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no curl");
        return None;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn curl_sends_events_over_both_versions_of_http() {
    let server = Server::start("sender_tls", &[]);
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--tls-max", "2")] {
        let mut arguments = vec![option];
        if option == "--tls-max" {
            arguments.push("1.2");
        }
        let (url, body) = (
            server.url("/wh/mail"),
            format!(r#"{{"event":"curl","message_id":"{option}"}}"#),
        );
        arguments.extend([
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            &url,
            "-w",
            " %{http_code} %{http_version}",
        ]);
        let Some(output) = curl(&server.ca_file, &arguments) else {
            return;
        };
        assert!(output.ends_with(&format!(" 200 {version}")), "{output}");
    }
    server.database.wait_for_rows("mail_statistics", 3);
    // A body of many frames, an image, a redirect and an unknown path, over HTTP/2.
    let lines = server.folder.path().join("lines");
    let line = r#"{"event":"line","detailed":"0123456789"}"#;
    fs::write(&lines, format!("{line}\n").repeat(20_000)).unwrap();
    let upload = format!("@{}", lines.display());
    let (bulk, status) = (server.url("/wh/mail"), " %{http_code}");
    let arguments = [
        "--http2",
        "-H",
        "Content-Type: application/x-ndjson",
        "--data-binary",
        &upload,
        &bulk,
        "-w",
        status,
    ];
    let output = curl(&server.ca_file, &arguments).unwrap();
    assert!(output.ends_with(" 200") && output.contains("20000"), "{output}");
    for (target, expected) in [
        ("/pixel/mail?event=pixel", "200 image/gif"),
        ("/redir/mail?event=redir&to=https%3A%2F%2Fexample.org", "302 "),
        ("/unknown", "404 "),
    ] {
        let arguments = [
            "--http2",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{content_type}",
            &server.url(target),
        ];
        let output = curl(&server.ca_file, &arguments).unwrap();
        assert!(output.starts_with(expected), "{target}: {output}");
    }
    server.database.wait_for_rows("mail_statistics", 20_005);
    // Many requests at once on one connection.
    let page = server.url("/pixel/mail?event=parallel&message_id=[1-300]");
    let arguments = [
        "--http2",
        "--parallel",
        "--parallel-max",
        "100",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        &page,
    ];
    let output = curl(&server.ca_file, &arguments).unwrap();
    assert_eq!(output.lines().filter(|line| *line == "200").count(), 300, "{output}");
    server.database.wait_for_rows("mail_statistics", 20_305);
    let ended = server.collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn python_requests_sends_an_event() {
    let server = Server::start("sender_tls_python", &[]);
    let program = format!(
        "import requests\nsession = requests.Session()\nsession.trust_env = False\nsession.verify = {:?}\nfor _ in range(3):\n    \
         answer = session.post({:?}, json={{'event': 'python'}})\n    assert answer.status_code == 200, answer.text\n",
        server.ca_file,
        server.url("/wh/mail")
    );
    let has_requests = Command::new("python3").args(["-c", "import requests"]).output();
    if !has_requests.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3 with requests");
        return;
    }
    let output = Command::new("python3").args(["-c", &program]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.database.wait_for_rows("mail_statistics", 3);
}

#[test]
fn chromium_loads_a_pixel() {
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
    let Some(chromium) = chromium.iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: there is no chromium");
        return;
    };
    let server = Server::start("sender_tls_chromium", &[]);
    let page = server.folder.path().join("page.html");
    let picture = server.url("/pixel/mail?event=chromium");
    let script = "document.title = `loaded ${performance.getEntriesByType('resource')[0]?.nextHopProtocol}`";
    fs::write(
        &page,
        format!("<title>empty</title><img src=\"{picture}\" onload=\"{script}\">"),
    )
    .unwrap();
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        // Chromium has no option for a CA.
        .arg("--ignore-certificate-errors")
        .arg(format!(
            "--user-data-dir={}",
            server.folder.path().join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("<title>loaded"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.database.wait_for_rows("mail_statistics", 1);
}

#[test]
fn certificates_that_change_under_load_lose_no_request() {
    const SENDERS: usize = 4;
    const CHANGES: usize = 4;
    let server = Server::start("sender_tls_renewal", &[]);
    let (address, sent, is_over) = (
        server.collector.address,
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let client = TlsClient::new(&server.ca);
            let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let (answer, _) = client.post_json(address, "/wh/mail", r#"{"event":"renewal"}"#);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let client = TlsClient::new(&server.ca);
    let served = || {
        let (answer, certificate) = client.post_json(address, "/wh/mail", r#"{"event":"renewal"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent.fetch_add(1, Ordering::SeqCst);
        certificate
    };
    for change in 0..CHANGES {
        let before = served();
        let pair = issue(&server.ca);
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| server.folder.path().join(name));
        if change % 2 == 0 {
            // Written in place, the one after the other.
            fs::write(&certificate, &pair.certificate).unwrap();
            served();
            fs::write(&key, &pair.key).unwrap();
        } else {
            // Renamed into their place.
            let new = server.folder.path().join("new");
            fs::write(&new, &pair.key).unwrap();
            fs::rename(&new, &key).unwrap();
            fs::write(&new, &pair.certificate).unwrap();
            fs::rename(&new, &certificate).unwrap();
        }
        wait_for("the new certificate", || (served() != before).then_some(()));
    }
    is_over.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }
    let sent = sent.load(Ordering::SeqCst);
    server.database.wait_for_rows("mail_statistics", sent);
    assert_eq!(server.metric("rowmill_handshakes_failed_total"), 0);
    let log = server.collector.log();
    assert_eq!(
        log.matches("the certificate for senders is renewed").count(),
        CHANGES,
        "{log}"
    );
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_broken_renewal_keeps_the_former_certificate() {
    let server = Server::start("sender_tls_broken", &[]);
    let client = TlsClient::new(&server.ca);
    let served = || {
        let (answer, certificate) = client.post_json(server.collector.address, "/wh/mail", r#"{"event":"a"}"#);
        assert_eq!(answer.status, 200);
        certificate
    };
    let before = served();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| server.folder.path().join(name));
    let error = "the new certificate for senders cannot be used; the former one stays in use";
    let mut errors = 0;
    for (file, text) in [
        (&key, issue(&server.ca).key),
        (
            &certificate,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        (&certificate, String::new()),
    ] {
        fs::write(file, text).unwrap();
        errors += 1;
        wait_for("an error in the log", || {
            assert_eq!(served(), before);
            (server.collector.log().matches(error).count() == errors).then_some(())
        });
    }
    fs::remove_file(&key).unwrap();
    wait_for("an error about the missing file", || {
        assert_eq!(served(), before);
        (server.collector.log().matches(error).count() > errors).then_some(())
    });
    assert!(!server.collector.log().contains("PRIVATE KEY-----\\n"));
    issue(&server.ca).write(server.folder.path());
    wait_for("the new certificate", || (served() != before).then_some(()));
}

#[test]
fn handshakes_that_do_not_end_hold_nobody() {
    let server = Server::start("sender_tls_slow", &[]);
    let client = TlsClient::new(&server.ca);
    // Nothing, a part of a handshake, and junk that is not TLS.
    let mut slow = Vec::new();
    for index in 0..300 {
        let mut stream = TcpStream::connect(server.collector.address).unwrap();
        if index % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
        }
        slow.push(stream);
    }
    let start = Instant::now();
    for _ in 0..20 {
        let (answer, _) = client.post_json(server.collector.address, "/wh/mail", r#"{"event":"quick"}"#);
        assert_eq!(answer.status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let plain = http_over_tls_port(server.collector.address);
    assert!(!plain.starts_with(b"HTTP/1.1 2"), "{plain:?}");
    wait_for("a failed handshake in the metrics", || {
        (server.metric("rowmill_handshakes_failed_total") >= 1).then_some(())
    });
    // The server closes the others by itself.
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let end = stream.read(&mut [0; 64]);
        assert!(
            !matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "{end:?}"
        );
    }
    assert!(server.metric("rowmill_handshakes_failed_total") >= 300);
    // A stop does not wait for a handshake.
    let _open = TcpStream::connect(server.collector.address).unwrap();
    let start = Instant::now();
    let ended = server.collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(!ended.log.contains("handshake"), "{}", ended.log);
}

/// Sends a request without TLS, and returns what comes back.
fn http_over_tls_port(address: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn a_connection_is_kept_between_requests_for_the_time_of_the_option() {
    let database = Database::named("idle");
    let collector = Collector::start_with(&database.url(), &["--idle-timeout", "1"]);
    let mut stream = http::open(collector.address, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    // A first request still has its own time.
    let mut silent = http::open(collector.address, b"");
    silent.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    assert!(silent.read(&mut [0; 1]).is_err());
}

#[test]
fn files_that_tls_cannot_use_end_the_start() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let [certificate, key] = issue(&ca).write(folder.path()).map(|file| file.display().to_string());
    let url = Database::named("sender_tls_files").url();
    for (arguments, expected) in [
        (
            vec!["--tls-cert", &key, "--tls-key", &key],
            "has no certificate in PEM format",
        ),
        (
            vec!["--tls-cert", &certificate, "--tls-key", &certificate],
            "has no private key in PEM format",
        ),
        (
            vec!["--tls-cert", &certificate, "--tls-key", "missing.pem"],
            "missing.pem cannot be read",
        ),
        (vec!["--tls-cert", &certificate], "--tls-key"),
    ] {
        let data = tempfile::tempdir().unwrap();
        match Collector::try_start_in(data.path(), &url, &arguments) {
            Ok(_) => panic!("the collector has started: {arguments:?}"),
            Err(log) => assert!(log.contains(expected), "{expected}: {log}"),
        }
    }
}
