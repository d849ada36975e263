//! The HTTP surface: refusals that reach their clients, slow bodies, and the faults of request
//! heads.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// Longer than the longest accepted body.
const TOO_LONG: usize = 5_000_000;

/// The number of times that each client is refused.
const TIMES: usize = 20;

/// Sends bytes on one connection, the later ones after a pause, and returns what comes back until the
/// server closes it.
fn exchange(address: SocketAddr, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for part in parts {
        stream.write_all(part).unwrap();
        sleep(Duration::from_millis(50));
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the statuses of all answers in a text.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[test]
fn a_body_that_is_refused_early_is_read_to_its_end() {
    let database = Database::named("surface_refusal");
    let collector = Collector::start(&database);
    let refused: [(&str, &str, u16); 3] = [
        ("POST", "/wh/mail", 413),
        // No method but POST has a body that the collector reads.
        ("PUT", "/wh/mail", 400),
        ("POST", "/nowhere", 413),
    ];
    let body = vec![b' '; TOO_LONG];
    for (method, target, status) in refused {
        for _ in 0..TIMES {
            // The client sends everything before it reads.
            let mut stream = TcpStream::connect(collector.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {TOO_LONG}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(statuses(&answer), [status.to_string()], "{method} {target}");
        }
    }
    // The same for a body of unknown length.
    let mut stream = TcpStream::connect(collector.address).unwrap();
    stream
        .write_all(b"POST /wh/mail HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for chunk in body.chunks(50_000) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["413"]);
    // No connection stays behind.
    drop(stream);
    wait_for("the connections to end", || {
        (collector.metric("rowmill_connections_open") == 1).then_some(())
    });
}

/// Runs a client, if it is installed, and asserts that it prints the status of each refusal.
fn assert_refused(client: &str, arguments: &[&str]) {
    match Command::new(client).args(arguments).output() {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                printed.split_whitespace().collect::<Vec<_>>(),
                ["413"; TIMES],
                "{client}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => eprintln!("{client} is skipped: {error}"),
    }
}

#[test]
fn common_clients_read_the_refusal_of_a_long_body() {
    let database = Database::named("surface_clients");
    let collector = Collector::start(&database);
    let url = format!("http://{}/wh/mail", collector.address);
    let node = format!(
        "(async () => {{ for (let i = 0; i < {TIMES}; i++) {{ \
         try {{ const answer = await fetch('{url}', {{ method: 'POST', body: 'x'.repeat({TOO_LONG}) }}); \
         await answer.text(); console.log(answer.status); }} \
         catch (error) {{ console.log(error.cause?.code ?? error.message); }} }} }})()"
    );
    assert_refused("node", &["-e", &node]);
    let python = format!(
        "import urllib.request, urllib.error\nfor i in range({TIMES}):\n    try:\n        \
         urllib.request.urlopen('{url}', b'x' * {TOO_LONG})\n    except urllib.error.HTTPError as error:\n        \
         print(error.code)\n    except Exception as error:\n        print(repr(error).replace(' ', ''))\n"
    );
    assert_refused("python3", &["-c", &python]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b'x'; TOO_LONG]).unwrap();
    for expect in ["Expect: 100-continue", "Expect:"] {
        let curl = |file: &Path| {
            format!(
                "for i in $(seq {TIMES}); do curl -s -o /dev/null -w '%{{http_code}}\\n' -H '{expect}' \
                 --data-binary @{} {url}; done",
                file.display()
            )
        };
        assert_refused("sh", &["-c", &curl(&file)]);
    }
}

#[test]
fn a_body_is_asked_for_only_if_it_will_be_read() {
    let database = Database::named("surface_expect");
    let collector = Collector::start(&database);
    let head = |length: usize| {
        format!(
            "POST /wh/mail.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let accepted = exchange(collector.address, &[head(2).as_bytes(), b"{}"]);
    assert_eq!(statuses(&accepted), ["100", "200"]);
    let refused = exchange(collector.address, &[head(TOO_LONG).as_bytes()]);
    assert_eq!(statuses(&refused), ["413"]);
    let put = head(2).replace("POST", "PUT");
    assert_eq!(statuses(&exchange(collector.address, &[put.as_bytes()])), ["400"]);
}

#[test]
fn a_slow_body_that_makes_progress_is_read() {
    let database = Database::named("surface_slow");
    let collector = Collector::start(&database);
    let body = format!(r#"{{"event":"slow","email":"{}"}}"#, "x".repeat(24_000));
    let mut stream = TcpStream::connect(collector.address).unwrap();
    let head = format!(
        "POST /wh/mail.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let start = Instant::now();
    // Two kilobytes a second, for longer than a body may stall.
    for piece in body.as_bytes().chunks(1_000) {
        stream.write_all(piece).unwrap();
        sleep(Duration::from_millis(500));
    }
    assert!(start.elapsed() > Duration::from_secs(10));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["200"], "{answer}");

    // The limits are options.
    let strict = Collector::start_with(
        &database.url(),
        &["--body-stall-seconds", "500ms", "--min-body-bytes-per-second", "100kB"],
    );
    let start = Instant::now();
    let mut stream = TcpStream::connect(strict.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..100]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["408"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_request_needs_one_valid_host_and_a_known_transfer_coding() {
    let database = Database::named("surface_heads");
    let collector = Collector::start(&database);
    let get = |rest: &str| {
        let request = format!("GET /wh/mail?event=x HTTP/1.1\r\n{rest}Connection: close\r\n\r\n");
        http::send_bytes(collector.address, request.as_bytes())
    };
    for rest in [
        "",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a:b\r\n",
    ] {
        let answer = get(rest);
        assert_eq!(answer.status, 400, "{rest:?}");
        assert_eq!(
            answer.json()["reason"],
            "a request needs one Host header with a valid host"
        );
    }
    let old = http::send_bytes(collector.address, b"GET /wh/mail?event=old HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200);
    for codings in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let request = format!(
            "POST /wh/mail.json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {codings}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        );
        let answer = http::send_bytes(collector.address, request.as_bytes());
        assert_eq!((answer.status, answer.header("connection")), (501, Some("close")));
    }
    let chunked =
        b"POST /wh/mail.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"event\":\"chunk\"}\r\n0\r\n\r\n";
    assert_eq!(http::send_bytes(collector.address, chunked).status, 200);
    assert_eq!(http::send_bytes(collector.address, b"hello\r\n\r\n").status, 400);
    wait_for("the count of the faults", || {
        (collector.metric("rowmill_malformed_requests_total") == 8).then_some(())
    });
    let ended = collector.stop();
    assert_eq!(
        database.query("SELECT groupArraySorted(9)(event) FROM mail_statistics"),
        "['chunk','old']\n"
    );
    assert!(
        ended.log.contains("requests are not valid HTTP and are refused"),
        "{}",
        ended.log
    );
}

#[test]
fn a_raw_target_costs_no_event() {
    let database = Database::named("surface_raw");
    let collector = Collector::start(&database);
    let get = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    // On one connection, and each after the answer to the one before it.
    let targets: [&[u8]; 5] = [
        b"/pixel/mail?event=quote&email=\"a\"",
        b"/pixel/mail?event=angle&email=<a@b.c>",
        b"/pixel/mail?event=tick&email=`a`",
        b"/pixel/mail?event=cyrillic&email=\xd0\xb0",
        b"/redir/mail?event=link&email=<b>&to=https://example.org/?q=\"a\"",
    ];
    let mut stream = TcpStream::connect(collector.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for target in targets {
        stream.write_all(&get(target)).unwrap();
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]);
        let expected = if target.starts_with(b"/redir") { "302" } else { "200" };
        assert_eq!(statuses(&answer), [expected], "{}", target.escape_ascii());
    }
    drop(stream);
    // Letters of another charset, as old mail clients send them.
    let answer = http::send_bytes(
        collector.address,
        &[
            &get(b"/pixel/mail?event=cp1251&email=\xe8\xe2")
                [..get(b"/pixel/mail?event=cp1251&email=\xe8\xe2").len() - 2],
            b"Connection: close\r\n\r\n",
        ]
        .concat(),
    );
    assert_eq!((answer.status, answer.body.len()), (200, 43));
    // After a body, the bytes of a connection stay as they are: this is an error, which is counted.
    let post = b"POST /wh/mail.json HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let answers = exchange(collector.address, &[post, &get(b"/pixel/mail?event=late&email=<")]);
    assert_eq!(statuses(&answers), ["200", "400"]);
    wait_for("the count of the error", || {
        (collector.metric("rowmill_malformed_requests_total") == 1).then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT event, email FROM mail_statistics WHERE event NOT IN ('', 'cp1251') ORDER BY id"),
        "quote\t\"a\"\nangle\t<a@b.c>\ntick\t`a`\ncyrillic\tа\nlink\t<b>\n"
    );
    assert_eq!(
        database.query("SELECT count() FROM mail_statistics WHERE event = 'cp1251'"),
        "1\n"
    );
}

#[test]
fn a_branch_of_a_service_has_its_answers_and_a_latin_1_header_its_letters() {
    let database = Database::named("surface_branch");
    let collector = Collector::start(&database);
    let answer = http::get(collector.address, "/track.x/page");
    let body = answer.json();
    assert_eq!((answer.status, body.as_object().unwrap().len()), (200, 1));
    assert!(body["id"].is_string(), "{body}");
    let pixel = http::get(collector.address, "/pixel.x/mail");
    assert_eq!((pixel.status, pixel.header("content-type")), (200, Some("image/gif")));

    let request = b"GET /wh/mail?event=latin HTTP/1.1\r\nHost: a\r\nUser-Agent: M\xfcller\r\nConnection: close\r\n\r\n";
    assert_eq!(http::send_bytes(collector.address, request).status, 200);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT td_ua FROM mail_statistics WHERE event = 'latin'"),
        "Müller\n"
    );
    assert_eq!(
        database.query("SELECT service, name FROM webhooks ORDER BY id"),
        "track.x\tpage\npixel.x\tmail\n"
    );
}

#[test]
fn http_2_without_tls_is_refused_with_an_answer() {
    let database = Database::named("surface_h2c");
    let collector = Collector::start(&database);
    let mut stream = TcpStream::connect(collector.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The preface, and empty SETTINGS.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let goaway = &answer[9..];
    // The type is GOAWAY, and the error HTTP_1_1_REQUIRED.
    assert_eq!((answer[3], goaway[3], &goaway[13..17]), (4, 7, &[0, 0, 0, 13][..]));
    let url = format!("http://{}/wh/mail", collector.address);
    match Command::new("curl")
        .args(["-sv", "--http2-prior-knowledge", &url])
        .output()
    {
        Ok(output) => {
            let log = String::from_utf8_lossy(&output.stderr);
            let is_known = log.contains("HTTP_1_1_REQUIRED") || log.contains("error=13") || log.contains("err 13");
            assert!(is_known || log.contains("option --http2-prior-knowledge"), "{log}");
        }
        Err(error) => eprintln!("curl is skipped: {error}"),
    }
}
