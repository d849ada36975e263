//! Kills ClickHouse near inserts into 1, 20 and 60 partitions. A killed insert may have stored some
//! partitions, and ClickHouse may remember the token of partitions that it has not stored.

use std::time::Duration;

use super::{
    event::Target,
    report::Place,
    run::{Run, View},
    tables::{ACTIVITY, EVENTS, MAIL, in_events, in_mail, partitioned, summed},
    world::Fault,
};

/// Each request has enough events for a row in each partition.
const TARGETS: [Target; 3] = [MAIL, Target { lines: 20, ..EVENTS }, Target { lines: 60, ..ACTIVITY }];

const PLACES: [Place; 3] = [in_mail(0), in_events(1, "events"), in_events(2, "activity")];

#[test]
fn kills_near_inserts_lose_and_duplicate_nothing() {
    kill(3);
}

#[test]
#[ignore = "takes a quarter of an hour; CONTRIBUTING.md says how to run it"]
fn five_hundred_kills_near_inserts_lose_and_duplicate_nothing() {
    kill(167);
}

/// Kills ClickHouse `times` times near an insert into each of the tables.
fn kill(times: usize) {
    let mut statements = partitioned("events", "user_id", 20);
    statements.extend(partitioned("activity", "user_id", 60));
    statements.extend(summed("mail_statistics", "message_id"));
    let run = Run {
        statements,
        targets: &TARGETS,
        places: &PLACES,
        view: Some(View {
            table: "mail_statistics",
            number: "message_id",
        }),
        pause: Duration::from_millis(200),
        ..Run::default()
    };
    let tables = PLACES.map(|place| (Fault::KillClickHouseNear(place.table), times));
    run.inject(&tables);
}
