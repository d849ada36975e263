//! Integration tests: the program, the layers and a real ClickHouse. One engine for all tests, one
//! database for each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations
)]

mod support;

mod acks;
mod adapters;
mod archive;
mod attach;
mod attacks;
mod audit;
mod bad_input;
mod bounded;
mod browser_client;
mod browser_sdk;
mod browser_trackers;
mod browsers;
mod bulk;
mod check;
mod check_engine;
mod checker;
mod clickhouse_tls;
mod client_address;
mod client_certificates;
mod cluster_inserts;
mod collector_values;
mod crash;
mod delivery;
mod deploy;
mod dictionaries;
mod differential;
mod doubt;
mod drift;
mod edges;
mod embedding;
mod engine_access;
mod engines;
mod event_keys;
mod evolution;
mod far_off_dates;
mod flatten;
mod fleet;
mod flood;
mod forget;
mod formats;
mod gallery;
mod generated_rows;
mod golden;
mod handover;
mod headers;
mod http_surface;
mod idempotency;
mod ids;
mod imported;
mod init;
mod insert;
mod insert_settings;
mod json_rpc;
mod lenient;
mod liveness;
mod memory;
mod more_types;
mod new_crate;
mod nginx;
mod operator;
mod owned_rows;
mod parts_rate;
mod plan;
mod plan_file;
mod presets;
mod privacy;
mod proxy_protocol;
mod rate_limit;
mod rejected;
mod rejected_replay;
mod renamed;
mod replicated;
mod rolling;
mod route_options;
mod schema_sync;
mod seed;
mod sender_tls;
mod senders;
mod server_names;
mod servers;
mod several_servers;
mod shards;
mod shared_log;
mod spool_command;
mod standard_tables;
mod start;
mod stored;
mod table_copy;
mod throwing_views;
mod topics;
mod type_families;
mod uploads;
mod value_rules;
mod view_pipeline;
mod views;
mod websocket;
