//! Inserts into the shards of a cluster themselves: the shard of each row, slow and dead servers, and
//! exactly once over kills. The Distributed table of ClickHouse is the oracle for the shard of a row.

mod cpu;
mod faults;

use std::{fmt::Write as _, path::Path, sync::atomic::Ordering, time::Duration};

use evolution::{
    sharded::before::{self, Orders},
    sharding_keys,
};
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    schema::sync,
    server::{ServeOptions, not_found},
    store::Servers,
    table::Schema,
    writer::ClusterInserts,
};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{
    cluster::{self, Server, ShardOf},
    collecting::{Collecting, Rows, options},
    http,
    proxy::Proxy,
    service::Served,
    wait_for,
};

const ONE: ShardOf = ShardOf { weight: 1, replicas: 1 };

/// Syncs the tables of each server, and starts a writer for the servers at `urls`.
fn started(
    runtime: &Runtime,
    servers: &[Server],
    urls: &[ClickHouseUrl],
    schema: &'static Schema,
    options: &WriterOptions,
) -> Writer {
    runtime.block_on(async {
        for server in servers {
            sync(&server.url(), schema).await.unwrap();
        }
        let writer = Writer::start(schema, Servers::from_iter(urls.iter().cloned()), options);
        writer.synced(Duration::from_secs(60)).await.unwrap();
        writer
    })
}

fn urls(servers: &[Server]) -> Vec<ClickHouseUrl> {
    servers.iter().map(Server::url).collect()
}

fn order(email: &str) -> Orders<'static> {
    Orders {
        email: email.to_owned().into(),
        ..Orders::default()
    }
}

/// Returns events with values of all types that a sharding key may have.
fn events(count: u64) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n << 7);
        let text = "wörter und zahlen 0123456789 ".repeat(8);
        let length = (mixed % 200) as usize;
        let text: String = text.chars().take(length).collect();
        let name = if n % 3 == 0 {
            String::new()
        } else {
            format!(r#""name":"n{mixed}","#)
        };
        writeln!(
            lines,
            r#"{{{name}"tags":["a","{n}"],"number":{},"wide":"{mixed}","text":"{text}{n}","label":"l{}","day":"2024-02-{:02}","far":"19{:02}-03-04","at":"2025-01-01 00:{:02}:07","precise":"2025-01-01 00:00:{:02}.{:03}","uuid":"{:08x}-5cb3-11e7-907b-a6006ad3dba0","four":"10.1.{}.{}","six":"2001:db8::{:x}","kind":"{}","code":"c{:03}","price":"{}.25","huge":"{mixed}{n}","flag":{}}}"#,
            (mixed % 256) as i64 - 128,
            mixed % 17,
            n % 28 + 1,
            mixed % 100,
            n % 60,
            n % 60,
            mixed % 1000,
            mixed as u32,
            mixed % 256,
            n % 256,
            mixed % 65_536,
            if n % 2 == 0 { "a" } else { "b" },
            n % 1000,
            mixed % 100_000,
            n % 5 == 0,
        )
        .unwrap();
    }
    lines
}

