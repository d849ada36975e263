//! A point of a curve: one server under one load, measured in rounds.

use std::time::Duration;

use rowmill_harness::{
    Failure,
    bench::Bench,
    cores::Cores,
    events::Requests,
    grid::Grid,
    load::{Load, Pace},
    measure::{Rounds, measure, mebibytes},
    process::Server,
};

/// The settings of all measurements of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Number of rounds.
    pub(crate) rounds: usize,
    /// Duration of each measurement.
    pub(crate) measured: Duration,
    /// Requests per second when latencies are measured.
    pub(crate) rate: f64,
}

/// A point of a curve, with its server and its figures.
#[derive(Debug)]
pub(crate) struct Point {
    /// The value on the horizontal axis.
    pub(crate) x: usize,
    /// The cores of its processes.
    pub(crate) cores: Cores,
    /// The server.
    pub(crate) server: Server,
    /// Its memory before the first request, in bytes.
    pub(crate) idle: u64,
    /// The requests that it gets.
    pub(crate) requests: Requests,
    /// The number of connections.
    connections: usize,
    /// The tables of its rows, as an expression for ClickHouse's FROM.
    rows_in: String,
    /// The tables that are emptied between two measurements.
    tables: Vec<String>,
    /// Figures at full load.
    pub(crate) full: Rounds,
    /// Figures at [`Settings::rate`].
    pub(crate) steady: Rounds,
    next: u64,
}

impl Point {
    /// Returns a point without measurements.
    ///
    /// # Errors
    /// If the server has ended.
    pub(crate) fn new(x: usize, cores: &Cores, server: Server, requests: Requests) -> Result<Self, Failure> {
        Ok(Self {
            x,
            cores: cores.clone(),
            idle: server.memory()?.resident,
            server,
            requests,
            connections: 64,
            rows_in: String::new(),
            tables: Vec::new(),
            full: Rounds::default(),
            steady: Rounds::default(),
            next: 0,
        })
    }

    /// Sets the number of connections.
    pub(crate) fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// Sets the tables of `database` for the rows; `pattern` matches exactly these tables.
    pub(crate) fn into_tables(self, database: &str, pattern: &str, tables: impl Iterator<Item = String>) -> Self {
        Self {
            rows_in: format!("merge('{database}', '{pattern}')"),
            tables: tables.map(|table| format!("{database}.{table}")).collect(),
            ..self
        }
    }

    fn measure(&mut self, bench: &Bench, settings: Settings, pace: Pace) -> Result<(), Failure> {
        let load = Load {
            address: self.server.address(),
            requests: &self.requests,
            first: self.next,
            connections: self.connections,
            pace,
            warm_up: settings.measured / 5,
            measured: settings.measured,
        };
        let figures = measure(&self.server, &bench.store, &self.cores, &load)?;
        self.next += figures.sent;
        match pace {
            Pace::Closed => self.full.push(&figures),
            Pace::Open(_) => self.steady.push(&figures),
        }
        let store = &bench.store;
        store.check_arrival(&self.rows_in, "message_id", figures.accepted, figures.unanswered)?;
        self.tables.iter().try_for_each(|table| store.empty(table))
    }
}

/// Measures all points of a curve, in rounds.
///
/// # Errors
/// Those of the load; and if rows are missing.
pub(crate) fn measure_all(curve: &str, points: &mut [Point], bench: &Bench, settings: Settings) -> Result<(), Failure> {
    for round in 0..settings.rounds {
        eprintln!("{curve}: round {} of {}", round + 1, settings.rounds);
        for point in &mut *points {
            point.measure(bench, settings, Pace::Closed)?;
            point.measure(bench, settings, Pace::Open(settings.rate))?;
        }
    }
    Ok(())
}

/// Returns the figures of a curve, with the columns that `more` adds for each point.
pub(crate) fn grid<const N: usize>(
    x: &str,
    points: &[Point],
    heads: [&str; N],
    more: impl Fn(&Point) -> [String; N],
) -> Grid {
    let mut head = vec![
        x,
        "requests/s",
        "CPU µs/request",
        "busy",
        "p50 ms",
        "p99 ms",
        "idle MiB",
        "peak MiB",
        "refused",
    ];
    head.splice(1..1, heads);
    let mut grid = Grid::new(&head);
    for point in points {
        let peak = point.full.peak.max(point.steady.peak);
        let mut row = vec![
            point.x.to_string(),
            format!("{:.0}", point.full.per_second),
            format!("{:.2}", point.full.cpu_us),
            point.full.busy(),
            format!("{:.2}", point.steady.p50),
            format!("{:.2}", point.steady.p99),
            format!("{:.1}", mebibytes(point.idle)),
            format!("{:.1}", mebibytes(peak)),
            [point.full.refusals(), point.steady.refusals()].join(" "),
        ];
        row.splice(1..1, more(point));
        grid.push(row);
    }
    grid
}
