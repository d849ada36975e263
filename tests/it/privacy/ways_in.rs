//! Each way in has the privacy options of its route: the row of an event, its dead letter, and the
//! answer are the same however the event comes.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{COOKIE, DNT, EMAIL, FIREFOX, FORM, JSON, PEER, PHONE, UID, dead_letters, rows};
use crate::support::{
    engine::Database,
    http,
    service::Served,
    websocket::{Message, WebSocket},
};
use embedder::tables;
use rowmill_ingest::{EventOptions, WriterOptions, layer::ResumableUploads, server::not_found};
use tower::{Layer, service_fn};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// A collector with each way in, and the folder of its spool and its uploads.
struct Ways {
    database: Database,
    served: Served,
    _folder: TempDir,
}

/// Sends an event, with headers that describe its visitor, and returns the text of the answer.
type Send = fn(&Ways, &[(&str, &str)], &Value) -> String;

impl Ways {
    fn start(test: &str) -> Self {
        let (database, folder) = (Database::create(test), tempfile::tempdir().unwrap());
        let options = EventOptions {
            catch_all: true,
            resumable_uploads: Some(ResumableUploads::new(&folder.path().join("uploads"))),
            ..EventOptions::default()
        };
        let spool = folder.path().join("spool");
        let writer = WriterOptions::default();
        let served = Served::start_in(Some(&spool), &database.url(), &tables::SCHEMA, writer, |writer| {
            let layer = tables::layer(writer).unwrap().peer_from(|_| Some(PEER));
            layer.with_options(&options).layer(service_fn(not_found))
        });
        Self {
            database,
            served,
            _folder: folder,
        }
    }

    fn request(&self, method: &str, target: &str, headers: &[&[(&str, &str)]], body: &str) -> http::Answer {
        http::send(self.served.address, method, target, &headers.concat(), body.as_bytes())
    }

    fn post(&self, target: &str, content_type: (&str, &str), headers: &[(&str, &str)], body: &str) -> String {
        let answer = self.request("POST", target, &[&[content_type], headers], body);
        answer.text().to_owned()
    }

    /// Uploads a text by the protocol tus; the visitor's headers are those of the last request.
    fn upload(&self, headers: &[(&str, &str)], text: &str) -> String {
        let version = ("Tus-Resumable", "1.0.0");
        let length = text.len().to_string();
        let create = [version, ("Upload-Length", &length)];
        let created = self.request("POST", "/upload/wh/visit", &[&create], "");
        let path = created.header("location").unwrap().to_owned();
        let part = [
            version,
            ("Upload-Offset", "0"),
            ("Content-Type", "application/offset+octet-stream"),
        ];
        let answer = self.request("PATCH", &path, &[&part, headers], text);
        // 400 if all events are refused.
        assert!([204, 400].contains(&answer.status), "{}", answer.text());
        self.request("GET", &path, &[], "").text().to_owned()
    }

    /// Sends a text over a WebSocket, and returns its answer.
    fn message(&self, headers: &[(&str, &str)], text: &str) -> String {
        let mut socket = WebSocket::open(self.served.address, "/wss", headers).unwrap();
        socket.send(text).unwrap();
        match socket.receive() {
            Message::Text(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
}

/// Returns an event with more fields.
fn with(event: &Value, more: &Value) -> Value {
    let fields = |value: &Value| value.as_object().unwrap().clone();
    fields(event).into_iter().chain(fields(more)).collect()
}

/// Returns the fields of an event as those of a form.
fn form(event: &Value) -> String {
    let fields = event.as_object().unwrap().iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", text.replace('+', "%2B").replace('@', "%40"))
    });
    fields.collect::<Vec<_>>().join("&")
}

fn message(event: &Value) -> Value {
    with(event, &json!({"service": "wh", "name": "visit"}))
}

fn call(event: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "wh.visit", "params": event, "id": 1})
}

fn cloudevent(event: &Value) -> Value {
    with(
        event,
        &json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "visit"}),
    )
}

