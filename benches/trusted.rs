//! The cost of trust: a verified webhook, and webhooks over TLS, beside plain ones:
//! `cargo bench --bench trusted`, or `… -- --short`.
//!
//! The first part calls the layer without sockets, on one thread whose CPU time counts. The second part
//! has a client and the server in this process, and the CPU time of both ends counts. Each round
//! measures everything once; the report has the medians.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

use std::{
    env,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use clap::Parser;
use embedder::tables;
use http::Request;
use http_body_util::Full;
use rcgen::generate_simple_self_signed;
use ring::hmac::{HMAC_SHA256, Key, sign};
use rowmill_harness::{
    Failure,
    grid::Grid,
    page::{machine, write_section},
    spread::Spread,
};
use rowmill_ingest::{
    ClickHouseUrl, EventOptions, Writer, WriterOptions,
    layer::RouteSecrets,
    server::{ServeOptions, Tls, not_found, serve},
    store::Servers,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        client::Resumption,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tower::{Layer, Service, service_fn};

const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = r#"{"number":7,"event":"sent","email":"anna@example.org","detailed":"250 2.0.0 OK"}"#;

/// Requests of one measurement on an open connection, and connections of one with a handshake each.
const REQUESTS: usize = 20_000;
const HANDSHAKES: usize = 500;

/// Measures verified webhooks, and TLS.
#[derive(Debug, Parser)]
struct Options {
    /// Number of rounds; each measures everything once.
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// A first look within seconds: 3 rounds of a tenth of the requests.
    #[arg(long)]
    short: bool,

    /// Write the figures into docs/performance.md.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One kind of request, and its CPU times in microseconds.
struct Series {
    name: &'static str,
    place: Place,
    spread: Spread,
}

/// How a request reaches the layer.
#[derive(Clone, Copy)]
enum Place {
    /// Without a socket, on this path.
    Called(&'static str),
    /// Over an open connection.
    Open { is_tls: bool },
    /// Over a connection of its own.
    New { is_tls: bool },
}

const SERIES: [(&str, Place); 6] = [
    ("plain", Place::Called("/signed/open")),
    ("verified (HMAC-SHA256)", Place::Called("/signed/github")),
    ("open connection", Place::Open { is_tls: false }),
    ("open connection, TLS", Place::Open { is_tls: true }),
    ("new connection", Place::New { is_tls: false }),
    ("new connection, TLS 1.3", Place::New { is_tls: true }),
];

fn run(options: &Options) -> Result<(), Failure> {
    let (rounds, divisor) = if options.short { (3, 10) } else { (options.rounds, 1) };
    let world = World::start()?;
    let series = SERIES.map(|(name, place)| Series {
        name,
        place,
        spread: Spread::default(),
    });
    let mut series = Vec::from(series);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for turn in 0..series.len() {
            let index = (turn + round) % series.len();
            let one = &mut series[index];
            one.spread.push(world.measure(one.place, divisor)?);
        }
    }
    let mut grid = Grid::new(&["a webhook", "CPU µs", "ratio"]);
    for one in &series {
        let plain = match one.place {
            Place::Called(_) => &series[0],
            Place::Open { .. } => &series[2],
            Place::New { .. } => &series[4],
        };
        grid.push([
            one.name.to_owned(),
            format!("{:.2}", one.spread),
            format!("{:.2}", one.spread.to(&plain.spread)),
        ]);
    }
    let report = format!(
        "{}. {rounds} rounds; ± is half the distance between the extreme rounds. The first two rows are calls of the layer \
         without sockets, with the time of one thread; the others are round trips over loopback, with the times of client and \
         server together.\n\n{grid}",
        machine()
    );
    println!("\n{report}");
    if options.write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "trusted", &report)?;
    }
    Ok(())
}

/// The layer, and two servers of it.
struct World {
    runtime: Runtime,
    writer: Writer,
    plain: SocketAddr,
    tls: SocketAddr,
    connector: TlsConnector,
    signature: String,
}

impl World {
    fn start() -> Result<Self, Failure> {
        let runtime = Runtime::new()?;
        // No server of ClickHouse: rows stay in memory, which has space for them.
        let store: ClickHouseUrl = "http://127.0.0.1:1/stats".parse()?;
        let options = WriterOptions {
            memory_bytes: 4 << 30,
            ..WriterOptions::default()
        };
        let writer = runtime.block_on(async { Writer::start(&tables::SCHEMA, Servers::without_sync(store), &options) });
        let certified = generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = tempfile::tempdir()?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, certified.cert.pem())?;
        std::fs::write(&key, certified.signing_key.serialize_pem())?;
        let tls = Tls::load(&certificate, &key)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certified.cert.pem().as_bytes())?)?;
        let mut client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        let tag = sign(&Key::new(HMAC_SHA256, SECRET.as_bytes()), BODY.as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            plain: listen(&runtime, &writer, None)?,
            tls: listen(&runtime, &writer, Some(tls))?,
            connector: TlsConnector::from(Arc::new(client)),
            signature: format!("sha256={digits}"),
            runtime,
            writer,
        })
    }

    /// Returns the CPU time of one request in microseconds.
    fn measure(&self, place: Place, divisor: usize) -> Result<f64, Failure> {
        match place {
            Place::Called(path) => self.call(path, REQUESTS / divisor),
            Place::Open { is_tls } => {
                let requests = REQUESTS / divisor;
                self.runtime.block_on(async {
                    let mut stream = self.connect(is_tls).await?;
                    exchange(&mut stream).await?;
                    let start = cpu(ClockId::ProcessCPUTime);
                    for _ in 0..requests {
                        exchange(&mut stream).await?;
                    }
                    Ok(per_request(cpu(ClockId::ProcessCPUTime) - start, requests))
                })
            }
            Place::New { is_tls } => {
                let requests = HANDSHAKES / divisor;
                self.runtime.block_on(async {
                    let start = cpu(ClockId::ProcessCPUTime);
                    for _ in 0..requests {
                        let mut stream = self.connect(is_tls).await?;
                        exchange(&mut stream).await?;
                    }
                    Ok(per_request(cpu(ClockId::ProcessCPUTime) - start, requests))
                })
            }
        }
    }

    fn call(&self, path: &str, requests: usize) -> Result<f64, Failure> {
        let _inside = self.runtime.enter();
        let service = layer(&self.writer)?
            .layer(service_fn(not_found))
            .with_peer([203, 0, 113, 7].into());
        let request = || {
            let request = Request::post(path)
                .header("content-type", "application/json")
                .header(
                    "user-agent",
                    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                )
                .header("x-hub-signature-256", &self.signature);
            request.body(Full::new(Bytes::from_static(BODY.as_bytes())))
        };
        let prepared: Vec<_> = (0..requests).map(|_| request()).collect::<Result<_, _>>()?;
        let mut context = Context::from_waker(Waker::noop());
        let start = cpu(ClockId::ThreadCPUTime);
        for request in prepared {
            let mut response = std::pin::pin!(service.clone().call(request));
            match response.as_mut().poll(&mut context) {
                Poll::Ready(Ok(response)) if response.status().is_success() => {}
                Poll::Ready(response) => return Err(format!("{path}: {:?}", response.map(|r| r.status())).into()),
                Poll::Pending => return Err(format!("{path} is not answered at once").into()),
            }
        }
        Ok(per_request(cpu(ClockId::ThreadCPUTime) - start, requests))
    }

    async fn connect(&self, is_tls: bool) -> Result<Box<dyn Stream>, Failure> {
        let stream = TcpStream::connect(if is_tls { self.tls } else { self.plain }).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from("localhost")?;
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn layer(writer: &Writer) -> Result<rowmill_ingest::EventLayer<tables::Routes>, Failure> {
    let options = EventOptions {
        secrets: RouteSecrets::default().with("signed/github", [SECRET]),
        ack: rowmill_ingest::Ack::Accepted,
        ..EventOptions::default()
    };
    Ok(tables::layer(writer.clone())?.with_options(&options))
}

/// Serves the layer on a free port until the process ends.
fn listen(runtime: &Runtime, writer: &Writer, tls: Option<Tls>) -> Result<SocketAddr, Failure> {
    let _inside = runtime.enter();
    let service = layer(writer)?.layer(service_fn(not_found));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let options = ServeOptions {
        tls,
        ..ServeOptions::default()
    };
    runtime.spawn(serve(
        listener,
        move |peer: SocketAddr| service.clone().with_peer(peer.ip()),
        options,
        std::future::pending(),
    ));
    Ok(address)
}

/// Sends a webhook and reads its response.
async fn exchange(stream: &mut Box<dyn Stream>) -> Result<(), Failure> {
    let request = format!(
        "POST /signed/open HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&answer) {
        match stream.read(&mut part).await? {
            0 => return Err("the connection has ended".into()),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&answer).into()),
    }
}

/// Returns whether a response has all bytes of its body.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split_once("content-length: ").map(|(_, rest)| rest);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap_or(0))
}

fn per_request(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}
