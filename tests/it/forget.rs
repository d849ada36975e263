//! `rowmill forget`: a person's rows and dead letters are deleted everywhere, and nobody else's.

use std::{
    fs,
    io::Write,
    process::{Output, Stdio},
};

use embedder::tables;
use rowmill_ingest::{
    ClickHouseUrl,
    forget::{self, ForgetError, Person, Unreached},
    server::not_found,
};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    service::Served,
    wait_for,
};

const ANNA: &str = "anna+list@private.example";
const OTHER: &str = "anna@private.example";

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs the command with the value on standard input.
fn run(database: &Database, arguments: &[&str], value: &str) -> Output {
    let url = database.url();
    let mut command = collector::command();
    command
        .args(["forget", "--clickhouse", &url, "--value-file", "-"])
        .args(arguments);
    let pipes = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Sends mails, an event with the address in the extra, and dead letters, for two persons.
fn with_two_persons(name: &str) -> (Database, Collector) {
    let database = Database::named(name);
    let collector = Collector::start(&database);
    let post = |target: &str, body: &str, status| {
        assert_eq!(
            http::post_json(collector.address, target, body).status,
            status,
            "{target} {body}"
        );
    };
    for person in [ANNA, OTHER] {
        for event in ["sent", "opened"] {
            post("/wh/mail", &json!({"event": event, "email": person}).to_string(), 200);
        }
        post("/wh/visit", &json!({"title": "a", "email": person}).to_string(), 200);
        let encoded = person.replace('+', "%2B").replace('@', "%40");
        let refused = json!({"email": person, "list": {"a": 1}, "projectId": -5}).to_string();
        post("/wh/mail/-5", &refused, 400);
        post(&format!("/wh/mail?email={encoded}"), "{", 400);
    }
    database.wait_for_rows("mail_statistics", 4);
    database.wait_for_rows("rejected", 4);
    (database, collector)
}

/// Returns how many rows of the tables, and of the dead letters, a person has.
fn rows(database: &Database, person: &str) -> [u64; 3] {
    let encoded = person.replace('+', "%2B").replace('@', "%40");
    [
        format!("SELECT count() FROM mail_statistics WHERE email = '{person}'"),
        format!("SELECT count() FROM webhooks WHERE has(extra.value, '{person}')"),
        format!("SELECT count() FROM rejected WHERE position(payload, '\"{person}\"') > 0 OR position(payload, '={encoded}') > 0"),
    ]
    .map(|sql| database.query(&sql).trim().parse().unwrap())
}

#[test]
fn a_person_is_forgotten_in_all_tables_and_dead_letters() {
    let (database, collector) = with_two_persons("forget_all");
    wait_for("the other events", || (rows(&database, OTHER)[1] == 1).then_some(()));
    assert_eq!((rows(&database, ANNA), rows(&database, OTHER)), ([2, 1, 2], [2, 1, 2]));

    // Without `--apply`, the command only prints.
    let planned = run(&database, &["--column", "email"], ANNA);
    let printed = text(&planned);
    assert!(planned.status.success(), "{printed}");
    for line in [
        "-- mail_statistics: 2 rows\n",
        "-- webhooks: 1 rows\n",
        "-- rejected: 2 dead letters\n",
        "ALTER TABLE `mail_statistics` DELETE WHERE ifNull(hex(SHA256(toString(`email`))) = '",
        "has no spool, whose rows may be of the person",
        "nothing is deleted without --apply",
    ] {
        assert!(printed.contains(line), "no {line:?} in {printed}");
    }
    assert!(!printed.contains("anna"), "{printed}");
    assert_eq!(rows(&database, ANNA), [2, 1, 2]);

    // The value with the end of its line, as `echo` writes it.
    let applied = run(
        &database,
        &["--column", "email", "--apply", "--no-spool"],
        &format!("{ANNA}\n"),
    );
    let printed = text(&applied);
    assert!(applied.status.success() && !printed.contains("anna"), "{printed}");
    assert!(
        printed.contains("-- deleted: 3 rows, 2 dead letters; no such row is left"),
        "{printed}"
    );
    assert_eq!((rows(&database, ANNA), rows(&database, OTHER)), ([0, 0, 0], [2, 1, 2]));

    // ClickHouse has no trace of the value in what it keeps of statements.
    let mutations = database.query("SELECT count(), countIf(position(command, 'anna') > 0) FROM system.mutations WHERE database = currentDatabase()");
    assert!(
        mutations.ends_with("\t0\n") && !mutations.starts_with('0'),
        "{mutations}"
    );

    let again = run(&database, &["--column", "email", "--apply", "--no-spool"], ANNA);
    assert!(
        text(&again).contains("-- deleted: 0 rows, 0 dead letters"),
        "{}",
        text(&again)
    );
    assert!(!collector.stop().log.contains("anna"));
}

#[test]
fn a_part_of_a_value_is_another_person() {
    let (database, _collector) = with_two_persons("forget_part");
    wait_for("the other events", || (rows(&database, OTHER)[1] == 1).then_some(()));
    // Of the two texts, `private.example` is in both, and the whole value of none.
    let applied = run(&database, &["--column", "email", "--apply", "--no-spool"], "anna");
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(rows(&database, ANNA)[..2], [2, 1]);
    for (arguments, value, message) in [
        (["--column", "emial"], ANNA, "no table has this column"),
        (["--column", "email"], "\n", "the value is empty"),
        (["--table", "mails"], ANNA, "the database has no table `mails`"),
    ] {
        let refused = run(&database, &arguments, value);
        assert!(
            !refused.status.success() && text(&refused).contains(message),
            "{}",
            text(&refused)
        );
    }
    // The schema of the program marks no column.
    let refused = run(&database, &[], ANNA);
    assert!(
        text(&refused).contains("no table has this column"),
        "{}",
        text(&refused)
    );
}

#[test]
fn nothing_is_deleted_while_rows_wait_in_the_spool() {
    let database = Database::named("forget_spool");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let collector = Collector::start_in(folder.path(), &database.url(), &[]);
    let send = |collector: &Collector, event: &str| {
        let body = json!({"event": event, "email": ANNA}).to_string();
        assert_eq!(http::post_json(collector.address, "/wh/mail", &body).status, 200);
    };
    send(&collector, "sent");
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(collector.stop().code, Some(0));
    // A collector without ClickHouse keeps the row on disk.
    let offline = Collector::start_without_clickhouse(folder.path());
    send(&offline, "opened");
    drop(offline);

    let arguments = ["--column", "email", "--data", data, "--apply"];
    let refused = run(&database, &arguments, ANNA);
    let printed = text(&refused);
    assert!(!refused.status.success(), "{printed}");
    assert!(printed.contains("1 rows wait in the spool"), "{printed}");
    assert_eq!(database.count("mail_statistics"), 1);

    let collector = Collector::start_in(folder.path(), &database.url(), &[]);
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(collector.stop().code, Some(0));
    let upload = folder.path().join("uploads").join("a.data");
    fs::create_dir_all(folder.path().join("uploads")).unwrap();
    fs::write(&upload, ANNA).unwrap();
    let refused = run(&database, &arguments, ANNA);
    assert!(
        text(&refused).contains("1 uploads are not complete"),
        "{}",
        text(&refused)
    );
    assert_eq!(database.count("mail_statistics"), 2);
    fs::remove_file(&upload).unwrap();
    let applied = run(&database, &arguments, ANNA);
    assert!(applied.status.success(), "{}", text(&applied));
    assert_eq!(database.count("mail_statistics"), 0);
}

#[test]
fn columns_with_personal_data_are_found_by_their_mark() {
    let database = Database::create("forget_marked");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    for (phone, email) in [("+49151", ANNA), ("+49152", OTHER), ("+49153", "+49151")] {
        let body = json!({"phone": phone, "email": email, "age": 1}).to_string();
        assert_eq!(http::post_json(served.address, "/wh/visit", &body).status, 200);
    }
    database.wait_for_rows("seen", 3);
    database.query("CREATE TABLE notes (phone Array(Nullable(FixedString(9)))) ENGINE = Memory");
    database.query("INSERT INTO notes VALUES (['+49151', NULL]), (['+49152']), ([])");
    database.query("CREATE TABLE lines (phone String) ENGINE = StripeLog");
    database.query("CREATE TABLE pairs (phone Tuple(String, String)) ENGINE = MergeTree ORDER BY ()");
    let proxy = Proxy::start(database.engine);
    let url: ClickHouseUrl = database.url_through(proxy.address).parse().unwrap();
    let person = Person::of_value("+49151");
    let runtime = Runtime::new().unwrap();
    let plan = runtime.block_on(forget::plan(&url, &tables::SCHEMA, &person)).unwrap();
    let found: Vec<_> = plan
        .tables
        .iter()
        .filter(|table| table.rows > 0)
        .map(|table| (&*table.table, table.rows))
        .collect();
    assert_eq!(found, [("notes", 1), ("seen", 2)]);
    let unreached: Vec<_> = plan
        .unreached
        .iter()
        .map(|Unreached { table, reason, .. }| format!("{table}: {reason}"))
        .collect();
    assert!(
        unreached.contains(&"lines: the engine StripeLog deletes no rows".to_owned())
            && unreached.contains(
                &"pairs: the column `phone` has the type Tuple(String, String), whose values are several".to_owned()
            ),
        "{unreached:?}"
    );
    runtime.block_on(forget::apply(&url, &plan, &person)).unwrap();
    // Other servers may take as long as this one for a deletion.
    assert!(proxy.seen().contains("distributed_ddl_task_timeout=3240"));
    assert_eq!(database.query("SELECT phone FROM seen"), "+49152\n");
    assert_eq!(database.count("notes"), 2);

    // Rows that arrive between the plan and its end are noticed.
    let person = Person::of_value("+49152");
    let plan = runtime.block_on(forget::plan(&url, &tables::SCHEMA, &person)).unwrap();
    database.query("CREATE TABLE late (phone String, n UInt8) ENGINE = MergeTree ORDER BY ()");
    let late = Person {
        table: Some("late".to_owned()),
        ..person
    };
    database.query("INSERT INTO late VALUES ('+49152', 1)");
    let mut planned = runtime.block_on(forget::plan(&url, &tables::SCHEMA, &late)).unwrap();
    planned.tables[0].statement = "ALTER TABLE `late` DELETE WHERE n = 2 SETTINGS mutations_sync = 2".to_owned();
    let left = runtime.block_on(forget::apply(&url, &planned, &late)).unwrap_err();
    assert!(
        matches!(&left, ForgetError::Remaining { table, rows: 1 } if table == "late"),
        "{left:?}"
    );
    drop(plan);
}

#[test]
fn a_view_that_keeps_no_such_column_is_named() {
    let database = Database::create("forget_views");
    let _served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let view = tables::SCHEMA.views.iter().find(|view| view.source.is_some()).unwrap();
    let source = view.source.as_ref().unwrap().table;
    let columns = |table: &str| {
        tables::SCHEMA
            .tables
            .iter()
            .chain(tables::SCHEMA.targets)
            .find(|known| known.name == table)
            .unwrap()
            .columns
    };
    let column = columns(source)
        .iter()
        .find(|column| columns(view.target).iter().all(|other| other.name != column.name))
        .unwrap();
    let person = Person {
        column: Some(column.name.to_owned()),
        ..Person::of_value("1")
    };
    let url: ClickHouseUrl = database.url().parse().unwrap();
    let plan = Runtime::new()
        .unwrap()
        .block_on(forget::plan(&url, &tables::SCHEMA, &person))
        .unwrap();
    let named = plan
        .unreached
        .iter()
        .any(|unreached| unreached.table == view.target && unreached.reason.contains(view.name));
    assert!(named, "{:?}", plan.unreached);
}
