//! One measurement of a server, and several rounds of measurements.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Failure,
    cores::Cores,
    histogram::Histogram,
    load::Load,
    process::{Server, machine_cpu_time},
    spread::Spread,
    store::Store,
};

/// The figures of one measurement.
#[derive(Debug)]
pub struct Figures {
    /// Answers per second.
    pub per_second: f64,
    /// CPU time of the server per answer, in microseconds.
    pub cpu_us: f64,
    /// Latencies, from a request to its answer.
    pub latency: Histogram,
    /// The share of its cores' time that the server used; near 1, the server was the bottleneck.
    pub server_busy: f64,
    /// The share of its core's time that the load generator used.
    pub load_busy: f64,
    /// The CPU time that ClickHouse used, in cores.
    pub store_busy: f64,
    /// The CPU time that all other processes used, in cores. If it is not close to zero, the
    /// figures are not reliable.
    pub others_busy: f64,
    /// The server's peak memory, in bytes.
    pub peak: u64,
    /// Requests that were sent before, within and after the measurement.
    pub sent: u64,
    /// Requests that were answered with 2xx or 3xx.
    pub accepted: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that were answered with any other status, by status.
    pub refused: BTreeMap<u16, u64>,
    /// The acknowledgement in the first answer.
    pub ack: Option<String>,
}

/// Runs `load` against `server`.
///
/// # Errors
/// Those of the load; or if a process has ended meanwhile.
pub fn measure(server: &Server, store: &Store, cores: &Cores, load: &Load<'_>) -> Result<Figures, Failure> {
    server.forget_peak()?;
    let clickhouse = store.processes();
    let sample = || Ok([server.cpu_time()?, clickhouse.cpu_time()?, machine_cpu_time()?]);
    let outcome = cores.as_load(|| load.run(sample))??;
    let (before, after) = outcome.samples;
    let seconds = outcome.elapsed.as_secs_f64();
    let cpu = |index: usize| (after[index] - before[index]).as_secs_f64();
    let (server_cpu, store_cpu, load_cpu) = (cpu(0), cpu(1), outcome.load_cpu.as_secs_f64());
    Ok(Figures {
        per_second: outcome.per_second(),
        cpu_us: server_cpu * 1e6 / outcome.latency.count() as f64,
        server_busy: server_cpu / seconds / cores.server.len() as f64,
        load_busy: load_cpu / seconds,
        store_busy: store_cpu / seconds,
        others_busy: (cpu(2) - server_cpu - store_cpu - load_cpu).max(0.0) / seconds,
        peak: server.memory()?.peak,
        latency: outcome.latency,
        sent: outcome.sent,
        accepted: outcome.accepted,
        unanswered: outcome.unanswered,
        refused: outcome.refused,
        ack: outcome.ack,
    })
}

/// The same measurement in several rounds.
#[derive(Debug, Default)]
pub struct Rounds {
    /// Answers per second.
    pub per_second: Spread,
    /// CPU time of the server per answer, in microseconds.
    pub cpu_us: Spread,
    /// Median latency, in milliseconds.
    pub p50: Spread,
    /// 99th percentile of the latency, in milliseconds.
    pub p99: Spread,
    /// The share of its cores' time that the server used.
    pub server_busy: Spread,
    /// The share of its core's time that the load generator used.
    pub load_busy: Spread,
    /// The CPU time that ClickHouse used, in cores.
    pub store_busy: Spread,
    /// The CPU time that all other processes used, in cores.
    pub others_busy: Spread,
    /// The server's peak memory, in bytes.
    pub peak: u64,
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were refused, by status.
    pub refused: BTreeMap<u16, u64>,
}

impl Rounds {
    /// Adds the figures of a round.
    pub fn push(&mut self, figures: &Figures) {
        self.per_second.push(figures.per_second);
        self.cpu_us.push(figures.cpu_us);
        self.p50.push(milliseconds(figures.latency.quantile(0.5)));
        self.p99.push(milliseconds(figures.latency.quantile(0.99)));
        self.server_busy.push(figures.server_busy);
        self.load_busy.push(figures.load_busy);
        self.store_busy.push(figures.store_busy);
        self.others_busy.push(figures.others_busy);
        self.peak = self.peak.max(figures.peak);
        self.accepted += figures.accepted;
        for (status, count) in &figures.refused {
            *self.refused.entry(*status).or_default() += count;
        }
    }

    /// Returns how busy the server and the load generator were, in percent of their own cores, then
    /// ClickHouse and all others, in percent of one core. A figure is the server's own only if the
    /// server is near 100 %.
    pub fn busy(&self) -> String {
        let percent = |share: &Spread| share.median() * 100.0;
        format!(
            "{:.0} / {:.0} / {:.0} / {:.0} %",
            percent(&self.server_busy),
            percent(&self.load_busy),
            percent(&self.store_busy),
            percent(&self.others_busy)
        )
    }

    /// Returns the refused requests by status, as text.
    pub fn refusals(&self) -> String {
        let each = self.refused.iter().map(|(status, count)| format!("{count} × {status}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Returns a duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns bytes in MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
