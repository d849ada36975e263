//! Tables of events and of the rows or rejections that they become.

use crate::{
    ack::Ack,
    arena::{self, Arena},
    fields::Fields,
    identify::Project,
    intake::{event::Event, event_meta::EventMeta, testing::row_text},
    request::body::Payload,
};

/// Returns the row of an event as text, or its code and message.
fn outcome<const STRICT: bool>(query: &str, payload: &Payload<'_>, arena: &Arena) -> String {
    let event = Event {
        meta: EventMeta {
            id: 1,
            uid: 7,
            service: "wh",
            name: "mail",
            project: Project::Whole(3),
            ..EventMeta::default()
        },
        query: &Fields::from_query(query, arena),
        payload,
        ack: Ack::Accepted,
        hiding: &[],
        arena,
    };
    row_text::<STRICT>(&event).unwrap_or_else(|rejection| {
        let message = rejection.message(payload.json_text());
        format!("{}: {message}", rejection.code())
    })
}

fn json(text: &str) -> String {
    query_and_json("", text)
}

fn query_and_json(query: &str, text: &str) -> String {
    arena::with(|arena| outcome::<false>(query, &Payload::Json(text), arena))
}

fn form(query: &str, text: &str) -> String {
    arena::with(|arena| outcome::<false>(query, &Payload::Form(Fields::from_body(text, arena)), arena))
}

fn no_body(query: &str) -> String {
    arena::with(|arena| outcome::<false>(query, &Payload::Empty, arena))
}

#[track_caller]
fn compare<const N: usize>(outcome: impl Fn(&str) -> String, cases: [(&str, &str); N]) {
    for (input, expected) in cases {
        assert_eq!(outcome(input), expected, "{input}");
    }
}

