//! One thread that keeps connections busy and times the answers.
//!
//! Closed: each connection sends its next request when it has its answer, so that the server is
//! never idle. Open: requests are due at a fixed rate, independent of the server, and each is timed
//! from its due time, not from when it could be sent. A server that pauses is therefore charged for
//! all requests that fall due meanwhile, which avoids "coordinated omission".
//!
//! The loop costs a read, a write and a share of one `epoll_wait` per request, about as much as
//! `wrk`. Each run measures whether the loop, and not the server, is the bottleneck: see
//! [`Outcome::load_cpu`].

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    num::NonZeroU64,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    thread::set_current_timer_slack,
    time::{ClockId, clock_gettime},
};

use crate::{Failure, answer::Answer, events::Requests, histogram::Histogram};

/// The time limit for the server to accept a connection, and to read a request.
const SEND_WITHIN: Duration = Duration::from_secs(20);

/// The time limit for the remaining answers after the last request is sent.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Shorter sleeps end late; the loop polls instead.
const SHORTEST_SLEEP: Duration = Duration::from_micros(5);

/// The header with the acknowledgement of an event.
const ACK: &str = "x-rowmill-ack";

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as a connection is free.
    Closed,
    /// At a fixed rate, in requests per second.
    Open(f64),
}

/// One load: requests, their target, their pace and their duration.
#[derive(Debug, Clone, Copy)]
pub struct Load<'r> {
    /// The server's address.
    pub address: SocketAddr,
    /// The requests.
    pub requests: &'r Requests,
    /// The number of the first request.
    pub first: u64,
    /// Concurrent keep-alive connections.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// Duration before the measurement.
    pub warm_up: Duration,
    /// Duration of the measurement.
    pub measured: Duration,
}

/// The result of a load.
#[derive(Debug)]
pub struct Outcome<S> {
    /// Samples at the start and at the end of the measurement.
    pub samples: (S, S),
    /// The actual length of the measurement.
    pub elapsed: Duration,
    /// Latencies of the answers within the measurement.
    pub latency: Histogram,
    /// CPU time of the load generator within the measurement. If it equals
    /// [`elapsed`](Self::elapsed), the load generator was the bottleneck.
    pub load_cpu: Duration,
    /// Requests that were sent before, within and after the measurement.
    pub sent: u64,
    /// Requests that were answered with 2xx or 3xx.
    pub accepted: u64,
    /// Requests that were answered with any other status, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// The acknowledgement in the first answer.
    pub ack: Option<String>,
}

impl<S> Outcome<S> {
    /// Returns answers per second.
    pub fn per_second(&self) -> f64 {
        self.latency.count() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load<'_> {
    /// Runs the load on the calling thread, and calls `sample` at the start and at the end of the
    /// measurement.
    ///
    /// # Errors
    /// If the server cannot be reached, or its answer is not HTTP.
    pub fn run<S>(&self, mut sample: impl FnMut() -> Result<S, Failure>) -> Result<Outcome<S>, Failure> {
        let mut running = self.start()?;
        running.phase(self.warm_up)?;

        let before = (sample()?, thread_cpu(), Instant::now());
        let latency = running.phase(self.measured)?;
        let (elapsed, load_cpu) = (before.2.elapsed(), thread_cpu() - before.1);
        let samples = (before.0, sample()?);
        let Totals {
            sent,
            accepted,
            refused,
            unanswered,
            ack,
            ..
        } = running.finish()?;
        Ok(Outcome {
            samples,
            elapsed,
            latency,
            load_cpu,
            sent,
            accepted,
            refused,
            unanswered,
            ack,
        })
    }

    /// Connects, for phases that the caller ends; `warm_up` and `measured` are ignored.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn start(&self) -> Result<Running<'_>, Failure> {
        // With the default timer slack, the kernel may end each sleep 50 µs late.
        set_current_timer_slack(NonZeroU64::new(1))?;
        Ok(Running(Wire::connect(self)?))
    }
}

/// A running load, which keeps its connections through all of its phases.
#[derive(Debug)]
pub struct Running<'r>(Wire<'r>);

