//! The effect of a start on the database: the collector creates missing objects in place and
//! changes nothing else.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Output,
    sync::{Arc, Mutex},
    thread,
};

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
    assert!(plan.contains(&format!(
        "CREATE TABLE IF NOT EXISTS `{}`.`mail_statistics`\n",
        database.name
    )));
    assert!(
        !database.on_server("SHOW DATABASES").unwrap().contains(&database.name),
        "plan has changed something"
    );

    let apply = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert_eq!(String::from_utf8(apply.stdout).unwrap(), plan);
    assert_eq!(
        database.query("SHOW TABLES"),
        "activity\nevents\nmail_statistics\nping\nrejected\nrowmill_nodes\nwebhooks\n"
    );
    let again = collector::run(&["plan", "--clickhouse", &database.url()]);
    assert_eq!((again.stdout.as_slice(), again.status.success()), (&b""[..], true));
}

#[test]
fn adds_missing_columns_in_place_and_keeps_unknown_ones() {
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
        "CREATE TABLE mail_statistics (id UInt64, event UInt8, email FixedString(9), service String, name String, \
         date Date) ENGINE = MergeTree ORDER BY (service, name, date)",
    );
    let output = collector::run(&["serve", "--listen", "127.0.0.1:0", "--clickhouse", &database.url()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty());
    let alter = format!("ALTER TABLE `{}`.`mail_statistics` MODIFY COLUMN", database.name);
    for part in [
        "mail_statistics",
        "`event`",
        "UInt8",
        "String",
        &format!("{alter} `event` String"),
        &format!("{alter} `email` String"),
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(database.query("SHOW TABLES"), "mail_statistics\n");
    assert_eq!(columns(&database, "mail_statistics").len(), 6);
}

#[test]
fn reports_invalid_urls() {
    for (url, word) in [
        ("ftp://127.0.0.1:8123/stats", "https://"),
        ("http://127.0.0.1:8123", "database"),
        ("127.0.0.1/stats", "http://"),
        (
            "https://user:secret-word@127.0.0.1:1/stats?async_insert=1",
            "async_insert",
        ),
    ] {
        let output = collector::run(&["serve", "--listen", "127.0.0.1:0", "--clickhouse", url]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}: {text}");
        assert!(text.contains(word), "{url}: {text}");
        assert!(!text.contains("secret-word"), "{text}");
    }
}

#[test]
fn a_table_without_a_deduplication_window_gets_one() {
    let database = Database::named("sync_window");
    assert!(
        collector::run(&["apply", "--clickhouse", &database.url()])
            .status
            .success()
    );
    for (table, engine) in [
        ("mail_statistics", "MergeTree ORDER BY (service, name, date)"),
        ("ping", "Log"),
        (
            "webhooks",
            "ReplacingMergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 7",
        ),
    ] {
        database.query(&format!("CREATE TABLE other AS {table} ENGINE = {engine}"));
        database.query(&format!("DROP TABLE {table}"));
        database.query(&format!("RENAME TABLE other TO {table}"));
    }
    let statement = &format!(
        "ALTER TABLE `{}`.`mail_statistics` MODIFY SETTING non_replicated_deduplication_window = 1000",
        database.name
    );
    let plan = collector::run(&["plan", "--clickhouse", &database.url()]);
    // The comments name the engines and keys, which no statement changes.
    let statements = |output: Output| {
        let text = String::from_utf8(output.stdout).unwrap();
        let statements = text.lines().filter(|line| !line.starts_with("-- "));
        statements.map(str::to_owned).collect::<Vec<_>>()
    };
    let warnings = String::from_utf8(plan.stderr.clone()).unwrap();
    assert_eq!(statements(plan), [format!("{statement};")]);
    assert_eq!(warnings.matches("warning: ").count(), 1, "{warnings}");
    assert!(warnings.contains("`ping` is a Log"), "{warnings}");
    assert!(
        !database
            .query("SHOW CREATE TABLE mail_statistics")
            .contains("deduplication_window")
    );

    let collector = Collector::start(&database);
    for _ in 0..2 {
        database.insert(b"INSERT INTO mail_statistics (id) VALUES (1)", "the-same");
    }
    assert_eq!(database.count("mail_statistics"), 1);
    let log = collector.stop().log;
    assert!(log.contains(statement) && log.contains("`ping` is a Log"), "{log}");
    let again = collector::run(&["plan", "--clickhouse", &database.url()]);
    assert_eq!(statements(again), [""; 0]);
}

#[test]
fn a_profile_that_turns_deduplication_off_is_overridden_in_inserts() {
    let database = Database::named("sync_profile");
    for (setting, is_overridden) in [
        ("deduplicate_insert=disable", true),
        ("deduplicate_insert=enable", false),
    ] {
        let proxy = Profile::start(database.engine, setting);
        let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
        assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
        let ended = collector.stop();
        let seen = String::from_utf8_lossy(&proxy.seen.lock().unwrap()).into_owned();
        let insert = seen.lines().find(|line| line.contains("INSERT+INTO+%60")).unwrap();
        assert_eq!(insert.contains("deduplicate_insert=enable"), is_overridden, "{insert}");
        assert_eq!(
            ended.log.contains("turns deduplication off"),
            is_overridden,
            "{}",
            ended.log
        );
    }
    assert_eq!(database.count("mail_statistics"), 2);
}

#[test]
fn a_window_that_the_user_may_not_set_causes_a_warning_with_its_statement() {
    let database = Database::named("sync_refused");
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success());
    database.query("CREATE TABLE sums (s UInt64) ENGINE = SummingMergeTree ORDER BY ()");
    database.query("CREATE MATERIALIZED VIEW counts TO sums AS SELECT count() AS s FROM mail_statistics");
    let proxy = Profile::start(database.engine, "allow_ddl=0");
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    let log = collector.stop().log;
    let statement = format!(
        "ALTER TABLE `{}`.`sums` MODIFY SETTING non_replicated_deduplication_window = 1000",
        database.name
    );
    let warning = log
        .lines()
        .find(|line| line.contains(&statement))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(
        warning.contains("WARN") && warning.contains("refuses a statement that prevents duplicate rows"),
        "{warning}"
    );
    // The rows are delivered in spite of the warning.
    assert_eq!(database.query("SELECT sum(s) FROM sums"), "1\n");
}

/// A proxy that adds a setting to each request, as a user's profile does, and records the requests.
struct Profile {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Profile {
    fn start(to: SocketAddr, setting: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (keep, setting) = (Arc::clone(&seen), format!("POST /?{setting}&"));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut server) = (client.unwrap(), TcpStream::connect(to).unwrap());
                let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut answers, &mut back));
                let (keep, setting) = (Arc::clone(&keep), setting.clone());
                thread::spawn(move || {
                    let mut buffer = [0; 1 << 16];
                    while let Ok(n @ 1..) = client.read(&mut buffer) {
                        keep.lock().unwrap().extend_from_slice(&buffer[..n]);
                        let (begin, rest) = match buffer[..n].strip_prefix(b"POST /?") {
                            Some(rest) => (setting.as_bytes(), rest),
                            None => (&b""[..], &buffer[..n]),
                        };
                        if server.write_all(&[begin, rest].concat()).is_err() {
                            break;
                        }
                    }
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, seen }
    }
}
