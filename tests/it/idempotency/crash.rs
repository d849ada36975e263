//! Events that clients send three times each, while the collector is killed: each is one row, and all
//! of its answers are the same.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use super::process::Process;
use crate::support::engine::Database;

const CLIENTS: usize = 8;

/// The number of times that each event is sent.
const TIMES: usize = 3;

/// A generator of test data from a seed.
struct Random(u64);

impl Random {
    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// The note of an event, which its number decides.
fn note(number: usize) -> String {
    format!("{number}-").repeat(number % 40)
}

/// The path, the headers and the body of an event. Half of the events have their key in a header,
/// and half in a column.
fn request(number: usize) -> String {
    let (path, key) = match number % 2 {
        0 => ("header", format!("Idempotency-Key: {number}\r\n")),
        _ => ("column", String::new()),
    };
    let body = format!(
        r#"{{"number":{number},"message_id":"id-{number}","note":"{}"}}"#,
        note(number)
    );
    format!(
        "POST /once/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request, and returns the status and the body of the response; `None` if there is none.
fn exchange(stream: &mut TcpStream, request: &str) -> Option<(u16, String)> {
    stream.write_all(request.as_bytes()).ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 2048]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split_once("content-length: ")?.1;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            if body.len() >= length {
                return Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()));
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The state of a run.
struct Run {
    address: Mutex<SocketAddr>,
    /// The answer to each event.
    answers: Vec<OnceLock<String>>,
    /// The number of requests that got no answer, or a 503, and were sent again.
    retries: AtomicU64,
    sent: AtomicUsize,
}

impl Run {
    /// Sends events until each of them has an answer.
    fn send(&self, numbers: Vec<usize>) {
        let mut stream: Option<TcpStream> = None;
        for number in numbers {
            let request = request(number);
            loop {
                if stream.is_none() {
                    let address = *self.address.lock().unwrap();
                    stream = TcpStream::connect(address).ok();
                    if let Some(stream) = &stream {
                        stream.set_nodelay(true).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    }
                }
                match stream.as_mut().and_then(|stream| exchange(stream, &request)) {
                    Some((200, body)) => {
                        let first = self.answers[number].get_or_init(|| body.clone());
                        assert_eq!(*first, body, "event {number} has two answers");
                        break;
                    }
                    Some((503, _)) => {}
                    Some(other) => panic!("event {number}: {other:?}"),
                    None => stream = None,
                }
                self.retries.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(2));
            }
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends `events` events, and kills the collector `kills` times.
fn run(test: &str, events: usize, kills: usize) {
    let seed = env::var("ROWMILL_CRASH_SEED").map_or_else(
        |_| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            since.as_nanos() as u64
        },
        |seed| seed.parse().unwrap(),
    );
    println!("ROWMILL_CRASH_SEED={seed}");
    let (database, data) = (Database::create(test), tempfile::tempdir().unwrap());
    let mut random = Random(seed);
    // Each event is sent by three clients, in an order of its own.
    let lists: Vec<Vec<usize>> = (0..CLIENTS)
        .map(|client| {
            let is_of_client = |number: &usize| (0..TIMES).any(|time| (number + time * 3) % CLIENTS == client);
            let mut numbers: Vec<_> = (0..events).filter(is_of_client).collect();
            // Neighbours change places, so that an event's requests arrive soon after another.
            for at in 1..numbers.len() {
                numbers.swap(at, at - random.below(16.min(at as u64 + 1)) as usize);
            }
            numbers
        })
        .collect();
    assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), events * TIMES);

    let process = Process::start(&database.url(), data.path());
    let run = Run {
        address: Mutex::new(process.address),
        answers: (0..events).map(|_| OnceLock::new()).collect(),
        retries: AtomicU64::new(0),
        sent: AtomicUsize::new(0),
    };
    let started = Instant::now();
    let process = thread::scope(|scope| {
        let mut process = process;
        let clients: Vec<_> = lists
            .into_iter()
            .map(|list| {
                let run = &run;
                scope.spawn(move || run.send(list))
            })
            .collect();
        for kill in 1..=kills {
            // The kills are spread over the requests.
            let until = events * TIMES * kill / (kills + 1);
            while run.sent.load(Ordering::Relaxed) < until && !clients.iter().all(|client| client.is_finished()) {
                sleep(Duration::from_millis(1));
            }
            sleep(Duration::from_millis(random.below(30)));
            process.kill();
            process = Process::start(&database.url(), data.path());
            *run.address.lock().unwrap() = process.address;
        }
        for client in clients {
            client.join().unwrap();
        }
        process
    });
    let elapsed = started.elapsed();
    process.stop();
    assert_eq!(
        database.query("SELECT count(), uniqExact(number), sum(number), max(message_id != concat('id-', toString(number))) FROM payments"),
        format!("{events}\t{events}\t{}\t0\n", events * (events - 1) / 2)
    );
    let notes =
        database.query("SELECT countIf(note != repeat(concat(toString(number), '-'), number % 40)) FROM payments");
    assert_eq!(notes, "0\n", "the payloads are those that were sent");
    println!(
        "{events} events, {} requests, {} of them sent again, {kills} kills, {elapsed:.0?}",
        events * TIMES,
        run.retries.load(Ordering::Relaxed)
    );
}

#[test]
fn events_that_are_sent_three_times_over_kills_are_one_row_each() {
    run("once_crash", 2_000, 5);
}

#[test]
#[ignore = "takes some minutes"]
fn many_events_that_are_sent_three_times_over_kills_are_one_row_each() {
    run("once_crash_many", 100_000, 40);
}
