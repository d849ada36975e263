//! Tables of requests and of their responses, rows and rejections, without a ClickHouse.
//!
//! ```text
//! world         a collector, and the outcome of a request
//! routes        the routes of these collectors
//! bodies        bodies, and the rows or the rejections that they become
//! responses     pixels, redirects, addresses in fields, requests for an acknowledgement
//! route_options paths, methods, answers and hidden JSON of routes
//! batch         many events in one body
//! encodings     compressed bodies
//! json_kinds    valid and invalid JSON in every place of a body
//! json_rpc      calls, their replies and rows
//! uploads       bodies that are decoded while they arrive
//! resumable     the requests of tus, and their responses
//! long_items    the dead letters of items that are too long, on routes with privacy options
//! websocket     messages, their answers, and the ends of sessions
//! session_arrays  the turns of arrays in sessions
//! session_keys  idempotency keys in a handshake
//! session_memory  the memory of arrays in sessions, and sessions that are cut
//! cut_forms     forms that are cut
//! dead_letters  the dead letter of each rejection
//! ```

#![allow(clippy::unwrap_used, clippy::panic)]

mod adapted;
mod batch;
mod bodies;
mod cut_forms;
mod dead_letters;
mod encodings;
mod json_kinds;
mod json_rpc;
mod long_items;
mod responses;
mod resumable;
mod route_options;
mod routes;
mod session_arrays;
mod session_keys;
mod session_memory;
mod uploads;
mod websocket;
mod world;
