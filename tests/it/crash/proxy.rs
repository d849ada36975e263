//! A proxy between collector and ClickHouse that cuts their connection on request, and only during
//! an insert.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Text that the head of each insert contains, and no other request.
const INSERT: &[u8] = b"insert_deduplication_token";

/// Text before the table's name in an insert.
const TABLE: &[u8] = b"INSERT+INTO+%60";

/// The position at which the next insert's connection is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// ClickHouse gets a part of the request. With `is_late`, the first piece passes, which
    /// contains at least most of the head. `cut_at` modulo the length of the piece is the number of
    /// bytes that pass.
    Request { is_late: bool, cut_at: u64 },
    /// ClickHouse gets the whole request, and the collector a part of the answer, possibly empty.
    Answer { cut_at: u64 },
}

/// The running proxy, which ends with the process.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while ClickHouse does not run.
    to: Mutex<Option<SocketAddr>>,
    cut: Mutex<Option<Cut>>,
    /// The number of connections that could not be forwarded.
    refused: AtomicU64,
    /// The number of requests that the collector gave up before an answer came.
    given_up: AtomicU64,
    /// The inserts by table.
    inserts: Mutex<HashMap<String, Inserts>>,
    has_insert: Condvar,
}

/// Counters of a table's inserts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inserts {
    /// The number of inserts that have begun.
    pub begun: u64,
    /// The number of inserts without an answer whose connection is still open.
    pub unanswered: u64,
    /// The duration of the last answered insert.
    pub took: Duration,
}

/// The shared state of the two directions of a connection.
#[derive(Debug, Default)]
struct Link {
    is_inserting: AtomicBool,
    /// The table and the start of the unanswered insert.
    insert: Mutex<Option<(String, Instant)>>,
    is_unanswered: AtomicBool,
    is_over: AtomicBool,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        *state.to.lock().unwrap() = Some(to);
        let proxy = Self {
            address,
            state: Arc::clone(&state),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = *state.to.lock().unwrap();
                let Some(server) = to.and_then(|to| TcpStream::connect(to).ok()) else {
                    state.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                pass_on(client, server, &state);
            }
        });
        proxy
    }

    /// Sets the address of ClickHouse, or `None` while it does not run.
    pub fn set_server(&self, to: Option<SocketAddr>) {
        *self.state.to.lock().unwrap() = to;
    }

    /// Returns the address of ClickHouse.
    pub fn server(&self) -> Option<SocketAddr> {
        *self.state.to.lock().unwrap()
    }

    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::SeqCst)
    }

    pub fn given_up(&self) -> u64 {
        self.state.given_up.load(Ordering::SeqCst)
    }

    /// Returns the counters of the inserts into a table.
    pub fn inserts(&self, table: &str) -> Inserts {
        self.state
            .inserts
            .lock()
            .unwrap()
            .get(table)
            .copied()
            .unwrap_or_default()
    }

    /// Waits up to 100 ms until more than `known` inserts into a table have begun, and returns
    /// whether they have.
    pub fn wait_for_insert(&self, table: &str, known: u64) -> bool {
        let is_known =
            |inserts: &mut HashMap<String, Inserts>| inserts.get(table).is_none_or(|inserts| inserts.begun <= known);
        let inserts = self.state.inserts.lock().unwrap();
        let wait = Duration::from_millis(100);
        let (_inserts, waited) = self
            .state
            .has_insert
            .wait_timeout_while(inserts, wait, is_known)
            .unwrap();
        !waited.timed_out()
    }

    /// Cuts the next insert.
    pub fn cut(&self, cut: Cut) {
        *self.state.cut.lock().unwrap() = Some(cut);
    }

    /// Takes a requested cut back.
    pub fn clear_cut(&self) {
        *self.state.cut.lock().unwrap() = None;
    }

    /// Returns whether a requested cut is still pending.
    pub fn has_pending_cut(&self) -> bool {
        self.state.cut.lock().unwrap().is_some()
    }
}

