//! The program itself, as a person starts it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use tempfile::TempDir;

use super::{engine::Database, http};

const ANY_PORT: &str = "127.0.0.1:0";

/// A running collector; it is killed when it is dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    pub address: SocketAddr,
    log: Log,
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
    // A release build can be tested instead.
    let program = std::env::var_os("ROWMILL_PROGRAM");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_rowmill").into()));
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

    /// As [`start_with`](Self::start_with), with environment variables.
    pub fn start_as(clickhouse: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        let mut command = command();
        command.envs(variables.iter().copied());
        let mut collector = Self::try_start(command, ANY_PORT, data.path(), &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"));
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
        Self::try_start(
            command(),
            ANY_PORT,
            data,
            &[&["--clickhouse", clickhouse], arguments].concat(),
        )
    }

    /// As [`start_in`](Self::start_in), on an address that is known before.
    pub fn start_at(listen: SocketAddr, data: &Path, clickhouse: &str, arguments: &[&str]) -> Self {
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        Self::try_start(command(), &listen.to_string(), data, &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts it while no ClickHouse is there.
    pub fn start_with_nobody(data: &Path) -> Self {
        // Port 1 is tcpmux's, which nobody serves.
        Self::start_in(data, "http://127.0.0.1:1/stats", &[])
    }

    /// Starts it with a ClickHouse of its own.
    pub fn start_with_engine(data: &Path) -> Self {
        Self::try_start(command(), ANY_PORT, data, &["--engine-listen", ANY_PORT])
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts it with a limit of a resource, as `ulimit` takes it.
    pub fn start_with_limit(limit: &str, clickhouse: &str, arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let program = command();
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")])
            .arg(program.get_program());
        for (name, _) in program.get_envs() {
            limited.env_remove(name);
        }
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        let mut collector = Self::try_start(limited, ANY_PORT, data.path(), &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"));
        collector._data = Some(data);
        collector
    }

    fn try_start(mut command: Command, listen: &str, data: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut child = command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = Log::follow(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{line:?} {}", log.whole()));
        };
        Ok(Self {
            address: address.parse().unwrap(),
            child,
            log,
            _data: None,
        })
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Asks it to stop.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Returns whether it has stopped.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has stopped.
    pub fn ended(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            log: self.log.whole(),
        }
    }

    /// Returns what it has logged so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Returns the most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    /// Returns the value of a metric, which is named with its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = http::get(self.address, "/metrics");
        let value = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {name} in {}", metrics.text()))
            .parse()
            .unwrap()
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
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// What a process says on standard error.
#[derive(Debug)]
struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn follow(stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.unwrap_or_default();
                lines.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    /// Returns all of it, once the process has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text.lock().unwrap().clone()
    }
}
