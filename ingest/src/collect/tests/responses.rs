//! Responses to pixels, redirects, addresses in fields, and requests for an acknowledgement.

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use super::world::{GIF, JSON, World, options, rejected};
use crate::{ack::ACK_HEADER, collect::options::EventOptions};

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
        (Method::HEAD, "/wh/mail", 200, "", vec![], ""),
        (Method::HEAD, "/x/y", 400, "", vec![], ""),
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