impl Running<'_> {
    /// Continues for `length`, and returns the latencies of the answers within that time.
    ///
    /// # Errors
    /// If the server closes a connection, or its answer is not HTTP.
    pub fn phase(&mut self, length: Duration) -> Result<Histogram, Failure> {
        self.0.latency = Histogram::default();
        self.0.run_until(Instant::now() + length)?;
        Ok(mem::take(&mut self.0.latency))
    }

    /// Stops sending, reads the remaining answers, and returns the totals of all phases.
    ///
    /// # Errors
    /// As for [`phase`](Self::phase).
    pub fn finish(self) -> Result<Totals, Failure> {
        let mut wire = self.0;
        wire.finish()?;
        let sent = wire.next - wire.load.first;
        Ok(Totals {
            sent,
            accepted: wire.accepted,
            unanswered: sent - wire.accepted - wire.refused_numbers.len() as u64,
            refused: wire.refused,
            refused_numbers: wire.refused_numbers,
            ack: wire.ack,
        })
    }
}

/// Counts of all requests of a load.
#[derive(Debug)]
pub struct Totals {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were answered with 2xx or 3xx.
    pub accepted: u64,
    /// Requests that were answered with any other status, by status.
    pub refused: BTreeMap<u16, u64>,
    /// The numbers of the requests in `refused`.
    pub refused_numbers: Vec<u64>,
    /// Requests that were sent and have no answer.
    pub unanswered: u64,
    /// The acknowledgement in the first answer.
    pub ack: Option<String>,
}

/// The connections.
#[derive(Debug)]
struct Wire<'r> {
    load: &'r Load<'r>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections without a request under way, used in turn so that none stays idle for long.
    idle: VecDeque<usize>,
    is_stopping: bool,
    under_way: usize,
    /// The number of the next request.
    next: u64,
    /// When the next request is due.
    due: Instant,
    gap: Duration,
    latency: Histogram,
    accepted: u64,
    refused: BTreeMap<u16, u64>,
    refused_numbers: Vec<u64>,
    ack: Option<String>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The number of the last request, and its due time.
    number: u64,
    due: Instant,
    answer: Vec<u8>,
}

impl<'r> Wire<'r> {
    fn connect(load: &'r Load<'r>) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = Instant::now();
        let mut connections = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let stream = TcpStream::connect_timeout(&load.address, SEND_WITHIN)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(
                &epoll,
                &stream,
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )?;
            connections.push(Connection {
                stream,
                number: load.first,
                due: now,
                answer: Vec::new(),
            });
        }
        Ok(Self {
            load,
            epoll,
            idle: (0..connections.len()).collect(),
            connections,
            is_stopping: false,
            under_way: 0,
            next: load.first,
            due: Instant::now(),
            gap: match load.pace {
                Pace::Closed => Duration::ZERO,
                Pace::Open(per_second) => Duration::from_secs_f64(1.0 / per_second),
            },
            latency: Histogram::default(),
            accepted: 0,
            refused: BTreeMap::new(),
            refused_numbers: Vec::new(),
            ack: None,
            request: Vec::new(),
        })
    }

    /// Sends and reads until `end`.
    fn run_until(&mut self, end: Instant) -> Result<(), Failure> {
        let mut events = Vec::with_capacity(256);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let now = self.send_due()?;
            if now >= end {
                return Ok(());
            }
            let until = if self.is_stopping || self.idle.is_empty() {
                end
            } else {
                self.due.min(end)
            };
            let wait = match until.saturating_duration_since(now) {
                short if short < SHORTEST_SLEEP => Timespec::default(),
                wait => Timespec::try_from(wait)?,
            };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                self.read(event.data.u64() as usize, &mut chunk)?;
                // Send now: a server that has answered everything would otherwise wait until all
                // answers are read.
                self.send_due()?;
            }
            if self.is_stopping && self.under_way == 0 {
                return Ok(());
            }
        }
    }

    /// Stops sending and reads the remaining answers.
    fn finish(&mut self) -> Result<(), Failure> {
        self.is_stopping = true;
        if self.under_way > 0 {
            self.run_until(Instant::now() + LAST_ANSWERS_WITHIN)?;
        }
        Ok(())
    }

    /// Sends the requests that are due while there are idle connections, and returns the current
    /// time.
    fn send_due(&mut self) -> Result<Instant, Failure> {
        loop {
            let now = Instant::now();
            if self.is_stopping || self.idle.is_empty() || self.due > now {
                return Ok(now);
            }
            self.send_next(now)?;
        }
    }

    /// Sends the next request on an idle connection.
    fn send_next(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(index) = self.idle.pop_front() else {
            return Ok(());
        };
        let due = match self.load.pace {
            Pace::Closed => now,
            Pace::Open(_) => self.due,
        };
        self.due += self.gap;
        self.load.requests.write(self.next, &mut self.request);
        let connection = &mut self.connections[index];
        connection.number = self.next;
        self.next += 1;
        self.under_way += 1;
        connection.due = due;
        send(&mut connection.stream, &self.request)
    }

    /// Reads the received bytes; a complete answer makes the connection idle again.
    fn read(&mut self, index: usize, chunk: &mut [u8]) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let len = match connection.stream.read(chunk) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(format!("a connection is broken: {error}").into()),
        };
        // An answer that arrives in one piece, as most do, is parsed without a copy.
        let bytes = if connection.answer.is_empty() {
            &chunk[..len]
        } else {
            connection.answer.extend_from_slice(&chunk[..len]);
            &connection.answer
        };
        let Some(answer) =
            Answer::parse(bytes).map_err(|_| format!("no answer: {:?}", bytes.escape_ascii().to_string()))?
        else {
            if connection.answer.is_empty() {
                connection.answer.extend_from_slice(&chunk[..len]);
            }
            return Ok(());
        };
        if answer.len != bytes.len() {
            return Err("the server has sent more than one answer to a request".into());
        }
        self.latency.record(connection.due.elapsed());
        if (200..400).contains(&answer.status) {
            if self.accepted == 0 {
                self.ack = answer.header(ACK).map(str::to_owned);
            }
            self.accepted += 1;
        } else {
            *self.refused.entry(answer.status).or_default() += 1;
            self.refused_numbers.push(connection.number);
        }
        connection.answer.clear();
        self.under_way -= 1;
        self.idle.push_back(index);
        Ok(())
    }
}

