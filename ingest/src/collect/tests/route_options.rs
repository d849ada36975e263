//! Routes with paths, methods and answers of their own, and with JSON in the texts of their bodies.

use bytes::Bytes;
use http::{Method, Request, header};

use super::{
    routes::OPTIONS_ROUTE,
    world::{FORM, JSON, NDJSON, Outcome, World, options, rejected},
};
use crate::collect::route::RouteOptions;

/// The fixed answer of the route with options.
const OK: (u16, &str) = (202, "ok");

fn send(world: &World, method: Method, uri: &str, content_type: &str, body: &str) -> Outcome {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::COOKIE, "uid=1000000007")
        .header(header::CONTENT_TYPE, content_type);
    world.outcome(request.body(Ok(Bytes::from(body.to_owned()))).unwrap())
}

fn answer(outcome: &Outcome) -> (u16, &str) {
    (outcome.status, &outcome.body)
}

#[test]
fn the_options_have_a_text() {
    let options = OPTIONS_ROUTE.options.map(ToString::to_string);
    let expected = "also /track /v1/batch/ /hooks/*  by POST PUT GET  answers 202  echoes challenge  \
                    parses address tags payload";
    assert_eq!(options.as_deref(), Some(expected));
    assert_eq!(RouteOptions::NONE.to_string(), "");
}

