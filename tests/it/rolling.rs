//! Collectors behind a load balancer restart one after the other, and no request fails.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// The balancer notices a stop by a check. It checks ten times a second, but an answer takes longer
/// on a busy machine.
const PRE_STOP: [&str; 2] = ["--pre-stop-seconds", "3"];

const SENDERS: usize = 4;

/// Returns a free address. No other test uses it, because the others listen on 127.0.0.1.
fn address_on(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// A haproxy before three collectors that never retries a request. It is killed when it is dropped.
struct Balancer {
    child: Child,
    address: SocketAddr,
    statistics: SocketAddr,
}

impl Balancer {
    /// Starts haproxy; returns `None` if it is not installed.
    fn start(folder: &Path, collectors: [SocketAddr; 3]) -> Option<Self> {
        let (address, statistics) = (address_on("127.0.0.4"), address_on("127.0.0.4"));
        let [first, second, third] = collectors;
        let configuration = format!(
            "defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout check 5s\n\
             frontend events\n  bind {address}\n  default_backend collectors\n\
             backend collectors\n  option httpchk GET /ready\n  http-check expect status 200\n  \
             default-server check inter 100ms fall 1 rise 1\n  server first {first}\n  server second {second}\n  server third {third}\n\
             frontend statistics\n  bind {statistics}\n  stats enable\n  stats uri /\n"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let haproxy = ["/usr/sbin/haproxy", "haproxy"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        });
        let balancer = Self {
            child: haproxy?,
            address,
            statistics,
        };
        wait_for("haproxy", || TcpStream::connect(statistics).ok());
        Some(balancer)
    }

    /// Waits until haproxy sends requests to all collectors.
    fn wait_for_all(&self) {
        wait_for("all collectors", || {
            let lines = http::get(self.statistics, "/;csv").text().to_owned();
            let up = lines
                .lines()
                .filter(|line| line.starts_with("collectors,") && line.contains(",UP,"));
            // The three collectors, and the backend as a whole.
            (up.count() == 4).then_some(())
        });
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Restarts the collectors in turn, `times` times, under load.
fn restart(times: usize) {
    let database = Database::named("rolling");
    let folder = tempfile::tempdir().unwrap();
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.8"].map(address_on);
    let Some(balancer) = Balancer::start(folder.path(), addresses) else {
        eprintln!("skipped: there is no haproxy");
        return;
    };
    let data: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let start = |index: usize| {
        let node = ["--node", ["1", "2", "3"][index]];
        let arguments = [node, PRE_STOP].concat();
        Collector::start_at(addresses[index], data[index].path(), &database.url(), &arguments)
    };
    let mut collectors = [0, 1, 2].map(|index| Some(start(index)));
    balancer.wait_for_all();

    let (next, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (address, next, is_over) = (balancer.address, Arc::clone(&next), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    let body = format!(r#"{{"message_id":"{}"}}"#, next.fetch_add(1, Ordering::SeqCst));
                    let answer = http::post_json(address, "/wh/mail", &body);
                    if answer.status != 200 {
                        failures.push((body, answer.status));
                    }
                }
                failures
            })
        })
        .collect();
    for round in 0..times {
        let index = round % 3;
        let ended = collectors[index].take().unwrap().stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        collectors[index] = Some(start(index));
        let sent = next.load(Ordering::SeqCst);
        balancer.wait_for_all();
        wait_for("more events", || {
            (next.load(Ordering::SeqCst) > sent + 100).then_some(())
        });
    }
    is_over.store(true, Ordering::SeqCst);
    let failures: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    let sent = next.load(Ordering::SeqCst);
    assert_eq!(failures, [], "of {sent}");
    for collector in collectors.into_iter().flatten() {
        assert_eq!(collector.stop().code, Some(0));
    }
    assert_eq!(
        database.query("SELECT count(), uniqExact(message_id) FROM mail_statistics"),
        format!("{sent}\t{sent}\n")
    );
    println!("{times} restarts, {sent} requests, none failed");
}

#[test]
fn a_restart_behind_a_balancer_fails_no_request() {
    restart(3);
}

#[test]
#[ignore = "takes a minute: the same with twenty restarts"]
fn twenty_restarts_behind_a_balancer_fail_no_request() {
    restart(20);
}
