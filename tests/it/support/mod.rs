//! What the tests stand on: the engine, a database, the program, and HTTP byte by byte.

pub mod collector;
pub mod engine;
pub mod http;
pub mod proxy;
pub mod service;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a condition may take to come true before it counts as false; far more than any of them needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(10));
    }
}
