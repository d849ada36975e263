//! Signal: the time at which the committer wakes up.

use std::{thread, time::Duration};

use crate::spool::signal::{COMMIT_INTERVAL, IDLE_DELAY, Signal, Urgency};

#[test]
fn rows_of_an_event_loop_wait_until_it_is_idle() {
    let (signal, other) = (Signal::default(), Signal::default());
    assert_eq!(signal.wait_urgency(), Urgency::Now);
    signal.on_idle();
    assert_eq!(signal.max_delay(), Some(Duration::MAX), "there is nothing to write");
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
fn rows_that_no_task_waits_for_are_not_written_on_idle() {
    let signal = Signal::default();
    signal.raise(Urgency::Soon);
    signal.on_idle();
    assert_eq!(signal.max_delay(), Some(COMMIT_INTERVAL));
}

#[test]
fn the_wait_for_a_busy_event_loop_is_bounded() {
    let signal = Signal::default();
    signal.on_idle();
    signal.raise(Urgency::OnIdle);
    signal.wait();
    assert_eq!(signal.max_delay(), Some(IDLE_DELAY));
}
