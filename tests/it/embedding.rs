//! The layers inside another service: a crate with its own schema, and the unchanged examples.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rowmill::tables::MailStatisticsLayer;
use rowmill_ingest::{
    ClickHouseUrl, EventLayer, EventOptions, Writer, WriterOptions, route::Routes, table::ColumnKind,
};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceBuilder, service_fn};

use crate::support::{engine::Database, http, service::Served};

#[test]
fn declared_routes_are_handled_and_other_requests_pass_unchanged() {
    let database = Database::named("embedded");
    let served = Served::start(&database, &embedder::tables::SCHEMA, |writer| {
        embedder::tables::layer(writer)
            .unwrap()
            .layer(service_fn(embedder::shop))
    });

    let order = http::post_json(served.address, "/wh/order", r#"{"number":"A-1","amount":"12.50"}"#);
    assert_eq!(
        (order.status, order.json()["key"].as_str()),
        (200, Some("in.gen.wh.order"))
    );
    assert_eq!(http::get(served.address, "/wh/refund.gif?number=A-2").status, 200);
    assert_eq!(http::get(served.address, "/shop/anything?price=2.5").status, 200);

    for (method, target, body) in [
        ("GET", "/", ""),
        ("POST", "/checkout", r#"{"service":"wh","name":"order"}"#),
        ("PUT", "/wh/mail", "x"),
        ("DELETE", "/api/users/7", ""),
        ("GET", "/lib.js", ""),
    ] {
        let answer = http::send(served.address, method, target, &[], body.as_bytes());
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("shop: {target}").as_str()),
            "{method} {target}"
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
    let preflight = http::send(
        served.address,
        "OPTIONS",
        "/wh/order",
        &[("Origin", "https://a.example")],
        &[],
    );
    // A page of another site may send no cookie.
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));

    served.drain();
    assert_eq!(
        database.query("SELECT number, amount, currency, total FROM orders ORDER BY number"),
        "A-1\t12.5\tEUR\t25\nA-2\t0.5\tEUR\t1\n"
    );
    assert_eq!(database.query("SELECT price, uid > 0 FROM visits"), "2.5\t1\n");
}

#[test]
fn fields_do_not_turn_the_services_own_paths_into_events() {
    let database = Database::named("embedded_fields");
    let served = Served::start(&database, &rowmill::tables::SCHEMA, |writer| {
        ServiceBuilder::new()
            .layer(MailStatisticsLayer::new(writer.clone()).unwrap())
            .layer(rowmill::tables::layer(writer).unwrap())
            .service(service_fn(embedder::shop))
    });
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for (method, target, body) in [
        (
            "GET",
            "/account?service=redir&name=mail&to=https%3A%2F%2Fevil.example",
            "",
        ),
        (
            "HEAD",
            "/account?service=redir&name=mail&to=https%3A%2F%2Fevil.example",
            "",
        ),
        ("GET", "/?service=pixel&name=mail", ""),
        ("GET", "/wh?name=mail", ""),
        ("GET", "/x/mail?service=wh", ""),
        ("POST", "/login?service=pixel&name=mail", "user=ann&password=secret"),
        ("POST", "/login", "service=pixel&name=mail&password=secret"),
    ] {
        let answer = http::send(served.address, method, target, &form, body.as_bytes());
        let own = if method == "HEAD" {
            String::new()
        } else {
            format!("shop: {}", target.split('?').next().unwrap())
        };
        assert_eq!((answer.status, answer.text()), (200, own.as_str()), "{method} {target}");
        assert_eq!(
            (answer.header("location"), answer.header("set-cookie")),
            (None, None),
            "{method} {target}"
        );
    }
    let order = "/wh/mail?service=redir&name=x&to=https%3A%2F%2Fevil.example";
    let answer = http::send(served.address, "POST", order, &form, b"event=kept");
    assert_eq!(
        (answer.status, answer.header("location"), answer.json()["key"].as_str()),
        (200, None, Some("in.gen.wh.mail"))
    );
    let head = http::send(served.address, "HEAD", order, &[], &[]);
    assert_eq!((head.status, head.header("location")), (200, None));

    served.drain();
    assert_eq!(
        database.query("SELECT service, name, event, arraySort(extra.key) FROM mail_statistics"),
        "wh\tmail\tkept\t['name','service','to']\n"
    );
    assert_eq!((database.count("webhooks"), database.count("rejected")), (0, 0));
}

#[test]
fn layers_of_single_tables_stack() {
    let database = Database::named("stacked");
    let served = Served::start(&database, &embedder::tables::SCHEMA, |writer| {
        ServiceBuilder::new()
            .layer(embedder::tables::OrdersLayer::new(writer.clone()).unwrap())
            .layer(embedder::tables::VisitsLayer::new(writer).unwrap())
            .service(service_fn(embedder::shop))
    });
    assert_eq!(http::get(served.address, "/wh/order?number=B").status, 200);
    assert_eq!(http::get(served.address, "/shop/x?price=1").status, 200);
    // This table has no layer here, so the shop answers its route.
    assert_eq!(
        http::post_json(served.address, "/wh/types", "{}").text(),
        "shop: /wh/types"
    );
    served.drain();
    assert_eq!(
        (
            database.count("orders"),
            database.count("visits"),
            database.count("types")
        ),
        (1, 1, 0)
    );
}

