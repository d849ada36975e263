//! The whole program compared with other servers: `cargo bench --bench whole_program`, or
//! `… -- --short` for a first look.
//!
//! One run measures, in turn in each round: hyper with a fixed body, hyper with the collector's
//! headers, the collector written by hand with axum (`benches/baseline/`), the collector, and nginx
//! with a log if it is installed. The measured server has a core for itself; the load generator and
//! a real ClickHouse share another one. All servers get the same distinct requests. The bench fails
//! unless every accepted row arrives in ClickHouse exactly once.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

use std::{env, error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use rowmill_harness::{
    Failure,
    bench::{BASELINE, Bench},
    events::{Kind, Requests},
    grid::Grid,
    load::{Load, Pace},
    measure::{Rounds, measure, mebibytes},
    page::{machine, write_section},
    process::Server,
};

/// The seed's table.
const TABLE: &str = "mail_statistics";

/// Measures the collector beside hyper and a collector written by hand.
#[derive(Debug, Parser)]
struct Options {
    /// Routes to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["wh", "wh-spooled", "pixel", "redir"])]
    kinds: Vec<Route>,

    /// Number of rounds; each measures everything once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Number of rounds at half load.
    #[arg(long, default_value_t = 5)]
    half_rounds: usize,

    /// Seconds per measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,

    /// Distinct requests to generate; more are the same ones with new message ids.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,

    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,

    /// Another build of the collector to measure beside this one, as NAME=PATH; may be repeated.
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_build)]
    beside: Vec<(String, PathBuf)>,

    /// A first look within a minute: 2 rounds of half a second, one at half load, 100 000 events.
    #[arg(long)]
    short: bool,

    /// Write the figures into docs/performance.md.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A route, with the acknowledgement that its answer confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Route {
    /// POST of JSON, answered when the row is in memory.
    Wh,
    /// POST of JSON, answered when the row is on disk.
    WhSpooled,
    /// GET of a picture.
    Pixel,
    /// GET of a redirect.
    Redir,
}

impl Route {
    fn name(self) -> &'static str {
        match self {
            Self::Wh => "wh, accepted",
            Self::WhSpooled => "wh, spooled",
            Self::Pixel => "pixel",
            Self::Redir => "redir",
        }
    }

    /// Returns whether an event is complete in the request's head, and therefore in a server's log.
    fn is_in_the_head(self) -> bool {
        matches!(self, Self::Pixel | Self::Redir)
    }

    fn requests(self, count: usize) -> Result<Requests, Failure> {
        Ok(match self {
            Self::Wh => Requests::generate(Kind::Webhook, count)?.with_header("X-Rowmill-Ack", "accepted"),
            Self::WhSpooled => Requests::generate(Kind::Webhook, count)?.with_header("X-Rowmill-Ack", "spooled"),
            Self::Pixel => Requests::generate(Kind::Pixel, count)?,
            Self::Redir => Requests::generate(Kind::Redirect, count)?,
        })
    }
}

/// A measured server.
struct Target {
    name: String,
    server: Server,
    /// The table of its rows; a server without a table stores none.
    table: Option<String>,
    /// Whether the server can answer a route.
    answers: fn(Route) -> bool,
    idle: u64,
}

/// Indexes of hyper and of the collector among the targets.
const HYPER: usize = 0;
const COLLECTOR: usize = 3;

/// The rate of the requests.
#[derive(Debug, Clone, Copy)]
enum Speed {
    /// As fast as the server answers.
    Full,
    /// Half of hyper's maximum.
    HalfOfHyper,
    /// Half of the collector's maximum.
    HalfOfCollector,
}

