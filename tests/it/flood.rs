//! More connections than the collector can have: it closes idle ones first, and active senders
//! notice nothing.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// The size of the flood, if the test's own descriptor limit allows it.
const IDLE: u64 = 20_000;

/// The number of descriptors for the other tests of this process.
const RESERVE: u64 = 2_000;

/// The collector's descriptor limit.
const DESCRIPTORS: u32 = 1024;

/// A connection that sends one event after the other.
struct Sender(TcpStream);

impl Sender {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Sends an event and returns the status of its answer, or 0 if the connection closes instead.
    fn send(&mut self) -> u16 {
        self.try_send().unwrap_or_default()
    }

    fn try_send(&mut self) -> Option<u16> {
        self.0
            .write_all(b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            .ok()?;
        let mut answer = Vec::new();
        // The answer's body is a JSON object without inner objects, so it ends at the first `}`.
        while !answer.ends_with(b"}") {
            let mut piece = [0; 1024];
            let Ok(length @ 1..) = self.0.read(&mut piece) else {
                return None;
            };
            answer.extend_from_slice(&piece[..length]);
        }
        let status = std::str::from_utf8(&answer).unwrap().split(' ').nth(1);
        status.unwrap().parse().ok()
    }
}

/// Returns how many connections this process can hold.
fn max_idle_connections() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    IDLE.min(hard.saturating_sub(RESERVE))
}

fn metric(collector: &Collector, name: &str) -> u64 {
    let metrics = http::get(collector.address, "/metrics");
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

/// Asserts that a line was logged at least once, and at most once a second.
fn assert_rare(log: &str, line: &str, since: Instant) {
    let lines = log.matches(line).count() as u64;
    assert!(
        (1..=since.elapsed().as_secs() + 1).contains(&lines),
        "{lines} lines: {log}"
    );
}

#[test]
fn idle_connections_block_no_sender() {
    let database = Database::named("flood");
    let collector = Collector::start_with_limit(&format!("-n {DESCRIPTORS}"), &database.url(), &[]);
    let address = collector.address;
    let idle = max_idle_connections();
    let started = Instant::now();

    let mut rare = Sender::connect(address);
    assert_eq!(rare.send(), 200);
    let is_over = Arc::new(AtomicBool::new(false));
    let busy = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || {
            let (mut sender, mut sent) = (Sender::connect(address), 0);
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(sender.send(), 200, "after {sent} events");
                sent += 1;
            }
            sent
        })
    };
    let mut held = Vec::new();
    let mut newcomers = 0;
    for number in 0..idle {
        held.push(TcpStream::connect(address).unwrap());
        if number % 200 == 0 {
            assert_eq!(
                http::post_json(address, "/wh/mail", "{}").status,
                200,
                "after {number} connections"
            );
            newcomers += 1;
        }
    }
    assert_eq!(rare.send(), 200, "the sender was connected before the flood");
    is_over.store(true, Ordering::SeqCst);
    let sent = busy.join().unwrap() + newcomers + 2;

    let open = metric(&collector, "rowmill_connections_open");
    assert!((100..u64::from(DESCRIPTORS)).contains(&open), "{open}");
    let let_go = metric(&collector, "rowmill_connections_let_go_total");
    assert!(let_go >= idle - u64::from(DESCRIPTORS), "{let_go} of {idle}");
    assert_rare(&collector.log(), "the connection limit is reached", started);
    drop(held);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.count("mail_statistics"), sent);
    println!("{idle} idle connections, {let_go} let go, {sent} events, none failed");
}

#[test]
fn each_address_has_its_own_connection_limit() {
    let database = Database::named("per_ip");
    let collector = Collector::start_with(&database.url(), &["--max-connections-per-ip", "2"]);
    let mut senders = [0; 2].map(|_| Sender::connect(collector.address));
    assert_eq!(senders.each_mut().map(Sender::send), [200; 2]);
    assert_eq!(Sender::connect(collector.address).send(), 0);
    assert_eq!(
        senders.each_mut().map(Sender::send),
        [200; 2],
        "the senders were connected before"
    );
    drop(senders);
    // Until the collector notices that the senders are gone, it refuses another one.
    wait_for("a free connection", || {
        (Sender::connect(collector.address).send() == 200).then_some(())
    });
    assert!(collector.log().contains("too many connections"), "{}", collector.log());
    let refused = wait_for("the metrics", || {
        let bytes = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        let _ = http::open(collector.address, bytes).read_to_string(&mut answer);
        let (_, refused) = answer.split_once("\nrowmill_connections_refused_total ")?;
        refused.lines().next()?.parse::<u64>().ok()
    });
    assert!(refused >= 1, "{refused}");
}

