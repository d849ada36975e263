//! Routes as their senders dictate them: paths, methods and answers of their own, and JSON in the texts
//! of their bodies.

use std::{env, process::Command};

use embedder::tables;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];

fn served(database: &Database) -> Served {
    Served::start(database, &tables::SCHEMA, |writer| {
        let shop = service_fn(embedder::shop::<hyper::body::Incoming>);
        tables::layer(writer).unwrap().layer(shop)
    })
}

#[test]
fn a_request_to_a_path_of_its_own_is_an_event_of_the_route() {
    let database = Database::create("route_paths");
    let served = served(&database);
    let send = |method, target, body: &str| http::send(served.address, method, target, JSON, body.as_bytes());
    for (method, target) in [
        ("POST", "/v1/batch/"),
        ("PUT", "/track"),
        ("PUT", "/track?n=3"),
        ("PUT", "/hooks/a/b"),
        ("POST", "/wh/shop"),
    ] {
        let answer = send(method, target, r#"{"n":3}"#);
        assert_eq!((answer.status, answer.text()), (204, ""), "{method} {target}");
        assert_eq!(answer.header("content-type"), None);
        assert_eq!(answer.header("x-rowmill-ack"), Some("accepted"));
    }
    let picture = http::get(served.address, "/open.gif?n=4");
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, Some("image/gif"))
    );
    let answer = send("POST", "/monday", r#"{"n":5}"#);
    assert_eq!(answer.json()["key"], "in.gen.wh.monday");

    // These requests are the shop's.
    for (method, target) in [
        ("GET", "/track"),
        ("DELETE", "/v1/batch/"),
        ("POST", "/v1/batch//"),
        ("POST", "/track/"),
        ("POST", "/hooks/"),
        ("POST", "/open"),
        ("POST", "/hooks"),
        ("POST", "/"),
    ] {
        let answer = send(method, target, "");
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("shop: {target}").as_str()),
            "{method}"
        );
    }
    assert_eq!(
        send("HEAD", "/track", "").header("content-type"),
        Some("application/json")
    );
    assert_eq!(send("POST", "/track", "{").status, 400);

    served.drain();
    assert_eq!(
        database.query("SELECT service, name, channel, n, count() FROM calls GROUP BY ALL ORDER BY n"),
        "wh\tshop\thttp\t3\t5\npixel\tshop\tpixel\t4\t1\nwh\tmonday\thttp\t5\t1\n"
    );
    // The dead letter of the invalid body has the route's address.
    assert_eq!(database.query("SELECT service, name FROM rejected"), "wh\tshop\n");
}

