//! Turns the calling process into the engine, until it is asked to end.
//!
//! One loop waits for what happens first: ClickHouse is ready, somebody asks for the end (a signal, or
//! the parent's end of a tie), ClickHouse ends by itself. Everything else is a thread that reports
//! to it.

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
    binary::Binary,
    command,
    error::{Error, Kind},
    library,
    locate::{Program, locate},
    ping,
    place::Place,
    progress,
};

/// ClickHouse waits for its running queries when it ends; this is how long we wait for it.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// How long ClickHouse may take until it answers. It is up in half a second; many large tables on a
/// slow disk take longer, and only a machine in trouble as long as this.
const READY_WITHIN: Duration = Duration::from_secs(300);

const PING_EVERY: Duration = Duration::from_millis(10);

/// What a line on standard output begins with when the engine is ready.
pub(crate) const READY: &str = "listening on http://";

/// How to run an engine.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The address of ClickHouse's HTTP interface; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The folder of the data, created if it is missing.
    pub data: PathBuf,
    /// What the engine lives for.
    pub tie: Tie,
}

/// What an engine lives for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// Itself: it ends on SIGINT, SIGTERM and SIGHUP. A second one does not wait for running queries.
    Free,
    /// The holder of the other end of standard input: it ends when that closes, and not on
    /// signals. Those reach the holder too (from a terminal, or from an init system that signals
    /// a whole service), and the holder may want to store something before it lets go.
    Stdin,
}

#[derive(Debug)]
enum Event {
    Ready,
    Asked,
    Ended,
    Silent,
}

/// A ClickHouse that has been started.
#[derive(Debug)]
struct Running {
    /// ClickHouse ends when this closes.
    lifeline: OwnedFd,
    /// The process to kill when it does not; for the library that is this one.
    process: Pid,
}

/// Runs ClickHouse until it is asked to end, and prints one line, `listening on http://ADDRESS`, when
/// it is ready.
///
/// Meant for a process that does nothing else: call it from `main`, before any other thread
/// exists, and leave `main` with its result. It takes over the signals SIGINT and SIGTERM and the
/// standard input. What has no password and more than this machine to listen to is warned about.
///
/// # Errors
///
/// - There is no ClickHouse, and it cannot be fetched; or the library does not load.
/// - The address is taken, or the data folder is in use or cannot be written.
/// - ClickHouse has ended by itself; its reasons stand on standard error.
pub fn run(options: RunOptions) -> Result<(), Error> {
    let place = Place::find(options.listen, &options.data)?;
    let program = locate()?;
    if !place.listen.ip().is_loopback() {
        progress::note(&format!(
            "warning: passwords and data cross the network unencrypted to {}; put a TLS proxy in front of it",
            place.listen
        ));
    }
    let access = Access::of(&place.data)?;
    let (events, inbox) = mpsc::channel();
    // A copy, as ClickHouse as a library gets another standard input.
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(Error::system("a standard input"))?;
    let running = start(program, &place, &access, options.tie, &events)?;
    // Threads come after `start`, so that the signals that it holds are held from them too.
    if options.tie == Tie::Stdin {
        watch_stdin(stdin, events.clone())?;
    }
    watch_start(place.address(), access.reader.clone(), events)?;
    while let Ok(event) = inbox.recv() {
        match event {
            Event::Ready => {
                // Whoever is not interested in the line may have closed standard output.
                let _ = writeln!(io::stdout(), "{READY}{}", place.listen);
                if options.tie == Tie::Free {
                    show_ways_in(&place, &access);
                }
            }
            Event::Asked => return end(running, &inbox),
            Event::Ended => break,
            Event::Silent => {
                end(running, &inbox)?;
                // What ClickHouse has said stands on standard error.
                let (waited, said) = (READY_WITHIN, Vec::new());
                return Err(Kind::Silent { waited, said }.into());
            }
        }
    }
    Place::find(place.listen, &place.data)?;
    let (status, said) = (None, Vec::new());
    Err(Kind::Ended { status, said }.into())
}

/// Tells a person how to ask the engine, and how a collector does.
fn show_ways_in(place: &Place, access: &Access) {
    let (address, Access { reader, collector }) = (place.address(), access);
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
            // Before the library has threads, as they inherit what is blocked.
            hold_signals(tie, events)?;
            let lifeline = library::start(&path, arguments, ended)?;
            let process = Pid::this();
            Ok(Running { lifeline, process })
        }
        Program::Binary(path) => {
            // After the program is started, as it would inherit what is blocked. A signal that
            // comes in between ends us, and with us the lifeline and the program.
            let binary = Binary::spawn(&path, arguments)?;
            hold_signals(tie, events)?;
            let (lifeline, process) = binary.watch(ended)?;
            Ok(Running { lifeline, process })
        }
    }
}

/// Asks ClickHouse to end, and sees to it that it does.
fn end(running: Running, inbox: &Receiver<Event>) -> Result<(), Error> {
    drop(running.lifeline);
    let deadline = Instant::now() + GRACE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(left) {
            Ok(Event::Ended) => return Ok(()),
            Ok(Event::Ready | Event::Silent) => {}
            Ok(Event::Asked) | Err(_) => break,
        }
    }
    if running.process == Pid::this() {
        // Queries still run on threads of this process, which is no state to leave `main` in:
        // the end that SIGTERM has by default is the clean one. What was confirmed is on disk.
        let kill = SigSet::from(Signal::SIGTERM).thread_unblock();
        kill.and_then(|()| signal::raise(Signal::SIGTERM))
    } else {
        signal::kill(running.process, Signal::SIGKILL)
    }
    .map_err(io::Error::from)
    .map_err(Error::system("a signal"))
}

/// Keeps SIGHUP, SIGINT and SIGTERM from everybody, ClickHouse included: its own handler for SIGINT waits
/// for a query that will not end. A free engine takes them as requests to end.
fn hold_signals(tie: Tie, events: &Sender<Event>) -> Result<(), Error> {
    let signals = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]);
    let blocked = signals.thread_block().map_err(io::Error::from);
    blocked.map_err(Error::system("blocking signals"))?;
    if tie == Tie::Stdin {
        return Ok(());
    }
    let events = events.clone();
    spawn("signals", move || {
        while signals.wait().is_ok() {
            send(&events, Event::Asked);
        }
    })
}

/// Reports when the standard input ends, whoever holds its other end and however that one ends.
fn watch_stdin(stdin: OwnedFd, events: Sender<Event>) -> Result<(), Error> {
    let mut stdin = File::from(stdin);
    spawn("tie", move || {
        let mut ignored = [0; 64];
        loop {
            match stdin.read(&mut ignored) {
                Ok(1..) => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return send(&events, Event::Asked),
            }
        }
    })
}

/// Reports when ClickHouse answers, or that it does not.
fn watch_start(address: SocketAddr, account: Account, events: Sender<Event>) -> Result<(), Error> {
    spawn("start", move || {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if ping::knows(address, &account) {
                return send(&events, Event::Ready);
            }
            thread::sleep(PING_EVERY);
        }
        send(&events, Event::Silent);
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map(drop).map_err(Error::system("a thread"))
}

/// Reports to the loop, which may be over.
fn send(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}
