//! Fetches the library into the cache, once even if several processes start at the same time.
//!
//! `npm pack` is the download: it uses the registry and proxy of the user's npm configuration,
//! checks the package's integrity, and runs none of its scripts. npm uses a separate cache below
//! ours; the growing size of that cache is the progress. Everything happens below one folder, which
//! this fetch deletes at its end, or the next fetch if this one is killed.
//!
//! Needs about twice the library's size on disk temporarily.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    cache::{Cache, VERSION},
    error::{Error, Kind},
    integrity::{self, Sums},
    progress::{self, Progress},
    tail::Tail,
    unpack,
};

/// The interval at which the size of the download is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The number of npm's lines to quote: the code and the reason come first, then general advice.
const MAX_QUOTED_LINES: usize = 6;

/// npm's error codes that mean a network problem rather than a problem with the package.
const OFFLINE_CODES: [&str; 10] = [
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOTFOUND",
    "ERR_SOCKET_TIMEOUT",
    "ETIMEDOUT",
    "EPIPE",
];

/// A package that carries the library for one kind of system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Package {
    name: &'static str,
    /// The size of its tarball, for the progress line; without it, no percentage is shown.
    bytes: Option<u64>,
    /// The sums of its files; without them, only npm checks the tarball.
    sums: Option<Sums>,
}

impl Package {
    /// Returns the package for the system that this program is compiled for: that target decides
    /// whether the library can be loaded into this process.
    fn of_this_system() -> Result<Package, Error> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let libc = match (os, cfg!(target_env = "gnu")) {
            ("linux", true) => "gnu",
            ("linux", false) => "musl",
            _ => "",
        };
        Package::of(os, arch, libc)
    }

    fn of(os: &str, arch: &str, libc: &str) -> Result<Package, Error> {
        let (name, bytes, sums) = match (os, arch, libc) {
            ("linux", "x86_64", "gnu") => ("@chdb/lib-linux-x64-gnu", Some(177_817_999), Some(integrity::LINUX_X64)),
            ("linux", "aarch64", "gnu") => ("@chdb/lib-linux-arm64-gnu", None, None),
            ("macos", "x86_64", _) => ("@chdb/lib-darwin-x64", None, None),
            ("macos", "aarch64", _) => ("@chdb/lib-darwin-arm64", None, None),
            _ => {
                let system = format!("{os} {arch} {libc}").trim_end().to_owned();
                return Err(Kind::NoBuild { system }.into());
            }
        };
        Ok(Package { name, bytes, sums })
    }

    fn spec(self) -> String {
        format!("{}@{VERSION}", self.name)
    }
}

/// Checks that a library in the cache is the one of the package for this system.
pub(crate) fn check(library: &Path) -> Result<(), Error> {
    match Package::of_this_system()?.sums {
        Some(sums) => integrity::check_library(library, sums.library),
        None => Ok(()),
    }
}

/// Fetches the library and returns its path in the cache.
///
/// If another process is fetching, waits for it and uses its library.
pub(crate) fn fetch(cache: &Cache) -> Result<PathBuf, Error> {
    let package = Package::of_this_system()?;
    fs::create_dir_all(cache.folder()).map_err(|cause| Error::cache(cache.folder(), cause))?;
    // Closing the file unlocks it, also when this process is killed.
    let _lock = lock(&cache.lock())?;
    if let Some(library) = cache.library() {
        return Ok(library);
    }
    let unfinished = cache.unfinished();
    clear(&unfinished)?;
    let library = fetch_into(cache, package, &unfinished);
    // If both fail, report the first error.
    let cleared = clear(&unfinished);
    let library = library?;
    cleared?;
    Ok(library)
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |cause| Error::cache(path, cause);
    let mut options = File::options();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::note("another process is fetching the embedded ClickHouse, waiting for it …");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    Ok(file)
}

fn clear(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::cache(folder, cause)),
        _ => Ok(()),
    }
}

fn fetch_into(cache: &Cache, package: Package, work: &Path) -> Result<PathBuf, Error> {
    let npm_cache = work.join("npm");
    fs::create_dir_all(&npm_cache).map_err(|cause| Error::cache(work, cause))?;
    progress::note(&format!(
        "fetching the embedded ClickHouse ({}) into {}, once",
        package.spec(),
        cache.folder().display()
    ));
    pack("npm".as_ref(), package, work, &npm_cache)?;
    let tarball = tarball_in(work)?;
    // The tarball does not need npm's cache; removing the cache saves space on a small disk.
    clear(&npm_cache)?;
    if let Some(sums) = package.sums {
        integrity::check(&tarball, sums.tarball)?;
    }
    let library = unpack::unpack(&tarball, work)?;
    let version = cache.version();
    fs::create_dir_all(&version).map_err(|cause| Error::cache(&version, cause))?;
    let kept = version.join(library.file_name().unwrap_or_default());
    fs::rename(&library, &kept).map_err(|cause| Error::cache(&kept, cause))?;
    Ok(kept)
}

