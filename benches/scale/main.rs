//! The collector's behaviour at scale: `cargo bench --bench scale`, or `… -- --short` for a first
//! look.
//!
//! Four curves: cores for the server, tables of the schema, open connections, and columns of a row.
//! For tables and columns, the bench builds collectors with other schemas (see [`variant`]), which
//! takes most of its time. Requests/s and CPU time are measured with connections that are never
//! idle, latencies at a fixed rate. Every row has to arrive in ClickHouse exactly once.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

mod point;
mod schema;
mod variant;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use rowmill_harness::{
    Failure,
    bench::Bench,
    chart::{Chart, Series},
    events::{Kind, Requests},
    measure::mebibytes,
    page::{machine, write_section},
    process::allow_open_files,
};

use crate::{
    point::{Point, Settings, grid, measure_all},
    variant::BuildFolders,
};

/// Measures how the collector scales.
#[derive(Debug, Parser)]
struct Options {
    /// Curves to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["cores", "connections", "tables", "columns"])]
    curves: Vec<Curve>,

    /// Cores of the server.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    cores: Vec<usize>,

    /// Open connections.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 1_000, 10_000])]
    connections: Vec<usize>,

    /// Tables of the schema; each number needs a build.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000])]
    tables: Vec<usize>,

    /// Columns of the table, at least 20.
    #[arg(long, value_delimiter = ',', default_values_t = [20, 124, 1_000])]
    columns: Vec<usize>,

    /// Number of rounds; each measures everything once.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Seconds per measurement.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,

    /// Requests per second for latencies; a tenth of it for rows of many columns.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,

    /// Distinct requests to generate.
    #[arg(long, default_value_t = 500_000)]
    events: usize,

    /// A first look: one round of half a second, without the greatest numbers.
    #[arg(long)]
    short: bool,

    /// Write figures and pictures into docs/.
    #[arg(long)]
    write: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The quantity that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Curve {
    Cores,
    Connections,
    Tables,
    Columns,
}

/// The text of a curve, and its charts by name.
struct Section {
    name: &'static str,
    text: String,
    charts: Vec<(&'static str, Chart)>,
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
        (options.rounds, options.seconds, options.events) = (1, 0.5, 50_000);
        options.connections.retain(|count| *count <= 1_000);
        options.tables.retain(|count| *count <= 10);
        options.columns.retain(|count| *count <= 124);
    }
    let most = options.connections.iter().max().copied().unwrap_or_default();
    allow_open_files(most as u64 + 1_000)?;
    let machine = machine();
    println!("{machine}");

    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pictures = if options.write {
        docs.join("performance")
    } else {
        temporary.join("performance")
    };
    fs::create_dir_all(&pictures)?;

    // Builds come first, because nothing else may run during a measurement.
    let built = Built::new(&options, &temporary.join("scale"))?;
    let bench = Bench::start(env!("CARGO_BIN_EXE_rowmill").as_ref(), temporary)?;
    for curve in &options.curves {
        let section = match curve {
            Curve::Cores => cores(&options, &bench)?,
            Curve::Connections => connections(&options, &bench)?,
            Curve::Tables => tables(&options, &bench, &built)?,
            Curve::Columns => columns(&options, &bench, &built)?,
        };
        let mut text = format!(
            "{machine}. {} rounds of {} s; ± is half the distance between the extreme rounds; busy: server (of its cores), load generator, \
             ClickHouse and everybody else (of one core).\n\n{}",
            options.rounds, options.seconds, section.text
        );
        for (name, chart) in &section.charts {
            fs::write(pictures.join(format!("{name}.svg")), chart.to_string())?;
            text.push_str(&format!("\n![{}](performance/{name}.svg)\n", chart.title));
        }
        println!("\n{text}");
        if options.write {
            write_section(&docs.join("performance.md"), section.name, &text)?;
        }
    }
    println!("pictures: {}", pictures.display());
    Ok(())
}

/// Collectors with other schemas.
struct Built {
    tables: Vec<(usize, PathBuf, Duration)>,
    columns: Option<PathBuf>,
}

impl Built {
    fn new(options: &Options, folder: &Path) -> Result<Self, Failure> {
        let mut built = Self {
            tables: Vec::new(),
            columns: None,
        };
        if options.curves.contains(&Curve::Tables) {
            let folders = BuildFolders::open(folder)?;
            for count in &options.tables {
                eprintln!("building the collector with {count} tables");
                let variant = folders.build(&format!("tables-{count}"), &schema::many_tables(*count)?)?;
                eprintln!("  in {:.0} s", variant.build_time.as_secs_f64());
                built.tables.push((*count, variant.program, variant.build_time));
            }
        }
        if options.curves.contains(&Curve::Columns) {
            let folders = BuildFolders::open(folder)?;
            eprintln!("building the collector with tables of {:?} columns", options.columns);
            let variant = folders.build("columns", &schema::wide_tables(&options.columns)?)?;
            eprintln!("  in {:.0} s", variant.build_time.as_secs_f64());
            built.columns = Some(variant.program);
        }
        Ok(built)
    }
}

impl Options {
    fn settings(&self, rate: f64) -> Settings {
        Settings {
            rounds: self.rounds,
            measured: Duration::from_secs_f64(self.seconds),
            rate,
        }
    }

