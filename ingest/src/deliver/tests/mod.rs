//! Tests of delivery.
//!
//! ```text
//! steps         each answer of the store, and what delivery does next; without a server
//! fake_backend  the store of these tests
//! inserts       the statement, the bytes and the token of each insert
//! refusals      rows that ClickHouse refuses, and inserts that are too large for it
//! failures      errors and time-outs of a server, and servers that do not respond
//! prefetch      the blocks that a delivery prefetches while an insert is in flight
//! fake_server   the server of these tests, over HTTP
//! ```

#![allow(clippy::unwrap_used, clippy::panic)]

mod failures;
pub(in crate::deliver) mod fake_backend;
pub(crate) mod fake_server;
mod inserts;
mod prefetch;
mod refusals;
mod steps;
