//! Turns the calling process into the engine until a signal or its parent requests its end.
//!
//! One loop waits for the first event: ClickHouse is ready, an end is requested (by a signal, or by
//! the parent's end of a tie), ClickHouse ends unexpectedly, or it does not answer in time. Other
//! threads report these events to the loop.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, SigSet, Signal},
    unistd::Pid,
};

use crate::{
    access::{Access, Account},
    attach,
    binary::Binary,
    command,
    error::{Error, Kind},
    library,
    locate::{Program, locate},
    ping,
    place::Place,
    progress,
};

/// The time limit for ClickHouse to end, since it waits for its running queries first.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The time limit for ClickHouse to answer. A start takes half a second; many large tables on a
/// slow disk take longer, and only a machine in trouble takes this long.
const READY_TIMEOUT: Duration = Duration::from_secs(300);

const PING_INTERVAL: Duration = Duration::from_millis(10);

/// The start of the line on standard output that reports a ready engine.
pub(crate) const READY: &str = "listening on http://";

/// Options to run an engine.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The address of ClickHouse's HTTP interface; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The folder of the data, created if it is missing.
    pub data: PathBuf,
    /// The event that ends the engine.
    pub tie: Tie,
    /// Rights of the collector's account besides its own, such as `TABLE ENGINE ON Kafka`. The
    /// program gives none.
    pub grants: Vec<String>,
}

/// The event that ends an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// A signal: SIGINT, SIGTERM or SIGHUP. A second signal does not wait for running queries.
    Free,
    /// The end of standard input: the engine ends when the holder of the other end closes it or
    /// dies, and ignores the signals. Those reach the holder too (from a terminal, or from an init
    /// system that signals a whole service), and the holder may have to store rows before it stops
    /// the engine.
    Stdin,
}

#[derive(Debug)]
enum Event {
    Ready,
    StopRequested,
    Ended,
    Silent,
}

/// A started ClickHouse.
#[derive(Debug)]
struct Running {
    /// ClickHouse ends when this closes.
    lifeline: OwnedFd,
    /// The process to kill if ClickHouse does not end; for the library it is this process.
    process: Pid,
}

/// Runs ClickHouse until a signal or the parent requests its end. When ClickHouse is ready, prints
/// one line, `listening on http://ADDRESS`.
///
/// Meant for a process that does nothing else: call it from `main`, before any other thread exists,
/// and return its result from `main`. It takes over the signals SIGHUP, SIGINT and SIGTERM and the
/// standard input. It warns if the address is not a loopback address, because the connection is not
/// encrypted.
///
/// # Errors
///
/// - There is no ClickHouse, and it cannot be fetched; or the library does not load.
/// - The address is taken, or the data folder is in use or cannot be written.
/// - ClickHouse ended unexpectedly, or does not answer in time; standard error has its output.
pub fn run(options: RunOptions) -> Result<(), Error> {
    let place = Place::find(options.listen, &options.data)?;
    let program = locate()?;
    if !place.listen.ip().is_loopback() {
        progress::note(&format!(
            "warning: passwords and data cross the network unencrypted to {}; put a TLS proxy in front of it",
            place.listen
        ));
    }
    let mut access = Access::of(&place.data)?;
    access.grants = options.grants;
    attach::forget(&place.data)?;
    let (events, inbox) = mpsc::channel();
    // Duplicate standard input, because the library replaces it in this process.
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(Error::system("a standard input"))?;
    let running = start(program, &place, &access, options.tie, &events)?;
    // Start the threads after `start`, so that they inherit its blocked signals.
    if options.tie == Tie::Stdin {
        watch_stdin(stdin, events.clone())?;
    }
    watch_start(place.address(), access.reader.clone(), events)?;
    while let Ok(event) = inbox.recv() {
        match event {
            Event::Ready => {
                attach::record(&place.data, place.address())?;
                // The parent may have closed standard output if it does not need the line.
                let _ = writeln!(io::stdout(), "{READY}{}", place.listen);
                if options.tie == Tie::Free {
                    print_examples(&place, &access);
                }
            }
            Event::StopRequested => return end(running, &inbox),
            Event::Ended => break,
            Event::Silent => {
                end(running, &inbox)?;
                // ClickHouse's output is already on standard error.
                let (waited, output) = (READY_TIMEOUT, Vec::new());
                return Err(Kind::Silent { waited, output }.into());
            }
        }
    }
    Place::find(place.listen, &place.data)?;
    let (status, output) = (None, Vec::new());
    Err(Kind::Ended { status, output }.into())
}

