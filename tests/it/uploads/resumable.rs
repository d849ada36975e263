//! Uploads that go on after a cut, by the protocol tus 1.0.0.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::Ordering,
    thread::{self, sleep},
    time::{Duration, Instant, SystemTime},
};

use embedder::tables;
use rowmill_ingest::{Ack, EventOptions, WriterOptions, layer::ResumableUploads, server::not_found};
use tower::{Layer, service_fn};

use super::{assert_rows, event, write_events};
use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
    proxy::Proxy,
    service::Served,
    wait_for,
};

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
const PART: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

/// Creates an upload of `length` bytes, and returns its path.
fn create(address: SocketAddr, target: &str, length: usize) -> String {
    let length = length.to_string();
    let answer = http::send(address, "POST", target, &[VERSION, ("Upload-Length", &length)], b"");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    answer.header("location").unwrap().to_owned()
}

fn patch(address: SocketAddr, path: &str, offset: usize, headers: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let offset = offset.to_string();
    let own = [VERSION, PART, ("Upload-Offset", &offset)];
    http::send(address, "PATCH", path, &[&own, headers].concat(), bytes)
}

fn offset_of(answer: &Answer) -> Option<usize> {
    answer.header("upload-offset")?.parse().ok()
}

fn head(address: SocketAddr, path: &str) -> Answer {
    http::send(address, "HEAD", path, &[VERSION], b"")
}

/// Returns the body with `count` events.
fn body(is_array: bool, count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    write_events(&mut body, is_array, count).unwrap();
    body
}

