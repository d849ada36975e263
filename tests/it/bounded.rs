//! All attacks at once under a hard memory limit: the collector survives, and honest senders get
//! their answers.
//!
//! The limit is `RLIMIT_DATA`, the memory that a process can write to. An allocation beyond it ends
//! the process.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::support::{collector::Collector, engine::Database};

/// The limit in KiB, the unit of `ulimit`.
const DATA_KIB: u64 = 512 << 10;

/// The number of senders of large bodies.
const BODIES: usize = 500;

/// The length of the largest bulk body.
const BODY: usize = 4 << 20;

/// The number of connections whose heads never end.
const SLOW_HEADS: usize = 200;

/// The time between two events of an honest sender.
const PERIOD: Duration = Duration::from_millis(5);

/// How long an attacker waits for an answer.
const ATTACKER_TIMEOUT: Duration = Duration::from_secs(10);

/// The attacks: name, number of senders, and function.
const ATTACKS: [(&str, usize, Attack); 4] = [
    ("500 x 4 MiB bodies", BODIES, large_body),
    ("slow heads", 1, slow_heads),
    ("bulk with a long query", 8, long_query),
    ("junk", 16, junk),
];

/// Attacks as one sender until the flag is set.
type Attack = fn(SocketAddr, &AtomicBool);

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ATTACKER_TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(ATTACKER_TIMEOUT)).unwrap();
    Some(stream)
}

/// Sends one request on a separate connection and reads some of the answer.
fn send_once(address: SocketAddr, pieces: &[&[u8]]) {
    if let Some(mut stream) = connect(address) {
        let is_sent = pieces.iter().all(|piece| stream.write_all(piece).is_ok());
        if is_sent {
            let _ = stream.read(&mut [0; 1024]);
        }
    }
}

fn head(target: &str, media_type: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n")
}

fn large_body(address: SocketAddr, is_over: &AtomicBool) {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    let head = head("/wh/mail", "application/x-ndjson", BODY);
    let pieces: Vec<&[u8]> = std::iter::once(head.as_bytes())
        .chain((0..BODY / PIECE.len()).map(|_| &PIECE[..]))
        .collect();
    while !is_over.load(Ordering::Relaxed) {
        send_once(address, &pieces);
    }
}

fn slow_heads(address: SocketAddr, is_over: &AtomicBool) {
    let mut streams: Vec<_> = (0..SLOW_HEADS).map(|_| None).collect();
    while !is_over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let is_open = stream
                .as_mut()
                .is_some_and(|stream: &mut TcpStream| stream.write_all(b"a").is_ok());
            if !is_open {
                *stream = connect(address);
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn long_query(address: SocketAddr, is_over: &AtomicBool) {
    let lines = "{}\n".repeat(100_000);
    let target = format!("/wh/mail?detailed={}", "q".repeat(40_000));
    let head = head(&target, "application/x-ndjson", lines.len());
    while !is_over.load(Ordering::Relaxed) {
        send_once(address, &[head.as_bytes(), lines.as_bytes()]);
    }
}

fn junk(address: SocketAddr, is_over: &AtomicBool) {
    const LENGTH: usize = 90_000;
    let request = [head("/wh/mail", "application/json", LENGTH).as_bytes(), &[b'j'; LENGTH]].concat();
    while !is_over.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(address) else { continue };
        while !is_over.load(Ordering::Relaxed)
            && stream.write_all(&request).is_ok()
            && matches!(stream.read(&mut [0; 4096]), Ok(1..))
        {}
    }
}

/// The running attackers.
struct Attackers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attackers {
    fn start(address: SocketAddr, attacks: &[(&str, usize, Attack)]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for &(_, senders, attack) in attacks {
            for _ in 0..senders {
                let is_over = Arc::clone(&is_over);
                let builder = thread::Builder::new().stack_size(512 << 10);
                let thread = builder.spawn(move || {
                    // The test measures the collector, so attackers must not compete with honest
                    // senders for a core.
                    #[cfg(target_os = "linux")]
                    let _ = rustix::process::setpriority_process(None, 19);
                    attack(address, &is_over);
                });
                threads.push(thread.unwrap());
            }
        }
        Self { is_over, threads }
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Sends an event every [`PERIOD`] on one connection. Returns the time from when each event was due
/// to its answer.
fn send_events(address: SocketAddr, length: Duration) -> Vec<Duration> {
    let mut stream = connect(address).unwrap();
    let request = [
        head("/wh/mail", "application/json", 16).as_bytes(),
        br#"{"event":"sent"}"#,
    ]
    .concat();
    let start = Instant::now();
    let mut due = start;
    let mut latencies = Vec::new();
    while due - start < length {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut piece = [0; 1024];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..length]);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        latencies.push(due.elapsed());
        due += PERIOD;
    }
    latencies
}

/// Runs two honest senders. Returns the median and the 99th percentile of their latencies in
/// milliseconds, and adds the number of their events to `events`.
fn percentiles(address: SocketAddr, length: Duration, events: &AtomicU64) -> (f64, f64) {
    let start = Arc::new(Barrier::new(2));
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                send_events(address, length)
            })
        })
        .collect();
    let mut all: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    events.fetch_add(all.len() as u64, Ordering::Relaxed);
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

