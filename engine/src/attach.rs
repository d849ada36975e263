//! Finds the engine that another process runs on a data folder.
//!
//! ```text
//! DATA/address    the address of the engine's HTTP interface, from its first answer on
//! ```

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    access::{Access, Account, replace},
    error::{Error, Kind},
    place::is_locked,
};

/// The time limit for an engine that is starting to write its address.
const MAX_WAIT: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An engine of another process.
#[derive(Debug)]
pub struct Running {
    /// The address of its HTTP interface.
    pub address: SocketAddr,
    /// The user `collector`, who creates tables and inserts rows.
    pub collector: Account,
    /// The user `owner`, who can also create dictionaries, and only from this machine.
    pub owner: Account,
}

/// Returns the address of the engine that runs on a data folder, and its user `collector`, who can
/// create databases and tables, insert and read. Returns `None` if no engine runs on the folder.
///
/// Waits up to ten seconds for an engine that is starting. The engine can end at any time.
///
/// # Errors
///
/// A file of the folder cannot be read, or the engine does not answer yet.
pub fn running(data: &Path) -> Result<Option<Running>, Error> {
    let deadline = Instant::now() + MAX_WAIT;
    while is_locked(data) {
        let address = fs::read_to_string(file(data)).ok();
        if let Some(address) = address.and_then(|text| text.trim().parse().ok()) {
            let Access { collector, owner, .. } = Access::of(data)?;
            return Ok(Some(Running {
                address,
                collector,
                owner,
            }));
        }
        if Instant::now() > deadline {
            return Err(Kind::Locked { data: data.to_owned() }.into());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(None)
}

/// Records the address of an engine that answers.
pub(crate) fn record(data: &Path, address: SocketAddr) -> Result<(), Error> {
    replace(&file(data), &format!("{address}\n"))
}

/// Removes the address of an engine that has ended.
pub(crate) fn forget(data: &Path) -> Result<(), Error> {
    let file = file(data);
    match fs::remove_file(&file) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Kind::Access { file, cause }.into()),
        _ => Ok(()),
    }
}

fn file(data: &Path) -> PathBuf {
    data.join("address")
}
