//! Bodies that are too large, broken, deeply nested, or not UTF-8.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Victim, bad_request, dead_letter_of_body};
use crate::support::{collector::Collector, engine::Database, http};

/// The maximum length of a body.
const MAX_BODY_BYTES: usize = 102_400;

const HEAD: &str = "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// How much longer ten thousand keys may take than ten times a thousand keys. A loop over all keys for
/// each key takes up to ten times as long.
const MAX_GROWTH: u32 = 4;

/// Returns an event of exactly `bytes` bytes.
fn json_of(bytes: usize) -> String {
    let (start, end) = (r#"{"event":"large","detailed":""#, r#""}"#);
    format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
}

/// Returns a request with a chunked body.
fn chunked(body: &str) -> Vec<u8> {
    let mut request = format!("{HEAD}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.as_bytes().chunks(10_000) {
        request.push_str(&format!(
            "{:x}\r\n{}\r\n",
            chunk.len(),
            std::str::from_utf8(chunk).unwrap()
        ));
    }
    request.push_str("0\r\n\r\n");
    request.into_bytes()
}

#[test]
fn a_body_of_the_maximum_length_is_accepted_plain_and_chunked() {
    let victim = Victim::start();
    let body = json_of(MAX_BODY_BYTES);
    assert_eq!(victim.post("/wh/mail", &body).status, 200);
    assert_eq!(victim.send_bytes(&chunked(&body)).status, 200);
    let after = victim.stop();
    assert_eq!(after.dead_letters.len(), 0);
    assert_eq!(
        after.rows("mail_statistics", "event, length(detailed)"),
        format!("large\t{0}\nlarge\t{0}\n", MAX_BODY_BYTES - 31)
    );
}

#[test]
fn a_body_with_too_large_a_content_length_is_refused() {
    let victim = Victim::start();
    let answer = victim.post("/wh/mail", &json_of(MAX_BODY_BYTES + 1));
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json(), json!({"message": "Payload Too Large"}));
    victim.stop().assert_nothing();
}

#[test]
fn a_chunked_body_that_is_too_large_is_refused() {
    let victim = Victim::start();
    let answer = victim.send_bytes(&chunked(&json_of(MAX_BODY_BYTES + 1)));
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json(), json!({"message": "Payload Too Large"}));
    victim.stop().assert_nothing();
}

#[test]
fn expect_100_continue_for_too_large_a_body_is_refused_at_once() {
    let victim = Victim::start();
    let answer = victim.send_bytes(format!("{HEAD}Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n").as_bytes());
    assert_eq!(answer.status, 413);
    victim.stop().assert_nothing();
}

