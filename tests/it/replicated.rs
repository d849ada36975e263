//! Tables over shards with replicas, on a real cluster of ClickHouse 18.16: the statements of the plan,
//! the blocks of a collector, and the deletions of `rowmill forget`.
//!
//! The collector refuses a server as old as 18.16. So the embedded ClickHouse takes its place where the
//! collector reads: it plans against one, and what it sends to it is sent to the cluster as well.

mod dialect;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use evolution::replicated::{
    after,
    before::{self, Orders},
};
use rowmill_ingest::{
    Ack, Writer, WriterOptions,
    forget::{self, Person},
    schema::plan,
    store::{Class, ClickHouseError, InsertQuorum, Servers},
    table::Schema,
    value::DateTime,
};
use tokio::runtime::Runtime;

use crate::support::{
    cluster::{self, Server, ShardOf},
    collector,
    proxy::Proxy,
    replicated::{Fleet, OldServer, try_send},
    wait_for,
};

const ONE: ShardOf = ShardOf { weight: 1, replicas: 1 };

/// An insert of a collector: its target and its body.
type Insert = (String, Vec<u8>);

/// Returns the statements of a schema that a server lacks, those for all servers first.
fn statements(runtime: &Runtime, server: &Server, schema: &'static Schema) -> [Vec<String>; 2] {
    let planned = runtime.block_on(plan(&server.url(), schema)).unwrap().statements;
    let (of_all, of_one): (Vec<_>, Vec<_>) = planned
        .into_iter()
        .partition(|statement| statement.contains(" ON CLUSTER `fleet`"));
    [of_all, of_one]
}

/// Returns the first words of statements, up to the name of the table.
fn heads(statements: &[String]) -> Vec<String> {
    let head = |statement: &String| {
        let (head, _) = statement.split_once(" ON CLUSTER").unwrap_or((statement, ""));
        head.lines().next().unwrap().replace('`', "")
    };
    statements.iter().map(head).collect()
}

/// Creates the tables of a schema on the servers, and on the embedded ones.
fn create(runtime: &Runtime, fleet: &Fleet, embedded: &[Server], schema: &'static Schema) {
    let [of_all, _] = statements(runtime, &embedded[0], schema);
    for statement in &of_all {
        fleet.servers[0].query(&dialect::for_old(statement));
        for server in embedded {
            server.database.on_server(&dialect::for_embedded(statement)).unwrap();
        }
    }
}

/// Returns the tables of a server with their engines, and their columns.
fn tables(server: &OldServer) -> String {
    let of_database = |sql: &str| server.query(&sql.replace('?', "WHERE database = 'stats'"));
    of_database("SELECT name, engine FROM system.tables ? ORDER BY name")
        + &of_database("SELECT table, groupArray(name) FROM system.columns ? GROUP BY table ORDER BY table")
}

