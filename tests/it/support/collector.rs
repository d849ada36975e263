//! The program itself, as a person starts it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use tempfile::TempDir;

use super::engine::Database;

/// A running collector; it is killed when it is dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    pub address: SocketAddr,
    log: Option<JoinHandle<String>>,
    /// Its data folder, where the test has not named one.
    _data: Option<TempDir>,
}

/// How a collector has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowmill"));
    // What the tester's own environment says is not what is tested.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("ROWMILL_") && name != "ROWMILL_CACHE" && name != "ROWMILL_ENGINE")
    {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

impl Collector {
    pub fn start(database: &Database) -> Self {
        Self::start_with(&database.url(), &[])
    }

    pub fn start_with(clickhouse: &str, arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut collector = Self::start_in(data.path(), clickhouse, arguments);
        collector._data = Some(data);
        collector
    }

    /// Starts it on a data folder that outlives it.
    pub fn start_in(data: &Path, clickhouse: &str, arguments: &[&str]) -> Self {
        Self::try_start_in(data, clickhouse, arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// As [`start_in`](Self::start_in); gives what it has said if it does not start.
    pub fn try_start_in(data: &Path, clickhouse: &str, arguments: &[&str]) -> Result<Self, String> {
        let mut child = command()
            .args(["serve", "--listen", "127.0.0.1:0", "--clickhouse", clickhouse, "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log);
            log
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{line:?} {}", log.join().unwrap()));
        };
        Ok(Self {
            address: address.parse().unwrap(),
            child,
            log: Some(log),
            _data: None,
        })
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) -> Ended {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            log: self.log.take().unwrap().join().unwrap(),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it has said explains a test that fails.
        if let Some(log) = self.log.take().filter(|_| thread::panicking()) {
            eprintln!("{}", log.join().unwrap_or_default());
        }
    }
}
