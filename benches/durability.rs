//! The cost of having an event on disk before it is acknowledged: `cargo bench --bench durability`,
//! or `… -- --short`.
//!
//! One run measures, in turn in each round, hyper with a fixed body, and the collector with each
//! acknowledgement, which `X-Rowmill-Ack` requests. The report also has the cost of
//! one fdatasync on this disk. Every row has to arrive in ClickHouse exactly once.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

use std::{
    env,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use rowmill_harness::{
    Failure,
    bench::{BASELINE, Bench},
    events::{Kind, Requests},
    grid::Grid,
    histogram::Histogram,
    load::{Load, Pace},
    measure::{Rounds, measure, mebibytes, milliseconds},
    page::{machine, write_section},
};

const TABLE: &str = "collector.mail_statistics";

/// Bytes per write in the fdatasync test: a few dozen rows, as a spool writes at a time.
const WRITE_BYTES: usize = 8 << 10;

/// Measures the collector with each acknowledgement.
#[derive(Debug, Parser)]
struct Options {
    /// Acknowledgements to measure.
    #[arg(long, value_delimiter = ',', default_values = ["accepted", "spooled"])]
    acks: Vec<String>,

    /// Number of rounds; each measures everything once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Seconds per measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,

    /// Distinct requests to generate; more are the same ones with new message ids.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,

    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// A first look within a minute: 2 rounds of 1 s, 100 000 events.
    #[arg(long)]
    short: bool,

    /// Write the figures into docs/performance.md.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One server and acknowledgement; without an acknowledgement the server is hyper.
struct Series {
    ack: Option<String>,
    requests: Requests,
    next: u64,
    rounds: Rounds,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == BASELINE => rowmill_baseline::run(rest),
        _ => run(Options::parse()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), Failure> {
    if options.short {
        options.rounds = 2;
        options.seconds = 1.0;
        options.events = options.events.min(100_000);
    }
    let machine = machine();
    println!("{machine}");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rowmill"));
    let bench = Bench::start(&program, env!("CARGO_TARGET_TMPDIR").as_ref())?;
    let hyper = bench.baseline(&["hyper"])?;
    let collector = bench.collector(&program, "collector")?;

    // hyper gets the same requests as `accepted`.
    let mut series = vec![Series::new(None, options.events)?];
    for ack in &options.acks {
        series.push(Series::new(Some(ack.clone()), options.events)?);
    }
    let mut disk = Histogram::default();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let folder = bench.folder();
        disk.merge(&bench.cores.as_server(|| fdatasyncs(folder))??);
        for turn in 0..series.len() {
            let index = (turn + round) % series.len();
            let one = &mut series[index];
            let server = if one.ack.is_some() { &collector } else { &hyper };
            let seconds = Duration::from_secs_f64(options.seconds);
            let load = Load {
                address: server.address(),
                requests: &one.requests,
                first: one.next,
                connections: options.connections,
                pace: Pace::Closed,
                warm_up: seconds / 5,
                measured: seconds,
            };
            let figures = measure(server, &bench.store, &bench.cores, &load)?;
            one.next += figures.sent;
            one.rounds.push(&figures);
            if one.ack.is_some() {
                if figures.ack != one.ack {
                    return Err(
                        format!("asked for {:?}, the collector acknowledged {:?}", one.ack, figures.ack).into(),
                    );
                }
                bench
                    .store
                    .check_arrival(TABLE, "message_id", figures.accepted, figures.unanswered)?;
                bench.store.empty(TABLE)?;
            }
        }
    }

    let report = report(&machine, &options, &disk, &series);
    println!("\n{report}");
    collector.stop()?;
    hyper.stop()?;
    if options.write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "durability", &report)?;
    }
    Ok(())
}

impl Series {
    fn new(ack: Option<String>, events: usize) -> Result<Self, Failure> {
        let value = ack.as_deref().unwrap_or("accepted");
        Ok(Self {
            requests: Requests::generate(Kind::Webhook, events)?.with_header("X-Rowmill-Ack", value),
            ack,
            next: 0,
            rounds: Rounds::default(),
        })
    }
}

/// Appends to a file in `folder` for a second and times the fdatasync after each write.
fn fdatasyncs(folder: &Path) -> Result<Histogram, Failure> {
    let mut file = File::create(folder.join("fdatasync"))?;
    let bytes = [0x5a; WRITE_BYTES];
    let mut histogram = Histogram::default();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        file.write_all(&bytes)?;
        let start = Instant::now();
        file.sync_data()?;
        histogram.record(start.elapsed());
    }
    Ok(histogram)
}

fn report(machine: &str, options: &Options, disk: &Histogram, series: &[Series]) -> String {
    let sync = milliseconds(disk.quantile(0.5));
    let mut grid = Grid::new(&[
        "POST /wh/mail",
        "requests/s",
        "CPU µs/request",
        "p50 ms",
        "p99 ms",
        "p99 : fdatasync p50",
        "peak MiB",
        "busy",
        "requests/s : hyper",
        "refused",
    ]);
    let hyper = &series[0].rounds.per_second;
    for Series { ack, rounds, .. } in series {
        grid.push([
            ack.as_ref()
                .map_or("hyper".to_owned(), |ack| format!("collector, {ack}")),
            format!("{:.0}", rounds.per_second),
            format!("{:.2}", rounds.cpu_us),
            format!("{:.2}", rounds.p50),
            format!("{:.2}", rounds.p99),
            format!("{:.1}", rounds.p99.median() / sync),
            format!("{:.1}", mebibytes(rounds.peak)),
            rounds.busy(),
            format!("{:.2}", rounds.per_second.to(hyper)),
            rounds.refusals(),
        ]);
    }
    format!(
        "{machine}. {} rounds of {} s, {} connections; ± is half the distance between the extreme rounds. Busy: server, load generator, ClickHouse \
         and everybody else, in percent of a core. One fdatasync of {} KiB on this disk: p50 {sync:.2} ms, p99 {:.2} ms.\n\n{grid}\nAll rows \
         that were accepted arrived in ClickHouse, each once.\n",
        options.rounds,
        options.seconds,
        options.connections,
        WRITE_BYTES >> 10,
        milliseconds(disk.quantile(0.99)),
    )
}
