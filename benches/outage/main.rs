//! An outage of ClickHouse under load: `cargo bench --bench outage`, or `… -- --short`.
//!
//! Events arrive at half of the collector's maximum rate, on the same connections throughout
//! four phases: while ClickHouse runs, while it is stopped, while it runs again and inserts the
//! backlog, and afterwards. The bench measures, in each phase, the latencies of the answers and the
//! time from an event of another table to its row, and the collector's peak use of memory and disk.
//! A second run has limits so small that the collector reaches them. In the end each acknowledged
//! row must be in ClickHouse exactly once. The bench fails if a row is missing or duplicated, or if
//! the collector exceeds a limit.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rowmill_harness::{
    Failure,
    ask::ask,
    bench::Bench,
    cores::Cores,
    events::{Kind, Requests},
    grid::Grid,
    histogram::Histogram,
    load::{Load, Pace, Totals},
    measure::{measure, mebibytes, milliseconds},
    page::{machine, write_section},
    process::Server,
    spread::Spread,
    store::Store,
};

use self::watch::{Sample, Watch};

const TABLE: &str = "mail_statistics";

/// The length of the time slices in which latencies are recorded, each assigned to a phase.
const SLICE: Duration = Duration::from_millis(100);

/// Memory that the program may use beyond its configured limit.
const EXTRA_MEMORY: u64 = 64 << 20;

/// Small limits of memory and disk; one table may use half of the disk's.
const SMALL: (u64, u64) = (32 << 20, 64 << 20);

/// The default limits of memory and disk.
const USUAL: (u64, u64) = (256 << 20, 8 << 30);

/// Measures what an outage of ClickHouse costs.
#[derive(Debug, Parser)]
struct Options {
    /// Acknowledgements to measure.
    #[arg(long, value_delimiter = ',', default_values = ["accepted", "spooled"])]
    acks: Vec<String>,

    /// Number of rounds; each has an outage for every acknowledgement.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Seconds before and after each outage.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,

    /// Seconds of an outage.
    #[arg(long, default_value_t = 30.0)]
    away: f64,

    /// Events per second; the default is half of the collector's maximum.
    #[arg(long)]
    rate: Option<f64>,

    /// Distinct requests to generate; more are the same ones with new message ids.
    #[arg(long, default_value_t = 500_000)]
    events: usize,

    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// A first look: 1 round, outages of 10 s.
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
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), Failure> {
    if options.short {
        options.rounds = 1;
        (options.seconds, options.away) = (5.0, 10.0);
        options.events = options.events.min(100_000);
    }
    let machine = machine();
    println!("{machine}");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rowmill"));
    let mut bench = Bench::start(&program, env!("CARGO_TARGET_TMPDIR").as_ref())?;
    let mut series = Vec::new();
    for ack in &options.acks {
        series.push(Series {
            requests: Requests::generate(Kind::Webhook, options.events)?.with_header("X-Rowmill-Ack", ack),
            ack,
            next: 0,
            usual: Vec::new(),
            small: Vec::new(),
        });
    }
    let rate = match options.rate {
        Some(rate) => rate,
        None => half_of_the_maximum(&bench, &program, &options, &mut series)?,
    };
    for round in 0..options.rounds {
        for series in &mut series {
            eprintln!("round {} of {}: {}", round + 1, options.rounds, series.ack);
            let outage = series.outage(&mut bench, &program, &options, rate, USUAL, false)?;
            series.usual.push(outage);
        }
    }
    for series in &mut series {
        eprintln!("until the spool is full: {}", series.ack);
        let outage = series.outage(&mut bench, &program, &options, rate, SMALL, true)?;
        series.small.push(outage);
    }

    let report = report(&machine, &options, rate, &series);
    println!("\n{report}");
    if options.write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "outage", &report)?;
    }
    Ok(())
}

/// Returns half of the collector's maximum rate, measured with the last of the acknowledgements.
fn half_of_the_maximum(
    bench: &Bench,
    program: &Path,
    options: &Options,
    series: &mut [Series<'_>],
) -> Result<f64, Failure> {
    let last = series.last_mut().ok_or("there is no acknowledgement")?;
    let server = bench.collector(program, "collector")?;
    let load = Load {
        address: server.address(),
        requests: &last.requests,
        first: last.next,
        connections: options.connections,
        pace: Pace::Closed,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(3),
    };
    let figures = measure(&server, &bench.store, &bench.cores, &load)?;
    last.next += figures.sent;
    server.stop()?;
    bench.store.empty("collector.mail_statistics")?;
    Ok((figures.per_second / 2.0).round())
}

/// Outages with one acknowledgement.
struct Series<'o> {
    ack: &'o str,
    requests: Requests,
    next: u64,
    usual: Vec<Outage>,
    small: Vec<Outage>,
}

/// The figures of one outage.
struct Outage {
    phases: [Phase; 4],
    /// Rows that were pending when ClickHouse restarted.
    backlog: u64,
    /// The time from the first insert until few rows were pending.
    drained_within: Duration,
    resident: u64,
    disk: u64,
    totals: Totals,
}

