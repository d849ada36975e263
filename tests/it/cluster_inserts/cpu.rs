//! The CPU time that the collector takes per row, by the number of shards.

use std::{
    thread,
    time::{Duration, Instant},
};

use evolution::sharded::before::{self, Orders};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use rowmill_ingest::{Ack, WriterOptions};
use tokio::runtime::Runtime;

use super::{ONE, started, urls};
use crate::support::cluster;

/// Returns the CPU time of this process so far, which is that of the collector: the servers are other
/// processes.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|time| Duration::from_micros(time.num_microseconds() as u64))
        .iter()
        .sum()
}

#[test]
#[ignore = "a measurement of two minutes, which CONTRIBUTING.md names"]
fn cpu_per_row_with_one_shard_and_with_four() {
    const ROWS: u32 = 1_000_000;
    /// A round takes five seconds with any number of shards, so that the collector seals blocks of all
    /// shards by their age, and does not wait for memory.
    const BATCH: (u32, Duration) = (2_000, Duration::from_millis(10));
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let emails: Vec<_> = (0..10_000).map(|n| format!("{n}-of-many@mail.example.com")).collect();
    let clusters = [1, 4].map(|shards| cluster::start(&folder.path().join(shards.to_string()), &vec![ONE; shards]));
    let mut measured: [Vec<Duration>; 2] = Default::default();
    // The first round warms up. Each cluster comes first as often.
    for round in 0..7 {
        for turn in 0..2 {
            let cluster = (round + turn) % 2;
            let (servers, measured) = (&clusters[cluster], &mut measured[cluster]);
            let options = WriterOptions::default();
            let writer = started(&runtime, servers, &urls(servers), &before::SCHEMA, &options);
            let (before, began) = (cpu_time(), Instant::now());
            for n in 0..ROWS {
                let (rows, time) = BATCH;
                if n % rows == 0 {
                    let at = began + time * (n / rows);
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                }
                let row = Orders {
                    email: emails[n as usize % emails.len()].as_str().into(),
                    ..Orders::default()
                };
                while writer.insert(&row, Ack::Accepted).is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(runtime.block_on(writer.drain(Duration::from_secs(300))).is_complete());
            let inserts = writer.status().table("orders").map_or(0, |counts| counts.inserts);
            let per_row = (cpu_time() - before) / ROWS;
            println!(
                "{} shards: {per_row:?} per row, {inserts} inserts in {:?}",
                servers.len(),
                began.elapsed()
            );
            measured.extend((round > 0).then_some(per_row));
        }
    }
    let [one, four] = measured.map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times)
    });
    let growth = four.0.as_secs_f64() / one.0.as_secs_f64() - 1.0;
    println!(
        "CPU per row: one shard {one:?}, four shards {four:?}: {:+.1} %",
        growth * 100.0
    );
    // A debug build computes the shard of a row far slower.
    assert!(cfg!(debug_assertions) || growth < 0.1, "{growth}");
}
