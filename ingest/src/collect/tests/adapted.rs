//! Requests in the protocols of their routes' senders.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{Method, Request, header};

use super::{
    routes::{CLOUDEVENTS, CONSENTED_CLOUDEVENTS},
    world::{GIF, JSON, Outcome, World, options, rejected},
};
use crate::{arena, collect::options::EventOptions, intake::event_meta::EventMeta};

fn answer(outcome: &Outcome) -> (u16, &str) {
    (outcome.status, &outcome.body)
}

#[test]
fn each_call_of_segment_is_an_event() {
    const SUCCESS: (u16, &str) = (200, r#"{"success":true}"#);
    for world in [World::new(&options()), World::catching_all()] {
        for (path, body, rows) in [
            (
                "/v1/track",
                r#"{"n":1,"type":"own"}"#,
                vec!["wh/segment 7 0 n=1 extra[type=own]"],
            ),
            ("/v1/track", r#"{"n":1}"#, vec!["wh/segment 7 0 n=1 extra[type=track]"]),
            ("/wh/segment", r#"{"n":1}"#, vec!["wh/segment 7 0 n=1"]),
            (
                "/v1/batch",
                r#"{"batch":[{"n":1},{"n":2,"sentAt":"y"}],"sentAt":"x","writeKey":"k"}"#,
                vec![
                    "wh/segment 7 0 n=1 extra[sentAt=x]",
                    "wh/segment 7 0 n=2 extra[sentAt=y]",
                ],
            ),
            ("/wh/segment", r#"{"batch":[]}"#, vec![]),
        ] {
            for content_type in [JSON, "text/plain", ""] {
                let outcome = world.post(path, content_type, body);
                assert_eq!(answer(&outcome), SUCCESS, "{path} {body}");
                assert_eq!(outcome.rows, rows, "{path} {body}");
            }
        }
    }
}

#[test]
fn a_refused_call_does_not_affect_the_others() {
    let world = World::new(&options());
    let outcome = world.post("/v1/batch", JSON, r#"{"batch":[{"n":1},{"n":300},5]}"#);
    assert_eq!(
        answer(&outcome),
        (
            200,
            r#"{"errors":[{"column":"n","index":1,"reason":"column `n` (Int8): the value is outside the type's range: 300"},{"index":2,"reason":"expected a JSON object, got a number"}],"key":"in.gen.wh.segment","recorded":1,"refused":2,"success":false}"#
        )
    );
    assert_eq!(outcome.rows, ["wh/segment 7 0 n=1"]);
    assert_eq!(outcome.codes, ["not-an-object", "out-of-range"]);

    for (path, body, code) in [
        ("/v1/track", "{bad", "json"),
        ("/v1/batch", r#"{"n":1}"#, "no-items"),
        ("/v1/track", r#"{"n":300}"#, "out-of-range"),
        ("/v1/track", "\u{fffd}", "json"),
    ] {
        let outcome = world.post(path, JSON, body);
        assert_eq!((outcome.status, &outcome.rows[..]), (400, &[][..]), "{body}");
        assert!(outcome.body.contains(r#""success":false"#), "{}", outcome.body);
        assert_eq!(outcome.codes, [code], "{body}");
    }
    assert_eq!(world.request_memory(), 0);
}

#[test]
fn the_events_of_a_request_have_a_limit_of_their_own() {
    // The events of a document may take sixteen times the bytes of a batch.
    let world = World::new(&EventOptions {
        max_bulk_bytes: 10,
        ..options()
    });
    let reason = "the events of the request take too many bytes: send fewer of them";
    for (path, content_type, body) in [
        ("/v1/batch", JSON, r#"{"batch":[{"n":1}]}"#),
        ("/wh/segment", JSON, r#"{"n":1}"#),
        ("/wh/snowplow", JSON, r#"{"data":[{"n":"1"}]}"#),
        (
            "/wh/cloudevents",
            "application/cloudevents-batch+json",
            r#"[{"specversion":"1.0","id":"a","source":"/s","type":"t"}]"#,
        ),
    ] {
        let fits = world.post(path, content_type, body);
        assert_eq!((fits.status, fits.rows.len()), (200, 1), "{path}: {}", fits.body);
        let fields = format!("\"{}\":1,", "k".repeat(160));
        let outcome = world.post(path, content_type, &body.replacen(r#"{""#, &format!("{{{fields}\""), 2));
        assert_eq!(
            (outcome.status, outcome.rows.len()),
            (413, 0),
            "{path}: {}",
            outcome.body
        );
        assert!(outcome.body.contains(reason), "{path}: {}", outcome.body);
        assert_eq!(outcome.codes, [""; 0], "{path}");
    }
    let padded = |length: usize| format!("{:length$}", r#"{"batch":[{"n":1}]}"#);
    assert_eq!(world.post("/v1/batch", JSON, &padded(160)).status, 200);
    assert_eq!(world.post("/v1/batch", JSON, &padded(161)).status, 413);
    assert_eq!(world.request_memory(), 0);
}

#[test]
fn a_body_of_another_type_is_415_with_the_types_of_the_protocol() {
    let world = World::new(&options());
    let request = Request::post("/v1/track").header(header::CONTENT_TYPE, "text/csv");
    let response = world.respond(request.body(Ok(Bytes::from_static(b"a\n1"))).unwrap());
    assert_eq!(response.status(), 415);
    assert_eq!(response.headers()[header::ACCEPT], "application/json, text/plain");
    let outcome = world.post("/v1/track", "text/csv", "a\n1");
    let reason = "bodies of this Content-Type are not accepted; send application/json, text/plain";
    assert_eq!(
        answer(&outcome),
        (
            415,
            &*format!(r#"{{"message":"Unsupported Media Type","reason":"{reason}","success":false}}"#)
        )
    );
    assert_eq!(outcome.codes, ["body"]);
    assert_eq!(world.send(Method::GET, "/v1/track?n=1").rows, [""; 0]);
}

#[test]
fn a_compressed_body_is_read() {
    let world = World::new(&options());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(br#"{"batch":[{"n":1}]}"#).unwrap();
    let body = Bytes::from(encoder.finish().unwrap());
    let request = |coding| {
        Request::post("/v1/batch")
            .header(header::COOKIE, "uid=1000000007")
            .header(header::CONTENT_ENCODING, coding)
            .body(Ok(body.clone()))
            .unwrap()
    };
    let outcome = world.outcome(request("gzip"));
    assert_eq!(answer(&outcome), (200, r#"{"success":true}"#));
    assert_eq!(outcome.rows, ["wh/segment 7 0 n=1"]);
    assert_eq!(world.outcome(request("zip")).status, 415);
    assert_eq!(world.outcome(request("identity")).status, 400);
    assert_eq!(world.request_memory(), 0);
}

#[test]
fn an_event_of_snowplow_is_answered_as_its_tracker_expects() {
    for world in [World::new(&options()), World::catching_all()] {
        let outcome = world.post("/wh/snowplow", JSON, r#"{"data":[{"n":"1"},{"n":"2"}]}"#);
        assert_eq!(answer(&outcome), (200, "ok"));
        assert_eq!(outcome.rows, ["wh/snowplow 7 0 n=1", "wh/snowplow 7 0 n=2"]);

        let outcome = world.send(Method::GET, "/wh/snowplow?n=1&co=%7B%22a%22%3A5%7D");
        assert!(outcome.status == 200 && outcome.body.starts_with(GIF), "{outcome:?}");
        assert_eq!(outcome.rows, ["wh/snowplow 7 0 n=1 extra[co_a=5]"]);

        // A tracker repeats a request that is neither recorded nor malformed.
        let outcome = world.send(Method::GET, "/wh/snowplow?n=300");
        assert_eq!((outcome.status, outcome.rows.len()), (400, 0));
        let outcome = world.post("/wh/snowplow", JSON, r#"{"data":[{"ue_px":"?"}]}"#);
        assert_eq!((outcome.status, outcome.rows.len()), (400, 0));
        assert_eq!(outcome.codes, ["protocol"]);
        assert!(
            outcome.body.contains("`ue_px` is not a JSON object in base64"),
            "{}",
            outcome.body
        );
    }
}

#[test]
fn a_cloudevent_is_an_event_in_each_mode() {
    let world = World::new(&options());
    let event = |n| format!(r#"{{"specversion":"1.0","id":"a","source":"/s","type":"t","n":{n}}}"#);
    const REST: &str = "extra[specversion=1.0 id=a source=/s type=t]";
    let report = |recorded| format!(r#"{{"key":"in.gen.wh.cloudevents","recorded":{recorded},"refused":0}}"#);
    let outcome = world.post("/wh/cloudevents", "application/cloudevents+json", &event(1));
    assert_eq!(answer(&outcome), (200, &*report(1)));
    assert_eq!(outcome.rows, [format!("wh/cloudevents 7 0 n=1 {REST}")]);

    let batch = "application/cloudevents-batch+json";
    let outcome = world.post("/wh/cloudevents", batch, &format!("[{},{}]", event(1), event(2)));
    assert_eq!(answer(&outcome), (200, &*report(2)));
    assert_eq!(outcome.rows.len(), 2);
    assert_eq!(answer(&world.post("/wh/cloudevents", batch, "[]")), (200, &*report(0)));

    let binary = Request::post("/wh/cloudevents")
        .header("ce-id", "a")
        .header("ce-source", "/s")
        .header("ce-specversion", "1.0")
        .header("ce-type", "t")
        .header("ce-n", "3")
        .header(header::COOKIE, "uid=1000000007");
    let outcome = world.outcome(binary.body(Ok(Bytes::new())).unwrap());
    assert_eq!(answer(&outcome), (200, &*report(1)));
    assert!(outcome.rows[0].starts_with("wh/cloudevents 7 0 n=3"), "{outcome:?}");

    let outcome = world.post("/wh/cloudevents", batch, &format!("[{{}},{}]", event(1)));
    assert_eq!(outcome.codes, ["protocol"]);
    assert_eq!((outcome.status, outcome.rows.len()), (200, 1));
    assert!(outcome.body.contains(r#""index":0"#), "{outcome:?}");

    let outcome = world.post("/wh/cloudevents", JSON, &event(1));
    assert_eq!((outcome.status, outcome.rows.len()), (400, 0));
    assert_ne!(outcome.body, rejected(""));
}

#[test]
fn a_refused_event_without_consent_is_not_recorded() {
    let world = World::new(&options());
    let batch = "application/cloudevents-batch+json";
    for (body, refused) in [
        ("[{}]", 0),
        (r#"[{"agreed":false}]"#, 0),
        (r#"[{},{"agreed":true},{"agreed":"yes","id":5}]"#, 2),
    ] {
        let outcome = world.post("/wh/consented", batch, body);
        assert_eq!(outcome.codes, vec!["protocol"; refused], "{body}");
        assert_eq!(outcome.rows, [""; 0]);
        assert!(outcome.body.contains(&format!(r#""refused":{refused}"#)), "{outcome:?}");
    }
    assert_eq!(world.request_memory(), 0);
}

#[test]
fn a_dead_letter_has_nothing_of_a_refused_event_that_may_be_personal() {
    let world = World::new(&options());
    let collector = world.collector();
    // In an event, the data has another name.
    let item = r#"{"data_base64":"YW5uYUBleGFtcGxlLm9yZw=="}"#;
    arena::with(|arena| {
        let kept = |route| collector.kept_refused(route, &EventMeta::default(), item, arena);
        assert_eq!(kept(&CONSENTED_CLOUDEVENTS), "");
        assert_eq!(kept(&CLOUDEVENTS), item);
    });
}

#[test]
fn a_sender_of_cloudevents_may_ask_first() {
    let world = World::new(&options());
    let asking = Request::options("/wh/cloudevents").header("webhook-request-origin", "events.example.com");
    let response = world.respond(asking.body(Ok(Bytes::new())).unwrap());
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["webhook-allowed-origin"], "events.example.com");
    assert_eq!(response.headers()["webhook-allowed-rate"], "*");
    let asking = Request::options("/v1/track").header("webhook-request-origin", "events.example.com");
    let response = world.respond(asking.body(Ok(Bytes::new())).unwrap());
    assert!(!response.headers().contains_key("webhook-allowed-origin"));
}