#[test]
fn an_upload_arrives_in_parts_of_any_length() {
    let database = Database::named("tus_parts");
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    let address = collector.address;
    let body = body(false, 100);
    let path = create(address, "/upload/wh/mail?list_id=all", body.len());
    assert!(path.starts_with("/upload/") && path.len() == 40, "{path}");
    let mut offset = 0;
    for part in body.chunks(999) {
        let answer = head(address, &path);
        assert_eq!((answer.status, offset_of(&answer)), (200, Some(offset)));
        assert_eq!(answer.header("upload-length"), Some(&*body.len().to_string()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("upload-expires").is_some_and(|at| at.ends_with(" GMT")));
        // An offset that is not the next one changes nothing.
        let wrong = patch(address, &path, offset + 1, &[], part);
        assert_eq!((wrong.status, offset_of(&wrong)), (409, Some(offset)));
        let answer = patch(address, &path, offset, &[], part);
        offset += part.len();
        assert_eq!((answer.status, offset_of(&answer)), (204, Some(offset)), "{answer:?}");
    }
    assert_eq!(offset_of(&head(address, &path)), Some(body.len()));
    let report = http::get(address, &path).json();
    assert_eq!((&report["recorded"], &report["refused"]), (&100.into(), &0.into()));
    assert_rows(&database, 100);
    assert_eq!(
        database.query("SELECT DISTINCT list_id, service, name FROM mail_statistics"),
        "all\twh\tmail\n"
    );
    // Only the record is left, and it is private.
    let files: Vec<_> = fs::read_dir(data.path().join("uploads")).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_requests_of_the_protocol_are_checked() {
    let database = Database::named("tus_protocol");
    let collector = Collector::start_with(&database.url(), &["--upload-disk-bytes", "1000"]);
    let address = collector.address;
    let options = http::send(address, "OPTIONS", "/upload/wh/mail", &[], b"");
    assert_eq!(options.status, 204);
    for (name, value) in [
        ("tus-resumable", "1.0.0"),
        ("tus-version", "1.0.0"),
        (
            "tus-extension",
            "creation,creation-with-upload,termination,checksum,expiration",
        ),
        ("tus-checksum-algorithm", "sha1,sha256"),
        ("tus-max-size", "1000"),
    ] {
        assert_eq!(options.header(name), Some(value), "{name}");
    }
    let preflight = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "tus-resumable, upload-offset"),
    ];
    let preflight = http::send(address, "OPTIONS", "/upload/wh/mail", &preflight, b"");
    assert!(
        preflight
            .header("access-control-allow-methods")
            .unwrap()
            .contains("PATCH")
    );
    assert!(
        preflight
            .header("access-control-allow-headers")
            .unwrap()
            .contains("upload-offset")
    );
    assert!(
        preflight
            .header("access-control-expose-headers")
            .unwrap()
            .contains("Upload-Offset")
    );

    let post = |target: &str, headers: &[(&str, &str)]| http::send(address, "POST", target, headers, b"").status;
    let length = ("Upload-Length", "10");
    assert_eq!(post("/upload/wh/mail", &[("Tus-Resumable", "0.2.2"), length]), 412);
    assert_eq!(post("/upload/wh/mail", &[VERSION]), 400);
    assert_eq!(post("/upload/wh/mail", &[VERSION, ("Upload-Length", "-1")]), 400);
    assert_eq!(post("/upload/wh/mail", &[VERSION, ("Upload-Length", "1001")]), 413);
    assert_eq!(
        post("/upload/wh/mail", &[VERSION, length, ("Upload-Metadata", "filename *")]),
        400
    );

    let path = create(address, "/upload/wh/mail", 10);
    let unknown = "/upload/00000000000000000000000000000000";
    assert_eq!(head(address, unknown).status, 404);
    assert_eq!(patch(address, unknown, 0, &[], b"x").status, 404);
    assert_eq!(http::send(address, "HEAD", &path, &[], b"").status, 412);
    assert_eq!(
        http::send(address, "PATCH", &path, &[VERSION, ("Upload-Offset", "0")], b"x").status,
        415
    );
    assert_eq!(http::send(address, "PATCH", &path, &[VERSION, PART], b"x").status, 400);
    assert_eq!(http::get(address, &path).status, 404);
    assert_eq!(patch(address, &path, 0, &[], b"01234567890").status, 413);
    for (checksum, status, offset) in [
        ("md5 AAAA", 400, 0),
        ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J1=", 400, 0),
        ("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 460, 0),
        ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", 204, 3),
    ] {
        let answer = patch(address, &path, 0, &[("Upload-Checksum", checksum)], b"abc");
        assert_eq!(answer.status, status, "{checksum} {answer:?}");
        assert_eq!(offset_of(&head(address, &path)), Some(offset), "{checksum}");
    }
    // The disk is full as soon as all uploads together have 1000 bytes.
    let (first, second) = (
        create(address, "/upload/wh/mail", 600),
        create(address, "/upload/wh/mail", 600),
    );
    assert_eq!(patch(address, &first, 0, &[], &[b' '; 599]).status, 204);
    assert_eq!(patch(address, &second, 0, &[], &[b' '; 599]).status, 507);
    let removed = http::send(address, "DELETE", &first, &[VERSION], b"");
    assert_eq!(removed.status, 204);
    assert_eq!(head(address, &first).status, 404);
    let offset = offset_of(&head(address, &second)).unwrap();
    assert_eq!(
        patch(address, &second, offset, &[], &b" ".repeat(599 - offset)).status,
        204
    );

    // Creation with the whole upload, and with a method in a header.
    let line = format!("{}\n", event(0));
    let length = line.len().to_string();
    let headers = [VERSION, PART, ("Upload-Length", &length)];
    let answer = http::send(address, "POST", "/upload/wh/mail", &headers, line.as_bytes());
    assert_eq!(
        (answer.status, offset_of(&answer)),
        (201, Some(line.len())),
        "{answer:?}"
    );
    let empty = create(address, "/upload/wh/mail", 0);
    assert_eq!(http::get(address, &empty).json()["recorded"], 0);
    let path = create(address, "/upload/wh/mail", 2);
    let headers = [
        VERSION,
        PART,
        ("Upload-Offset", "0"),
        ("X-HTTP-Method-Override", "PATCH"),
    ];
    let answer = http::send(address, "POST", &path, &headers, b"<>");
    assert_eq!(
        (answer.status, offset_of(&answer)),
        (415, Some(2)),
        "it is complete, and cannot be read"
    );
    assert_rows(&database, 1);
}

#[test]
fn an_upload_that_does_not_go_on_is_removed() {
    let database = Database::named("tus_expiry");
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &["--upload-expiry-seconds", "1"]);
    let path = create(collector.address, "/upload/wh/mail", 10);
    assert_eq!(patch(collector.address, &path, 0, &[], b"12345").status, 204);
    let files = || fs::read_dir(data.path().join("uploads")).unwrap().count();
    assert_eq!(files(), 2);
    wait_for("the end of the upload", || {
        (head(collector.address, &path).status == 404).then_some(())
    });
    // A new upload removes those before it.
    create(collector.address, "/upload/wh/mail", 10);
    assert_eq!(files(), 2);
}

