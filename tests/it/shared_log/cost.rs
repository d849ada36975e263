//! The processor time of an event with a spool on disk, and with a shared log.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use super::{Deliverer, event, start_collector};
use crate::support::{broker::Broker, collector::Collector, engine::Database};

/// The connections that send events, one after another on each.
const CONNECTIONS: u64 = 16;

/// The events of one connection.
const EVENTS: u64 = 1_500;

/// Returns the processor time of a process so far, in clock ticks of 10 ms.
fn ticks(process: impl std::fmt::Display) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Sends the events of a connection, and waits for each response.
fn send(address: SocketAddr, from: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    for number in from..from + EVENTS {
        let body = event(number);
        let head = format!(
            "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        // A response is shorter than a packet.
        let read = stream.read(&mut buffer).unwrap();
        assert!(
            buffer[..read].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..read])
        );
    }
}

/// Sends all events, waits until their rows are stored, and prints the processor time of an event.
fn measure(name: &str, database: &Database, collector: &Collector, deliverer: Option<&Deliverer>) {
    let ticks = || {
        let deliverer = deliverer.map_or(0, |deliverer| ticks(deliverer.child.id()));
        (ticks(collector.pid()), deliverer)
    };
    let before = ticks();
    let address = collector.address;
    let threads = (0..CONNECTIONS).map(|connection| thread::spawn(move || send(address, connection * EVENTS)));
    threads
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    database.wait_for_rows("mail_statistics", CONNECTIONS * EVENTS);
    let after = ticks();
    let us = |ticks: u64| ticks * 10_000 / (CONNECTIONS * EVENTS);
    println!(
        "{name}: {} µs in the collector, {} µs in the delivery",
        us(after.0 - before.0),
        us(after.1 - before.1)
    );
}

#[test]
#[ignore = "a measurement; CONTRIBUTING.md has the command"]
fn processor_time_of_an_event() {
    let Some(broker) = Broker::start() else { return };
    for round in 0..3 {
        let database = Database::named("cost_spool");
        let spool = Collector::start(&database);
        measure("spool", &database, &spool, None);
        drop(spool);
        let (database, log) = (Database::named("cost_log"), broker.log(&format!("cost{round}")));
        let collector = start_collector(&database, &log, &[]);
        let deliverer = Deliverer::start(&database.url(), &log);
        measure("shared log", &database, &collector, Some(&deliverer));
    }
}
