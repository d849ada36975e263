//! Observes a collector from outside while it is under load: its pending rows, its memory and disk,
//! and the delay of another table's rows.

use std::{
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use rowmill_harness::{Failure, ask::ask, process::Server, store::Store};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The time limit of each wait.
const TIMEOUT: Duration = Duration::from_secs(150);

/// The path and the table of the probes, whose time from event to row is measured.
const PROBE: (&str, &str) = ("/track/ping", "collector.ping");

/// The state of a collector at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Rows of the table under load that ClickHouse does not have.
    pub(crate) pending: u64,
    /// Rows of the table under load that ClickHouse has confirmed.
    pub(crate) inserted: u64,
    /// Rows of the table under load that the collector refused for lack of space.
    pub(crate) refused: u64,
    /// Whether the last write to the spool failed.
    pub(crate) is_failing: bool,
}

/// Observations over time, and the peak use of memory and disk.
pub(crate) struct Watch<'b> {
    server: &'b Server,
    table: &'static str,
    spool: PathBuf,
    probe: Option<Instant>,
    probes: u64,
    /// When a probe's row arrived, and how long it took.
    pub(crate) arrivals: Vec<(Instant, Duration)>,
    /// The program's peak memory, in bytes.
    pub(crate) resident: u64,
    /// The greatest total length of the spool's files, in bytes.
    pub(crate) disk: u64,
    /// Whether the spool has failed at any time.
    pub(crate) has_failed: bool,
}

impl<'b> Watch<'b> {
    pub(crate) fn new(server: &'b Server, store: &Store, table: &'static str, spool: PathBuf) -> Result<Self, Failure> {
        Ok(Self {
            server,
            table,
            spool,
            probe: None,
            // Rows from earlier rounds are in the table already.
            probes: store.number(&format!("SELECT count() FROM {}", PROBE.1))?,
            arrivals: Vec::new(),
            resident: 0,
            disk: 0,
            has_failed: false,
        })
    }

    /// Observes until `condition` holds, and returns the state at that moment. Sends probes if
    /// ClickHouse runs as `store`.
    pub(crate) fn until(
        &mut self,
        what: &str,
        store: Option<&Store>,
        condition: impl Fn(&Sample) -> bool,
    ) -> Result<Sample, Failure> {
        let start = Instant::now();
        loop {
            let sample = self.sample()?;
            if condition(&sample) {
                return Ok(sample);
            }
            if sample.at - start > TIMEOUT {
                return Err(format!("timed out waiting for {what}: {sample:?}").into());
            }
            if let Some(store) = store {
                self.probe(store)?;
            }
            sleep(POLL_INTERVAL);
        }
    }

    /// Observes for `length`, and returns the start and the end of that time.
    pub(crate) fn during(&mut self, length: Duration, store: Option<&Store>) -> Result<(Instant, Instant), Failure> {
        let start = Instant::now();
        let end = self.until("the end", store, |sample| sample.at - start >= length)?;
        Ok((start, end.at))
    }

    pub(crate) fn sample(&mut self) -> Result<Sample, Failure> {
        let (_, metrics) = ask(self.server.address(), "GET", "/metrics", "")?;
        let of_table = |name: &str| number(&metrics, &format!("{name}{{table=\"{}\"}} ", self.table));
        let sample = Sample {
            at: Instant::now(),
            pending: of_table("rowmill_rows_pending")?,
            inserted: of_table("rowmill_rows_inserted_total")?,
            refused: of_table("rowmill_rows_without_room_total")?,
            is_failing: number(&metrics, "rowmill_spool_failing ")? > 0,
        };
        self.resident = self.resident.max(self.server.memory()?.peak);
        // A segment may be removed while its folder is read.
        let lengths = fs::read_dir(&self.spool)?
            .flatten()
            .filter_map(|file| Some(file.metadata().ok()?.len()));
        self.disk = self.disk.max(lengths.sum());
        self.has_failed |= sample.is_failing;
        Ok(sample)
    }

    /// Sends a row of another table, or checks whether the last one has arrived.
    fn probe(&mut self, store: &Store) -> Result<(), Failure> {
        let (path, table) = PROBE;
        match self.probe {
            None => {
                self.probe = Some(Instant::now());
                let (status, _) = ask(self.server.address(), "POST", path, "{}")?;
                match status {
                    200 => self.probes += 1,
                    // The collector has no space at the moment; the next call tries again.
                    _ => self.probe = None,
                }
            }
            Some(sent) if store.number(&format!("SELECT count() FROM {table}"))? >= self.probes => {
                self.arrivals.push((Instant::now(), sent.elapsed()));
                self.probe = None;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Returns the number after a name in a page of metrics.
fn number(metrics: &str, name: &str) -> Result<u64, Failure> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("no {name}in /metrics").into())
}
