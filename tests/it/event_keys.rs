//! `required`, `from` and `max_bytes`: rules for columns beyond their types, on each route and in
//! each format.

use embedder::tables;
use rowmill_ingest::server::not_found;
use serde_json::{Value, json};
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

struct Signups {
    database: Database,
    served: Served,
}

impl Signups {
    fn start() -> Self {
        let database = Database::create("event_keys");
        let served = Served::start(&database, &tables::SCHEMA, |writer| {
            tables::layer(writer).unwrap().layer(service_fn(not_found))
        });
        Self { database, served }
    }

    fn json(&self, body: &Value) -> Answer {
        http::post_json(self.served.address, "/wh/signup", &body.to_string())
    }

    fn form(&self, body: &str) -> Answer {
        http::send(self.served.address, "POST", "/wh/signup", &[FORM], body.as_bytes())
    }

    fn get(&self, target: &str) -> Answer {
        http::get(self.served.address, target)
    }

    /// Returns columns of all rows, in the order of arrival.
    fn rows(&self, columns: &str) -> Vec<Value> {
        self.served.drain();
        let rows = self.database.query(&format!(
            "SELECT {columns} FROM signups ORDER BY id FORMAT JSONCompactEachRow"
        ));
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// Returns the service, column, code and reason of each dead letter.
    fn dead_letters(&self) -> Vec<Value> {
        self.served.drain();
        let dead_letters = self.database.query(
            "SELECT service, column, code, reason FROM rejected WHERE table = 'signups' ORDER BY id FORMAT JSONCompactEachRow",
        );
        dead_letters
            .lines()
            .map(|dead_letter| serde_json::from_str(dead_letter).unwrap())
            .collect()
    }
}

/// Returns the body of an answer about invalid values.
fn refused(values: &Value) -> Value {
    json!({ "message": "Bad Request", "refused": values })
}

#[test]
fn a_column_is_filled_from_another_path() {
    let signups = Signups::start();
    let answers = [
        signups.json(&json!({"event": "object", "address": {"city": "Bonn", "zip": "53111"}, "city": "not this"})),
        signups.json(&json!({"event": "flat", "address_city": "Köln"})),
        signups.form("event=form&address[city]=Ulm&city=not+this"),
        signups.form("event=flatform&address_city=Jena"),
        signups.get("/wh/signup?event=dotted&address.city=Kiel"),
        signups.get("/pixel/signup?event=pixel&address_city=Trier"),
        signups.get("/redir/signup?event=redirect&address[city]=Hof&to=https://example.org/"),
        // A field of the query takes precedence over one of the body.
        http::post_json(
            signups.served.address,
            "/wh/signup?address_city=Wien",
            r#"{"event":"both","address":{"city":"Graz"}}"#,
        ),
    ];
    let statuses = answers.map(|answer| answer.status);
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 302, 200]);
    assert_eq!(
        signups.rows("event, city, extra.key, extra.value"),
        [
            json!(["object", "Bonn", ["address_zip", "city"], ["53111", "not this"]]),
            json!(["flat", "Köln", [], []]),
            json!(["form", "Ulm", ["city"], ["not this"]]),
            json!(["flatform", "Jena", [], []]),
            json!(["dotted", "Kiel", [], []]),
            json!(["pixel", "Trier", [], []]),
            json!(["redirect", "Hof", ["to"], ["https://example.org/"]]),
            json!(["both", "Wien", [], []]),
        ]
    );
    assert_eq!(signups.dead_letters(), Vec::<Value>::new());
}

