//! The processes of a fleet: two shards, a proxy before each, collectors, and haproxy.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{PLACE, SHARDS, TARGETS, Version, program};
use crate::{
    crash::{
        clients::{Clients, Sending, Sent},
        proxy::Proxy,
        report::Found,
    },
    support::{
        balancer::{Balancer, address_on},
        cluster::{self, Server},
        collector::{Collector, Ended},
        http, wait_for,
    },
};

/// The secret of the handovers.
const SECRET: &str = "5d1c0b7e9f3a4826b1d0c9e8f7a6b5c4";

/// The hosts of the collectors. No other test uses them.
const HOST: &str = "127.0.0.21";
const ADMIN_HOST: &str = "127.0.0.22";

/// How long the rows of a run may take to reach their tables in the end.
const DELIVERY: Duration = Duration::from_secs(240);

/// A pause of each client after an answer. Two thousand events a second are enough between faults.
const PAUSE: Duration = Duration::from_millis(4);

/// A place of a collector: its addresses, which haproxy knows, and its folder.
#[derive(Debug)]
pub struct Slot {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub collector: Option<Collector>,
    /// The data folder, whose name no other collector has had.
    pub data: PathBuf,
}

/// A running fleet, whose processes end when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    pub slots: Vec<Slot>,
    pub balancer: Balancer,
    pub shards: Vec<Server>,
    pub proxies: Vec<Proxy>,
    /// How often ClickHouse ended without a kill.
    pub aborts: usize,
    /// The logs of the collectors that have ended.
    pub logs: String,
    /// Further arguments of each collector.
    arguments: Vec<String>,
    folders: usize,
    pub folder: TempDir,
}

