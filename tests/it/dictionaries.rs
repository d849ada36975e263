//! Dictionaries of a schema: created before the tables and views that use them, compared, replaced,
//! and used from an event to an aggregate.

use std::future::Future;

use gallery::dictionary_tables::{SCHEMA, layer};
use rowmill_ingest::{
    ClickHouseUrl,
    schema::{Impact, apply_drift, compare, dictionary_drift, plan, sync, view_drift},
    table::{Dictionary, Schema},
};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served, wait_for};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(future)
}

fn url(database: &Database) -> ClickHouseUrl {
    database.url().parse().unwrap()
}

fn post(served: &Served, path: &str, body: &str) {
    let answer = http::post_json(served.address, path, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn an_event_reaches_an_aggregate_through_a_dictionary() {
    let database = Database::named("dictionaries").for_owner();
    let planned = block_on(plan(&url(&database), &SCHEMA)).unwrap().statements;
    let name = format!("dictGet('{}.shop_country_names', 'name', ", database.name);
    for part in ["`shop_visits`", "CREATE MATERIALIZED VIEW"] {
        let is_named = |statement: &&String| statement.contains(part) && statement.contains(&name);
        assert!(
            planned.iter().any(|statement| is_named(&statement)),
            "{part}: {planned:?}"
        );
    }
    let planned: Vec<_> = planned
        .iter()
        .map(|statement| database.without_name(statement))
        .collect();
    let place = |part: &str| planned.iter().position(|statement| statement.contains(part)).unwrap();
    let dictionary = place("CREATE DICTIONARY IF NOT EXISTS `shop_country_names`");
    assert!(
        place("CREATE TABLE IF NOT EXISTS `shop_countries`") < dictionary,
        "{planned:?}"
    );
    assert!(
        dictionary < place("CREATE TABLE IF NOT EXISTS `shop_visits`"),
        "{planned:?}"
    );
    assert!(dictionary < place("CREATE MATERIALIZED VIEW"), "{planned:?}");

    let served = Served::start(&database, &SCHEMA, |writer| {
        layer(writer).unwrap().layer(service_fn(embedder::shop))
    });
    for (code, name) in [("fr", "France"), ("jp", "Japan")] {
        post(
            &served,
            "/wh/country",
            &format!(r#"{{"code":"{code}","name":"{name}"}}"#),
        );
    }
    database.wait_for_rows("shop_countries", 2);
    // The embedded ClickHouse updates no dictionary by itself.
    database.query("SYSTEM RELOAD DICTIONARY shop_country_names");
    let names = database.query("SELECT dictGet('shop_country_names', 'name', arrayJoin(['fr', 'jp']))");
    assert_eq!(names, "France\nJapan\n");
    for country in ["fr", "jp", "fr", "xx"] {
        post(&served, "/wh/visit", &format!(r#"{{"country":"{country}"}}"#));
    }
    database.wait_for_rows("shop_visits", 4);
    let expected = "France\t2\nJapan\t1\nunknown\t1\n";
    wait_for("the view", || {
        let sums = database.query("SELECT name, sum(visits) FROM shop_by_country GROUP BY name ORDER BY name");
        (sums == expected).then_some(())
    });
    let names = "SELECT country_name, count() FROM shop_visits GROUP BY country_name ORDER BY country_name";
    assert_eq!(database.query(names), expected);

    let (planned, found) = block_on(compare(&url(&database), &SCHEMA)).unwrap();
    let planned = planned.unwrap();
    assert_eq!(planned.statements, [""; 0]);
    assert_eq!((found.drifts, found.warnings), (Vec::new(), Vec::new()));
    let views = block_on(view_drift(&url(&database), &SCHEMA)).unwrap();
    assert_eq!((views.drifts, views.warnings), (Vec::new(), Vec::new()));
}

#[test]
fn a_changed_dictionary_is_seen_and_replaced() {
    let database = Database::named("dictionary_drift").for_owner();
    let url = url(&database);
    block_on(sync(&url, &SCHEMA)).unwrap();
    let drifts = || block_on(dictionary_drift(&url, &SCHEMA)).unwrap();
    assert_eq!(drifts().drifts, []);
    for change in [
        "(code String, name String DEFAULT 'none') PRIMARY KEY code SOURCE(CLICKHOUSE(TABLE 'shop_countries')) \
         LIFETIME(MIN 1 MAX 1) LAYOUT(COMPLEX_KEY_HASHED()) COMMENT 'It\\'s for the reports.'",
        "(code String, name String DEFAULT 'unknown') PRIMARY KEY code SOURCE(CLICKHOUSE(TABLE 'shop_countries')) \
         LIFETIME(MIN 1 MAX 5) LAYOUT(COMPLEX_KEY_HASHED()) COMMENT 'It\\'s for the reports.'",
        "(code String, name String DEFAULT 'unknown') PRIMARY KEY code SOURCE(CLICKHOUSE(TABLE 'shop_countries')) \
         LIFETIME(MIN 1 MAX 1) LAYOUT(COMPLEX_KEY_HASHED())",
    ] {
        database.query(&format!("CREATE OR REPLACE DICTIONARY shop_country_names {change}"));
        let found = drifts();
        let [drift] = &found.drifts[..] else {
            panic!("{change}: {found:?}")
        };
        assert_eq!((drift.table, drift.impact), ("shop_country_names", Impact::Safe));
        // The printed statement does the same in a client of another database.
        let named = format!("CREATE OR REPLACE DICTIONARY `{}`.`shop_country_names`", database.name);
        assert!(drift.statements[0].starts_with(&named), "{drift:?}");
        let refused = block_on(apply_drift(&url, &found, |_| true)).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(drifts().drifts, [], "{change}");
    }
}

#[test]
fn a_user_without_the_right_gets_the_grant_to_ask_for() {
    let database = Database::create("dictionary_grants");
    let error = format!("{:?}", block_on(sync(&url(&database), &SCHEMA)).unwrap_err());
    assert!(error.contains("the grant CREATE DICTIONARY ON"), "{error}");
}

#[test]
fn no_password_is_shown() {
    static DICTIONARIES: [Dictionary; 1] = [Dictionary::new(
        "far",
        "\n(k UInt64)\nPRIMARY KEY k\nSOURCE(CLICKHOUSE(HOST 'far' TABLE 't' USER 'u' PASSWORD 'hunter\\'2'))\n\
         LIFETIME(300)\nLAYOUT(FLAT())",
    )];
    // The table that uses no other dictionary.
    let schema = Schema::new(&SCHEMA.tables[..1]).with_dictionaries(&DICTIONARIES);
    let collector = Database::create("dictionary_password");
    let error = block_on(sync(&url(&collector), &schema)).unwrap_err().to_string();
    let database = Database::named("dictionary_hidden").for_owner();
    let planned = block_on(plan(&url(&database), &schema)).unwrap();
    let done = block_on(sync(&url(&database), &schema)).unwrap();
    for shown in [error, format!("{planned:?}"), format!("{done:?}")] {
        assert!(shown.contains("[HIDDEN]") && !shown.contains("hunter"), "{shown}");
    }
    // The password itself has reached ClickHouse, which hides it, too.
    assert_eq!(block_on(dictionary_drift(&url(&database), &schema)).unwrap().drifts, []);
    assert!(database.query("SHOW CREATE DICTIONARY far").contains("[HIDDEN]"));
}