#[test]
fn the_first_path_takes_precedence_in_any_order() {
    let signups = Signups::start();
    for body in [
        r#"{"event":"1","user":{"id":"a"},"account":"b"}"#,
        r#"{"event":"2","account":"b","user":{"id":"a"}}"#,
        r#"{"event":"3","account":"b"}"#,
        r#"{"event":"4","user":{"id":null},"account":"b"}"#,
        r#"{"event":"5","account":"b","user":{"id":null}}"#,
        r#"{"event":"6","account":null}"#,
        // The collector does not check a value that another one overrides.
        r#"{"event":"7","years":"many","age":"old","user":{"age":7}}"#,
        r#"{"event":"8","user":{"age":8},"years":300,"age":[]}"#,
        r#"{"event":"9","years":9}"#,
    ] {
        let answer = http::post_json(signups.served.address, "/wh/signup", body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
    assert_eq!(signups.get("/wh/signup?event=10&account=b&user_id=a").status, 200);
    assert_eq!(signups.get("/wh/signup?event=11&user[id]=a&account=b").status, 200);

    let answer = signups.json(&json!({"event": "12", "age": 12, "user": {"age": 300}}));
    let expected =
        refused(&json!([{"column": "age", "code": "out-of-range", "expected": "Nullable(UInt8)", "got": "300"}]));
    assert_eq!((answer.status, answer.json()), (400, expected));
    assert_eq!(
        signups.rows("event, user, age, extra.key"),
        [
            json!(["1", "a", null, []]),
            json!(["2", "a", null, []]),
            json!(["3", "b", null, []]),
            json!(["4", "b", null, []]),
            json!(["5", "b", null, []]),
            json!(["6", null, null, []]),
            json!(["7", null, 7, []]),
            json!(["8", null, 8, []]),
            json!(["9", null, 9, []]),
            json!(["10", "a", null, []]),
            json!(["11", "a", null, []]),
        ]
    );
}

#[test]
fn the_events_own_value_of_a_reserved_name_can_have_a_column() {
    let signups = Signups::start();
    signups.json(&json!({"event": "1", "name": "welcome"}));
    // A value that equals the collector's own still fills the column.
    signups.json(&json!({"event": "2", "name": "signup"}));
    signups.form("event=3&name=signup");
    signups.json(&json!({"event": "4"}));
    assert_eq!(
        signups.rows("event, name, kind, extra.key"),
        [
            json!(["1", "signup", "welcome", []]),
            json!(["2", "signup", "signup", []]),
            json!(["3", "signup", "signup", []]),
            json!(["4", "signup", "none", []]),
        ]
    );
}

#[test]
fn the_arrays_of_a_nested_are_read_below_its_path() {
    let signups = Signups::start();
    let lines = json!({"sku": ["x", "y"], "n": [1, 2]});
    assert_eq!(
        signups
            .json(&json!({"event": "1", "order": {"lines": lines}, "lines": {"sku": ["z"]}}))
            .status,
        200
    );
    assert_eq!(
        signups
            .get("/wh/signup?event=2&order_lines_sku[]=x&order_lines_sku[]=y")
            .status,
        200
    );
    let answer = signups.json(&json!({"event": "3", "order": {"lines": {"sku": ["x"], "n": [1, 2]}}}));
    assert_eq!(
        (answer.status, &answer.json()["refused"][0]["code"]),
        (400, &json!("unequal-lengths"))
    );
    assert_eq!(
        signups.rows("event, lines.sku, lines.n, extra.key"),
        [
            json!(["1", ["x", "y"], [1, 2], ["lines_sku"]]),
            json!(["2", ["x", "y"], [0, 0], []]),
        ]
    );
}

#[test]
fn an_event_without_a_required_column_is_refused() {
    let signups = Signups::start();
    let expected = refused(&json!([{"column": "event", "code": "missing", "expected": "String", "path": "event"}]));
    // Events without the column, with null for it, and without any field.
    for body in [json!({"user": {"id": "a"}}), json!({"event": null}), json!({})] {
        let answer = signups.json(&body);
        assert_eq!((answer.status, answer.json()), (400, expected.clone()), "{body}");
    }
    let answer = signups.form("account=b");
    assert_eq!((answer.status, answer.json()), (400, expected.clone()));
    let answer = signups.get("/wh/signup");
    assert_eq!((answer.status, answer.json()), (400, expected));
    // A pixel still answers with its image, and a redirect still redirects.
    let answer = signups.get("/pixel/signup?account=b");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
    let answer = signups.get("/redir/signup?to=https://example.org/");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("https://example.org/"))
    );
    // An empty text is a value.
    assert_eq!(signups.json(&json!({"event": ""})).status, 200);
    assert_eq!(signups.get("/pixel/signup?event=").status, 200);

    let dead_letter = |service: &str| {
        json!([
            service,
            "event",
            "missing",
            "column `event` (String): the event has no `event`"
        ])
    };
    let services = ["wh", "wh", "wh", "wh", "wh", "pixel", "redir"];
    assert_eq!(signups.dead_letters(), services.map(dead_letter));
    assert_eq!(signups.rows("event"), [json!([""]), json!([""])]);
}

