//! The engine as a value: a child process that is ready on construction and ends on drop.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    access::{Access, Account},
    error::{Error, Kind},
    locate::{Program, locate},
    place::Place,
    run::{GRACE, READY},
    tail::Tail,
    variables::ENGINE_VARIABLE,
};

/// The child kills a ClickHouse that does not end within [`GRACE`]. A child that takes longer than
/// this is killed too.
const STOP_TIMEOUT: Duration = GRACE.saturating_add(Duration::from_secs(2));

/// A killed process ends at once, unless the system still waits for its disk.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// A start takes half a second. The caller can continue without an engine or try again, so this
/// limit is shorter than that of an engine started in a terminal (300 s).
const READY_TIMEOUT: Duration = Duration::from_secs(120);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

const PLACE_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The number of the child's last lines that an error quotes.
const MAX_QUOTED_LINES: usize = 12;

/// Another process can take a free port before ClickHouse does; the start then tries another port.
const MAX_TRIES: usize = 5;

/// Options to start an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// A program that calls [`run`](crate::run()) with [`Tie::Stdin`](crate::Tie::Stdin) when
    /// started as `PROGRAM engine --listen ADDRESS --data FOLDER --tied`.
    pub program: PathBuf,
    /// The folder of the data, created if it is missing.
    pub data: PathBuf,
    /// The address of ClickHouse's HTTP interface; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The time limit from the start of the child until ClickHouse answers.
    pub ready_within: Duration,
}

impl Options {
    /// Returns options for an engine on a free loopback port, with two minutes to become ready.
    pub fn new(program: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Options {
        Options {
            program: program.into(),
            data: data.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ready_within: READY_TIMEOUT,
        }
    }

    /// Sets the address to listen on.
    pub fn with_listen(self, listen: SocketAddr) -> Options {
        Options { listen, ..self }
    }

    /// Sets the time limit for the engine to answer. After it, the engine is killed.
    pub fn with_ready_within(self, ready_within: Duration) -> Options {
        Options { ready_within, ..self }
    }
}

/// A running ClickHouse in a child process. The child ends when this value is dropped, or when this
/// process ends in any way.
///
/// All methods block for milliseconds, except that [`start`](Engine::start) may have to fetch
/// ClickHouse first. In asynchronous code, call them on a thread for blocking work.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    /// The child ends when this closes.
    lifeline: Option<ChildStdin>,
    /// Kept open so that the child can still write to its standard output.
    _stdout: Option<BufReader<ChildStdout>>,
    tail: Option<Tail>,
    /// The program of the child process; `clickhouse` is the ClickHouse that it runs.
    program: PathBuf,
    clickhouse: Program,
    place: Place,
    access: Access,
    ready_within: Duration,
}

