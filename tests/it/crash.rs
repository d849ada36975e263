//! Exactly once from the answer to the table, whatever is killed, paused or cut on the way.

mod clients;
mod held;
mod outage;
mod poison;
mod proxy;
mod random;
mod report;
mod world;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use self::{
    clients::Target,
    random::Random,
    report::{Found, Place, Report},
    world::{Fault, World},
};

/// Events that are acknowledged before the next fault comes.
const BETWEEN_FAULTS: u64 = 30;

/// The longest pause before a fault, so that faults meet inserts in every state.
const MAX_PAUSE_MS: u64 = 300;

const TARGETS: [Target; 3] = [
    Target {
        path: "/wh/mail",
        key: "message_id",
        padding: 20,
    },
    Target {
        path: "/wh/other",
        key: "number",
        padding: 20,
    },
    Target {
        path: "/track/ping",
        key: "number",
        padding: 20,
    },
];

/// One table as the program makes it; one that replaces rows of the same key, with merges off, since they would hide a row that
/// came twice; and one with a view.
const STATEMENTS: [&str; 5] = [
    "CREATE TABLE replacing AS webhooks ENGINE = ReplacingMergeTree ORDER BY id SETTINGS \
     non_replicated_deduplication_window = 1000, max_bytes_to_merge_at_max_space_in_pool = 1, \
     max_bytes_to_merge_at_min_space_in_pool = 1",
    "DROP TABLE webhooks",
    "RENAME TABLE replacing TO webhooks",
    "CREATE TABLE ping_numbers (number UInt64) ENGINE = MergeTree ORDER BY number SETTINGS \
     non_replicated_deduplication_window = 1000",
    "CREATE MATERIALIZED VIEW ping_view TO ping_numbers AS \
     SELECT toUInt64(extra.value[indexOf(extra.key, 'number')]) AS number FROM ping",
];

const EXTRA_NUMBER: &str = "extra.value[indexOf(extra.key, 'number')]";

const PLACES: [Place; 4] = [
    Place {
        target: 0,
        table: "mail_statistics",
        number: "message_id",
    },
    Place {
        target: 1,
        table: "webhooks",
        number: EXTRA_NUMBER,
    },
    Place {
        target: 2,
        table: "ping",
        number: EXTRA_NUMBER,
    },
    Place {
        target: 2,
        table: "ping_numbers",
        number: "number",
    },
];

#[test]
fn twenty_faults_lose_nothing_and_double_nothing() {
    crash(&[
        (Fault::KillCollector, 4),
        (Fault::KillClickHouse, 3),
        (Fault::KillBoth, 1),
        (Fault::PauseClickHouse, 2),
        (Fault::CutRequest, 5),
        (Fault::CutAnswer, 5),
    ]);
}

#[test]
#[ignore = "takes minutes; CONTRIBUTING.md says how to run it"]
fn many_faults_lose_nothing_and_double_nothing() {
    crash(&[
        (Fault::KillCollector, 25),
        (Fault::KillClickHouse, 20),
        (Fault::KillBoth, 10),
        (Fault::PauseClickHouse, 15),
        (Fault::CutRequest, 25),
        (Fault::CutAnswer, 25),
    ]);
}

/// Lets so many faults of each kind happen in random order, and counts what is left.
fn crash(kinds: &[(Fault, usize)]) {
    let started = Instant::now();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut faults: Vec<_> = kinds
        .iter()
        .flat_map(|&(fault, times)| std::iter::repeat_n(fault, times))
        .collect();
    random.shuffle(&mut faults);

    let mut world = World::start(&STATEMENTS);
    let clients = world.clients(&TARGETS);
    for &fault in &faults {
        let before = clients.acknowledged();
        world.until("events between faults", |_| {
            clients.acknowledged() >= before + BETWEEN_FAULTS
        });
        sleep(Duration::from_millis(random.below(MAX_PAUSE_MS)));
        println!("{:>7.3} s  {fault:?}", started.elapsed().as_secs_f32());
        world.befall(fault, &clients, &mut random);
    }
    let sent = clients.stop();
    let ended = world.run_dry();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    let database = world.database();
    let places = PLACES
        .iter()
        .map(|place| Found::count(&database, &sent, TARGETS.len() as u64, place));
    let report = Report {
        seed,
        took: started.elapsed(),
        faults,
        aborts: world.aborts,
        places: places.collect(),
    };
    println!("{report}");
    assert!(report.places.iter().all(Found::is_exact), "{report}\n{}", ended.log);
    assert_eq!(
        database.count("rejected"),
        0,
        "{}",
        database.query("SELECT * FROM rejected LIMIT 5")
    );
}
