//! The CPU time that the collector takes per row, by the number of shards.

use std::{thread, time::Duration};

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
#[ignore = "a measurement of minutes, which CONTRIBUTING.md names"]
fn cpu_per_row_with_one_shard_and_with_four() {
    const ROWS: u32 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let emails: Vec<_> = (0..10_000).map(|n| format!("{n}-of-many@mail.example.com")).collect();
    let clusters = [1, 4].map(|shards| cluster::start(&folder.path().join(shards.to_string()), &vec![ONE; shards]));
    let mut measured: [Vec<Duration>; 2] = Default::default();
    for round in 0..5 {
        for (servers, measured) in clusters.iter().zip(&mut measured) {
            let options = WriterOptions::default();
            let writer = started(&runtime, servers, &urls(servers), &before::SCHEMA, &options);
            let before = cpu_time();
            for n in 0..ROWS {
                let row = Orders {
                    email: emails[n as usize % emails.len()].as_str().into(),
                    ..Orders::default()
                };
                while writer.insert(&row, Ack::Accepted).is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(runtime.block_on(writer.drain(Duration::from_secs(300))).is_complete());
            // The first round warms up.
            measured.extend((round > 0).then(|| (cpu_time() - before) / ROWS));
        }
    }
    let [one, four] = measured.map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 2], times)
    });
    println!("CPU per row: one shard {one:?}, four shards {four:?}");
}