#[test]
fn the_time_without_a_request_begins_at_the_end_of_a_request() {
    const EXPIRY_S: u64 = 1_000;
    let database = Database::named("tus_touch");
    let collector = Collector::start_with(&database.url(), &["--upload-expiry-seconds", &EXPIRY_S.to_string()]);
    let path = create(collector.address, "/upload/wh/mail", 20);
    let mut stream = http::open(
        collector.address,
        format!(
            "PATCH {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
             Content-Type: application/offset+octet-stream\r\nContent-Length: 10\r\n\r\n01234"
        )
        .as_bytes(),
    );
    let now_s = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let begun_s = now_s();
    // The times of the protocol have whole seconds.
    let last_s = wait_for("a later second", || Some(now_s()).filter(|now_s| *now_s > begun_s + 1));
    stream.write_all(b"56789").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = http::parse(&answer);
    assert_eq!((answer.status, offset_of(&answer)), (204, Some(10)));
    let expires = jiff::fmt::rfc2822::parse(answer.header("upload-expires").unwrap()).unwrap();
    let expires_s = u64::try_from(expires.timestamp().as_second()).unwrap();
    assert!(expires_s >= last_s + EXPIRY_S, "{expires} {last_s}");
}

#[test]
fn an_upload_that_is_to_be_stored_is_recorded_once_while_clickhouse_is_away() {
    const EVENTS: usize = 60_000;
    let (database, data) = (Database::create("tus_stored"), tempfile::tempdir().unwrap());
    let proxy = Proxy::start(database.engine);
    let options = EventOptions {
        ack: Ack::Stored,
        ack_timeout: Duration::from_millis(500),
        resumable_uploads: Some(ResumableUploads::new(&data.path().join("uploads"))),
        ..EventOptions::default()
    };
    let (url, spool) = (database.url_through(proxy.address), data.path().join("spool"));
    let served = Served::start_in(
        Some(&spool),
        &url,
        &tables::SCHEMA,
        WriterOptions::default(),
        |writer| {
            let layer = tables::layer(writer).unwrap().with_options(&options);
            layer.layer(service_fn(not_found))
        },
    );
    let note = "x".repeat(100);
    let lines = (0..EVENTS).map(|number| format!("{{\"number\":{number},\"note\":\"{note}\"}}\n"));
    let (body, address) = (lines.collect::<String>().into_bytes(), served.address);
    let last = body.len() - 1;
    let path = create(address, "/upload/stream/numbers", body.len());
    let send_rest = |offset: usize| patch(address, &path, offset, &[], &body[offset..]);
    let appended = || {
        served
            .writer
            .status()
            .tables
            .iter()
            .map(|table| table.rows_appended)
            .sum::<u64>()
    };

    proxy.loses_answers.store(true, Ordering::SeqCst);
    for offset in [0, last, last] {
        let since = Instant::now();
        let answer = send_rest(offset);
        assert_eq!(
            (answer.status, offset_of(&answer)),
            (503, Some(last)),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains("not in its table yet"), "{}", answer.text());
        assert_eq!(offset_of(&head(address, &path)), Some(last));
        // A request waits for one part, and not for each: there are a dozen.
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert_eq!(appended(), EVENTS as u64, "no row is appended twice");
    }
    proxy.loses_answers.store(false, Ordering::SeqCst);
    let answer = wait_for("the stored rows", || {
        Some(send_rest(last)).filter(|answer| answer.status != 503)
    });
    assert_eq!(
        (answer.status, offset_of(&answer)),
        (204, Some(body.len())),
        "{}",
        answer.text()
    );
    let report = http::get(address, &path).json();
    assert_eq!((&report["recorded"], &report["refused"]), (&EVENTS.into(), &0.into()));
    database.wait_for_rows("numbers", EVENTS as u64);
    assert_eq!(
        database.query("SELECT count(), uniqExact(number) FROM numbers"),
        format!("{EVENTS}\t{EVENTS}\n")
    );
}

