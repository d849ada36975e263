//! Servers of other versions, and settings in the URL of ClickHouse.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use rowmill_ingest::{
    Writer, WriterOptions,
    schema::{apply_drift, drift, sync},
    store::Servers,
};
use tokio::runtime::Runtime;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

/// Starts a server of another version, which knows none of the collector's settings. The server
/// runs until the test process ends.
fn old_server(version: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut request = Vec::new();
            let mut bytes = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match client.read(&mut bytes) {
                    Ok(length @ 1..) => request.extend_from_slice(&bytes[..length]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let line = request.lines().next().unwrap_or_default();
            let (status, body) = if line.starts_with("GET /?query=SELECT%20version() ") {
                ("200 OK", format!("{version}\n"))
            } else {
                let text = "Code: 115, e.displayText() = DB::Exception: Unknown setting wait_end_of_query";
                ("500 Internal Server Error", text.to_owned())
            };
            let _ = write!(
                client,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn an_old_server_is_recognized_by_its_version() {
    let url = format!("http://{}/stats", old_server("18.16.1"));
    let message = "ClickHouse 18.16 is older than 23.8, which Rowmill needs";
    let data = tempfile::tempdir().unwrap();
    let log = Collector::try_start_in(data.path(), &url, &[]).unwrap_err();
    assert!(log.contains(message) && !log.contains("unavailable"), "{log}");
    for command in ["plan", "apply"] {
        let output = collector::run(&[command, "--clickhouse", &url]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(message), "{error}");
    }
}

/// Lets a server seem to lack a setting: `system.settings` lists another name.
fn hide(proxy: &Proxy, setting: [&'static str; 2], other: [&'static str; 2]) {
    for (setting, other) in setting.into_iter().zip(other) {
        proxy.change(setting, other);
    }
}

#[test]
fn a_server_without_asynchronous_inserts_gets_inserts_without_their_settings() {
    let database = Database::create("settings_lacking");
    let proxy = Proxy::start(database.engine);
    // The names end so in the list of the request, as text or in a URL, with and without `wait_for_`.
    hide(
        &proxy,
        ["async_insert'", "async_insert%27"],
        ["async_xnsert'", "async_xnsert%27"],
    );
    let error = "Code: 115. DB::Exception: Unknown setting 'async_insert'. (UNKNOWN_SETTING)";
    proxy.refuse("async_insert=", error);
    let url = database.url_through(proxy.address);
    let collector = Collector::start_with(&url, &["--ack", "stored"]);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 1);
    let seen = proxy.seen();
    assert!(
        seen.contains("insert_deduplicate=") && !seen.contains("async_insert="),
        "{seen}"
    );
}

#[test]
fn a_server_without_a_setting_that_inserts_need_is_refused_with_its_name() {
    let database = Database::create("settings_needed");
    let proxy = Proxy::start(database.engine);
    hide(
        &proxy,
        ["'insert_deduplicate'", "%27insert_deduplicate%27"],
        ["'insert_deduplicatx'", "%27insert_deduplicatx%27"],
    );
    let data = tempfile::tempdir().unwrap();
    let log = Collector::try_start_in(data.path(), &database.url_through(proxy.address), &[]).unwrap_err();
    assert!(
        log.contains("ClickHouse has no setting `insert_deduplicate`, which Rowmill needs"),
        "{log}"
    );
}

#[test]
fn the_log_names_the_server_that_refuses_an_insert() {
    let database = Database::create("naming");
    let name = database.query("SELECT displayName()");
    let collector = Collector::start_with(&database.url(), &[]);
    database.query("DROP TABLE mail_statistics");
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    let line = wait_for("the refusal", || {
        let log = collector.log();
        log.lines()
            .find(|line| line.contains("an insert failed"))
            .map(str::to_owned)
    });
    assert!(line.contains(&format!("server=\"{}\"", name.trim())), "{line}");
}

#[test]
fn settings_of_the_url_go_with_each_insert() {
    let database = Database::named("url_settings");
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address) + "?max_insert_threads=2&log_comment=mail%20%26%20more";
    let collector = Collector::start_with(&url, &["--ack", "stored"]);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 1);
    let seen = proxy.seen();
    let inserts: Vec<_> = seen
        .split("POST /?")
        .filter(|request| request.contains("INSERT+INTO+%60mail_statistics%60"))
        .collect();
    assert!(!inserts.is_empty());
    for insert in inserts {
        assert!(insert.contains("&max_insert_threads=2&log_comment=mail+%26+more "));
    }
}

#[test]
fn a_setting_that_clickhouse_does_not_know_ends_the_start() {
    let database = Database::create("url_settings_unknown");
    let data = tempfile::tempdir().unwrap();
    for (setting, message) in [
        ("max_insert_treads=2", "max_insert_treads"),
        ("max_insert_threads=many", "many"),
        (
            "async_insert=1",
            "must not set `async_insert*`: a confirmed insert must be in its table",
        ),
    ] {
        let url = format!("{}?{setting}", database.url());
        let log = Collector::try_start_in(data.path(), &url, &[]).unwrap_err();
        assert!(log.contains(message), "{setting}: {log}");
        assert!(!collector::run(&["apply", "--clickhouse", &url]).status.success());
    }
}

#[test]
fn a_default_that_differs_is_a_condition_until_it_is_applied() {
    let database = Database::create("differing_default");
    let url: rowmill_ingest::ClickHouseUrl = database.url().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let differing = || {
        runtime.block_on(async {
            let writer = Writer::start(
                &embedder::tables::SCHEMA,
                Servers::from(url.clone()),
                &WriterOptions::default(),
            );
            writer.synced(std::time::Duration::from_secs(30)).await.unwrap();
            writer.status().differing_defaults
        })
    };
    assert_eq!(differing(), 0);
    let table = database
        .query("SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'currency'")
        .trim()
        .to_owned();
    database.query(&format!("ALTER TABLE {table} MODIFY COLUMN currency DEFAULT 'USD'"));
    assert_eq!(differing(), 1);
    runtime.block_on(async {
        let schema = &embedder::tables::SCHEMA;
        let report = drift(&url, schema).await.unwrap();
        let refused = apply_drift(&url, &report, |drift| drift.difference.contains("DEFAULT 'USD'"));
        assert!(refused.await.unwrap().is_empty());
        sync(&url, schema).await.unwrap();
    });
    assert_eq!(differing(), 0);
}
