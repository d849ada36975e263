#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    message::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value},
    *,
};
use crate::{adapters::outcome::Outcome, arena::Arena};

#[derive(Message)]
struct ExportLogs {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    log_records: Vec<Bytes>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

/// Returns the document with the events, and the refused ones; otherwise the error.
fn read(content_type: &str, body: &[u8]) -> Result<(String, Vec<(usize, String)>), AdapterError> {
    let arena = Arena::new();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())]);
    let request = Request {
        method: &Method::POST,
        path: "/v1/logs",
        headers: &headers,
        body,
        arena: &arena,
    };
    let adapted = super::read(&request, &mut |length| match length {
        0..100_000 => Ok(()),
        _ => Err(AdapterError::TooLong),
    })?;
    let mut reader = crate::json::Reader::new(&adapted.text);
    reader.skip().unwrap();
    reader.end().unwrap();
    Ok((adapted.text, adapted.refused))
}

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: any(value),
    }
}

/// Returns a request in protobuf with these records.
fn protobuf(records: &[Vec<u8>]) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", Value::String("shop".to_owned())),
            attribute("pid", Value::Int(7)),
        ],
    };
    let scope = Scope {
        name: "lib".to_owned(),
        version: "1".to_owned(),
        attributes: Vec::new(),
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records: records.iter().cloned().map(Bytes::from).collect(),
        schema_url: "https://schema".to_owned(),
    };
    let of_resource = ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![scope_logs],
    };
    let logs = ExportLogs {
        resource_logs: vec![of_resource],
    };
    logs.encode_to_vec()
}

fn record() -> LogRecord {
    let list = KeyValueList {
        values: vec![attribute("k", Value::Bytes(vec![255, 0]))],
    };
    let array = ArrayValue {
        values: vec![
            AnyValue {
                value: Some(Value::Double(1.0)),
            },
            AnyValue { value: None },
            AnyValue {
                value: Some(Value::Object(list)),
            },
        ],
    };
    LogRecord {
        time_unix_nano: 1_780_000_000_000_000_001,
        observed_time_unix_nano: 0,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: any(Value::Array(array)),
        attributes: vec![
            attribute("n", Value::Int(i64::MIN)),
            attribute("b", Value::Bool(true)),
            attribute("nan", Value::Double(f64::NAN)),
        ],
        dropped_attributes_count: 2,
        flags: 1,
        trace_id: (0..16).collect(),
        span_id: vec![0xAB; 8],
        event_name: "e".to_owned(),
    }
}

const RECORD: &str = r#"{"serviceName":"shop","resource":{"attributes":{"service.name":"shop","pid":7}},"scope":{"name":"lib","version":"1","attributes":{}},"schemaUrl":"https://schema","timeUnixNano":"1780000000000000001","severityNumber":9,"severityText":"INFO","eventName":"e","traceId":"000102030405060708090a0b0c0d0e0f","spanId":"abababababababab","flags":1,"droppedAttributesCount":2,"body":[1.0,null,{"k":"/wA="}],"attributes":{"n":-9223372036854775808,"b":true,"nan":"NaN"}}"#;

#[test]
fn both_formats_are_the_same_event() {
    let expected = (format!(r#"{{"items":[{RECORD}]}}"#), vec![]);
    assert_eq!(
        read(PROTOBUF, &protobuf(&[record().encode_to_vec()])).unwrap(),
        expected
    );
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},
        {"key":"pid","value":{"intValue":"7"}}],"droppedAttributesCount":0},"scopeLogs":[{"scope":{"name":"lib","version":"1"},
        "schemaUrl":"https://schema","logRecords":[{"timeUnixNano":"1780000000000000001","severityNumber":9,"severityText":"INFO",
        "body":{"arrayValue":{"values":[{"doubleValue":1},{},{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"/wA="}}]}}]}},
        "attributes":[{"key":"n","value":{"intValue":-9223372036854775808}},{"key":"b","value":{"boolValue":true}},
        {"key":"nan","value":{"doubleValue":"NaN"}}],"droppedAttributesCount":2,"flags":1,"eventName":"e","new":[1],
        "traceId":"000102030405060708090A0B0C0D0E0F","spanId":"abababababababab"}]}]}]}"#;
    assert_eq!(
        read("application/json; charset=utf-8", json.as_bytes()).unwrap(),
        expected
    );
}

