//! Each acknowledged event is in its table exactly once, although processes are killed or paused
//! and connections cut.

pub(crate) mod clients;
pub(crate) mod event;
mod held;
mod near_inserts;
mod others;
mod outage;
mod poison;
pub(crate) mod proxy;
pub(crate) mod random;
mod rejected;
pub(crate) mod report;
mod run;
mod several;
mod tables;
mod world;

use self::{
    event::Target,
    report::Place,
    run::{Run, View},
    tables::{EVENTS, MAIL, PING, WEBHOOKS, in_events, in_extra, in_mail, partitioned, summed},
    world::Fault,
};

const TARGETS: [Target; 4] = [MAIL, WEBHOOKS, PING, EVENTS];

/// The expression for the number of an event in `ping`.
const PING_NUMBER: &str = "extra.value[indexOf(extra.key, 'number')]";

/// Changes the tables: `webhooks` replaces rows with the same key, with merges off, since they
/// would hide duplicates; `ping` gets a view; `events` gets partitions. `mail_statistics` stays as
/// the program creates it.
fn statements() -> Vec<String> {
    let replacing = [
        "CREATE TABLE replacing AS webhooks ENGINE = ReplacingMergeTree ORDER BY id SETTINGS \
         non_replicated_deduplication_window = 1000, max_bytes_to_merge_at_max_space_in_pool = 1, \
         max_bytes_to_merge_at_min_space_in_pool = 1",
        "DROP TABLE webhooks",
        "RENAME TABLE replacing TO webhooks",
    ];
    let replacing = replacing.map(str::to_owned).into_iter();
    let view = summed("ping", PING_NUMBER);
    replacing
        .chain(view)
        .chain(partitioned("events", "user_id", 20))
        .collect()
}

const PLACES: [Place; 4] = [
    in_mail(0),
    in_extra(1, "webhooks", "1"),
    in_extra(2, "ping", "1"),
    in_events(3, "events"),
];

#[test]
fn twenty_faults_lose_and_duplicate_nothing() {
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
fn many_faults_lose_and_duplicate_nothing() {
    crash(&[
        (Fault::KillCollector, 25),
        (Fault::KillClickHouse, 20),
        (Fault::KillBoth, 10),
        (Fault::PauseClickHouse, 15),
        (Fault::CutRequest, 25),
        (Fault::CutAnswer, 25),
    ]);
}

/// Subjects one collector to the given number of faults of each kind.
fn crash(kinds: &[(Fault, usize)]) {
    let run = Run {
        statements: statements(),
        targets: &TARGETS,
        places: &PLACES,
        view: Some(View {
            table: "ping",
            number: PING_NUMBER,
        }),
        ..Run::default()
    };
    run.inject(kinds);
}
