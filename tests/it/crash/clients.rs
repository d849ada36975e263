//! Clients that send numbered events as fast as the collector answers, each number once, and record
//! the acknowledged ones.

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

use super::event::Target;

/// The number of concurrent connections.
const CLIENTS: usize = 8;

/// One in this many requests of a target asks for the acknowledgement `stored`, if the clients may
/// ask.
const STORED_EVERY: u64 = 32;

#[derive(Debug)]
pub struct Clients {
    threads: Vec<JoinHandle<Vec<Acknowledged>>>,
    shared: Arc<Shared>,
}

/// How clients send.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// The pause of each client after an answer.
    pub pause: Duration,
    /// Whether some requests ask for the acknowledgement `stored`.
    pub may_ask: bool,
    /// The acknowledgement of the other requests.
    pub ack: &'static str,
    /// Whether a balancer is between clients and collectors, whose own answers are no
    /// acknowledgement.
    pub is_balanced: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            pause: Duration::ZERO,
            may_ask: false,
            ack: "spooled",
            is_balanced: false,
        }
    }
}

#[derive(Debug)]
struct Shared {
    targets: Vec<Target>,
    /// The address of each collector; `None` while it does not run.
    addresses: Vec<Mutex<Option<SocketAddr>>>,
    sending: Sending,
    /// The next number of each target.
    next: Vec<AtomicU64>,
    acknowledged: AtomicU64,
    unavailable: AtomicU64,
    failed: AtomicU64,
    is_stopped: AtomicBool,
}

/// An event that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    /// The index of its target.
    pub target: usize,
    pub number: u64,
    /// The row's id, if the answer contains it.
    pub id: Option<u64>,
}

/// The record of the clients after they have stopped.
#[derive(Debug)]
pub struct Sent {
    pub targets: Vec<Target>,
    /// For each target, the clients sent every number below this one.
    pub below: Vec<u64>,
    pub acknowledged: Vec<Acknowledged>,
}

impl Sent {
    /// Returns the record of these clients and of those that were started after them.
    pub fn followed_by(mut self, mut more: Self) -> Self {
        more.acknowledged.append(&mut self.acknowledged);
        more
    }
}

impl Clients {
    /// Starts clients of one collector that do not pause and do not ask for acknowledgements.
    pub fn start(address: SocketAddr, targets: &[Target]) -> Self {
        Self::start_with(&[address], targets, Sending::default())
    }

    /// Starts clients of several collectors.
    pub fn start_with(addresses: &[SocketAddr], targets: &[Target], sending: Sending) -> Self {
        Self::start_from(&vec![0; targets.len()], addresses, targets, sending)
    }

    /// Starts clients whose numbers follow those that others have sent.
    pub fn start_after(sent: &Sent, addresses: &[SocketAddr], sending: Sending) -> Self {
        Self::start_from(&sent.below, addresses, &sent.targets, sending)
    }

    fn start_from(first: &[u64], addresses: &[SocketAddr], targets: &[Target], sending: Sending) -> Self {
        let shared = Arc::new(Shared {
            targets: targets.to_vec(),
            addresses: addresses.iter().map(|address| Mutex::new(Some(*address))).collect(),
            sending,
            next: first.iter().map(|first| AtomicU64::new(*first)).collect(),
            acknowledged: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let threads = (0..CLIENTS.max(addresses.len())).map(|place| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(&shared, place))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// Sets the address of a collector, or `None` while it does not run.
    pub fn set_address(&self, collector: usize, address: Option<SocketAddr>) {
        *self.shared.addresses[collector].lock().unwrap() = address;
    }

    /// Returns how many events were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Returns how many requests got a 503 with `Retry-After`.
    pub fn unavailable(&self) -> u64 {
        self.shared.unavailable.load(Ordering::SeqCst)
    }

    /// Returns how many requests got no answer of a collector.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::SeqCst)
    }

    pub fn stop(self) -> Sent {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let acknowledged = self.threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let acknowledged = acknowledged.collect();
        Sent {
            targets: self.shared.targets.clone(),
            below: self
                .shared
                .next
                .iter()
                .map(|next| next.load(Ordering::SeqCst))
                .collect(),
            acknowledged,
        }
    }
}

/// Sends to one collector, and to the targets in turn. The client's `place` selects the collector
/// and the first target.
fn run(shared: &Shared, place: usize) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let mut connection = None;
    let address = &shared.addresses[place % shared.addresses.len()];
    let mut turn = place;
    while !shared.is_stopped.load(Ordering::SeqCst) {
        if connection.is_none() {
            let address = *address.lock().unwrap();
            connection = address.and_then(|address| Connection::open(address).ok());
        }
        let Some(open) = connection.as_mut() else {
            // The collector does not run at the moment.
            sleep(Duration::from_millis(2));
            continue;
        };
        turn += 1;
        let at = turn % shared.targets.len();
        let target = &shared.targets[at];
        let first = shared.next[at].fetch_add(target.lines, Ordering::SeqCst);
        let requested_ack =
            (shared.sending.may_ask && (first / target.lines).is_multiple_of(STORED_EVERY)).then_some("stored");
        match open.send(target, first, requested_ack, &shared.sending) {
            Ok(Answer::Kept(id)) => {
                acknowledged.extend((first..first + target.lines).map(|number| Acknowledged {
                    target: at,
                    number,
                    id,
                }));
                shared.acknowledged.fetch_add(target.lines, Ordering::SeqCst);
            }
            Ok(Answer::Unavailable) => {
                shared.unavailable.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(2));
            }
            // The event may have arrived or not; the client has no acknowledgement.
            Err(_) => {
                shared.failed.fetch_add(1, Ordering::SeqCst);
                connection = None;
            }
        }
        sleep(shared.sending.pause);
    }
    acknowledged
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The rows are on disk or in their table. The id is set for a single event only.
    Kept(Option<u64>),
    Unavailable,
}

/// A persistent connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one request with the target's events from the number `first` on.
    fn send(
        &mut self,
        target: &Target,
        first: u64,
        requested_ack: Option<&str>,
        sending: &Sending,
    ) -> io::Result<Answer> {
        let path = target.path;
        let (kind, body) = match target.lines {
            1 => ("json", target.json(first)),
            lines => {
                let lines = (first..first + lines).map(|number| target.json(number) + "\n");
                ("x-ndjson", lines.collect())
            }
        };
        let ack = requested_ack.map_or_else(String::new, |ack| format!("X-Rowmill-Ack: {ack}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n{ack}Content-Length: {}\r\n\r\n{body}",
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
            (Some("200"), Some(ack), _) if ack == requested_ack.unwrap_or(sending.ack) => {
                Ok(Answer::Kept(id(target, &body)))
            }
            // ClickHouse was unavailable for too long. The row is on disk, so the client must not
            // send it again.
            (Some("503"), Some("spooled"), _) if requested_ack == Some("stored") => Ok(Answer::Kept(None)),
            (Some("503"), _, Some(_)) => Ok(Answer::Unavailable),
            // The balancer found no collector, or lost it before its answer.
            (Some("502" | "503" | "504"), None, None) if sending.is_balanced => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            _ => panic!("an unexpected answer: {head}{}", String::from_utf8_lossy(&body)),
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

/// Returns the id in an answer. Checks that an answer to several lines counts all of them.
fn id(target: &Target, body: &[u8]) -> Option<u64> {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
    if target.lines > 1 {
        assert_eq!(answer["recorded"], target.lines, "{answer}");
        return None;
    }
    answer["id"].as_str().map(|id| id.parse().unwrap())
}
