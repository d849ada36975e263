//! Chooses the ClickHouse to run: the first of four sources that has one.
//!
//! 1. `ROWMILL_ENGINE`, the path of a libchdb library or of a `clickhouse` program. If it is set,
//!    an unusable path is an error: a user who names an engine does not want another.
//! 2. A `clickhouse` on `PATH`, if it is new enough. `locate` skips an older one: it serves
//!    something else on this machine, and the engine works without it.
//! 3. The library in the cache.
//! 4. The library, fetched into the cache.

use std::{
    env,
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cache::Cache,
    error::{Error, Kind, Unusable},
    fetch, progress,
    variables::ENGINE_VARIABLE,
};

/// The oldest ClickHouse (year, month) that the engine accepts. `local` got `SYSTEM START LISTEN`
/// during 2026, and Rowmill is tested with 26.7.
const OLDEST: (u32, u32) = (26, 7);

/// A ClickHouse, in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `libchdb`: ClickHouse as a library with a C interface.
    Library(PathBuf),
    /// `clickhouse`: ClickHouse as a program.
    Binary(PathBuf),
}

impl Program {
    /// Returns the path of the library or program.
    pub fn path(&self) -> &Path {
        match self {
            Program::Library(path) | Program::Binary(path) => path,
        }
    }
}

/// Returns the ClickHouse to use. If there is none, fetches it, with progress on standard error.
///
/// # Errors
///
/// - `ROWMILL_ENGINE` is set, but does not name an engine.
/// - There is no ClickHouse, and it cannot be fetched.
/// - The ClickHouse in the cache is another file than the one that was fetched.
pub fn locate() -> Result<Program, Error> {
    if let Some(path) = env::var_os(ENGINE_VARIABLE).filter(|it| !it.is_empty()) {
        let path = PathBuf::from(path);
        return named(&path).map_err(|problem| Kind::Named { path, problem }.into());
    }
    if let Some(path) = on_path(&env::var_os("PATH").unwrap_or_default()) {
        match check_program(&path) {
            Ok(()) => return Ok(Program::Binary(path)),
            Err(Unusable::TooOld { version }) => progress::note(&format!(
                "{} is ClickHouse {version}, too old for the engine: skipped",
                path.display()
            )),
            Err(_) => {}
        }
    }
    let cache = Cache::of_user()?;
    let path = match cache.library() {
        Some(path) => path,
        None => fetch::fetch(&cache)?,
    };
    fetch::check(&path)?;
    Ok(Program::Library(path))
}

/// Returns the program at a path that the user named.
fn named(path: &Path) -> Result<Program, Unusable> {
    // The child that receives this path may run in another folder.
    let path = path.canonicalize().map_err(|_| Unusable::Absent)?;
    if is_library_name(&path) {
        return match is_library(&path) {
            true => Ok(Program::Library(path)),
            false => Err(Unusable::NotLibrary),
        };
    }
    if !is_executable(&path) {
        return Err(Unusable::NotExecutable);
    }
    check_program(&path)?;
    Ok(Program::Binary(path))
}

/// Returns whether a file name is a library's: `.so`, `.dylib`, or `.so` followed by a version.
fn is_library_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.ends_with(".dylib") || name.contains(".so.")
}

/// Returns whether a file starts like a shared library of this system. An error page or a partial
/// download saved under the library's name does not.
fn is_library(path: &Path) -> bool {
    const ELF: [u8; 4] = *b"\x7fELF";
    const MACH_O: [u8; 4] = 0xfeed_facf_u32.to_le_bytes();
    const MACH_O_UNIVERSAL: [u8; 4] = 0xcafe_babe_u32.to_be_bytes();
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok()
        && match cfg!(target_os = "macos") {
            true => magic == MACH_O || magic == MACH_O_UNIVERSAL,
            false => magic == ELF,
        }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Returns the first `clickhouse` on a search path. Skips relative entries: a file in the current
/// folder is not an installed program.
fn on_path(search: &std::ffi::OsStr) -> Option<PathBuf> {
    env::split_paths(search)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("clickhouse"))
        .find(|path| is_executable(path))
}

/// Checks that a program reports a ClickHouse version that is new enough.
fn check_program(path: &Path) -> Result<(), Unusable> {
    let output = version_output(path).ok_or(Unusable::NotClickHouse)?;
    let version = version_in(&output).ok_or(Unusable::NotClickHouse)?;
    let mut numbers = version.split('.').map_while(|it| it.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(year), Some(month)) if (year, month) >= OLDEST => Ok(()),
        _ => Err(Unusable::TooOld {
            version: version.to_owned(),
        }),
    }
}

