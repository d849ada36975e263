//! The content of columns that the event does not set, and of columns that an event cannot set.

use super::{Both, insert_each};
use crate::support::http;

/// The readable columns of `orders`, except those that the collector fills.
const ORDER: &str = "number, amount, currency, items, state, created, total, label, raw_length, type, address_city, \
     `address_extra.key`, `address_extra.value`";

/// The columns of `orders` that an event can set.
const INSERTED: &str = "number, amount, currency, items, state, created, raw, type, address_city";

/// Events and their rows.
const ORDERS: [(&str, &str); 9] = [
    (
        r#"{"number":"0"}"#,
        r#"{"number":"0","amount":0.5,"currency":"EUR","items":-1,"state":"paid","created":"2020-01-02 03:04:05","total":1,"label":"0\/EUR","raw_length":0,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    (
        r#"{"number":1,"amount":"12.345","currency":"USD","items":0,"state":"new","created":1,"raw":"12345","type":"x","address_city":"Bonn"}"#,
        r#"{"number":"1","amount":12.34,"currency":"USD","items":0,"state":"new","created":"1970-01-01 00:00:01","total":24.68,"label":"1\/USD","raw_length":5,"type":"x","address_city":"Bonn","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    // A null takes the default.
    (
        r#"{"number":"2","amount":null,"currency":null,"items":null,"state":null,"created":null,"raw":null,"type":null}"#,
        r#"{"number":"2","amount":0.5,"currency":"EUR","items":-1,"state":"paid","created":"2020-01-02 03:04:05","total":1,"label":"2\/EUR","raw_length":0,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    // A value that equals the type's own default is still a value.
    (
        r#"{"number":"3","amount":0,"currency":"","items":"","created":0,"raw":""}"#,
        r#"{"number":"3","amount":0,"currency":"","items":0,"state":"paid","created":"1970-01-01 00:00:00","total":0,"label":"3\/","raw_length":0,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    // The event's own value takes precedence over the expression.
    (
        r#"{"number":"4","raw":"abc"}"#,
        r#"{"number":"4","amount":0.5,"currency":"EUR","items":-1,"state":"paid","created":"2020-01-02 03:04:05","total":1,"label":"4\/EUR","raw_length":3,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    // An event cannot set a column that only ClickHouse computes.
    (
        r#"{"number":"5","total":9,"label":"mine"}"#,
        r#"{"number":"5","amount":0.5,"currency":"EUR","items":-1,"state":"paid","created":"2020-01-02 03:04:05","total":1,"label":"5\/EUR","raw_length":0,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    (
        r#"{"number":"6","state":2,"amount":-1e1,"items":"-5","currency":1.50}"#,
        r#"{"number":"6","amount":-10,"currency":"1.50","items":-5,"state":"paid","created":"2020-01-02 03:04:05","total":-20,"label":"6\/1.50","raw_length":0,"type":"","address_city":"","address_extra.key":[],"address_extra.value":[]}"#,
    ),
    // Both refuse these.
    (r#"{"number":"7","state":"lost"}"#, ""),
    (r#"{"number":"8","amount":"much"}"#, ""),
];

#[test]
fn defaults_are_those_of_clickhouse() {
    let Both {
        database,
        served,
        proxy,
    } = Both::start("defaults");
    database.query("CREATE TABLE order_twin AS orders ENGINE = Memory");
    for (event, row) in ORDERS {
        let answer = http::post_json(served.address, "/wh/order", event);
        assert_eq!(
            answer.status,
            if row.is_empty() { 400 } else { 200 },
            "{event}: {}",
            answer.text()
        );
    }
    served.drain();
    insert_each(
        &database,
        &format!("order_twin ({INSERTED})"),
        &ORDERS.map(|(event, _)| event),
    );

    let rows = |table: &str| {
        database.query(&format!(
            "SELECT {ORDER} FROM {table} ORDER BY number FORMAT JSONEachRow"
        ))
    };
    assert!(proxy.formats("orders").iter().eq(["Native"]));
    let (ours, theirs) = (rows("orders"), rows("order_twin"));
    assert_eq!(ours.lines().collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>());
    let expected = ORDERS.map(|(_, row)| row).into_iter().filter(|row| !row.is_empty());
    assert_eq!(ours.lines().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn fields_of_an_object_fill_the_columns_of_its_path() {
    let Both { database, served, .. } = Both::start("branches");
    for event in [
        r#"{"number":"0","address":{"city":"B","zip":1}}"#,
        r#"{"number":"1","address":{"geo":{"lat":1.50,"at":[1,"x"]},"city":null,"extra":{"key":"k"}},"lost":true}"#,
        r#"{"number":"2","address_city":"C","address_zip":5,"address":"everywhere"}"#,
    ] {
        assert_eq!(
            http::post_json(served.address, "/wh/order", event).status,
            200,
            "{event}"
        );
    }
    served.drain();
    assert_eq!(
        database
            .query("SELECT number, address_city, address_extra.key, address_extra.value FROM orders ORDER BY number"),
        "0\tB\t['zip']\t['1']\n\
         1\t\t['geo_lat','geo_at','extra_key']\t['1.5','1,x','k']\n\
         2\tC\t[]\t[]\n"
    );
}

#[test]
fn the_collectors_own_columns_have_the_types_of_the_schema() {
    let Both { database, served, .. } = Both::start("own_columns");
    let event = r#"{"number":"0","id":7,"dateTime":"2001-01-01 00:00:00","timestamp":1,"date":"2001-01-01"}"#;
    let answer = http::post_json(served.address, "/wh/order", event);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = [
        ("Cookie", "uid=7530842328009801728"),
        ("Content-Type", "application/json"),
    ];
    for price in ["1.50", "null", "\"-0.25\""] {
        let event = format!("{{\"price\":{price},\"uid\":\"5x\",\"text\":\"lost\"}}");
        let answer = http::send(served.address, "POST", "/shop/Any%20thing", &cookie, event.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    served.drain();

    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        database.query(
            "SELECT toString(id), toTypeName(dateTime), abs(dateTime - now64(3)) < 60, \
             toUnixTimestamp64Milli(dateTime) = bitShiftRight(id, 22) FROM orders"
        ),
        format!("{id}\tDateTime64(3, \\'UTC\\')\t1\t1\n")
    );
    assert_eq!(
        database.query(
            "SELECT uid, price, abs(timestamp - toUnixTimestamp64Milli(now64(3))) < 60000 FROM visits ORDER BY price NULLS LAST"
        ),
        "7530842328009801728\t-0.25\t1\n7530842328009801728\t1.5\t1\n7530842328009801728\t\\N\t1\n"
    );
}

#[test]
fn comments_are_those_of_the_schema() {
    let Both { database, .. } = Both::start("comments");
    assert_eq!(
        database.query(
            "SELECT table, name, comment FROM system.columns WHERE database = currentDatabase() AND comment != '' \
             AND table = 'orders'"
        ),
        "orders\tcurrency\tThe currency, as ISO 4217 has it.\n"
    );
}