#[test]
fn each_row_lands_on_the_shard_that_a_distributed_table_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    // The sum of the weights shows how a negative key of 8 bits becomes longer.
    let shards = [
        ShardOf {
            weight: 10,
            replicas: 1,
        },
        ONE,
    ];
    let servers = cluster::start(folder.path(), &shards);
    let proxies: Vec<_> = servers
        .iter()
        .map(|server| Proxy::start(server.database.engine))
        .collect();
    let urls: Vec<ClickHouseUrl> = servers
        .iter()
        .zip(&proxies)
        .map(|(server, proxy)| server.database.url_through(proxy.address).parse().unwrap())
        .collect();
    let runtime = Runtime::new().unwrap();
    let writer = started(&runtime, &servers, &urls, &sharding_keys::SCHEMA, &options());
    let served = Served::serve(runtime, writer, ServeOptions::default(), |writer| {
        sharding_keys::layer(writer).unwrap().layer(service_fn(not_found))
    });
    const COUNT: u64 = 300;
    let keys = [
        ("number", true),
        ("wide", true),
        ("city", true),
        ("sip", true),
        ("xx", true),
        ("int", true),
        ("default", true),
        ("id", true),
        ("expression", false),
    ];
    let (lines, ndjson) = (events(COUNT), [("Content-Type", "application/x-ndjson")]);
    for (key, _) in keys {
        let path = format!("/key/{}", if key == "id" { "own" } else { key });
        let answer = http::send(served.address, "POST", &path, &ndjson, lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        // Rows that come alone.
        for line in lines.lines().take(20) {
            assert_eq!(http::post_json(served.address, &path, line).status, 200);
        }
    }
    served.drain();

    let [first, _] = &servers[..] else {
        unreachable!("there are two servers")
    };
    for (key, is_direct) in keys {
        let table = format!("by_{key}");
        let engine = first.database.query(&format!(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{table}' FORMAT TSVRaw"
        ));
        let engine = engine.trim().replace(&format!("{table}_local"), "oracle_local");
        for server in &servers {
            for statement in [
                "DROP TABLE IF EXISTS oracle".to_owned(),
                "DROP TABLE IF EXISTS oracle_local".to_owned(),
                format!("CREATE TABLE oracle_local AS {table}_local"),
                format!("CREATE TABLE oracle AS {table} ENGINE = {engine}"),
            ] {
                server.database.query(&statement);
            }
        }
        first.database.query(&format!(
            "INSERT INTO oracle SELECT * FROM {table} \
             SETTINGS insert_distributed_sync = 1, parallel_distributed_insert_select = 0"
        ));
        let mut total = 0;
        for server in &servers {
            let ids = |table: &str| {
                server
                    .database
                    .query(&format!("SELECT id, text FROM {table} ORDER BY id"))
            };
            let (found, expected) = (ids(&format!("{table}_local")), ids("oracle_local"));
            assert_eq!(found, expected, "{table}");
            assert_ne!(expected, "", "{table} tests both shards");
            total += found.lines().count() as u64;
        }
        assert_eq!(total, COUNT + 20, "{table}");
        for proxy in &proxies {
            let local = format!("INSERT+INTO+%60{table}_local%60");
            assert_eq!(proxy.seen().contains(&local), is_direct, "{table}");
        }
        // Only ClickHouse knows the default that a row is left to.
        let through = proxies
            .iter()
            .any(|proxy| proxy.seen().contains(&format!("INSERT+INTO+%60{table}%60")));
        assert_eq!(through, !is_direct || key == "default", "{table}");
    }
}

#[test]
fn a_paused_shard_delays_no_other_and_the_operator_can_use_the_distributed_table() {
    let folder = tempfile::tempdir().unwrap();
    let servers = cluster::start(folder.path(), &[ONE; 2]);
    let runtime = Runtime::new().unwrap();
    let writer = started(&runtime, &servers, &urls(&servers), &before::SCHEMA, &options());
    let emails: Vec<_> = (0..40).map(|n| format!("{n}@example.com")).collect();
    runtime.block_on(async {
        for email in &emails {
            assert_eq!(writer.insert(&order(email), Ack::Stored).unwrap().await, Ack::Stored);
        }
        let of_first = servers[0]
            .database
            .query("SELECT email FROM orders_local FORMAT TSVRaw");
        let of_first: Vec<_> = of_first.lines().collect();
        assert!(!of_first.is_empty() && of_first.len() < emails.len());

        servers[1].pause();
        let (fast, slow): (Vec<_>, Vec<_>) = emails.iter().partition(|email| of_first.contains(&email.as_str()));
        let waiting: Vec<_> = slow
            .iter()
            .map(|email| writer.insert(&order(email), Ack::Stored).unwrap())
            .collect();
        for email in fast.iter().cycle().take(50) {
            assert_eq!(writer.insert(&order(email), Ack::Stored).unwrap().await, Ack::Stored);
        }
        assert_eq!(writer.status().table("orders").unwrap().rows_pending, slow.len() as u64);
        servers[1].resume();
        for receipt in waiting {
            assert_eq!(receipt.await, Ack::Stored);
        }
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
        let counts: Vec<_> = servers
            .iter()
            .map(|server| server.database.count("orders_local"))
            .collect();
        assert_eq!(counts, [of_first.len() as u64 + 50, 2 * slow.len() as u64]);
    });

    let options = WriterOptions {
        cluster_inserts: ClusterInserts::Distributed,
        ..options()
    };
    let proxy = Proxy::start(servers[0].database.engine);
    let url = servers[0].database.url_through(proxy.address).parse().unwrap();
    let writer = started(&runtime, &servers, &[url], &before::SCHEMA, &options);
    runtime.block_on(async {
        assert_eq!(
            writer.insert(&order(&emails[0]), Ack::Stored).unwrap().await,
            Ack::Stored
        );
    });
    assert!(proxy.seen().contains("INSERT+INTO+%60orders%60") && !proxy.seen().contains("INTO+%60orders_local%60"));
}

