//! Collectors, deliveries, the broker and ClickHouse fail at random, and each acknowledged row is in
//! its table once.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use super::{Deliverer, event, start_collector};
use crate::{
    crash::random::Random,
    support::{broker::Broker, collector::Collector, engine::Database, proxy::Proxy, wait_for},
};

/// The number of threads that send events.
const SENDERS: u64 = 4;

/// Sends events to the collectors until the end, and records which were acknowledged.
#[derive(Debug)]
struct Senders {
    collectors: [Mutex<SocketAddr>; 2],
    is_over: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Senders {
    fn new(collectors: &[Collector; 2]) -> Self {
        Self {
            collectors: [0, 1].map(|index: usize| Mutex::new(collectors[index].address)),
            is_over: AtomicBool::new(false),
            next: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        }
    }

    fn run(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let address = *self.collectors[(number % 2) as usize].lock().unwrap();
            if send(address, number).is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
                self.acknowledged.lock().unwrap().insert(number);
            } else {
                sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Sends an event to a collector, which may be killed meanwhile, and returns its answer.
fn send(address: SocketAddr, number: u64) -> io::Result<Vec<u8>> {
    let body = event(number);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Runs faults for `duration`, at intervals of up to `pause`, with a log that has these parameters.
fn run(test: &str, parameters: &str, duration: Duration, pause: u64) {
    let Some(broker) = Broker::start() else { return };
    let seed = Random::seed();
    eprintln!("ROWMILL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let (database, log) = (Database::named(test), broker.log(&format!("{test}{parameters}")));
    let proxy = Proxy::start(database.engine);
    let clickhouse = database.url_through(proxy.address);
    let mut collectors = [0, 1].map(|_| start_collector(&database, &log, &[]));
    let mut deliverers = [0, 1].map(|_| Some(Deliverer::start(&clickhouse, &log)));
    let senders = Arc::new(Senders::new(&collectors));
    let threads: Vec<_> = (0..SENDERS)
        .map(|_| {
            let senders = Arc::clone(&senders);
            thread::spawn(move || senders.run())
        })
        .collect();

    let start = Instant::now();
    let mut faults = 0;
    while start.elapsed() < duration {
        sleep(Duration::from_millis(random.below(pause)));
        faults += 1;
        match random.below(8) {
            0 | 1 => {
                // The one in use is killed during requests.
                let index = random.below(2) as usize;
                let new = start_collector(&database, &log, &[]);
                let address = new.address;
                mem::replace(&mut collectors[index], new).kill();
                *senders.collectors[index].lock().unwrap() = address;
            }
            2..=4 => {
                let deliverer = &mut deliverers[random.below(2) as usize];
                // Dropped, and so killed, before the next one starts.
                drop(deliverer.take());
                *deliverer = Some(Deliverer::start(&clickhouse, &log));
            }
            5 => {
                broker.go_away();
                sleep(Duration::from_millis(random.below(500)));
                broker.come_back();
            }
            6 => {
                broker.pause();
                sleep(Duration::from_millis(random.below(1000)));
                broker.resume();
            }
            _ => {
                proxy.loses_answers.store(true, Ordering::SeqCst);
                sleep(Duration::from_millis(random.below(1500)));
                proxy.loses_answers.store(false, Ordering::SeqCst);
            }
        }
    }
    senders.is_over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    let acknowledged = senders.acknowledged.lock().unwrap().clone();
    let sent = senders.next.load(Ordering::Relaxed);
    assert!(acknowledged.len() > 100, "{} of {sent} events", acknowledged.len());

    let ids = || -> Vec<u64> {
        let ids = database.try_query("SELECT toUInt64(message_id) FROM mail_statistics ORDER BY 1");
        ids.unwrap_or_default().lines().map(|id| id.parse().unwrap()).collect()
    };
    wait_for("all acknowledged rows", || {
        let found: BTreeSet<_> = ids().into_iter().collect();
        acknowledged.is_subset(&found).then_some(())
    });
    // Collectors that were not killed have all rows in the log; a stop waits for them.
    deliverers.into_iter().flatten().for_each(Deliverer::stop);
    let found = ids();
    let distinct: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(found.len(), distinct.len(), "rows are stored twice");
    let wrong = database.query(
        "SELECT count() FROM mail_statistics WHERE email != message_id || '@example.org' OR detailed != 'Ünï ' || message_id",
    );
    assert_eq!(wrong.trim(), "0");
    eprintln!(
        "{faults} faults, {sent} events, {} acknowledged, {} rows",
        acknowledged.len(),
        found.len()
    );
}

#[test]
fn each_acknowledged_row_is_stored_once_over_faults() {
    run("log_faults", "", Duration::from_secs(12), 1500);
}

#[test]
#[ignore = "takes some minutes; CONTRIBUTING.md has the command"]
fn each_acknowledged_row_is_stored_once_over_many_faults() {
    run("log_many_faults", "?key=email", Duration::from_secs(180), 2500);
}
