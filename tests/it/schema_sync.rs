//! What the start makes of the database: creates what is missing, in place, and touches nothing else.

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
};

fn columns(database: &Database, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT name FROM system.columns WHERE database = '{}' AND table = '{table}' ORDER BY position",
        database.name
    );
    database.query(&sql).lines().map(str::to_owned).collect()
}

#[test]
fn creates_the_database_and_its_tables_once() {
    let database = Database::named("sync_new");
    let plan = collector::run(&["plan", "--clickhouse", &database.url()]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(
        plan.starts_with(&format!("CREATE DATABASE IF NOT EXISTS `{}`;\n", database.name)),
        "{plan}"
    );
    assert!(plan.contains("CREATE TABLE IF NOT EXISTS `mail_statistics`\n"));
    assert!(
        !database.on_server("SHOW DATABASES").unwrap().contains(&database.name),
        "plan has changed something"
    );

    let apply = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert_eq!(String::from_utf8(apply.stdout).unwrap(), plan);
    assert_eq!(
        database.query("SHOW TABLES"),
        "activity\nevents\nmail_statistics\nping\nrejected\nwebhooks\n"
    );
    let again = collector::run(&["plan", "--clickhouse", &database.url()]);
    assert_eq!((again.stdout.as_slice(), again.status.success()), (&b""[..], true));
}

#[test]
fn adds_missing_columns_in_their_places_and_keeps_strange_ones() {
    let database = Database::create("sync_add");
    database.query(
        "CREATE TABLE mail_statistics (id UInt64, date Date, name String, service String, event String, \
         strange Int32, detailed String) ENGINE = MergeTree ORDER BY (service, name, date) \
         SETTINGS non_replicated_deduplication_window = 1000",
    );
    database.query("INSERT INTO mail_statistics (id, event, strange) VALUES (1, 'old', 7)");
    let collector = Collector::start(&database);

    let found = columns(&database, "mail_statistics");
    let known: Vec<&String> = found.iter().filter(|column| *column != "strange").collect();
    let created = Database::create("sync_add_beside");
    drop(Collector::start(&created));
    assert_eq!(known, columns(&created, "mail_statistics").iter().collect::<Vec<_>>());
    assert_eq!(
        database.query("SELECT id, event, email, strange FROM mail_statistics"),
        "1\told\t\t7\n"
    );

    assert_eq!(
        http::post_json(collector.address, "/wh/mail", r#"{"event":"new"}"#).status,
        200
    );
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(
        database.query("SELECT strange, td_ip FROM mail_statistics WHERE event = 'new'"),
        "0\t127.0.0.1\n"
    );
}

#[test]
fn stops_at_columns_of_another_type_and_changes_nothing() {
    let database = Database::create("sync_differs");
    database.query(
        "CREATE TABLE mail_statistics (id UInt64, event UInt8, email Nullable(String), service String, name String, \
         date Date) ENGINE = MergeTree ORDER BY (service, name, date)",
    );
    let output = collector::run(&["serve", "--listen", "127.0.0.1:0", "--clickhouse", &database.url()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty());
    for part in [
        "mail_statistics",
        "`event`",
        "UInt8",
        "String",
        "ALTER TABLE `mail_statistics` MODIFY COLUMN `event` String",
        "ALTER TABLE `mail_statistics` MODIFY COLUMN `email` String",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(database.query("SHOW TABLES"), "mail_statistics\n");
    assert_eq!(columns(&database, "mail_statistics").len(), 6);
}

#[test]
fn says_what_is_wrong_with_the_url() {
    for (url, word) in [
        ("https://127.0.0.1:8123/stats", "https"),
        ("http://127.0.0.1:8123", "database"),
        ("127.0.0.1/stats", "http://"),
        ("http://user:secret-word@127.0.0.1:1/stats", "127.0.0.1:1"),
    ] {
        let output = collector::run(&["serve", "--listen", "127.0.0.1:0", "--clickhouse", url]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}: {text}");
        assert!(text.contains(word), "{url}: {text}");
        assert!(!text.contains("secret-word"), "{text}");
    }
}
