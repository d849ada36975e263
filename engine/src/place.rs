//! Checks whether an engine has a free address and a data folder that no other engine uses.
//!
//! ClickHouse notices both too, but only as text on standard error (codes 210 and 76). This module
//! asks the system instead: before the start to fail early, and after a failure to find the reason.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use crate::error::{Error, Kind};

/// The file that ClickHouse keeps locked while it uses a data folder.
const LOCKED: &str = "status";

/// An address and a data folder, both free when last checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
}

impl Place {
    /// Checks both, creates the data folder, and replaces port 0 by a free port.
    ///
    /// # Errors
    ///
    /// - Another engine uses the folder, or the folder cannot be written. This is checked first,
    ///   because that engine may hold the address too.
    /// - Another process listens on the address, or the address does not belong to this machine.
    pub(crate) fn find(listen: SocketAddr, data: &Path) -> Result<Place, Error> {
        let data = writable(data).map_err(|cause| Kind::Data {
            data: data.to_owned(),
            cause,
        })?;
        if is_locked(&data) {
            return Err(Kind::Locked { data }.into());
        }
        // The port is released at once. If another process takes it before ClickHouse, the start
        // fails.
        let free = TcpListener::bind(listen).and_then(|it| it.local_addr());
        let listen = free.map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => Kind::PortTaken { listen },
            _ => Kind::Listen { listen, cause },
        })?;
        Ok(Place { listen, data })
    }

    /// Returns the address at which this machine reaches the engine.
    pub(crate) fn address(&self) -> SocketAddr {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.listen.port())
    }
}

/// Returns whether an engine uses a data folder.
pub(crate) fn is_locked(data: &Path) -> bool {
    File::open(data.join(LOCKED)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Creates a folder, checks that files can be created in it (ClickHouse fails silently if they
/// cannot), and returns its absolute path.
fn writable(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".writable-{}", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)?;
    folder.canonicalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn folder(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rowmill-place-{test}-{}", std::process::id()))
    }

    #[test]
    fn a_free_port_is_chosen_and_a_taken_one_is_named() {
        let data = folder("port");
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let error = Place::find(taken, &data).unwrap_err();
        assert!(error.is_port_taken() && error.to_string().contains(&taken.to_string()));
        let place = Place::find("127.0.0.1:0".parse().unwrap(), &data).unwrap();
        assert_ne!(place.listen.port(), 0);
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_locked_folder_is_in_use_and_an_unlocked_one_is_not() {
        let data = folder("lock");
        fs::create_dir_all(&data).unwrap();
        let status = File::create(data.join(LOCKED)).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        assert!(Place::find(listen, &data).is_ok());
        status.lock().unwrap();
        assert!(Place::find(listen, &data).unwrap_err().is_data_locked());
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_file_cannot_be_used() {
        let path = folder("file");
        fs::write(&path, "x").unwrap();
        let error = Place::find("127.0.0.1:0".parse().unwrap(), &path).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_engine_on_all_addresses_is_reached_on_loopback() {
        let address = |listen: &str| {
            let listen = listen.parse().unwrap();
            let data = PathBuf::new();
            Place { listen, data }.address().to_string()
        };
        assert_eq!(address("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(address("[::]:1"), "[::1]:1");
        assert_eq!(address("127.0.0.2:1"), "127.0.0.2:1");
    }
}
