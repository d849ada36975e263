//! A proxy between collector and ClickHouse that cuts their connection when it is told to, and only in the middle of an insert.

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

/// What is in the head of each insert, and of nothing else.
const INSERT: &[u8] = b"insert_deduplication_token";

/// What is before the name of an insert's table.
const TABLE: &[u8] = b"INSERT+INTO+%60";

/// Where the next insert's connection is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// ClickHouse gets a part of the request. `is_late` lets the first piece of it pass, which is most of the head at least;
    /// `roll` says where the piece is cut.
    Request { is_late: bool, roll: u64 },
    /// ClickHouse gets all of the request, and the collector a part of the answer, or nothing of it.
    Answer { roll: u64 },
}

/// The running proxy; it ends with the process.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None while ClickHouse is away.
    to: Mutex<Option<SocketAddr>>,
    cut: Mutex<Option<Cut>>,
    /// Connections that could not be passed on.
    refused: AtomicU64,
    /// Requests that the collector gave up before there was an answer.
    given_up: AtomicU64,
    /// The inserts into each table.
    inserts: Mutex<HashMap<String, Inserts>>,
    has_insert: Condvar,
}

/// What is known of a table's inserts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inserts {
    /// How many have begun.
    pub begun: u64,
    /// How many of them have no answer yet, and a connection.
    pub unanswered: u64,
    /// How long the last one with an answer took.
    pub took: Duration,
}

/// What the two directions of one connection know of each other.
#[derive(Debug, Default)]
struct Link {
    is_inserting: AtomicBool,
    /// The table of the insert that has no answer yet, and when it began.
    insert: Mutex<Option<(String, Instant)>>,
    has_no_answer: AtomicBool,
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

    /// Says where ClickHouse is from now on, if it is anywhere.
    pub fn lead_to(&self, to: Option<SocketAddr>) {
        *self.state.to.lock().unwrap() = to;
    }

    /// Returns where ClickHouse is.
    pub fn leads_to(&self) -> Option<SocketAddr> {
        *self.state.to.lock().unwrap()
    }

    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::SeqCst)
    }

    pub fn given_up(&self) -> u64 {
        self.state.given_up.load(Ordering::SeqCst)
    }

    /// Returns what is known of the inserts into a table.
    pub fn inserts(&self, table: &str) -> Inserts {
        self.state
            .inserts
            .lock()
            .unwrap()
            .get(table)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until more inserts into a table have begun than were known; not for long.
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

    /// Returns whether a cut that was asked for is still to come.
    pub fn is_to_cut(&self) -> bool {
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
        link.has_no_answer.store(true, Ordering::SeqCst);
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
    // Whoever waits for an answer and closes has given up, unless it was the other side that closed.
    if link.has_no_answer.load(Ordering::SeqCst) && !link.is_over.load(Ordering::SeqCst) {
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
        link.has_no_answer.store(false, Ordering::SeqCst);
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

    /// Returns how much of a piece of an insert goes on, if it is to be cut.
    fn part_of_request(&self, length: usize, is_first: bool) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap();
        match *cut {
            Some(Cut::Request { is_late, roll }) if !(is_late && is_first) => {
                *cut = None;
                Some(roll as usize % length)
            }
            _ => None,
        }
    }

    /// Returns how much of an insert's answer goes on, if it is to be cut.
    fn part_of_answer(&self, length: usize) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap();
        match *cut {
            Some(Cut::Answer { roll }) => {
                *cut = None;
                Some(roll as usize % length)
            }
            // The request was in one piece: the next one is cut in its first.
            Some(Cut::Request { is_late: true, roll }) => {
                *cut = Some(Cut::Request { is_late: false, roll });
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
