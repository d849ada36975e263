//! Tables of requests and of their responses, rows and rejections, without a ClickHouse.
//!
//! ```text
//! world         a collector, and the outcome of a request
//! bodies        bodies, and the rows or the rejections that they become
//! responses     pixels, redirects, addresses in fields, requests for an acknowledgement
//! route_options paths, methods, answers and hidden JSON of routes
//! batch         many events in one body
//! encodings     compressed bodies
//! json_kinds    valid and invalid JSON in every place of a body
//! json_rpc      calls, their replies and rows
//! uploads       bodies that are decoded while they arrive
//! websocket     messages, their answers, and the ends of sessions
//! session_arrays  the turns of arrays in sessions
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
mod responses;
mod route_options;
mod session_arrays;
mod session_memory;
mod uploads;
mod websocket;
mod world;
