//! The rows of a test, and the collectors that have them.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use tempfile::TempDir;

use crate::{
    crash::proxy::Proxy,
    support::{
        collector::{self, Collector},
        engine::Database,
        http, wait_for,
    },
};

/// The secret of all collectors of a test.
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// The numbers of the rows that were sent, and whether they were acknowledged as on disk.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<u64, bool>);

impl Rows {
    /// Sends `count` further rows, which the collector must acknowledge.
    pub fn post(&mut self, collector: SocketAddr, count: u64) {
        let next = self.next();
        for number in next..next + count {
            assert!(post(collector, number), "row {number}");
            self.0.insert(number, true);
        }
    }

    fn next(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// Returns the payload of a row, which no other row has.
    pub fn payload(&self, number: u64) -> String {
        payload(number)
    }

    /// Makes a row one that may be lost.
    pub fn forget(&mut self, number: u64) {
        self.0.insert(number, false);
    }

    /// Waits until the table has each acknowledged row, and checks that it has each row with its
    /// payload, and none twice.
    pub fn wait(&self, database: &Database) {
        let acknowledged: Vec<_> = self
            .0
            .iter()
            .filter(|(_, is)| **is)
            .map(|(number, _)| *number)
            .collect();
        let found = wait_for("all acknowledged rows", || {
            let rows = database
                .try_query("SELECT message_id, detailed FROM mail_statistics")
                .ok()?;
            let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for line in rows.lines() {
                let (number, payload) = line.split_once('\t').unwrap();
                found
                    .entry(number.parse().unwrap())
                    .or_default()
                    .push(payload.to_owned());
            }
            acknowledged
                .iter()
                .all(|number| found.contains_key(number))
                .then_some(found)
        });
        for (number, payloads) in found {
            assert!(self.0.contains_key(&number), "row {number} was never sent");
            assert_eq!(payloads, [payload(number)], "row {number}");
        }
    }
}

fn payload(number: u64) -> String {
    format!(
        "payload-{number}-{:016x}",
        (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    )
}

/// Sends a row; returns whether it was acknowledged as on disk.
fn post(collector: SocketAddr, number: u64) -> bool {
    let payload = payload(number);
    let body = format!(r#"{{"event":"sent","message_id":"{number}","detailed":"{payload}"}}"#);
    let request = format!(
        "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let Some(answer) = try_send(collector, request.as_bytes()) else {
        return false;
    };
    let answer = http::parse(&answer);
    answer.status == 200 && answer.header("x-rowmill-ack") == Some("spooled")
}

/// Sends a request to a collector that may end meanwhile.
fn try_send(collector: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(collector).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let is_whole = answer.windows(4).any(|end| end == b"\r\n\r\n");
    is_whole.then_some(answer)
}

/// Sends rows to a collector until it is stopped.
#[derive(Debug)]
pub struct Sender {
    pub acknowledged: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(u64, bool)>>,
}

impl Sender {
    pub fn start(rows: &mut Rows, collector: SocketAddr) -> Self {
        let (acknowledged, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, is_ended, first) = (Arc::clone(&acknowledged), Arc::clone(&is_over), rows.next());
        let thread = thread::spawn(move || {
            let mut sent = Vec::new();
            let mut number = first;
            while !is_ended.load(Ordering::SeqCst) {
                let is_acknowledged = post(collector, number);
                sent.push((number, is_acknowledged));
                count.fetch_add(u64::from(is_acknowledged), Ordering::SeqCst);
                number += 1;
            }
            sent
        });
        Self {
            acknowledged,
            is_over,
            thread,
        }
    }

    pub fn stop(self, rows: &mut Rows) {
        self.is_over.store(true, Ordering::SeqCst);
        rows.0.extend(self.thread.join().unwrap());
    }
}

/// The collector that takes rows over.
#[derive(Debug)]
pub struct Taker {
    collector: Option<Collector>,
    data: TempDir,
    secret: String,
    admin: SocketAddr,
    options: Vec<String>,
}

impl Taker {
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &["--handover-secret-file"])
    }

    /// Starts a collector with the secret if `options` has the name of its option last.
    pub fn start_with(database: &Database, options: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let secret = data.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let secret = secret.to_str().unwrap().to_owned();
        // No other test uses this address.
        let admin = TcpListener::bind("127.0.0.7:0").unwrap().local_addr().unwrap();
        let mut options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        if options.last().is_some_and(|option| option == "--handover-secret-file") {
            options.push(secret.clone());
        }
        options.extend(["--admin-listen".to_owned(), admin.to_string()]);
        let mut taker = Self {
            collector: None,
            data,
            secret,
            admin,
            options,
        };
        taker.restart(database);
        taker
    }

    /// Kills the collector if it runs, and starts it again.
    pub fn restart(&mut self, database: &Database) {
        self.restart_to(&database.url());
    }

    pub fn restart_to(&mut self, clickhouse: &str) {
        self.kill();
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        self.collector = Some(Collector::start_in(
            &self.data.path().join("data"),
            clickhouse,
            &options,
        ));
    }

    pub fn kill(&mut self) {
        if let Some(collector) = self.collector.take() {
            collector.kill();
        }
    }

    pub fn collector(&self) -> &Collector {
        self.collector.as_ref().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.admin)
    }

    pub fn secret(&self) -> &str {
        &self.secret
    }

    pub fn metric(&self, name: &str) -> u64 {
        let metrics = http::get(self.admin, "/metrics");
        let values = metrics.text().lines();
        let value = values
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .next();
        value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

/// A ClickHouse that does not run, as far as collectors with this URL know.
#[derive(Debug)]
pub struct Away {
    pub proxy: Proxy,
    database: Database,
}

impl Away {
    pub fn url(&self) -> String {
        self.database.url_through(self.proxy.address)
    }
}

pub fn away(database: &Database) -> Away {
    let proxy = Proxy::start(database.engine);
    proxy.set_server(None);
    Away {
        proxy,
        database: database.clone(),
    }
}

/// Returns the data folder of a killed collector, in which `count` rows wait.
pub fn waiting(away: &Away, rows: &mut Rows, count: u64) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &away.url(), &[]);
    rows.post(collector.address, count);
    collector.kill();
    data
}

/// Runs a command of `rowmill spool` over a data folder.
pub fn spool(command: &str, data: &Path, arguments: &[&str]) -> Output {
    collector::command()
        .args(["spool", command, "--data"])
        .arg(data)
        .args(arguments)
        .output()
        .unwrap()
}

pub fn send(data: &Path, taker: &Taker) -> Output {
    spool("send", data, &[&taker.url(), "--handover-secret-file", taker.secret()])
}

/// Returns the number of rows and of known blocks that `spool send` prints.
pub fn handed_over(output: &Output) -> (u64, u64) {
    let text = text(output);
    let numbers: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split([' ', ';'])
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], *numbers.last().unwrap())
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
