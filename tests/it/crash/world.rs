//! The subjects of the faults: a separate ClickHouse, the collectors, and the proxy between them.

use std::{
    net::SocketAddr,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};
use tempfile::TempDir;

use super::{
    clients::{Clients, Sending},
    event::Target,
    proxy::{Cut, Proxy},
    random::Random,
};
use crate::support::{
    collector::{self, Collector, Ended},
    engine::Database,
    wait_for,
};

/// Short, so that a pause of ClickHouse soon exceeds it; long enough for inserts on a busy machine.
const INSERT_TIMEOUT_SECONDS: &str = "2";

const DATABASE: &str = "crash";

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    KillCollector,
    KillClickHouse,
    /// The kill comes while a collector inserts into this table, or a moment later.
    KillClickHouseNear(&'static str),
    KillBoth,
    PauseClickHouse,
    CutRequest,
    CutAnswer,
}

/// The server, which is killed when it is dropped, even if it is paused.
#[derive(Debug)]
struct Server(Engine);

impl Server {
    fn start(data: &Path) -> Self {
        let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), data));
        Self(engine.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Signals the engine's process group, which is ClickHouse as a library and as a program.
    fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.0.process_id().try_into().unwrap()), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.signal(Signal::SIGKILL);
        }
    }
}

#[derive(Debug)]
pub struct World {
    collectors: Vec<Option<Collector>>,
    server: Option<Server>,
    proxy: Proxy,
    /// How often ClickHouse ended without a kill: a cut connection sometimes makes it abort.
    pub aborts: usize,
    /// The number of kills near an insert that came before its answer.
    pub kills_during_insert: usize,
    /// The logs of killed collectors.
    pub logs: String,
    folder: TempDir,
}

impl World {
    /// Starts a ClickHouse, creates the tables, changes them with `statements`, and starts the
    /// collectors.
    pub fn start(statements: &[String], collectors: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder.path().join("engine"));
        let proxy = Proxy::start(server.0.address());
        let mut world = Self {
            collectors: (0..collectors).map(|_| None).collect(),
            server: Some(server),
            proxy,
            aborts: 0,
            kills_during_insert: 0,
            logs: String::new(),
            folder,
        };
        let database = world.database();
        let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
        assert!(applied.status.success(), "{applied:?}");
        for statement in statements {
            database.query(statement);
        }
        for place in 0..collectors {
            world.start_collector(place);
        }
        world
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Returns the database without the proxy.
    pub fn database(&self) -> Database {
        let engine = self.server.as_ref().unwrap().0.address();
        Database::of_engine(DATABASE, engine, &self.folder.path().join("engine"))
    }

    /// Starts clients of all collectors that pause after each answer.
    pub fn clients(&self, targets: &[Target], pause: Duration) -> Clients {
        let addresses: Vec<_> = (0..self.collectors.len())
            .filter_map(|place| self.address(place))
            .collect();
        let sending = Sending {
            pause,
            may_ask: true,
            ..Sending::default()
        };
        Clients::start_with(&addresses, targets, sending)
    }

    /// Returns the database behind the proxy.
    pub fn database_through_proxy(&self) -> Database {
        Database::of_engine(DATABASE, self.proxy.address, &self.folder.path().join("engine"))
    }

    /// Returns the address of a collector, if it runs.
    pub fn address(&self, place: usize) -> Option<SocketAddr> {
        self.collectors[place].as_ref().map(|collector| collector.address)
    }

    fn start_collector(&mut self, place: usize) {
        let url = self.database_through_proxy().url();
        let arguments = [
            "--insert-timeout-seconds",
            INSERT_TIMEOUT_SECONDS,
            "--drain-seconds",
            "300",
            "--ack-header",
        ];
        let data = self.folder.path().join(format!("data{place}"));
        self.collectors[place] = Some(Collector::start_in(&data, &url, &arguments));
    }

