//! Four shards of ClickHouse and a collector over faults in random order.

use std::{
    fs,
    sync::atomic::Ordering,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{ONE, assert_stored_once, deliver_the_rest};
use crate::{
    crash::random::Random,
    support::{
        cluster,
        collecting::{Collecting, Rows},
        proxy::Proxy,
    },
};

const SHARDS: usize = 4;

/// The acknowledged rows between two faults.
const BETWEEN: u64 = 40;

/// The text of an insert into a shard.
const INSERT: &str = "INSERT+INTO+%60orders_local%60";

/// The longest outage.
const OUTAGE_MS: u64 = 1_500;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A shard is killed, and started again after a while.
    Kill,
    /// A shard is paused for a while.
    Pause,
    /// A shard does not get an insert.
    CutRequest,
    /// A shard gets an insert, and its answer is lost.
    CutAnswer,
    /// All answers of a shard are lost for a while.
    LoseAnswers,
    /// The collector is killed while a shard is away, and the next one starts without that shard.
    KillCollector,
}

const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::Pause,
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::LoseAnswers,
    Fault::KillCollector,
];

/// Causes each kind of fault `times` times, in random order, and compares the tables with the
/// acknowledged rows.
fn inject(times: usize) {
    let (seed, started) = (Random::seed(), Instant::now());
    println!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let mut faults = FAULTS.repeat(times);
    random.shuffle(&mut faults);
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster::start(&folder.path().join("servers"), &[ONE; SHARDS]);
    let proxies: Vec<_> = servers
        .iter()
        .map(|server| Proxy::start(server.database.engine))
        .collect();
    let through = servers.iter().zip(&proxies);
    let urls: Vec<_> = through
        .map(|(server, proxy)| server.database.url_through(proxy.address))
        .collect();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let (mut next, mut aborts) = (0, 0);
    let mut collecting = Collecting::start(Rows::Sharded, &spool, &urls, next);
    collecting.wait_for(BETWEEN);
    for fault in faults {
        let shard = random.below(SHARDS as u64) as usize;
        let outage = Duration::from_millis(random.below(OUTAGE_MS));
        println!(
            "{:>7.3} s {fault:?} of shard {}",
            started.elapsed().as_secs_f32(),
            shard + 1
        );
        match fault {
            Fault::Kill => {
                servers[shard].kill();
                sleep(outage);
                servers[shard].start_again();
            }
            Fault::Pause => {
                servers[shard].pause();
                sleep(outage);
                servers[shard].resume();
            }
            Fault::CutRequest | Fault::CutAnswer => {
                proxies[shard].cut(INSERT, matches!(fault, Fault::CutAnswer));
                proxies[shard].wait_for_cut();
            }
            Fault::LoseAnswers => {
                proxies[shard].loses_answers.store(true, Ordering::SeqCst);
                sleep(outage);
                proxies[shard].loses_answers.store(false, Ordering::SeqCst);
            }
            Fault::KillCollector => {
                servers[shard].pause();
                sleep(outage / 4);
                next = collecting.kill(next);
                collecting = Collecting::start(Rows::Sharded, &spool, &urls, next);
                collecting.wait_for(next + BETWEEN);
                servers[shard].resume();
            }
        }
        collecting.wait_for_more(BETWEEN);
        aborts += servers
            .iter_mut()
            .filter_map(|server| server.restart_if_ended().then_some(()))
            .count();
    }
    next = collecting.kill(next);
    deliver_the_rest(&urls, &spool);
    println!(
        "seed {seed}: {} faults and {next} rows in {} s; ClickHouse ended by itself {aborts} times",
        FAULTS.len() * times,
        started.elapsed().as_secs()
    );
    assert_stored_once(&servers, next);
}

#[test]
fn four_shards_have_each_acknowledged_row_once_over_kills_cuts_and_pauses() {
    inject(1);
}

#[test]
#[ignore = "120 faults, minutes; CONTRIBUTING.md says how to run it"]
fn four_shards_over_many_faults() {
    inject(20);
}
