//! Many collectors start at once, on servers without tables, and with two versions of the schema.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, thread, time::Duration};

use super::{PLACE, SHARDS, TARGETS, Version, program};
use crate::{
    crash::{
        clients::{Clients, Sending},
        report::Found,
    },
    support::{
        cluster::{self, Server},
        collector::Collector,
        http, wait_for,
    },
};

/// Two dozen collectors share a machine.
const ARGUMENTS: [&str; 4] = ["--memory-bytes", "16MiB", "--drain-seconds", "120"];

/// The longest time until all collectors of a start have their tables. Each has a debug build of
/// its own to load.
const START: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(5);

fn clickhouse(shards: &[Server]) -> String {
    let urls: Vec<_> = shards.iter().map(|shard| shard.database.url()).collect();
    urls.join(",")
}

/// Starts collectors of these versions at once.
fn start(folder: &Path, shards: &[Server], versions: &[Version]) -> Vec<Collector> {
    let clickhouse = clickhouse(shards);
    thread::scope(|scope| {
        let starting: Vec<_> = versions
            .iter()
            .enumerate()
            .map(|(index, version)| {
                let (data, clickhouse) = (folder.join(index.to_string()), &clickhouse);
                scope.spawn(move || {
                    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
                    Collector::start_program_at(program(*version), listen, &data, clickhouse, &ARGUMENTS)
                })
            })
            .collect();
        starting
            .into_iter()
            .map(|collector| collector.join().unwrap())
            .collect()
    })
}

fn clients(collectors: &[Collector]) -> Clients {
    let addresses: Vec<_> = collectors.iter().map(|collector| collector.address).collect();
    let sending = Sending {
        pause: PAUSE,
        ..Sending::default()
    };
    Clients::start_with(&addresses, &TARGETS, sending)
}

