//! A proxy between a collector and ClickHouse.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Records all requests, and can drop requests and responses.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    /// The bytes of each connection.
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
    pub loses_answers: Arc<AtomicBool>,
    cut: Arc<Mutex<Cut>>,
    refusal: Arc<Mutex<Option<Refusal>>>,
    changes: Arc<Mutex<Vec<Change>>>,
}

/// The next request that the proxy cuts.
#[derive(Debug, Default)]
struct Cut {
    /// A text of the request.
    text: Option<&'static str>,
    /// Whether ClickHouse gets the request, so that only the response is lost.
    passes: bool,
    is_done: bool,
}

/// Requests that the proxy refuses in ClickHouse's place.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    text: &'static str,
    error: &'static str,
}

/// A text of requests that another one of the same length replaces.
type Change = (&'static str, &'static str);

impl Proxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let loses_answers = Arc::new(AtomicBool::new(false));
        let (cut, refusal) = (Arc::new(Mutex::new(Cut::default())), Arc::new(Mutex::new(None)));
        let changes = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self {
            address,
            seen: Arc::clone(&seen),
            connections: Arc::clone(&connections),
            loses_answers: Arc::clone(&loses_answers),
            cut: Arc::clone(&cut),
            refusal: Arc::clone(&refusal),
            changes: Arc::clone(&changes),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // The server may be away for a while.
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (mut client_in, mut server_in) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (mut client_out, mut server_out) = (client, server);
                let seen = Arc::clone(&seen);
                let connections = Arc::clone(&connections);
                let connection = connections.lock().unwrap().len();
                connections.lock().unwrap().push(Vec::new());
                let loses_answers = Arc::clone(&loses_answers);
                let (cut, refusal) = (Arc::clone(&cut), Arc::clone(&refusal));
                let changes = Arc::clone(&changes);
                let is_cut = Arc::new(AtomicBool::new(false));
                let loses_answer = Arc::clone(&is_cut);
                let cut_of_answers = Arc::clone(&cut);
                let mut client_refused = client_out.try_clone().unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 1 << 16];
                    let mut sent = Vec::new();
                    while let Ok(n @ 1..) = client_in.read(&mut buffer) {
                        seen.lock().unwrap().extend_from_slice(&buffer[..n]);
                        connections.lock().unwrap()[connection].extend_from_slice(&buffer[..n]);
                        sent.extend_from_slice(&buffer[..n]);
                        if let Some(Refusal { text, error }) = *refusal.lock().unwrap()
                            && contains(&sent, text)
                        {
                            let length = error.len();
                            let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n\r\n{error}");
                            let _ = client_refused.write_all(answer.as_bytes());
                            let _ = client_refused.shutdown(Shutdown::Both);
                            break;
                        }
                        let mut cut = cut.lock().unwrap();
                        if cut.text.is_some_and(|text| contains(&sent, text)) {
                            cut.text = None;
                            if !cut.passes {
                                cut.is_done = true;
                                let _ = client_in.shutdown(Shutdown::Both);
                                break;
                            }
                            is_cut.store(true, Ordering::SeqCst);
                        }
                        drop(cut);
                        for (text, other) in &*changes.lock().unwrap() {
                            replace(&mut buffer[..n], text, other);
                        }
                        if server_out.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = server_out.shutdown(Shutdown::Write);
                });
                thread::spawn(move || {
                    let mut buffer = [0; 1 << 16];
                    while let Ok(n @ 1..) = server_in.read(&mut buffer) {
                        if loses_answer.load(Ordering::SeqCst) {
                            cut_of_answers.lock().unwrap().is_done = true;
                            break;
                        }
                        if loses_answers.load(Ordering::SeqCst) {
                            break;
                        }
                        if client_out.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = client_out.shutdown(Shutdown::Both);
                });
            }
        });
        proxy
    }

    /// Cuts the connection of the next request that contains `text`: before ClickHouse gets the
    /// request, or, if it `passes`, when ClickHouse responds.
    pub fn cut(&self, text: &'static str, passes: bool) {
        *self.cut.lock().unwrap() = Cut {
            text: Some(text),
            passes,
            is_done: false,
        };
    }

    /// Waits until the connection of [`cut`](Self::cut) is cut.
    pub fn wait_for_cut(&self) {
        super::wait_for("a cut", || self.cut.lock().unwrap().is_done.then_some(()));
    }

    /// Answers requests that contain `text` with an error of ClickHouse.
    pub fn refuse(&self, text: &'static str, error: &'static str) {
        *self.refusal.lock().unwrap() = Some(Refusal { text, error });
    }

    /// Passes on requests with `other` in place of each `text`, which is as long.
    pub fn change(&self, text: &'static str, other: &'static str) {
        assert_eq!(text.len(), other.len());
        self.changes.lock().unwrap().push((text, other));
    }

    /// Passes on all requests again.
    pub fn accept(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    /// Returns all bytes that clients have sent.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Returns the inserts into a table, each with its target and its body.
    pub fn inserts(&self, table: &str) -> Vec<(String, Vec<u8>)> {
        let insert = format!("query=INSERT+INTO+%60{table}%60");
        let mut inserts = Vec::new();
        for mut bytes in self.connections.lock().unwrap().iter().map(Vec::as_slice) {
            // Only inserts have bodies that could look like another request, and each states its length.
            while let Some(start) = find(bytes, b"POST /") {
                bytes = &bytes[start..];
                let Some(end) = find(bytes, b"\r\n\r\n") else { break };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let target = String::from_utf8_lossy(&bytes[..end]);
                let target = target.split(' ').nth(1).unwrap().to_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                bytes = &bytes[end + 4..];
                if target.contains(&insert) {
                    inserts.push((target, bytes[..length].to_vec()));
                }
                bytes = &bytes[length..];
            }
        }
        inserts
    }

    /// Returns the formats of the inserts into a table.
    pub fn formats(&self, table: &str) -> BTreeSet<String> {
        let (seen, insert) = (self.seen(), format!("INSERT+INTO+%60{table}%60"));
        let inserts = seen.split(&insert).skip(1);
        let formats = inserts.map(|insert| {
            let (_, format) = insert.split_once("FORMAT+").unwrap();
            let end = format.find(|c: char| !c.is_alphanumeric()).unwrap();
            format[..end].to_owned()
        });
        formats.collect()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    find(bytes, text.as_bytes()).is_some()
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn replace(bytes: &mut [u8], text: &str, other: &str) {
    let mut from = 0;
    while let Some(at) = bytes[from..]
        .windows(text.len())
        .position(|window| window == text.as_bytes())
    {
        from += at;
        bytes[from..from + text.len()].copy_from_slice(other.as_bytes());
    }
}