#[test]
fn rows_spread_over_the_replicas_of_a_shard_and_leave_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster::start(folder.path(), &[ShardOf { weight: 1, replicas: 2 }]);
    let runtime = Runtime::new().unwrap();
    let writer = started(&runtime, &servers, &urls(&servers), &before::SCHEMA, &options());
    let insert = || runtime.block_on(async { writer.insert(&order("a@example.com"), Ack::Stored).unwrap().await });
    let counts = |servers: &[Server]| -> Vec<_> {
        servers
            .iter()
            .map(|server| server.database.count("orders_local"))
            .collect()
    };
    let mut sent = 0;
    let mut insert_until = |what: &str, servers: &[Server], is_over: &dyn Fn(&[u64]) -> bool| {
        wait_for(what, || {
            assert_eq!(insert(), Ack::Stored);
            sent += 1;
            is_over(&counts(servers)).then_some(())
        });
        sent
    };
    insert_until("rows of both replicas", &servers, &|counts| {
        counts.iter().all(|count| *count > 0)
    });

    let before = counts(&servers);
    servers[0].kill();
    let alive = &servers[1..];
    insert_until("rows of the living replica", alive, &|counts| {
        counts[0] >= before[1] + 20
    });
    servers[0].start_again();
    let sent = insert_until("new rows of the replica that is back", &servers, &|counts| {
        counts[0] > before[0]
    });
    assert_eq!(counts(&servers).iter().sum::<u64>(), sent);
}

/// Delivers the rows that a killed collector has left in its spool.
fn deliver_the_rest(urls: &[String], spool: &Path) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let urls = urls.iter().map(|url| url.parse().unwrap());
        let writer = Writer::open(
            &before::SCHEMA,
            Servers::from_iter::<Vec<_>>(urls.collect()),
            &options(),
            spool,
        );
        assert!(writer.unwrap().drain(Duration::from_secs(60)).await.is_complete());
    });
}

/// Asserts that each row that was acknowledged, which are those with the numbers below `next`, is stored
/// once on one of the servers, and that its view has it once.
fn assert_stored_once(servers: &[Server], next: u64) {
    let rows = servers[0]
        .database
        .query("SELECT count(), uniqExact(id), uniqExact(email) FROM orders");
    let numbers: Vec<u64> = rows.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [count, ids, emails] = numbers[..] else {
        panic!("{rows}")
    };
    assert_eq!(count, ids, "a row is stored twice");
    // A row that was on disk when its process was killed, before it could print its number, is there,
    // too; its number comes again in a row of its own.
    assert!(emails >= next && count >= next, "{rows} of {next}");
    let missing = servers[0].database.query(&format!(
        "SELECT count() FROM numbers({next}) WHERE concat(toString(number), '@example.com') NOT IN (SELECT email FROM orders)"
    ));
    assert_eq!(missing.trim(), "0");
    let local: Vec<_> = servers
        .iter()
        .map(|server| server.database.count("orders_local"))
        .collect();
    assert!(
        local.iter().all(|rows| *rows > 0) && local.iter().sum::<u64>() == count,
        "{local:?}"
    );
    for server in servers {
        let sums = server.database.query("SELECT sum(orders) FROM sums");
        assert_eq!(
            sums.trim(),
            server.database.count("orders_local").to_string(),
            "the rows of a view"
        );
    }
}

#[test]
fn each_acknowledged_row_is_stored_once_over_kills_of_collector_and_shards_and_cuts() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster::start(&folder.path().join("servers"), &[ONE; 2]);
    let proxies: Vec<_> = servers
        .iter()
        .map(|server| Proxy::start(server.database.engine))
        .collect();
    let urls: Vec<_> = servers
        .iter()
        .zip(&proxies)
        .map(|(server, proxy)| server.database.url_through(proxy.address))
        .collect();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let mut next = 0;
    for round in 0..4_usize {
        let collecting = Collecting::start(Rows::Sharded, &spool, &urls, next);
        collecting.wait_for(next + 100);
        match round {
            0 => {
                // ClickHouse gets the rows of one shard, and its response is lost.
                proxies[1].cut("INSERT+INTO+%60orders_local%60", true);
                proxies[1].wait_for_cut();
            }
            1 => {
                servers[1].kill();
                collecting.wait_for(next + 200);
                servers[1].start_again();
            }
            2 => {
                proxies[0].loses_answers.store(true, Ordering::SeqCst);
                collecting.wait_for(next + 200);
                proxies[0].loses_answers.store(false, Ordering::SeqCst);
            }
            _ => {
                servers[0].pause();
                collecting.wait_for(next + 200);
                servers[0].resume();
            }
        }
        collecting.wait_for(next + 300);
        next = collecting.kill(next);
    }

    deliver_the_rest(&urls, &spool);
    assert_stored_once(&servers, next);
}
