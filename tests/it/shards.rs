//! Tables over the shards of a cluster: two engines that have each other as a shard.
//!
//! The embedded ClickHouse has no queue for statements ON CLUSTER, so each engine is synced itself.

use std::{sync::atomic::Ordering, time::Duration};

use evolution::sharded::{
    after,
    before::{self, Orders},
};
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    schema::{drift, plan, sync},
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::support::{
    cluster::{self, Server, ShardOf},
    collector::Collector,
    http,
    proxy::Proxy,
    wait_for,
};

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(50),
        ..WriterOptions::default()
    }
}

/// Inserts an order for each of twenty addresses, and waits until ClickHouse has them.
async fn insert(writer: &Writer) {
    let receipts: Vec<_> = (0..20)
        .map(|number| {
            let order = Orders {
                email: format!("{number}@example.com").into(),
                ..Orders::default()
            };
            writer.insert(&order, Ack::Stored).unwrap()
        })
        .collect();
    for receipt in receipts {
        assert_eq!(receipt.await, Ack::Stored);
    }
}

#[test]
fn rows_go_to_their_shards_once_and_both_tables_get_new_columns() {
    let folder = tempfile::tempdir().unwrap();
    let one = ShardOf { weight: 1, replicas: 1 };
    let shards = cluster::start(folder.path(), &[one; 2]);
    let [first, second] = &shards[..] else { panic!() };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for shard in &shards {
            let created = sync(&shard.url(), &before::SCHEMA).await.unwrap();
            let names = created.statements.iter().map(|statement| created_name(statement));
            let expected = [
                "stats",
                "orders_local",
                "orders",
                "sums",
                "rejected",
                "rowmill_nodes",
                "totals",
            ];
            assert_eq!(names.collect::<Vec<_>>(), expected);
            assert_nothing_to_do(shard, &before::SCHEMA).await;
        }

        let proxy = Proxy::start(first.database.engine);
        let url: ClickHouseUrl = first.database.url_through(proxy.address).parse().unwrap();
        let writer = Writer::start(&before::SCHEMA, url, &options());
        insert(&writer).await;
        // The block that is sent again after a lost answer goes to the same shards, which have it.
        proxy.loses_answers.store(true, Ordering::SeqCst);
        let again = insert(&writer);
        // The collector looks for the insert only after it has lost an answer.
        let returning = async {
            while !proxy.seen().contains("system.processes") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            proxy.loses_answers.store(false, Ordering::SeqCst);
        };
        tokio::join!(again, returning);
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
    });

    let local: Vec<_> = shards
        .iter()
        .map(|shard| shard.database.count("orders_local"))
        .collect();
    assert_eq!(local.iter().sum::<u64>(), 40, "{local:?}");
    assert!(local.iter().all(|rows| *rows > 0), "{local:?}");
    let all = "SELECT count(), uniqExact(email), uniqExact(id), \
               (SELECT count() FROM (SELECT email FROM orders GROUP BY email HAVING uniqExact(_shard_num) > 1)) FROM orders";
    for shard in &shards {
        assert_eq!(shard.database.query(all), "40\t20\t40\t0\n");
        let sums = shard.database.query("SELECT sum(orders) FROM sums");
        assert_eq!(sums.trim(), shard.database.count("orders_local").to_string());
    }

    runtime.block_on(async {
        for shard in &shards {
            let planned = plan(&shard.url(), &after::SCHEMA).await.unwrap().statements;
            assert_eq!(
                planned,
                [
                    "ALTER TABLE `stats`.`orders_local` ADD COLUMN IF NOT EXISTS `amount` Decimal(18, 2) CODEC(ZSTD(3)) AFTER `id`",
                    "ALTER TABLE `stats`.`orders` ADD COLUMN IF NOT EXISTS `amount` Decimal(18, 2) AFTER `id`",
                ]
            );
            assert_eq!(sync(&shard.url(), &after::SCHEMA).await.unwrap().statements, planned);
            assert_nothing_to_do(shard, &after::SCHEMA).await;
        }
        let writer = Writer::start(&after::SCHEMA, second.url(), &options());
        let order = after::Orders {
            amount: "12.50".parse().unwrap(),
            email: "0@example.com".into(),
            ..after::Orders::default()
        };
        assert_eq!(writer.insert(&order, Ack::Stored).unwrap().await, Ack::Stored);
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
    });
    let paid = "SELECT count(), uniqExact(_shard_num), sum(amount) FROM orders WHERE email = '0@example.com'";
    assert_eq!(first.database.query(paid), "3\t1\t12.5\n");
}

#[test]
fn dead_letters_are_on_each_server_and_are_read_from_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster::start(folder.path(), &[ShardOf { weight: 1, replicas: 2 }]);
    let urls: Vec<_> = servers.iter().map(|server| server.database.url()).collect();
    let collector = Collector::start_with(&urls.join(","), &[]);
    let reject = || assert_eq!(http::post_json(collector.address, "/wh/mail", "{").status, 400);
    let letters = |server: &Server| server.database.count("rejected");
    // The number of the process is on all servers, and a dead letter on one.
    let claim = "SELECT process, node FROM rowmill_nodes FINAL WHERE state = 'holds'";
    let claims = wait_for("the number of the collector on both servers", || {
        let claims = servers.iter().map(|server| server.database.try_query(claim).ok());
        let claims: Vec<_> = claims.collect::<Option<_>>()?;
        claims.iter().all(|claim| !claim.is_empty()).then_some(claims)
    });
    assert_eq!(claims[0], claims[1]);
    reject();
    let first = wait_for("a dead letter", || {
        servers.iter().position(|server| letters(server) == 1)
    });
    assert_eq!(letters(&servers[1 - first]), 0);
    servers[first].kill();
    reject();
    wait_for("a dead letter on the other server", || {
        (letters(&servers[1 - first]) == 1).then_some(())
    });
    servers[first].start_again();

    // The query of docs/clusters.md.
    let all = "SELECT hostName(), time, `table`, code, reason FROM clusterAllReplicas('fleet', stats.rejected) ORDER BY time DESC";
    let found = servers[0].for_owner().query(all);
    assert_eq!(found.lines().count(), 2, "{found}");
    let refused = servers[0].database.try_query(all).unwrap_err();
    assert!(refused.contains("READ ON REMOTE"), "{refused}");
}

/// Returns the name of the table, the view or the database that a statement creates.
fn created_name(statement: &str) -> &str {
    let line = statement.lines().next().unwrap_or_default();
    let names = line.split_once("EXISTS ").map_or(line, |(_, names)| names);
    let name = names.split(' ').next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default().trim_matches('`')
}

/// Asserts that the sync would change nothing, and that no definition differs.
async fn assert_nothing_to_do(shard: &Server, schema: &'static Schema) {
    let planned = plan(&shard.url(), schema).await.unwrap();
    assert!(
        planned.statements.is_empty() && planned.warnings.is_empty(),
        "{planned:?}"
    );
    let found = drift(&shard.url(), schema).await.unwrap();
    assert!(found.drifts.is_empty() && found.warnings.is_empty(), "{found:?}");
}
