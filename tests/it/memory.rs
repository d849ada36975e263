//! The memory that senders can make the collector use: unfinished bodies, lines that become far
//! longer rows, and any number of rejections.

use std::{
    fmt::Write as _,
    future::poll_fn,
    io::Write,
    net::{SocketAddr, TcpStream},
    pin::pin,
    task::Poll,
    thread,
};

use ::http::Request;
use bytes::Bytes;
use embedder::tables;
use http_body_util::Full;
use rowmill_ingest::{ClickHouseUrl, EventOptions, Writer, WriterOptions, server::not_found, store::Servers};
use tokio::{runtime, task::yield_now};
use tower::{Layer, Service, service_fn};

use crate::support::{collector::Collector, engine::Database, http, wait_for};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// The memory of a collector without requests, as a debug build with one thread per core.
const IDLE_BYTES: u64 = 64 << 20;

/// Sends a body of many events except its last byte, as far as the collector reads it.
fn hold_body(address: SocketAddr, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("POST /wh/mail HTTP/1.1\r\nHost: a\r\n{}: {}\r\n", NDJSON.0, NDJSON.1);
    let body = vec![b' '; bytes - 1];
    let request = [format!("{head}Content-Length: {bytes}\r\n\r\n").as_bytes(), &body].concat();
    // The collector does not read a refused body to its end.
    let _ = stream.write_all(&request);
    stream
}

#[test]
fn unfinished_bodies_use_at_most_their_share() {
    const CONNECTIONS: usize = 100;
    const BODY: usize = 4 << 20;
    const MEMORY: u64 = 64 << 20;
    let database = Database::named("memory_bodies");
    let collector = Collector::start_with(&database.url(), &["--memory-bytes", &MEMORY.to_string()]);
    let address = collector.address;
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|_| thread::spawn(move || hold_body(address, BODY)))
        .collect();
    wait_for("a share that is used", || {
        (collector.metric("rowmill_request_bytes") > MEMORY / 4).then_some(())
    });
    for number in 0..20 {
        let answer = http::post_json(
            address,
            "/wh/mail",
            &format!(r#"{{"event":"sent","message_id":"{number}"}}"#),
        );
        assert_eq!(answer.status, 200, "an event of one packet does not wait");
        assert!(collector.metric("rowmill_request_bytes") <= MEMORY / 2);
    }
    let streams: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    wait_for("bodies that are refused", || {
        (collector.metric("rowmill_requests_refused_total{status=\"503\"}") > 0).then_some(())
    });
    assert!(collector.metric("rowmill_request_bytes") <= MEMORY / 2);
    drop(streams);
    wait_for("the memory to be released", || {
        (collector.metric("rowmill_request_bytes") == 0).then_some(())
    });
    let peak = collector.peak_memory();
    assert!(peak < IDLE_BYTES + MEMORY, "{} MiB", peak >> 20);
    database.wait_for_rows("mail_statistics", 20);
}

#[test]
fn a_long_query_on_many_lines_is_refused_before_it_becomes_rows() {
    const MEMORY: u64 = 256 << 20;
    let database = Database::named("memory_query");
    let collector = Collector::start_with(&database.url(), &["--memory-bytes", &MEMORY.to_string()]);
    let target = format!("/wh/mail?detailed={}", "q".repeat(40_000));
    let lines = "{}\n".repeat(100_000);
    let answer = http::send(collector.address, "POST", &target, &[NDJSON], lines.as_bytes());
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("send fewer lines"), "{}", answer.text());
    let peak = collector.peak_memory();
    assert!(peak < IDLE_BYTES + MEMORY, "{} MiB", peak >> 20);

    // Rows that fit into the limit are accepted. Rows that do not fit beside other rows get a 503
    // with `Retry-After`.
    let some = http::send(
        collector.address,
        "POST",
        &target,
        &[NDJSON],
        "{}\n".repeat(100).as_bytes(),
    );
    assert_eq!(some.status, 200, "{}", some.text());
    let small = Database::named("memory_small");
    let small = Collector::start_with(&small.url(), &["--memory-bytes", &(8 << 20).to_string()]);
    let answer = http::send(
        small.address,
        "POST",
        &target,
        &[NDJSON],
        "{}\n".repeat(1_000).as_bytes(),
    );
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert_eq!(
        small.metric("rowmill_rows_appended_total{table=\"mail_statistics\"}"),
        0
    );
    assert_eq!(small.metric("rowmill_request_bytes"), 0);
    database.wait_for_rows("mail_statistics", 100);
}

