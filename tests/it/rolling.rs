//! Collectors behind a load balancer restart one after the other, and no request fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::support::{
    balancer::{Balancer, address_on},
    collector::Collector,
    engine::Database,
    http, wait_for,
};

/// The balancer notices a stop by a check. It checks ten times a second, but an answer takes longer
/// on a busy machine.
const PRE_STOP: [&str; 2] = ["--pre-stop-seconds", "3"];

const SENDERS: usize = 4;

/// Restarts the collectors in turn, `times` times, under load.
fn restart(times: usize) {
    let database = Database::named("rolling");
    let folder = tempfile::tempdir().unwrap();
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.8"].map(address_on);
    let Some(balancer) = Balancer::start(folder.path(), &addresses.map(|address| [address; 2])) else {
        return;
    };
    let data: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let start = |index: usize| {
        let node = ["--node", ["1", "2", "3"][index]];
        let arguments = [node, PRE_STOP].concat();
        Collector::start_at(addresses[index], data[index].path(), &database.url(), &arguments)
    };
    let mut collectors = [0, 1, 2].map(|index| Some(start(index)));
    balancer.wait_for(3);

    let (next, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (address, next, is_over) = (balancer.address, Arc::clone(&next), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    let body = format!(r#"{{"message_id":"{}"}}"#, next.fetch_add(1, Ordering::SeqCst));
                    let answer = http::post_json(address, "/wh/mail", &body);
                    if answer.status != 200 {
                        failures.push((body, answer.status));
                    }
                }
                failures
            })
        })
        .collect();
    for round in 0..times {
        let index = round % 3;
        let ended = collectors[index].take().unwrap().stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        collectors[index] = Some(start(index));
        let sent = next.load(Ordering::SeqCst);
        balancer.wait_for(3);
        wait_for("more events", || {
            (next.load(Ordering::SeqCst) > sent + 100).then_some(())
        });
    }
    is_over.store(true, Ordering::SeqCst);
    let failures: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    let sent = next.load(Ordering::SeqCst);
    assert_eq!(failures, [], "of {sent}");
    for collector in collectors.into_iter().flatten() {
        assert_eq!(collector.stop().code, Some(0));
    }
    assert_eq!(
        database.query("SELECT count(), uniqExact(message_id) FROM mail_statistics"),
        format!("{sent}\t{sent}\n")
    );
    println!("{times} restarts, {sent} requests, none failed");
}

#[test]
fn a_restart_behind_a_balancer_fails_no_request() {
    restart(3);
}

#[test]
#[ignore = "takes a minute: the same with twenty restarts"]
fn twenty_restarts_behind_a_balancer_fail_no_request() {
    restart(20);
}
