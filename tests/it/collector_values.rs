//! The collector's values: in the columns that ask for them with `from: $…`, and in no others.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use embedder::tables::{self, Pushes};
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions, refusal::ValueError, server::not_found, writer::InsertError,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    proxy::Proxy,
    service::Served,
};

const LONG: Duration = Duration::from_secs(60);

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PUSH: (&str, &str) = ("X-GitHub-Event", "push");

fn start(test: &str) -> (Database, Served) {
    let database = Database::create(test);
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        let layer = tables::layer(writer).unwrap().peer_from(|_| Some(PEER));
        layer.layer(service_fn(not_found))
    });
    (database, served)
}

fn post(served: &Served, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    http::send(served.address, "POST", target, headers, body.as_bytes())
}

/// Returns the columns and the codes of the values that an answer refuses.
fn refused(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refused = answer.json()["refused"].as_array().unwrap().clone();
    refused
        .iter()
        .map(|value| (text(&value["column"]), text(&value["code"])))
        .collect()
}

fn rows(database: &Database, columns: &str, table: &str) -> Vec<Value> {
    let rows = database.query(&format!("SELECT {columns} FROM {table} FORMAT JSONCompactEachRow"));
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// The columns of `pushes` with a value that a test knows.
const KNOWN: &str = "id, toString(address), agent, page, to_service, to_name, channel, toString(project), project_text, event, \
     toString(delivery), tries, campaign, sources, current_url, extra.key, extra.value";

/// Whether the ids and the forms of the time of arrival agree.
const TIMES_AGREE: &str = "min(bitShiftRight(event_id, 22) = received_ms AND toUnixTimestamp64Micro(received_at) = received_ms * 1000 \
     AND toUnixTimestamp(received_second) = intDiv(received_ms, 1000) AND toUnixTimestamp64Milli(received_tenth) = intDiv(received_ms, 100) * 100 \
     AND toUnixTimestamp64Milli(assumeNotNull(received_maybe)) = received_ms \
     AND received_day = toDate32(received_second, 'UTC') AND parseDateTime64BestEffort(received_text, 3) = received_maybe \
     AND abs(received_second - now()) < 60)";

#[test]
fn a_webhook_fills_the_columns_that_ask_for_values() {
    let (database, served) = start("values_webhook");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let target = format!("/wh/push/5000000000?utm_source=news&sent={now}&uid=12345678901&source=a&source=b");
    let headers = [
        JSON,
        ("x-github-EVENT", "push"),
        ("X-GitHub-Event", "the second one"),
        ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("X-Tries", "3"),
        ("User-Agent", "GitHub-Hookshot"),
        ("Referer", "https://example.org/a"),
        ("Authorization", "Bearer secret"),
    ];
    // The keys of the collector's values are keys like all others.
    let body = r#"{"id":"ev-1","service":"wh","name":"push","uid":5,"td":{"ip":"1.1.1.1"},"$current_url":"https://x","event":"no"}"#;
    let answer = post(&served, &target, &headers, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    served.drain();
    assert_eq!(
        rows(&database, KNOWN, "pushes"),
        [json!([
            "ev-1",
            "::ffff:203.0.113.9",
            "GitHub-Hookshot",
            "https://example.org/a",
            "wh",
            "push",
            "http",
            "5000000000",
            "5000000000",
            "push",
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            3,
            "news",
            ["a", "b"],
            "https://x",
            ["service", "name", "td_ip", "event", "uid"],
            ["wh", "push", "1.1.1.1", "no", "12345678901"]
        ])]
    );
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        database.query(&format!(
            "SELECT any(event_id) = {id}, any(visitor), any(browser) > 0, any(toUnixTimestamp(sent)) = {now}, {TIMES_AGREE} FROM pushes"
        )),
        "1\t12345678901\t1\t1\t1\n"
    );
    assert!(!database.query("SELECT * FROM pushes").contains("secret"));
}

#[test]
fn a_missing_value_is_the_default_of_its_column_and_a_required_one_is_refused() {
    let (database, served) = start("values_missing");
    assert_eq!(post(&served, "/wh/push", &[JSON, PUSH], "{}").status, 200);
    // An empty header is like a missing one; a field of the body is not one of the query.
    let empty = [
        JSON,
        PUSH,
        ("User-Agent", ""),
        ("X-Tries", ""),
        ("X-GitHub-Delivery", ""),
    ];
    assert_eq!(
        post(&served, "/wh/push/abc", &empty, r#"{"utm_source":"body"}"#).status,
        200
    );
    served.drain();
    let row = |extra: [&[&str]; 2], project: &str| {
        json!(["", "none", null, 1, "0", project, null, "", [], extra[0], extra[1]])
    };
    assert_eq!(
        rows(
            &database,
            "id, agent, page, delivery != toUUID('00000000-0000-0000-0000-000000000000'), toString(project), project_text, tries, \
             campaign, sources, extra.key, extra.value",
            "pushes ORDER BY event_id"
        ),
        [row([&[], &[]], "0"), row([&["utm_source"], &["body"]], "")]
    );
    assert_eq!(
        database.query("SELECT uniqExact(delivery), uniqExact(event_id) FROM pushes"),
        "2\t2\n"
    );

    for (target, headers, expected) in [
        ("/wh/push", vec![JSON], ("event", "missing")),
        ("/wh/push", vec![JSON, ("X-GitHub-Event", "")], ("event", "missing")),
        (
            "/wh/push",
            vec![JSON, PUSH, ("X-Tries", "300")],
            ("tries", "out-of-range"),
        ),
        (
            "/wh/push",
            vec![JSON, PUSH, ("X-GitHub-Delivery", "x")],
            ("delivery", "malformed"),
        ),
        ("/wh/push?sent=1000000000", vec![JSON, PUSH], ("sent", "far-off-date")),
        (
            "/wh/push?utm_source=012345678901234567890",
            vec![JSON, PUSH],
            ("campaign", "over-max-bytes"),
        ),
        (
            "/wh/push",
            vec![JSON, PUSH, ("User-Agent", "0123456789012345678901234567890123456789x")],
            ("agent", "over-max-bytes"),
        ),
    ] {
        let answer = post(&served, target, &headers, "{}");
        assert_eq!(
            refused(&answer),
            [(expected.0.to_owned(), expected.1.to_owned())],
            "{target}"
        );
    }
    assert_eq!(
        post(&served, "/wh/push", &[JSON], "{}").json()["refused"][0]["expected"],
        "LowCardinality(String)"
    );
}

#[test]
fn a_pixel_and_each_line_of_a_request_have_the_values_of_their_request() {
    let (database, served) = start("values_pixel");
    let pixel = http::send(
        served.address,
        "GET",
        "/pixel/push.gif?utm_source=mail&a=1&id=p",
        &[PUSH, ("User-Agent", "browser")],
        &[],
    );
    assert_eq!(pixel.status, 200);
    // Bytes that are not UTF-8.
    let bytes = http::send_bytes(
        served.address,
        b"GET /pixel/push.gif?id=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-GitHub-Event: caf\xe9\r\n\r\n",
    );
    assert_eq!(bytes.status, 200);
    let ndjson = [
        ("Content-Type", "application/x-ndjson"),
        ("X-GitHub-Event", "lines"),
        ("X-Tries", "7"),
    ];
    let lines = "{\"id\":\"l1\",\"uid\":\"11111111111\"}\n{\"id\":\"l2\",\"uid\":\"22222222222\"}\n";
    let answer = post(&served, "/wh/push?utm_source=bulk", &ndjson, lines);
    assert_eq!(answer.json()["recorded"], 2);
    served.drain();
    assert_eq!(
        rows(
            &database,
            "id, channel, event, agent, tries, campaign, toString(visitor > 30000000000 ? 0 : visitor), extra.key, extra.value",
            "pushes ORDER BY id"
        ),
        [
            json!(["b", "pixel", "café", "none", null, "", "0", [], []]),
            json!([
                "l1",
                "http",
                "lines",
                "none",
                7,
                "bulk",
                "11111111111",
                ["uid"],
                ["11111111111"]
            ]),
            json!([
                "l2",
                "http",
                "lines",
                "none",
                7,
                "bulk",
                "22222222222",
                ["uid"],
                ["22222222222"]
            ]),
            json!(["p", "pixel", "push", "browser", null, "mail", "0", ["a"], ["1"]]),
        ]
    );
    assert_eq!(
        database.query(&format!(
            "SELECT count(), uniqExact(event_id), {TIMES_AGREE} FROM pushes"
        )),
        "4\t4\t1\n"
    );
}

#[test]
fn a_row_of_rust_code_has_an_id_and_a_time() {
    let database = Database::named("values_insert");
    Runtime::new().unwrap().block_on(async {
        let url: ClickHouseUrl = database.url().parse().unwrap();
        let writer = Writer::start(&tables::SCHEMA, url, &WriterOptions::default());
        let missing = writer.insert(&Pushes::default(), Ack::Accepted).unwrap_err();
        let InsertError::Invalid(columns) = &missing else {
            panic!("{missing:?}");
        };
        assert_eq!(columns.len(), 1);
        assert!(matches!(
            columns[0].problem,
            ValueError::Missing("$header.X-GitHub-Event")
        ));
        let row = Pushes {
            event: "job".into(),
            campaign: "code".into(),
            ..Pushes::default()
        };
        for _ in 0..2 {
            let receipt = writer.insert(&row, Ack::Stored).unwrap();
            assert_eq!(receipt.reached_within(LONG).await, Ack::Stored);
        }
        writer.drain(LONG).await;
    });
    assert_eq!(
        database.query(&format!(
            "SELECT uniqExact(event_id), uniqExact(delivery), any(event), any(campaign), any(agent), {TIMES_AGREE} FROM pushes"
        )),
        "2\t2\tjob\tcode\tnone\t1\n"
    );
}

#[test]
fn events_fill_the_columns_of_a_table_without_base() {
    let (database, served) = start("values_own");
    let event = json!({
        "id": "ev-1",
        "uid": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "date": "2024-05-06 07:08:09.123",
        "dateTime": "2024-05-06",
        "timestamp": 1_715_000_000.5,
        "channel": "email",
        "projectId": "p-7",
        "name": ["a", "b"],
        "service": { "k": "v" },
        "td": { "ip": 7, "x": 1 },
    });
    let answer = http::post_json(served.address, "/wh/own", &event.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(http::post_json(served.address, "/wh/own", "{}").status, 200);
    served.drain();
    let columns = "id, uid, toTimeZone(date, 'UTC'), dateTime, toUnixTimestamp64Milli(timestamp) % 1000, channel, projectId, name, \
         service, td_ip, extra.key, extra.value";
    let absent = json!([
        "",
        "00000000-0000-0000-0000-000000000000",
        "1970-01-01 00:00:00.000",
        "1970-01-01",
        0,
        "",
        "",
        [],
        {},
        0,
        [],
        []
    ]);
    let given = json!([
        "ev-1", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "2024-05-06 07:08:09.123", "2024-05-06", 500, "email", "p-7", ["a", "b"],
        { "k": "v" }, 7, ["td_x"], ["1"]
    ]);
    assert_eq!(rows(&database, columns, "own_names ORDER BY id"), [absent, given]);
}

#[test]
fn a_table_with_base_can_leave_a_column_to_events() {
    let (database, served) = start("values_given_back");
    let event = r#"{"timestamp":"2024-05-06 07:08:09.123","id":7,"date":"2001-01-01","projectId":9000000000}"#;
    assert_eq!(http::post_json(served.address, "/wh/given_back", event).status, 200);
    served.drain();
    assert_eq!(
        rows(
            &database,
            "timestamp, id > 7, date = toDate(now('UTC')), toString(projectId), extra.key, extra.value",
            "given_back"
        ),
        [json!([
            "2024-05-06 07:08:09.123",
            1,
            1,
            "9000000000",
            ["id", "date"],
            ["7", "2001-01-01"]
        ])]
    );
}

#[test]
fn rows_in_doubt_are_found_by_the_column_with_the_ids() {
    let database = Database::create("values_doubt");
    let proxy = Proxy::start(database.engine);
    let served = Served::start_through(&proxy, &database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    proxy.loses_answers.store(true, Ordering::SeqCst);
    for number in 0..3 {
        // Each event has the same `id` of its own.
        let event = format!(r#"{{"id":1,"note":"{number}"}}"#);
        assert_eq!(http::post_json(served.address, "/wh/doubted", &event).status, 200);
    }
    database.wait_for_rows("doubted", 3);
    // Other writers fill the whole window.
    database.query("ALTER TABLE doubted MODIFY SETTING non_replicated_deduplication_window = 5");
    for number in 0..30 {
        database.query(&format!("INSERT INTO doubted (note, id) VALUES ('other', {number})"));
    }
    proxy.loses_answers.store(false, Ordering::SeqCst);
    served.drain();
    assert_eq!(
        database.query(
            "SELECT count(), uniqExact(note), uniqExact(event_id), uniqExact(id) FROM doubted WHERE note != 'other'"
        ),
        "3\t3\t3\t1\n"
    );
}
