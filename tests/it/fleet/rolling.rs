//! All collectors over the shards restart in turn under load, and no request fails.

use super::world::Fleet;

/// As in the test of one server.
const PRE_STOP: [&str; 2] = ["--pre-stop-seconds", "3"];

/// Restarts the three collectors in turn, `times` times.
fn restart(times: usize) {
    let Some(mut fleet) = Fleet::start(3, 3, &PRE_STOP) else {
        return;
    };
    let clients = fleet.clients("spooled");
    for round in 0..times {
        let slot = round % 3;
        let ended = fleet.stop_collector(slot);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        fleet.start_collector(slot);
        let before = clients.acknowledged();
        fleet.wait_for_balancer();
        fleet.until("more events", |_| clients.acknowledged() > before + 100);
    }
    let failures = (clients.failed(), clients.unavailable());
    let sent = clients.stop();
    assert_eq!(failures, (0, 0), "of {} requests", sent.below[0]);
    fleet.deliver_and_stop();
    println!("{times} restarts, {} requests, none failed", sent.below[0]);
    fleet.assert_exact(&sent);
}

#[test]
fn restarts_over_shards_fail_no_request() {
    restart(3);
}

#[test]
#[ignore = "takes two minutes: the same with twenty restarts"]
fn twenty_restarts_over_shards_fail_no_request() {
    restart(20);
}
