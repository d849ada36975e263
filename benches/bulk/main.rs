//! Many events a request, from the bytes of a body to finished blocks: `cargo bench --bench bulk`, or `… -- --short`.
//!
//! Distinct events, a thousand a body, go through the layer without a socket; the blocks are compressed and sent to a store in this
//! process that reads and forgets them. What counts is CPU time: that of the thread that takes the requests, which ends with rows
//! in an open block, and that of the whole process, compressing, sending and the store's reading included.
//!
//! With `-- --clickhouse` the rows go to a real one, on a core of its own, in turn with blocks that are ready: what it takes at most.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

mod beside;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use rowmill::tables;
use rowmill_harness::{
    Failure,
    events::{Kind, Requests},
};
use rowmill_ingest::{StoreUrl, Writer, WriterOptions};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::{Layer, Service};

/// Lines of one body.
const LINES: usize = 1_000;

/// Bodies that are made; each is sent more than once.
const BODIES: usize = 200;

/// Measures what an event costs among many of one request.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Events of a round.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,

    /// A first look: one round of 200 000 events.
    #[arg(long)]
    short: bool,

    /// Into a real ClickHouse, in turn with what it takes at most.
    #[arg(long)]
    clickhouse: bool,

    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Answers every insert as ClickHouse does when all is well, and counts its bytes.
async fn forget(mut request: Request<Incoming>, bytes: Arc<AtomicU64>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(frame)) = request.body_mut().frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    Ok(Response::new(Full::default()))
}

async fn store(bytes: Arc<AtomicU64>) -> Result<StoreUrl, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let bytes = Arc::clone(&bytes);
            let service = service_fn(move |request| forget(request, Arc::clone(&bytes)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(format!("http://{address}/stats").parse()?)
}

fn bodies() -> Result<Vec<Bytes>, Failure> {
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
            body.extend_from_slice(&request[head.ok_or("a request without an end of its head")? + 4..]);
            body.push(b'\n');
        }
        bodies.push(body.into());
    }
    Ok(bodies)
}

fn cpu(of: UsageWho) -> Result<Duration, Failure> {
    let usage = getrusage(of)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds)?))
}

/// Takes so many events through the layer, each body more than once if need be.
fn take_in(runtime: &Runtime, writer: &Writer, bodies: &[Bytes], events: usize) -> Result<(), Failure> {
    let service = tables::layer(writer.clone())
        .layer(tower::service_fn(rowmill_ingest::not_found))
        .with_peer([203, 0, 113, 7].into());
    for body in bodies.iter().cycle().take(events / LINES) {
        let request = Request::post("/wh/mail")
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(Full::new(body.clone()))?;
        let answer = runtime.block_on(service.clone().call(request))?;
        if !answer.status().is_success() {
            return Err(format!("a request was answered with {}", answer.status()).into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let Options {
        mut rounds,
        mut events,
        short,
        clickhouse,
        bench: _,
    } = Options::parse();
    if short {
        (rounds, events) = (1, 200_000);
    }
    let bodies = bodies()?;
    let mean = bodies.iter().map(Bytes::len).sum::<usize>() / (LINES * BODIES);
    println!("events of {mean} bytes, {LINES} a request");
    if clickhouse {
        return beside::run(&bodies, rounds, events);
    }
    println!(
        "{:>8} {:>12} {:>14} {:>12} {:>14} {:>14}",
        "round", "ns to block", "events/s/core", "ns in all", "events/s/core", "bytes sent/row"
    );
    let sent = Arc::new(AtomicU64::new(0));
    let runtime = Runtime::new()?;
    for round in 1..=rounds {
        let writer = runtime.block_on(async {
            let options = WriterOptions {
                memory_bytes: 8 << 30,
                ..WriterOptions::default()
            };
            Ok::<_, Failure>(Writer::start(
                &tables::SCHEMA,
                store(Arc::clone(&sent)).await?.client(),
                &options,
            ))
        })?;
        let sent_before = sent.load(Ordering::Relaxed);
        let (all, own, started) = (
            cpu(UsageWho::RUSAGE_SELF)?,
            cpu(UsageWho::RUSAGE_THREAD)?,
            Instant::now(),
        );
        take_in(&runtime, &writer, &bodies, events)?;
        let own = cpu(UsageWho::RUSAGE_THREAD)? - own;
        let report = runtime.block_on(writer.drain(Duration::from_secs(60)));
        let (all, took) = (cpu(UsageWho::RUSAGE_SELF)? - all, started.elapsed());
        let stored = writer.counters().iter().map(|table| table.rows_inserted).sum::<u64>();
        if !report.is_complete() || stored != events as u64 {
            return Err(format!("{stored} of {events} rows arrived").into());
        }
        let each = |time: Duration| time.as_nanos() as f64 / events as f64;
        let per_row = (sent.load(Ordering::Relaxed) - sent_before) as f64 / events as f64;
        println!(
            "{round:>8} {:>12.0} {:>14.0} {:>12.0} {:>14.0} {per_row:>14.1}   {took:.2?}",
            each(own),
            1e9 / each(own),
            each(all),
            1e9 / each(all),
        );
    }
    Ok(())
}
