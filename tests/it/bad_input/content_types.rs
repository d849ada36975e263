//! Well-formed bodies that are not events: JSON that is not an object, and unsupported types. None
//! of them succeeds, and each becomes a dead letter.

use super::{Victim, dead_letter_of_body};

const UNSUPPORTED_TYPE: &str = "bodies of this Content-Type are not accepted; send application/json, application/x-ndjson, \
                         application/json-seq, text/csv, text/tab-separated-values, application/x-www-form-urlencoded, \
                         multipart/form-data, or text/plain with JSON or a form in it";
const NOT_A_FORM: &str = "the body is neither a JSON object nor a form of key=value pairs";

const ARRAY: &str = r#"[{"event":"delivered","email":"a@example.com"},{"event":"open","email":"b@example.com"}]"#;
const CSV: &str = "event,email\nopen,bob@example.com\n";

/// A body of a type that is refused.
struct Sent {
    content_type: &'static str,
    body: &'static str,
    status: u16,
    code: &'static str,
    reason: &'static str,
}

const fn sent(content_type: &'static str, body: &'static str, status: u16, reason: &'static str) -> Sent {
    Sent {
        content_type,
        body,
        status,
        code: "body",
        reason,
    }
}

const fn not_an_object(content_type: &'static str, body: &'static str, reason: &'static str) -> Sent {
    Sent {
        content_type,
        body,
        status: 400,
        code: "not-an-object",
        reason,
    }
}

const REFUSED: [Sent; 14] = [
    not_an_object("application/json", "5", "expected a JSON object, got a number"),
    not_an_object(
        "application/json",
        " \"event\" ",
        "expected a JSON object, got a string",
    ),
    not_an_object("application/json", "null", "expected a JSON object, got null"),
    not_an_object(
        "application/cloudevents-batch+json",
        "true",
        "expected a JSON object, got a boolean",
    ),
    sent("application/xml", "<event name=\"open\"/>", 415, UNSUPPORTED_TYPE),
    sent("text/xml; charset=utf-8", "<event>open</event>", 415, UNSUPPORTED_TYPE),
    sent("application/octet-stream", "event=open", 415, UNSUPPORTED_TYPE),
    sent("application/x-protobuf", "\u{a}\u{4}open", 415, UNSUPPORTED_TYPE),
    sent("application/msgpack", "\u{1}\u{5}event", 415, UNSUPPORTED_TYPE),
    sent("text/html", "<p>open</p>", 415, UNSUPPORTED_TYPE),
    sent("text/plain", CSV, 400, NOT_A_FORM),
    sent("text/plain", "the mail was opened", 400, NOT_A_FORM),
    sent(
        "application/x-www-form-urlencoded",
        "<event name=\"open\"/>",
        400,
        NOT_A_FORM,
    ),
    sent("application/x-www-form-urlencoded", "5", 400, NOT_A_FORM),
];

#[test]
fn a_body_that_is_not_an_event_is_refused_and_kept() {
    let victim = Victim::start();
    for Sent {
        content_type,
        body,
        status,
        reason,
        ..
    } in &REFUSED
    {
        let answer = victim.send("POST", "/wh/mail", &[("Content-Type", *content_type)], body.as_bytes());
        assert_eq!(
            (answer.status, answer.json()["reason"].as_str()),
            (*status, Some(*reason)),
            "{content_type} {body}"
        );
        let accepted = "application/json, application/x-ndjson, application/json-seq, text/csv, \
                        text/tab-separated-values, application/x-www-form-urlencoded, multipart/form-data, text/plain";
        assert_eq!(answer.header("accept"), (*status == 415).then_some(accepted));
    }
    let after = victim.stop();
    let mut dead_letters = after.dead_letters.clone();
    let mut expected: Vec<_> = REFUSED
        .iter()
        .map(|Sent { code, reason, body, .. }| dead_letter_of_body(code, reason, body))
        .collect();
    // Dead letters of the same millisecond have no defined order.
    dead_letters.sort();
    expected.sort_unstable();
    assert_eq!(dead_letters, expected);
    after.assert_no_rows();
}