#[test]
fn the_dead_letters_of_a_request_are_about_as_long_as_the_request() {
    let database = Database::named("memory_letters");
    let collector = Collector::start(&database);
    let query = format!("detailed={}", "q".repeat(10_000));
    let mut lines = String::new();
    for number in 0..5_000 {
        writeln!(lines, "no JSON {number}").unwrap();
    }
    let target = format!("/wh/mail?{query}");
    let answer = http::send(collector.address, "POST", &target, &[NDJSON], lines.as_bytes());
    assert_eq!((answer.status, &answer.json()["refused"]), (400, &5_000.into()));
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 10);

    database.wait_for_rows("rejected", 1_001);
    assert_eq!(
        database.query("SELECT countIf(position(payload, 'qqq') > 0), countIf(payload = 'no JSON 999') FROM rejected"),
        "1\t1\n"
    );
    assert_eq!(
        database.query("SELECT payload, reason FROM rejected WHERE code = 'more-lines'"),
        "\t4000 more lines of the request were refused, the first of them is line 1001\n"
    );
    let bytes = database.query("SELECT sum(byteSize(*)) FROM rejected");
    let sent = lines.len() + query.len();
    assert!(bytes.trim().parse::<usize>().unwrap() < 4 * sent, "{bytes} of {sent}");
    assert_eq!(collector.metric("rowmill_events_refused_total{code=\"json\"}"), 5_000);
}

#[test]
fn decoding_many_lines_yields_to_the_event_loop() {
    let event_loop = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let turns = event_loop.block_on(async {
        let unreachable: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let writer = Writer::start(
            &tables::SCHEMA,
            Servers::without_sync(unreachable.clone()),
            &WriterOptions::default(),
        );
        let mut service = tables::layer(writer.clone())
            .unwrap()
            .with_options(&EventOptions::default())
            .layer(service_fn(not_found::<Full<Bytes>>));
        let lines = "{\"number\":1}\n".repeat(100_000);
        let request = Request::post("/wh/plain")
            .header(NDJSON.0, NDJSON.1)
            .body(Full::new(Bytes::from(lines)))
            .unwrap();
        let mut answer = pin!(service.call(request));
        let mut turns = 0;
        let answer = loop {
            let answer = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
            if let Poll::Ready(answer) = answer {
                break answer.unwrap();
            }
            turns += 1;
            yield_now().await;
        };
        assert_eq!(answer.status(), 200);
        assert_eq!(
            writer
                .status()
                .tables
                .iter()
                .map(|counts| counts.rows_appended)
                .sum::<u64>(),
            100_000
        );
        assert_eq!(writer.status().request_bytes, 0);
        turns
    });
    // Decoding takes about 50 ms at least, so it must yield several times.
    assert!(turns >= 10, "{turns}");
}

#[test]
fn a_client_that_disconnects_during_decoding_leaves_no_rows() {
    let event_loop = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    event_loop.block_on(async {
        let unreachable: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let writer = Writer::start(
            &tables::SCHEMA,
            Servers::without_sync(unreachable.clone()),
            &WriterOptions::default(),
        );
        let mut service = tables::layer(writer.clone())
            .unwrap()
            .layer(service_fn(not_found::<Full<Bytes>>));
        let request = Request::post("/wh/plain")
            .header(NDJSON.0, NDJSON.1)
            .body(Full::new(Bytes::from("{\"number\":1}\n".repeat(100_000))))
            .unwrap();
        let mut answer = Box::pin(service.call(request));
        for _ in 0..3 {
            let is_pending = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending())).await;
            assert!(is_pending);
            yield_now().await;
        }
        assert!(writer.status().request_bytes > 0);
        drop(answer);
        for _ in 0..10 {
            yield_now().await;
        }
        let counters = writer.status().tables;
        assert!(counters.iter().all(|counts| counts.rows_appended == 0), "{counters:?}");
        assert_eq!(writer.status().request_bytes, 0);
    });
}