#[test]
fn a_refused_value_is_not_reported_as_missing() {
    let signups = Signups::start();
    let answer = signups.json(&json!({"event": null, "user": {"age": -1}}));
    let expected = refused(&json!([
        {"column": "age", "code": "out-of-range", "expected": "Nullable(UInt8)", "got": "-1"},
        {"column": "event", "code": "missing", "expected": "String", "path": "event"},
    ]));
    assert_eq!((answer.status, answer.json()), (400, expected));
    let answer = signups.json(&json!({"event": "far too long"}));
    assert_eq!(answer.json()["refused"].as_array().unwrap().len(), 1);
    let answer = http::post_json(signups.served.address, "/wh/late", r#"{"meta":{"sent_at":"never"}}"#);
    let codes: Vec<Value> = answer.json()["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].clone())
        .collect();
    assert_eq!(codes, ["malformed"]);
    // The child table makes `event` optional, so only its own required column is missing.
    let answer = http::post_json(signups.served.address, "/wh/late", r#"{"meta":{}}"#);
    let missing = json!([{"column": "at", "code": "missing", "expected": "DateTime64(3)", "path": "meta.sent_at"}]);
    assert_eq!((answer.status, answer.json()), (400, refused(&missing)));
}

#[test]
fn a_value_of_too_many_bytes_refuses_its_event() {
    let signups = Signups::start();
    let cases = [
        // The limit counts bytes, not letters: each of these letters takes two.
        (json!({"event": "ääääää"}), "event", "String", 10, "\"ääääää\""),
        (
            json!({"event": "1", "account": "123456"}),
            "user",
            "Nullable(String)",
            5,
            "\"123456\"",
        ),
        // An array counts with its lengths, as in the row.
        (
            json!({"event": "1", "tags": ["1234", "1234"]}),
            "tags",
            "Array(String)",
            10,
            r#"["1234","1234"]"#,
        ),
        (
            json!({"event": "1", "seen": [[1, 2], [3, 4], [5, 6]]}),
            "seen",
            "Array(Tuple(UInt8, UInt8))",
            5,
            "[[1,2],[3,4],[5,6]]",
        ),
    ];
    let mut dead_letters = Vec::new();
    for (body, column, data_type, max_bytes, got) in cases {
        let answer = signups.json(&body);
        let expected = format!("{data_type} of at most {max_bytes} bytes");
        let value = json!([{"column": column, "code": "over-max-bytes", "expected": expected, "got": got}]);
        assert_eq!((answer.status, answer.json()), (400, refused(&value)), "{body}");
        let reason = format!("column `{column}` ({data_type}): the value takes more than {max_bytes} bytes: {got}");
        dead_letters.push(json!(["wh", column, "over-max-bytes", reason]));
    }
    let too_long = "column `event` (String): the value takes more than 10 bytes: 12345678901";
    assert_eq!(signups.form("event=12345678901").status, 400);
    assert_eq!(signups.get("/pixel/signup?event=12345678901").status, 200);
    assert_eq!(
        signups
            .get("/redir/signup?event=12345678901&to=https://example.org/")
            .status,
        302
    );
    dead_letters.extend(["wh", "pixel", "redir"].map(|service| json!([service, "event", "over-max-bytes", too_long])));

    // Values of exactly the maximum length.
    let body = json!({"event": "äääää", "account": "12345", "tags": ["1234", "123"], "seen": [[1, 2], [3, 4]]});
    assert_eq!(signups.json(&body).status, 200);
    // A value that another one overrides may be too long.
    let body = r#"{"event":"way","account":"123456","user":{"id":"1"}}"#;
    assert_eq!(http::post_json(signups.served.address, "/wh/signup", body).status, 200);
    assert_eq!(signups.dead_letters(), dead_letters);
    assert_eq!(
        signups.rows("event, user, tags, seen"),
        [
            json!(["äääää", "12345", ["1234", "123"], [[1, 2], [3, 4]]]),
            json!(["way", "1", [], []]),
        ]
    );
}
