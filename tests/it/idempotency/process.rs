//! A collector as a process of its own, which a test can kill: the test binary runs itself again,
//! with the one test of this module.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use embedder::tables;
use rowmill_ingest::{
    ClickHouseUrl, Writer, WriterOptions,
    server::{ServeOptions, not_found, serve},
    store::Servers,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use tower::{Layer, service_fn};

const URL: &str = "ROWMILL_IDEMPOTENCY_URL";
const DATA: &str = "ROWMILL_IDEMPOTENCY_DATA";

/// A running collector.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pub address: SocketAddr,
    /// Open until the process has ended, since it writes there at its end.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a collector, and waits until its tables match the schema.
    pub fn start(clickhouse: &str, data: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["idempotency::process::collector", "--exact", "--ignored", "--nocapture"])
            .env(URL, clickhouse)
            .env(DATA, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("listening on ")?.1.parse().ok());
        Self {
            stdin: child.stdin.take(),
            address: address.expect("the collector did not start"),
            child,
            _stdout: stdout,
        }
    }

    /// Ends the collector with SIGKILL.
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
    let (Ok(url), Ok(data)) = (env::var(URL), env::var(DATA)) else {
        return;
    };
    let url: ClickHouseUrl = url.parse().unwrap();
    Runtime::new().unwrap().block_on(run(url, data.as_ref()));
}

/// Collects events until standard input ends, then delivers their rows.
async fn run(url: ClickHouseUrl, data: &Path) {
    let options = WriterOptions {
        block_age: Duration::from_millis(20),
        // Small segments, so that many are removed.
        disk_bytes: 16 << 20,
        ..WriterOptions::default()
    };
    let writer = Writer::open(&tables::SCHEMA, Servers::from_iter([url]), &options, data).unwrap();
    if let Err(error) = writer.synced(Duration::from_secs(30)).await {
        panic!("{error}");
    }
    let service = tables::layer(writer.clone()).unwrap().layer(service_fn(not_found));
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
    let report = writer.drain(Duration::from_secs(60)).await;
    assert!(report.is_complete(), "{report:?}");
}
