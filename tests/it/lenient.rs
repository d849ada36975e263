//! The lenient rules: values that providers send and ClickHouse refuses become what they mean, and
//! a strict table refuses them as ClickHouse does.

use embedder::tables;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

/// Values, and the column that they are stored in as ClickHouse prints them.
const VALUES: [(&str, &str, &str); 19] = [
    // Mailgun and SendGrid send seconds with a fraction.
    (r#"{"at":1780000000.908181}"#, "at", "2026-05-28 20:26:40"),
    (r#"{"exact":1780000000.908181}"#, "exact", "2026-05-28 20:26:40.908181"),
    (r#"{"exact":1780000000.0}"#, "exact", "2026-05-28 20:26:40.000000"),
    (r#"{"exact":-0.5}"#, "exact", "1969-12-31 23:59:59.500000"),
    (r#"{"clock":3723.5}"#, "clock", "01:02:03.500"),
    (r#"{"count":3.0}"#, "count", "3"),
    (r#"{"count":-3.000}"#, "count", "-3"),
    (r#"{"maybe":7.0}"#, "maybe", "7"),
    (r#"{"tags":"new"}"#, "tags", "['new']"),
    (r#"{"tags":7}"#, "tags", "['7']"),
    (r#"{"tags":"[1]"}"#, "tags", "['[1]']"),
    (r#"{"numbers":[1,[2.0]]}"#, "numbers", "[[1],[2]]"),
    (r#"{"numbers":5}"#, "numbers", "[[5]]"),
    // PHP writes an empty object as an empty array.
    (r#"{"labels":[]}"#, "labels", "{}"),
    (r#"{"labels":{"a":2.0}}"#, "labels", "{'a':2}"),
    (r#"{"doc":[]}"#, "doc", "{}"),
    (r#"{"list.sku":"x","list.count":2.0}"#, "list.sku", "['x']"),
    (r#"{"list":{"sku":"y","count":[3.0]}}"#, "list.count", "[3]"),
    (r#"{"either":7}"#, "either", "7"),
];

#[test]
fn what_providers_send_becomes_what_it_means() {
    let database = Database::create("lenient_values");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    for (n, (event, ..)) in VALUES.iter().enumerate() {
        let event = event.replacen('{', &format!(r#"{{"n":{n},"#), 1);
        let answer = http::post_json(served.address, "/wh/lenient", &event);
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
    }
    database.wait_for_rows("lenient", VALUES.len() as u64);
    for (n, (event, column, expected)) in VALUES.iter().enumerate() {
        let value = database.query(&format!("SELECT `{column}` FROM lenient WHERE n = {n} FORMAT TSVRaw"));
        assert_eq!(value.trim_end(), *expected, "{event}");
    }
}

#[test]
fn an_object_is_text_in_a_column_of_text() {
    let database = Database::create("lenient_objects");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let events = [
        (
            r#"{"n":1,"note":{"a" : [1, {"b":null}]}}"#,
            r#"{"a" : [1, {"b":null}]}"#,
        ),
        (r#"{"n":2,"note":{}}"#, "{}"),
        (r#"{"n":3,"note":[1, 2]}"#, "[1, 2]"),
        // Another column reads a value inside an object of this name.
        (r#"{"n":4,"user":{"id":7,"name":"x"}}"#, ""),
    ];
    for (event, _) in events {
        assert_eq!(
            http::post_json(served.address, "/wh/lenient", event).status,
            200,
            "{event}"
        );
    }
    database.wait_for_rows("lenient", events.len() as u64);
    for (n, (event, note)) in events.iter().enumerate() {
        let row = database.query(&format!("SELECT note FROM lenient WHERE n = {} FORMAT TSVRaw", n + 1));
        assert_eq!(row.trim_end_matches('\n'), *note, "{event}");
    }
    assert_eq!(database.query("SELECT user, user_id FROM lenient WHERE n = 4"), "\t7\n");
}

#[test]
fn a_strict_table_refuses_it_as_clickhouse_does() {
    let database = Database::create("lenient_strict");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    for (event, ..) in &VALUES {
        // A value of a Variant is not subject to the rules, and text takes any value.
        let is_valid = event.contains("either");
        let answer = http::post_json(served.address, "/wh/strict", event);
        assert_eq!(
            answer.status,
            if is_valid { 200 } else { 400 },
            "{event}: {}",
            answer.text()
        );
    }
}

#[test]
fn values_that_mean_nothing_are_refused_by_both() {
    let database = Database::create("lenient_refused");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    for event in [
        r#"{"count":3.5}"#,
        r#"{"count":3e0}"#,
        r#"{"count":40000.0}"#,
        r#"{"at":-0.5}"#,
        r#"{"at":4294967296.5}"#,
        r#"{"at":1.5e9}"#,
        r#"{"labels":[1]}"#,
        r#"{"doc":[[]]}"#,
        r#"{"doc":[1]}"#,
        r#"{"numbers":"x"}"#,
        r#"{"either":"x"}"#,
    ] {
        for path in ["/wh/lenient", "/wh/strict"] {
            let answer = http::post_json(served.address, path, event);
            assert_eq!(answer.status, 400, "{path} {event}: {}", answer.text());
        }
    }
}
