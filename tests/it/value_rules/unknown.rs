//! Keys of events that no column reads.

use super::World;
use crate::support::http;

/// Events, and the keys of each that no column reads.
const EVENTS: [(&str, &[&str]); 13] = [
    (r#"{"n":1,"address":{"city":"Bonn"}}"#, &[]),
    (r#"{"n":1,"coupon":"x"}"#, &["coupon"]),
    (
        r#"{"n":1,"a":{"b":1,"c":{"d":null}},"e":[1,{"f":2}]}"#,
        &["a_b", "a_c_d", "e"],
    ),
    (r#"{"n":1,"address":{"city":"Bonn","zip":5}}"#, &["address_zip"]),
    (r#"{"n":1,"o":{},"p":{"q":{}}}"#, &[]),
    // The collector reads these, and ClickHouse computes `total`.
    (r#"{"n":1,"service":"x","name":"y","projectId":3,"uid":"7"}"#, &[]),
    (r#"{"n":1,"total":3}"#, &["total"]),
    // Neither a column nor the collector reads these.
    (
        r#"{"n":1,"id":"x","timestamp":3,"td":{"ip":"1.1.1.1"}}"#,
        &["id", "timestamp", "td_ip"],
    ),
    (r#"{"n":1,"to":"x"}"#, &["to"]),
    (r#"{"n":1,"N":1,"ADDRESS":{"city":1}}"#, &["N", "ADDRESS_city"]),
    // Keys of a list's objects.
    (
        r#"{"n":1,"items":[{"sku":"a","x":1},{"y":{"z":1}},null]}"#,
        &["items_x", "items_y_z"],
    ),
    (r#"{"n":1,"items":[1,2]}"#, &["items"]),
    (r#"{"n":1,"items":null}"#, &[]),
];

#[test]
fn unknown_keys_are_counted_by_table() {
    let world = World::start("unknown_counted");
    let mut expected = 0;
    for (event, keys) in EVENTS {
        let answer = world.post("/wh/counted", event);
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
        expected += keys.len() as u64;
        assert_eq!(world.counted("unknown_counted"), expected, "{event}");
    }
    // Fields of queries and forms.
    http::get(world.served.address, "/pixel/counted?n=1&q=2&service=x&uid=7");
    assert_eq!(world.counted("unknown_counted"), expected + 1);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::send(world.served.address, "POST", "/wh/counted", &form, b"n=1&a[b]=2&name=y");
    assert_eq!(world.counted("unknown_counted"), expected + 2);
    // Each line of a request, but not those that do not become rows.
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let lines = "{\"n\":1,\"x\":1}\n{\"n\":\"no\",\"x\":1}\n{\"y\":{\"a\":1,\"b\":2}}";
    http::send(world.served.address, "POST", "/wh/counted", &ndjson, lines.as_bytes());
    assert_eq!(world.counted("unknown_counted"), expected + 5);
    assert_eq!(world.post("/wh/counted", r#"{"n":"no","x":1}"#).status, 400);
    assert_eq!(world.counted("unknown_counted"), expected + 5);
    for table in ["unknown_rejected", "unknown_ignored", "unknown_kept"] {
        assert_eq!(world.counted(table), 0);
    }
}

#[test]
fn an_event_with_unknown_keys_is_rejected_by_their_names() {
    let world = World::start("unknown_rejected");
    let mut accepted = 0;
    let mut rejected = 0;
    for (event, keys) in EVENTS {
        let answer = world.post("/wh/rejecting", event);
        if keys.is_empty() {
            assert_eq!(answer.status, 200, "{event}: {}", answer.text());
            accepted += 1;
        } else {
            let reason = format!("table `unknown_rejected` has no column for `{}`", keys.join("`, `"));
            assert_eq!(answer.status, 400, "{event}");
            assert!(answer.text().contains(&reason), "{event}: {}", answer.text());
            rejected += 1;
        }
    }
    // An invalid value is reported first.
    let answer = world.post("/wh/rejecting", r#"{"n":"no","x":1}"#);
    assert!(answer.text().contains("malformed"), "{}", answer.text());
    // A visitor gets an image all the same.
    let pixel = http::get(world.served.address, "/pixel/rejecting?n=1&q=2");
    assert_eq!(pixel.status, 200);
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let lines = "{\"n\":1,\"x\":1}\n{\"n\":2}";
    let answer = http::send(world.served.address, "POST", "/wh/rejecting", &ndjson, lines.as_bytes());
    let report = answer.text();
    assert!(report.contains(r#""recorded":1,"refused":1"#), "{report}");
    assert!(report.contains("has no column for `x`"), "{report}");

    world.database.wait_for_rows("unknown_rejected", accepted + 1);
    let codes = world.served.writer.status().rejections.events;
    assert!(codes.contains(&("unknown-key", rejected + 2)), "{codes:?}");
    world.served.drain();
    let letters = "SELECT count() FROM rejected WHERE code = 'unknown-key' AND table = 'unknown_rejected'";
    assert_eq!(world.database.query(letters), format!("{}\n", rejected + 2));
}

#[test]
fn unknown_keys_are_ignored_or_kept() {
    let world = World::start("unknown_kept");
    for (event, _) in EVENTS {
        assert_eq!(world.post("/wh/ignoring", event).status, 200, "{event}");
        assert_eq!(world.post("/wh/keeping", event).status, 200, "{event}");
    }
    let events = EVENTS.len() as u64;
    world.database.wait_for_rows("unknown_ignored", events);
    world.database.wait_for_rows("unknown_kept", events);
    for table in ["unknown_ignored", "unknown_kept"] {
        assert_eq!(world.counted(table), 0);
    }
    let kept = "SELECT count() FROM unknown_kept WHERE has(extra.key, 'coupon') OR has(extra.key, 'address_zip')";
    assert_eq!(world.database.query(kept), "2\n");
}
