//! Many events per request, from the bytes of a body to finished blocks:
//! `cargo bench --bench bulk`, or `… -- --short`.
//!
//! Distinct events, a thousand per body, go through the layer without a socket. The blocks are
//! compressed and sent to a server that reads and discards them. The bench measures the CPU time of
//! the whole process, but without the server's thread: for the same events in each format
//! ([`formats`]), beside the CPU time of ClickHouse for the same bytes. The loop waits while too many
//! rows are pending, as a client does that receives a 503.
//!
//! Then the rows go to a real ClickHouse on its own core, in turn with ready-made blocks, which
//! show the maximum rate of ClickHouse.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

mod beside;
mod formats;
#[path = "../null_store/mod.rs"]
mod null_store;

use std::{thread, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::{Request, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use rowmill::tables;
use rowmill_harness::{
    Failure,
    events::{Kind, Requests},
    page::{machine, write_section},
};
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::oneshot,
};
use tower::{Layer, Service};

/// Lines per body.
const LINES: usize = 1_000;

/// Distinct bodies; each is sent more than once.
const BODIES: usize = 200;

/// Bytes of pending rows above which the loop waits before it sends the next body.
const MAX_PENDING_BYTES: u64 = 96 << 20;

/// Measures the cost of an event in a request of many.
#[derive(Debug, Parser)]
struct Options {
    /// Number of rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Events per round. With fewer, ClickHouse would postpone its merges until after the
    /// measurement.
    #[arg(long, default_value_t = 4_000_000)]
    events: usize,

    /// A first look: one round of 200 000 events.
    #[arg(long)]
    short: bool,

    /// Write the figures into docs/performance.md.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The type of the bodies with lines.
const NDJSON: &str = "application/x-ndjson";

/// The bodies of requests, and what the requests declare about them.
struct Bodies {
    content_type: &'static str,
    encoding: &'static str,
    bodies: Vec<Bytes>,
}

/// A server that discards all rows, on its own thread.
struct NullStore {
    url: ClickHouseUrl,
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<Duration, Failure>>,
}

impl NullStore {
    fn start() -> Result<Self, Failure> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    () = serve(listener) => {}
                    _ = ended => {}
                }
                cpu(UsageWho::RUSAGE_THREAD)
            })
        });
        Ok(Self {
            url: format!("http://{address}/stats").parse()?,
            end,
            thread,
        })
    }

    /// Stops the server and returns the CPU time of its thread.
    fn stop(self) -> Result<Duration, Failure> {
        drop(self.end);
        self.thread.join().map_err(|_| "the store's thread panicked")?
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(null_store::discard)));
    }
}

fn bodies() -> Result<Bodies, Failure> {
    let requests = Requests::generate(Kind::Webhook, LINES * BODIES)?;
    let mut request = Vec::new();
    let mut number = 0;
    let mut bodies = Vec::new();
    for _ in 0..BODIES {
        let mut body = Vec::new();
        for _ in 0..LINES {
            requests.write(number, &mut request);
            number += 1;
            let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            body.extend_from_slice(&request[head.ok_or("a request whose head has no end")? + 4..]);
            body.push(b'\n');
        }
        bodies.push(body.into());
    }
    Ok(Bodies {
        content_type: NDJSON,
        encoding: "identity",
        bodies,
    })
}

fn cpu(of: UsageWho) -> Result<Duration, Failure> {
    let usage = getrusage(of)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds)?))
}

fn pending_bytes(writer: &Writer) -> u64 {
    writer.status().tables.iter().map(|table| table.bytes_pending).sum()
}

/// Sends `events` events through the layer, repeating the bodies as needed.
fn send_all(runtime: &Runtime, writer: &Writer, all: &Bodies, events: usize) -> Result<(), Failure> {
    let service = tables::layer(writer.clone())
        .expect("the writer of this schema")
        .layer(tower::service_fn(rowmill_ingest::server::not_found))
        .with_peer([203, 0, 113, 7].into());
    for body in all.bodies.iter().cycle().take(events / LINES) {
        while pending_bytes(writer) > MAX_PENDING_BYTES {
            thread::sleep(Duration::from_millis(1));
        }
        let request = Request::post("/wh/mail")
            .header(header::CONTENT_TYPE, all.content_type)
            .header(header::CONTENT_ENCODING, all.encoding)
            .body(Full::new(body.clone()))?;
        let answer = runtime.block_on(service.clone().call(request))?;
        if !answer.status().is_success() {
            return Err(format!("a request was answered with {}", answer.status()).into());
        }
    }
    Ok(())
}

/// Returns the CPU time per event until its block is sent to a server that discards the rows, in
/// nanoseconds.
fn cost_with_null_store(bodies: &Bodies, events: usize) -> Result<f64, Failure> {
    let runtime = Runtime::new()?;
    let store = NullStore::start()?;
    let writer = {
        let _inside = runtime.enter();
        Writer::start(
            &tables::SCHEMA,
            Servers::without_sync(store.url.clone()),
            &WriterOptions::default(),
        )
    };
    let all = cpu(UsageWho::RUSAGE_SELF)?;
    send_all(&runtime, &writer, bodies, events)?;
    let report = runtime.block_on(writer.drain(Duration::from_secs(60)));
    let all = cpu(UsageWho::RUSAGE_SELF)? - all;
    let all = all.saturating_sub(store.stop()?);
    let tables = writer.status().tables;
    // The rows of other tables would be dead letters.
    let events_of = tables
        .iter()
        .find(|table| *table.table == *tables::mail_statistics::TABLE.name);
    let stored = events_of.map_or(0, |table| table.rows_inserted);
    if !report.is_complete() || stored != events as u64 {
        return Err(format!("{stored} of {events} rows arrived").into());
    }
    Ok(all.as_nanos() as f64 / events as f64)
}

fn main() -> Result<(), Failure> {
    let Options {
        mut rounds,
        mut events,
        short,
        write,
        bench: _,
    } = Options::parse();
    if short {
        (rounds, events) = (1, 200_000);
    }
    let bodies = bodies()?;
    let mean = bodies.bodies.iter().map(Bytes::len).sum::<usize>() / (LINES * BODIES);
    let formats = formats::run(&bodies, rounds, events)?;
    let beside = beside::run(&bodies, rounds, events)?;

    let report = format!(
        "{}. {rounds} rounds of {events} events of {mean} bytes, {LINES} a request; ± is half the distance between the extreme \
         rounds.\n\n{formats}\n{beside}\nAll rows arrived.\n",
        machine()
    );
    println!("{report}");
    if write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "bulk", &report)?;
    }
    Ok(())
}
