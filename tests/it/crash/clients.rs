//! Clients that send numbered events as fast as they are answered, each number once, and remember which were acknowledged.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

/// Connections at a time.
const CLIENTS: usize = 8;

/// A route whose events carry a number.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub path: &'static str,
    /// The key of the number in the event.
    pub key: &'static str,
    /// The length of another value.
    pub padding: usize,
}

#[derive(Debug)]
pub struct Clients {
    threads: Vec<JoinHandle<Vec<u64>>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    targets: Vec<Target>,
    /// None while nobody is there.
    address: Mutex<Option<SocketAddr>>,
    next: AtomicU64,
    acknowledged: AtomicU64,
    unavailable: AtomicU64,
    is_stopped: AtomicBool,
}

/// What the clients know when they have stopped.
#[derive(Debug)]
pub struct Sent {
    /// All numbers below were sent, to the target whose place is the rest of their division by the number of targets.
    pub below: u64,
    pub acknowledged: Vec<u64>,
}

impl Clients {
    pub fn start(address: SocketAddr, targets: &[Target]) -> Self {
        let shared = Arc::new(Shared {
            targets: targets.to_vec(),
            address: Mutex::new(Some(address)),
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let threads = (0..CLIENTS).map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(&shared))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// Says where the collector is from now on, if it is anywhere.
    pub fn lead_to(&self, address: Option<SocketAddr>) {
        *self.shared.address.lock().unwrap() = address;
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Returns how many were told to come again later.
    pub fn unavailable(&self) -> u64 {
        self.shared.unavailable.load(Ordering::SeqCst)
    }

    pub fn stop(self) -> Sent {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let acknowledged = self.threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let acknowledged = acknowledged.collect();
        Sent {
            below: self.shared.next.load(Ordering::SeqCst),
            acknowledged,
        }
    }
}

fn run(shared: &Shared) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut connection = None;
    while !shared.is_stopped.load(Ordering::SeqCst) {
        if connection.is_none() {
            let address = *shared.address.lock().unwrap();
            connection = address.and_then(|address| Connection::open(address).ok());
        }
        let Some(open) = connection.as_mut() else {
            // Nobody is there just now.
            sleep(Duration::from_millis(2));
            continue;
        };
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let target = &shared.targets[number as usize % shared.targets.len()];
        match open.send(target, number) {
            Ok(Answer::Spooled) => {
                acknowledged.push(number);
                shared.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Answer::Unavailable) => {
                shared.unavailable.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(2));
            }
            // It may have come or not: nobody was told.
            Err(_) => connection = None,
        }
    }
    acknowledged
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Spooled,
    Unavailable,
}

/// A connection that is kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn send(&mut self, target: &Target, number: u64) -> io::Result<Answer> {
        let &Target { path, key, padding } = target;
        let padding = "x".repeat(padding);
        let body = format!(r#"{{"{key}":"{number}","detailed":"{padding}"}}"#);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let head = self.head()?;
        let header = |name: &str| {
            let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            headers
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let status = head.split(' ').nth(1);
        match (status, header("x-rowmill-ack"), header("retry-after")) {
            (Some("200"), Some("spooled"), _) => Ok(Answer::Spooled),
            (Some("503"), _, Some(_)) => Ok(Answer::Unavailable),
            _ => panic!("an answer that nobody was promised: {head}"),
        }
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }
}
