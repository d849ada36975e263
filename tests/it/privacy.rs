//! Privacy: what rows and dead letters have of a visitor, by the options of tables and routes.

mod ways_in;

use std::net::{IpAddr, Ipv4Addr};

use embedder::tables;
use rowmill_ingest::{EventOptions, server::not_found};
use serde_json::{Value, json};
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

const FIREFOX: (&str, &str) = (
    "User-Agent",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
);
const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const DNT: (&str, &str) = ("DNT", "1");
const GPC: (&str, &str) = ("Sec-GPC", "1");
const COOKIE: (&str, &str) = ("Cookie", "uid=5555555555");

/// The events of a person, whose data no row and no dead letter should have where it is removed.
const UID: &str = "7777777777";
const EMAIL: &str = "anna@private.example";
const PHONE: &str = "+4915112345678";

fn start(test: &str) -> (Database, Served) {
    start_with(test, &EventOptions::default())
}

fn start_with(test: &str, options: &EventOptions) -> (Database, Served) {
    let database = Database::create(test);
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        let layer = tables::layer(writer).unwrap().peer_from(|_| Some(PEER));
        layer.with_options(options).layer(service_fn(not_found))
    });
    (database, served)
}

fn post(served: &Served, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    http::send(served.address, "POST", target, headers, body.as_bytes())
}

