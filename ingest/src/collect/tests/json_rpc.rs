//! Calls without a ClickHouse: the cases of the specification, and those of events.

use super::world::{JSON, Outcome, World};

/// Returns the reply to a body; empty if there is none.
fn reply(body: &str) -> String {
    let outcome = call(body);
    assert_eq!(
        outcome.status,
        if outcome.body.is_empty() { 204 } else { 200 },
        "{body}"
    );
    outcome.body
}

fn call(body: &str) -> Outcome {
    World::catching_all().post("/rpc", JSON, body)
}

const PARSE_ERROR: &str = r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;
const INVALID_REQUEST: &str = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}"#;

#[test]
fn a_call_is_an_event_of_its_path() {
    assert_eq!(
        reply(r#"{"jsonrpc":"2.0","method":"wh.mail","params":{"n":7},"id":"a"}"#),
        r#"{"jsonrpc":"2.0","result":{"key":"in.gen.wh.mail","id":""},"id":"a"}"#
    );
    let world = World::catching_all();
    let outcome = world.post(
        "/rpc",
        "text/plain",
        r#"{"jsonrpc":"2.0","method":"wh.mail","params":{"n":7}}"#,
    );
    // A notification is recorded, and has no reply.
    assert_eq!((outcome.status, outcome.body.as_str()), (204, ""));
    assert_eq!(outcome.rows, ["wh/mail 7 0 n=7"]);
}

#[test]
fn the_cases_of_the_specification_have_its_replies() {
    for (body, expected) in [
        (
            r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
            PARSE_ERROR,
        ),
        ("", PARSE_ERROR),
        (r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, INVALID_REQUEST),
        (r#"[{"jsonrpc": "2.0", "method": "sum"},"#, PARSE_ERROR),
        ("[]", INVALID_REQUEST),
        ("7", INVALID_REQUEST),
        ("null", INVALID_REQUEST),
        // Neither of them is a call of this version.
        (r#"{"method":"wh.mail","id":1}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"1.0","method":"wh.mail","id":1}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","method":"wh.mail","id":{}}"#, INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","method":"wh.mail","id":[1]}"#, INVALID_REQUEST),
        (
            r#"{"jsonrpc":"2.0","method":"wh.mail","params":"n","id":1}"#,
            INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"wh.mail","params":null,"id":1}"#,
            INVALID_REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0","method":"wh.mail"}"#,
            INVALID_REQUEST,
        ),
    ] {
        assert_eq!(reply(body), expected, "{body}");
    }
    let invalid = [INVALID_REQUEST; 3].join(",");
    assert_eq!(reply("[1,2,3]"), format!("[{invalid}]"));
    assert_eq!(reply("[1]"), format!("[{INVALID_REQUEST}]"));
}

#[test]
fn an_id_is_repeated_as_it_came() {
    for id in ["1", "-1.5e3", "null", r#""a\u0041""#, "12345678901234567890123"] {
        let body = format!(r#"{{"id":{id},"jsonrpc":"2.0","method":"wh.mail"}}"#);
        let expected = format!(r#"{{"jsonrpc":"2.0","result":{{"key":"in.gen.wh.mail","id":""}},"id":{id}}}"#);
        assert_eq!(reply(&body), expected);
    }
}

#[test]
fn a_batch_has_the_replies_of_its_calls_alone() {
    let outcome = call(
        r#"[{"jsonrpc":"2.0","method":"wh.mail","params":{"n":1},"id":1},
            {"jsonrpc":"2.0","method":"wh.mail","params":{"n":2}},
            5,
            {"jsonrpc":"2.0","method":"wh.mail","params":{"n":"x"},"id":"bad"},
            {"jsonrpc":"2.0","method":"wh.mail","params":[3],"id":3},
            {"jsonrpc":"2.0","method":"none","id":4},
            {"jsonrpc":"2.0","method":"none"},
            {"jsonrpc":"2.0","method":"track.page","params":{"n":6},"id":6}]"#,
    );
    assert_eq!(
        outcome.rows,
        ["wh/mail 7 0 n=1", "wh/mail 7 0 n=2", "track/page 7 0 n=6"]
    );
    let replies: Vec<serde_json::Value> = serde_json::from_str(&outcome.body).unwrap();
    let ids: Vec<_> = replies.iter().map(|reply| reply["id"].to_string()).collect();
    assert_eq!(ids, ["1", "null", r#""bad""#, "3", "4", "6"]);
    let codes: Vec<_> = replies.iter().map(|reply| reply["error"]["code"].as_i64()).collect();
    assert_eq!(
        codes,
        [None, Some(-32_600), Some(-32_602), Some(-32_602), Some(-32_601), None]
    );
    assert_eq!(replies[2]["error"]["data"]["status"], 400);
    assert!(replies[5]["result"]["id"].is_string());
}

#[test]
fn a_method_is_never_a_path_of_another_form() {
    for method in [
        "",
        ".",
        "wh.",
        ".mail",
        "wh",
        "rpc.other",
        "a/b.c",
        "a.b/c",
        "a.b?c",
        "a.b#c",
        "a b.c",
    ] {
        let body = serde_json::json!({ "jsonrpc": "2.0", "method": method, "id": 1 }).to_string();
        let reply: serde_json::Value = serde_json::from_str(&reply(&body)).unwrap();
        assert_eq!(reply["error"]["code"], -32_601, "{method}");
    }
    // The dot in the name is no extension.
    let outcome = call(r#"{"jsonrpc":"2.0","method":"wh.a.json","id":1}"#);
    assert_eq!(outcome.rows.len(), 1);
    assert!(outcome.rows[0].starts_with("wh/a.json "), "{:?}", outcome.rows);
}

#[test]
fn a_pixel_and_a_redirect_are_recorded_and_have_empty_results() {
    for (method, params) in [
        ("pixel.mail", r#"{"n":1}"#),
        ("redir.mail", r#"{"n":1,"to":"https://x.example/"}"#),
    ] {
        let outcome = call(&format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}"#
        ));
        assert_eq!(outcome.body, r#"{"jsonrpc":"2.0","result":{},"id":1}"#);
        assert_eq!(outcome.rows.len(), 1);
    }
}

#[test]
fn a_batch_of_too_many_calls_is_refused_as_a_whole() {
    let notification = r#"{"jsonrpc":"2.0","method":"wh.mail"}"#;
    let batch = |count| format!("[{}]", vec![notification; count].join(","));
    let outcome = call(&batch(1_000));
    assert_eq!((outcome.status, outcome.rows.len()), (204, 1_000));
    let outcome = call(&batch(1_001));
    assert_eq!((outcome.body.as_str(), outcome.rows.len()), (INVALID_REQUEST, 0));
}

#[test]
fn a_call_cut_at_any_byte_is_no_event() {
    let text = r#"[{"jsonrpc":"2.0","method":"wh.mail","params":{"n":1},"id":1}]"#;
    for end in 0..text.len() {
        let outcome = call(&text[..end]);
        assert_eq!((outcome.body.as_str(), outcome.rows.len()), (PARSE_ERROR, 0), "{end}");
    }
}

#[test]
fn the_description_names_the_routes() {
    let reply: serde_json::Value =
        serde_json::from_str(&reply(r#"{"jsonrpc":"2.0","method":"rpc.discover","id":1}"#)).unwrap();
    assert_eq!(reply["result"]["openrpc"], "1.3.2");
    assert!(reply["result"]["methods"].is_array());
}

#[test]
fn only_a_post_of_the_ready_collector_is_a_call() {
    let outcome = World::catching_all().send(http::Method::GET, "/rpc");
    assert_eq!(outcome.status, 404);
}
