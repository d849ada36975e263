//! A haproxy before collectors, which never retries a request.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{http, wait_for};

/// Returns a free address of a host. No other test uses it, because the others listen on 127.0.0.1.
pub fn address_on(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// Returns a command of haproxy; returns `None`, and prints so, if it is not installed.
pub fn haproxy() -> Option<Command> {
    let is_there = |program: &&&str| Command::new(program).arg("-v").output().is_ok();
    let program = ["/usr/sbin/haproxy", "haproxy"].iter().find(is_there);
    if program.is_none() {
        eprintln!("skipped: there is no haproxy");
    }
    program.map(Command::new)
}

/// A running haproxy, which is killed when it is dropped.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    configuration: PathBuf,
    pub address: SocketAddr,
    statistics: SocketAddr,
}

impl Balancer {
    /// Starts haproxy before collectors, of each the address of events and that of `/ready`; returns
    /// `None` if it is not installed.
    pub fn start(folder: &Path, collectors: &[[SocketAddr; 2]]) -> Option<Self> {
        let (address, statistics) = (address_on("127.0.0.4"), address_on("127.0.0.4"));
        let mut text = format!(
            "defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout check 5s\n\
             frontend events\n  bind {address}\n  default_backend collectors\n\
             frontend statistics\n  bind {statistics}\n  stats enable\n  stats uri /\n\
             backend collectors\n  option httpchk GET /ready\n  http-check expect status 200\n  \
             default-server check inter 100ms fall 1 rise 1\n"
        );
        for (index, [collector, ready]) in collectors.iter().enumerate() {
            let (host, port) = (ready.ip(), ready.port());
            writeln!(text, "  server collector-{index} {collector} addr {host} port {port}").unwrap();
        }
        let configuration = folder.join("haproxy.cfg");
        fs::write(&configuration, text).unwrap();
        let balancer = Self {
            child: spawn(&configuration)?,
            configuration,
            address,
            statistics,
        };
        balancer.wait();
        Some(balancer)
    }

    /// Kills haproxy, which cuts all requests, and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.configuration).unwrap();
        self.wait();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until haproxy sends requests to this number of collectors.
    pub fn wait_for(&self, collectors: usize) {
        wait_for("all collectors", || {
            let lines = http::get(self.statistics, "/;csv").text().to_owned();
            let up = lines
                .lines()
                .filter(|line| line.starts_with("collectors,collector-") && line.contains(",UP,"));
            (up.count() == collectors).then_some(())
        });
    }

    fn wait(&self) {
        wait_for("haproxy", || TcpStream::connect(self.statistics).ok());
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts haproxy, if it is installed.
fn spawn(configuration: &Path) -> Option<Child> {
    let mut command = haproxy()?;
    command.arg("-f").arg(configuration);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Some(command.spawn().unwrap())
}