impl Fleet {
    /// Starts the shards, a balancer for `slots` collectors, and the first `running` of them; returns
    /// `None` if there is no haproxy.
    pub fn start(slots: usize, running: usize, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let shards = cluster::start(&folder.path().join("servers"), &SHARDS);
        let proxies = shards.iter().map(|shard| Proxy::start(shard.database.engine)).collect();
        let slots: Vec<_> = (0..slots)
            .map(|_| Slot {
                address: address_on(HOST),
                admin: address_on(ADMIN_HOST),
                collector: None,
                data: PathBuf::new(),
            })
            .collect();
        let addresses: Vec<_> = slots.iter().map(|slot| [slot.address, slot.admin]).collect();
        let balancer = Balancer::start(folder.path(), &addresses)?;
        fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        let mut fleet = Self {
            slots,
            balancer,
            shards,
            proxies,
            aborts: 0,
            logs: String::new(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folders: 0,
            folder,
        };
        for slot in 0..running {
            fleet.start_new(slot);
        }
        fleet.balancer.wait_for(running);
        Some(fleet)
    }

    /// Returns the URLs of the shards, through their proxies.
    pub fn clickhouse(&self) -> String {
        let urls = self.shards.iter().zip(&self.proxies);
        let urls: Vec<_> = urls
            .map(|(shard, proxy)| shard.database.url_through(proxy.address))
            .collect();
        urls.join(",")
    }

    pub fn secret(&self) -> String {
        self.folder.path().join("secret").to_str().unwrap().to_owned()
    }

    /// Starts clients of the balancer.
    pub fn clients(&self, ack: &'static str) -> Clients {
        let sending = Sending {
            pause: PAUSE,
            may_ask: ack == "spooled",
            ack,
            is_balanced: true,
        };
        Clients::start_with(&[self.balancer.address], &TARGETS, sending)
    }

    /// Starts a collector on a new folder.
    pub fn start_new(&mut self, slot: usize) {
        self.folders += 1;
        self.slots[slot].data = self.folder.path().join(format!("data{}", self.folders));
        self.start_collector(slot);
    }

    /// Starts a collector on its folder.
    pub fn start_collector(&mut self, slot: usize) {
        let Slot {
            address, admin, data, ..
        } = &self.slots[slot];
        let (admin, secret) = (admin.to_string(), self.secret());
        let drain_to = format!("http://{}", self.slots[0].admin);
        let mut arguments = vec![
            "--admin-listen",
            &admin,
            "--insert-timeout-seconds",
            "2",
            "--memory-bytes",
            "64MiB",
            "--ack-header",
        ];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let has_log = arguments.contains(&"--log");
        if !has_log {
            arguments.extend(["--handover-secret-file", &secret]);
        }
        // The first collector stays, as the first pod of a StatefulSet does.
        if slot > 0 && !has_log {
            arguments.extend(["--drain-to", &drain_to]);
        }
        let program = program(Version::Old);
        let collector = Collector::start_program_at(program, *address, data, &self.clickhouse(), &arguments);
        self.slots[slot].collector = Some(collector);
    }

    /// Returns the places of the collectors that run.
    pub fn running(&self) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.collector.is_some())
            .map(|(index, _)| index)
            .collect()
    }

    pub fn kill_collector(&mut self, slot: usize) {
        let collector = self.slots[slot].collector.take().unwrap();
        self.logs.push_str(&collector.log());
        collector.kill();
    }

    /// Stops a collector and waits until it has ended.
    pub fn stop_collector(&mut self, slot: usize) -> Ended {
        let ended = self.slots[slot].collector.take().unwrap().stop();
        self.logs.push_str(&ended.log);
        ended
    }

    pub fn signal(&self, slot: usize, signal: Signal) {
        self.slots[slot].collector.as_ref().unwrap().signal(signal);
    }

    /// Waits until haproxy uses all collectors that run.
    pub fn wait_for_balancer(&self) {
        self.balancer.wait_for(self.running().len());
    }

    pub fn kill_shard(&mut self, shard: usize) {
        self.proxies[shard].set_server(None);
        self.shards[shard].kill();
    }

    pub fn start_shard(&mut self, shard: usize) {
        self.shards[shard].start_again();
        self.proxies[shard].set_server(Some(self.shards[shard].database.engine));
    }

    /// Waits for a condition, and restarts shards meanwhile that end by themselves.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_for(what, || {
            self.restart_ended_shards();
            condition(self).then_some(())
        });
    }

    /// Restarts the shards that have ended by themselves, as a process supervisor would.
    pub fn restart_ended_shards(&mut self) {
        for shard in &mut self.shards {
            self.aborts += usize::from(shard.restart_if_ended());
        }
    }

    /// Returns the number of rows that a collector has and ClickHouse has not.
    pub fn pending(&self, slot: usize) -> u64 {
        let metrics = http::get(self.slots[slot].admin, "/metrics");
        let samples = metrics
            .text()
            .lines()
            .filter(|line| line.starts_with("rowmill_rows_pending{"));
        samples
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Waits until no collector has rows that ClickHouse has not, then stops all of them.
    pub fn deliver_and_stop(&mut self) {
        let (started, running) = (Instant::now(), self.running());
        while running.iter().any(|slot| self.pending(*slot) > 0) {
            self.restart_ended_shards();
            assert!(started.elapsed() < DELIVERY, "rows wait: {}", self.all_logs());
            thread::sleep(Duration::from_millis(50));
        }
        for slot in running {
            let ended = self.stop_collector(slot);
            assert_eq!(ended.code, Some(0), "{}", ended.log);
        }
    }

    /// Returns the logs of all collectors.
    pub fn all_logs(&self) -> String {
        let running = self.slots.iter().filter_map(|slot| slot.collector.as_ref());
        running.fold(self.logs.clone(), |logs, collector| logs + &collector.log())
    }

    /// Compares the rows of all shards with the events, and prints the counts.
    pub fn compare(&self, sent: &Sent) -> Found {
        let found = Found::count(&self.shards[0].database, sent, &PLACE);
        let by_shard: Vec<_> = self
            .shards
            .iter()
            .map(|shard| shard.database.count("rows_local"))
            .collect();
        println!("rows by shard: {by_shard:?}\n{found:?}");
        assert_eq!(by_shard.iter().sum::<u64>(), found.rows as u64);
        assert!(by_shard.iter().all(|rows| *rows > 0), "{by_shard:?}");
        found
    }

    /// Asserts that each acknowledged event is in the tables once, and no other more than once.
    pub fn assert_exact(&self, sent: &Sent) {
        let found = self.compare(sent);
        assert!(found.is_exact(), "{found:?}\n{}", self.logs);
        for shard in &self.shards {
            let letters = shard.database.query("SELECT * FROM rejected LIMIT 5");
            assert_eq!(letters, "", "dead letters");
        }
    }
}
