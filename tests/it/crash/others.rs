//! Other writers, whose inserts push the collectors' blocks out of the tables' deduplication
//! windows.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use super::proxy::Proxy;
use crate::support::engine::Database;

/// The `service` of the other writers' rows.
pub const SERVICE: &str = "others";

/// The pause after each insert.
const PAUSE: Duration = Duration::from_millis(10);

/// A thread that inserts into each table in turn. It ends when this value is dropped.
#[derive(Debug)]
pub struct OtherWriters {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inserts: AtomicU64,
    is_stopped: AtomicBool,
}

impl OtherWriters {
    /// Starts the thread. It connects directly to the server behind `proxy`.
    pub fn start(tables: &'static [&'static str], database: &Database, proxy: &Proxy) -> Self {
        let shared = Arc::new(Shared::default());
        let (mut database, proxy, state) = (database.clone(), proxy.clone(), Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let mut number = 0_u64;
            while !state.is_stopped.load(Ordering::SeqCst) && !tables.is_empty() {
                number += 1;
                let table = tables[number as usize % tables.len()];
                let sql = format!("INSERT INTO {table} (service, uid) VALUES ('{SERVICE}', {number})");
                if let Some(server) = proxy.server() {
                    database.engine = server;
                    // A server that is killed meanwhile is not an error.
                    let is_confirmed = insert(&database, &sql).unwrap_or(false);
                    state.inserts.fetch_add(u64::from(is_confirmed), Ordering::SeqCst);
                }
                sleep(PAUSE);
            }
        });
        Self {
            thread: Some(thread),
            shared,
        }
    }

    /// Returns how many inserts ClickHouse has confirmed.
    pub fn inserts(&self) -> u64 {
        self.shared.inserts.load(Ordering::SeqCst)
    }
}

impl Drop for OtherWriters {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs an insert, and returns whether ClickHouse confirmed it.
fn insert(database: &Database, sql: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(database.engine)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let request = format!(
        "POST /?database={}&async_insert=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-ClickHouse-User: collector\r\n\
         X-ClickHouse-Key: {}\r\nContent-Length: {}\r\n\r\n{sql}",
        database.name,
        database.password,
        sql.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
