//! Kills ClickHouse while `rowmill rejected replay` inserts rows that ClickHouse had refused. Each
//! row is in its table exactly once after another replay.

use std::{thread, time::Duration};

use super::{random::Random, world::World};
use crate::support::{collector, http};

const TABLE: &str = "mail_statistics";

/// The rows that ClickHouse refuses in each round. They stay below the number of refusals that
/// holds a table.
const ROWS: u64 = 20;

#[test]
fn kills_during_a_replay_lose_and_duplicate_nothing() {
    replay(6);
}

#[test]
#[ignore = "takes some minutes; CONTRIBUTING.md says how to run it"]
fn a_hundred_kills_during_a_replay_lose_and_duplicate_nothing() {
    replay(100);
}

/// Kills ClickHouse near the first insert of a replay, `rounds` times, each time with other rows.
fn replay(rounds: u64) {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut world = World::start(&[], 1);
    for round in 0..rounds {
        refuse(&world, round);
        let known = world.proxy().inserts(TABLE);
        let url = world.database_through_proxy().url();
        // Half of the replays delete the dead letters of stored rows.
        let arguments = if round % 2 == 0 { &[][..] } else { &["--delete"] };
        let first =
            thread::spawn(move || collector::run(&[&["rejected", "replay", "--clickhouse", &url], arguments].concat()));
        world.until("an insert to kill ClickHouse near", |world| {
            world.proxy().wait_for_insert(TABLE, known.begun)
        });
        world.kill_server_near(TABLE, known.took.max(Duration::from_millis(1)), &mut random);
        // A replay whose server is gone ends, and one that was just faster succeeds.
        let first = first.join().unwrap();
        world.start_server();

        let output = collector::run(&[
            "rejected",
            "replay",
            "--delete",
            "--clickhouse",
            &world.database().url(),
        ]);
        assert!(output.status.success(), "{first:?}\n{output:?}");
        assert_eq!(
            world.database().query(
                "SELECT count(), uniqExact(id), uniqExact(message_id), countIf(event = 'bounce'), \
                 countIf(email = 'anna@example.org') FROM mail_statistics",
            ),
            format!(
                "{all}\t{all}\t{all}\t{bounced}\t{all}\n",
                all = (round + 1) * (ROWS + 1),
                bounced = (round + 1) * ROWS
            ),
            "round {round}: {first:?}\n{output:?}"
        );
        assert_eq!(world.database().query("SELECT count() FROM rejected"), "0\n");
    }
    println!("{} of {rounds} kills during the insert", world.kills_during_insert);
    for ended in world.stop_collectors() {
        assert_eq!(ended.code, Some(0), "{}", ended.log);
    }
}

/// Lets ClickHouse refuse some rows and accept one, which shows how long an insert takes.
fn refuse(world: &World, round: u64) {
    let database = world.database();
    database.query("ALTER TABLE mail_statistics ADD CONSTRAINT no_bounce CHECK event != 'bounce'");
    let address = world.address(0).unwrap();
    for number in 0..=ROWS {
        let event = if number == 0 { "sent" } else { "bounce" };
        let body = format!(
            r#"{{"event":"{event}","message_id":"{}","email":"anna@example.org"}}"#,
            round * (ROWS + 1) + number
        );
        let answer = http::post_json(address, "/wh/mail", &body);
        assert_eq!(answer.status, 200);
    }
    database.wait_for_rows("rejected", ROWS);
    database.wait_for_rows(TABLE, (round + 1) * (ROWS + 1) - ROWS);
    database.query("ALTER TABLE mail_statistics DROP CONSTRAINT no_bounce");
}
