//! Tables of requests and of their responses, rows and rejections, without a ClickHouse.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;

use super::*;
use crate::{
    ack::{ACK_HEADER, AckPolicy},
    block::receipt::Receipt,
    collect::route::{Destination, Route},
    intake::{
        event_meta::EventMeta,
        intake,
        testing::{TABLE, TestRow, row_text},
    },
    json,
    request::turns::Turn,
    store::{ClickHouseUrl, servers::Servers},
    table::{
        Schema,
        refusal::{InvalidColumn, ValueError},
    },
    writer::WriterOptions,
};

static SCHEMA: Schema = Schema::new(&[&TABLE]);

/// The lowest valid uid; the rows below contain their uid minus this one.
const LOWEST_UID: u64 = 1_000_000_000;

thread_local! {
    /// The rows that the requests of this thread have made: address, sender and values.
    static ROWS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Ingests an event and notes the text of its row.
fn ingest(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    let row = row_text::<false>(event);
    let receipt = intake::<TestRow<'_, false>>(event, sink)?;
    let meta = &event.meta;
    let project = meta.project.to_text().unwrap_or_default();
    let uid = meta.uid.wrapping_sub(LOWEST_UID);
    let sender = format!("{}/{} {uid} {project}", meta.service, meta.name);
    ROWS.with_borrow_mut(|rows| rows.push(format!("{sender} {}", row.unwrap()).trim_end().to_owned()));
    Ok(receipt)
}

const ROUTE: Route = Route {
    handler: ingest,
    acks: AckPolicy::NONE,
};

#[derive(Debug)]
struct TestRoutes;

impl Routes for TestRoutes {
    const DESTINATIONS: &'static [Destination] = &[];

    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn find(service: &str, name: &str) -> Option<Route> {
        let is_declared = matches!(
            (service, name),
            ("wh" | "pixel" | "redir", "mail") | ("track", "page") | ("hello", "ping")
        );
        is_declared.then_some(ROUTE)
    }

    fn fallback() -> Option<Route> {
        Some(ROUTE)
    }
}

/// A collector, and the runtime that its writer needs. The runtime is never polled.
struct World {
    collector: Arc<Collector>,
    _runtime: Runtime,
}

/// The outcome of one request.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    body: String,
    rows: Vec<String>,
    /// The codes of rejected events.
    codes: Vec<&'static str>,
}

impl World {
    fn new(options: &EventOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let url: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let writer = Writer::start(&SCHEMA, Servers::without_sync(url), &WriterOptions::default());
        let collector = Collector::new(writer, options, TestRoutes::DESTINATIONS);
        Self {
            collector: Arc::new(collector),
            _runtime: runtime,
        }
    }

    /// Returns the world of a collector without an inner service: `?service=` and `?name=` count.
    fn catching_all() -> Self {
        Self::new(&EventOptions {
            catch_all: true,
            ..options()
        })
    }

    fn respond(&self, request: Request<Result<Bytes, ReadBodyError>>) -> http::Response<http_body_util::Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.map(|bytes| ReadyBody {
            bytes,
            booking: None,
            turn: Turn::default(),
        });
        // The layer passes a request without a destination to the inner service.
        let route = match self.collector.decide::<TestRoutes>(&parts.method, &parts.uri) {
            Decision::Inner => None,
            Decision::Event { route, .. } => route,
        };
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), route);
        match Arc::clone(&self.collector).answer::<TestRoutes>(parts, body, arrival) {
            Response::Ready(response) => response,
            Response::Waiting(_) => panic!("the response is not ready"),
        }
    }

    fn outcome(&self, request: Request<Result<Bytes, ReadBodyError>>) -> Outcome {
        let counts = || self.collector.writer.rejections().counts().events;
        let before = counts();
        let response = self.respond(request);
        let codes = counts().into_iter().zip(before);
        let codes = codes.flat_map(|((code, after), (_, before))| (before..after).map(move |_| code));
        Outcome {
            status: response.status().as_u16(),
            body: without_ids(&text_of(response)),
            rows: ROWS.take(),
            codes: codes.collect(),
        }
    }

    /// Sends a POST with a content type and a body.
    fn post(&self, uri: &str, content_type: &str, body: &str) -> Outcome {
        let mut request = Request::post(uri).header(header::COOKIE, "uid=1000000007");
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.outcome(request.body(Ok(Bytes::from(body.to_owned()))).unwrap())
    }

    fn send(&self, method: Method, uri: &str) -> Outcome {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::COOKIE, "uid=1000000007");
        self.outcome(request.body(Ok(Bytes::new())).unwrap())
    }
}

