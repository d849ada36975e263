//! The clients of senders in `tests/clients`: libraries of npm and PyPI.
//!
//! `npm ci --prefix tests/clients` installs those of npm, and `python3 -m venv tests/clients/venv` with
//! `pip install -r tests/clients/requirements.txt` those of PyPI. Without them, a test says that it is
//! skipped.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Returns the folder with the clients of npm; `None` if they are not installed.
pub fn of_npm() -> Option<PathBuf> {
    let folder = folder();
    if folder.join("node_modules").exists() {
        return Some(folder);
    }
    println!("SKIPPED: `npm ci --prefix tests/clients` has not run");
    None
}

/// Returns the folder with the clients of PyPI, and the Python that has them; `None` if they are not
/// installed.
pub fn of_pypi() -> Option<(PathBuf, PathBuf)> {
    let folder = folder();
    let python = folder.join("venv/bin/python");
    if python.exists() {
        return Some((folder, python));
    }
    println!("SKIPPED: tests/clients/venv has no clients of PyPI");
    None
}
