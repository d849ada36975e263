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

/// Records all requests, and can drop the responses.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    pub loses_answers: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let loses_answers = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            address,
            seen: Arc::clone(&seen),
            loses_answers: Arc::clone(&loses_answers),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                    return;
                };
                let (mut client_in, mut server_in) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (mut client_out, mut server_out) = (client, server);
                let seen = Arc::clone(&seen);
                let loses_answers = Arc::clone(&loses_answers);
                thread::spawn(move || {
                    let mut buffer = [0; 1 << 16];
                    while let Ok(n @ 1..) = client_in.read(&mut buffer) {
                        seen.lock().unwrap().extend_from_slice(&buffer[..n]);
                        if server_out.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = server_out.shutdown(Shutdown::Write);
                });
                thread::spawn(move || {
                    let mut buffer = [0; 1 << 16];
                    while let Ok(n @ 1..) = server_in.read(&mut buffer) {
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

    /// Returns all bytes that clients have sent.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
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