#[test]
fn an_array_is_many_events() {
    let victim = Victim::start();
    for (content_type, body, recorded) in [
        ("application/json", ARRAY, 2),
        ("text/plain;charset=UTF-8", ARRAY, 2),
        ("application/x-www-form-urlencoded", ARRAY, 2),
        ("application/json", "[]", 0),
    ] {
        let answer = victim.send("POST", "/wh/mail", &[("Content-Type", content_type)], body.as_bytes());
        assert_eq!(
            (answer.status, answer.json()),
            (
                200,
                serde_json::json!({"key": "in.gen.wh.mail", "recorded": recorded, "refused": 0})
            ),
            "{content_type} {body}"
        );
    }
    let bad = r#"[{"event":"sent","email":"c@example.com"},7,{"event":"lost"#;
    let answer = victim.post("/wh/mail", bad);
    let errors = serde_json::json!([
        {"index": 1, "reason": "expected a JSON object, got a number"},
        {"index": 2, "reason": "the body is not JSON: the text ends inside a value (line 1, column 59)"},
    ]);
    assert_eq!((answer.status, &answer.json()["errors"]), (200, &errors));
    let after = victim.stop();
    assert_eq!(
        after.rows("mail_statistics", "event, email, extra.key"),
        "delivered\ta@example.com\t[]\nopen\tb@example.com\t[]\n".repeat(3) + "sent\tc@example.com\t[]\n"
    );
    let mut dead_letters: Vec<_> = after
        .dead_letters
        .iter()
        .map(|letter| [&letter[4], &letter[6]])
        .collect();
    dead_letters.sort();
    assert_eq!(dead_letters, [["json", r#",{"event":"lost"#], ["not-an-object", "7"]]);
}

#[test]
fn binary_bodies_without_a_type_are_kept_byte_for_byte() {
    let victim = Victim::start();
    // {"event": "open"} in MessagePack, and a Protocol Buffers message.
    for bytes in [&b"\x81\xa5event\xa4open"[..], b"\x0a\x04open\x12\x03a=b"] {
        let answer = victim.send("POST", "/wh/mail", &[], bytes);
        assert_eq!(
            (answer.status, answer.json()["reason"].as_str()),
            (400, Some(NOT_A_FORM))
        );
    }
    let after = victim.stop();
    assert_eq!(
        after
            .database
            .query("SELECT hex(payload) FROM rejected ORDER BY payload"),
        "0A046F70656E1203613D62\n81A56576656E74A46F70656E\n"
    );
    after.assert_no_rows();
}

#[test]
fn pixels_and_redirects_are_answered_despite_an_invalid_body() {
    let victim = Victim::start();
    let to = "to=https%3A%2F%2Fexample.org%2F";
    for (content_type, body) in [
        ("application/json", "5"),
        ("application/json", "{\"a\""),
        ("text/xml", CSV),
    ] {
        let headers = [("Content-Type", content_type)];
        let pixel = victim.send("POST", "/pixel/mail", &headers, body.as_bytes());
        assert_eq!(
            (pixel.status, pixel.header("content-type")),
            (200, Some("image/gif")),
            "{body}"
        );
        let redirect = victim.send("POST", &format!("/redir/mail?{to}"), &headers, body.as_bytes());
        assert_eq!(
            (redirect.status, redirect.header("location")),
            (302, Some("https://example.org/")),
            "{body}"
        );
    }
    // The redirect has no target either, but the reason is the body's.
    let lost = victim.send("POST", "/redir/mail", &[("Content-Type", "text/xml")], CSV.as_bytes());
    assert_eq!(
        (lost.status, lost.json()["reason"].as_str()),
        (415, Some(UNSUPPORTED_TYPE))
    );

    let metrics = victim.get("/metrics");
    for line in [
        "rowmill_events_refused_total{code=\"not-an-object\"} 2",
        "rowmill_events_refused_total{code=\"json\"} 2",
        "rowmill_events_refused_total{code=\"body\"} 3",
    ] {
        assert!(
            metrics.text().lines().any(|counted| counted == line),
            "{line}: {}",
            metrics.text()
        );
    }
    let after = victim.stop();
    let mut kept: Vec<_> = after
        .dead_letters
        .iter()
        .map(|dead_letter| [&dead_letter[0], &dead_letter[4], &dead_letter[6]].map(String::as_str))
        .collect();
    kept.sort_unstable();
    let queried = |body: &str| format!("?{to}\n{body}");
    let (number, broken, csv) = (queried("5"), queried("{\"a\""), queried(CSV));
    assert_eq!(
        kept,
        [
            ["pixel", "body", CSV],
            ["pixel", "json", "{\"a\""],
            ["pixel", "not-an-object", "5"],
            ["redir", "body", &csv],
            ["redir", "body", CSV],
            ["redir", "json", &broken],
            ["redir", "not-an-object", &number],
        ]
    );
    after.assert_no_rows();
}

#[test]
fn json_and_forms_are_recognized_by_their_content() {
    let victim = Victim::start();
    let object = r#"{"event":"taken"}"#;
    for (target, content_type, body) in [
        ("/wh/mail", "application/json", object),
        ("/wh/mail", "application/vnd.example+json; charset=utf-8", object),
        ("/wh/mail.json", "text/csv", object),
        ("/wh/mail", "text/plain;charset=UTF-8", object),
        ("/wh/mail", "application/octet-stream", object),
        ("/wh/mail", "application/x-www-form-urlencoded", object),
        ("/wh/mail", "", object),
        ("/wh/mail", "application/x-www-form-urlencoded", "event=taken"),
        ("/wh/mail", "text/plain", "event=taken"),
        ("/wh/mail", "", "event=taken\n"),
        ("/wh/mail?event=taken", "application/octet-stream", ""),
        ("/wh/mail?event=taken", "", "\r\n"),
    ] {
        let answer = victim.send("POST", target, &[("Content-Type", content_type)], body.as_bytes());
        assert_eq!(answer.status, 200, "{target} {content_type} {body}");
    }
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after
            .database
            .query("SELECT event, extra.key, count() FROM mail_statistics WHERE event != 'good' GROUP BY 1, 2"),
        "taken\t[]\t12\n"
    );
}
