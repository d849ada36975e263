#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;

/// A request, and what its adapter makes of it.
struct Sent<'r> {
    adapter: Adapter,
    method: Method,
    path: &'r str,
    headers: &'r [(&'static str, &'r str)],
}

impl Sent<'_> {
    /// Returns the document with the events, and the refused ones; otherwise the reason.
    fn read(&self, body: impl AsRef<[u8]>) -> Result<(String, Vec<(usize, String)>), String> {
        let arena = Arena::new();
        let headers = self.headers.iter();
        let headers: HeaderMap = headers
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let request = Request {
            method: &self.method,
            path: self.path,
            headers: &headers,
            body: body.as_ref(),
            arena: &arena,
        };
        let mut booked = 0;
        let adapted = self.adapter.read(&request, &mut |length| {
            booked = length;
            Ok(())
        });
        let adapted = adapted.map_err(|error| match error {
            AdapterError::Protocol(reason) => reason,
            other => format!("{other:?}"),
        })?;
        assert_eq!(booked, adapted.text.len());
        let mut reader = Reader::new(&adapted.text);
        reader.skip().unwrap();
        reader.end().unwrap();
        Ok((adapted.text, adapted.refused))
    }
}

fn segment(path: &str) -> Sent<'_> {
    Sent {
        adapter: Adapter::Segment,
        method: Method::POST,
        path,
        headers: &[("content-type", "application/json; charset=utf-8")],
    }
}

fn cloudevents<'r>(headers: &'r [(&'static str, &'r str)]) -> Sent<'r> {
    Sent {
        adapter: Adapter::CloudEvents,
        method: Method::POST,
        path: "/wh/events",
        headers,
    }
}

const STRUCTURED: &[(&str, &str)] = &[("content-type", "application/cloudevents+json; charset=utf-8")];
const BATCHED: &[(&str, &str)] = &[("content-type", "Application/CloudEvents-Batch+JSON")];

const SNOWPLOW: Sent<'static> = Sent {
    adapter: Adapter::Snowplow,
    method: Method::POST,
    path: "/com.snowplowanalytics.snowplow/tp2",
    headers: &[("content-type", "application/json")],
};