/// Sends a whole request. Its connection is idle, so the kernel buffers it at once unless it is
/// very large.
fn send(stream: &mut TcpStream, mut request: &[u8]) -> Result<(), Failure> {
    let mut blocked = None;
    while !request.is_empty() {
        match stream.write(request) {
            Ok(len) => request = &request[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if blocked.get_or_insert_with(Instant::now).elapsed() > SEND_WITHIN {
                    return Err("the server does not read a request".into());
                }
                thread::yield_now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("a request was not sent: {error}")).into()),
        }
    }
    Ok(())
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::events::Kind;

    /// Serves `connections` connections, each on a thread, until they are closed. `status` gets the
    /// number of the request on its connection.
    fn serve(connections: usize, status: fn(usize) -> u16) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for mut stream in listener.incoming().take(connections).flatten() {
                thread::spawn(move || {
                    let mut chunk = [0; 4096];
                    let mut number = 0;
                    // A pixel's request arrives in one piece.
                    while stream.read(&mut chunk).is_ok_and(|len| len > 0) {
                        let status = status(number);
                        number += 1;
                        let _ = write!(
                            stream,
                            "HTTP/1.1 {status} \r\ncontent-length: 2\r\nX-Rowmill-Ack: a\r\n\r\n"
                        )
                        .and_then(|()| stream.write_all(b"ok"));
                    }
                });
            }
        });
        Ok(address)
    }

    fn load(address: SocketAddr, requests: &Requests, connections: usize, pace: Pace) -> Load<'_> {
        Load {
            address,
            requests,
            first: 5,
            connections,
            pace,
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(1),
        }
    }

    #[test]
    fn every_request_is_accounted_for() -> Result<(), Failure> {
        let requests = Requests::generate(Kind::Pixel, 10)?;
        let address = serve(3, |number| if number % 2 == 1 { 503 } else { 200 })?;
        let outcome = load(address, &requests, 3, Pace::Closed).run(|| Ok(()))?;
        assert_eq!(outcome.refused.keys().collect::<Vec<_>>(), [&503]);
        assert!(outcome.accepted > 0 && outcome.accepted.abs_diff(outcome.refused[&503]) <= 3);
        assert_eq!(outcome.sent, outcome.accepted + outcome.refused[&503]);
        assert_eq!((outcome.unanswered, outcome.ack.as_deref()), (0, Some("a")));
        Ok(())
    }

    #[test]
    fn an_open_load_counts_the_delay_of_a_paused_server() -> Result<(), Failure> {
        const STOP: Duration = Duration::from_millis(300);
        let stops = |number| {
            if number == 0 {
                thread::sleep(STOP);
            }
            200
        };
        let requests = Requests::generate(Kind::Pixel, 10)?;
        let outcome = load(serve(1, stops)?, &requests, 1, Pace::Open(1_000.0)).run(|| Ok(()))?;
        // The load sends at most 1001 requests; the 150 that fall due in the first half of the stop
        // wait for longer than its second half.
        assert!(outcome.sent <= 1_001, "{}", outcome.sent);
        let p86 = outcome.latency.quantile(0.86);
        assert!(p86 >= STOP / 2, "{p86:?}");
        Ok(())
    }
}
