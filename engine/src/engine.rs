//! The engine as a value: a child process that is up when it is there, and gone when it is dropped.

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

/// The child kills a ClickHouse that does not end within [`GRACE`]; a child that needs longer than
/// this is killed itself.
const STOP_WITHIN: Duration = GRACE.saturating_add(Duration::from_secs(2));

/// A killed process is gone at once, unless the system still waits for its disk.
const KILLED_WITHIN: Duration = Duration::from_secs(30);

/// A start takes half a second. Who starts an engine can do without it, or try again; so this is less than what an engine
/// that somebody looks at takes for itself.
const READY_WITHIN: Duration = Duration::from_secs(120);

const LOOK_EVERY: Duration = Duration::from_millis(5);

const LOOK_AT_PLACE_EVERY: Duration = Duration::from_millis(50);

/// So many of the child's last lines are part of an error.
const QUOTED: usize = 12;

/// A free port can be taken by somebody else before ClickHouse takes it; then another one is tried.
const TRIES: usize = 5;

/// How to start an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// A program that, called as `PROGRAM engine --listen ADDRESS --data FOLDER --tied`, calls
    /// [`run`](crate::run()) with [`Tie::Stdin`](crate::Tie::Stdin).
    pub program: PathBuf,
    /// The folder of the data, created if it is missing.
    pub data: PathBuf,
    /// The address of ClickHouse's HTTP interface; port 0 takes a free port.
    pub listen: SocketAddr,
    /// How long it may take from the start of the child until it answers.
    pub ready_within: Duration,
}

impl Options {
    /// Returns options for an engine on a free port of the loopback interface, which has two minutes to be ready.
    pub fn new(program: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Options {
        Options {
            program: program.into(),
            data: data.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ready_within: READY_WITHIN,
        }
    }

    /// Sets the address to listen on.
    pub fn with_listen(self, listen: SocketAddr) -> Options {
        Options { listen, ..self }
    }

    /// Sets how long the engine may take until it answers; then it is killed.
    pub fn with_ready_within(self, ready_within: Duration) -> Options {
        Options { ready_within, ..self }
    }
}

/// A running ClickHouse, in a child process that ends with this value, or with this process however
/// that ends.
///
/// All methods block: for milliseconds, except that [`start`](Engine::start) may have to fetch
/// ClickHouse first. In asynchronous code they belong on a thread for blocking work.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    /// The child ends when this closes.
    lifeline: Option<ChildStdin>,
    /// Nothing more comes, but a child should not find its standard output closed.
    _stdout: Option<BufReader<ChildStdout>>,
    tail: Option<Tail>,
    /// What the child is, and what it runs.
    program: PathBuf,
    clickhouse: Program,
    place: Place,
    access: Access,
    ready_within: Duration,
}

impl Engine {
    /// Starts an engine and returns it when it answers, in about half a second.
    ///
    /// The first time on a machine without ClickHouse, fetches it with a progress line on standard
    /// error. An engine whose parent was killed needs a moment to let go of its data; it is waited for.
    ///
    /// # Errors
    ///
    /// - There is no ClickHouse, and it cannot be fetched.
    /// - The address is taken, or the data folder is in use or cannot be written.
    /// - The child cannot be started, or ends before it is ready, or is not ready in time and is killed; its last lines are in the
    ///   error.
    pub fn start(options: &Options) -> Result<Engine, Error> {
        // Here rather than in the child: this process has the terminal to show progress on.
        let clickhouse = locate()?;
        let mut tries = 1;
        loop {
            let place = find_place(options.listen, &options.data)?;
            let (program, clickhouse) = (options.program.clone(), clickhouse.clone());
            match Engine::start_at(program, clickhouse, place, options.ready_within) {
                Err(error) if error.is_port_taken() && options.listen.port() == 0 && tries < TRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// Starts an engine that has ended once more, at the same address and on the same data, and returns when it answers.
    ///
    /// # Errors
    ///
    /// As for [`start`](Engine::start); it can be tried again.
    pub fn start_again(&mut self) -> Result<(), Error> {
        // Gone already, as a rule.
        self.end()?;
        let place = find_place(self.place.listen, &self.place.data)?;
        let (program, clickhouse) = (self.program.clone(), self.clickhouse.clone());
        *self = Engine::start_at(program, clickhouse, place, self.ready_within)?;
        Ok(())
    }

    fn start_at(program: PathBuf, clickhouse: Program, place: Place, ready_within: Duration) -> Result<Engine, Error> {
        // It makes the passwords that are missing, and the child reads them.
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
            // A Ctrl-C is for us; we may have something to store before the engine goes.
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
            Start::Over => return Err(engine.failure()),
            Start::Late => return Err(engine.silence()),
        }
        if let Some(tail) = &engine.tail {
            tail.echo();
        }
        Ok(engine)
    }

    /// Returns the address of ClickHouse's HTTP interface, as this machine reaches it.
    pub fn address(&self) -> SocketAddr {
        self.place.address()
    }

    /// Returns the URL of ClickHouse's HTTP interface, `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the user `collector`, with the rights to create databases and tables, to insert and to read.
    pub fn collector(&self) -> &Account {
        &self.access.collector
    }

    /// Returns the user `reader`, with the right to read.
    pub fn reader(&self) -> &Account {
        &self.access.reader
    }

    /// Returns the URL with the collector's user, `http://USER:PASSWORD@ADDRESS`. It is not for a log.
    pub fn collector_url(&self) -> String {
        let (user, address) = (self.collector(), self.address());
        format!("http://{}:{}@{address}", user.name(), user.password())
    }

    /// Returns the id of the child process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the error with which the engine has ended, if it has, without waiting.
    pub fn ended(&mut self) -> Option<Error> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(self.ended_with(Some(status))),
            Err(cause) => Some(Error::system("waiting")(cause)),
        }
    }