/// The figures of one route for all targets.
struct Matrix {
    route: Route,
    requests: Requests,
    next: u64,
    /// Figures at full load, by target.
    full: Vec<Rounds>,
    /// Figures at half of hyper's maximum, by target.
    half: Vec<Rounds>,
    /// Figures at half of the collector's maximum, by target.
    own_half: Vec<Rounds>,
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

fn parse_build(text: &str) -> Result<(String, PathBuf), Box<dyn Error + Send + Sync>> {
    let (name, path) = text.split_once('=').ok_or("NAME=PATH is needed")?;
    Ok((name.to_owned(), path.into()))
}

fn run(mut options: Options) -> Result<(), Failure> {
    if options.short {
        (options.rounds, options.half_rounds) = (2, 1);
        options.seconds = 0.5;
        options.events = options.events.min(100_000);
    }
    let machine = machine();
    println!("{machine}");
    let collector = PathBuf::from(env!("CARGO_BIN_EXE_rowmill"));
    let bench = Bench::start(&collector, env!("CARGO_TARGET_TMPDIR").as_ref())?;
    let mut collectors = vec![("collector".to_owned(), collector)];
    collectors.append(&mut options.beside);
    let targets = targets(&bench, &collectors)?;

    let mut matrices = Vec::new();
    for route in options.kinds.iter().copied() {
        let mut matrix = Matrix {
            route,
            requests: route.requests(options.events)?,
            next: 0,
            full: targets.iter().map(|_| Rounds::default()).collect(),
            half: targets.iter().map(|_| Rounds::default()).collect(),
            own_half: targets.iter().map(|_| Rounds::default()).collect(),
        };
        if matrix.is_possible(&bench, &targets)? {
            matrices.push(matrix);
        } else {
            println!("{}: this build does not acknowledge it; left out", route.name());
        }
    }
    let seconds = Duration::from_secs_f64(options.seconds);
    for round in 0..options.rounds {
        eprintln!("round {} of {}: at full load", round + 1, options.rounds);
        for matrix in &mut matrices {
            matrix.round(round, &bench, &targets, options.connections, seconds, Speed::Full)?;
        }
    }
    for round in 0..options.half_rounds {
        eprintln!(
            "round {} of {}: at half of the maximum of hyper and of the collector",
            round + 1,
            options.half_rounds
        );
        for matrix in &mut matrices {
            for speed in [Speed::HalfOfHyper, Speed::HalfOfCollector] {
                matrix.round(round, &bench, &targets, options.connections, seconds, speed)?;
            }
        }
    }

    let report = report(&machine, &options, &targets, &matrices);
    println!("\n{report}");
    for target in targets {
        target.server.stop()?;
    }
    if options.write {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
        write_section(page.as_ref(), "whole_program", &report)?;
    }
    Ok(())
}

/// Starts the servers in this order: hyper, axum by hand, hyper with headers, the collectors,
/// nginx.
fn targets(bench: &Bench, collectors: &[(String, PathBuf)]) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    let mut push = |name: &str, server: Server, table: Option<String>, answers: fn(Route) -> bool| {
        let idle = server.memory()?.resident;
        let name = name.to_owned();
        targets.push(Target {
            name,
            server,
            table,
            answers,
            idle,
        });
        Ok::<_, Failure>(())
    };
    push("hyper", bench.baseline(&["hyper"])?, None, |_| true)?;
    let mut started = Vec::new();
    for (name, program) in collectors {
        started.push((name, bench.collector(program, name)?, format!("{name}.{TABLE}")));
    }
    let Some((_, _, table)) = started.first() else {
        return Err("there is no collector".into());
    };
    bench.store.query("CREATE DATABASE axum")?;
    bench.store.query(&format!("CREATE TABLE axum.{TABLE} AS {table}"))?;
    let (url, account) = (bench.store.url(), bench.store.account());
    let by_hand = bench.baseline(&["axum", &url, account.name(), account.password(), "axum"])?;
    push("axum by hand", by_hand, Some(format!("axum.{TABLE}")), |route| {
        route != Route::WhSpooled
    })?;
    push(
        "hyper, our headers",
        bench.baseline(&["hyper", "headers"])?,
        None,
        |_| true,
    )?;
    for (name, server, table) in started {
        push(name, server, Some(table), |_| true)?;
    }
    match bench.nginx()? {
        Some(server) => push("nginx, its log", server, None, Route::is_in_the_head)?,
        None => println!("nginx is not installed: left out"),
    }
    Ok(targets)
}

impl Matrix {
    /// Sends a few requests to each collector, and returns whether all give the route's
    /// acknowledgement.
    fn is_possible(&mut self, bench: &Bench, targets: &[Target]) -> Result<bool, Failure> {
        if self.route != Route::WhSpooled {
            return Ok(true);
        }
        let mut all = true;
        let route = self.route;
        for target in targets
            .iter()
            .filter(|target| target.table.is_some() && (target.answers)(route))
        {
            let figures = self.measure(
                bench,
                target,
                1,
                Duration::ZERO,
                Duration::from_millis(50),
                Pace::Closed,
            )?;
            all &= figures.ack.as_deref() == Some("spooled");
        }
        Ok(all)
    }

