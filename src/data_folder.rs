//! The data folder: only the collector's own user may read it, since it holds people's data.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use rowmill_ingest::spool::{SpoolError, inspect};
use rustix::{fs::Mode, process::umask};

/// The folder of the embedded ClickHouse in the data folder.
const ENGINE: &str = "engine";

/// The entries of a data folder.
const OURS: [&str; 3] = ["spool", "uploads", ENGINE];

/// Makes a data folder private, and all files that this process and its engine create.
///
/// A folder that has something else stays as it is, except for what is the collector's: it may be
/// somebody's home, or `/tmp`.
///
/// # Errors
/// The folder cannot be created or read.
pub(crate) fn prepare(data: &Path) -> io::Result<()> {
    create(data)?;
    let mut is_ours = true;
    for entry in fs::read_dir(data)? {
        let name = entry?.file_name();
        is_ours &= OURS.iter().any(|ours| name == *ours);
    }
    if is_ours {
        tighten(data);
    }
    // The spool does the same with its own folder.
    let engine = data.join(ENGINE);
    if engine.is_dir() {
        tighten(&engine);
    }
    Ok(())
}

/// Creates a folder that only this user may read, and lets this process and its engine create only
/// such files from now on.
///
/// # Errors
/// The folder cannot be created.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Takes the rights of other users from a folder.
fn tighten(folder: &Path) {
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    if !is_open(folder) {
        return;
    }
    match fs::set_permissions(folder, fs::Permissions::from_mode(0o700)) {
        Ok(()) => {
            tracing::info!(folder = %folder.display(), "other users of this machine can no longer read the folder");
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "other users of this machine may read the folder");
        }
    }
}

/// Returns the number of rows that an earlier collector has left in a spool, whose folder need not
/// exist.
///
/// # Errors
/// The spool cannot be read.
pub(crate) fn waiting_rows(spool: &Path) -> Result<u64, SpoolError> {
    match spool.is_dir() {
        true => Ok(inspect(spool)?.blocks.iter().map(|block| block.rows).sum()),
        false => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions, store::Servers};

    use super::*;
    use crate::tables;

    #[tokio::test]
    async fn the_rows_of_an_earlier_collector_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        assert_eq!(waiting_rows(&spool).unwrap(), 0);
        let unreachable: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let servers = Servers::without_sync(unreachable);
        let writer = Writer::open(&tables::SCHEMA, servers, &WriterOptions::default(), &spool).unwrap();
        for _ in 0..3 {
            let appended = writer.append(tables::SCHEMA.tables[0], Ack::Spooled, |row| row.push(0));
            assert_eq!(appended.unwrap().reached().await, Ack::Spooled);
        }
        writer.drain(std::time::Duration::ZERO).await;
        drop(writer);
        assert_eq!(waiting_rows(&spool).unwrap(), 3);
    }
}
