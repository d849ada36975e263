//! Compares whole requests with recorded ones.

#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value};

use super::*;
use crate::{
    arena::Arena,
    fields::Fields,
    request::{body::Payload, claims::Claims, content_type::Declared, target::Target},
};

/// Recorded cases that differ on purpose: the data that we record instead, or `None` for a
/// rejection.
const DIFFERENT_ON_PURPOSE: [(&str, Option<&str>); 9] = [
    // The brace marks these as JSON; Rockstat made one absurd key of each.
    ("json w/out content-type", Some(r#"{"event":"b"}"#)),
    ("json text/plain", Some(r#"{"event":"b"}"#)),
    (".gif ext with JSON ctype", Some(r#"{"event":"b"}"#)),
    // The type is matched in any case.
    ("json upper ctype", Some(r#"{"event":"b"}"#)),
    // Rockstat made absurd keys of the parts of a form.
    ("multipart", Some(r#"{"a":"1"}"#)),
    // Rockstat made rows without a value of these; only an object has fields, and an array has
    // events.
    ("json array", None),
    ("json number", None),
    ("json null", None),
    ("json string", None),
];

/// `/` is a page with any query; an earlier stage decides that.
const PAGE: &str = "/";

#[test]
fn makes_the_recorded_events() {
    let mut differences = 0;
    for line in include_str!("../../../tests/golden/02_http_cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let uri: http::Uri = case["request"]["target"].as_str().unwrap().parse().unwrap();
        // The original refused a byte order mark.
        if uri.path() == PAGE || name == "bom json" {
            continue;
        }
        let actual = actual_event(&case["request"], &uri);
        let mut expected = case["event"].clone();
        if let Some((_, data)) = DIFFERENT_ON_PURPOSE.iter().find(|(different, _)| *different == name) {
            differences += 1;
            match data {
                Some(data) => expected["data"] = serde_json::from_str(data).unwrap(),
                None => expected = Value::Null,
            }
        }
        if expected.is_null() {
            assert_eq!(actual, None, "{name}");
            continue;
        }
        let Some(actual) = actual else {
            unreachable!("{name} is refused")
        };
        for key in ["service", "name", "projectId", "channel", "data"] {
            assert_eq!(actual[key], expected[key], "{key} of {name}");
        }
    }
    assert_eq!(differences, DIFFERENT_ON_PURPOSE.len());
}

fn actual_event(request: &Value, uri: &http::Uri) -> Option<Value> {
    let arena = Arena::new();
    let target = Target::parse(uri.path());
    let sent: Vec<(String, String)> = serde_json::from_value(request["headers"].clone()).unwrap();
    let header = |name: &str| {
        sent.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_bytes())
    };
    let declared = Declared {
        extension: target.extension,
        content_type: header("Content-Type"),
        content_encoding: header("Content-Encoding"),
    };
    let body = match &request["body"]["base64"] {
        Value::String(text) => from_base64(text),
        _ => request["body"]["text"].as_str().unwrap().as_bytes().to_vec(),
    };
    let payload = if request["method"] == "POST" {
        Payload::parse(declared, &body, &arena).ok()?
    } else {
        Payload::Empty
    };
    let query = Fields::from_query(uri.query().unwrap_or_default(), &arena);
    let mut data = match &payload {
        Payload::Empty => Map::new(),
        Payload::Batch { .. } | Payload::Item { .. } => return None,
        Payload::Form(form) => object_of(form),
        Payload::Json(text) => match serde_json::from_str(text).ok()? {
            Value::Object(data) => data,
            _ => return None,
        },
    };
    let text_of = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let claims: Vec<Option<String>> = ["service", "name", "projectId"]
        .iter()
        .map(|key| data.get(*key).map(text_of))
        .collect();
    let in_body = Claims {
        service: claims[0].as_deref(),
        name: claims[1].as_deref(),
        project: claims[2].as_deref(),
        uid: None,
    };
    let address = Address::resolve(&target, &Claims::from_fields(&query), &in_body)?;
    let project = address
        .project
        .to_text()
        .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    data.extend(object_of(&query));
    Some(serde_json::json!({
        "service": address.service,
        "name": address.name,
        "projectId": project,
        "channel": if declared.is_image() { "pixel" } else { "http" },
        "data": data,
    }))
}

fn object_of(fields: &Fields<'_>) -> Map<String, Value> {
    match fields {
        Fields::Flat(pairs) => pairs
            .iter()
            .map(|(name, value)| (name.to_string(), (*value).into()))
            .collect(),
        Fields::Tree(tree) => serde_json::from_str(tree.json()).unwrap(),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.chars().map_while(|digit| DIGITS.find(digit)) {
        bits = (bits << 6) | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
