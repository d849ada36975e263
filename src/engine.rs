//! The embedded ClickHouse of `rowmill serve`, restarted on the same data and address when it ends.
//!
//! A separate thread supervises it. While the engine is down, rows wait in the spool, as for any
//! ClickHouse that is unavailable.

use std::{
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rowmill_engine::{Account, Engine, Options};
use rowmill_ingest::{
    ClickHouseUrl,
    store::{Backoff, ClickHouseUrlError},
};

use crate::program::chain;

/// The interval at which the thread checks whether the engine has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The delays before the second start in a row and each further one.
const RESTART_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(30),
};

/// An engine that has run for this long counts as healthy: the next start is not delayed.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A ClickHouse that runs until it is stopped or this process ends, even by `kill -9`.
#[derive(Debug)]
pub(crate) struct EmbeddedClickHouse {
    address: SocketAddr,
    collector: Account,
    owner: Account,
    reader: Account,
    /// Dropped to stop the engine.
    stop: Sender<()>,
    thread: JoinHandle<Result<(), rowmill_engine::Error>>,
}

impl EmbeddedClickHouse {
    /// Starts the engine, and returns when it answers.
    ///
    /// # Errors
    /// See [`Engine::start`].
    pub(crate) fn start(program: PathBuf, data: PathBuf, listen: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let engine = Engine::start(&Options::new(program, data).with_listen(listen))?;
        let (address, url) = (engine.address(), engine.url());
        let (collector, reader) = (engine.collector().clone(), engine.reader().clone());
        let owner = engine.owner().clone();
        tracing::info!(url, process = engine.process_id(), "the embedded ClickHouse is running");
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("engine".to_owned());
        let thread = thread.spawn(move || supervise(engine, &stopped))?;
        Ok(Self {
            address,
            collector,
            owner,
            reader,
            stop,
            thread,
        })
    }

    /// Returns the URL of a database of the engine, with the user and password of the collector, or
    /// of the owner if the schema has dictionaries.
    pub(crate) fn store(&self, database: &str, has_dictionaries: bool) -> Result<ClickHouseUrl, ClickHouseUrlError> {
        let account = if has_dictionaries { &self.owner } else { &self.collector };
        let (address, user, password) = (self.address, account.name(), account.password());
        format!("http://{user}:{password}@{address}/{database}").parse()
    }

    /// Returns the read-only user.
    pub(crate) fn reader(&self) -> &Account {
        &self.reader
    }

    /// Stops the engine, and returns when its process has ended.
    ///
    /// # Errors
    /// See [`Engine::stop`].
    pub(crate) fn stop(self) -> Result<(), Box<dyn Error>> {
        drop(self.stop);
        match self.thread.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => Err("the thread that supervises the embedded ClickHouse panicked".into()),
        }
    }
}

/// Restarts the engine whenever it ends. Returns when it has been stopped.
fn supervise(mut engine: Engine, stopped: &Receiver<()>) -> Result<(), rowmill_engine::Error> {
    let mut failures = 0;
    let mut started = Instant::now();
    while !is_stopped(stopped, POLL_INTERVAL) {
        let Some(end) = engine.ended() else { continue };
        tracing::error!(
            error = chain(&end),
            "the embedded ClickHouse has ended and is started again; rows wait in the spool"
        );
        if started.elapsed() >= STABLE_AFTER {
            failures = 0;
        }
        loop {
            if failures > 0 && is_stopped(stopped, RESTART_BACKOFF.wait(failures)) {
                return Ok(());
            }
            failures += 1;
            started = Instant::now();
            match engine.start_again() {
                Ok(()) => break,
                Err(error) => tracing::error!(
                    error = chain(&error),
                    failures,
                    "the embedded ClickHouse does not start"
                ),
            }
        }
        tracing::info!(
            process = engine.process_id(),
            "the embedded ClickHouse is running again"
        );
    }
    engine.stop()
}

fn is_stopped(stopped: &Receiver<()>, within: Duration) -> bool {
    stopped.recv_timeout(within) != Err(RecvTimeoutError::Timeout)
}
