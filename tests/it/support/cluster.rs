//! The servers of the cluster `fleet`: engines that know each other as shards and replicas.
//!
//! The embedded ClickHouse has no queue for statements ON CLUSTER and no replication: each server is
//! synced itself, and the replicas of a shard have rows of their own.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};
use rowmill_ingest::ClickHouseUrl;

use super::engine::{Database, write_definitions_unsynced};

/// The name of the database on each server.
const DATABASE: &str = "stats";

/// A shard of a cluster that is about to start.
#[derive(Debug, Clone, Copy)]
pub struct ShardOf {
    pub weight: u32,
    pub replicas: usize,
}

/// A server of the cluster. It is killed when it is dropped, even if it is paused.
#[derive(Debug)]
pub struct Server {
    pub database: Database,
    engine: Engine,
}

/// Starts the servers of these shards, in their order, with their data in `folder`.
pub fn start(folder: &Path, shards: &[ShardOf]) -> Vec<Server> {
    let servers = shards.iter().map(|shard| shard.replicas).sum();
    let listeners: Vec<_> = (0..servers)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let ports: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    drop(listeners);
    let mut left = ports.iter();
    let shards: String = shards
        .iter()
        .map(|ShardOf { weight, replicas }| {
            let replicas = left
                .by_ref()
                .take(*replicas)
                .map(|port| format!("<replica><host>127.0.0.1</host><port>{port}</port></replica>"));
            let replicas: String = replicas.collect();
            format!(
                "<shard><weight>{weight}</weight><internal_replication>true</internal_replication>{replicas}</shard>"
            )
        })
        .collect();
    let start = |(index, port): (usize, &u16)| Server::start(folder.join(index.to_string()), *port, &shards);
    ports.iter().enumerate().map(start).collect()
}

impl Server {
    /// Starts an engine that listens for other servers as well.
    fn start(data: PathBuf, port: u16, shards: &str) -> Self {
        write(
            &data.join("config/config.d/fleet.xml"),
            &format!(
                "<clickhouse><tcp_port>{port}</tcp_port><remote_servers><fleet><secret>between shards</secret>{shards}\
                 </fleet></remote_servers></clickhouse>"
            ),
        );
        write_definitions_unsynced(&data);
        let grant = "<query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT READ ON REMOTE</query>";
        write(
            &data.join("config/users.d/listen.xml"),
            &format!("<clickhouse><users><owner><grants>{grant}</grants></owner></users></clickhouse>"),
        );
        let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), &data)).unwrap();
        let database = Database::of_engine(DATABASE, engine.address(), &data);
        let server = Self { database, engine };
        server.listen();
        server
    }

    /// Lets the server listen for other servers.
    fn listen(&self) {
        self.for_owner().on_server("SYSTEM START LISTEN TCP").unwrap();
    }

    /// Returns the database for requests of the user `owner`, who may also read from other servers.
    pub fn for_owner(&self) -> Database {
        Database {
            user: "owner",
            password: self.engine.owner().password().to_owned(),
            ..self.database.clone()
        }
    }

    pub fn url(&self) -> ClickHouseUrl {
        self.database.url().parse().unwrap()
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        super::wait_for("the end of a server", || self.engine.ended().map(drop));
    }

    /// Starts the server again after a [`kill`](Self::kill), at the same address and on its data.
    pub fn start_again(&mut self) {
        self.engine.start_again().unwrap();
        self.listen();
    }

    /// Starts the server again if it has ended by itself, and returns whether it had.
    pub fn restart_if_ended(&mut self) -> bool {
        let end = self.engine.ended();
        if let Some(end) = &end {
            println!("{end}");
            self.start_again();
        }
        end.is_some()
    }

    /// Stops the server in the middle of what it does.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Continues after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.engine.process_id().try_into().unwrap()), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.engine.ended().is_none() {
            self.signal(Signal::SIGKILL);
        }
    }
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}