#[test]
fn statements_run_on_all_servers_twice_and_later_on_one_that_was_down() {
    let Some(mut fleet) = Fleet::start() else { return };
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let embedded = cluster::start(folder.path(), &[ONE]);
    let [of_all, of_one] = statements(&runtime, &embedded[0], &before::SCHEMA);
    let expected = [
        "CREATE DATABASE IF NOT EXISTS stats",
        "CREATE TABLE IF NOT EXISTS stats.orders_local",
        "CREATE TABLE IF NOT EXISTS stats.orders",
    ];
    assert_eq!(heads(&of_all), expected);
    // Each server needs a database for these two, even while the cluster is away.
    let expected = [
        "CREATE DATABASE IF NOT EXISTS stats",
        "CREATE TABLE IF NOT EXISTS stats.rejected",
        "CREATE TABLE IF NOT EXISTS stats.rowmill_nodes",
    ];
    assert_eq!(heads(&of_one), expected);

    // Two collectors start one after the other, each with a server of its own.
    for server in [&fleet.servers[0], &fleet.servers[3]] {
        for statement in &of_all {
            server.query(&dialect::for_old(statement));
        }
    }
    let expected = "orders\tDistributed\norders_local\tReplicatedMergeTree\n\
                    orders\t['id','number','email','at','price','tags','note']\n\
                    orders_local\t['id','number','email','at','price','tags','note']\n";
    for server in &fleet.servers {
        assert_eq!(tables(server), expected);
    }

    for statement in &of_all {
        let statement = dialect::for_embedded(statement);
        embedded[0].database.on_server(&statement).unwrap();
    }
    let [of_all, _] = statements(&runtime, &embedded[0], &after::SCHEMA);
    let expected = [
        "ALTER TABLE stats.orders_local",
        "CREATE TABLE IF NOT EXISTS stats.refunds_local",
        "ALTER TABLE stats.orders",
        "CREATE TABLE IF NOT EXISTS stats.refunds",
    ];
    assert_eq!(heads(&of_all), expected);
    fleet.servers[3].kill();
    for statement in &of_all {
        let old = dialect::for_old(statement);
        if dialect::is_refused_by_old(statement) {
            for server in &fleet.servers[..3] {
                server.query(&dialect::off_cluster(&old));
            }
            continue;
        }
        let error = fleet.servers[0].query_without_all(&old);
        assert!(error.starts_with("Code: 159"), "{error}");
    }
    let expected = "orders\tDistributed\norders_local\tReplicatedMergeTree\n\
                    refunds\tDistributed\nrefunds_local\tReplicatedMergeTree\n\
                    orders\t['id','number','amount','email','at','price','tags','note']\n\
                    orders_local\t['id','number','amount','email','at','price','tags','note']\n\
                    refunds\t['id','email']\nrefunds_local\t['id','email']\n";
    let have_all = |servers: &[OldServer]| {
        wait_for("the tables and columns on all servers", || {
            servers.iter().all(|server| tables(server) == expected).then_some(())
        });
    };
    // A shard whose leading replica was killed first chooses another one.
    have_all(&fleet.servers[..3]);
    fleet.servers[3].start_again();
    for statement in of_all.iter().filter(|statement| dialect::is_refused_by_old(statement)) {
        fleet.servers[3].query(&dialect::off_cluster(&dialect::for_old(statement)));
    }
    have_all(&fleet.servers);

    let url = format!("http://{}/stats", fleet.servers[0].address);
    let refused = collector::run(&["plan", "--clickhouse", &url]);
    let error = String::from_utf8_lossy(&refused.stderr);
    let expected = "ClickHouse 18.16 is older than 23.8, which Rowmill needs";
    assert!(!refused.status.success() && error.contains(expected), "{error}");
}

/// The rows of a shard with all their values.
const ROWS: &str =
    "SELECT id, number, email, toUnixTimestamp(at), price, tags, note FROM stats.orders_local ORDER BY id FORMAT TSV";

/// Stores orders through a collector on embedded servers, one for each shard. Returns the inserts for
/// each shard, in their order, and the rows that they make.
fn collected(
    runtime: &Runtime,
    embedded: &[Server],
    insert_quorum: Option<InsertQuorum>,
) -> Vec<(Vec<Insert>, String)> {
    let proxies: Vec<_> = embedded
        .iter()
        .map(|server| Proxy::start(server.database.engine))
        .collect();
    let through = embedded.iter().zip(&proxies);
    let urls = through.map(|(server, proxy)| server.database.url_through(proxy.address).parse().unwrap());
    let options = WriterOptions {
        block_age: Duration::from_millis(1),
        insert_timeout: Duration::from_secs(20),
        insert_quorum,
        ..WriterOptions::default()
    };
    runtime.block_on(async {
        let writer = Writer::start(&before::SCHEMA, Servers::from_iter(urls), &options);
        writer.synced(Duration::from_secs(60)).await.unwrap();
        for block in 0..40 {
            let receipts = (block * 10..block * 10 + 10).map(|number: u32| {
                let order = Orders {
                    number,
                    email: format!("{}@example.com", number % 27).into(),
                    at: DateTime::from_seconds(1_700_000_000 + number),
                    price: format!("{number}.25").parse().unwrap(),
                    tags: (0..number % 3).map(|tag| format!("tag {tag}").into()).collect(),
                    note: format!("Ünïcode {number}\n").into(),
                    ..Orders::default()
                };
                writer.insert(&order, Ack::Stored).unwrap()
            });
            for receipt in receipts.collect::<Vec<_>>() {
                assert_eq!(receipt.await, Ack::Stored);
            }
        }
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
    });
    let shards = embedded.iter().zip(&proxies);
    shards
        .map(|(server, proxy)| (proxy.inserts("orders_local"), server.database.query(ROWS)))
        .collect()
}