#[test]
fn a_value_goes_into_the_column_of_its_path_or_into_the_nearest_extra() {
    compare(
        json,
        [
            (r#"{"n":5}"#, "n=5"),
            (r#"{"address":{"city":"Bonn"}}"#, "city=Bonn"),
            (r#"{"address.city":"Bonn"}"#, "city=Bonn"),
            (r#"{"address_city":"Bonn"}"#, "city=Bonn"),
            (
                r#"{"address":{"zip":5,"city":"Bonn"},"n":1}"#,
                "n=1 city=Bonn extra[address_zip=5]",
            ),
            (r#"{"a":{"b":{"c":1},"d":2},"e":3}"#, "extra[a_b_c=1 a_d=2 e=3]"),
            (
                r#"{"page":{"title":"x","query":{"a":1}}}"#,
                "page_extra[title=x query_a=1]",
            ),
            (
                r#"{"page":{"td":{"x":1}},"pages":{"x":1}}"#,
                "extra[pages_x=1] page_extra[td_x=1]",
            ),
            (r#"{"page":1,"page_title":"x"}"#, "extra[page=1 page_title=x]"),
            (r#"{"td":{"x":1}}"#, "extra[td_x=1]"),
            (
                r#"{"tags":["a","b"],"list":["a",[1,{"k":2}]]}"#,
                r#"tags=a|b extra[list=a,[1,{"k":2}]]"#,
            ),
            // An object is a value of `doc` alone.
            (
                r#"{"doc":{"n":{"m":1}},"n":{"m":1}}"#,
                r#"doc={"n":{"m":1}} extra[n_m=1]"#,
            ),
            (r#"{"a":{},"page":{},"b":{"c":{}}}"#, ""),
        ],
    );
}

#[test]
fn a_null_is_the_default_of_a_column_and_text_in_an_extra() {
    compare(
        json,
        [
            (r#"{"n":null,"tags":null}"#, ""),
            (r#"{"user":{"id":null}}"#, "user=NULL"),
            (r#"{"a":null}"#, "extra[a=null]"),
        ],
    );
}

#[test]
fn the_last_duplicate_key_counts() {
    compare(
        json,
        [
            (r#"{"n":1,"n":2}"#, "n=2"),
            (r#"{"a":1,"b":2,"a":3}"#, "extra[a=3 b=2]"),
            (r#"{"page":{"a":1,"a":2}}"#, "page_extra[a=2]"),
            // Each object has its own keys.
            (r#"{"a":{"x":1},"a":{"x":2}}"#, "extra[a_x=1 a_x=2]"),
            (
                r#"{"n":1,"n":"x"}"#,
                "malformed: column `n` (Int8): the text is not a value of the type: \"x\"",
            ),
        ],
    );
    // Enough keys for the hash table.
    let many = |value: u32| (0..40).map(move |key| format!("\"k{key}\":{value}"));
    let twice: Vec<_> = many(1).chain(many(2)).collect();
    let once: Vec<_> = (0..40).map(|key| format!("k{key}=2")).collect();
    assert_eq!(
        json(&format!("{{{}}}", twice.join(","))),
        format!("extra[{}]", once.join(" "))
    );
}

#[test]
fn a_reserved_key_is_kept_unless_it_repeats_the_collectors_value() {
    let repeated = [
        (r#"{"service":"wh","name":"mail","uid":7,"projectId":3}"#, ""),
        (r#"{"uid":"7","projectId":"3"}"#, ""),
        (
            r#"{"service":"x","name":"y","uid":8,"projectId":4}"#,
            "extra[service=x name=y uid=8 projectId=4]",
        ),
        (
            r#"{"id":1,"date":"x","td":"x","timestamp":2}"#,
            "extra[id=1 date=x td=x timestamp=2]",
        ),
        (r#"{"name":["mail"],"uid":true}"#, "extra[name=mail uid=true]"),
        // Below the root, no key is reserved.
        (r#"{"page":{"name":"mail"}}"#, "page_extra[name=mail]"),
        // Only the collector fills the arrays of extras.
        (
            r#"{"extra.key":["x"],"page_extra.value":"x","other.key":"x"}"#,
            "extra[other.key=x]",
        ),
        (r#"{"extra":{"key":["x"]}}"#, "extra[extra_key=x]"),
    ];
    compare(json, repeated);
    let fields = [
        ("service=wh&name=mail&uid=7&projectId=3", ""),
        ("service=x&name=y&id=1", "extra[service=x name=y id=1]"),
        ("extra.key=x&a=1", "extra[a=1]"),
    ];
    compare(no_body, fields);
    compare(|text| form("", text), fields);
}

#[test]
fn an_escaped_key_equals_its_unescaped_form() {
    compare(
        json,
        [
            (r#"{"\u006e":5}"#, "n=5"),
            (r#"{"addre\u0073s":{"c\u0069ty":"Bonn"}}"#, "city=Bonn"),
            (r#"{"\u006eame":"mail"}"#, ""),
            (r#"{"a\"b\\c":1,"d":{"\n":2}}"#, "extra[a\"b\\c=1 d_\n=2]"),
            (r#"{"a\u0062":1,"ab":2}"#, "extra[ab=2]"),
            (r#"{"\ud83d":1}"#, "extra[\u{fffd}=1]"),
            (r#"{"":1,"a":{"":2}}"#, "extra[=1 a_=2]"),
        ],
    );
}

#[test]
fn a_value_that_does_not_fit_its_column_rejects_the_event() {
    const RANGE: &str = "out-of-range: column `n` (Int8): the value is outside the type's range: ";
    for got in ["128", "-129", "\"300\"", "99999999999999999999999999"] {
        assert_eq!(json(&format!(r#"{{"n":{got}}}"#)), format!("{RANGE}{got}"));
    }
    assert_eq!(no_body("n=128"), format!("{RANGE}128"));
    compare(
        json,
        [
            (r#"{"n":-128}"#, "n=-128"),
            (r#"{"n":"127"}"#, "n=127"),
            (
                r#"{"n":1.5}"#,
                "not-an-integer: column `n` (Int8): the number has a fraction or an exponent: 1.5",
            ),
            (
                r#"{"n":[ 1 ],"tags":{"a":1},"user":{"id":"x"}}"#,
                "wrong-kind: column `n` (Int8): the type does not accept this kind of value: [ 1 ]; \
                 column `user` (Nullable(Int8)): the text is not a value of the type: \"x\"",
            ),
        ],
    );
}

#[test]
fn the_first_alternative_path_in_the_schema_counts() {
    const MALFORMED: &str = "malformed: column `user` (Nullable(Int8)): the text is not a value of the type: \"x\"";
    compare(
        json,
        [
            (r#"{"user":{"id":1},"account":2}"#, "user=1"),
            (r#"{"account":2,"user":{"id":1}}"#, "user=1"),
            (r#"{"account":2,"user":{"id":null}}"#, "user=2"),
            (r#"{"user":{"id":null},"account":2}"#, "user=2"),
            // An invalid value that does not count rejects nothing.
            (r#"{"account":"x","user":{"id":1}}"#, "user=1"),
            (r#"{"user":{"id":1},"account":"x"}"#, "user=1"),
            (r#"{"account":1,"user":{"id":"x"}}"#, MALFORMED),
            (r#"{"user":{"id":"x"},"account":1}"#, MALFORMED),
        ],
    );
}

#[test]
fn a_required_column_must_have_a_value() {
    let strict = |text: &str| arena::with(|arena| outcome::<true>("", &Payload::Json(text), arena));
    compare(
        strict,
        [
            (r#"{"address":{"city":""},"account":1}"#, "city= user=1"),
            (r#"{"address_city":"Bonn","user":{"id":null}}"#, "city=Bonn user=NULL"),
            (
                "{}",
                "missing: column `city` (String): the event has no `address.city`; \
                 column `user` (Nullable(Int8)): the event has no `user.id`",
            ),
            (
                r#"{"address":{"city":null},"account":300}"#,
                "out-of-range: column `user` (Nullable(Int8)): the value is outside the type's range: 300; \
                 column `city` (String): the event has no `address.city`",
            ),
        ],
    );
}

#[test]
fn fields_of_the_query_override_fields_of_the_body() {
    for (query, body, expected) in [
        ("n=7", r#"{"n":5,"a":1}"#, "n=7 extra[a=1]"),
        ("a=1", r#"{"a":{"b":2},"c":3}"#, "extra[c=3 a=1]"),
        ("a[b]=1", r#"{"a":{"c":2},"c":3}"#, "extra[c=3 a_b=1]"),
        (
            "address[city]=Bonn&tags=a&tags=b",
            r#"{"n":1}"#,
            "n=1 city=Bonn tags=a|b",
        ),
        // A name overrides the same key, not another path of its column.
        ("account=2", r#"{"user":{"id":1}}"#, "user=1"),
        ("address_city=Bonn", r#"{"address":{"city":"Kiel"}}"#, "city=Bonn"),
        ("n=7", r#"{"n":300}"#, "n=7"),
        (
            "n=300",
            r#"{"n":5}"#,
            "out-of-range: column `n` (Int8): the value is outside the type's range: 300",
        ),
        ("n=7", "[1]", "not-an-object: expected a JSON object, got an array"),
        ("", "{}", ""),
    ] {
        assert_eq!(query_and_json(query, body), expected, "{query} {body}");
    }
    for (query, body, expected) in [
        ("n=7", "n=5&a=1", "n=7 extra[a=1]"),
        ("a=1", "a[b]=2&c=3", "extra[c=3 a=1]"),
        ("", "page[title]=x&page[a][b]=1&n=5", "n=5 page_extra[title=x a_b=1]"),
        ("", "tags=a&tags=b&a=%22+%2B", "tags=a|b extra[a=\" +]"),
        ("", "doc[y]=1", r#"doc={"y":"1"}"#),
    ] {
        assert_eq!(form(query, body), expected, "{query} {body}");
    }
}

#[test]
fn only_an_object_is_an_event() {
    assert_eq!(no_body(""), "");
    assert_eq!(form("", "=&&"), "");
    compare(
        json,
        [
            (" {\r\n} ", ""),
            ("null", "not-an-object: expected a JSON object, got null"),
            ("true", "not-an-object: expected a JSON object, got a boolean"),
            ("5", "not-an-object: expected a JSON object, got a number"),
            ("\"{}\"", "not-an-object: expected a JSON object, got a string"),
            (
                "",
                "json: the body is not JSON: the text ends inside a value (line 1, column 1)",
            ),
            (
                "{} {}",
                "json: the body is not JSON: there is more text after the end of the document (line 1, column 4)",
            ),
            (
                "{\n \"ä\": 01}",
                "json: the body is not JSON: this is not a valid JSON number (line 2, column 8)",
            ),
            // A syntax error takes precedence over invalid values before it.
            (
                "{\"n\":300,\"a\"}",
                "json: the body is not JSON: expected `:` after a key (line 1, column 13)",
            ),
            (
                "{\"a\":\"x",
                "json: the body is not JSON: the text ends inside a value (line 1, column 8)",
            ),
            (
                "{\"td\":{\"x\":nul}}",
                "json: the body is not JSON: expected a value (line 1, column 12)",
            ),
        ],
    );
}

#[test]
fn an_event_that_nests_too_deep_or_has_too_long_paths_is_rejected() {
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let path = ["a"; 128].join("_");
    assert_eq!(json(&nested(128)), format!("extra[{path}=1]"));
    let rejection = json(&nested(129));
    assert!(
        rejection.starts_with("json: the body is not JSON: arrays and objects are nested too deep"),
        "{rejection}"
    );

    let long = "k".repeat(1_000);
    let leaves = |count: usize| (0..count).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
    let below = |count: usize| json(&format!(r#"{{"{long}":{{{}}}}}"#, leaves(count)));
    assert!(below(1_000).starts_with("extra["));
    let rejection = below(1_100);
    assert!(
        rejection.starts_with("json: the body is refused: the key paths of nested values are too long"),
        "{rejection}"
    );
    // The text of a form contains the whole paths.
    let fields: Vec<_> = (0..1_100).map(|n| format!("{long}[{n}x]=1")).collect();
    let rejection = form("", &fields.join("&"));
    assert!(
        rejection.starts_with("json: the body is refused: the key paths"),
        "{rejection}"
    );
}
