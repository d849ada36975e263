//! The engine as a value: a child process that is up when it is there, and gone when it is dropped.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Kind},
    locate::{ENGINE_VARIABLE, Program, locate},
    place::Place,
    run::{GRACE, READY},
    tail::Tail,
};

/// The child kills a ClickHouse that does not end within [`GRACE`]; a child that needs longer than
/// this is killed itself.
const STOP_WITHIN: Duration = GRACE.saturating_add(Duration::from_secs(2));

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
}

impl Options {
    /// Returns options for an engine on a free port of the loopback interface.
    pub fn new(program: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Options {
        Options {
            program: program.into(),
            data: data.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
        }
    }

    /// Sets the address to listen on.
    pub fn with_listen(self, listen: SocketAddr) -> Options {
        Options { listen, ..self }
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
    /// - The child cannot be started, or ends before it is ready; its last lines are in the error.
    pub fn start(options: &Options) -> Result<Engine, Error> {
        // Here rather than in the child: this process has the terminal to show progress on.
        let clickhouse = locate()?;
        let mut tries = 1;
        loop {
            let place = find_place(options.listen, &options.data)?;
            match Engine::start_at(options.program.clone(), clickhouse.clone(), place) {
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
        self.end().map_err(Error::system("the end"))?;
        let place = find_place(self.place.listen, &self.place.data)?;
        *self = Engine::start_at(self.program.clone(), self.clickhouse.clone(), place)?;
        Ok(())
    }

    fn start_at(program: PathBuf, clickhouse: Program, place: Place) -> Result<Engine, Error> {
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
        };
        engine._stdout = stdout.and_then(until_ready);
        if engine._stdout.is_none() {
            return Err(engine.failure());
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
            None => self.end().map_err(Error::system("the end")).map(drop),
        }
    }

    /// Lets go of the child, and kills it if that does not end it.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.lifeline = None;
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
        self.child.kill()?;
        self.child.wait()
    }

    /// Tells why a child is not ready that has closed its standard output.
    fn failure(&mut self) -> Error {
        let status = self.end().ok();
        match Place::find(self.place.listen, &self.place.data) {
            Err(error) => error,
            Ok(_) => self.ended_with(status),
        }
    }

    fn ended_with(&mut self, status: Option<ExitStatus>) -> Error {
        let mut said = self.tail.take().map(Tail::lines).unwrap_or_default();
        said.drain(..said.len().saturating_sub(QUOTED));
        Kind::Ended { status, said }.into()
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
