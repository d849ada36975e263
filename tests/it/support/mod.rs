//! The base of the tests: the engine, databases, the program, a proxy, a service and an HTTP
//! client, a broker, a balancer, an S3 server, a collector to kill, and a cluster with replicas.

pub mod balancer;
pub mod broker;
pub mod browser;
pub mod certificates;
pub mod clients;
pub mod cluster;
pub mod collecting;
pub mod collector;
pub mod engine;
pub mod http;
pub mod kafka_gate;
pub mod object_store;
pub mod proxy;
pub mod replicated;
pub mod sasl;
pub mod service;
pub mod tls_client;
pub mod tls_proxy;
pub mod websocket;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// How long to wait for a condition before the test fails; far more than any condition needs.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Waits until `condition` returns a value.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}");
        sleep(Duration::from_millis(10));
    }
}