#[test]
fn readiness_checks_leave_the_spool_its_descriptors() {
    /// Twice as many descriptors would exceed the collector's limit.
    const CHECKS: usize = 700;
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), folder.path())).unwrap();
    let database = Database::of_engine("stats", engine.address(), folder.path());
    let arguments = ["--insert-timeout-seconds", "2"];
    let collector = Collector::start_with_limit(&format!("-n {DESCRIPTORS}"), &database.url(), &arguments);
    let address = collector.address;
    let signal_engine = |signal| {
        let group = Pid::from_raw(engine.process_id().try_into().unwrap());
        killpg(group, signal).unwrap();
    };

    // From here on, ClickHouse accepts connections but answers no request.
    signal_engine(Signal::SIGSTOP);
    let check = b"GET /ready?store=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut checks: Vec<_> = (0..CHECKS).map(|_| http::open(address, check)).collect();
    wait_for("the readiness checks", || {
        (metric(&collector, "rowmill_connections_open") > CHECKS as u64).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(http::post_json(address, "/wh/mail", "{}").status, 200);
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", collector.pid())).unwrap().count();
    assert!(
        (CHECKS..CHECKS + 100).contains(&descriptors),
        "{descriptors} descriptors"
    );
    signal_engine(Signal::SIGCONT);
    for stream in &mut checks {
        let mut answer = [0; 12];
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert!(matches!(&answer, b"HTTP/1.1 200" | b"HTTP/1.1 503"), "{answer:?}");
    }
    drop(checks);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("cannot accept connections"), "{}", ended.log);
    assert_eq!(database.count("mail_statistics"), 20);
}

#[test]
fn no_option_uses_up_the_descriptors_of_the_spool() {
    let database = Database::named("too_many_wanted");
    let arguments = ["--max-connections", "100000"];
    let collector = Collector::start_with_limit("-n 300", &database.url(), &arguments);
    wait_for("the warning", || {
        collector
            .log()
            .contains("too low for so many connections")
            .then_some(())
    });
    // Each of these has begun a request, so the collector cannot close any of them.
    let begun = b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{";
    let held: Vec<_> = (0..400).map(|_| http::open(collector.address, begun)).collect();
    wait_for("the limit", || {
        collector
            .log()
            .contains("the connection limit is reached")
            .then_some(())
    });
    let descriptors = fs::read_dir(format!("/proc/{}/fd", collector.pid())).unwrap().count();
    assert!(descriptors < 250, "{descriptors} descriptors");
    drop(held);
    wait_for("a new sender's answer", || {
        (Sender::connect(collector.address).send() == 200).then_some(())
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("cannot accept connections"), "{}", ended.log);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let database = Database::named("soft_limit");
    let collector = Collector::start_with_limit("-S -n 256", &database.url(), &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", collector.pid())).unwrap();
    let limits = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    let limits: Vec<_> = limits.split_ascii_whitespace().collect();
    assert_eq!(limits[0], limits[1]);
    assert_ne!(limits[0], "256");
}

/// Returns the CPU time of a process, in hundredths of a second.
fn cpu_time(collector: &Collector) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", collector.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_ascii_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}

/// Lowers the limit of a running collector. Open descriptors stay open.
fn limit_descriptors(collector: &Collector, count: u64) {
    let pid = rustix::process::Pid::from_raw(collector.pid().as_raw());
    let limit = rustix::process::Rlimit {
        current: Some(count),
        maximum: Some(count),
    };
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
}

#[test]
fn a_collector_without_descriptors_waits_and_continues() {
    let database = Database::named("descriptors");
    let started = Instant::now();
    let collector = Collector::start(&database);
    // Fewer than the collector expects.
    limit_descriptors(&collector, 200);
    let mut busy: Vec<_> = (0..150).map(|_| Sender::connect(collector.address)).collect();
    for sender in &mut busy {
        assert_eq!(sender.send(), 200);
    }
    // Each of these has begun a request, so the collector cannot close any of them.
    let held: Vec<_> = (0..400)
        .map(|_| {
            http::open(
                collector.address,
                b"POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{",
            )
        })
        .collect();
    wait_for("the use of all descriptors", || {
        collector.log().contains("cannot accept connections").then_some(())
    });
    let before = (cpu_time(&collector), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let used = (cpu_time(&collector) - before.0) as f64 / 100.0 / before.1.elapsed().as_secs_f64();
    assert!(used < 0.5, "the collector uses {used} of a core while it waits");
    assert_rare(&collector.log(), "cannot accept connections", started);
    drop((held, busy));
    wait_for("a new sender's answer", || {
        (Sender::connect(collector.address).send() == 200).then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
}
