//! The program as a user starts it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    str::FromStr,
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

/// A running collector, which is killed when it is dropped.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    pub address: SocketAddr,
    log: Log,
    /// The data folder, if the test has not named one.
    _data: Option<TempDir>,
}

/// The exit status and the log of a collector that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

pub fn command() -> Command {
    // `ROWMILL_PROGRAM` selects another program, such as a release build.
    let program = std::env::var_os("ROWMILL_PROGRAM");
    command_of(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_rowmill").into()))
}

/// Returns the command of another collector's program.
pub fn command_of(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // The tester's own settings must not change the tests.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("ROWMILL_") && name != "ROWMILL_CACHE" && name != "ROWMILL_ENGINE")
    {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the program until it ends.
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

    /// Like [`start_with`](Self::start_with), with environment variables.
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

    /// Starts the collector on a data folder that outlives it.
    pub fn start_in(data: &Path, clickhouse: &str, arguments: &[&str]) -> Self {
        Self::try_start_in(data, clickhouse, arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Like [`start_in`](Self::start_in), with environment variables.
    pub fn start_in_as(data: &Path, clickhouse: &str, variables: &[(String, String)], arguments: &[&str]) -> Self {
        let mut command = command();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        Self::try_start(command, ANY_PORT, data, &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Like [`start_in`](Self::start_in), but returns the log if the collector does not start.
    pub fn try_start_in(data: &Path, clickhouse: &str, arguments: &[&str]) -> Result<Self, String> {
        Self::try_start(
            command(),
            ANY_PORT,
            data,
            &[&["--clickhouse", clickhouse], arguments].concat(),
        )
    }

    /// Like [`start_in`](Self::start_in), on an address that the test chooses.
    pub fn start_at(listen: SocketAddr, data: &Path, clickhouse: &str, arguments: &[&str]) -> Self {
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        Self::try_start(command(), &listen.to_string(), data, &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts the collector with these arguments and no others.
    pub fn start_without_clickhouse_option(data: &Path, arguments: &[&str]) -> Self {
        Self::try_start(command(), ANY_PORT, data, arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts the collector while no ClickHouse runs.
    pub fn start_without_clickhouse(data: &Path) -> Self {
        // Port 1 belongs to tcpmux, and no server listens there.
        Self::start_in(data, "http://127.0.0.1:1/stats", &[])
    }

    /// Starts the collector with an embedded ClickHouse.
    pub fn start_with_engine(data: &Path) -> Self {
        Self::try_start(command(), ANY_PORT, data, &["--engine-listen", ANY_PORT])
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts the collector that another program is.
    pub fn start_program(program: Command, clickhouse: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut collector = Self::try_start(program, ANY_PORT, data.path(), &["--clickhouse", clickhouse])
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"));
        collector._data = Some(data);
        collector
    }

    /// Starts the collector that another program is, on an address and a data folder that the test
    /// chooses.
    pub fn start_program_at(
        program: Command,
        listen: SocketAddr,
        data: &Path,
        clickhouse: &str,
        arguments: &[&str],
    ) -> Self {
        let arguments = [&["--clickhouse", clickhouse], arguments].concat();
        Self::try_start(program, &listen.to_string(), data, &arguments)
            .unwrap_or_else(|log| panic!("the collector did not start: {log}"))
    }

    /// Starts the collector with a resource limit, given as arguments of `ulimit`.
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
        // The URL has a password, which arguments should not have.
        let arguments = match arguments {
            ["--clickhouse", url, rest @ ..] => {
                command.env("ROWMILL_CLICKHOUSE", url);
                rest
            }
            all => all,
        };
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
        let address = line
            .trim()
            .strip_prefix("listening on http")
            .map(|rest| rest.trim_start_matches('s'));
        let Some(address) = address.and_then(|rest| rest.strip_prefix("://")) else {
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

    /// Kills the collector, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the collector to stop and waits until it has ended.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Sends a signal to the collector.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Returns whether the collector has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the collector has ended.
    pub fn ended(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            log: self.log.whole(),
        }
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Returns the peak memory of the collector, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }

    /// Returns the value of a metric. The name includes the labels.
    pub fn metric(&self, name: &str) -> u64 {
        self.metric_as(name)
    }

    /// Like [`metric`](Self::metric), of another type of numbers.
    pub fn metric_as<T: FromStr>(&self, name: &str) -> T {
        let metrics = http::get(self.address, "/metrics");
        let value = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {}", metrics.text()))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The log explains a failed test.
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The standard error of a process.
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

    /// Waits until the process has ended, and returns the whole log.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text.lock().unwrap().clone()
    }
}
