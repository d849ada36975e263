//! Attacks, each by itself: others are answered in about their usual time, and the memory is bounded.
//!
//! The latencies of the others are measured in turn with and without the attack, on the same collector,
//! so the speed and the load of the machine do not matter. The short runs check that everybody else is
//! answered and what the memory is; the long one, with as many as 10 000 attackers, also compares the
//! latencies.

use std::{
    any::Any,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{
    collector::Collector,
    engine::Database,
    http, wait_for,
    websocket::{WebSocket, frame},
};

/// The memory that a collector may take for rows and requests, by the option `--memory-bytes`.
const MEMORY: u64 = 64 << 20;

/// The memory of a connection that is idle or has begun a request: its task, its buffer of reads and the
/// part of a request that fits into it.
const CONNECTION: u64 = 32 << 10;

/// The requests of others in each part of a run.
const SAMPLES: usize = 40;

/// An attack: its name, the number of attackers in the short and in the long run, and its begin. It
/// lasts until the value is dropped.
struct Attack {
    name: &'static str,
    attackers: (usize, usize),
    begin: fn(SocketAddr, usize) -> Box<dyn Any>,
}

const ATTACKS: [Attack; 5] = [
    Attack {
        name: "half_open",
        attackers: (1_000, 10_000),
        begin: half_open,
    },
    Attack {
        name: "sessions",
        attackers: (200, 2_000),
        begin: sessions,
    },
    Attack {
        name: "bombs",
        attackers: (2, 2),
        begin: |address, count| bombs(address, count, false),
    },
    Attack {
        name: "nested_bombs",
        attackers: (2, 2),
        begin: |address, count| bombs(address, count, true),
    },
    Attack {
        name: "uploads",
        attackers: (100, 800),
        begin: uploads,
    },
];

/// Opens connections whose requests stop in the request line, in the headers, and in the body.
fn half_open(address: SocketAddr, count: usize) -> Box<dyn Any> {
    let begun: [&[u8]; 4] = [
        b"",
        b"POST /wh/ma",
        b"POST /wh/mail HTTP/1.1\r\nHost: a\r\nContent-Ty",
        b"POST /wh/mail HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{\"event\":",
    ];
    let open = |number: usize| http::open(address, begun[number % begun.len()]);
    Box::new((0..count).map(open).collect::<Vec<TcpStream>>())
}

/// Opens sessions with messages that never end, and with answers that nobody reads.
fn sessions(address: SocketAddr, count: usize) -> Box<dyn Any> {
    let unread = format!("[{}]", vec![r#"{"service":"track","name":"ping"}"#; 200].join(","));
    let open = |number: usize| {
        let mut socket = WebSocket::open(address, "/wss", &[]).unwrap();
        let sent = match number % 2 {
            // 4 MiB are announced, and a part of them comes.
            0 => socket
                .send_bytes(b"\x81\xff\0\0\0\0\0\x40\0\0\0\0\0\0")
                .and_then(|()| socket.send_bytes(&[b' '; 16 << 10])),
            _ => socket.send_bytes(&frame(0x81, unread.as_bytes())),
        };
        // The collector may have ended the session already.
        drop(sent);
        socket
    };
    Box::new((0..count).map(open).collect::<Vec<WebSocket>>())
}

/// Attackers that send one request after the other.
struct Repeated {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking());
        }
    }
}

