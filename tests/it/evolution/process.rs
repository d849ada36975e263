//! A collector of either schema as a process of its own, which a test can kill: the test binary
//! runs itself again, with the one test of this module.

use std::{
    convert::Infallible,
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rowmill_ingest::{
    ClickHouseUrl, Writer, WriterOptions,
    server::{ServeOptions, not_found, serve},
    store::Servers,
    table::Schema,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use tower::{Layer, Service, service_fn};

use ::evolution::{add, narrow, rekey, remove, rename, reorder, widen};

use super::kinds::Kind;
use crate::support::http::post_json;

const VERSION: &str = "ROWMILL_EVOLUTION_VERSION";
const URL: &str = "ROWMILL_EVOLUTION_URL";
const DATA: &str = "ROWMILL_EVOLUTION_DATA";

/// The version of a collector's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Old,
    New,
}

impl Version {
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// A running collector.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    address: SocketAddr,
    /// Open until the process has ended, since it writes there at its end.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a collector, and waits until its tables match the schema.
    pub fn start(kind: &Kind, version: Version, clickhouse: &str, data: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["evolution::process::collector", "--exact", "--ignored", "--nocapture"])
            .env(VERSION, format!("{} {version:?}", kind.table))
            .env(URL, clickhouse)
            .env(DATA, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut output = String::new();
        let mut address = None;
        for line in stdout.by_ref().lines().map_while(Result::ok) {
            address = line
                .split_once("listening on ")
                .and_then(|(_, address)| address.parse().ok());
            if address.is_some() {
                break;
            }
            output.push_str(&line);
            output.push('\n');
        }
        Self {
            stdin: child.stdin.take(),
            address: address.unwrap_or_else(|| panic!("the {version:?} collector did not start: {output}")),
            child,
            _stdout: stdout,
        }
    }

    /// Sends an event, which must be acknowledged once it is on disk.
    pub fn send(&self, table: &str, event: &str) {
        let answer = post_json(self.address, &format!("/wh/{table}"), event);
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Delivers the rows and ends the collector.
    pub fn stop(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success(), "not all rows were delivered");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the process of a collector, which the other tests start"]
fn collector() {
    let (Ok(version), Ok(url), Ok(data)) = (env::var(VERSION), env::var(URL), env::var(DATA)) else {
        return;
    };
    let (url, data) = (url.parse().unwrap(), PathBuf::from(data));
    macro_rules! run {
        ($($kind:ident)*) => {
            match &*version {
                $(
                    version if version == concat!(stringify!($kind), " Old") => {
                        let service_for = |writer| $kind::before::layer(writer).unwrap().layer(service_fn(not_found));
                        run(&$kind::before::SCHEMA, url, &data, service_for).await;
                    }
                    version if version == concat!(stringify!($kind), " New") => {
                        let service_for = |writer| $kind::after::layer(writer).unwrap().layer(service_fn(not_found));
                        run(&$kind::after::SCHEMA, url, &data, service_for).await;
                    }
                )*
                other => panic!("{other}"),
            }
        };
    }
    Runtime::new()
        .unwrap()
        .block_on(async { run!(rename widen narrow remove reorder add rekey) });
}

/// Collects events until standard input ends, then delivers their rows.
async fn run<S, B>(schema: &'static Schema, url: ClickHouseUrl, data: &Path, service_for: impl FnOnce(Writer) -> S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let options = WriterOptions {
        block_age: Duration::from_millis(20),
        ..WriterOptions::default()
    };
    let writer = Writer::open(schema, Servers::from_iter([url]), &options, data).unwrap();
    if let Err(error) = writer.synced(Duration::from_secs(30)).await {
        panic!("{error}");
    }
    let service = service_for(writer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(
        listener,
        move |_| service.clone(),
        ServeOptions::default(),
        async {
            let _ = stopped.await;
        },
    ));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = ended.await;
    let _ = stop.send(());
    let _ = server.await;
    let report = writer.drain(Duration::from_secs(30)).await;
    assert!(report.is_complete(), "{report:?}");
}