fn options() -> EventOptions {
    EventOptions {
        ack: Ack::Accepted,
        ..EventOptions::default()
    }
}

fn text_of(response: http::Response<http_body_util::Full<Bytes>>) -> String {
    let body = pin!(response.into_body().collect());
    match body.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(body) => String::from_utf8_lossy(&body.unwrap().to_bytes()).into_owned(),
        Poll::Pending => panic!("a full body is complete"),
    }
}

/// Replaces the id, which is different in each event.
fn without_ids(body: &str) -> String {
    match body.split_once(r#""id":""#) {
        Some((before, after)) => format!(
            "{before}\"id\":\"{}",
            after.trim_start_matches(|c: char| c.is_ascii_digit())
        ),
        None => body.to_owned(),
    }
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const FORM: &str = "application/x-www-form-urlencoded";
const MAIL: &str = r#"{"key":"in.gen.wh.mail","id":""}"#;
const GIF: &str = "GIF89a";

/// Returns the body of a rejection.
fn rejected(reason: &str) -> String {
    format!(r#"{{"message":"Bad Request","reason":"{reason}"}}"#)
}

#[test]
fn a_body_becomes_a_row() {
    let world = World::new(&options());
    for (uri, content_type, body, row) in [
        ("/wh/mail", JSON, r#"{"n":5,"a":1}"#, "wh/mail 7 0 n=5 extra[a=1]"),
        (
            "/wh/mail?n=7&b=2",
            JSON,
            r#"{"n":5,"a":1}"#,
            "wh/mail 7 0 n=7 extra[a=1 b=2]",
        ),
        ("/wh/mail", FORM, "n=5&a=x+y", "wh/mail 7 0 n=5 extra[a=x y]"),
        ("/wh/mail?n=7", FORM, "n=5", "wh/mail 7 0 n=7"),
        ("/wh/mail", FORM, r#" {"n":5}"#, "wh/mail 7 0 n=5"),
        ("/wh/mail", "text/plain", "n=5\r\n", "wh/mail 7 0 n=5"),
        ("/wh/mail", "", "", "wh/mail 7 0"),
        ("/wh/mail", FORM, " \n", "wh/mail 7 0"),
        ("/wh/mail?n=7", "", "", "wh/mail 7 0 n=7"),
        ("/wh/MAIL", JSON, "{}", "wh/MAIL 7 0 "),
        // The sender is that of the query, then of the body, then of the cookie.
        (
            "/wh/mail/5",
            JSON,
            r#"{"projectId":6,"uid":1000000008}"#,
            "wh/mail 8 5 extra[projectId=6]",
        ),
        (
            "/wh/mail?uid=1000000009",
            JSON,
            r#"{"projectId":6,"uid":1000000008}"#,
            "wh/mail 9 6",
        ),
        ("/wh/mail", FORM, "projectId=6&uid=1000000008", "wh/mail 8 6"),
    ] {
        let outcome = world.post(uri, content_type, body);
        let expected = Outcome {
            status: 200,
            body: MAIL.replace("mail", if uri.contains("MAIL") { "MAIL" } else { "mail" }),
            rows: vec![row.trim_end().to_owned()],
            codes: Vec::new(),
        };
        assert_eq!(outcome, expected, "{uri} {content_type} {body}");
    }
}

#[test]
fn a_body_that_cannot_become_a_row_is_rejected_with_its_reason() {
    let world = World::new(&options());
    let deep = format!("{}1{}", r#"{"a":"#.repeat(129), "}".repeat(129));
    let invalid =
        r#"{"message":"Bad Request","refused":[{"column":"n","code":"out-of-range","expected":"Int8","got":"300"}]}"#;
    for (content_type, body, status, answer, code) in [
        (JSON, r#"{"n":300}"#, 400, invalid.to_owned(), "out-of-range"),
        (FORM, "n=300", 400, invalid.to_owned(), "out-of-range"),
        (JSON, "[1]", 400, rejected("expected a JSON object, got an array"), "not-an-object"),
        ("", "[1]", 400, rejected("expected a JSON object, got an array"), "not-an-object"),
        (
            JSON,
            "{\"n\":\n x}",
            400,
            rejected("the body is not JSON: expected a value (line 2, column 2)"),
            "json",
        ),
        // `name` makes the collector read the body before its table is known.
        (
            JSON,
            r#"{"name":"x"]"#,
            400,
            rejected("the body is not JSON: expected `,` or the end of the array or object (line 1, column 12)"),
            "json",
        ),
        (
            JSON,
            &deep,
            400,
            rejected("the body is not JSON: arrays and objects are nested too deep (line 1, column 641)"),
            "json",
        ),
        (JSON, "", 400, rejected("the body is empty, but its type is JSON"), "body"),
        (
            JSON,
            "\u{feff}{}",
            400,
            rejected("the body begins with a byte order mark, which JSON does not allow"),
            "body",
        ),
        (
            "",
            "hello",
            400,
            rejected("the body is neither a JSON object nor a form of key=value pairs"),
            "body",
        ),
        (
            "x",
            "a=1",
            400,
            rejected("the Content-Type header is malformed"),
            "body",
        ),
        (
            "text/plain; charset=klingon",
            "a=1",
            400,
            rejected("the charset of the Content-Type header is unknown"),
            "body",
        ),
        (
            "multipart/form-data; boundary=b",
            "--b--",
            415,
            r#"{"message":"Unsupported Media Type","reason":"multipart bodies are not accepted; send JSON or a urlencoded form"}"#
                .to_owned(),
            "body",
        ),
    ] {
        let outcome = world.post("/wh/mail", content_type, body);
        let expected = Outcome {
            status,
            body: answer,
            rows: Vec::new(),
            codes: vec![code],
        };
        assert_eq!(outcome, expected, "{content_type} {body}");
    }
}

#[test]
fn the_visitor_gets_an_image_or_a_redirect_even_if_the_event_is_rejected() {
    let world = World::new(&options());
    let codes = |code: &'static str| if code.is_empty() { vec![] } else { vec![code] };
    for (method, uri, status, body, rows, code) in [
        (Method::GET, "/pixel/mail?n=5", 200, GIF, vec!["pixel/mail 7 0 n=5"], ""),
        (Method::GET, "/gif/mail?n=300", 200, GIF, vec![], "out-of-range"),
        (Method::GET, "/track/page.gif", 200, GIF, vec!["track/page 7 0"], ""),
        (
            Method::GET,
            "/track/page",
            200,
            r#"{"id":""}"#,
            vec!["track/page 7 0"],
            "",
        ),
        (
            Method::GET,
            "/hello/ping",
            200,
            r#"{"message":"pong"}"#,
            vec!["hello/ping 7 0"],
            "",
        ),
        (
            Method::GET,
            "/redir/mail?to=https://x.example/&n=5",
            302,
            "",
            vec!["redir/mail 7 0 n=5 extra[to=https://x.example/]"],
            "",
        ),
        (
            Method::GET,
            "/redir/mail?to=https://x.example/&n=x",
            302,
            "",
            vec![],
            "malformed",
        ),
        (
            Method::GET,
            "/redir/mail",
            400,
            r#"{"message":"Parameter \"to\" is required"}"#,
            vec!["redir/mail 7 0"],
            "",
        ),
        (
            Method::GET,
            "/wh/mail?n=300",
            400,
            r#"{"message":"Bad Request","refused":[{"column":"n","code":"out-of-range","expected":"Int8","got":"300"}]}"#,
            vec![],
            "out-of-range",
        ),
        // The collector records no event for these requests.
        (Method::HEAD, "/pixel/mail?n=5", 200, "", vec![], ""),
        (Method::HEAD, "/redir/mail?to=https://x.example/", 302, "", vec![], ""),
        (Method::HEAD, "/wh/mail", 400, "", vec![], ""),
        (Method::OPTIONS, "/wh/mail", 200, "{}", vec![], ""),
        (Method::PUT, "/wh/mail", 400, r#"{"message":"Bad Request"}"#, vec![], ""),
    ] {
        let outcome = world.send(method.clone(), uri);
        assert!(outcome.body.starts_with(body), "{method} {uri}: {outcome:?}");
        assert_eq!(outcome.body.is_empty(), body.is_empty(), "{method} {uri}: {outcome:?}");
        assert_eq!((outcome.status, outcome.codes), (status, codes(code)), "{method} {uri}");
        assert_eq!(outcome.rows, rows, "{method} {uri}");
    }
    for (uri, body, status, code) in [
        ("/pixel/mail", "{bad", 200, "json"),
        ("/pixel/mail", "", 200, "body"),
        ("/redir/mail?to=https://x.example/", "{\"name\":bad", 302, "json"),
    ] {
        let outcome = world.post(uri, JSON, body);
        assert_eq!((outcome.status, outcome.codes), (status, vec![code]), "{uri} {body}");
        assert_eq!(outcome.rows, Vec::<String>::new());
    }
}

#[test]
fn only_the_ready_collector_reads_the_address_from_query_and_body() {
    let (embedded, ready) = (World::new(&options()), World::catching_all());
    for (uri, body, row) in [
        ("/x/y", "{}", Some("x/y 7 0")),
        ("/x?name=mail", r#"{"service":"wh"}"#, Some("wh/mail 7 0")),
        ("/?service=wh&name=mail", "{}", Some("wh/mail 7 0")),
        ("/", r#"{"service":"wh","name":"mail","n":5}"#, Some("wh/mail 7 0 n=5")),
        ("/x", "{}", None),
        ("/", r#"{"service":"wh","name":""}"#, None),
    ] {
        let outcome = ready.post(uri, JSON, body);
        let rows: Vec<_> = row.iter().map(|row| (*row).to_owned()).collect();
        assert_eq!(outcome.rows, rows, "{uri} {body}");
        assert_eq!(outcome.status, if row.is_some() { 200 } else { 404 }, "{uri} {body}");
        let outcome = embedded.post(uri, JSON, body);
        assert_eq!((outcome.status, outcome.rows), (404, Vec::new()), "{uri} {body}");
    }
    // A declared path decides alone.
    for world in [&embedded, &ready] {
        let outcome = world.post(
            "/wh/mail?service=redir&to=https://x.example/",
            JSON,
            r#"{"service":"pixel"}"#,
        );
        assert_eq!(outcome.status, 200, "{outcome:?}");
        assert!(
            outcome.rows[0].starts_with("wh/mail 7 0 extra[service=redir"),
            "{outcome:?}"
        );
    }
    // Malformed JSON is an error on any path.
    let outcome = embedded.post("/x", JSON, "{bad");
    assert_eq!((outcome.status, outcome.codes), (400, vec!["json"]));
    assert_eq!(ready.send(Method::GET, "/coffee").status, StatusCode::IM_A_TEAPOT);
    assert_eq!(embedded.send(Method::GET, "/coffee").status, StatusCode::NOT_FOUND);
}

#[test]
fn each_error_of_reading_a_body_has_its_status() {
    let world = World::new(&options());
    for (error, status) in [
        (ReadBodyError::TooLarge, 413),
        (ReadBodyError::TimedOut, 408),
        (ReadBodyError::Broken, 400),
        (ReadBodyError::OutOfMemory, 503),
    ] {
        let outcome = world.outcome(Request::post("/wh/mail").body(Err(error)).unwrap());
        assert_eq!((outcome.status, outcome.rows), (status, Vec::new()), "{error:?}");
    }
}

#[test]
fn the_header_requests_an_acknowledgement_only_with_the_option() {
    let by_header = World::new(&EventOptions {
        ack_by_header: true,
        ..options()
    });
    let request = |ack: &str| {
        Request::post("/wh/mail")
            .header(ACK_HEADER, ack)
            .body(Ok(Bytes::new()))
            .unwrap()
    };
    let response = by_header.respond(request("accepted"));
    assert_eq!(response.headers()[ACK_HEADER], "accepted");
    let outcome = by_header.outcome(request("never"));
    assert_eq!(outcome.status, 400);
    assert_eq!(
        outcome.body,
        rejected("X-Rowmill-Ack must be `accepted`, `spooled` or `stored`")
    );
    // Without the option, the header is not read.
    let response = World::new(&options()).respond(request("never"));
    assert_eq!(
        (response.status(), response.headers().get(ACK_HEADER)),
        (StatusCode::OK, None)
    );
}

/// Returns the body of the response to NDJSON.
fn report(recorded: usize, rejected: usize, errors: &[(usize, &str)]) -> String {
    let errors: Vec<_> = errors
        .iter()
        .map(|(line, reason)| format!(r#"{{"line":{line},"reason":"{reason}"}}"#))
        .collect();
    let errors = match errors.is_empty() {
        true => String::new(),
        false => format!(r#","errors":[{}]"#, errors.join(",")),
    };
    format!(r#"{{"key":"in.gen.wh.mail","recorded":{recorded},"refused":{rejected}{errors}}}"#)
}

#[test]
fn each_line_of_ndjson_is_an_event() {
    let world = World::new(&options());
    const RANGE: &str = "column `n` (Int8): the value is outside the type's range: 300";
    const SYNTAX: &str = "the body is not JSON: expected a key in double quotes (line 1, column 2)";
    const ARRAY: &str = "expected a JSON object, got an array";
    for (uri, body, status, answer, rows, codes) in [
        (
            "/wh/mail",
            "{\"n\":1}\r\n\n  \n{\"n\":2}",
            200,
            report(2, 0, &[]),
            vec!["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"],
            vec![],
        ),
        (
            "/wh/mail",
            "{\"n\":1}\n{\"n\":300}\n{bad\n[{}]\n{\"n\":2}\n",
            200,
            report(2, 3, &[(2, RANGE), (3, SYNTAX), (4, ARRAY)]),
            vec!["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"],
            vec!["json", "not-an-object", "out-of-range"],
        ),
        // The query is part of each line.
        (
            "/wh/mail?n=7&a=1",
            "{\"n\":300}\n{\"b\":2}",
            200,
            report(2, 0, &[]),
            vec!["wh/mail 7 0 n=7 extra[a=1]", "wh/mail 7 0 n=7 extra[b=2 a=1]"],
            vec![],
        ),
        // A line may name its sender, and nothing else of its address.
        (
            "/wh/mail",
            "{\"uid\":1000000008,\"projectId\":6}\n{\"service\":\"pixel\",\"name\":\"x\"}\n{\"n\":1}",
            200,
            report(3, 0, &[]),
            vec![
                "wh/mail 8 6",
                "wh/mail 7 0 extra[service=pixel name=x]",
                "wh/mail 7 0 n=1",
            ],
            vec![],
        ),
        (
            "/wh/mail",
            "{bad",
            400,
            report(0, 1, &[(1, SYNTAX)]),
            vec![],
            vec!["json"],
        ),
        ("/wh/mail", "{}\n", 200, report(1, 0, &[]), vec!["wh/mail 7 0"], vec![]),
        ("/wh/mail", "\n \r\n", 200, report(0, 0, &[]), vec![], vec![]),
        (
            "/x/y",
            "{}",
            404,
            r#"{"message":"Not Found"}"#.to_owned(),
            vec![],
            vec![],
        ),
        (
            "/wh/mail",
            "",
            400,
            rejected("the body is empty, but its type is JSON"),
            vec![],
            vec!["body"],
        ),
    ] {
        let outcome = world.post(uri, NDJSON, body);
        let expected = Outcome {
            status,
            body: answer,
            rows: rows.into_iter().map(str::to_owned).collect(),
            codes,
        };
        assert_eq!(outcome, expected, "{uri} {body:?}");
    }
}

#[test]
fn the_response_has_the_reasons_of_the_first_rejected_lines() {
    let world = World::new(&options());
    let outcome = world.post("/wh/mail", NDJSON, &"[]\n".repeat(12));
    assert_eq!(outcome.status, 400);
    assert_eq!(outcome.codes.len(), 12);
    assert_eq!(outcome.body.matches("\"line\":").count(), 10, "{}", outcome.body);
    assert!(outcome.body.contains(r#""refused":12"#) && outcome.body.contains(r#"{"line":10,"#));
}

#[test]
fn the_rows_of_ndjson_have_a_maximum_size() {
    let world = World::new(&EventOptions {
        max_bulk_bytes: 1_000,
        ..options()
    });
    let query = "q".repeat(1_000);
    let lines = |count: usize| world.post(&format!("/wh/mail?{query}=1"), NDJSON, &"{}\n".repeat(count));
    assert_eq!(lines(15).status, 200);
    let outcome = lines(16);
    assert_eq!(outcome.status, 413);
    assert!(outcome.body.contains("send fewer lines"), "{}", outcome.body);
}

#[test]
fn a_declared_path_alone_decides_the_answer_to_ndjson() {
    for world in [World::new(&options()), World::catching_all()] {
        let outcome = world.post("/wh/mail?service=redir&to=https://x.example/", NDJSON, "{}");
        assert_eq!((outcome.status, outcome.body), (200, report(1, 0, &[])));
    }
}

#[test]
fn a_dead_letter_names_the_event_and_its_first_reason() {
    let (parts, ()) = Request::post("/wh/mail?a=1").body(()).unwrap().into_parts();
    let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), None);
    let meta = EventMeta {
        id: 5,
        service: "wh",
        name: "mail",
        ..EventMeta::default()
    };
    let invalid = |problem, got: &str| InvalidColumn {
        column: &TABLE.columns[1],
        problem,
        got: got.to_owned(),
    };
    let columns = vec![
        invalid(ValueError::OutOfRange, "300"),
        invalid(ValueError::WrongKind, "[]"),
    ];
    let syntax = json::Error {
        at: 2,
        kind: ErrorKind::ExpectedKey,
    };
    arena::with(|arena| {
        let head = RequestHead::read(&parts, arrival, &TrustedProxies::default(), arena);
        for (rejection, expected) in [
            (
                Rejection::Syntax(syntax),
                Some((
                    "",
                    "",
                    "json",
                    "the body is not JSON: expected a key in double quotes (line 1, column 3)",
                )),
            ),
            (
                Rejection::NotAnObject(json::Kind::Null),
                Some(("", "", "not-an-object", "expected a JSON object, got null")),
            ),
            (
                Rejection::InvalidColumns { table: &TABLE, columns },
                Some((
                    "events",
                    "n",
                    "out-of-range",
                    "column `n` (Int8): the value is outside the type's range: 300; \
                     column `n` (Int8): the type does not accept this kind of value: []",
                )),
            ),
            (
                Rejection::UnknownKeys {
                    table: &TABLE,
                    keys: vec!["coupon".to_owned(), "user_x".to_owned()],
                },
                Some((
                    "events",
                    "",
                    "unknown-key",
                    "table `events` has no column for `coupon`, `user_x`",
                )),
            ),
            // The spool has no space for a dead letter either.
            (Rejection::SpoolFull, None),
        ] {
            let message = rejection.message("{ x}");
            let dead_letter = rejection.dead_letter(&head, &meta, &message);
            let found = dead_letter.map(|dead_letter| {
                assert_eq!(
                    (dead_letter.id, dead_letter.service, dead_letter.name),
                    (5, "wh", "mail")
                );
                assert_eq!((dead_letter.ip, dead_letter.payload), ("203.0.113.7", &b""[..]));
                (
                    dead_letter.table,
                    dead_letter.column,
                    dead_letter.code,
                    dead_letter.reason,
                )
            });
            assert_eq!(found, expected);
        }
        assert_eq!(head.payload_with_query(b"{}").as_ref(), b"?a=1\n{}");
    });
}
