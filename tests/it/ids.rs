//! Ids: no two rows or visitors share one, whichever processes create them, and processes that
//! share a node number report it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rowmill_ingest::{Ack, Writer, WriterOptions, schema::sync, store::Servers};
use tokio::runtime::Runtime;

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// The bit that is set in ids from a process without a node number.
const SPARE: u64 = 1 << 21;

const THREADS: u32 = 4;
const REQUESTS: u32 = 10;
const LINES: u32 = 100;

fn send_lines(collector: SocketAddr) {
    let lines = (0..LINES).fold(String::new(), |mut lines, number| {
        writeln!(lines, r#"{{"message_id":"{number}"}}"#).unwrap();
        lines
    });
    let types = [("Content-Type", "application/x-ndjson")];
    for _ in 0..REQUESTS {
        assert_eq!(
            http::send(collector, "POST", "/wh/mail", &types, lines.as_bytes()).status,
            200
        );
    }
}

/// Sends one event, and returns its id.
fn id_of_one(collector: &Collector) -> u64 {
    let answer = http::post_json(collector.address, "/wh/mail", r#"{"message_id":"1"}"#);
    assert_eq!(answer.status, 200);
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

/// Returns a metric of a collector.
fn metric(collector: &Collector, name: &str) -> Option<u64> {
    let answer = http::get(collector.address, "/metrics");
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    answer.text().lines().find_map(value)
}

fn node(collector: &Collector) -> Option<u64> {
    metric(collector, "rowmill_node")
}

fn node_of(id: u64) -> u64 {
    id >> 12 & 1023
}

fn wait_for_clash(collector: &Collector) {
    wait_for("a clash", || {
        (metric(collector, "rowmill_node_clashes_total")? > 0).then_some(())
    });
    // The log line follows the metric, and passes through a pipe.
    wait_for("the clash in the log", || {
        let log = collector.log();
        log.contains("ERROR another process has the same node number")
            .then_some(())
    });
    let ready = http::get(collector.address, "/ready");
    let text = ready.text();
    assert!(text.contains("another process had the same node number"), "{text}");
}

#[test]
fn two_collectors_without_a_node_number_share_no_id() {
    let database = Database::create("ids_two");
    let collectors = [Collector::start(&database), Collector::start(&database)];
    let nodes: BTreeSet<_> = collectors.iter().map(|collector| node(collector).unwrap()).collect();
    assert_eq!(nodes.len(), 2);
    thread::scope(|scope| {
        for collector in &collectors {
            for _ in 0..THREADS {
                scope.spawn(|| send_lines(collector.address));
            }
        }
    });
    let rows = u64::from(2 * THREADS * REQUESTS * LINES);
    database.wait_for_rows("mail_statistics", rows);
    assert_eq!(
        database.query("SELECT uniqExact(id), uniqExact(bitShiftRight(id, 12) % 1024) FROM mail_statistics"),
        format!("{rows}\t2\n")
    );
    // A visitor has an id too, here one for each request.
    let visitors = u64::from(2 * THREADS * REQUESTS);
    let all = database.query("SELECT uniqExact(uid), uniqExact(arrayJoin([id, uid])) FROM mail_statistics");
    assert_eq!(all, format!("{visitors}\t{}\n", rows + visitors));
    for collector in collectors {
        assert_eq!(metric(&collector, "rowmill_node_clashes_total"), Some(0));
        assert_eq!(collector.stop().code, Some(0));
    }
}

#[test]
fn two_collectors_with_the_same_node_number_report_it() {
    let database = Database::create("ids_same");
    let collectors = [(); 2].map(|()| Collector::start_with(&database.url(), &["--node", "5"]));
    for collector in &collectors {
        wait_for_clash(collector);
        let log = collector.log();
        assert!(
            log.contains("both make the same ids") && log.contains("node=5"),
            "{log}"
        );
        // The operator's number stays.
        assert_eq!((node(collector), node_of(id_of_one(collector))), (Some(5), 5));
    }
}

#[test]
fn a_single_collector_reports_no_clash_after_kills() {
    let database = Database::create("ids_alone");
    for _ in 0..3 {
        // Each collector has a new data folder, without the state of the previous one.
        Collector::start_with(&database.url(), &["--node", "5"]).kill();
    }
    let collector = Collector::start_with(&database.url(), &["--node", "5"]);
    let beats = "SELECT max(beats) FROM rowmill_nodes WHERE process = \
                 (SELECT process FROM rowmill_nodes ORDER BY started DESC LIMIT 1)";
    wait_for("a second heartbeat", || {
        (database.query(beats).trim().parse::<u64>().unwrap() >= 2).then_some(())
    });
    assert_eq!(
        metric(&collector, "rowmill_node_clashes_total"),
        Some(0),
        "{}",
        collector.log()
    );
    assert!(!collector.log().contains("ERROR"), "{}", collector.log());
}

#[test]
fn a_leased_number_yields_to_an_operators_number() {
    let database = Database::create("ids_way");
    let leased = Collector::start(&database);
    let number = node(&leased).unwrap();
    let chosen = Collector::start_with(&database.url(), &["--node", &number.to_string()]);
    wait_for_clash(&leased);
    wait_for("another number", || {
        (node(&leased).is_some_and(|node| node != number)).then_some(())
    });
    assert_ne!(node_of(id_of_one(&leased)), number);
    assert_eq!(node(&chosen), Some(number));
}

#[test]
fn one_of_two_copies_of_a_folder_gets_another_number() {
    let database = Database::create("ids_copy");
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let original = Collector::start_in(first.path(), &database.url(), &[]);
    let number = node(&original).unwrap();
    fs::create_dir(second.path().join("spool")).unwrap();
    fs::copy(ids_file(first.path()), ids_file(second.path())).unwrap();
    let copy = Collector::start_in(second.path(), &database.url(), &[]);
    assert_eq!(node(&copy), Some(number));
    wait_for_clash(&original);
    wait_for("two numbers", || (node(&original)? != node(&copy)?).then_some(()));
}

fn ids_file(data: &Path) -> PathBuf {
    data.join("spool/ids")
}

/// Returns the CRC-32C of `bytes`, computed bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Rewrites the file of ids as if the clock had been `ms` ahead. Returns the last millisecond that
/// may have ids.
fn move_clock_ahead(data: &Path, ms: u64) -> u64 {
    let text = fs::read_to_string(ids_file(data)).unwrap();
    let (head, rest) = text.split_once("until_ms ").unwrap();
    let until_ms = rest.lines().next().unwrap().parse::<u64>().unwrap() + ms;
    let mut text = format!("{head}until_ms {until_ms}\n");
    let checksum = crc32c(text.as_bytes());
    writeln!(text, "crc32c {checksum:08x}").unwrap();
    fs::write(ids_file(data), text).unwrap();
    until_ms
}

#[test]
fn a_clock_that_was_set_back_repeats_no_id() {
    let database = Database::create("ids_clock");
    let data = tempfile::tempdir().unwrap();
    let start = || Collector::start_in(data.path(), &database.url(), &[]);
    let first = start();
    let (number, id) = (node(&first), id_of_one(&first));
    first.kill();
    // The process recorded its ids before it used them.
    let until_ms = move_clock_ahead(data.path(), 0);
    assert!(id >> 22 <= until_ms);
    let until_ms = move_clock_ahead(data.path(), 3_600_000);
    let second = start();
    assert_eq!(node(&second), number, "the collector keeps its number");
    assert!(id_of_one(&second) >> 22 > until_ms);
    let log = second.log();
    assert!(
        log.contains("the clock is earlier than the last ids of the previous process"),
        "{log}"
    );
}

#[test]
fn without_a_folder_ids_continue_after_those_in_clickhouse() {
    let database = Database::create("ids_table");
    let start = || Collector::start_with(&database.url(), &["--node", "7"]);
    start().kill();
    database.query(
        "INSERT INTO rowmill_nodes SELECT 7, generateUUIDv4(), 'holds', 1, now64(3) - 60, now64(3) - 60, 'elsewhere', \
         now64(3) + INTERVAL 1 HOUR",
    );
    let until_ms: u64 = database
        .query("SELECT toUnixTimestamp64Milli(max(ids_until)) FROM rowmill_nodes")
        .trim()
        .parse()
        .unwrap();
    let collector = start();
    assert!(id_of_one(&collector) >> 22 > until_ms);
}

/// Forwards connections to ClickHouse. Before this call, connections get no answer.
fn forward(listener: TcpListener, to: SocketAddr) {
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(to).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = io::copy(&mut server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
}

#[test]
fn a_start_without_clickhouse_has_ids_that_no_node_has_until_it_gets_a_number() {
    let database = Database::create("ids_away");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = database.url_through(listener.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let killed = Collector::start_in(data.path(), &url, &[]);
    let mut ids = vec![id_of_one(&killed), id_of_one(&killed)];
    assert_eq!(node(&killed), None);
    killed.kill();
    let collector = Collector::start_in(data.path(), &url, &[]);
    ids.push(id_of_one(&collector));
    assert!(ids.iter().all(|id| id & SPARE != 0), "{ids:x?}");

    forward(listener, database.engine);
    let number = wait_for("a number", || node(&collector));
    ids.push(id_of_one(&collector));
    let id = ids[ids.len() - 1];
    assert_eq!((id & SPARE, node_of(id)), (0, number));
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:x?}");
    collector.kill();

    // The number is leased, so it stays without ClickHouse too.
    let collector = Collector::start_without_clickhouse(data.path());
    let id = id_of_one(&collector);
    assert_eq!((node(&collector), node_of(id)), (Some(number), number));
    assert!(id > ids[ids.len() - 1]);
}

#[test]
fn processes_that_start_together_get_different_numbers_of_the_few_that_are_left() {
    const WRITERS: usize = 12;
    let database = Database::create("ids_race");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let url: rowmill_ingest::ClickHouseUrl = database.url().parse().unwrap();
        sync(&url, &embedder::tables::SCHEMA).await.unwrap();
        // Other processes hold all but 16 of the 512 numbers.
        database.query(
            "INSERT INTO rowmill_nodes SELECT number, generateUUIDv4(), 'holds', 1, now64(3), now64(3), 'elsewhere', now64(3) \
             FROM numbers(512) WHERE number % 32 != 9",
        );
        let start = || {
            let stores = Servers::without_sync(url.clone());
            Writer::start(&embedder::tables::SCHEMA, stores, &WriterOptions::default())
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| start()).collect();
        let mut numbers = BTreeSet::new();
        for writer in &writers {
            writer.synced(Duration::from_secs(60)).await.unwrap();
            let status = writer.status().node;
            assert_eq!((status.node.unwrap() % 32, status.clashes), (9, 0));
            numbers.insert(status.node);
        }
        assert_eq!(numbers.len(), WRITERS);
    });
    let held = "SELECT count(), uniqExact(node) FROM rowmill_nodes FINAL WHERE host != 'elsewhere' AND state = 'holds'";
    assert_eq!(database.query(held), format!("{WRITERS}\t{WRITERS}\n"));
    // A number that two processes asked for at the same time is free again at once.
    let kept = "SELECT count() FROM rowmill_nodes FINAL WHERE state = 'left' AND ids_until > now64(3) - 3600";
    assert_eq!(database.query(kept), "0\n");
}

#[test]
fn a_writer_without_a_node_number_accepts_rows() {
    let database = Database::create("ids_none");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        // Without the sync, nothing creates the table of node numbers.
        let stores = Servers::without_sync(database.url().parse().unwrap());
        let writer = Writer::start(&embedder::tables::SCHEMA, stores, &WriterOptions::default());
        writer.synced(Duration::from_secs(60)).await.unwrap();
        assert_eq!(writer.status().node.node, None);
        let appended = writer.append(embedder::tables::SCHEMA.tables[0], Ack::Accepted, |row| row.push(0));
        assert!(appended.is_ok());

        // The writer gets a number as soon as the table exists.
        sync(&database.url().parse().unwrap(), &embedder::tables::SCHEMA)
            .await
            .unwrap();
        while writer.status().node.node.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
