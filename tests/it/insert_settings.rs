//! The settings of a table's inserts: sent with each insert of the table, and refused at build as in the
//! URL of ClickHouse.

use std::fs;

use gallery::dictionary_tables::{SCHEMA, layer};
use rowmill_codegen::generate_texts;
use rowmill_ingest::ClickHouseUrl;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, proxy::Proxy, service::Served};

#[test]
fn each_insert_of_a_table_has_its_settings() {
    let database = Database::named("insert_settings").for_owner();
    let proxy = Proxy::start(database.engine);
    let served = Served::start_through(&proxy, &database, &SCHEMA, |writer| {
        layer(writer).unwrap().layer(service_fn(embedder::shop))
    });
    for (path, body) in [
        ("/wh/visit", r#"{"country":"fr"}"#),
        ("/wh/country", r#"{"code":"fr","name":"France"}"#),
    ] {
        assert_eq!(http::post_json(served.address, path, body).status, 200);
    }
    database.wait_for_rows("shop_visits", 1);
    database.wait_for_rows("shop_countries", 1);
    let seen = proxy.seen();
    let inserts: Vec<&str> = seen
        .lines()
        .filter(|line| line.contains("insert_deduplication_token"))
        .collect();
    assert!(inserts.len() >= 2, "{seen}");
    for insert in inserts {
        let is_of_visits = insert.contains("shop_visits%3A");
        assert_eq!(insert.contains("log_comment=shop+visits"), is_of_visits, "{insert}");
        assert_eq!(insert.contains("max_execution_time=30"), is_of_visits, "{insert}");
    }
}

/// Both refuse the same settings of those that ClickHouse has, for the same reasons.
#[test]
fn the_build_refuses_what_the_url_refuses() {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/src/server_names/settings.txt");
    let list = fs::read_to_string(list).unwrap();
    let names: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    // A report shows at most 300 problems.
    let problems: Vec<_> = names.chunks(200).flat_map(problems_of).collect();
    let mut refused = 0;
    for name in names {
        let by_build = problems.iter().find_map(|problem| {
            let rest = problem.strip_prefix("the setting `")?.strip_prefix(name)?;
            rest.strip_prefix("` of inserts cannot be set: ")
        });
        let by_url = format!("http://127.0.0.1:1/d?{name}=1").parse::<ClickHouseUrl>().err();
        let by_url = by_url.map(|error| error.to_string());
        assert_eq!(by_build.is_some(), by_url.is_some(), "{name}: {by_build:?}, {by_url:?}");
        if let (Some(reason), Some(error)) = (by_build, by_url) {
            assert!(error.contains(reason), "{name}: {reason}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Returns the messages of the build for a table with these settings.
fn problems_of(names: &[&str]) -> Vec<String> {
    let yaml: String = names.iter().map(|name| format!("          {name}: 1\n")).collect();
    let yaml = format!(
        "clickhouse:\n  destinations: {{ wh/a: a }}\n  tables:\n    a:\n      id: UInt64\n      _options:\n        \
         engine: MergeTree\n        order_by: id\n        insert_settings:\n{yaml}"
    );
    let problems = generate_texts([("a.yml", yaml)]).problems;
    problems.errors.into_iter().map(|problem| problem.message).collect()
}
