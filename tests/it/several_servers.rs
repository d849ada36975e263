//! Several servers without a cluster, each with rows of its own: blocks take turns over those that
//! answer, and one that may be stored stays with its server.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use evolution::add::before::{Add, SCHEMA};
use rowmill_ingest::{Ack, Writer, store::Servers};
use tokio::runtime::Runtime;

use crate::support::{
    cluster::{self, Server, ShardOf},
    collecting::{Collecting, Rows, options},
    engine::Database,
    proxy::Proxy,
    wait_for,
};

/// The longest time that a row of a server that answers may take, beside other tests.
const SOON: Duration = Duration::from_secs(3);

fn row(number: u32) -> Add<'static> {
    Add {
        number,
        ..Add::default()
    }
}

/// Returns the ids and the numbers of the rows of all servers.
fn rows<'a>(databases: impl Iterator<Item = &'a Database>) -> Vec<(u64, u64)> {
    let rows = databases.map(|database| database.query("SELECT id, number FROM add FORMAT TSV"));
    let rows: String = rows.collect();
    let parse = |line: &str| {
        let (id, number) = line.split_once('\t').unwrap();
        (id.parse().unwrap(), number.parse().unwrap())
    };
    rows.lines().map(parse).collect()
}

/// Asserts that no row is on two servers, and that the numbers below `next` are all there.
fn assert_once(rows: &[(u64, u64)], next: u64) {
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), rows.len(), "a row is stored twice");
    let numbers: BTreeSet<_> = rows.iter().map(|(_, number)| *number).collect();
    let missing: Vec<_> = (0..next).filter(|number| !numbers.contains(number)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

#[test]
fn blocks_take_turns_and_a_server_without_answers_delays_only_its_own_rows() {
    let databases = ["turns_first", "turns_second"].map(Database::create);
    let proxies = databases.each_ref().map(|database| Proxy::start(database.engine));
    let through = databases.iter().zip(&proxies);
    let urls = through.map(|(database, proxy)| database.url_through(proxy.address).parse().unwrap());
    let counts = || databases.each_ref().map(|database| database.count("add"));
    Runtime::new().unwrap().block_on(async {
        let writer = Writer::start(&SCHEMA, Servers::from_iter(urls), &options());
        wait_for("the tables of both servers", || {
            databases
                .iter()
                .all(|database| database.try_query("SELECT 1 FROM add").is_ok())
                .then_some(())
        });
        writer.synced(Duration::from_secs(60)).await.unwrap();
        let mut next = 0;
        let mut insert = || {
            next += 1;
            writer.insert(&row(next - 1), Ack::Stored).unwrap()
        };
        while counts().contains(&0) {
            assert_eq!(insert().await, Ack::Stored);
        }
        let before = counts();
        for _ in 0..20 {
            assert_eq!(insert().await, Ack::Stored);
        }
        let [first, second] = counts();
        assert_eq!([first - before[0], second - before[1]], [10, 10]);

        // The first server stores rows, and its answers are lost.
        proxies[0].loses_answers.store(true, Ordering::SeqCst);
        let mut waiting = Vec::new();
        for _ in 0..40 {
            let (began, mut receipt) = (Instant::now(), Box::pin(insert().into_future()));
            match tokio::time::timeout(SOON, &mut receipt).await {
                Ok(ack) => assert_eq!(ack, Ack::Stored),
                Err(_) => waiting.push(receipt),
            }
            assert!(
                began.elapsed() < SOON || waiting.len() == 1,
                "{} rows wait",
                waiting.len()
            );
        }
        assert_eq!(waiting.len(), 1, "the row that may be stored");
        let before = counts();
        proxies[0].loses_answers.store(false, Ordering::SeqCst);
        for receipt in waiting {
            assert_eq!(receipt.await, Ack::Stored);
        }
        let began = Instant::now();
        while counts()[0] == before[0] {
            assert_eq!(insert().await, Ack::Stored);
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the first server gets no rows again"
            );
        }
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
        let stored = rows(databases.iter());
        assert_eq!(stored.len(), next as usize);
        assert_once(&stored, next.into());
    });
}

#[test]
fn each_row_is_stored_once_over_flaps_of_two_servers_and_kills_of_the_collector() {
    const ONE: ShardOf = ShardOf { weight: 1, replicas: 1 };
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster::start(&folder.path().join("servers"), &[ONE; 2]);
    let proxies: Vec<_> = servers
        .iter()
        .map(|server| Proxy::start(server.database.engine))
        .collect();
    let through = |servers: &[Server]| -> Vec<_> {
        let through = servers.iter().zip(&proxies);
        through
            .map(|(server, proxy)| server.database.url_through(proxy.address))
            .collect()
    };
    let urls = through(&servers);
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let mut next = 0;
    for round in 0..6_usize {
        // The order of the URLs changes with each start.
        let mut urls = urls.clone();
        urls.rotate_left(round % 2);
        let collecting = Collecting::start(Rows::Plain, &spool, &urls, next);
        collecting.wait_for(next + 100);
        let flapping = round % 2;
        match round {
            // The server is away, or loses its answers, when the next collector starts.
            0 | 1 => {
                proxies[flapping].loses_answers.store(true, Ordering::SeqCst);
                collecting.wait_for(next + 200);
                next = collecting.kill(next);
                let other = Collecting::start(Rows::Plain, &spool, &urls, next);
                other.wait_for(next + 200);
                proxies[flapping].loses_answers.store(false, Ordering::SeqCst);
                other.wait_for(next + 300);
                next = other.kill(next);
                continue;
            }
            2 | 3 => {
                proxies[flapping].cut("INSERT+INTO+%60add%60", true);
                proxies[flapping].wait_for_cut();
                servers[flapping].kill();
                collecting.wait_for(next + 200);
                next = collecting.kill(next);
                let other = Collecting::start(Rows::Plain, &spool, &urls, next);
                other.wait_for(next + 100);
                servers[flapping].start_again();
                other.wait_for(next + 300);
                next = other.kill(next);
                continue;
            }
            4 => {
                for _ in 0..4 {
                    for proxy in &proxies {
                        proxy.cut("INSERT+INTO+%60add%60", false);
                        proxy.wait_for_cut();
                    }
                }
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

    // The rows that the last process has left.
    Runtime::new().unwrap().block_on(async {
        let urls: Vec<_> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let writer = Writer::open(&SCHEMA, Servers::from_iter(urls), &options(), &spool).unwrap();
        assert!(writer.drain(Duration::from_secs(60)).await.is_complete());
    });
    let stored = rows(servers.iter().map(|server| &server.database));
    assert_once(&stored, next);
    for server in &servers {
        assert!(server.database.count("add") > next / 10, "{next}");
    }
}
