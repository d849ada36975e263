//! The setup of all benches of the whole program: their folder, their ClickHouse, and the programs
//! that they start.

use std::{
    env, fs, iter,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{Failure, cores::Cores, nginx, process::Server, store::Store};

/// The first argument that makes a bench run as one of the baseline programs.
pub const BASELINE: &str = "baseline";

/// A running bench.
#[derive(Debug)]
pub struct Bench {
    /// The cores of each process.
    pub cores: Cores,
    /// ClickHouse.
    pub store: Store,
    folder: PathBuf,
}

impl Bench {
    /// Starts ClickHouse, and creates the bench's own folder below `folder`.
    ///
    /// # Errors
    /// Those of the engine; or if there are fewer than two cores.
    pub fn start(collector: &Path, folder: &Path) -> Result<Self, Failure> {
        let cores = Cores::find()?;
        let folder = folder.join(format!("bench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self {
            store: Store::start(collector, &folder, &cores)?,
            cores,
            folder,
        })
    }

    /// Starts a collector that writes into the database `name`.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn collector(&self, program: &Path, name: &str) -> Result<Server, Failure> {
        self.collector_on(&self.cores, program, name)
    }

    /// Starts a collector on other cores.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn collector_on(&self, cores: &Cores, program: &Path, name: &str) -> Result<Server, Failure> {
        self.run(cores, program, name, &[])
    }

    /// Starts a collector with more arguments.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn collector_with(&self, program: &Path, name: &str, arguments: &[&str]) -> Result<Server, Failure> {
        self.run(&self.cores, program, name, arguments)
    }

    fn run(&self, cores: &Cores, program: &Path, name: &str, arguments: &[&str]) -> Result<Server, Failure> {
        let mut command = Command::new(program);
        // The user's own environment must not change the configuration.
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("ROWMILL_") {
                command.env_remove(variable);
            }
        }
        command
            // As a variable: an older build under comparison does not know the option.
            .env("ROWMILL_ACK_HEADER", "true")
            .env("ROWMILL_CLICKHOUSE", format!("{}/{name}", self.store.collector_url()))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(self.data(name))
            .args(arguments);
        Server::start(command, cores, &self.log(name))
    }

    /// Starts a baseline program: this same executable, called with [`BASELINE`] and `arguments`.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn baseline(&self, arguments: &[&str]) -> Result<Server, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(iter::once(&BASELINE).chain(arguments));
        let name = arguments.first().copied().unwrap_or(BASELINE);
        Server::start(command, &self.cores, &self.log(name))
    }

    /// Starts nginx, if it is installed.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn nginx(&self) -> Result<Option<Server>, Failure> {
        let found = nginx::command(&self.folder.join("nginx"))?;
        found
            .map(|(command, address)| Server::start_at(address, command, &self.cores, &self.log("nginx")))
            .transpose()
    }

    /// Returns the data folder of a collector.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the folder that is removed when the bench ends.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of a log. Logs are outside of the bench's folder, so that they remain after
    /// a failure.
    fn log(&self, name: &str) -> PathBuf {
        self.folder.with_file_name(format!("bench-{name}.log"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