impl Engine {
    /// Starts an engine and returns it when it answers, in about half a second.
    ///
    /// On a machine without ClickHouse, the first start fetches it, with progress on standard
    /// error. An engine whose parent was killed takes a moment to release its data; this function
    /// waits for it.
    ///
    /// # Errors
    ///
    /// - There is no ClickHouse, and it cannot be fetched.
    /// - The address is taken, or the data folder is in use or cannot be written.
    /// - The child cannot be started, ends before it is ready, or is not ready in time and is
    ///   killed. The error quotes its last lines.
    pub fn start(options: &Options) -> Result<Engine, Error> {
        // This process locates ClickHouse rather than the child, as it has the terminal for the
        // progress line.
        let clickhouse = locate()?;
        let mut tries = 1;
        loop {
            let place = find_place(options.listen, &options.data)?;
            let (program, clickhouse) = (options.program.clone(), clickhouse.clone());
            match Engine::start_at(program, clickhouse, place, options.ready_within) {
                Err(error) if error.is_port_taken() && options.listen.port() == 0 && tries < MAX_TRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// Restarts an engine that has ended, at the same address and on the same data, and returns
    /// when it answers.
    ///
    /// # Errors
    ///
    /// As for [`start`](Engine::start). The caller can try again.
    pub fn start_again(&mut self) -> Result<(), Error> {
        // The child has usually ended already.
        self.end()?;
        let place = find_place(self.place.listen, &self.place.data)?;
        let (program, clickhouse) = (self.program.clone(), self.clickhouse.clone());
        *self = Engine::start_at(program, clickhouse, place, self.ready_within)?;
        Ok(())
    }

    fn start_at(program: PathBuf, clickhouse: Program, place: Place, ready_within: Duration) -> Result<Engine, Error> {
        // Create missing passwords for the child, which reads them.
        let access = Access::of(&place.data)?;
        let mut child = Command::new(&program)
            .arg("engine")
            .arg("--listen")
            .arg(place.listen.to_string())
            .arg("--data")
            .arg(&place.data)
            .arg("--tied")
            .env(ENGINE_VARIABLE, clickhouse.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C must reach this process only, which may have rows to store before the engine
            // ends.
            .process_group(0)
            .spawn()
            .map_err(|cause| Kind::Spawn {
                program: program.clone(),
                cause,
            })?;
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take();
        let mut engine = Engine {
            lifeline: child.stdin.take(),
            child,
            _stdout: None,
            tail: stderr.map(Tail::follow).transpose()?,
            program,
            clickhouse,
            place,
            access,
            ready_within,
        };
        match Start::of(stdout, ready_within)? {
            Start::Ready(stdout) => engine._stdout = Some(stdout),
            Start::Closed => return Err(engine.failure()),
            Start::TimedOut => return Err(engine.silence()),
        }
        if let Some(tail) = &engine.tail {
            tail.echo();
        }
        Ok(engine)
    }

    /// Returns the address at which this machine reaches ClickHouse's HTTP interface.
    pub fn address(&self) -> SocketAddr {
        self.place.address()
    }

    /// Returns the URL of ClickHouse's HTTP interface, `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the user `collector`, who can create databases and tables, insert and read.
    pub fn collector(&self) -> &Account {
        &self.access.collector
    }

    /// Returns the user `owner`, who can also create dictionaries, and only from this machine. A
    /// dictionary can read files and other servers, and run programs: do not give this account away.
    pub fn owner(&self) -> &Account {
        &self.access.owner
    }

    /// Returns the user `reader`, who can only read.
    pub fn reader(&self) -> &Account {
        &self.access.reader
    }

    /// Returns the collector's URL, `http://USER:PASSWORD@ADDRESS`. Do not log it.
    pub fn collector_url(&self) -> String {
        let (user, address) = (self.collector(), self.address());
        format!("http://{}:{}@{address}", user.name(), user.password())
    }

    /// Returns the id of the child process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the error of an engine that has ended, or `None` while it runs. Does not wait.
    pub fn ended(&mut self) -> Option<Error> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(self.ended_with(Some(status))),
            Err(cause) => Some(Error::system("waiting")(cause)),
        }
    }

    /// Stops the engine and returns when it has ended. Running queries get three seconds to finish.
    ///
    /// # Errors
    ///
    /// The engine had ended before, or it had to be killed and could not be.
    pub fn stop(mut self) -> Result<(), Error> {
        match self.ended() {
            Some(error) => Err(error),
            None => self.end().map(drop),
        }
    }

    /// Closes the child's lifeline, and kills the child if it does not end in time.
    fn end(&mut self) -> Result<ExitStatus, Error> {
        self.lifeline = None;
        if let Some(status) = self.wait(STOP_TIMEOUT)? {
            return Ok(status);
        }
        self.child.kill().map_err(Error::system("the end"))?;
        let process = self.child.id();
        self.wait(KILL_TIMEOUT)?
            .ok_or_else(|| Kind::Unkillable { process }.into())
    }

    /// Waits until the child has ended, at most for `within`.
    fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.child.try_wait().map_err(Error::system("waiting"))?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns the error of a child that closed its standard output before it was ready.
    fn failure(&mut self) -> Error {
        let status = self.end().ok();
        match Place::find(self.place.listen, &self.place.data) {
            Err(error) => error,
            Ok(_) => self.ended_with(status),
        }
    }

    /// Ends a child that is not ready in time, and returns an error with its last lines.
    fn silence(&mut self) -> Error {
        if let Err(error) = self.end() {
            return error;
        }
        let (waited, output) = (self.ready_within, self.last_output());
        Kind::Silent { waited, output }.into()
    }

    fn ended_with(&mut self, status: Option<ExitStatus>) -> Error {
        let output = self.last_output();
        Kind::Ended { status, output }.into()
    }

    fn last_output(&mut self) -> Vec<String> {
        let mut output = self.tail.take().map(Tail::lines).unwrap_or_default();
        output.drain(..output.len().saturating_sub(MAX_QUOTED_LINES));
        output
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that the child has already ended.
        let _ = self.end();
    }
}

/// Finds a place. If another engine uses the data, waits up to [`STOP_TIMEOUT`] for its end, as its
/// parent may have been killed.
fn find_place(listen: SocketAddr, data: &Path) -> Result<Place, Error> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    let mut was_locked = false;
    loop {
        match Place::find(listen, data) {
            Err(error) => {
                was_locked |= error.is_data_locked();
                // An ending engine releases its folder and its address at different times.
                if !was_locked || Instant::now() > deadline {
                    return Err(error);
                }
            }
            found => return found,
        }
        thread::sleep(PLACE_POLL_INTERVAL);
    }
}

/// The outcome of a child's start.
enum Start {
    /// The child reported that it is ready.
    Ready(BufReader<ChildStdout>),
    /// The child closed its standard output before it was ready.
    Closed,
    /// The child did not report in time.
    TimedOut,
}

impl Start {
    fn of(stdout: Option<BufReader<ChildStdout>>, within: Duration) -> Result<Start, Error> {
        let Some(stdout) = stdout else {
            return Ok(Start::Closed);
        };
        let (sender, receiver) = mpsc::channel();
        // A separate thread reads, because a pipe read has no deadline. The thread ends with the
        // child.
        thread::Builder::new()
            .name("engine-stdout".to_owned())
            .spawn(move || sender.send(until_ready(stdout)))
            .map_err(Error::system("a thread"))?;
        Ok(match receiver.recv_timeout(within) {
            Ok(Some(stdout)) => Start::Ready(stdout),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => Start::Closed,
            Err(RecvTimeoutError::Timeout) => Start::TimedOut,
        })
    }
}

/// Reads until the child reports that it is ready. Returns `None` if it ends instead.
fn until_ready(mut stdout: BufReader<ChildStdout>) -> Option<BufReader<ChildStdout>> {
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line).ok()? > 0 {
        if line.starts_with(READY.as_bytes()) {
            return Some(stdout);
        }
        line.clear();
    }
    None
}