/// Sends the rest of an upload over one connection, and returns whether it is complete.
fn send_rest(address: SocketAddr, path: &str, body: &[u8], part: usize) -> bool {
    let Some(offset) = TcpStream::connect(address)
        .is_ok()
        .then(|| head_or_none(address, path))
        .flatten()
    else {
        return false;
    };
    if offset == body.len() {
        return true;
    }
    let rest = &body[offset..body.len().min(offset + part)];
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
         Content-Type: application/offset+octet-stream\r\nContent-Length: {}\r\n\r\n",
        rest.len()
    );
    let sent = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.write_all(rest));
    let mut answer = Vec::new();
    // A killed collector sends no answer.
    let _ = sent.and_then(|()| stream.read_to_end(&mut answer).map(drop));
    false
}

fn head_or_none(address: SocketAddr, path: &str) -> Option<usize> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    if answer.is_empty() {
        return None;
    }
    let answer = http::parse(&answer);
    (answer.status == 200).then(|| offset_of(&answer)).flatten()
}

/// Uploads a body while the collector is killed at random times.
fn survive_kills(test: &str, body: &[u8], events: usize, kills: usize, seed: u64) {
    println!("ROWMILL_CRASH_SEED={seed}");
    let (database, data) = (Database::create(test), tempfile::tempdir().unwrap());
    let start = |data: &Path| Collector::start_in(data, &database.url(), &[]);
    let mut collector = start(data.path());
    let path = create(collector.address, "/upload/wh/mail", body.len());
    let mut state = seed;
    let mut random = |end: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    for kill in 0..kills {
        let address = collector.address;
        // The first kills are while bytes arrive, and the others while the file is decoded.
        let part = match kill % 2 {
            0 => body.len() / kills,
            _ => body.len(),
        };
        let wait = Duration::from_millis(random(if kill % 2 == 0 { 60 } else { 600 }));
        thread::scope(|scope| {
            scope.spawn(|| send_rest(address, &path, body, part));
            sleep(wait);
            collector.kill();
        });
        collector = start(data.path());
    }
    let deadline = Instant::now() + Duration::from_secs(300);
    while !send_rest(collector.address, &path, body, body.len()) {
        assert!(Instant::now() < deadline, "{}", collector.log());
    }
    let report = http::get(collector.address, &path).json();
    assert_eq!((&report["recorded"], &report["refused"]), (&events.into(), &0.into()));
    assert_rows(&database, events);
}

fn seed() -> u64 {
    std::env::var("ROWMILL_CRASH_SEED").map_or_else(
        |_| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        |seed| seed.parse().unwrap(),
    )
}

#[test]
fn kills_of_the_collector_neither_lose_nor_repeat_a_row() {
    const EVENTS: usize = 60_000;
    let (lines, array) = (body(false, EVENTS), body(true, EVENTS));
    let compressed = zstd::encode_all(&lines[..], 1).unwrap();
    for (test, body) in [("tus_lines", &lines), ("tus_array", &array), ("tus_zstd", &compressed)] {
        survive_kills(test, body, EVENTS, 10, seed());
    }
}

/// With `ROWMILL_PROGRAM`, a release build.
#[test]
#[ignore = "the kills at full length take minutes"]
fn kills_of_the_collector_during_a_gibibyte() {
    const EVENTS: usize = 7_600_000;
    for (test, is_array) in [("tus_gib_lines", false), ("tus_gib_array", true)] {
        let body = body(is_array, EVENTS);
        survive_kills(test, &body, EVENTS, 10, seed());
        let compressed = zstd::encode_all(&body[..], 1).unwrap();
        drop(body);
        survive_kills(&format!("{test}_zstd"), &compressed, EVENTS, 10, seed());
    }
}