#[test]
fn a_request_of_many_events_has_the_answer_that_its_sender_expects() {
    let database = Database::create("route_batches");
    let served = served(&database);
    let send = |content_type, body: &str| {
        let headers = [("Content-Type", content_type)];
        http::send(served.address, "POST", "/wh/shop", &headers, body.as_bytes())
    };
    for (content_type, body) in [
        ("application/json", r#"[{"n":1},{"n":2}]"#),
        ("application/x-ndjson", "{\"n\":3}\n{\"n\":\"x\"}\n"),
        ("application/json", "[]"),
    ] {
        let answer = send(content_type, body);
        assert_eq!((answer.status, answer.text()), (204, ""), "{body}");
    }
    let refused = send("application/json", r#"[{"n":"x"}]"#);
    assert_eq!((refused.status, &refused.json()["refused"]), (400, &1.into()));
    served.drain();
    assert_eq!(database.query("SELECT n FROM calls ORDER BY n"), "1\n2\n3\n");
    assert_eq!(database.count("rejected"), 2);
}

#[test]
fn a_page_may_send_the_methods_of_a_route() {
    let database = Database::create("route_preflight");
    let served = served(&database);
    for (target, methods) in [("/track", "POST, PUT"), ("/wh/slack", "GET, POST")] {
        let asks = [
            ("Origin", "https://shop.example"),
            ("Access-Control-Request-Method", "PUT"),
        ];
        let answer = http::send(served.address, "OPTIONS", target, &asks, b"");
        assert_eq!(
            (answer.status, answer.header("access-control-allow-methods")),
            (200, Some(methods)),
            "{target}"
        );
    }
}

#[test]
fn the_layer_of_a_table_has_the_paths_of_its_routes() {
    let database = Database::create("route_paths_of_a_table");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        let shop = service_fn(embedder::shop::<hyper::body::Incoming>);
        let orders = tables::OrdersLayer::new(writer.clone()).unwrap().layer(shop);
        tables::CallsLayer::new(writer).unwrap().layer(orders)
    });
    let answer = http::send(served.address, "POST", "/track", JSON, br#"{"n":3}"#);
    assert_eq!(answer.status, 204);
    served.drain();
    assert_eq!(database.count("calls"), 1);
}

#[test]
fn a_sender_that_checks_an_address_gets_its_field_back() {
    let database = Database::create("route_echo");
    let served = served(&database);
    let slack = br#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let answer = http::send(served.address, "POST", "/wh/slack", JSON, slack);
    assert_eq!(
        (answer.status, answer.text(), answer.header("content-type")),
        (
            200,
            "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
            Some("text/plain; charset=utf-8")
        )
    );
    let answer = http::send(served.address, "POST", "/monday", JSON, br#"{"challenge":"a\"b"}"#);
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        (r#"{"challenge":"a\"b"}"#, Some("application/json"))
    );

    let token = std::env::var("HOME").unwrap();
    let meta = |token: &str| {
        let target = format!("/wh/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        http::get(served.address, &target)
    };
    let answer = meta(&token);
    assert_eq!((answer.status, answer.text()), (200, "1158201444"));
    for wrong in ["", "/x", &format!("{token}x")] {
        let answer = meta(wrong);
        assert_eq!(answer.status, 403, "{wrong}");
        assert!(!answer.text().contains("1158201444"));
    }

    // All other requests are events.
    let answer = http::send(served.address, "POST", "/wh/slack", JSON, br#"{"n":1}"#);
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    let answer = http::send(served.address, "POST", "/wh/meta", JSON, br#"{"n":2}"#);
    assert_eq!(answer.json()["key"], "in.gen.wh.meta");
    served.drain();
    assert_eq!(
        database.query("SELECT name, n FROM calls ORDER BY n"),
        "slack\t1\nmeta\t2\n"
    );
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn json_in_a_field_of_a_form_fills_columns() {
    let database = Database::create("route_parse");
    let served = served(&database);
    for (headers, body) in [
        (FORM, "n=1&payload=%7B%22action%22%3A%22opened%22%2C%22n%22%3A1%7D"),
        (JSON, r#"{"n":2,"payload":"{\"action\":\"closed\"}"}"#),
        (
            FORM,
            "n=3&mandrill_events=%5B%7B%22event%22%3A%22open%22%2C%22ts%22%3A1%7D%2C%7B%22event%22%3A%22click%22%2C%22ts%22%3A2%7D%5D",
        ),
        (FORM, "n=4&mandrill_events=none"),
    ] {
        let answer = http::send(served.address, "POST", "/wh/github", headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // One value where a column has a list is a list of one.
    assert_eq!(http::get(served.address, "/wh/slack?n=5&tags=a").status, 200);
    let answer = http::send(served.address, "POST", "/wh/slack", JSON, br#"{"n":6,"tags":"[1]"}"#);
    assert_eq!(answer.status, 200);
    served.drain();
    assert_eq!(
        database.query("SELECT n, action, tags, mandrill_events FROM calls ORDER BY n FORMAT TSVRaw"),
        "1\topened\t[]\t[]\n\
         2\tclosed\t[]\t[]\n\
         3\t\t[]\t['{\"event\":\"open\",\"ts\":1}','{\"event\":\"click\",\"ts\":2}']\n\
         4\t\t[]\t['none']\n\
         5\t\t['a']\t[]\n\
         6\t\t['[1]']\t[]\n"
    );
}

const PAGE: &str = include_str!("../../docs/routes.md");

/// Returns the blocks of the page in a language, each with the block of text that follows it.
fn blocks(language: &str) -> Vec<(&str, Option<&str>)> {
    let fence = format!("```{language}\n");
    let blocks = PAGE.split(fence.as_str()).skip(1);
    blocks
        .map(|rest| {
            let (block, after) = rest.split_once("```\n").unwrap();
            let output = after
                .strip_prefix("```text\n")
                .map(|text| text.split("```").next().unwrap());
            (block, output)
        })
        .collect()
}

#[test]
fn the_requests_of_the_page_work() {
    let schema = include_str!("../embedder/schemas/routes.yml");
    let (shown, _) = blocks("yaml")[0];
    // The tests of this process can rely on the variable `HOME`.
    assert!(schema.ends_with(&shown.replace("META_TOKEN", "HOME")));

    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let database = Database::create("route_page");
    let served = served(&database);
    let folder = tempfile::tempdir().unwrap();
    for (commands, expected) in blocks("sh") {
        let commands = commands.replace("127.0.0.1:8080", &served.address.to_string());
        let mut sh = Command::new("sh");
        sh.args(["-e", "-c", &commands]).current_dir(folder.path());
        let output = sh.env("META_TOKEN", env::var("HOME").unwrap()).output().unwrap();
        assert!(output.status.success(), "{commands}");
        let text = String::from_utf8(output.stdout).unwrap();
        match expected {
            Some(expected) => assert_eq!(text, expected.trim_end(), "{commands}"),
            None if commands.contains(" -si ") => {
                assert_eq!(
                    text.matches("HTTP/1.1 ").count(),
                    text.matches("HTTP/1.1 204 ").count(),
                    "{text}"
                );
            }
            None => assert!(!text.contains("message"), "{text}"),
        }
    }
    served.drain();
    assert_eq!(
        database.query("SELECT name, n, action FROM calls ORDER BY n"),
        "shop\t1\t\nshop\t2\t\nshop\t3\t\nshop\t4\t\ngithub\t5\topened\ngithub\t6\tclosed\nshop\t7\t\nshop\t8\t\n"
    );
    assert_eq!(database.count("rejected"), 0);
}