    fn webhooks(&self) -> Result<Requests, Failure> {
        Ok(Requests::generate(Kind::Webhook, self.events)?.with_header("X-Rowmill-Ack", "accepted"))
    }
}

/// Sets the seed's table as the destination of a point's rows.
fn mail(point: Point, database: &str) -> Point {
    point.into_tables(
        database,
        "^mail_statistics$",
        ["mail_statistics".to_owned()].into_iter(),
    )
}

fn cores(options: &Options, bench: &Bench) -> Result<Section, Failure> {
    let mut points = Vec::new();
    for count in &options.cores {
        let cores = bench.cores.with_server_cores(*count)?;
        let name = format!("cores_{count}");
        let server = bench.collector_on(&cores, env!("CARGO_BIN_EXE_rowmill").as_ref(), &name)?;
        points.push(mail(Point::new(*count, &cores, server, options.webhooks()?)?, &name));
    }
    measure_all("cores", &mut points, bench, options.settings(options.rate))?;
    let capacity = |point: &Point| point.x as f64 * 1e6 / point.full.cpu_us.median();
    let shared = points.iter().any(|point| !point.cores.are_apart());
    let text = format!(
        "{}\nThe capacity is what the server's cores can do by its CPU time a request{}.\n",
        grid("cores", &points, ["capacity/s"], |point| [format!(
            "{:.0}",
            capacity(point)
        )]),
        if shared {
            "; on this machine the load generator and ClickHouse have to share them, so that requests/s alone says what is left for \
             the server"
        } else {
            ""
        },
    );
    let chart = Chart {
        title: "Requests a second by cores of the server".to_owned(),
        x: "cores".to_owned(),
        y: "requests/s".to_owned(),
        series: vec![
            series("capacity by CPU time", &points, capacity),
            series("measured", &points, |point| point.full.per_second.median()),
        ],
    };
    stop(points)?;
    Ok(Section {
        name: "cores",
        text,
        charts: vec![("cores", chart)],
    })
}

fn connections(options: &Options, bench: &Bench) -> Result<Section, Failure> {
    let mut points = Vec::new();
    for count in &options.connections {
        let name = format!("connections_{count}");
        let server = bench.collector(env!("CARGO_BIN_EXE_rowmill").as_ref(), &name)?;
        let point = Point::new(*count, &bench.cores, server, options.webhooks()?)?;
        points.push(mail(point.with_connections(*count), &name));
    }
    measure_all("connections", &mut points, bench, options.settings(options.rate))?;
    let text = grid("connections", &points, [], |_| []).to_string();
    let charts = vec![
        (
            "connections-latency",
            latency("open connections", options.rate, &points),
        ),
        ("connections-memory", memory("open connections", &points)),
    ];
    stop(points)?;
    Ok(Section {
        name: "connections",
        text,
        charts,
    })
}

fn tables(options: &Options, bench: &Bench, built: &Built) -> Result<Section, Failure> {
    let mut points = Vec::new();
    for (count, program, _) in &built.tables {
        let name = format!("tables_{count}");
        let server = bench.collector(program, &name)?;
        let requests = schema::events_of_many(*count, options.events)?;
        let point = Point::new(*count, &bench.cores, server, requests)?;
        points.push(point.into_tables(&name, "^t[0-9]+$", (0..*count).map(schema::table_name)));
    }
    measure_all("tables", &mut points, bench, options.settings(options.rate))?;
    let build_time = |point: &Point| {
        let found = built.tables.iter().find(|(count, ..)| *count == point.x);
        found.map_or(f64::NAN, |(.., build_time)| build_time.as_secs_f64())
    };
    let text = grid("tables", &points, ["build s"], |point| {
        [format!("{:.0}", build_time(point))]
    })
    .to_string();
    let build = Chart {
        title: "Time from a changed schema to the program".to_owned(),
        x: "tables".to_owned(),
        y: "s".to_owned(),
        series: vec![series("release build", &points, build_time)],
    };
    let charts = vec![
        ("tables-latency", latency("tables", options.rate, &points)),
        ("tables-memory", memory("tables", &points)),
        ("tables-build", build),
    ];
    stop(points)?;
    Ok(Section {
        name: "tables",
        text,
        charts,
    })
}

fn columns(options: &Options, bench: &Bench, built: &Built) -> Result<Section, Failure> {
    let Some(program) = &built.columns else {
        return Err("the collector with wide tables is missing".into());
    };
    let mut points = Vec::new();
    for count in &options.columns {
        let name = format!("columns_{count}");
        let server = bench.collector(program, &name)?;
        let requests = schema::wide_events(*count, options.events)?;
        let point = Point::new(*count, &bench.cores, server, requests)?;
        let table = schema::wide_name(*count);
        points.push(point.into_tables(&name, &format!("^{table}$"), [table.clone()].into_iter()));
    }
    measure_all("columns", &mut points, bench, options.settings(options.rate / 10.0))?;
    let each = |point: &Point| point.full.cpu_us.median() * 1e3 / point.x as f64;
    let text = grid("columns", &points, ["request bytes", "CPU ns/column"], |point| {
        [point.requests.mean_len().to_string(), format!("{:.0}", each(point))]
    })
    .to_string();
    let cpu = Chart {
        title: "CPU time of an event by columns of its row".to_owned(),
        x: "columns".to_owned(),
        y: "µs".to_owned(),
        series: vec![series("a request with all columns", &points, |point| {
            point.full.cpu_us.median()
        })],
    };
    let charts = vec![
        ("columns-cpu", cpu),
        ("columns-latency", latency("columns", options.rate / 10.0, &points)),
    ];
    stop(points)?;
    Ok(Section {
        name: "columns",
        text,
        charts,
    })
}

fn stop(points: Vec<Point>) -> Result<(), Failure> {
    points.into_iter().try_for_each(|point| point.server.stop().map(drop))
}

fn series(name: &str, points: &[Point], y: impl Fn(&Point) -> f64) -> Series {
    Series {
        name: name.to_owned(),
        points: points.iter().map(|point| (point.x as f64, y(point))).collect(),
    }
}

fn latency(x: &str, rate: f64, points: &[Point]) -> Chart {
    Chart {
        title: format!("Latency by {x}, at {rate:.0} requests a second"),
        x: x.to_owned(),
        y: "ms".to_owned(),
        series: vec![
            series("p50", points, |point| point.steady.p50.median()),
            series("p99", points, |point| point.steady.p99.median()),
        ],
    }
}

fn memory(x: &str, points: &[Point]) -> Chart {
    Chart {
        title: format!("Resident memory by {x}"),
        x: x.to_owned(),
        y: "MiB".to_owned(),
        series: vec![
            series("before the first request", points, |point| mebibytes(point.idle)),
            series("at its highest", points, |point| {
                mebibytes(point.full.peak.max(point.steady.peak))
            }),
        ],
    }
}