#[test]
fn a_call_of_segment_has_the_type_of_its_path() {
    for (path, expected) in [
        ("/v1/track", r#"{"items":[{"event":"a"}],"type":"track"}"#),
        ("/v1/t", r#"{"items":[{"event":"a"}],"type":"track"}"#),
        ("/v1/identify/", r#"{"items":[{"event":"a"}],"type":"identify"}"#),
        ("/v1/p", r#"{"items":[{"event":"a"}],"type":"page"}"#),
        ("/v1/s", r#"{"items":[{"event":"a"}],"type":"screen"}"#),
        ("/v1/group", r#"{"items":[{"event":"a"}],"type":"group"}"#),
        ("/v1/alias", r#"{"items":[{"event":"a"}],"type":"alias"}"#),
        ("/wh/segment", r#"{"items":[{"event":"a"}]}"#),
        // A batch, whose calls are found later.
        ("/v1/batch", r#"{"event":"a"}"#),
        ("/v1/import", r#"{"event":"a"}"#),
    ] {
        let read = segment(path).read(r#"{"event":"a"}"#);
        assert_eq!(read, Ok((expected.to_owned(), vec![])), "{path}");
    }
    let batch = r#"{"sentAt":"x","batch":[{"type":"track"}]}"#;
    for path in ["/v1/batch", "/v1/b", "/wh/segment"] {
        assert_eq!(segment(path).read(batch), Ok((batch.to_owned(), vec![])), "{path}");
    }
}

#[test]
fn a_body_cannot_end_the_document_around_it() {
    for body in [
        r#"{"a":1}],"type":"x","items":[{}"#,
        r#"{"a":1},{"b":2}"#,
        r#"{"a":1"#,
        "",
        "{\"a\":\"\u{1}\"}",
    ] {
        for sent in [segment("/v1/track"), cloudevents(STRUCTURED), SNOWPLOW] {
            let read = sent.read(body);
            assert!(
                read.as_ref().is_err_and(|reason| reason.starts_with("Json")),
                "{body}: {read:?}"
            );
        }
    }
    assert_eq!(
        segment("/v1/track").read(b"\xff"),
        Err("the body is not UTF-8".to_owned())
    );
    let marked = segment("/v1/track").read("\u{feff}{}");
    assert_eq!(marked, Ok((r#"{"items":[{}],"type":"track"}"#.to_owned(), vec![])));
}

#[test]
fn a_body_of_another_type_is_not_read() {
    for (adapter, content_type) in [
        (Adapter::Segment, "text/csv"),
        (Adapter::Segment, "application/x-www-form-urlencoded"),
        (Adapter::Snowplow, "application/protobuf"),
        (Adapter::CloudEvents, "application/cloudevents+avro"),
        (Adapter::CloudEvents, "application/cloudevents-batch+protobuf"),
    ] {
        let sent = Sent {
            adapter,
            method: Method::POST,
            path: "/v1/track",
            headers: &[("content-type", content_type)],
        };
        assert_eq!(sent.read("{}"), Err("MediaType".to_owned()), "{content_type}");
    }
}

#[test]
fn a_structured_cloudevent_is_checked() {
    let event = |rest: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#);
    let valid = event(r#","data":{"a":[1]}"#);
    let read = cloudevents(STRUCTURED).read(&valid);
    assert_eq!(read, Ok((format!(r#"{{"items":[{valid}]}}"#), vec![])));

    // Paths join their keys with `_`: `data_base64` would be inside `data`.
    let read = cloudevents(STRUCTURED).read(event(r#","data_base64":"/wA=""#));
    let renamed = event(r#","dataBase64":"/wA=""#);
    assert_eq!(read, Ok((format!(r#"{{"items":[{renamed}]}}"#), vec![])));

    for (event, reason) in [
        (
            r#"{"specversion":"1.0","source":"/s","type":"t"}"#.to_owned(),
            "the attribute `id` of the CloudEvent is missing",
        ),
        (event(r#","id":"""#), "the attribute `id` of the CloudEvent is missing"),
        (event(r#","type":5"#), "the attribute `type` is not a string"),
        (
            event(r#","specversion":"0.3""#),
            "the specversion is `0.3`, and must be `1.0`",
        ),
        (
            event(r#","data":1,"data_base64":"""#),
            "the event has both `data` and `data_base64`",
        ),
    ] {
        let expected = Ok((format!(r#"{{"items":[{event}]}}"#), vec![(0, reason.to_owned())]));
        assert_eq!(cloudevents(STRUCTURED).read(&event), expected);
    }
}

#[test]
fn each_event_of_a_batch_of_cloudevents_is_checked() {
    let valid = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let body = format!("[ {valid} , 5, {{}},\n{valid}]");
    let missing = "the attribute `id` of the CloudEvent is missing";
    // The decoder refuses the number.
    assert_eq!(
        cloudevents(BATCHED).read(body),
        Ok((
            format!(r#"{{"items":[{valid},5,{{}},{valid}]}}"#),
            vec![(2, missing.to_owned())]
        ))
    );
    assert_eq!(
        cloudevents(BATCHED).read("[]"),
        Ok((r#"{"items":[]}"#.to_owned(), vec![]))
    );
    assert_eq!(
        cloudevents(BATCHED).read(valid),
        Err("a batch of CloudEvents is a JSON array".to_owned())
    );
    let reason = cloudevents(&[("content-type", "application/json")])
        .read(valid)
        .unwrap_err();
    assert!(reason.starts_with("the request is no CloudEvent"), "{reason}");
}

#[test]
fn the_headers_of_a_binary_cloudevent_are_its_attributes() {
    let attributes = [
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-specversion", "1.0"),
        ("ce-type", "t"),
        ("ce-subject", "50%25 caf%C3%A9 \"x\""),
        ("ce-data", "no"),
    ];
    let start = r#""id":"1","source":"/s","specversion":"1.0","type":"t","subject":"50% café \"x\"""#;
    for (content_type, body, end) in [
        (
            "application/json",
            &br#"{"a":1}"#[..],
            r#","datacontenttype":"application/json","data":{"a":1}"#,
        ),
        (
            "application/vnd.x+json",
            b"[1]",
            r#","datacontenttype":"application/vnd.x+json","data":[1]"#,
        ),
        ("", b"5", r#","data":5"#),
        ("", b"", ""),
        (
            "text/plain",
            b"a \"b\"",
            r#","datacontenttype":"text/plain","data":"a \"b\"""#,
        ),
        (
            "image/png",
            b"\xff\x00",
            r#","datacontenttype":"image/png","dataBase64":"/wA=""#,
        ),
    ] {
        let mut headers = attributes.to_vec();
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        // The order of headers in a map is its own.
        let (text, refused) = cloudevents(&headers).read(body).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&format!("{{{start}{end}}}")).unwrap();
        assert_eq!((&read["items"][0], refused), (&expected, vec![]));
    }
    let (_, refused) = cloudevents(&[("ce-specversion", "1.0")]).read("").unwrap();
    assert_eq!(
        refused,
        [(0, "the attribute `id` of the CloudEvent is missing".to_owned())]
    );
    let malformed = cloudevents(&attributes).read("{bad").unwrap_err();
    assert!(malformed.starts_with("Json"), "{malformed}");
}

#[test]
fn the_texts_of_snowplow_are_json() {
    let body = r#"{"schema":"iglu:x","data":[
        {"e":"pv","vid":"2"},
        {"e":"ue","ue_px":"eyJkYXRhIjp7ImEiOiI_In19","cx":"eyJkYXRhIjpbXX0="},
        {"ue_pr":"{\"a\":1}","co":"[]"},
        {"ue_px":"bad!"},
        {"co":"5"},
        7]}"#;
    assert_eq!(
        SNOWPLOW.read(body),
        Ok((
            r#"{"items":[{"e":"pv","vid":"2"},{"e":"ue","ue_pr":{"data":{"a":"?"}},"co":{"data":[]}},{"ue_pr":{"a":1},"co":[]},{"ue_px":"bad!"},{"co":"5"},7]}"#
                .to_owned(),
            vec![
                (3, "`ue_px` is not a JSON object in base64".to_owned()),
                (4, "`co` is not a JSON object".to_owned()),
            ]
        ))
    );
    for body in ["{}", "[]", r#"{"data":{}}"#, "5"] {
        let reason = "the body has no array `data`, where the events should be".to_owned();
        assert_eq!(SNOWPLOW.read(body), Err(reason), "{body}");
    }
}

#[test]
fn the_query_of_snowplow_is_an_event() {
    let sent = Sent {
        method: Method::GET,
        ..SNOWPLOW
    };
    for (query, event, refused) in [
        ("e=pv&page=A%20%22B%22", r#"{"e":"pv","page":"A \"B\""}"#, vec![]),
        (
            "e=ue&ue_px=eyJkYXRhIjp7ImEiOiI_In19&co=%7B%22data%22%3A%5B%5D%7D",
            r#"{"e":"ue","ue_pr":{"data":{"a":"?"}},"co":{"data":[]}}"#,
            vec![],
        ),
        (
            "e=ue&ue_px=x",
            r#"{"e":"ue","ue_px":"x"}"#,
            vec![(0, "`ue_px` is not a JSON object in base64".to_owned())],
        ),
        ("", "{}", vec![]),
    ] {
        assert_eq!(sent.read(query), Ok((format!(r#"{{"items":[{event}]}}"#), refused)));
    }
}
