//! Each answer of the store, and what delivery does next: sends rows again, and under which token;
//! looks them up, divides them, holds them, or turns them into dead letters.
//!
//! A line is a request, with the store's reply. `a` is the table and the token of all rows of its
//! first block; `a:0-2` is the token of two of them, `a:0-4…` that of rows with gaps, and `a@1` a
//! token after ClickHouse has confirmed rows that are not there. `soon` and `later` are the waits
//! before a request: those of transient errors, and those of errors for the operator. `wait` is
//! either of them, since the waits of transient errors grow with each failure.

mod answers;
mod doubt;
mod halving;
mod views;

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{
    fake_backend::{FakeBackend, Reply, Script, TIMEOUT},
    fake_server::{SCHEMA, options},
};
use crate::{
    ack::Ack,
    deliver::{
        Changes, Delivery,
        servers::{ServerPool, Turns},
    },
    spool::{Spool, TableLayouts},
    sync::state::State,
    writer::WriterOptions,
};

/// The number of rows in a block.
const BLOCK_ROWS: usize = 4;

/// The time after which a delivery that waits for something else has failed.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Rows, and the store's replies until delivery has settled them.
struct Case {
    shows: &'static str,
    /// The number of rows, [`BLOCK_ROWS`] in a block.
    rows: u8,
    /// The number of dead letters of rejected events.
    dead_letters: u8,
    steps: Vec<(&'static str, Reply)>,
    /// The number of rows that are acknowledged as stored, and the counters that are not 0.
    ends: &'static str,
    servers: &'static [&'static str],
    has_quorum: bool,
}

impl Case {
    fn new(shows: &'static str, rows: u8, steps: Vec<(&'static str, Reply)>, ends: &'static str) -> Self {
        Self {
            shows,
            rows,
            dead_letters: 0,
            steps,
            ends,
            servers: &[""],
            has_quorum: false,
        }
    }

    /// Delivers the rows, and compares each request with the steps.
    async fn run(self) {
        let shows = self.shows;
        let script = Arc::new(Mutex::new(Script::new(&self.steps)));
        let ends = timeout(PATIENCE, self.deliver(&script)).await;
        let requests = script.lock().unwrap().requests.clone();
        let expected: Vec<_> = self.steps.iter().map(|(request, _)| *request).collect();
        assert_eq!(requests, expected, "{shows}");
        assert_eq!(ends.as_deref(), Ok(self.ends), "{shows}");
    }

    /// Delivers the rows and their dead letters, and returns the outcome.
    async fn deliver(&self, script: &Arc<Mutex<Script>>) -> String {
        let options = WriterOptions {
            block_rows: BLOCK_ROWS,
            ..options()
        };
        let spool = Spool::in_memory(TableLayouts::of(&SCHEMA), options.limits());
        let server = |name: &&'static str| {
            State::Ready(Arc::new(FakeBackend {
                script: Arc::clone(script),
                name,
                has_quorum: self.has_quorum,
            }))
        };
        let (_states, states) = watch::channel(self.servers.iter().map(server).collect());
        let servers = ServerPool::new(states, Turns::All);
        let delivery = Delivery::new(servers, spool.clone(), 1, TIMEOUT, Changes::default(), None);
        let [a, b, dead_letters] = spool.readers().try_into().unwrap();
        let mut receipts = Vec::new();
        for row in 0..self.rows {
            let receipt = spool.appender().append(a.id(), Ack::Stored, |out| out.push(row));
            receipts.push(receipt.unwrap());
        }
        for row in 0..self.dead_letters {
            let appended = spool
                .appender()
                .append(dead_letters.id(), Ack::Accepted, |out| out.push(row));
            assert!(appended.is_ok());
        }
        let acknowledge = async {
            let mut acknowledged = 0;
            for receipt in receipts {
                acknowledged += u32::from(receipt.reached_within(PATIENCE).await == Ack::Stored);
            }
            spool.close();
            acknowledged
        };
        let ((), acknowledged) = tokio::join!(delivery.run(a), acknowledge);
        delivery.run(b).await;
        delivery.run(dead_letters).await;

        let mut ends = format!("{acknowledged} acknowledged");
        let counts = &spool.counts()[0];
        for (count, name) in [
            (counts.rows_refused, "refused"),
            (counts.rows_found, "found"),
            (counts.rows_missing, "missing"),
            (counts.rows_refused_by_views, "refused by views"),
            (counts.views_in_doubt, "views in doubt"),
        ] {
            if count > 0 {
                write!(ends, ", {count} {name}").unwrap();
            }
        }
        assert_eq!(counts.rows_pending, 0);
        ends
    }
}
