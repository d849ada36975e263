//! Connections: too long heads, incomplete bodies, unsupported methods, and bytes that are not
//! HTTP.

use std::{
    convert::Infallible,
    future::pending,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use http::Response;
use http_body_util::Empty;
use rowmill_ingest::server::{ServeOptions, serve};
use serde_json::json;
use tokio::{net::TcpListener, runtime::Runtime};
use tower::service_fn;

use super::Victim;

/// The time in which a body must make progress.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest head that the server certainly accepts; it refuses one of twice the length.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// How much later than expected an answer may come.
const MAX_DELAY: Duration = Duration::from_secs(20);

const CUT_SHORT: &[u8] =
    b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"event\":";

#[test]
fn a_body_that_never_arrives_times_out() {
    let victim = Victim::start();
    let start = Instant::now();
    let answer = victim.send_bytes(CUT_SHORT);
    let waited = start.elapsed();
    assert_eq!(
        (answer.status, answer.json()),
        (408, json!({"message": "Request Timeout"}))
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(
        waited >= BODY_TIMEOUT && waited < BODY_TIMEOUT + MAX_DELAY,
        "{waited:?}"
    );
    victim.stop().assert_nothing();
}

#[test]
fn a_body_that_trickles_times_out() {
    let victim = Victim::start();
    let start = Instant::now();
    let mut stream = TcpStream::connect(victim.collector.address).unwrap();
    let mut trickle = stream.try_clone().unwrap();
    let trickling = thread::spawn(move || {
        trickle.write_all(CUT_SHORT).unwrap();
        while trickle.write_all(b" ").is_ok() && start.elapsed() < BODY_TIMEOUT + MAX_DELAY {
            thread::sleep(Duration::from_millis(200));
        }
    });
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let waited = start.elapsed();
    drop(stream);
    trickling.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(waited < BODY_TIMEOUT + MAX_DELAY, "{waited:?}");
    victim.stop().assert_nothing();
}

#[test]
fn a_connection_that_ends_within_a_body_records_nothing() {
    let victim = Victim::start();
    for end in [Shutdown::Write, Shutdown::Both] {
        let mut stream = TcpStream::connect(victim.collector.address).unwrap();
        stream.write_all(CUT_SHORT).unwrap();
        stream.shutdown(end).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.starts_with(b"HTTP/1.1 200"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    // The last chunk never arrives.
    let chunked = b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"event\":\"half\"}\r\n";
    let mut stream = TcpStream::connect(victim.collector.address).unwrap();
    stream.write_all(chunked).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    victim.stop().assert_nothing();
}

#[test]
fn an_endless_head_times_out() {
    let runtime = Runtime::new().unwrap();
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            head_timeout: Duration::from_millis(200),
            ..ServeOptions::default()
        };
        let service_for = |_| service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::new())) });
        tokio::spawn(serve(listener, service_for, options, pending()));
        address
    });
    for head in ["", "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nX-Slow:"] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(MAX_DELAY)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .unwrap_or_else(|error| panic!("{head:?} is still open: {error}"));
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let victim = Victim::start();
    let long = "x".repeat(2 * MAX_HEAD_BYTES);
    let answer = victim.send("POST", "/wh/mail", &[("X-Long", &long)], b"{}");
    assert_eq!(answer.status, 431);
    let many: Vec<_> = (0..200).map(|_| ("X-Many", "1")).collect();
    assert_eq!(victim.send("POST", "/wh/mail", &many, b"{}").status, 431);
    let answer = victim.get(&format!("/wh/mail?event={}", "x".repeat(MAX_HEAD_BYTES)));
    assert_eq!(answer.status, 414);
    // A head that fits is accepted.
    let fits = "x".repeat(MAX_HEAD_BYTES - 1_000);
    assert_eq!(victim.get(&format!("/wh/mail?event=fits&detailed={fits}")).status, 200);
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(after.rows("mail_statistics", "event"), "fits\n");
}

#[test]
fn an_answer_does_not_wait_for_the_bytes_after_its_request() {
    let victim = Victim::start();
    for after in ["", "\r\n", "\r\n\r\n", "POST /wh/ma", "hello\r\n\r\n"] {
        let mut stream = TcpStream::connect(victim.collector.address).unwrap();
        stream.set_read_timeout(Some(MAX_DELAY)).unwrap();
        let request = format!("PUT /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n{after}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream
            .read_exact(&mut status)
            .unwrap_or_else(|error| panic!("{after:?}: {error}"));
        assert_eq!(&status, b"HTTP/1.1 400", "{after:?}");
    }
    victim.stop().assert_nothing();
}

#[test]
fn other_methods_are_refused() {
    let victim = Victim::start();
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "MAIL"] {
        for target in ["/wh/mail?event=x", "/pixel/mail", "/redir/mail?to=https://ya.ru"] {
            let answer = victim.send(method, target, &[], br#"{"event":"x"}"#);
            assert_eq!(
                (answer.status, answer.text()),
                (400, r#"{"message":"Bad Request"}"#),
                "{method} {target}"
            );
        }
    }
    victim.stop().assert_nothing();
}

#[test]
fn a_head_request_records_no_event() {
    let victim = Victim::start();
    let head = |target| victim.send("HEAD", target, &[], b"");
    let answer = head("/pixel/mail?event=open");
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.body.len()),
        (200, Some("image/gif"), 0)
    );
    let answer = head("/redir/mail?event=click&to=https://ya.ru");
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://ya.ru")));
    // Senders of webhooks check an address with HEAD before they use it.
    for target in ["/wh/mail", "/wh/mail?event=sent", "/any/thing", "/track/page"] {
        let answer = head(target);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{target}");
    }
    for target in ["/redir/mail", "/redir/mail?to=//evil.com", "/wh"] {
        let answer = head(target);
        assert_eq!((answer.status, answer.body.len()), (400, 0), "{target}");
    }
    victim.stop().assert_nothing();
}

#[test]
fn a_request_that_is_not_http_is_refused() {
    let victim = Victim::start();
    let requests: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus one\r\n\r\n{}",
        b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"GET /wh/mail?a=b c HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for request in requests {
        let answer = victim.send_bytes(request);
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(request));
    }
    victim.stop().assert_nothing();
}
