//! Several collectors on the same tables, whose deduplication windows soon forget each block.

use super::{
    event::Target,
    report::Place,
    run::Run,
    tables::{EVENTS, MAIL, WEBHOOKS, in_events, in_extra, in_mail, partitioned, small_window},
    world::Fault,
};

const TARGETS: [Target; 3] = [MAIL, WEBHOOKS, Target { lines: 20, ..EVENTS }];

const TABLES: [&str; 3] = ["mail_statistics", "webhooks", "events"];

const PLACES: [Place; 3] = [
    in_mail(0),
    in_extra(1, "webhooks", "service = 'wh'"),
    in_events(2, "events"),
];

#[test]
fn two_collectors_lose_and_duplicate_nothing() {
    crash(2, 1);
}

#[test]
#[ignore = "takes minutes; CONTRIBUTING.md says how to run it"]
fn two_collectors_lose_and_duplicate_nothing_for_long() {
    crash(2, 15);
}

#[test]
#[ignore = "takes minutes; CONTRIBUTING.md says how to run it"]
fn six_collectors_lose_and_duplicate_nothing() {
    crash(6, 15);
}

/// Causes each kind of fault `times` times, or a small multiple of it for some kinds, with
/// `collectors` collectors.
fn crash(collectors: usize, times: usize) {
    let mut statements = partitioned("events", "user_id", 20);
    statements.extend(TABLES.map(small_window));
    let run = Run {
        collectors,
        statements,
        targets: &TARGETS,
        places: &PLACES,
        others: &TABLES,
        ..Run::default()
    };
    run.inject(&[
        (Fault::KillCollector, 3 * times),
        (Fault::KillClickHouse, times),
        (Fault::KillClickHouseNear("events"), times),
        (Fault::KillBoth, times),
        (Fault::PauseClickHouse, times),
        (Fault::CutRequest, 2 * times),
        (Fault::CutAnswer, 2 * times),
    ]);
}