/// Sends an insert to one of the replicas of its shard, and to the others until one confirms it. What
/// happened before an answer was lost is unknown, so all of them get the same bytes.
fn deliver((target, body): &Insert, replicas: &[SocketAddr], first: usize) {
    let target = dialect::target_for_old(target);
    let mut replica = first;
    wait_for("a replica that takes rows", || {
        replica += 1;
        let answer = try_send(replicas[replica % replicas.len()], &target, body)?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn blocks_of_a_collector_are_stored_once_on_each_replica_whichever_is_killed() {
    let Some(mut fleet) = Fleet::start() else { return };
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let embedded = cluster::start(folder.path(), &[ONE; 2]);
    create(&runtime, &fleet, &embedded, &before::SCHEMA);
    let collected = collected(&runtime, &embedded, None);
    drop(embedded);
    let replicas: Vec<Vec<_>> = fleet
        .shards()
        .map(|shard| shard.iter().map(|server| server.address).collect())
        .collect();
    let (blocks, rows): (Vec<_>, Vec<_>) = collected.into_iter().unzip();
    assert!(blocks.iter().all(|blocks| blocks.len() >= 30), "too few blocks");

    // Each block twice, at one replica and at once at the other one.
    for (blocks, replicas) in blocks.iter().zip(&replicas) {
        for (number, block) in blocks[..10].iter().enumerate() {
            for first in [number, number + 1] {
                deliver(block, replicas, first);
            }
        }
    }
    // In each shard, first one replica is killed during the inserts, then the other one, while the first
    // one still gets the parts that it has missed.
    for (range, victims) in [(10..20, [0, 3]), (20..30, [1, 2])] {
        let delivered: Vec<_> = blocks.iter().map(|_| AtomicUsize::new(0)).collect();
        let killed: Vec<_> = blocks.iter().map(|_| AtomicBool::new(false)).collect();
        thread::scope(|scope| {
            let shards = blocks.iter().zip(&replicas).zip(delivered.iter().zip(&killed));
            for ((blocks, replicas), (delivered, killed)) in shards {
                let (before, after) = blocks[range.clone()].split_at(5);
                scope.spawn(move || {
                    // The kill comes during new blocks or repeated ones; those after it are new.
                    for (number, block) in before.iter().cycle().enumerate() {
                        deliver(block, replicas, number);
                        if delivered.fetch_add(1, Ordering::SeqCst) >= before.len() && killed.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    for (number, block) in after.iter().enumerate() {
                        deliver(block, replicas, number);
                    }
                });
            }
            for (victim, (delivered, killed)) in victims.into_iter().zip(delivered.iter().zip(&killed)) {
                wait_for("some blocks", || (delivered.load(Ordering::SeqCst) >= 2).then_some(()));
                fleet.servers[victim].kill();
                killed.store(true, Ordering::SeqCst);
            }
        });
        for victim in victims {
            fleet.servers[victim].start_again();
        }
    }
    for (blocks, replicas) in blocks.iter().zip(&replicas) {
        for (number, block) in blocks.iter().enumerate() {
            deliver(block, replicas, number);
        }
    }

    for (replicas, rows) in fleet.shards().zip(&rows) {
        for server in replicas {
            server.wait_for_replication("orders_local");
            // The answer may come before the replica knows of the last parts of the other one.
            wait_for("all rows on a replica", || {
                (server.query(ROWS).lines().count() >= rows.lines().count()).then_some(())
            });
            assert_eq!(server.query(ROWS), *rows);
        }
    }
    // The Distributed table finds all rows, and it would put each where the collector has put it.
    let all = "SELECT count(), uniqExact(id), uniqExact(number) FROM stats.orders";
    fleet.servers[2].query("CREATE DATABASE oracle ON CLUSTER fleet");
    for server in &fleet.servers {
        assert_eq!(server.query(all), "400\t400\t400\n");
        server.query("CREATE TABLE oracle.orders_local AS stats.orders ENGINE = MergeTree ORDER BY id");
        server.query(
            "CREATE TABLE oracle.orders AS stats.orders \
             ENGINE = Distributed('fleet', 'oracle', 'orders_local', cityHash64(email))",
        );
    }
    fleet.servers[0].query("INSERT INTO oracle.orders SELECT * FROM stats.orders");
    for (replicas, rows) in fleet.shards().zip(&rows) {
        let found = replicas
            .iter()
            .map(|server| server.query(&ROWS.replace("stats.", "oracle.")));
        let found: String = found.collect();
        let sorted = |rows: &str| -> BTreeSet<String> { rows.lines().map(str::to_owned).collect() };
        assert_eq!(sorted(&found), sorted(rows));
    }
}

#[test]
fn a_block_with_a_quorum_waits_for_the_other_replica_and_is_stored_once() {
    let Some(mut fleet) = Fleet::start() else { return };
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let embedded = cluster::start(folder.path(), &[ONE; 2]);
    create(&runtime, &fleet, &embedded, &before::SCHEMA);
    let quorum = Some(InsertQuorum::Replicas(NonZeroU32::new(2).unwrap()));
    let (blocks, rows) = collected(&runtime, &embedded, quorum).swap_remove(0);
    drop(embedded);
    let (before, during) = blocks.split_at(5);
    for (target, _) in &blocks {
        assert!(
            target.contains("insert_quorum=2&insert_quorum_timeout=10000"),
            "{target}"
        );
    }
    let send = |(target, body): &Insert, server: &OldServer| {
        let answer = try_send(server.address, &dialect::target_for_old(target), body).unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let count = |server: &OldServer| server.query("SELECT count() FROM stats.orders_local");
    for block in before {
        let (status, error) = send(block, &fleet.servers[0]);
        assert_eq!(status, 200, "{error}");
        // The answer comes when both have the rows.
        assert_eq!(count(&fleet.servers[0]), count(&fleet.servers[1]));
    }

    fleet.servers[1].kill();
    let mut codes = BTreeSet::new();
    wait_for("the end of the quorum", || {
        let (status, text) = send(&during[0], &fleet.servers[0]);
        assert_ne!(status, 200, "one replica is no quorum");
        let error = ClickHouseError::from(clickhouse::error::Error::BadResponse(dialect::error_of_old(&text)));
        assert_eq!(error.class(), Class::Retry, "{error}");
        codes.insert(error.code().unwrap());
        // TOO_FEW_LIVE_REPLICAS, once ZooKeeper has forgotten the session of the other one.
        codes.contains(&285).then_some(())
    });
    println!("codes without a quorum: {codes:?}");
    fleet.servers[1].start_again();
    for block in during.iter().chain(&blocks) {
        wait_for("the quorum", || (send(block, &fleet.servers[0]).0 == 200).then_some(()));
    }
    for server in &fleet.servers[..2] {
        server.wait_for_replication("orders_local");
        wait_for("all rows on a replica", || {
            (server.query(ROWS).lines().count() >= rows.lines().count()).then_some(())
        });
        assert_eq!(server.query(ROWS), rows);
    }
}

const ANNA: &str = "anna@private.example";
const OTHER: &str = "other@private.example";

#[test]
fn a_person_is_forgotten_on_all_shards_and_replicas_even_one_that_was_down() {
    let Some(mut fleet) = Fleet::start() else { return };
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let embedded = cluster::start(folder.path(), &[ONE]);
    create(&runtime, &fleet, &embedded, &after::SCHEMA);
    for (table, columns) in [("orders", "id, email, at"), ("refunds", "id, email")] {
        let rows = (0..20).map(|id| {
            let email = [ANNA, OTHER][id % 2];
            let at = if table == "orders" { ", now()" } else { "" };
            // Each person has the even ids of one shard and the odd ones of the other.
            format!("({}, '{email}'{at})", id / 2)
        });
        let rows: Vec<_> = rows.collect();
        fleet.servers[0].query(&format!(
            "INSERT INTO stats.{table} ({columns}) VALUES {}",
            rows.join(", ")
        ));
    }
    let count = |server: &OldServer, table: &str, email: &str| -> u64 {
        let count = format!("SELECT count() FROM stats.{table} WHERE email = '{email}'");
        server.query(&count).trim().parse().unwrap()
    };
    let replicate = |fleet: &Fleet| {
        for server in &fleet.servers {
            server.wait_for_replication("orders_local");
            server.wait_for_replication("refunds_local");
        }
    };
    replicate(&fleet);
    for server in &fleet.servers {
        assert_eq!([ANNA, OTHER].map(|email| count(server, "refunds_local", email)), [5, 5]);
        for table in ["orders", "refunds"] {
            assert_eq!([ANNA, OTHER].map(|email| count(server, table, email)), [10, 10]);
        }
    }

    let person = Person::of_value(ANNA);
    let planned = runtime
        .block_on(forget::plan(&embedded[0].url(), &after::SCHEMA, &person))
        .unwrap();
    let due: Vec<_> = planned.tables.iter().filter(|table| table.is_due()).collect();
    let names: Vec<_> = due.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(names, ["orders_local", "refunds_local"]);
    fleet.servers[3].kill();
    for table in due {
        let statement = dialect::for_old(&table.statement);
        assert!(statement.contains(" ON CLUSTER `fleet` DELETE "), "{statement}");
        let error = fleet.servers[0].query_without_all(&statement);
        assert!(error.starts_with("Code: 159"), "{error}");
    }
    fleet.servers[3].start_again();
    for server in &fleet.servers {
        for table in ["orders_local", "refunds_local"] {
            wait_for("the end of the deletion", || {
                (count(server, table, ANNA) == 0).then_some(())
            });
        }
        for table in ["orders", "refunds"] {
            assert_eq!(count(server, table, OTHER), 10);
        }
    }
}