/// All ways in; each one sends one event.
const WAYS: [(&str, Send); 19] = [
    ("JSON", |ways, headers, event| {
        ways.post("/wh/visit", JSON, headers, &event.to_string())
    }),
    ("form", |ways, headers, event| {
        ways.post("/wh/visit", FORM, headers, &form(event))
    }),
    ("query", |ways, headers, event| {
        let answer = ways.request("GET", &format!("/wh/visit?{}", form(event)), &[headers], "");
        answer.text().to_owned()
    }),
    ("multipart", |ways, headers, event| {
        let mut body = String::new();
        for (name, value) in event.as_object().unwrap() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            body.push_str(&format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
            ));
        }
        let content_type = ("Content-Type", "multipart/form-data; boundary=b");
        ways.post("/wh/visit", content_type, headers, &format!("{body}--b--\r\n"))
    }),
    ("array", |ways, headers, event| {
        ways.post("/wh/visit", JSON, headers, &json!([event]).to_string())
    }),
    ("lines", |ways, headers, event| {
        ways.post("/wh/visit", NDJSON, headers, &event.to_string())
    }),
    ("document", |ways, headers, event| {
        ways.post("/wh/batches", JSON, headers, &json!({"batch": [event]}).to_string())
    }),
    ("CSV", |ways, headers, event| {
        let (names, values): (Vec<_>, Vec<_>) = event.as_object().unwrap().iter().unzip();
        let names = names.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let values = values.into_iter().map(|value| value.to_string().replace('"', ""));
        let body = format!("{names}\n{}\n", values.collect::<Vec<_>>().join(","));
        ways.post("/wh/visit", ("Content-Type", "text/csv"), headers, &body)
    }),
    ("upload", |ways, headers, event| {
        ways.post("/upload/wh/visit", NDJSON, headers, &format!("{event}\n"))
    }),
    ("resumable upload", |ways, headers, event| {
        ways.upload(headers, &format!("{event}\n"))
    }),
    ("WebSocket", |ways, headers, event| {
        ways.message(headers, &message(event).to_string())
    }),
    ("array over a WebSocket", |ways, headers, event| {
        ways.message(headers, &json!([message(event)]).to_string())
    }),
    ("call over a WebSocket", |ways, headers, event| {
        ways.message(headers, &call(event).to_string())
    }),
    ("call", |ways, headers, event| {
        ways.post("/rpc", JSON, headers, &call(event).to_string())
    }),
    ("calls", |ways, headers, event| {
        ways.post("/rpc", JSON, headers, &json!([call(event)]).to_string())
    }),
    ("Segment", |ways, headers, event| {
        ways.post("/private/v1/track", JSON, headers, &event.to_string())
    }),
    ("CloudEvents", |ways, headers, event| {
        let content_type = ("Content-Type", "application/cloudevents+json");
        ways.post(
            "/wh/private_events",
            content_type,
            headers,
            &cloudevent(event).to_string(),
        )
    }),
    ("Snowplow", |ways, headers, event| {
        let body = json!({"schema": "iglu:payload", "data": [event]});
        ways.post("/private/tp2", JSON, headers, &body.to_string())
    }),
    ("Snowplow by GET", |ways, headers, event| {
        let answer = ways.request("GET", &format!("/private/i?{}", form(event)), &[headers], "");
        // An image, unless the event is refused.
        String::from_utf8_lossy(&answer.body).into_owned()
    }),
];

#[test]
fn the_row_of_each_way_in_has_what_its_table_keeps() {
    let ways = Ways::start("privacy_ways_rows");
    for (clicks, (_, send)) in WAYS.iter().enumerate() {
        let event = json!({"uid": UID, "email": EMAIL, "phone": PHONE, "age": 33, "clicks": clicks});
        for headers in [&[FIREFOX][..], &[FIREFOX, DNT, COOKIE]] {
            let answer = send(&ways, headers, &event);
            assert!(!answer.contains("anna"), "{answer}");
        }
    }
    ways.served.drain();
    for (clicks, (way, _)) in WAYS.iter().enumerate() {
        let columns = "address, agent, agent_header, visitor, uid, email, phone, age";
        let of_way = format!("seen WHERE clicks = {clicks}");
        let found = rows(&ways.database, columns, &of_way);
        let family = "Firefox on Linux";
        let known = json!(["203.0.113.0", family, family, 7_777_777_777_u64, UID, EMAIL, PHONE, 33]);
        let anonymous = json!(["", "", "", 0, "", "", "", 0]);
        assert_eq!(found, [known, anonymous], "{way}");
    }
}

#[test]
fn the_dead_letter_of_each_way_in_has_no_personal_data() {
    let ways = Ways::start("privacy_ways_letters");
    for (_, send) in WAYS {
        // The required number is a text with the address.
        let event = json!({"uid": UID, "email": EMAIL, "phone": PHONE, "age": EMAIL, "clicks": 2});
        for headers in [&[FIREFOX][..], &[FIREFOX, DNT, COOKIE]] {
            let answer = send(&ways, headers, &event);
            assert!(!answer.contains("anna"), "{answer}");
        }
    }
    ways.served.drain();
    let letters = dead_letters(&ways.database, 2 * WAYS.len() as u64);
    let mut addresses = [0, 0];
    for (reason, payload, ip) in letters {
        let all = format!("{reason} {payload}");
        assert!(!all.contains("anna") && !all.contains(&PHONE[1..]), "{all}");
        match ip.as_str() {
            "203.0.113.0" => addresses[0] += 1,
            "" => {
                addresses[1] += 1;
                assert!(!all.contains(UID), "{all}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(addresses, [WAYS.len(); 2]);
    assert_eq!(ways.database.count("seen"), 0);
}

#[test]
fn no_way_in_records_an_event_without_consent_where_it_is_dropped() {
    let ways = Ways::start("privacy_ways_consent");
    let agreed = |agrees: bool| json!({"service": "wh", "name": "only_agreed", "agreed": agrees, "age": 1});
    let call = |agrees: bool| json!({"jsonrpc": "2.0", "method": "wh.only_agreed", "params": agreed(agrees), "id": 1});
    for agrees in [false, true] {
        let (event, both) = (agreed(agrees), json!([agreed(agrees), agreed(false)]));
        // The answer does not depend on the consent.
        for text in [
            ways.message(&[FIREFOX], &event.to_string()),
            ways.message(&[FIREFOX], &both.to_string()),
        ] {
            assert!(
                text.contains(r#""statusCode":200"#) && !text.contains("error"),
                "{text}"
            );
        }
        for text in [
            ways.message(&[FIREFOX], &call(agrees).to_string()),
            ways.post("/rpc", JSON, &[FIREFOX], &call(agrees).to_string()),
        ] {
            assert!(text.contains(r#""result""#), "{text}");
        }
        for target in ["/wh/only_agreed", "/upload/wh/only_agreed"] {
            let text = ways.post(target, JSON, &[FIREFOX], &both.to_string());
            assert!(text.contains(r#""refused":0"#), "{text}");
        }
    }
    ways.served.drain();
    assert_eq!(ways.database.count("seen"), 6);
    let left_out = ways.served.writer.status().left_out.without_consent;
    assert_eq!(left_out, 6 + 2 * 3);
    assert_eq!(ways.database.count("rejected"), 0);
}