#[test]
fn a_path_of_its_own_leads_to_the_route() {
    for world in [World::new(&options()), World::catching_all()] {
        for path in [
            "/track",
            "/v1/batch/",
            "/hooks/a",
            "/hooks/a/b/c.json",
            "/hooks//",
            "/wh/options",
        ] {
            let outcome = world.post(path, JSON, r#"{"n":5}"#);
            assert_eq!(answer(&outcome), OK, "{path}");
            assert_eq!(outcome.rows, ["wh/options 7 0 n=5"], "{path}");
        }
        // A query names neither service nor name.
        let outcome = world.post("/track?service=redir&name=x&to=https://x.example/", JSON, "{}");
        assert_eq!(answer(&outcome), OK);
        assert!(
            outcome.rows[0].starts_with("wh/options 7 0 extra[service=redir"),
            "{outcome:?}"
        );
        // These paths are not the route's.
        for path in ["/track/", "/Track", "/v1/batch", "/hooks/", "/hooks", "/track/x/y"] {
            let outcome = world.post(path, JSON, r#"{"n":5}"#);
            assert!(
                outcome.rows.iter().all(|row| !row.starts_with("wh/options")),
                "{path}: {outcome:?}"
            );
        }
    }
}

#[test]
fn the_methods_of_a_route_record_and_all_others_do_not() {
    let (embedded, ready) = (World::new(&options()), World::catching_all());
    for world in [&embedded, &ready] {
        for method in [Method::POST, Method::PUT] {
            let outcome = send(world, method.clone(), "/track", JSON, r#"{"n":5}"#);
            assert_eq!((answer(&outcome), outcome.rows.len()), (OK, 1), "{method}");
        }
        let outcome = send(world, Method::GET, "/track?n=5", JSON, "");
        assert_eq!((answer(&outcome), outcome.rows.len()), (OK, 1));
        for (method, body) in [(Method::HEAD, ""), (Method::OPTIONS, "{}")] {
            let outcome = send(world, method.clone(), "/track", JSON, "");
            assert_eq!((answer(&outcome), outcome.rows.len()), ((200, body), 0), "{method}");
        }
    }
    let response = ready.respond(Request::delete("/track").body(Ok(Bytes::new())).unwrap());
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()[header::ALLOW].to_str().unwrap()
        ),
        (405, "POST, PUT, GET, HEAD, OPTIONS")
    );
    // The inner service may have other methods on this path.
    assert!(embedded.passes_on(&Method::DELETE, "/track"));
    assert!(!embedded.passes_on(&Method::PUT, "/track"));
    // A route without methods of its own is as it was.
    assert_eq!(send(&ready, Method::PUT, "/wh/mail", JSON, "{}").status, 400);
    assert_eq!(send(&ready, Method::PUT, "/any/thing", JSON, "{}").status, 400);
}

#[test]
fn a_preflight_allows_the_methods_of_its_route() {
    for world in [World::new(&options()), World::catching_all()] {
        for (path, methods) in [
            ("/track", "POST, PUT, GET"),
            ("/wh/options", "POST, PUT, GET"),
            ("/wh/mail", "GET, POST"),
        ] {
            let request = Request::options(path)
                .header(header::ORIGIN, "https://shop.example")
                .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT");
            let response = world.respond(request.body(Ok(Bytes::new())).unwrap());
            let allowed = &response.headers()[header::ACCESS_CONTROL_ALLOW_METHODS];
            assert_eq!(allowed, methods, "{path}");
            // Without a page, CORS does not apply.
            let plain = world.respond(Request::options(path).body(Ok(Bytes::new())).unwrap());
            assert!(!plain.headers().contains_key(header::ACCESS_CONTROL_ALLOW_METHODS));
        }
    }
}

#[test]
fn a_request_of_many_events_has_the_answer_of_its_route() {
    let world = World::new(&options());
    for (content_type, body, count) in [
        (JSON, r#"[{"n":1},{"n":2}]"#, 2),
        (NDJSON, "{\"n\":1}\n{\"n\":2}\n", 2),
        ("text/csv", "n\n1\n", 1),
        (JSON, "[]", 0),
        // An event is recorded, and a repeat of the request would record it again.
        (JSON, r#"[{"n":1},{"n":300}]"#, 1),
    ] {
        let outcome = world.post("/track", content_type, body);
        assert_eq!((answer(&outcome), outcome.rows.len()), (OK, count), "{body}");
    }
    let outcome = world.post("/track", JSON, r#"[{"n":300},5]"#);
    assert_eq!((outcome.status, outcome.rows.len()), (400, 0));
    assert!(outcome.body.contains(r#""refused":2"#), "{}", outcome.body);
    let outcome = world.post("/track", "text/csv", "n,n\n1,2\n");
    assert_eq!((outcome.status, outcome.rows.len()), (400, 0), "{}", outcome.body);
    // The path of an upload has the report, whatever the sender of the route expects.
    let outcome = world.upload("/upload/wh/options", &[], &[b"{\"n\":1}\n"], true);
    assert!(outcome.body.contains(r#""recorded":1"#), "{}", outcome.body);
    // A long body on the path of the route itself has the answer of the route.
    let outcome = world.upload("/track", &[], &[b"{\"n\":1}\n"], true);
    assert_eq!((answer(&outcome), outcome.rows.len()), (OK, 1));
    let outcome = world.upload("/track", &[], &[b"{\"n\":1}\n{\"n"], false);
    assert_eq!((outcome.status, outcome.rows.len()), (400, 1), "{}", outcome.body);
}

#[test]
fn a_rejection_has_its_own_answer() {
    let world = World::new(&options());
    for (body, code) in [
        (r#"{"n":300}"#, "out-of-range"),
        ("{bad", "json"),
        ("5", "not-an-object"),
    ] {
        let outcome = world.post("/track", JSON, body);
        assert_eq!((outcome.status, outcome.rows.len()), (400, 0), "{body}");
        assert_eq!(outcome.codes, [code], "{body}");
    }
    let response = world.respond(Request::post("/track").body(Ok(Bytes::from_static(b"{}"))).unwrap());
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
}

#[test]
fn a_field_is_sent_back_and_nothing_is_recorded() {
    let world = World::new(&options());
    for (uri, content_type, body) in [
        (
            "/track",
            JSON,
            r#"{"type":"url_verification","challenge":"3eZb\u0041"}"#,
        ),
        ("/track", FORM, "challenge=3eZbA"),
        ("/track?challenge=3eZbA", JSON, "{}"),
        ("/wh/options?a=1&challenge=3eZbA", JSON, ""),
        ("/track?challenge=3eZbA", JSON, r#"[{"n":1}]"#),
        ("/track?challenge=3eZbA", NDJSON, "{\"n\":1}\n{\"n\":2}\n"),
    ] {
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let outcome = send(&world, method, uri, content_type, body);
        assert_eq!(
            (answer(&outcome), outcome.rows.len()),
            ((200, "3eZbA"), 0),
            "{uri} {body}"
        );
    }
    // A page cannot read the answer as a page.
    let request = Request::get("/track?challenge=%3Cscript%3E").body(Ok(Bytes::new()));
    let response = world.respond(request.unwrap());
    assert_eq!(
        (
            &response.headers()[header::CONTENT_TYPE],
            &response.headers()[header::X_CONTENT_TYPE_OPTIONS]
        ),
        (
            &"text/plain; charset=utf-8".parse().unwrap(),
            &"nosniff".parse().unwrap()
        )
    );
    // Events with other values of the field are recorded.
    for body in ["{\"challenge\":5}", "{\"a\":{\"challenge\":\"x\"}}", "{}"] {
        let outcome = world.post("/track", JSON, body);
        assert_eq!((answer(&outcome), outcome.rows.len()), (OK, 1), "{body}");
    }
    let outcome = world.post("/wh/mail", JSON, r#"{"challenge":"x"}"#);
    assert_eq!(outcome.rows, ["wh/mail 7 0 extra[challenge=x]"]);
}

#[test]
fn json_in_a_text_is_read_in_its_place() {
    let world = World::new(&options());
    for (content_type, body, row) in [
        (JSON, r#"{"address":"{\"city\":\"Omsk\"}"}"#, "city=Omsk"),
        (JSON, r#"{"address":{"city":"Omsk"}}"#, "city=Omsk"),
        (JSON, r#"{"tags":"[\"a\",\"b\"]","n":1}"#, "n=1 tags=a|b"),
        (JSON, r#"{"tags":"[]"}"#, "tags="),
        (JSON, r#"{"tags":" [\"a\"]\n"}"#, "tags=a"),
        (
            JSON,
            r#"{"payload":"{\"a\":1,\"b\":{\"c\":\"{\\\"d\\\":2}\"}}"}"#,
            r#"extra[payload_a=1 payload_b_c={"d":2}]"#,
        ),
        (FORM, "address=%7B%22city%22%3A%22Omsk%22%7D&n=1", "n=1 city=Omsk"),
        (FORM, "tags=%5B%22a%22%2C%22b%22%5D", "tags=a|b"),
        (FORM, "payload=%7B%22a%22%3A1%7D&x[y]=2", "extra[payload_a=1 x_y=2]"),
        (FORM, "n=1&n=1&payload=%7B%22a%22%3A1%7D", ""),
        // A text that is not JSON stays a text.
        (JSON, r#"{"tags":"[1"}"#, "tags=[1"),
        (JSON, r#"{"tags":"a"}"#, "tags=a"),
        (JSON, r#"{"tags":"5"}"#, "tags=5"),
        (FORM, "payload=%7Bbroken&n=1", "n=1 extra[payload={broken]"),
        // Only the fields that the route names.
        (JSON, r#"{"city":"{\"a\":1}"}"#, r#"extra[city={"a":1}]"#),
        // The last value of a repeated key counts, wherever it hides.
        (
            JSON,
            r#"{"payload":"{\"a\":1}","payload":"x"}"#,
            "extra[payload_a=1 payload=x]",
        ),
        (NDJSON, "{\"address\":\"{\\\"city\\\":\\\"Omsk\\\"}\"}\n", "city=Omsk"),
    ] {
        let outcome = world.post("/wh/options", content_type, body);
        if row.is_empty() {
            assert_eq!(outcome.codes.len(), 1, "{body}: {outcome:?}");
            continue;
        }
        let expected = format!("wh/options 7 0 {row}");
        assert_eq!(outcome.rows, [expected.trim_end()], "{body}: {outcome:?}");
    }
    // The query counts more than the body, and hides nothing.
    let outcome = world.post("/wh/options?payload=%7B%7D", JSON, r#"{"payload":"[\"a\"]"}"#);
    assert_eq!(outcome.rows, ["wh/options 7 0 extra[payload={}]"]);
    // A route that does not name the field.
    let outcome = world.post("/wh/mail", JSON, r#"{"tags":"[\"a\"]"}"#);
    assert_eq!(outcome.rows, [r#"wh/mail 7 0 tags=["a"]"#]);
}

#[test]
fn the_events_of_a_request_may_hide_in_a_text() {
    let world = World::new(&options());
    let report =
        |recorded, refused| format!(r#"{{"key":"in.gen.wh.mandrill","recorded":{recorded},"refused":{refused}"#);
    for (content_type, body) in [
        (FORM, "events=%5B%7B%22n%22%3A1%7D%2C%7B%22n%22%3A2%7D%5D"),
        (FORM, "a=%22&events=%5B%7B%22n%22%3A1%7D%2C%7B%22n%22%3A2%7D%5D"),
        (FORM, "events=%5B%7B%22n%22%3A1%7D%2C%7B%22n%22%3A2%7D%5D&x[y]=1"),
        (JSON, r#"{"a":1,"events":"[{\"n\":1},{\"n\":2}]","b":"}"}"#),
        (JSON, r#"{"events":[{"n":1},{"n":2}]}"#),
    ] {
        let outcome = world.post("/wh/mandrill", content_type, body);
        assert_eq!(
            outcome.rows,
            ["wh/mandrill 7 0 n=1", "wh/mandrill 7 0 n=2"],
            "{body}: {outcome:?}"
        );
        assert!(outcome.body.starts_with(&report(2, 0)), "{outcome:?}");
    }
    let outcome = world.post(
        "/wh/mandrill",
        FORM,
        "city=Omsk&events=%5B%7B%22n%22%3A300%7D%2C%7B%22n%22%3A2%7D%5D",
    );
    assert_eq!(outcome.rows, ["wh/mandrill 7 0 n=2 extra[city=Omsk]"]);
    assert!(outcome.body.starts_with(&report(1, 1)), "{outcome:?}");
    for body in ["events=%5B", "events=x", "n=1", ""] {
        let outcome = world.post("/wh/mandrill", FORM, body);
        assert_eq!((outcome.status, outcome.rows.len()), (400, 0), "{body}");
    }
}

#[test]
fn hidden_json_has_the_bounds_of_any_body() {
    let world = World::new(&options());
    let nested = |depth: usize| format!("{}{}", r#"{\"a\":"#.repeat(depth), "1".to_owned() + &"}".repeat(depth));
    let outcome = world.post("/wh/options", JSON, &format!(r#"{{"payload":"{}"}}"#, nested(127)));
    assert_eq!((answer(&outcome), outcome.rows.len()), (OK, 1));
    // A deeper text is not JSON, and stays a text.
    let outcome = world.post("/wh/options", JSON, &format!(r#"{{"payload":"{}"}}"#, nested(128)));
    assert!(outcome.rows[0].contains(r#"extra[payload={"a":{"a":"#), "{outcome:?}");
    // The error of a value that does not fit names its column.
    let outcome = world.post("/wh/options", JSON, r#"{"tags":"[{\"a\":1}]","n":300}"#);
    assert_eq!((outcome.status, outcome.codes), (400, vec!["out-of-range"]));
    let outcome = world.post("/wh/options", JSON, "{\"payload\":\"{}\"");
    let reason = "the body is not JSON: the text ends inside a value (line 1, column 16)";
    assert_eq!(answer(&outcome), (400, rejected(reason).as_str()));
}