/// Sends bodies of some kilobytes that would become some megabytes; with `is_nested`, in two codings.
fn bombs(address: SocketAddr, count: usize, is_nested: bool) -> Box<dyn Any> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 4 << 20]).unwrap();
    let mut bomb = encoder.finish().unwrap();
    let mut coding = "gzip";
    if is_nested {
        bomb = zstd::encode_all(&bomb[..], 19).unwrap();
        coding = "gzip, zstd";
    }
    assert!(bomb.len() * 900 < 4 << 20, "{} bytes", bomb.len());
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let attack = |number: usize| {
        let (is_over, sent, bomb) = (Arc::clone(&is_over), Arc::clone(&sent), bomb.clone());
        // An upload has one coding.
        let target = match is_nested || number.is_multiple_of(2) {
            true => "/wh/mail",
            false => "/upload/wh/mail",
        };
        thread::spawn(move || {
            let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", coding)];
            while !is_over.load(Ordering::Relaxed) {
                let answer = http::send(address, "POST", target, &headers, &bomb);
                assert!([413, 503].contains(&answer.status), "{}", answer.text());
                sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let threads = (0..count).map(attack).collect();
    wait_for("the first bombs", || {
        (sent.load(Ordering::Relaxed) >= count as u64).then_some(())
    });
    Box::new(Repeated { is_over, threads })
}

/// Begins resumable uploads that never go on: of each, a part comes whose rest does not.
fn uploads(address: SocketAddr, count: usize) -> Box<dyn Any> {
    let begin = |_| {
        let version = ("Tus-Resumable", "1.0.0");
        let create = [version, ("Upload-Length", "100000000")];
        let created = http::send(address, "POST", "/upload/wh/mail", &create, b"");
        assert_eq!(created.status, 201, "{}", created.text());
        let path = created.header("location").unwrap();
        let mut stream = http::open(
            address,
            format!(
                "PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n\
                 Content-Type: application/offset+octet-stream\r\nContent-Length: 100000000\r\n\r\n"
            )
            .as_bytes(),
        );
        let _ = stream.write_all(&[b' '; 32 << 10]);
        (path.to_owned(), stream)
    };
    let begun: Vec<_> = (0..count).map(begin).collect();
    Box::new(Removed { address, begun })
}

/// Uploads that are removed at the end of the attack.
struct Removed {
    address: SocketAddr,
    begun: Vec<(String, TcpStream)>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        for (path, stream) in self.begun.drain(..) {
            drop(stream);
            let removed = http::send(self.address, "DELETE", &path, &[("Tus-Resumable", "1.0.0")], b"");
            assert!([204, 423].contains(&removed.status) || thread::panicking());
        }
    }
}

/// Sends events on connections of their own, and adds the latencies.
fn sample(address: SocketAddr, latencies: &mut Vec<Duration>) {
    for _ in 0..SAMPLES {
        let since = Instant::now();
        let answer = http::post_json(address, "/wh/mail", r#"{"event":"sent"}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        latencies.push(since.elapsed());
    }
}

fn median(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() / 2]
}

/// Lets this process have as many descriptors as it may.
fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// Runs an attack some times, and returns the median latency of others during the attack, as a multiple
/// of the usual one.
fn run(test: &str, attack: &Attack, attackers: usize, rounds: usize) -> f64 {
    raise_descriptors();
    let database = Database::named(&format!("{test}_{}", attack.name));
    let collector = Collector::start_with(&database.url(), &["--memory-bytes", &MEMORY.to_string()]);
    let address = collector.address;
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    // The first requests are slower.
    sample(address, &mut Vec::new());
    let idle = collector.peak_memory();
    for _ in 0..rounds {
        sample(address, &mut quiet);
        let held = (attack.begin)(address, attackers);
        sample(address, &mut attacked);
        drop(held);
        wait_for("the end of the attack", || {
            let is_over =
                collector.metric("rowmill_connections_open") < 10 && collector.metric("rowmill_request_bytes") == 0;
            is_over.then_some(())
        });
    }
    let grown = collector.peak_memory() - idle;
    let (quiet, attacked) = (median(&mut quiet), median(&mut attacked));
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
    println!(
        "{}: {attackers} attackers, {attacked:?} instead of {quiet:?} ({ratio:.2}), {} MiB above {} MiB",
        attack.name,
        grown >> 20,
        idle >> 20
    );
    let allowed = MEMORY + attackers as u64 * CONNECTION;
    assert!(grown < allowed, "{}: {} MiB", attack.name, grown >> 20);
    assert_eq!(collector.stop().code, Some(0));
    let events = (2 * rounds + 1) * SAMPLES;
    assert_eq!(
        database.query("SELECT count() FROM mail_statistics WHERE event = 'sent'"),
        format!("{events}\n")
    );
    ratio
}

#[test]
fn others_are_answered_during_each_attack() {
    for attack in &ATTACKS {
        run("attacked", attack, attack.attackers.0, 1);
    }
}

/// Wants a quiet machine, 12 000 descriptors and, with `ROWMILL_PROGRAM`, a release build.
#[test]
#[ignore = "the latencies need a quiet machine"]
fn others_are_answered_within_twice_their_usual_time() {
    let ratios = ATTACKS.map(|attack| (attack.name, run("attacked_long", &attack, attack.attackers.1, 5)));
    for (name, ratio) in ratios {
        assert!(ratio <= 2.0, "{name}: {ratio:.2}");
    }
}
