//! Signal: when the committer wakes up.

use std::{thread, time::Duration};

use crate::spool::signal::{COMMIT_INTERVAL, IDLE_DELAY, Signal, Urgency};

#[test]
fn what_a_loop_appends_that_tells_of_its_rest_waits_for_it() {
    let (signal, other) = (Signal::default(), Signal::default());
    assert_eq!(signal.wait_urgency(), Urgency::Now);
    signal.on_idle();
    assert_eq!(signal.max_delay(), Some(Duration::MAX), "nothing is to be written");
    signal.raise(signal.wait_urgency());
    assert_eq!(signal.max_delay(), Some(IDLE_DELAY));
    signal.on_idle();
    assert_eq!(signal.max_delay(), None);
    // The call does not count for another signal, nor for another thread.
    assert_eq!(other.wait_urgency(), Urgency::Now);
    assert_eq!(
        thread::scope(|scope| scope.spawn(|| signal.wait_urgency()).join().ok()),
        Some(Urgency::Now)
    );
}

#[test]
fn rows_that_nobody_waits_for_do_not_go_at_a_rest() {
    let signal = Signal::default();
    signal.raise(Urgency::Soon);
    signal.on_idle();
    assert_eq!(signal.max_delay(), Some(COMMIT_INTERVAL));
}

#[test]
fn a_loop_that_does_not_come_to_rest_is_not_waited_for() {
    let signal = Signal::default();
    signal.on_idle();
    signal.raise(Urgency::OnIdle);
    signal.wait();
    assert_eq!(signal.max_delay(), Some(IDLE_DELAY));
}