    /// Causes a fault, and returns when all processes run again.
    pub fn inject(&mut self, fault: Fault, clients: &Clients, random: &mut Random) {
        // The collector to kill, for faults that kill a collector.
        let place = random.below(self.collectors.len() as u64) as usize;
        match fault {
            Fault::KillCollector => {
                self.kill_collector(place, clients);
                self.start_collector(place);
            }
            Fault::KillClickHouse => {
                self.kill_server();
                self.wait_for_failed_insert();
                self.start_server();
            }
            Fault::KillClickHouseNear(table) => {
                let known = self.proxy.inserts(table);
                self.until("an insert to kill ClickHouse near", |world| {
                    world.proxy.wait_for_insert(table, known.begun)
                });
                self.kill_server_near(table, known.took, random);
                self.wait_for_failed_insert();
                self.start_server();
            }
            Fault::KillBoth => {
                self.kill_server();
                self.kill_collector(place, clients);
                // The collector accepts events before ClickHouse runs again.
                self.start_collector(place);
                let before = clients.acknowledged();
                clients.set_address(place, self.address(place));
                self.until("events without ClickHouse", |_| clients.acknowledged() > before);
                self.start_server();
            }
            Fault::PauseClickHouse => {
                self.signal_server(Signal::SIGSTOP);
                let (given_up, aborts) = (self.proxy.given_up(), self.aborts);
                self.until("a time-out", |world| {
                    world.proxy.given_up() > given_up || world.aborts > aborts
                });
                self.signal_server(Signal::SIGCONT);
            }
            Fault::CutRequest => self.cut(Cut::Request {
                is_late: random.below(2) == 0,
                cut_at: random.next(),
            }),
            Fault::CutAnswer => self.cut(Cut::Answer { cut_at: random.next() }),
        }
        clients.set_address(place, self.address(place));
    }

    fn kill_collector(&mut self, place: usize, clients: &Clients) {
        if let Some(collector) = self.collectors[place].take() {
            self.logs.push_str(&collector.log());
            collector.kill();
        }
        clients.set_address(place, None);
    }

    fn wait_for_failed_insert(&mut self) {
        let refused = self.proxy.refused();
        self.until("a failed insert", |world| world.proxy.refused() > refused);
    }

    /// Kills ClickHouse while it takes an insert into `table` that has begun and will probably take
    /// `took`, or a moment later.
    pub fn kill_server_near(&mut self, table: &str, took: Duration, random: &mut Random) {
        // Spreads the kills evenly over the insert's duration, and a few after it.
        thread::sleep(took.mul_f64(random.below(1_000) as f64 / 800.0));
        self.kills_during_insert += usize::from(self.proxy.inserts(table).unanswered > 0);
        self.kill_server();
    }

    fn kill_server(&mut self) {
        self.proxy.set_server(None);
        self.server = None;
    }

    pub fn start_server(&mut self) {
        let server = Server::start(&self.folder.path().join("engine"));
        self.proxy.set_server(Some(server.0.address()));
        self.server = Some(server);
    }

    fn signal_server(&self, signal: Signal) {
        self.server.as_ref().unwrap().signal(signal);
    }

    fn cut(&mut self, cut: Cut) {
        self.proxy.cut(cut);
        self.until("an insert to cut", |world| !world.proxy.has_pending_cut());
    }

    /// Waits for a condition, and restarts ClickHouse meanwhile if it ends.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_for(what, || {
            self.restart_ended_server();
            condition(self).then_some(())
        });
    }

    /// Restarts ClickHouse if it has ended by itself, as a process supervisor would.
    fn restart_ended_server(&mut self) {
        let end = self.server.as_mut().and_then(|server| server.0.ended());
        if let Some(end) = end {
            println!("{end}");
            self.aborts += 1;
            self.kill_server();
            self.start_server();
        }
    }

    /// Stops the collectors, which deliver all rows to ClickHouse first.
    pub fn stop_collectors(&mut self) -> Vec<Ended> {
        let collectors = self.collectors.iter_mut().filter_map(Option::take);
        let stopping: Vec<_> = collectors.map(|collector| thread::spawn(|| collector.stop())).collect();
        while !stopping.iter().all(JoinHandle::is_finished) {
            self.restart_ended_server();
            thread::sleep(Duration::from_millis(10));
        }
        stopping.into_iter().map(|stopping| stopping.join().unwrap()).collect()
    }
}
