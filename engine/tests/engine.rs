//! Tests the engine from outside: real child processes, a real ClickHouse, real signals.
//!
//! `locate` finds the ClickHouse; on a fresh machine the first test fetches it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs::{self, File, TryLockError},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpgid},
};
use rowmill_engine::{Engine, Options, Program, locate};

const PROGRAM: &str = env!("CARGO_BIN_EXE_engine-for-tests");

/// The time limit of a wait; a test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder for one test, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("rowmill-engine-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Returns a user's credentials as `curl -H @FILE` reads them.
    fn headers(&self, user: &str) -> String {
        fs::read_to_string(self.data().join(user).with_extension("headers")).unwrap()
    }

    fn start(&self) -> Engine {
        Engine::start(&Options::new(PROGRAM, self.data())).unwrap()
    }

    fn is_locked(&self) -> bool {
        File::open(self.data().join("status")).is_ok_and(|it| matches!(it.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sends one statement as the collector. Asserts status 200 and returns the body of the response.
fn query(folder: &Folder, address: SocketAddr, sql: &str) -> String {
    let (status, answer) = request(address, "POST /", &folder.headers("collector"), sql).unwrap();
    assert_eq!(status, 200, "{sql}: {answer}");
    answer
}

/// Sends a request, and returns the status and the body of the response.
fn request(address: SocketAddr, request: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    let headers = headers.replace('\n', "\r\n");
    write!(
        stream,
        "{request} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}

/// Waits for a condition, at most for [`LIMIT`], and returns how long it took.
fn wait_until(what: &str, mut is_met: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_met() {
        assert!(start.elapsed() < LIMIT, "not met after {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// Returns the command `engine-for-tests engine`.
fn engine_command(listen: &str, data: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["engine", "--listen", listen, "--data"]).arg(data);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a free engine, as a user does in a terminal. Returns it with its address when it is
/// ready.
fn free_engine(folder: &Folder) -> (Child, SocketAddr) {
    let mut child = engine_command("127.0.0.1:0", &folder.data()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://");
    let address = address.unwrap_or_else(|| panic!("not a line of a ready engine: {line:?}"));
    (child, address.parse().unwrap())
}

/// Starts a process that starts an engine. Returns it with the engine's process and address.
fn parent(folder: &Folder) -> (Child, Pid, SocketAddr) {
    let mut parent = Command::new(PROGRAM)
        .arg("parent")
        .arg(folder.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (id, address) = line.trim_end().split_once(' ').unwrap();
    (parent, Pid::from_raw(id.parse().unwrap()), address.parse().unwrap())
}

/// Starts a query that runs until its engine ends.
fn endless_query(folder: &Folder, address: SocketAddr) -> thread::JoinHandle<()> {
    let headers = folder.headers("collector");
    let endless = thread::spawn(move || {
        let sql = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1";
        // The query fails when the engine ends.
        let _ = request(address, "POST /", &headers, sql);
    });
    let running =
        "SELECT count() FROM system.processes WHERE query LIKE '%numbers(600)%' AND query NOT LIKE '%system%'";
    wait_until("the query runs", || query(folder, address, running) == "1\n");
    endless
}

fn send(signal: Signal, child: &Child) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn an_engine_keeps_its_data_over_a_stop() {
    let folder = Folder::new("keeps");
    let engine = folder.start();
    let address = engine.address();
    assert!(address.ip().is_loopback());
    assert_eq!(engine.url(), format!("http://{address}"));
    query(&folder, address, "CREATE DATABASE stats");
    query(
        &folder,
        address,
        "CREATE TABLE stats.mail (event String, at DateTime64(3)) ENGINE = MergeTree ORDER BY at",
    );
    query(
        &folder,
        address,
        "INSERT INTO stats.mail VALUES ('open', now64()), ('click', now64())",
    );
    // The buffer table keeps rows in memory, which an unclean end would lose.
    query(
        &folder,
        address,
        "CREATE TABLE stats.soon AS stats.mail ENGINE = Buffer(stats, mail, 1, 60, 60, 9, 9, 9999, 9999)",
    );
    query(&folder, address, "INSERT INTO stats.soon VALUES ('reply', now64())");
    engine.stop().unwrap();
    assert!(TcpStream::connect(address).is_err(), "something still listens");
    assert!(!folder.is_locked());

    let engine = folder.start();
    let events = query(
        &folder,
        engine.address(),
        "SELECT event FROM stats.mail ORDER BY event FORMAT TSV",
    );
    assert_eq!(events, "click\nopen\nreply\n");
}

#[test]
fn confirmed_rows_survive_a_kill_of_the_engine() {
    let folder = Folder::new("killed");
    let mut engine = folder.start();
    let address = engine.address();
    query(
        &folder,
        address,
        "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n",
    );
    query(&folder, address, "INSERT INTO t SELECT number FROM numbers(100000)");
    assert!(engine.ended().is_none());
    kill(Pid::from_raw(engine.process_id().cast_signed()), Signal::SIGKILL).unwrap();
    let mut error = None;
    wait_until("the kill is noticed", || {
        error = engine.ended();
        error.is_some()
    });
    let error = error.unwrap();
    assert!(error.is_ended() && error.to_string().contains("signal: 9"), "{error}");

    let engine = folder.start();
    assert_eq!(
        query(&folder, engine.address(), "SELECT count(), sum(n) FROM t FORMAT TSV"),
        "100000\t4999950000\n"
    );
}

#[test]
fn an_engine_ends_with_a_parent_that_is_killed() {
    let folder = Folder::new("orphan");
    let (mut parent, id, address) = parent(&folder);
    assert_eq!(query(&folder, address, "SELECT 1"), "1\n");
    assert_eq!(
        getpgid(Some(id)).unwrap(),
        id,
        "signals of the terminal must not reach the engine"
    );
    assert!(folder.is_locked());

    parent.kill().unwrap();
    parent.wait().unwrap();
    let took = wait_until("the engine has released its data", || !folder.is_locked());
    wait_until("the engine does not listen", || TcpStream::connect(address).is_err());
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

#[test]
fn a_killed_engine_restarts_at_its_address_with_its_data() {
    let folder = Folder::new("again");
    let mut engine = folder.start();
    let address = engine.address();
    query(&folder, address, "CREATE DATABASE d");
    query(
        &folder,
        address,
        "CREATE TABLE d.t (n UInt8) ENGINE = MergeTree ORDER BY n",
    );
    query(&folder, address, "INSERT INTO d.t VALUES (7)");
    for _ in 0..2 {
        let killed = Pid::from_raw(engine.process_id().try_into().unwrap());
        kill(killed, Signal::SIGKILL).unwrap();
        wait_until("the engine has ended", || engine.ended().is_some());
        engine.start_again().unwrap();
        assert_eq!(engine.address(), address);
        assert_eq!(query(&folder, address, "SELECT n FROM d.t"), "7\n");
    }
    engine.stop().unwrap();
    assert!(!folder.is_locked());
}

#[test]
fn a_start_waits_for_an_engine_whose_parent_was_killed() {
    let folder = Folder::new("heir");
    let (mut parent, _, address) = parent(&folder);
    // Keeps the orphan from ending at once.
    let endless = endless_query(&folder, address);
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(folder.is_locked());
    let heir = Engine::start(&Options::new(PROGRAM, folder.data()).with_listen(address)).unwrap();
    assert_eq!(query(&folder, heir.address(), "SELECT 1"), "1\n");
    endless.join().unwrap();
}

#[test]
fn an_orphan_does_not_wait_long_for_its_queries() {
    let folder = Folder::new("busy");
    let engine = folder.start();
    let address = engine.address();
    let endless = endless_query(&folder, address);
    let start = Instant::now();
    drop(engine);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(!folder.is_locked());
    endless.join().unwrap();
}

#[test]
fn a_tied_engine_leaves_signals_to_its_parent() {
    let folder = Folder::new("tied");
    let mut engine = folder.start();
    let id = Pid::from_raw(engine.process_id().cast_signed());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        kill(id, signal).unwrap();
        assert_eq!(query(&folder, engine.address(), "SELECT 1"), "1\n");
    }
    assert!(engine.ended().is_none());
    engine.stop().unwrap();
}

#[test]
fn a_free_engine_ends_cleanly_on_each_signal() {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        let folder = Folder::new(signal.as_str());
        let (mut child, address) = free_engine(&folder);
        assert_eq!(query(&folder, address, "SELECT 1"), "1\n");
        let start = Instant::now();
        send(signal, &child);
        let status = child.wait().unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{signal}: {:?}",
            start.elapsed()
        );
        assert!(!folder.is_locked());
    }
}

#[test]
fn a_second_engine_on_the_same_data_is_rejected() {
    let folder = Folder::new("second");
    let engine = folder.start();
    let error = Engine::start(&Options::new(PROGRAM, folder.data())).unwrap_err();
    assert!(error.is_data_locked(), "{error}");
    let output = engine_command("127.0.0.1:0", &folder.data()).output().unwrap();
    assert!(!output.status.success());
    assert!(
        errors(&output).contains("another engine uses the data folder"),
        "{}",
        errors(&output)
    );
    assert_eq!(
        query(&folder, engine.address(), "SELECT 1"),
        "1\n",
        "the first engine still answers"
    );
}

#[test]
fn a_taken_port_is_rejected() {
    let folder = Folder::new("port");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let options = Options::new(PROGRAM, folder.data()).with_listen(taken);
    let error = Engine::start(&options).unwrap_err();
    assert!(
        error.is_port_taken() && error.to_string().contains(&taken.to_string()),
        "{error}"
    );
    let output = engine_command(&taken.to_string(), &folder.data()).output().unwrap();
    assert!(
        errors(&output).contains("another process listens on"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_program_that_is_not_an_engine_is_an_error_with_its_last_output() {
    let folder = Folder::new("words");
    let program = script(
        &folder.0.join("program"),
        "echo to be passed over; echo it broke >&2; exit 3",
    );
    let error = Engine::start(&Options::new(program, folder.data())).unwrap_err();
    assert!(error.is_ended(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("exit status: 3") && text.ends_with("\n  | it broke"),
        "{text}"
    );
}

/// Tests a program that ends with its parent, and one that does not and whose child keeps its pipes
/// open after its death.
#[test]
fn a_program_that_is_never_ready_is_ended_and_its_last_output_reported() {
    let folder = Folder::new("silent");
    for rest in ["exec cat", "sleep 60 & echo $! > $0.child; trap '' TERM; wait"] {
        let path = folder.0.join("program");
        let body = format!("echo not what is waited for; echo $$ > $0.id; echo it is loading >&2; {rest}");
        let program = script(&path, &body);
        let options = Options::new(program, folder.data()).with_ready_within(Duration::from_secs(2));
        let error = Engine::start(&options).unwrap_err();
        assert!(error.is_silent() && !error.is_ended(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("within 2 s") && text.ends_with("\n  | it is loading"),
            "{text}"
        );
        let id = |extension: &str| -> i32 {
            let id = fs::read_to_string(path.with_extension(extension)).unwrap();
            id.trim_end().parse().unwrap()
        };
        // The engine has waited for the end of the program, so a signal finds no process.
        assert!(kill(Pid::from_raw(id("id")), None).is_err(), "the program still runs");
        if rest.contains("child") {
            kill(Pid::from_raw(id("child")), Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn an_invalid_named_engine_is_an_error() {
    let folder = Folder::new("named");
    let broken = folder.0.join("libchdb.so");
    fs::write(&broken, b"\x7fELF and nothing more").unwrap();
    let cases = [
        (Path::new("/nonexistent/libchdb.so"), "which does not exist"),
        (Path::new("/bin/ls"), "does not report a ClickHouse version"),
        (&broken, "cannot be loaded"),
    ];
    for (path, expected) in cases {
        let mut command = engine_command("127.0.0.1:0", &folder.data());
        let output = command.env("ROWMILL_ENGINE", path).output().unwrap();
        assert!(!output.status.success());
        assert!(
            errors(&output).contains(expected),
            "{}: {}",
            path.display(),
            errors(&output)
        );
    }
}

#[test]
fn without_npm_the_error_says_what_to_install() {
    let folder = Folder::new("npm");
    let output = engine_command("127.0.0.1:0", &folder.data())
        .env_remove("ROWMILL_ENGINE")
        .env("PATH", &folder.0)
        .env("ROWMILL_CACHE", folder.0.join("cache"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(errors(&output).contains("install Node.js"), "{}", errors(&output));
    assert!(
        !folder.0.join("cache/engine/.fetch").exists(),
        "no partial download is left"
    );
}

/// The `clickhouse` program of this test is a script that passes its arguments to the library that
/// `locate` found. A real program treats the arguments as the library does.
#[test]
fn a_clickhouse_program_is_supervised_and_ends_with_its_supervisor() {
    let Program::Library(library) = locate().unwrap() else {
        // `locate` found a real program, so all the other tests already run on one.
        return;
    };
    let folder = Folder::new("binary");
    let marker = folder.0.join("started");
    let clickhouse = script(
        &folder.0.join("clickhouse"),
        &format!(
            "[ \"$1\" = local ] || exit 9\n\
             [ \"$2\" = --version ] && {{ echo 'ClickHouse local version 26.7.2.1'; exit; }}\n\
             for it; do case $it in\n\
               --path=*) data=${{it#*=}};; --listen_host=*) host=${{it#*=}};; --http_port=*) port=${{it#*=}};;\n\
             esac; done\n\
             echo $$ > '{marker}'\n\
             ROWMILL_ENGINE='{library}' exec '{PROGRAM}' engine --listen $host:$port --data $data --tied",
            marker = marker.display(),
            library = library.display(),
        ),
    );
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut supervisor = engine_command("127.0.0.1:0", &folder.data())
            .env("ROWMILL_ENGINE", &clickhouse)
            .process_group(0)
            .spawn()
            .unwrap();
        let started = || fs::read_to_string(&marker).unwrap_or_default();
        wait_until("the program runs", || started().ends_with('\n'));
        wait_until("the program has its data", || folder.is_locked());
        let program = Pid::from_raw(started().trim_end().parse().unwrap());
        assert_eq!(getpgid(Some(program)).unwrap(), program);
        send(signal, &supervisor);
        let status = supervisor.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
        wait_until("the program has released its data", || !folder.is_locked());
        fs::remove_file(&marker).unwrap();
    }
}

/// Writes a program in a process of its own: a process that another test starts meanwhile would
/// inherit the open file, and Linux runs no program that is open for writing.
fn script(path: &Path, body: &str) -> PathBuf {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let mut shell = Command::new("sh");
    let written = shell.args(["-c", write, "sh"]).arg(path).arg(body).status();
    assert!(written.unwrap().success());
    path.to_owned()
}