/// Prints how a user and a collector can reach the engine.
fn print_examples(place: &Place, access: &Access) {
    let (address, Access { reader, collector, .. }) = (place.address(), access);
    let (headers, user, password) = (reader.curl_option(), collector.name(), collector.shell_password());
    let _ = writeln!(
        io::stderr(),
        "
Ask it:

  curl http://{address} {headers} --data-binary 'SHOW DATABASES'

Let a collector fill it:

  ROWMILL_CLICKHOUSE=\"http://{user}:{password}@{address}/stats\" rowmill serve
"
    );
}

fn start(program: Program, place: &Place, access: &Access, tie: Tie, events: &Sender<Event>) -> Result<Running, Error> {
    let config = access.configure(&place.data)?;
    let arguments = command::arguments(place.listen, &place.data, &config);
    let ended = events.clone();
    let ended = move || send(&ended, Event::Ended);
    match program {
        Program::Library(path) => {
            // Block the signals before the library starts threads, which inherit the signal mask.
            block_signals(tie, events)?;
            let lifeline = library::start(&path, arguments, ended)?;
            let process = Pid::this();
            Ok(Running { lifeline, process })
        }
        Program::Binary(path) => {
            // Block the signals after the program starts, because it would inherit the signal mask.
            // An earlier signal ends this process, which closes the lifeline and ends the program.
            let binary = Binary::spawn(&path, arguments)?;
            block_signals(tie, events)?;
            let (lifeline, process) = binary.watch(ended)?;
            Ok(Running { lifeline, process })
        }
    }
}

/// Closes the lifeline, and kills ClickHouse if it does not end within [`GRACE`].
fn end(running: Running, inbox: &Receiver<Event>) -> Result<(), Error> {
    drop(running.lifeline);
    let deadline = Instant::now() + GRACE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(left) {
            Ok(Event::Ended) => return Ok(()),
            Ok(Event::Ready | Event::Silent) => {}
            Ok(Event::StopRequested) | Err(_) => break,
        }
    }
    if running.process == Pid::this() {
        // Queries still run on threads of this process, so returning from `main` is not safe. The
        // default action of SIGTERM ends the process cleanly. Confirmed rows are on disk.
        let kill = SigSet::from(Signal::SIGTERM).thread_unblock();
        kill.and_then(|()| signal::raise(Signal::SIGTERM))
    } else {
        signal::kill(running.process, Signal::SIGKILL)
    }
    .map_err(io::Error::from)
    .map_err(Error::system("a signal"))
}

/// Blocks SIGHUP, SIGINT and SIGTERM on all threads, including ClickHouse's, whose own handler for
/// SIGINT would wait for a query that does not end. A free engine treats the signals as requests to
/// end.
fn block_signals(tie: Tie, events: &Sender<Event>) -> Result<(), Error> {
    let signals = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]);
    let blocked = signals.thread_block().map_err(io::Error::from);
    blocked.map_err(Error::system("blocking signals"))?;
    if tie == Tie::Stdin {
        return Ok(());
    }
    let events = events.clone();
    spawn("signals", move || {
        while signals.wait().is_ok() {
            send(&events, Event::StopRequested);
        }
    })
}

/// Reports the end of standard input, however the other end closes.
fn watch_stdin(stdin: OwnedFd, events: Sender<Event>) -> Result<(), Error> {
    let mut stdin = File::from(stdin);
    spawn("tie", move || {
        let mut ignored = [0; 64];
        loop {
            match stdin.read(&mut ignored) {
                Ok(1..) => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return send(&events, Event::StopRequested),
            }
        }
    })
}

/// Reports that ClickHouse answers, or that it did not in time.
fn watch_start(address: SocketAddr, account: Account, events: Sender<Event>) -> Result<(), Error> {
    spawn("start", move || {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            if ping::accepts(address, &account) {
                return send(&events, Event::Ready);
            }
            thread::sleep(PING_INTERVAL);
        }
        send(&events, Event::Silent);
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map(drop).map_err(Error::system("a thread"))
}

/// Sends an event to the loop, which may have ended.
fn send(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}