fn rows(database: &Database, columns: &str, table: &str) -> Vec<Value> {
    let rows = database.query(&format!(
        "SELECT {columns} FROM {table} ORDER BY id FORMAT JSONCompactEachRow"
    ));
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// Sends an event of Anna and returns the columns of its row.
fn row(database: &Database, served: &Served, target: &str, headers: &[(&str, &str)], columns: &str) -> Value {
    let before = database.count("seen");
    let body = json!({"uid": UID, "email": EMAIL, "phone": PHONE, "age": 33, "clicks": 2, "page": "/"}).to_string();
    let answer = post(served, target, &[&[JSON, FIREFOX][..], headers].concat(), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    database.wait_for_rows("seen", before + 1);
    rows(database, columns, "seen").pop().unwrap()
}

#[test]
fn the_address_and_the_browser_are_kept_truncated_hashed_or_dropped() {
    let (database, served) = start("privacy_rules");
    let columns = "address, agent, agent_header, browser = 0";
    let of = |target: &str| row(&database, &served, target, &[], columns);
    let (family, agent) = ("Firefox on Linux", FIREFOX.1);
    assert_eq!(of("/wh/visit"), json!(["203.0.113.0", family, family, 0]));
    // The options of a route take precedence over those of its table.
    assert_eq!(of("/wh/kept"), json!(["203.0.113.77", agent, agent, 0]));
    assert_eq!(of("/wh/nobody"), json!(["", "", "", 1]));
    let hashed = of("/wh/hashed");
    let is_hash = |value: &Value| value.as_str().is_some_and(|text| text.len() == 32);
    assert!(
        is_hash(&hashed[0]) && is_hash(&hashed[1]) && hashed[1] == hashed[2],
        "{hashed}"
    );
    assert_eq!(of("/wh/hashed"), hashed);
    let daily = of("/wh/daily");
    assert!(is_hash(&daily[0]) && daily[0] != hashed[0], "{daily}");
    // The fingerprint is that of the values that are kept: it leads back to no other.
    let fingerprint = |target: &str| row(&database, &served, target, &[], "browser")[0].clone();
    assert_eq!(fingerprint("/wh/visit"), fingerprint("/wh/visit"));
    assert_ne!(fingerprint("/wh/visit"), fingerprint("/wh/kept"));
}

#[test]
fn an_event_of_a_browser_that_objects_has_nothing_of_its_visitor() {
    let (database, served) = start("privacy_signals");
    let columns =
        "visitor, address, agent, agent_header, browser, uid, email, phone, age, clicks, extra.key, extra.value";
    let anonymous = json!([0, "", "", "", 0, "", "", "", 0, 2, ["page"], ["/"]]);
    for signal in [DNT, GPC] {
        assert_eq!(
            row(&database, &served, "/wh/visit", &[signal, COOKIE], columns),
            anonymous
        );
    }
    let whole = row(
        &database,
        &served,
        "/wh/visit",
        &[("DNT", "0")],
        "visitor, uid, email, phone, age",
    );
    assert_eq!(whole, json!([7_777_777_777_u64, UID, EMAIL, PHONE, 33]));
    // The route of this path respects neither.
    let whole = row(&database, &served, "/wh/kept", &[DNT, GPC], "visitor, email");
    assert_eq!(whole, json!([7_777_777_777_u64, EMAIL]));
}

#[test]
fn a_response_to_a_browser_that_objects_sets_no_cookie() {
    let (_database, served) = start("privacy_cookie");
    let cookie = |target: &str, headers: &[(&str, &str)]| {
        let answer = http::send(served.address, "GET", target, headers, b"");
        assert_eq!(answer.status, 200, "{target}");
        answer.header("set-cookie").is_some()
    };
    assert!(cookie("/pixel/all?age=1", &[]));
    for signal in [DNT, GPC] {
        assert!(!cookie("/pixel/all?age=1", &[signal]));
        assert!(!cookie("/pixel/all?age=1", &[signal, COOKIE]));
        // A refused event, and a request that is none.
        assert!(!cookie("/pixel/all?age=x", &[signal]));
        let head = http::send(served.address, "HEAD", "/pixel/all", &[signal], b"");
        assert_eq!(head.header("set-cookie"), None);
    }
}

#[test]
fn an_event_without_consent_is_anonymous_or_not_recorded() {
    let (database, served) = start("privacy_consent");
    let columns = "visitor, address, email, clicks";
    let anonymous = json!([0, "", "", 2]);
    assert_eq!(row(&database, &served, "/wh/agreed", &[], columns), anonymous);
    assert_eq!(row(&database, &served, "/wh/agreed?agreed=0", &[], columns), anonymous);
    let known = json!([7_777_777_777_u64, "203.0.113.77", EMAIL, 2]);
    assert_eq!(row(&database, &served, "/wh/agreed?agreed=1", &[], columns), known);
    // A browser that objects objects to everything.
    assert_eq!(
        row(&database, &served, "/wh/agreed?agreed=1", &[DNT], columns),
        anonymous
    );

    let before = database.count("seen");
    let sent = |body: &str, content_type| post(&served, "/wh/only_agreed", &[content_type], body).status;
    for body in [
        r#"{"age":1}"#,
        r#"{"age":1,"agreed":false}"#,
        r#"{"age":1,"agreed":{"a":1}}"#,
    ] {
        assert_eq!(sent(body, JSON), 200, "{body}");
    }
    for body in [
        r#"{"age":1,"agreed":true}"#,
        r#"{"age":1,"agreed":"yes"}"#,
        r#"{"age":1,"agreed":1}"#,
    ] {
        assert_eq!(sent(body, JSON), 200, "{body}");
    }
    assert_eq!(sent("age=1&agreed=true", FORM), 200);
    assert_eq!(sent("age=1&agreed=", FORM), 200);
    // Each event of a batch states its own consent.
    let batch = "{\"age\":1,\"agreed\":true}\n{\"age\":2}\n{\"age\":3,\"agreed\":true}\n";
    assert_eq!(sent(batch, ("Content-Type", "application/x-ndjson")), 200);
    database.wait_for_rows("seen", before + 6);
    assert_eq!(served.writer.status().left_out.without_consent, 5);
}

#[test]
fn what_cannot_be_read_states_no_consent() {
    let (database, served) = start("privacy_unread");
    let unread = ("Content-Type", "application/msgpack");
    for target in [
        "/wh/only_agreed",
        "/wh/only_agreed?agreed=0",
        "/wh/only_agreed?agreed=1",
        "/wh/agreed",
    ] {
        // The sender learns all the same that nobody reads this format.
        assert_eq!(post(&served, target, &[unread], "\u{1}").status, 415, "{target}");
    }
    served.drain();
    // One event has stated its consent, and one route needs none to be recorded.
    assert_eq!(database.count("rejected"), 2);
    assert_eq!(served.writer.status().left_out.without_consent, 2);
}

#[test]
fn typed_and_inherited_columns_have_the_kept_values() {
    let (database, served) = start("privacy_typed");
    let send = |target: &str, headers: &[(&str, &str)]| {
        let answer = post(
            &served,
            target,
            &[&[JSON, FIREFOX][..], headers].concat(),
            r#"{"a":1,"email":"a"}"#,
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    send("/wh/address", &[]);
    send("/wh/address", &[DNT]);
    send("/wh/address", &[("Sec-Purpose", "prefetch")]);
    database.wait_for_rows("addresses", 3);
    let known = rows(&database, "toString(address), short, kind", "addresses");
    let truncated = json!(["::ffff:203.0.113.0", "203.0.113.0", ""]);
    assert_eq!(known[0], truncated);
    assert_eq!(known[1], json!(["::", null, ""]));
    assert_eq!(known[2], json!(["::ffff:203.0.113.0", "203.0.113.0", "prefetch"]));

    send("/wh/inherited?uid=7777777777", &[]);
    send("/wh/inherited?uid=7777777777", &[DNT]);
    database.wait_for_rows("inherited", 2);
    let columns = "uid, td_ip, td_ua, td_fpid, email, has(extra.key, 'uid')";
    assert_eq!(
        rows(&database, columns, "inherited"),
        [
            json!([7_777_777_777_u64, "203.0.113.0", "", 0, "a", 0]),
            json!([0, "", "", 0, "", 0])
        ]
    );
}

#[test]
fn programs_are_marked_or_left_out() {
    let (database, served) = start("privacy_automated");
    let get = |target: &str, headers: &[(&str, &str)]| {
        let answer = http::send(served.address, "GET", target, headers, b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    };
    let gmail = (
        "User-Agent",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    );
    let requests = [
        (FIREFOX, ""),
        (gmail, "mail-proxy"),
        (("Purpose", "prefetch"), "prefetch"),
        (("User-Agent", "Slackbot-LinkExpanding 1.0"), "scanner"),
        (("User-Agent", "curl/8.5.0"), "bot"),
    ];
    for (header, _) in requests {
        get("/pixel/all?age=1", &[header]);
        get("/pixel/people?age=1", &[header]);
    }
    database.wait_for_rows("seen", 6);
    let marks = database
        .query("SELECT groupArray(automated) FROM (SELECT automated FROM seen WHERE route = 'all' ORDER BY id)");
    let expected: Vec<_> = requests.iter().map(|(_, mark)| format!("'{mark}'")).collect();
    assert_eq!(marks.trim(), format!("[{}]", expected.join(",")));
    assert_eq!(database.query("SELECT count() FROM seen WHERE route = 'people'"), "1\n");
    assert_eq!(served.writer.status().left_out.automated, 4);
}

/// Returns the dead letters, each with its reason, its payload and its address.
fn dead_letters(database: &Database, count: u64) -> Vec<(String, String, String)> {
    database.wait_for_rows("rejected", count);
    let letters =
        database.query("SELECT reason, payload, ip FROM rejected ORDER BY time, payload FORMAT JSONCompactEachRow");
    letters
        .lines()
        .map(|letter| serde_json::from_str(letter).unwrap())
        .collect()
}

#[test]
fn no_message_and_no_dead_letter_has_personal_data() {
    let (database, served) = start("privacy_dead_letters");
    let wrong = json!({"user": {"email": EMAIL, "id": 7}, "phone": PHONE, "age": EMAIL, "clicks": 2}).to_string();
    let query = "email=anna%40private.example&clicks=1";
    let answer = post(&served, &format!("/wh/visit?{query}"), &[JSON, FIREFOX], &wrong);
    assert_eq!(answer.status, 400);
    assert!(
        !answer.text().contains("anna") && answer.text().contains("age"),
        "{}",
        answer.text()
    );
    let letters = dead_letters(&database, 1);
    let (reason, payload, ip) = &letters[0];
    assert_eq!(reason, "column `age` (UInt8): the text is not a value of the type");
    assert_eq!(ip, "203.0.113.0");
    let (kept_query, body) = payload.split_once('\n').unwrap();
    assert_eq!(kept_query, "?email=&clicks=1");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["user"], &body["age"], &body["clicks"]),
        (&json!({"email": null, "id": 7}), &Value::Null, &json!(2))
    );
    assert_eq!(body["phone"].as_str().map(str::len), Some(32));

    // Bodies that cannot be read field by field, and one of a browser that objects.
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\n{EMAIL}\r\n--b\r\nContent-Disposition: form-data; \
         name=\"age\"\r\n\r\nx\r\n--b--\r\n"
    );
    let sent = [
        (JSON, format!(r#"{{"email":"{EMAIL}","age":"#)),
        (JSON, format!(r#"["{EMAIL}"]"#)),
        (("Content-Type", "multipart/form-data; boundary=b"), multipart),
        (("Content-Type", "application/pdf"), EMAIL.to_owned()),
        (
            ("Content-Type", "text/csv"),
            format!("email,age\n{EMAIL},x\n{EMAIL}\n\"{EMAIL}"),
        ),
        (
            ("Content-Type", "application/x-ndjson"),
            format!("{{\"email\":\"{EMAIL}\",\"age\":\"x\"}}\n{{\"email\":{EMAIL}\n"),
        ),
        (FORM, "email=anna%40private.example&age=x".to_owned()),
    ];
    for (content_type, body) in &sent {
        let answer = post(&served, "/wh/visit?email=anna", &[*content_type, DNT, COOKIE], body);
        assert!(
            answer.status >= 400 || answer.text().contains("\"rejected\""),
            "{}: {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.text().contains("anna"), "{}", answer.text());
    }
    let batch = json!({"batch": [{"email": EMAIL, "age": "x"}, {"age": 1}, {"uid": UID, "age": "x"}]}).to_string();
    assert_eq!(
        post(&served, "/wh/batches?email=anna", &[JSON, DNT], &batch).status,
        200
    );
    let letters = dead_letters(&database, 13);
    for (reason, payload, ip) in &letters[1..] {
        let all = format!("{reason} {payload}");
        assert!(
            !all.contains("anna") && !all.contains(UID) && ip.is_empty(),
            "{all} {ip}"
        );
    }
    // What is not personal is still there.
    let has = |part: &str| letters.iter().any(|(_, payload, _)| payload.contains(part));
    assert!(
        has(r#"{"uid":null,"age":null}"#) || has(r#"{"age":null,"uid":null}"#),
        "{letters:?}"
    );
}

#[test]
fn no_other_path_leads_around_the_options() {
    let options = EventOptions {
        catch_all: true,
        ..EventOptions::default()
    };
    let (database, served) = start_with("privacy_paths", &options);
    let fields = json!({"service": "wh", "name": "visit", "email": EMAIL, "age": 1}).to_string();
    for (target, headers) in [("/", &[JSON, FIREFOX][..]), ("/", &[JSON, FIREFOX, DNT])] {
        assert_eq!(post(&served, target, headers, &fields).status, 200);
    }
    assert_eq!(
        post(&served, "/?service=wh&name=visit", &[JSON], r#"{"age":2}"#).status,
        200
    );
    database.wait_for_rows("seen", 3);
    let known = rows(&database, "address, email", "seen");
    assert_eq!(known[0], json!(["203.0.113.0", EMAIL]));
    assert_eq!(known[1..], [json!(["", ""]), json!(["203.0.113.0", ""])]);
    // A refused event has the options of its route; a body that cannot be read may have led to any route.
    let wrong = fields.replace("\"age\":1", "\"age\":\"x\"");
    assert_eq!(post(&served, "/", &[JSON], &wrong).status, 400);
    assert_eq!(post(&served, "/?email=anna", &[JSON], &fields[1..]).status, 400);
    for (reason, payload, ip) in dead_letters(&database, 2) {
        assert!(!format!("{reason} {payload}").contains("anna"), "{reason} {payload}");
        assert!(
            ip == "203.0.113.0" && payload.contains("\"email\":null") || ip.is_empty() && payload.is_empty(),
            "{ip} {payload}"
        );
    }
}

#[test]
fn the_options_apply_to_each_event_of_an_upload() {
    let options = EventOptions {
        catch_all: true,
        ..EventOptions::default()
    };
    let (database, served) = start_with("privacy_uploads", &options);
    let known = json!({"email": EMAIL, "age": 1});
    let wrong = json!({"email": EMAIL, "age": "x"});
    let lines = format!("{known}\n{wrong}\n{}\n", &known.to_string()[1..]);
    let ndjson = ("Content-Type", "application/x-ndjson");
    for headers in [&[ndjson, FIREFOX][..], &[ndjson, FIREFOX, DNT]] {
        let answer = post(&served, "/upload/wh/visit?phone=anna", headers, &lines);
        assert!(answer.text().contains(r#""recorded":1"#), "{}", answer.text());
        assert!(!answer.text().contains("anna"), "{}", answer.text());
    }
    database.wait_for_rows("seen", 2);
    let expected = [json!(["203.0.113.0", EMAIL]), json!(["", ""])];
    assert_eq!(rows(&database, "address, email", "seen"), expected);
    for (reason, payload, ip) in dead_letters(&database, 4) {
        assert!(!format!("{reason} {payload}").contains("anna"), "{reason} {payload}");
        assert!(ip == "203.0.113.0" || ip.is_empty(), "{ip}");
    }
}

#[test]
fn personal_columns_are_named_in_clickhouse() {
    let (database, _served) = start("privacy_comments");
    let comments = database.query(
        "SELECT name, comment FROM system.columns WHERE database = currentDatabase() AND table = 'seen' AND comment != '' \
         ORDER BY position",
    );
    assert_eq!(
        comments,
        "email\twhere to write (personal data)\nphone\tpersonal data\nage\tpersonal data\n"
    );
}