#[test]
fn a_malformed_record_does_not_affect_the_others() {
    let good = LogRecord::default().encode_to_vec();
    // Field 1 of a span is a text, and of a record a number.
    let (text, refused) = read(PROTOBUF, &protobuf(&[good.clone(), b"\x0a\x01a".to_vec(), good])).unwrap();
    assert_eq!(text.matches(r#""severityNumber":0"#).count(), 2);
    assert!(text.contains(r#",{"protobuf":"CgFh"},"#), "{text}");
    let [(1, reason)] = &refused[..] else {
        unreachable!("{refused:?}")
    };
    assert!(reason.starts_with("the item is not a LogRecord: "), "{reason}");

    for record in [
        r#"{"timeUnixNano":"x"}"#,
        r#"{"timeUnixNano":-1}"#,
        r#"{"traceId":"abc"}"#,
        r#"{"spanId":"é"}"#,
        r#"{"body":"text"}"#,
        r#"{"body":{"bytesValue":"?"}}"#,
        r#"{"body":{"intValue":"9223372036854775808"}}"#,
        r#"{"attributes":{}}"#,
        "5",
    ] {
        let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{}},{record},{{}}]}}]}}]}}"#);
        let (text, refused) = read(JSON, json.as_bytes()).unwrap();
        let empty = r#"{"severityNumber":0,"flags":0,"attributes":{}}"#;
        assert_eq!(text, format!(r#"{{"items":[{empty},{record},{empty}]}}"#));
        assert_eq!(refused.len(), 1, "{record}");
        assert_eq!(refused[0].0, 1, "{record}");
    }
}

#[test]
fn a_problem_quotes_no_value() {
    for record in [
        r#"{"severityNumber":"anna@example.org"}"#,
        r#"{"body":"anna@example.org"}"#,
        r#"{"attributes":"anna@example.org"}"#,
        r#"{"timeUnixNano":["anna@example.org"]}"#,
        r#"{"body":{"bytesValue":"anna@example.org"}}"#,
    ] {
        let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#);
        let (_, refused) = read(JSON, body.as_bytes()).unwrap();
        let reason = &refused[0].1;
        assert!(
            reason.starts_with("the item is not a LogRecord: a value is not of its type at line 1, column "),
            "{reason}"
        );
        assert!(!reason.contains("anna"), "{reason}");
    }
    for body in [
        r#"{"resourceLogs":"anna@example.org"}"#,
        r#"{"resourceLogs":[{"resource":{"attributes":"anna@example.org"}}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"schemaUrl":["anna@example.org"]}]}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":"anna@example.org"}]}"#,
    ] {
        let error = format!("{:?}", read(JSON, body.as_bytes()).unwrap_err());
        assert!(error.contains("a value is not of its type at line 1"), "{error}");
        assert!(!error.contains("anna"), "{error}");
    }
    let error = format!("{:?}", read(JSON, b"{}").unwrap_err());
    assert!(error.contains("missing field `resourceLogs`"), "{error}");
}

