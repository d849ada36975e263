//! What the benches of the whole program stand on.
//!
//! ```text
//! cores      where each process runs, and before whom
//! process    a server as a child: when it is ready, what CPU time and memory it takes
//! nginx      the one with a log
//! store      ClickHouse, and whether all rows have arrived
//! events     distinct requests, made before the clock starts
//! load       one thread that sends them and times the answers
//! answer     as much of HTTP as that needs
//! ask        one request, off the clock
//! histogram  latencies
//! spread     medians over rounds, and how far the rounds lie apart
//! measure    one measurement of a server, and rounds of them
//! bench      the programs that are measured, started; the options of all benches
//! grid       figures as a table
//! chart      curves as SVG
//! page       what a bench writes into the documentation
//! ```
//!
//! Nothing here knows the collector's code: it is measured from outside, as any other server.

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

/// What a bench can fail with: it is told to a person, who starts it again.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