const PHASES: [&str; 4] = ["before", "ClickHouse away", "backlog goes", "after"];

/// The figures of one phase.
#[derive(Default)]
struct Phase {
    latency: Histogram,
    /// Seconds from an event of another table to its row.
    fresh: Spread,
}

impl Series<'_> {
    /// Stops ClickHouse under load and starts it again; with `is_to_be_full`, only after the
    /// collector refuses rows.
    fn outage(
        &mut self,
        bench: &mut Bench,
        program: &Path,
        options: &Options,
        rate: f64,
        limits: (u64, u64),
        is_to_be_full: bool,
    ) -> Result<Outage, Failure> {
        let (memory, disk) = (limits.0.to_string(), limits.1.to_string());
        let server = bench.collector_with(
            program,
            "collector",
            &["--memory-bytes", &memory, "--spool-bytes", &disk],
        )?;
        let load = Load {
            address: server.address(),
            requests: &self.requests,
            first: self.next,
            connections: options.connections,
            pace: Pace::Open(rate),
            warm_up: Duration::ZERO,
            measured: Duration::ZERO,
        };
        let is_over = AtomicBool::new(false);
        let cores = bench.cores.clone();
        let (events, watched) = thread::scope(|scope| {
            let load = scope.spawn(|| cores.as_load(|| slices(&load, &is_over))?);
            let watched = cores.as_store(|| watch(bench, &server, options, rate, is_to_be_full));
            is_over.store(true, Ordering::SeqCst);
            let events = load.join().map_err(|_| "the load has ended by a panic")?;
            Ok::<_, Failure>((events?, watched??))
        })?;
        let ((slices, totals), Watched { watch, times, backlog }) = (events, watched);
        self.next += totals.sent;

        let mut phases: [Phase; 4] = Default::default();
        for (phase, &(start, end)) in phases.iter_mut().zip(&times) {
            let within = |from: Instant, to: Instant| start <= from && to <= end;
            for (at, latency) in &slices {
                if within(*at, *at + SLICE) {
                    phase.latency.merge(latency);
                }
            }
            let arrivals = watch.arrivals.iter().filter(|(at, took)| within(*at - *took, *at));
            phase.fresh.extend(arrivals.map(|(_, took)| took.as_secs_f64()));
        }
        let outage = Outage {
            phases,
            backlog,
            drained_within: times[2].1 - times[2].0,
            resident: watch.resident,
            disk: watch.disk,
            totals,
        };
        let is_exact = outage.check(&watch, limits);
        server.stop()?;
        is_exact?;
        outage.check_rows(&bench.store, options.events)?;
        Ok(outage)
    }
}

/// Sends events until `is_over`, and returns the latencies of each time slice.
fn slices(load: &Load<'_>, is_over: &AtomicBool) -> Result<(Vec<(Instant, Histogram)>, Totals), Failure> {
    let mut running = load.start()?;
    let mut slices = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let start = Instant::now();
        slices.push((start, running.phase(SLICE)?));
    }
    Ok((slices, running.finish()?))
}

/// Observations of an outage, and the times of its phases.
struct Watched<'b> {
    watch: Watch<'b>,
    times: [(Instant, Instant); 4],
    backlog: u64,
}

/// Stops ClickHouse and starts it again.
fn watch<'b>(
    bench: &mut Bench,
    server: &'b Server,
    options: &Options,
    rate: f64,
    is_to_be_full: bool,
) -> Result<Watched<'b>, Failure> {
    let cores: Cores = bench.cores.clone();
    let normal = Duration::from_secs_f64(options.seconds);
    let mut watch = Watch::new(server, &bench.store, TABLE, bench.data("collector").join("spool"))?;
    server.forget_peak()?;
    watch.during(normal / 5, Some(&bench.store))?;
    let before = watch.during(normal, Some(&bench.store))?;

    bench.store.stop()?;
    let start = Instant::now();
    watch.during(Duration::from_secs_f64(options.away), None)?;
    if is_to_be_full {
        let is_full = |sample: &Sample| sample.refused as f64 > rate;
        watch.until("a full spool", None, is_full)?;
        let (status, body) = ask(server.address(), "GET", "/pixel/mail?event=open", "")?;
        if status != 200 {
            return Err(format!("a pixel is answered with {status}: {body}").into());
        }
    }
    let stopped = watch.sample()?;
    bench.store.start_again(&cores)?;

    let first = watch.until("the first insert", Some(&bench.store), |sample| {
        sample.inserted > stopped.inserted
    })?;
    let usual = (rate * 2.0) as u64;
    let drained = watch.until("the end of the backlog", Some(&bench.store), |sample| {
        sample.pending < usual
    })?;
    // The end of the backlog must not count towards the next phase.
    watch.during(Duration::from_secs(1), Some(&bench.store))?;
    let after = watch.during(normal, Some(&bench.store))?;
    Ok(Watched {
        watch,
        times: [before, (start, stopped.at), (first.at, drained.at), after],
        backlog: stopped.pending,
    })
}

