//! Uploads: bodies of any length that become rows while they arrive, and those that go on after a cut.

mod clients;
mod memory;
mod resumable;

use std::{
    fs,
    io::{BufWriter, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use embedder::tables;
use rowmill_ingest::{EventOptions, route::Routes, server::not_found};
use tower::{Layer, service_fn};

use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
    service::Served,
};

/// Returns the fields of an event, which its number decides.
fn event(number: usize) -> String {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        r#"{{"event":"sent","message_id":"m-{number}","email":"{mixed:x}@example.com","list_id":"{}","detailed":"{:x}"}}"#,
        number % 97,
        mixed.rotate_left(17)
    )
}

/// Writes the body of an upload with `count` events, as lines or as an array.
fn write_events(body: &mut impl Write, is_array: bool, count: usize) -> std::io::Result<()> {
    for number in 0..count {
        let before = match (is_array, number) {
            (false, _) => "",
            (true, 0) => "[",
            (true, _) => ",",
        };
        writeln!(body, "{before}{}", event(number))?;
    }
    body.write_all(if is_array { b"]" } else { b"" })
}

/// Checks that the rows of `count` events are there, each once.
fn assert_rows(database: &Database, count: usize) {
    database.wait_for_rows("mail_statistics", count as u64);
    assert_eq!(
        database.query("SELECT count(), uniqExact(message_id), uniqExact(id) FROM mail_statistics"),
        format!("{count}\t{count}\t{count}\n")
    );
    assert_eq!(database.count("rejected"), 0);
}

/// A body in chunks.
#[derive(Debug)]
struct Chunked(TcpStream);

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        write!(self.0, "{:x}\r\n", bytes.len())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Sends a request with a body in chunks, which `write` writes, and reads the response.
fn upload(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    write: impl FnOnce(&mut BufWriter<Chunked>) -> std::io::Result<()>,
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
    let mut head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").unwrap();
    let mut body = BufWriter::with_capacity(64 << 10, Chunked(stream));
    write(&mut body).unwrap();
    let mut stream = body.into_inner().unwrap().0;
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    http::parse(&answer)
}

#[test]
fn an_upload_answers_with_its_counts_and_refused_lines_are_dead_letters() {
    let database = Database::named("uploads_counts");
    let collector = Collector::start(&database);
    let answer = upload(collector.address, "/upload/wh/mail", &[], |body| {
        for number in 0..5_000 {
            match number % 10 {
                0 => writeln!(body, "{{\"event\":\"sent\",\"dateTime\":[]"),
                _ => writeln!(body, "{}", event(number)),
            }?;
        }
        Ok(())
    });
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["recorded"], &report["refused"]),
        (200, &4_500.into(), &500.into())
    );
    assert_eq!(answer.header("x-rowmill-ack"), Some("spooled"));
    assert_eq!(report["errors"].as_array().unwrap().len(), 100);
    assert_eq!(report["errors"][99]["line"], 991);
    database.wait_for_rows("mail_statistics", 4_500);
    database.wait_for_rows("rejected", 500);
}

#[test]
fn a_stream_route_takes_bodies_of_any_length_on_its_own_path() {
    let database = Database::named("uploads_route");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        let options = EventOptions {
            max_body_bytes: 1_000,
            max_bulk_bytes: 10_000,
            ..EventOptions::default()
        };
        tables::layer(writer)
            .unwrap()
            .with_options(&options)
            .layer(service_fn(not_found))
    });
    let lines = |numbers: std::ops::Range<u32>| {
        numbers.fold(String::new(), |lines, number| {
            format!("{lines}{{\"number\":{number}}}\n")
        })
    };
    let ndjson = ("Content-Type", "application/x-ndjson");
    let post = |path: &str, lines: &str| http::send(served.address, "POST", path, &[ndjson], lines.as_bytes());
    // Without the option, the limit of a batch holds, and an upload has a path of its own.
    let long = lines(0..2_000);
    assert_eq!(post("/once/short", &long).status, 413);
    let answer = post("/upload/stream/numbers", &long);
    assert_eq!(
        (answer.status, &answer.json()["recorded"]),
        (200, &2_000.into()),
        "{answer:?}"
    );
    let answer = post("/stream/numbers", &lines(2_000..5_000));
    assert_eq!((answer.status, &answer.json()["recorded"]), (200, &3_000.into()));
    // A short body is a batch, whose rows are accepted together, or a single event.
    assert_eq!(post("/stream/numbers", &lines(5_000..5_010)).status, 200);
    assert_eq!(
        http::post_json(served.address, "/stream/numbers", "{\n\"number\":5010}").status,
        200
    );
    // A column's key makes a repeated upload no further row.
    for duplicates in [0, 1_000] {
        let answer = upload(served.address, "/stream/once", &[ndjson], |body| {
            body.write_all(lines(10_000..11_000).as_bytes())
        });
        let report = answer.json();
        assert_eq!((answer.status, &report["recorded"]), (200, &1_000.into()));
        assert_eq!(report["duplicates"].as_u64().unwrap_or_default(), duplicates);
    }
    database.wait_for_rows("numbers", 6_011);
    assert_eq!(database.query("SELECT uniqExact(number) FROM numbers"), "6011\n");
}

#[test]
fn the_lines_before_a_cut_are_recorded() {
    let database = Database::named("uploads_cut");
    let collector = Collector::start(&database);
    let mut stream = TcpStream::connect(collector.address).unwrap();
    stream
        .write_all(b"POST /upload/wh/mail HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    for number in 0..10 {
        stream.write_all(event(number).as_bytes()).unwrap();
        stream.write_all(if number == 9 { b"" } else { b"\n" }).unwrap();
    }
    drop(stream);
    assert_rows(&database, 9);
    assert_eq!(collector.metric("rowmill_request_bytes"), 0);
}

#[test]
fn a_verified_route_takes_no_uploads() {
    let database = Database::named("uploads_verified");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let verified = tables::Routes::DESTINATIONS
        .iter()
        .filter(|destination| destination.options.is_some_and(|options| options.verify.is_some()));
    let mut count = 0;
    for destination in verified.filter(|destination| !destination.path.ends_with("/default")) {
        let target = format!("/upload/{}", destination.path);
        let answer = http::send(served.address, "POST", &target, &[], b"{}\n");
        assert_eq!(answer.status, 403, "{target} {answer:?}");
        count += 1;
    }
    assert!(count > 3, "{count}");
}

#[test]
fn the_requests_of_the_page_work_as_typed() {
    let database = Database::named("uploads_page");
    let (collector, folder) = (Collector::start(&database), tempfile::tempdir().unwrap());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/uploads.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let command = block.replace("127.0.0.1:8080", &collector.address.to_string());
        let command = command.replace("curl ", "curl --silent --fail-with-body ");
        let output = Command::new("sh")
            .args(["-e", "-c", &command])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {answer}");
        assert!(answer.contains("\"refused\":0"), "{command}: {answer}");
    }
    database.wait_for_rows("mail_statistics", 301_000);
}