fn pass_on(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let link = Arc::new(Link::default());
    let (up, down) = ((Arc::clone(state), Arc::clone(&link)), (Arc::clone(state), link));
    thread::spawn(move || requests(client_in, server, &up.0, &up.1));
    thread::spawn(move || answers(server_in, client, &down.0, &down.1));
}

fn requests(mut from: TcpStream, mut to: TcpStream, state: &State, link: &Link) {
    let mut buffer = [0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let piece = &buffer[..n];
        let is_first = piece.windows(INSERT.len()).any(|window| window == INSERT);
        if is_first {
            link.is_inserting.store(true, Ordering::SeqCst);
            state.begin_insert(link, piece);
        }
        link.is_unanswered.store(true, Ordering::SeqCst);
        if link.is_inserting.load(Ordering::SeqCst)
            && let Some(part) = state.part_of_request(n, is_first)
        {
            let _ = to.write_all(&piece[..part]);
            link.end(&from, &to);
            return;
        }
        if to.write_all(piece).is_err() {
            break;
        }
    }
    // A client that closes before it has an answer has given up, unless the other side closed
    // first.
    if link.is_unanswered.load(Ordering::SeqCst) && !link.is_over.load(Ordering::SeqCst) {
        state.given_up.fetch_add(1, Ordering::SeqCst);
    }
    state.end_insert(link, false);
    link.end(&from, &to);
}

fn answers(mut from: TcpStream, mut to: TcpStream, state: &State, link: &Link) {
    let mut buffer = [0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if link.is_inserting.swap(false, Ordering::SeqCst)
            && let Some(part) = state.part_of_answer(n)
        {
            let _ = to.write_all(&buffer[..part]);
            break;
        }
        link.is_unanswered.store(false, Ordering::SeqCst);
        state.end_insert(link, true);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    state.end_insert(link, false);
    link.end(&from, &to);
}

impl State {
    fn begin_insert(&self, link: &Link, head: &[u8]) {
        let Some(at) = head.windows(TABLE.len()).position(|window| window == TABLE) else {
            return;
        };
        let table = head[at + TABLE.len()..].split(|byte| *byte == b'%').next();
        let table = String::from_utf8_lossy(table.unwrap_or_default()).into_owned();
        let mut inserts = self.inserts.lock().unwrap();
        let known = inserts.entry(table.clone()).or_default();
        known.begun += 1;
        known.unanswered += 1;
        *link.insert.lock().unwrap() = Some((table, Instant::now()));
        self.has_insert.notify_all();
    }

    fn end_insert(&self, link: &Link, is_answered: bool) {
        let Some((table, since)) = link.insert.lock().unwrap().take() else {
            return;
        };
        let mut inserts = self.inserts.lock().unwrap();
        let known = inserts.entry(table).or_default();
        known.unanswered -= 1;
        if is_answered {
            known.took = since.elapsed();
        }
    }

    /// Returns how many bytes of an insert's piece pass if a cut is due.
    fn part_of_request(&self, length: usize, is_first: bool) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap();
        match *cut {
            Some(Cut::Request { is_late, cut_at }) if !(is_late && is_first) => {
                *cut = None;
                Some(cut_at as usize % length)
            }
            _ => None,
        }
    }

    /// Returns how many bytes of an insert's answer pass if a cut is due.
    fn part_of_answer(&self, length: usize) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap();
        match *cut {
            Some(Cut::Answer { cut_at }) => {
                *cut = None;
                Some(cut_at as usize % length)
            }
            // The request was in one piece, so cut the first piece of the next one.
            Some(Cut::Request { is_late: true, cut_at }) => {
                *cut = Some(Cut::Request { is_late: false, cut_at });
                None
            }
            _ => None,
        }
    }
}

impl Link {
    fn end(&self, from: &TcpStream, to: &TcpStream) {
        self.is_over.store(true, Ordering::SeqCst);
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
