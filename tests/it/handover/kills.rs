//! Kills of both collectors during a handover.

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

use super::rows::{Rows, Taker, away, waiting};
use crate::{
    crash::random::Random,
    support::{
        collector::{self, Collector},
        engine::Database,
        http,
    },
};

/// About as long as a handover of a few rows takes, from the start of its process.
const MAX_DELAY_MS: u64 = 150;

#[test]
fn kills_of_both_ends_lose_and_duplicate_nothing() {
    kill(6);
}

#[test]
#[ignore = "takes about five minutes"]
fn three_hundred_kills_of_both_ends_lose_and_duplicate_nothing() {
    kill(300);
}

/// Kills an end of the handover `times` times, at random, while ClickHouse is away in half of the
/// rounds.
fn kill(times: u32) {
    let seed = Random::seed();
    println!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Database::named("handover_kills");
    let (mut taker, mut rows) = (Taker::start(&database), Rows::default());
    let away = away(&database);
    let (mut kills, mut known) = ([0; 2], 0);
    while kills.iter().sum::<u32>() < times {
        let data = waiting(&away, &mut rows, 1 + random.below(20));
        // A second run, so that there are several blocks, and dead letters.
        let collector = Collector::start_in(data.path(), &away.url(), &[]);
        rows.post(collector.address, 1 + random.below(20));
        assert_eq!(http::post_json(collector.address, "/wh/mail", "{").status, 400);
        collector.kill();
        if random.below(2) == 0 {
            taker.restart_to(&away.url());
        }
        let command = || -> Child {
            collector::command()
                .args([
                    "spool",
                    "send",
                    &taker.url(),
                    "--handover-secret-file",
                    taker.secret(),
                    "--data",
                ])
                .arg(data.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut sender = command();
        sleep(Duration::from_millis(random.below(MAX_DELAY_MS)));
        let end = random.below(2) as usize;
        // A kill counts if it comes before the end of the handover.
        kills[end] += u32::from(sender.try_wait().unwrap().is_none());
        if end == 0 {
            sender.kill().unwrap();
            sender.wait().unwrap();
            sender = command();
        } else {
            taker.restart(&database);
        }
        let output = sender.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", super::text(&output));
        known += super::handed_over(&output).1;
        taker.restart(&database);
        rows.wait(&database);
    }
    let rejected = database.query("SELECT count() = uniqExact(id) FROM rejected");
    assert_eq!(rejected, "1\n", "no dead letter is stored twice");
    println!(
        "killed {} senders and {} takers; {known} blocks were given twice",
        kills[0], kills[1]
    );
}
