//! The common parts of the benches of the whole program.
//!
//! ```text
//! cores      the cores of each process, and their priorities
//! process    a server as a child: its start and stop, its CPU time and memory
//! nginx      nginx with a log, for comparison
//! store      ClickHouse, and the check that all rows have arrived
//! events     distinct requests, generated before the measurement starts
//! load       one thread that sends them and times the answers
//! answer     the part of HTTP that the load generator needs
//! ask        one request, outside of the measurement
//! histogram  latencies
//! spread     medians over rounds, and the noise between the rounds
//! measure    one measurement of a server, and rounds of them
//! bench      the folder of a bench, and the programs that it starts
//! grid       figures as a table
//! chart      curves as SVG
//! page       writes figures into the documentation
//! ```
//!
//! This crate does not use the collector's code: it measures the collector from outside, like any
//! other server.

pub mod answer;
pub mod ask;
pub mod bench;
pub mod chart;
pub mod cores;
pub mod events;
pub mod grid;
pub mod histogram;
pub mod load;
pub mod measure;
pub mod nginx;
pub mod page;
pub mod process;
pub mod spread;
pub mod store;

/// The error of a bench: a text for the person who runs it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