/// Runs `npm pack`, which leaves the package's tarball in the folder `into`.
fn pack(npm: &Path, package: Package, into: &Path, npm_cache: &Path) -> Result<(), Error> {
    let mut child = Command::new(npm)
        .args(["pack", &package.spec(), "--ignore-scripts"])
        .args(["--no-update-notifier", "--loglevel=error"])
        // npm's default retries take a minute and a half, too long for a user without a network.
        .args(["--fetch-retries=2", "--fetch-retry-mintimeout=1000"])
        .args(["--fetch-retry-maxtimeout=5000"])
        .arg("--pack-destination")
        .arg(into)
        .arg("--cache")
        .arg(npm_cache)
        // Otherwise npm would search for a project from the current folder up and read its `.npmrc`.
        .current_dir(into)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => Kind::NpmMissing.into(),
            _ => Error::from(Kind::Spawn {
                program: npm.to_owned(),
                cause,
            }),
        })?;
    let tail = child.stderr.take().map(Tail::follow).transpose()?;
    let mut progress = Progress::start("fetching", package.bytes);
    let status = loop {
        match child.try_wait().map_err(Error::system("waiting for npm"))? {
            Some(status) => break status,
            None => progress.reach(size_of(npm_cache)),
        }
        thread::sleep(POLL_INTERVAL);
    };
    if status.success() {
        progress.finish(size_of(npm_cache));
        return Ok(());
    }
    drop(progress);
    let output = tail.map(Tail::lines).unwrap_or_default();
    Err(failure(package, into, output))
}

/// Returns the error for npm's failure, chosen by the code in npm's output.
fn failure(package: Package, folder: &Path, output: Vec<String>) -> Error {
    let code = output.iter().find_map(|line| line.strip_prefix("npm error code "));
    let code = code.map(str::to_owned);
    let is_noise = |line: &String| {
        // Stack frames of npm's code, and a log in the folder that the fetch deletes.
        line.starts_with("npm error     at ") || line.contains("A complete log of this run")
    };
    let output = output.into_iter().filter(|line| !is_noise(line));
    let output = output.take(MAX_QUOTED_LINES).collect();
    let package = package.spec();
    match code.as_deref() {
        Some("ENOSPC" | "EDQUOT") => Kind::DiskFull {
            folder: folder.to_owned(),
        },
        Some(code) if OFFLINE_CODES.contains(&code) => Kind::Offline { package, output },
        _ => Kind::NpmFailed { package, output },
    }
    .into()
}

/// Returns the bytes of all files below a folder. A file that vanishes meanwhile counts as 0.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => size_of(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn tarball_in(folder: &Path) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(|cause| Error::cache(folder, cause))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let tarball = paths.find(|path| path.extension().is_some_and(|it| it == "tgz"));
    let problem = "is not in the folder that npm was given";
    tarball.ok_or_else(|| Kind::Package { problem }.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const PACKAGE: Package = Package {
        name: "@chdb/lib-x",
        bytes: None,
        sums: None,
    };

    #[test]
    fn systems_without_a_build_are_named() {
        assert_eq!(
            Package::of("linux", "aarch64", "gnu").unwrap().spec(),
            "@chdb/lib-linux-arm64-gnu@26.7.3-stable.1"
        );
        let musl = Package::of("linux", "x86_64", "musl").unwrap_err();
        assert!(musl.is_no_build() && musl.to_string().contains("linux x86_64 musl;"));
        let other = Package::of("freebsd", "x86_64", "").unwrap_err();
        assert!(other.is_no_build() && other.to_string().contains("freebsd x86_64;"));
    }

    #[test]
    fn failures_of_npm_are_classified_by_their_code() {
        let failure_of = |line: &str| failure(PACKAGE, Path::new("x"), vec![line.to_owned()]);
        assert!(failure_of("npm error code ENOTFOUND").is_offline());
        assert!(failure_of("npm error code ENOSPC").is_disk_full());
        for other in ["npm error code E404", "npm error code ENOTFOUND2", "oh"] {
            let error = failure_of(other);
            assert!(error.is_fetch() && !error.is_offline() && !error.is_disk_full());
            assert!(error.to_string().ends_with(other), "npm's output is kept");
        }
    }

    #[test]
    fn npms_output_is_quoted_without_its_stack() {
        let output = "npm error code ECONNREFUSED\nnpm error errno X\nnpm error     at a (b:1:2)\n\
                    npm error A complete log of this run can be found in: x";
        let error = failure(PACKAGE, Path::new("x"), output.lines().map(str::to_owned).collect());
        assert!(error.is_offline());
        assert!(
            error
                .to_string()
                .ends_with("npm error code ECONNREFUSED\n  | npm error errno X")
        );
    }

    #[test]
    fn npm_may_be_missing() {
        let npm = Path::new("/nonexistent/npm");
        let error = pack(npm, PACKAGE, &std::env::temp_dir(), npm).unwrap_err();
        assert!(error.is_npm_missing() && error.is_fetch(), "{error:?}");
    }
}
