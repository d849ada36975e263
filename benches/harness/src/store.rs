//! ClickHouse for a bench: the embedded engine, on its own cores, and queries to it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use rowmill_engine::{Account, Engine, Options};

use crate::{Failure, ask::ask_as, cores::Cores, process::cpu_time};

/// The time limit for rows to arrive after the collector accepted the last one.
const ARRIVE_WITHIN: Duration = Duration::from_secs(120);

/// The time limit for merges after the last insert.
const SETTLE_WITHIN: Duration = Duration::from_secs(600);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The processes of a program.
#[derive(Debug, Clone)]
pub struct Processes(Vec<u32>);

impl Processes {
    /// Returns the CPU time that all of them have used.
    ///
    /// # Errors
    /// If one has ended.
    pub fn cpu_time(&self) -> Result<Duration, Failure> {
        self.0.iter().map(|id| cpu_time(*id)).sum()
    }
}

/// A running ClickHouse; dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Store {
    engine: Option<Engine>,
    address: SocketAddr,
    account: Account,
    processes: Processes,
    options: Options,
    data: PathBuf,
}

impl Store {
    /// Starts the engine through `program`, with its data in a new folder below `folder`.
    ///
    /// # Errors
    /// If there is no ClickHouse and none can be downloaded, or it does not start.
    pub fn start(program: &Path, folder: &Path, cores: &Cores) -> Result<Self, Failure> {
        let data = folder.join(format!("bench-engine-{}", process::id()));
        let options = Options::new(program, &data);
        let (engine, processes) = start(&options, cores)?;
        Ok(Self {
            address: engine.address(),
            account: engine.collector().clone(),
            engine: Some(engine),
            processes,
            options,
            data,
        })
    }

    /// Stops ClickHouse gracefully and keeps its data.
    ///
    /// # Errors
    /// If ClickHouse does not end.
    pub fn stop(&mut self) -> Result<(), Failure> {
        if let Some(engine) = self.engine.take() {
            engine.stop()?;
        }
        Ok(())
    }

    /// Starts ClickHouse again with the same data and address.
    ///
    /// # Errors
    /// If ClickHouse does not start, or another process has taken its address.
    pub fn start_again(&mut self, cores: &Cores) -> Result<(), Failure> {
        let options = self.options.clone().with_listen(self.address);
        let (engine, processes) = start(&options, cores)?;
        (self.engine, self.processes) = (Some(engine), processes);
        Ok(())
    }

    /// Returns the URL of ClickHouse's HTTP interface.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the URL with the user and the password of the collector.
    pub fn collector_url(&self) -> String {
        let (user, password) = (self.account.name(), self.account.password());
        format!("http://{user}:{password}@{}", self.address)
    }

    /// Returns the account that the benches use for their queries.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the processes of ClickHouse.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Runs SQL and returns its output without the final line end.
    ///
    /// # Errors
    /// ClickHouse's own, as text.
    pub fn query(&self, sql: &str) -> Result<String, Failure> {
        let (user, password) = (self.account.name(), self.account.password());
        let headers = format!("X-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n");
        match ask_as(&headers, self.address, "POST", "/", sql)? {
            (200, body) => Ok(body.trim_end().to_owned()),
            (_, body) => Err(format!("{sql}: {body}").into()),
        }
    }

    /// Runs SQL that returns one number.
    ///
    /// # Errors
    /// ClickHouse's own, or if the output is not a number.
    pub fn number(&self, sql: &str) -> Result<u64, Failure> {
        let text = self.query(sql)?;
        text.parse()
            .map_err(|_| format!("{sql}: {text:?} is not a number").into())
    }

    /// Waits until `table` has all `accepted` rows, and checks that each has a distinct `key`.
    ///
    /// `unanswered` requests had no answer: the table may or may not have their rows.
    ///
    /// # Errors
    /// If rows are missing after two minutes, or duplicated.
    pub fn check_arrival(&self, table: &str, key: &str, accepted: u64, unanswered: u64) -> Result<(), Failure> {
        let started = Instant::now();
        while self.number(&format!("SELECT count() FROM {table}"))? < accepted {
            if started.elapsed() > ARRIVE_WITHIN {
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
        // Rows of unanswered requests may still arrive; the check allows for them.
        let rows = self.number(&format!("SELECT count() FROM {table}"))?;
        let distinct = self.number(&format!("SELECT uniqExact({key}) FROM {table}"))?;
        if !(accepted..=accepted + unanswered).contains(&rows) || distinct != rows {
            return Err(format!(
                "{table}: {accepted} rows were accepted, {rows} have arrived, {distinct} distinct ones"
            )
            .into());
        }
        Ok(())
    }

    /// Empties a table and waits until ClickHouse has nothing left to merge in it.
    ///
    /// # Errors
    /// As for [`settle`](Self::settle).
    pub fn empty(&self, table: &str) -> Result<(), Failure> {
        self.query(&format!("TRUNCATE TABLE {table}"))?;
        self.settle()
    }

    /// Waits until no merge is under way.
    ///
    /// # Errors
    /// ClickHouse's own; or if merges are still running after ten minutes.
    pub fn settle(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while self.number("SELECT count() FROM system.merges")? > 0 {
            if started.elapsed() > SETTLE_WITHIN {
                return Err("the merges do not end".into());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.engine.take());
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Starts an engine, and returns it with its processes.
fn start(options: &Options, cores: &Cores) -> Result<(Engine, Processes), Failure> {
    let before = descendants(process::id())?;
    let engine = cores.as_store(|| Engine::start(options))??;
    let mut ids = descendants(process::id())?;
    ids.retain(|id| !before.contains(id));
    Ok((engine, Processes(ids)))
}

/// Returns all descendants of a process.
fn descendants(of: u32) -> Result<Vec<u32>, Failure> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{of}/task"))? {
        // A thread may end while its folder is read.
        let Ok(children) = fs::read_to_string(task?.path().join("children")) else {
            continue;
        };
        for child in children.split_ascii_whitespace().map_while(|id| id.parse().ok()) {
            found.push(child);
            found.extend(descendants(child)?);
        }
    }
    Ok(found)
}