#[test]
fn the_rest_of_a_refused_body_is_not_a_request() {
    let victim = Victim::start();
    let hidden = format!("{HEAD}Content-Length: 2\r\n\r\n{{}}").repeat(2_000);
    for length in [hidden.len().to_string(), "102401".to_owned()] {
        let request = format!("{HEAD}Content-Length: {length}\r\n\r\n{hidden}");
        // `send_bytes` reads the answer until the server closes the connection.
        let answer = victim.send_bytes(request.as_bytes());
        assert_eq!(answer.status, 413);
        assert_eq!(answer.text(), r#"{"message":"Payload Too Large"}"#);
    }
    victim.stop().assert_nothing();
}

#[test]
fn broken_json_is_refused_with_its_position_and_kept() {
    let victim = Victim::start();
    let cases = [
        (
            "{\"event\": \"open\",\n \"email\": bob@example.com}",
            "expected a value (line 2, column 11)",
        ),
        (
            "{\"event\": \"тест\" \"a\"}",
            "expected `,` or the end of the array or object (line 1, column 18)",
        ),
        (
            "{\"event\": \"open\"",
            "the text ends inside a value (line 1, column 17)",
        ),
        ("{\"event\": \"op", "the text ends inside a value (line 1, column 14)"),
        ("{\"a\": 01}", "this is not a valid JSON number (line 1, column 8)"),
        ("{\"a\": \"\\x\"}", "this is not a valid JSON escape (line 1, column 9)"),
        (
            "{\"a\": \"\t\"}",
            "a control character in a string must be escaped (line 1, column 8)",
        ),
        (
            "{} {}",
            "there is more text after the end of the document (line 1, column 4)",
        ),
    ];
    let mut reasons = Vec::new();
    for (body, reason) in cases {
        let reason = format!("the body is not JSON: {reason}");
        let answer = victim.post("/wh/mail", body);
        assert_eq!((answer.status, answer.json()), (400, bad_request(&reason)), "{body}");
        reasons.push(reason);
    }
    let after = victim.stop();
    let dead_letters = cases
        .iter()
        .zip(&reasons)
        .map(|((body, _), reason)| dead_letter_of_body("json", reason, body));
    let mut dead_letters: Vec<_> = dead_letters.collect();
    let mut kept = after.dead_letters.clone();
    // Dead letters of the same millisecond have no defined order.
    dead_letters.sort_by_key(|dead_letter| dead_letter[6]);
    kept.sort_by_key(|dead_letter| dead_letter[6].clone());
    assert_eq!(kept, dead_letters);
    after.assert_no_rows();
}

#[test]
fn ten_thousand_levels_of_json_are_refused() {
    const LEVELS: usize = 10_000;
    let victim = Victim::start();
    let bodies = [
        format!("{}1{}", r#"{"a":"#.repeat(LEVELS), "}".repeat(LEVELS)),
        format!(r#"{{"event":{}{}}}"#, "[".repeat(LEVELS), "]".repeat(LEVELS)),
    ];
    for (body, column) in bodies.iter().zip([641, 137]) {
        let answer = victim.post("/wh/mail", body);
        let reason = format!("the body is not JSON: arrays and objects are nested too deep (line 1, column {column})");
        assert_eq!((answer.status, answer.json()), (400, bad_request(&reason)));
    }
    let arrays = "[".repeat(LEVELS);
    let answer = victim.post("/wh/mail", &arrays);
    let error =
        json!({"index": 0, "reason": "the body is not JSON: the text ends inside a value (line 1, column 10001)"});
    assert_eq!((answer.status, &answer.json()["errors"]), (400, &json!([error])));
    let closed = format!("[{}{}]", "[".repeat(LEVELS), "]".repeat(LEVELS));
    assert_eq!(victim.post("/wh/mail", &closed).status, 400);
    let after = victim.stop();
    assert_eq!(after.dead_letters.len(), 4);
    for dead_letter in &after.dead_letters {
        assert_eq!(dead_letter[4], "json");
        let payload = &dead_letter[6];
        assert!(bodies.contains(payload) || *payload == arrays || closed == format!("[{payload}]"));
    }
    after.assert_no_rows();
}

#[test]
fn ten_thousand_levels_of_a_query_or_a_form_are_one_long_key() {
    let victim = Victim::start();
    let levels = "[a]".repeat(10_000);
    assert_eq!(victim.get(&format!("/wh/mail?event=q&a{levels}=1")).status, 200);
    assert_eq!(victim.get(&format!("/pixel/mail?event=p&a{levels}=1")).status, 200);
    let form = format!("event=f&a{levels}=1");
    assert_eq!(victim.send("POST", "/wh/mail", &[], form.as_bytes()).status, 200);
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    // The collector follows five levels of a query and two of a form; the rest stays in the key
    // unchanged.
    let name = |followed: usize| 1 + 2 * followed + 1 + 3 * (10_000 - followed);
    assert_eq!(
        after.rows(
            "mail_statistics",
            "event, arrayMap(key -> length(key), extra.key), substring(extra.key[1], 1, 14), extra.value"
        ),
        format!(
            "q\t[{0}]\ta_a_a_a_a_a_[a\t['1']\np\t[{0}]\ta_a_a_a_a_a_[a\t['1']\nf\t[{1}]\ta_a_a_[a][a][a\t['1']\n",
            name(5),
            name(2)
        )
    );
}

#[test]
fn half_of_a_surrogate_pair_is_stored_as_the_replacement_character() {
    let victim = Victim::start();
    let body = r#"{"event":"\ud83d","email":"\ude00x","\ud83dkey":"\ud83d\ud83d\ude00"}"#;
    assert_eq!(victim.post("/wh/mail", body).status, 200);
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows("mail_statistics", "event, email, extra.key, extra.value"),
        "\u{fffd}\t\u{fffd}x\t['\u{fffd}key']\t['\u{fffd}😀']\n"
    );
}

#[test]
fn invalid_utf8_is_stored_as_the_replacement_character() {
    let victim = Victim::start();
    let json = [("Content-Type", "application/json")];
    assert_eq!(
        victim
            .send(
                "POST",
                "/wh/mail",
                &json,
                b"{\"event\":\"\xff\",\"\xc3(\":\"\xed\xa0\x80\"}"
            )
            .status,
        200
    );
    assert_eq!(
        victim.send("POST", "/wh/mail", &[], b"event=\xff&email=\xd0").status,
        200
    );
    // Percent sequences that are not UTF-8 stay unchanged.
    assert_eq!(victim.get("/wh/mail?event=%ff&email=%D0%BF").status, 200);
    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows("mail_statistics", "event, email, extra.key, extra.value"),
        "\u{fffd}\t\t['\u{fffd}(']\t['\u{fffd}\u{fffd}\u{fffd}']\n\u{fffd}\t\u{fffd}\t[]\t[]\n%ff\tп\t[]\t[]\n"
    );
}

/// Returns bodies of `count` keys: JSON, and forms with different names, one name, and indexes.
fn bodies_of(count: usize) -> (String, [String; 3]) {
    let keys = |pair: fn(usize) -> String, separator: &str| (0..count).map(pair).collect::<Vec<_>>().join(separator);
    let json = format!("{{{}}}", keys(|n| format!("\"k{n}\":1"), ","));
    let forms = [
        keys(|n| format!("k{n}=1"), "&"),
        keys(|_| "a=1".to_owned(), "&"),
        keys(|n| format!("a[{n}]=1"), "&"),
    ];
    assert!(json.len() <= MAX_BODY_BYTES);
    (json, forms)
}

/// Sends bodies, and returns the time until all of them are answered.
fn time_of(victim: &Victim, (json, forms): &(String, [String; 3])) -> Duration {
    let start = Instant::now();
    assert_eq!(victim.post("/wh/mail", json).status, 200);
    for form in forms {
        assert_eq!(victim.send("POST", "/wh/mail", &[], form.as_bytes()).status, 200);
    }
    start.elapsed()
}

#[test]
fn ten_thousand_keys_take_ten_times_as_long_as_a_thousand() {
    let few = bodies_of(1_000);
    let other = Victim::start();
    let of_few: Duration = (0..10).map(|_| time_of(&other, &few)).sum();
    other.stop();

    let victim = Victim::start();
    let of_many = time_of(&victim, &bodies_of(10_000));
    assert!(of_many < MAX_GROWTH * of_few, "{of_many:?} {of_few:?}");

    let after = victim.stop();
    assert!(after.dead_letters.is_empty(), "{:?}", after.dead_letters);
    assert_eq!(
        after.rows(
            "mail_statistics",
            "length(arrayDistinct(extra.key)), extra.key[-1], length(extra.value[-1])"
        ),
        "10000\tk9999\t1\n10000\tk9999\t1\n1\ta\t19999\n10000\ta_9999\t1\n"
    );
}

#[test]
fn damaged_compressed_bodies_are_refused_and_kept_byte_for_byte() {
    let victim = Victim::start();
    let gzip = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let answer = victim.send("POST", "/wh/mail?a=1", &gzip, b"\x1f\x8b\x08\x00\xff");
    let reason = "the body is not what its Content-Encoding states, or its end is missing";
    assert_eq!((answer.status, answer.json()), (400, bad_request(reason)));
    let after = victim.stop();
    assert_eq!(after.dead_letters.len(), 1);
    assert_eq!(after.dead_letters[0][4..6], ["body", reason]);
    assert_eq!(
        after.database.query("SELECT hex(payload) FROM rejected"),
        "3F613D310A1F8B0800FF\n"
    );
    after.assert_no_rows();
}

#[test]
fn a_multipart_form_is_an_event_and_a_cut_one_is_refused_and_kept() {
    let victim = Victim::start();
    let multipart = [("Content-Type", "multipart/form-data; boundary=b")];
    let body = "--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\nopen\r\n--b--\r\n";
    assert_eq!(victim.send("POST", "/wh/mail", &multipart, body.as_bytes()).status, 200);
    let cut = &body[..body.len() - 4];
    let answer = victim.send("POST", "/wh/mail", &multipart, cut.as_bytes());
    let reason = "the multipart form is malformed, or its end is missing";
    assert_eq!((answer.status, answer.json()), (400, bad_request(reason)));
    let after = victim.stop();
    assert_eq!(after.dead_letters, [dead_letter_of_body("body", reason, cut)]);
    assert_eq!(after.rows("mail_statistics", "event, extra.key"), "open\t[]\n");
}

#[test]
fn a_long_key_with_many_leaves_does_not_become_a_row_of_a_hundred_megabytes() {
    let database = Database::named("long_paths");
    let collector = Collector::start(&database);
    let leaves: Vec<String> = (0..4_000).map(|number| format!("\"{number}\":1")).collect();
    let body = format!("{{\"{}\":{{{}}}}}", "k".repeat(50_000), leaves.join(","));
    let answer = http::post_json(collector.address, "/wh/mail", &body);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("too long in total"), "{}", answer.text());
    assert_eq!(
        http::post_json(collector.address, "/wh/mail", r#"{"a":{"b":1}}"#).status,
        200
    );
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.query("SELECT extra.key FROM mail_statistics"), "['a_b']\n");
    assert_eq!(
        database.query("SELECT code, payload_bytes FROM rejected"),
        format!("json\t{}\n", body.len())
    );
}

#[test]
fn the_keys_of_a_long_query_and_a_long_body_add_up() {
    let database = Database::named("long_both");
    let collector = Collector::start(&database);
    let query: Vec<String> = (0..9_000).map(|number| format!("q{number}=")).collect();
    let fields: Vec<String> = (0..9_000).map(|number| format!("\"b{number}\":1")).collect();
    let target = format!("/wh/mail?{}", query.join("&"));
    let answer = http::post_json(collector.address, &target, &format!("{{{}}}", fields.join(",")));
    assert_eq!(answer.status, 200);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT length(extra.key) FROM mail_statistics"),
        "18000\n"
    );
}