/// Waits until each collector has its tables on a server that answers.
fn wait_until_ready(collectors: &[Collector]) {
    let started = std::time::Instant::now();
    for collector in collectors {
        while http::get(collector.address, "/ready?store=1").status != 200 {
            assert!(started.elapsed() < START, "{}", collector.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Stops the collectors, which deliver their rows; returns their logs.
fn stop(collectors: Vec<Collector>) -> Vec<String> {
    let stopping: Vec<_> = collectors
        .into_iter()
        .map(|collector| thread::spawn(|| collector.stop()))
        .collect();
    let ended = stopping.into_iter().map(|collector| collector.join().unwrap());
    ended
        .map(|ended| {
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            ended.log
        })
        .collect()
}

/// Asserts that no collector had a problem with the schema.
fn assert_quiet(logs: &[String]) {
    for line in logs.iter().flat_map(|log| log.lines()) {
        let is_problem = line.contains("ERROR") || line.contains("WARN");
        assert!(!is_problem, "{line}");
    }
}

/// Asserts that the schema of a version has nothing to change on any server.
fn assert_nothing_to_do(shards: &[Server], version: Version) {
    for shard in shards {
        let mut command = program(version);
        command.args(["plan", "--exit-code"]);
        let output = command
            .env("ROWMILL_CLICKHOUSE", shard.database.url())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// Starts `count` collectors at once on servers without tables.
fn start_at_once(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let shards = cluster::start(&folder.path().join("servers"), &SHARDS);
    let started = std::time::Instant::now();
    let collectors = start(folder.path(), &shards, &vec![Version::Old; count]);
    wait_until_ready(&collectors);
    let ready = started.elapsed();
    let nodes: BTreeSet<_> = collectors
        .iter()
        .map(|collector| {
            wait_for("a node number", || {
                let metrics = http::get(collector.address, "/metrics");
                let mut lines = metrics.text().lines();
                lines.find_map(|line| line.strip_prefix("rowmill_node ")?.parse::<u64>().ok())
            })
        })
        .collect();
    assert_eq!(nodes.len(), count, "{nodes:?}");
    let clients = clients(&collectors);
    let taken = |collector: &Collector| collector.metric("rowmill_rows_appended_total{table=\"rows\"}");
    for collector in &collectors {
        wait_for("events of each collector", || (taken(collector) >= 50).then_some(()));
    }
    let (failures, sent) = ((clients.failed(), clients.unavailable()), clients.stop());
    let memory = collectors.iter().map(Collector::peak_memory);
    let (most, all) = (memory.clone().max().unwrap_or(0), memory.sum::<u64>());
    let logs = stop(collectors);
    println!(
        "{count} collectors, ready after {ready:?}, peak memory {} MiB, of all {} MiB",
        most >> 20,
        all >> 20
    );
    assert_eq!(failures, (0, 0));
    let found = Found::count(&shards[0].database, &sent, &PLACE);
    println!("{found:?}");
    assert!(found.is_exact() && found.acknowledged == found.rows, "{found:?}");
    assert_quiet(&logs);
    assert_nothing_to_do(&shards, Version::Old);
    for table in ["rows_local", "rows", "rejected"] {
        let created = format!("schema: CREATE TABLE IF NOT EXISTS `stats`.`{table}`");
        let by: usize = logs.iter().map(|log| log.matches(&created).count()).sum();
        assert_eq!(by, shards.len(), "one collector creates {table} on each server");
    }
    for shard in &shards {
        let tables =
            "SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables WHERE database = 'stats'";
        assert_eq!(shard.database.query(tables), "rejected rowmill_nodes rows rows_local\n");
    }
}

#[test]
fn eight_collectors_start_at_once_on_an_empty_cluster() {
    start_at_once(8);
}

#[test]
#[ignore = "takes twenty processes; CONTRIBUTING.md says how to run it"]
fn twenty_collectors_start_at_once_on_an_empty_cluster() {
    start_at_once(20);
}

/// Starts collectors of both versions, and those of `first` before the others, which start under
/// load. `count` is that of each version.
fn both_versions(first: Version, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let shards = cluster::start(&folder.path().join("servers"), &SHARDS);
    let second = match first {
        Version::Old => Version::New,
        Version::New => Version::Old,
    };
    let mut collectors = start(&folder.path().join("first"), &shards, &vec![first; count]);
    wait_until_ready(&collectors);
    let of_first = clients(&collectors);
    wait_for("events of the first", || (of_first.acknowledged() > 100).then_some(()));
    collectors.extend(start(&folder.path().join("second"), &shards, &vec![second; count]));
    wait_until_ready(&collectors);
    let known = of_first.acknowledged();
    wait_for("events beside the second", || {
        (of_first.acknowledged() > known + 300).then_some(())
    });
    // The numbers go on from here, so that all events are one sequence.
    let (failures, sent) = ((of_first.failed(), of_first.unavailable()), of_first.stop());
    assert_eq!(failures, (0, 0));
    let addresses: Vec<_> = collectors.iter().map(|collector| collector.address).collect();
    let of_all = Clients::start_after(
        &sent,
        &addresses,
        Sending {
            pause: PAUSE,
            ..Sending::default()
        },
    );
    let taken = |collector: &Collector| collector.metric("rowmill_rows_appended_total{table=\"rows\"}");
    let before: Vec<_> = collectors.iter().map(taken).collect();
    for (collector, before) in collectors.iter().zip(before) {
        wait_for("events of each collector", || {
            (taken(collector) >= before + 50).then_some(())
        });
    }
    let failures = (of_all.failed(), of_all.unavailable());
    let more = of_all.stop();
    let logs = stop(collectors);
    assert_eq!(failures, (0, 0));
    let sent = sent.followed_by(more);
    let found = Found::count(&shards[0].database, &sent, &PLACE);
    println!("{first:?} first, {count} of each: {found:?}");
    assert!(found.is_exact() && found.acknowledged == found.rows, "{found:?}");
    assert_quiet(&logs);
    assert_nothing_to_do(&shards, Version::New);
}

#[test]
fn two_old_collectors_and_two_new_ones_run_at_once() {
    both_versions(Version::Old, 2);
    both_versions(Version::New, 2);
}

#[test]
#[ignore = "takes twelve processes; CONTRIBUTING.md says how to run it"]
fn six_old_collectors_and_six_new_ones_run_at_once() {
    both_versions(Version::Old, 6);
    both_versions(Version::New, 6);
}