    fn round(
        &mut self,
        round: usize,
        bench: &Bench,
        targets: &[Target],
        connections: usize,
        seconds: Duration,
        speed: Speed,
    ) -> Result<(), Failure> {
        let reference = match speed {
            Speed::Full => None,
            Speed::HalfOfHyper => Some(HYPER),
            Speed::HalfOfCollector => Some(COLLECTOR),
        };
        let pace = match reference {
            None => Pace::Closed,
            // Half of the maximum at this moment: a machine's speed varies for minutes at a time.
            Some(reference) => {
                let now = self.measure(
                    bench,
                    &targets[reference],
                    connections,
                    seconds / 5,
                    seconds,
                    Pace::Closed,
                )?;
                Pace::Open(now.per_second / 2.0)
            }
        };
        for turn in 0..targets.len() {
            // The order rotates with the rounds, so that the after-effects of one target fall on
            // another each time.
            let index = (turn + round) % targets.len();
            let target = &targets[index];
            if !(target.answers)(self.route) {
                continue;
            }
            let figures = self.measure(bench, target, connections, seconds / 5, seconds, pace)?;
            match speed {
                Speed::Full => self.full[index].push(&figures),
                Speed::HalfOfHyper => self.half[index].push(&figures),
                Speed::HalfOfCollector => self.own_half[index].push(&figures),
            }
        }
        Ok(())
    }

    fn measure(
        &mut self,
        bench: &Bench,
        target: &Target,
        connections: usize,
        warm_up: Duration,
        measured: Duration,
        pace: Pace,
    ) -> Result<rowmill_harness::measure::Figures, Failure> {
        let load = Load {
            address: target.server.address(),
            requests: &self.requests,
            first: self.next,
            connections,
            pace,
            warm_up,
            measured,
        };
        let figures = measure(&target.server, &bench.store, &bench.cores, &load)?;
        self.next += figures.sent;
        if let Some(table) = &target.table {
            bench
                .store
                .check_arrival(table, "message_id", figures.accepted, figures.unanswered)?;
            bench.store.empty(table)?;
        }
        Ok(figures)
    }
}

fn report(machine: &str, options: &Options, targets: &[Target], matrices: &[Matrix]) -> String {
    let mut text = format!(
        "{machine}. {} rounds of {} s, {} connections; ± is half the distance between the extreme rounds; \
         ratios are those of each round. Busy: server, load generator, ClickHouse and everybody else, in percent of a core.\n\n",
        options.rounds, options.seconds, options.connections
    );
    let mut full = Grid::new(&[
        "as much as they can",
        "requests/s",
        "CPU µs/request",
        "p50 ms",
        "p99 ms",
        "peak MiB",
        "busy",
        "requests/s : hyper",
        "CPU : hyper",
        "CPU : axum",
        "refused",
    ]);
    let at_half = |reference: &str| {
        Grid::new(&[
            &format!("half of {reference}"),
            "requests/s",
            "CPU µs/request",
            "p50 ms",
            "p99 ms",
            "busy",
            "p99 : hyper",
            "refused",
        ])
    };
    let (mut half, mut own_half) = (at_half("hyper's"), at_half("the collector's"));
    let mut rows = 0;
    for matrix in matrices {
        let [hyper, axum, ..] = &matrix.full[..] else { continue };
        for (target, rounds) in targets
            .iter()
            .zip(&matrix.full)
            .filter(|(_, rounds)| rounds.accepted > 0)
        {
            rows += if target.table.is_some() { rounds.accepted } else { 0 };
            full.push([
                format!("{}: {}", matrix.route.name(), target.name),
                format!("{:.0}", rounds.per_second),
                format!("{:.2}", rounds.cpu_us),
                format!("{:.2}", rounds.p50),
                format!("{:.2}", rounds.p99),
                format!("{:.1}", mebibytes(rounds.peak)),
                rounds.busy(),
                format!("{:.2}", rounds.per_second.to(&hyper.per_second)),
                format!("{:.2}", rounds.cpu_us.to(&hyper.cpu_us)),
                format!("{:.2}", rounds.cpu_us.to(&axum.cpu_us)),
                rounds.refusals(),
            ]);
        }
        for (grid, measured) in [(&mut half, &matrix.half), (&mut own_half, &matrix.own_half)] {
            for (target, rounds) in targets.iter().zip(measured).filter(|(_, rounds)| rounds.accepted > 0) {
                rows += if target.table.is_some() { rounds.accepted } else { 0 };
                grid.push([
                    format!("{}: {}", matrix.route.name(), target.name),
                    format!("{:.0}", rounds.per_second),
                    format!("{:.2}", rounds.cpu_us),
                    format!("{:.2}", rounds.p50),
                    format!("{:.2}", rounds.p99),
                    rounds.busy(),
                    format!("{:.2}", rounds.p99.to(&measured[0].p99)),
                    rounds.refusals(),
                ]);
            }
        }
    }
    text.push_str(&format!("{full}\n{half}\n{own_half}\n"));
    let idle: Vec<_> = targets
        .iter()
        .map(|target| format!("{} {:.1}", target.name, mebibytes(target.idle)))
        .collect();
    text.push_str(&format!(
        "Resident before the first request, in MiB: {}. All {rows} accepted rows arrived in ClickHouse, each once.\n",
        idle.join(", ")
    ));
    text
}
