//! Tables of requests and of their responses, rows and rejections, without a ClickHouse.
//!
//! ```text
//! world         a collector, and the outcome of a request
//! bodies        bodies, and the rows or the rejections that they become
//! responses     pixels, redirects, addresses in fields, requests for an acknowledgement
//! ndjson        many events in one body
//! json_rpc      calls, their replies and rows
//! dead_letters  the dead letter of each rejection
//! ```

#![allow(clippy::unwrap_used, clippy::panic)]

mod bodies;
mod dead_letters;
mod json_rpc;
mod ndjson;
mod responses;
mod world;