#[test]
fn a_body_that_has_no_logs_is_refused() {
    for (content_type, body, expected) in [
        (JSON, &b"{bad"[..], "Json"),
        (JSON, b"[]", "Protocol"),
        (JSON, br#"{"resourceSpans":[]}"#, "Protocol"),
        (JSON, br#"{"resourceLogs":5}"#, "Protocol"),
        (JSON, b"\xff", "Protocol"),
        (PROTOBUF, b"\x0a\x05a", "Protocol"),
        (PROTOBUF, b"{}", "Protocol"),
        ("text/plain", b"{}", "MediaType"),
        ("application/x-protobuffer", b"", "MediaType"),
    ] {
        let error = format!("{:?}", read(content_type, body).unwrap_err());
        assert!(error.starts_with(expected), "{content_type}: {error}");
    }
    let none = (r#"{"items":[]}"#.to_owned(), vec![]);
    assert_eq!(read(PROTOBUF, b"").unwrap(), none);
    assert_eq!(read(JSON, br#"{"resourceLogs":[]}"#).unwrap(), none);
}

#[test]
fn a_request_that_is_cut_anywhere_is_refused_or_shorter() {
    let body = protobuf(&[record().encode_to_vec()]);
    for end in 1..body.len() {
        let read = read(PROTOBUF, &body[..end]);
        assert!(matches!(read, Err(AdapterError::Protocol(_))), "{end}: {read:?}");
    }
}

#[test]
fn values_that_nest_too_deep_are_refused() {
    let mut value = AnyValue { value: None };
    for _ in 0..200 {
        value = AnyValue {
            value: Some(Value::Array(ArrayValue { values: vec![value] })),
        };
    }
    let record = LogRecord {
        body: Some(value),
        ..LogRecord::default()
    };
    let (_, refused) = read(PROTOBUF, &protobuf(&[record.encode_to_vec()])).unwrap();
    assert_eq!(refused.len(), 1);
}

#[test]
fn long_attributes_of_a_resource_do_not_multiply_without_a_limit() {
    let records = vec![Vec::new(); 2_000];
    assert!(matches!(
        read(PROTOBUF, &protobuf(&records)),
        Err(AdapterError::TooLong)
    ));
}

#[test]
fn a_response_has_the_format_of_its_request() {
    let outcome = |own: &str| serde_json::from_str::<Outcome>(own).unwrap();
    let all = outcome(r#"{"recorded":2,"refused":0}"#);
    let some = outcome(r#"{"recorded":1,"refused":1,"errors":[{"index":1,"reason":"no"}]}"#);
    let full = outcome(r#"{"message":"Service Unavailable"}"#);
    for (status, outcome, json, protobuf) in [
        (StatusCode::OK, &all, "{}", &b""[..]),
        (
            StatusCode::OK,
            &some,
            r#"{"partialSuccess":{"errorMessage":"item 1: no","rejectedLogRecords":"1"}}"#,
            b"\x0a\x0e\x08\x01\x12\x0aitem 1: no",
        ),
        (
            StatusCode::BAD_REQUEST,
            &some,
            r#"{"code":3,"message":"item 1: no"}"#,
            b"\x08\x03\x12\x0aitem 1: no",
        ),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &full,
            r#"{"code":14,"message":"Service Unavailable"}"#,
            b"\x08\x0e\x12\x13Service Unavailable",
        ),
    ] {
        assert_eq!(response(false, status, outcome), json);
        assert_eq!(response(true, status, outcome), protobuf);
    }
}

#[test]
fn the_memory_for_a_record_is_booked_before_it_is_decoded() {
    // Each empty value takes two bytes, and far more once it is decoded.
    let values = ArrayValue {
        values: (0..4_000).map(|_| AnyValue { value: None }).collect(),
    };
    let record = LogRecord {
        body: any(Value::Array(values)),
        ..LogRecord::default()
    };
    let body = protobuf(&[record.encode_to_vec()]);
    assert!(body.len() < 10_000);
    assert!(matches!(read(PROTOBUF, &body), Err(AdapterError::TooLong)));
    let values = vec!["{}"; 4_000].join(",");
    let record = format!(r#"{{"body":{{"arrayValue":{{"values":[{values}]}}}}}}"#);
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#);
    assert!(matches!(read(JSON, body.as_bytes()), Err(AdapterError::TooLong)));
}

#[test]
fn the_fields_of_a_message_are_found_among_others() {
    // A varint, 64 bits, 32 bits, two texts, and a group, which nobody sends.
    let message = b"\x08\x96\x01\x11\0\0\0\0\0\0\0\0\x1d\0\0\0\0\x12\x01a\x12\x01b";
    let texts: Vec<_> = Fields::of(message).with(2).map(Result::unwrap).collect();
    assert_eq!(texts, [b"a", b"b"]);
    assert_eq!(Fields::of(message).last_with(2).unwrap(), Some(&b"b"[..]));
    assert_eq!(Fields::of(message).last_with(3).unwrap(), None);
    for malformed in [
        &b"\x0b"[..],
        b"\x08",
        b"\x12\x02a",
        b"\x11\0",
        b"\x1d\0\0\0",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ] {
        assert!(Fields::of(malformed).last_with(2).is_err(), "{malformed:?}");
    }
}