/// Returns the first 256 bytes that a program prints for `local --version`. It does not wait for
/// more: the program may not be ClickHouse, and may never stop.
fn version_output(path: &Path) -> Option<String> {
    let mut child = Command::new(path)
        .args(["local", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(256).read_to_end(&mut output).ok()?;
    }
    // Errors do not matter here: the program has already ended, or ends now.
    let _ = child.kill();
    let _ = child.wait();
    Some(String::from_utf8_lossy(&output).into_owned())
}

/// Finds the version in "ClickHouse local version 26.7.2.1 (official build)."
fn version_in(output: &str) -> Option<&str> {
    let line = output.lines().find(|line| line.contains("ClickHouse"))?;
    let (_, rest) = line.split_once("version ")?;
    let version = rest.split_whitespace().next()?.trim_end_matches('.');
    version.starts_with(|it: char| it.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs;

    use super::*;

    /// A folder for one test, removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = env::temp_dir().join(format!("rowmill-locate-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder.canonicalize().unwrap())
        }

        fn file(&self, name: &str, mode: u32, content: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        /// A process of its own writes the program: a process that another test starts meanwhile
        /// would inherit the open file, and Linux runs no program that is open for writing.
        fn program(&self, name: &str, answer: &str) -> PathBuf {
            let path = self.0.join(name);
            let text = format!("#!/bin/sh\n{answer}\n");
            let write = r#"printf %s "$2" > "$1" && chmod 755 "$1""#;
            let mut shell = Command::new("sh");
            let written = shell.args(["-c", write, "sh"]).arg(&path).arg(text).status();
            assert!(written.unwrap().success());
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_unusable_path_has_its_error() {
        let folder = Folder::new("named");
        let absent = named(&folder.0.join("no.so"));
        assert!(matches!(absent, Err(Unusable::Absent)));
        assert!(matches!(named(&folder.0), Err(Unusable::NotExecutable)));
        let text = folder.file("notes", 0o644, b"hello");
        assert!(matches!(named(&text), Err(Unusable::NotExecutable)));
        let page = folder.file("libchdb.so", 0o644, b"<html>");
        assert!(matches!(named(&page), Err(Unusable::NotLibrary)));
        let other = folder.program("other", "echo 'tool version 26.7'");
        assert!(matches!(named(&other), Err(Unusable::NotClickHouse)));
        let endless = folder.program("endless", "while :; do echo ClickHouse; done");
        assert!(matches!(named(&endless), Err(Unusable::NotClickHouse)));
    }

    #[test]
    fn a_program_must_be_new_enough() {
        let folder = Folder::new("version");
        let old = folder.program("old", "echo 'ClickHouse local version 25.12.1.9 (official build).'");
        let Err(Unusable::TooOld { version }) = named(&old) else {
            panic!("25.12 was accepted");
        };
        assert_eq!(version, "25.12.1.9");
        for new in ["26.7.2.1", "26.10.1.1", "27.1.3.4."] {
            let path = folder.program(new, &format!("echo 'ClickHouse local version {new}'"));
            assert_eq!(named(&path).unwrap(), Program::Binary(path));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_is_recognized_by_its_name_and_first_bytes() {
        let folder = Folder::new("library");
        for name in ["libchdb.so", "libchdb.so.26", "mine.dylib"] {
            let path = folder.file(name, 0o644, b"\x7fELF and so on");
            assert_eq!(named(&path).unwrap(), Program::Library(path));
        }
    }

    #[test]
    fn the_search_path_is_searched_in_order() {
        let folder = Folder::new("path");
        for name in ["a", "b", "c"] {
            fs::create_dir(folder.0.join(name)).unwrap();
        }
        folder.file("a/clickhouse", 0o644, b"not executable");
        let expected = folder.program("b/clickhouse", "");
        folder.program("c/clickhouse", "");
        let search = env::join_paths(["", ".", "a", "b", "c"].map(|it| match it {
            "" | "." => PathBuf::from(it),
            _ => folder.0.join(it),
        }));
        assert_eq!(on_path(&search.unwrap()), Some(expected));
        assert_eq!(on_path("".as_ref()), None);
    }
}