impl Outage {
    /// Fails if the collector exceeded a limit, failed to answer, or refused with a status other
    /// than 503; or if its spool failed.
    fn check(&self, watch: &Watch<'_>, (memory, disk): (u64, u64)) -> Result<(), Failure> {
        let Totals {
            refused, unanswered, ..
        } = &self.totals;
        if self.resident > memory + EXTRA_MEMORY {
            return Err(format!("{:.0} MiB of memory were used", mebibytes(self.resident)).into());
        }
        if self.disk > disk {
            return Err(format!("{:.0} MiB of disk were used", mebibytes(self.disk)).into());
        }
        if *unanswered > 0 || refused.keys().any(|status| *status != 503) {
            return Err(format!("{unanswered} requests without an answer, refused {refused:?}").into());
        }
        if watch.has_failed {
            return Err("the spool has failed".into());
        }
        Ok(())
    }

    /// Fails if the table lacks an acknowledged row, has a refused row, or has a row
    /// twice.
    fn check_rows(&self, store: &Store, events: usize) -> Result<(), Failure> {
        // The number of a request from the start of its message id: the pass, and the index within
        // it.
        let number =
            format!("toUInt64(substring(message_id, 1, 4)) * {events} + toUInt64(substring(message_id, 6, 8))");
        let refused: Vec<_> = self
            .totals
            .refused_numbers
            .iter()
            .map(|number| format!("({number})"))
            .collect();
        store.query("CREATE OR REPLACE TABLE collector.refused (number UInt64) ENGINE = Memory")?;
        if !refused.is_empty() {
            store.query(&format!("INSERT INTO collector.refused VALUES {}", refused.join(",")))?;
        }
        let wrong = store.query(&format!(
            "SELECT count() != uniqExact({number}), countIf(({number}) NOT IN collector.refused) FROM collector.{TABLE} WHERE service = 'wh'"
        ))?;
        let right = format!("0\t{}", self.totals.accepted);
        if wrong != right {
            return Err(
                format!("duplicated, and acknowledged: {wrong:?} in the table, {right:?} were expected").into(),
            );
        }
        store.empty(&format!("collector.{TABLE}"))
    }
}

fn report(machine: &str, options: &Options, rate: f64, series: &[Series<'_>]) -> String {
    let mut latencies = Grid::new(&[
        "POST /wh/mail",
        "",
        "p50 ms",
        "p99 ms",
        "p50 : before",
        "p99 : before",
        "other table's rows, s",
    ]);
    let mut bounds = Grid::new(&[
        "POST /wh/mail",
        "bounds",
        "backlog, rows",
        "gone within, s",
        "memory MiB",
        "disk MiB",
        "503",
    ]);
    for one in series {
        for (index, name) in PHASES.iter().enumerate() {
            let of = |figure: &dyn Fn(&Outage) -> f64| one.usual.iter().map(figure).collect::<Spread>();
            let quantile =
                |outage: &Outage, phase: usize, share| milliseconds(outage.phases[phase].latency.quantile(share));
            let ratio = |share| of(&|outage| quantile(outage, index, share) / quantile(outage, 0, share));
            let fresh: Spread = one
                .usual
                .iter()
                .map(|outage| outage.phases[index].fresh.median())
                .filter(|fresh| !fresh.is_nan())
                .collect();
            latencies.push([
                one.ack.to_owned(),
                (*name).to_owned(),
                format!("{:.2}", of(&|outage| quantile(outage, index, 0.5))),
                format!("{:.2}", of(&|outage| quantile(outage, index, 0.99))),
                format!("{:.2}", ratio(0.5)),
                format!("{:.2}", ratio(0.99)),
                format!("{fresh:.2}"),
            ]);
        }
        for (outages, (memory, disk)) in [(&one.usual, USUAL), (&one.small, SMALL)] {
            let most = |figure: fn(&Outage) -> u64| outages.iter().map(figure).max().unwrap_or(0);
            let within: Spread = outages
                .iter()
                .map(|outage| outage.drained_within.as_secs_f64())
                .collect();
            bounds.push([
                one.ack.to_owned(),
                format!("{} and {} MiB", memory >> 20, disk >> 20),
                most(|outage| outage.backlog).to_string(),
                format!("{within:.1}"),
                format!("{:.0}", mebibytes(most(|outage| outage.resident))),
                format!("{:.0}", mebibytes(most(|outage| outage.disk))),
                most(|outage| outage.totals.refused_numbers.len() as u64).to_string(),
            ]);
        }
    }
    format!(
        "{machine}. {rate} requests/s on {} connections; {} rounds, ClickHouse away for {} s. ± is half the distance between the \
         extreme rounds.\n\n{latencies}\n{bounds}\nMemory is all that the program takes. Every row that was acknowledged is in its table, once.\n",
        options.connections, options.rounds, options.away,
    )
}