    /// Stops the engine and returns when it is gone. Queries that are still running are given three
    /// seconds.
    ///
    /// # Errors
    ///
    /// When the engine had ended before, or must be killed and cannot be.
    pub fn stop(mut self) -> Result<(), Error> {
        match self.ended() {
            Some(error) => Err(error),
            None => self.end().map(drop),
        }
    }

    /// Lets go of the child, and kills it if that does not end it.
    fn end(&mut self) -> Result<ExitStatus, Error> {
        self.lifeline = None;
        if let Some(status) = self.wait(STOP_WITHIN)? {
            return Ok(status);
        }
        self.child.kill().map_err(Error::system("the end"))?;
        let process = self.child.id();
        self.wait(KILLED_WITHIN)?
            .ok_or_else(|| Kind::Unkillable { process }.into())
    }

    /// Waits until the child has ended, for so long at most.
    fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.child.try_wait().map_err(Error::system("waiting"))?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Tells why a child is not ready that has closed its standard output.
    fn failure(&mut self) -> Error {
        let status = self.end().ok();
        match Place::find(self.place.listen, &self.place.data) {
            Err(error) => error,
            Ok(_) => self.ended_with(status),
        }
    }

    /// Ends a child that is not ready in time, and tells what it has said so far.
    fn silence(&mut self) -> Error {
        if let Err(error) = self.end() {
            return error;
        }
        let (waited, said) = (self.ready_within, self.last_words());
        Kind::Silent { waited, said }.into()
    }

    fn ended_with(&mut self, status: Option<ExitStatus>) -> Error {
        let said = self.last_words();
        Kind::Ended { status, said }.into()
    }

    fn last_words(&mut self) -> Vec<String> {
        let mut said = self.tail.take().map(Tail::lines).unwrap_or_default();
        said.drain(..said.len().saturating_sub(QUOTED));
        said
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.end();
    }
}

/// Finds a place, and waits for a while where another engine has the data: it may be about to end, since its parent was killed.
fn find_place(listen: SocketAddr, data: &Path) -> Result<Place, Error> {
    let deadline = Instant::now() + STOP_WITHIN;
    let mut was_locked = false;
    loop {
        match Place::find(listen, data) {
            Err(error) => {
                was_locked |= error.is_data_locked();
                // It lets go of one after the other.
                if !was_locked || Instant::now() > deadline {
                    return Err(error);
                }
            }
            found => return found,
        }
        thread::sleep(LOOK_AT_PLACE_EVERY);
    }
}

/// What became of a child that was started.
enum Start {
    /// It has said that it is ready.
    Ready(BufReader<ChildStdout>),
    /// It will not say so any more.
    Over,
    /// It has not said so in time.
    Late,
}

impl Start {
    fn of(stdout: Option<BufReader<ChildStdout>>, within: Duration) -> Result<Start, Error> {
        let Some(stdout) = stdout else {
            return Ok(Start::Over);
        };
        let (says, said) = mpsc::channel();
        // A thread, as a pipe is read without a deadline; it ends with the child, whatever became of the start.
        thread::Builder::new()
            .name("engine-stdout".to_owned())
            .spawn(move || says.send(until_ready(stdout)))
            .map_err(Error::system("a thread"))?;
        Ok(match said.recv_timeout(within) {
            Ok(Some(stdout)) => Start::Ready(stdout),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => Start::Over,
            Err(RecvTimeoutError::Timeout) => Start::Late,
        })
    }
}

/// Reads until the child says that it is ready; `None` if it ends instead.
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