fn bounded(database: &Database) -> Collector {
    Collector::start_with_limit(&format!("-d {DATA_KIB}"), &database.url(), &[])
}

/// Asserts that the collector survived within the limit, and that all events of honest senders are
/// stored. Returns the peak memory in MiB.
fn assert_unharmed(database: &Database, collector: Collector, events: u64) -> u64 {
    let peak = collector.peak_memory() >> 20;
    assert!(peak < DATA_KIB >> 10, "{peak} MiB");
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let honest = database.query("SELECT count() FROM mail_statistics WHERE event = 'sent'");
    assert_eq!(honest, format!("{events}\n"));
    peak
}

#[test]
#[ignore = "takes a minute, and its 500 senders disturb the tests that run beside it"]
fn a_collector_of_512_mebibytes_survives_all_attacks_at_once() {
    let database = Database::named("bounded");
    let collector = bounded(&database);
    let events = AtomicU64::new(0);
    let attackers = Attackers::start(collector.address, &ATTACKS);
    percentiles(collector.address, Duration::from_secs(3), &events);
    attackers.stop();
    assert_unharmed(&database, collector, events.into_inner());
}

/// The long run, with a report: a quiet period and an attack in turn, for each attack.
/// `ROWMILL_PROGRAM` selects another program, for example a release build. `ROWMILL_ATTACK` selects
/// the attacks whose names contain it.
#[test]
#[ignore = "takes two minutes, and the figures are valid only on a quiet machine"]
fn honest_senders_beside_attacks() {
    const ROUNDS: usize = 3;
    const LENGTH: Duration = Duration::from_secs(4);
    let database = Database::named("bounded_long");
    let collector = bounded(&database);
    let events = AtomicU64::new(0);
    println!("| attack | quiet p50 ms | p99 ms | attacked p50 ms | p99 ms |");
    println!("|---|---:|---:|---:|---:|");
    let all = ("all at once", &ATTACKS[..]);
    let each = ATTACKS.iter().map(|attack| (attack.0, std::slice::from_ref(attack)));
    let selected = std::env::var("ROWMILL_ATTACK").unwrap_or_default();
    for (name, attacks) in each.chain([all]).filter(|(name, _)| name.contains(&selected)) {
        for _ in 0..ROUNDS {
            let quiet = percentiles(collector.address, LENGTH, &events);
            let attackers = Attackers::start(collector.address, attacks);
            let attacked = percentiles(collector.address, LENGTH, &events);
            attackers.stop();
            println!(
                "| {name} | {:.1} | {:.1} | {:.1} | {:.1} |",
                quiet.0, quiet.1, attacked.0, attacked.1
            );
        }
    }
    let peak = assert_unharmed(&database, collector, events.into_inner());
    println!("peak {peak} MiB");
}
