//! A collector that makes numbered rows itself, in a process that a test kills.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use evolution::{
    add::{self, before::Add},
    sharded::{self, before::Orders},
};
use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tokio::runtime::Runtime;

use super::wait_for;

/// The variables that tell a child process what to insert.
const FOLDER: &str = "COLLECTING_FOLDER";
const URLS: &str = "COLLECTING_URLS";
const START: &str = "COLLECTING_START";
const PLAIN: &str = "COLLECTING_PLAIN";

/// The table of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// `orders`, over the shards of a cluster: the number is in `email`.
    Sharded,
    /// `add`, which each server has for itself: the number is in `number`.
    Plain,
}

impl Rows {
    async fn insert(self, writer: &Writer, number: u64) -> Option<Ack> {
        let receipt = match self {
            Self::Sharded => writer.insert(
                &Orders {
                    email: format!("{number}@example.com").into(),
                    ..Orders::default()
                },
                Ack::Spooled,
            ),
            Self::Plain => writer.insert(
                &Add {
                    number: number as u32,
                    ..Add::default()
                },
                Ack::Spooled,
            ),
        };
        Some(receipt.ok()?.await)
    }
}

/// The options of the writers: a block a moment, so that faults hit many.
pub fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(20),
        ..WriterOptions::default()
    }
}

/// A collector in a process of its own: accepts numbered rows, and prints the number of each row
/// that is on disk.
#[test]
#[ignore = "the process of another test"]
fn collector_process() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let urls = env::var(URLS).unwrap();
    let urls: Vec<ClickHouseUrl> = urls.split(' ').map(|url| url.parse().unwrap()).collect();
    let mut next: u64 = env::var(START).unwrap().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (rows, schema) = match env::var(PLAIN).is_ok() {
            true => (Rows::Plain, &add::before::SCHEMA),
            false => (Rows::Sharded, &sharded::before::SCHEMA),
        };
        let writer = Writer::open(schema, Servers::from_iter(urls), &options(), Path::new(&folder)).unwrap();
        _ = writer.synced(Duration::from_secs(2)).await;
        loop {
            if rows.insert(&writer, next).await >= Some(Ack::Spooled) {
                println!("spooled {next}");
                next += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A running [`collector_process`], which is killed when this is dropped.
#[derive(Debug)]
pub struct Collecting {
    child: Child,
    last: Arc<Mutex<Option<u64>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Collecting {
    /// Starts a collector whose spool is in `folder`, and whose rows have the numbers from `start`.
    pub fn start(rows: Rows, folder: &Path, urls: &[String], start: u64) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        if rows == Rows::Plain {
            command.env(PLAIN, "1");
        }
        let mut child = command
            .args([
                "--exact",
                "support::collecting::collector_process",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(URLS, urls.join(" "))
            .env(START, start.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let last = Arc::new(Mutex::new(None));
        let (lines, known) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&last));
        let reader = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some((_, number)) = line.split_once("spooled ") {
                    *known.lock().unwrap() = number.parse().ok();
                }
            }
        });
        Self {
            child,
            last,
            reader: Some(reader),
        }
    }

    /// Waits until the row with this number is acknowledged.
    pub fn wait_for(&self, number: u64) {
        wait_for("acknowledged rows", || {
            self.last.lock().unwrap().filter(|last| *last >= number)
        });
    }

    /// Waits until so many further rows are acknowledged.
    pub fn wait_for_more(&self, rows: u64) {
        let last = self.last.lock().unwrap().unwrap_or(0);
        self.wait_for(last + rows);
    }

    /// Kills the process, and returns the number of the next row.
    pub fn kill(mut self, start: u64) -> u64 {
        self.end();
        let last = *self.last.lock().unwrap();
        last.map_or(start, |last| last + 1)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.end();
    }
}