#[test]
fn each_layer_has_its_own_options() {
    let database = Database::named("options");
    let options = EventOptions {
        max_body_bytes: 30,
        ..EventOptions::default()
    };
    let served = Served::start(&database, &embedder::tables::SCHEMA, |writer| {
        let layer: EventLayer<embedder::tables::Routes> =
            embedder::tables::layer(writer).unwrap().with_options(&options);
        layer.layer(service_fn(embedder::shop))
    });
    let long = http::post_json(served.address, "/wh/order", r#"{"number":"0123456789012345678"}"#);
    assert_eq!(long.status, 413);
    let short = http::post_json(served.address, "/wh/order", r#"{"number":"1"}"#);
    assert_eq!(short.status, 200);
}

#[test]
fn the_generated_code_matches_the_schema() {
    use embedder::tables::{Routes as Destinations, SCHEMA, orders};

    assert_eq!(orders::Routes::WH_ORDER, "wh/order");
    let paths: Vec<_> = Destinations::DESTINATIONS
        .iter()
        .map(|destination| (destination.path, destination.table))
        .collect();
    assert!(
        paths.contains(&("wh/order", "orders")) && paths.contains(&("shop/default", "visits")),
        "{paths:?}"
    );
    assert!(SCHEMA.tables.iter().any(|table| table.name == "types"));
    let kind = |name| {
        orders::TABLE
            .columns
            .iter()
            .find(|column| column.name == name)
            .unwrap()
            .kind
    };
    assert_eq!(kind("number"), ColumnKind::Plain);
    assert_eq!(kind("created"), ColumnKind::Default);
    assert_eq!(kind("total"), ColumnKind::Materialized);
    assert_eq!(kind("label"), ColumnKind::Alias);
    assert_eq!(kind("raw"), ColumnKind::Ephemeral);
    let row = embedder::tables::Orders {
        number: "A".into(),
        ..Default::default()
    };
    assert_eq!((row.items, &*row.currency, row.r#type.as_ref()), (-1, "EUR", ""));
}

/// A running example, which is killed when it is dropped.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn try_example(name: &str) {
    let database = Database::named(name);
    let program: PathBuf = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(name);
    let mut child = Command::new(program)
        .env("LISTEN", "127.0.0.1:0")
        .env("ROWMILL_CLICKHOUSE", database.url())
        .stdout(Stdio::piped())
        .spawn()
        .expect(
            "`cargo test --workspace` builds the examples; for this test alone, run `cargo build --examples` before",
        );
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut example = Example(child);
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap()
        .parse()
        .unwrap();

    let answer = http::post_json(address, "/wh/mail", r#"{"event":"sent"}"#);
    assert_eq!(
        (answer.status, answer.json()["key"].as_str()),
        (200, Some("in.gen.wh.mail")),
        "{name}"
    );
    let own = http::get(address, "/users/7");
    assert!(own.status == 200 && own.text().contains('7'), "{name}: {}", own.text());

    kill(Pid::from_raw(example.0.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(example.0.wait().unwrap().success(), "{name}");
    assert_eq!(
        database.query("SELECT event, td_ip FROM mail_statistics"),
        "sent\t127.0.0.1\n",
        "{name}"
    );
}

#[test]
fn the_hyper_example_works() {
    try_example("embed_hyper");
}

#[test]
fn the_axum_example_works() {
    try_example("embed_axum");
}

#[test]
fn axum_serves_a_router_in_the_layer() {
    let database = Database::named("axum_serve");
    let runtime = Runtime::new().unwrap();
    let (writer, address) = runtime.block_on(async {
        let store: ClickHouseUrl = database.url().parse().unwrap();
        let writer = Writer::start(&rowmill::tables::SCHEMA, store, &WriterOptions::default());
        writer.synced(Duration::from_secs(60)).await.unwrap();
        let router = axum::Router::new().route("/", axum::routing::get(async || "the shop"));
        let service = rowmill::tables::layer(writer.clone()).unwrap().layer(router);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, service).await });
        (writer, address)
    });
    assert_eq!(http::post_json(address, "/wh/mail", r#"{"event":"sent"}"#).status, 200);
    assert_eq!(http::get(address, "/").text(), "the shop");
    assert!(runtime.block_on(writer.drain(Duration::from_secs(60))).is_complete());
    // The address of the peer is known without `ConnectInfo`.
    assert_eq!(
        database.query("SELECT event, td_ip FROM mail_statistics"),
        "sent\t127.0.0.1\n"
    );
}

#[test]
fn a_new_layer_refuses_a_writer_of_another_schema() {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let store: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
    let writer = Writer::start(&embedder::tables::SCHEMA, store, &WriterOptions::default());
    // Neither the layer of all tables nor that of one table accepts a writer of another schema.
    assert!(embedder::tables::layer(writer.clone()).is_ok());
    let all = rowmill::tables::layer(writer.clone()).unwrap_err();
    let one = MailStatisticsLayer::new(writer).unwrap_err();
    assert_eq!(all, one);
    let text = all.to_string();
    assert!(
        text.contains("another schema") && text.contains("mail_statistics") && text.contains("orders"),
        "{text}"
    );
}
