//! Extracts the library from a package's tarball.
//!
//! The library is the only file written, beside the tarball. `unpack` syncs it to disk before it
//! returns, because the rename that follows must not outlive the content.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;

use crate::{
    cache::library_name,
    error::{Error, Kind},
    progress::Progress,
};

/// Large enough that neither side waits for small reads and writes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Unpacks the library into a folder and returns its path.
pub(crate) fn unpack(tarball: &Path, into: &Path) -> Result<PathBuf, Error> {
    let file = File::open(tarball).map_err(|cause| Error::cache(tarball, cause))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file)));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = library_name(&entry.path().map_err(broken)?);
        if let Some(name) = name {
            let path = into.join(name);
            let size = entry.size();
            write(&mut entry, size, &path)?;
            return Ok(path);
        }
    }
    let problem = "does not contain libchdb";
    Err(Kind::Package { problem }.into())
}

fn write(from: &mut impl Read, size: u64, path: &Path) -> Result<(), Error> {
    let failed = |cause| Error::cache(path, cause);
    let mut progress = Progress::start("unpacking", Some(size));
    let mut file = File::create(path).map_err(failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(broken(cause)),
        };
        file.write_all(&buffer[..read]).map_err(failed)?;
        done += read as u64;
        progress.reach(done);
    }
    file.sync_all().map_err(failed)?;
    progress.finish(done);
    match done == size {
        true => Ok(()),
        false => Err(broken(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// npm has verified the tarball, so a read error is not the network's fault.
fn broken(_: io::Error) -> Error {
    let problem = "cannot be unpacked";
    Kind::Package { problem }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Writes a tarball with the given files into a new folder, and returns both paths.
    fn tarball(test: &str, files: &[(&str, &[u8])]) -> (PathBuf, PathBuf) {
        let folder = std::env::temp_dir().join(format!("rowmill-unpack-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("package.tgz");
        let gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        (path, folder)
    }

    #[test]
    fn the_library_alone_is_unpacked() {
        let content = [7; BUFFER_BYTES + 1];
        let files: [(&str, &[u8]); 3] = [
            ("package/index.js", b"ignored"),
            ("package/libchdb.so", &content),
            ("package/other", b"ignored"),
        ];
        let (path, folder) = tarball("alone", &files);
        let library = unpack(&path, &folder).unwrap();
        assert_eq!(fs::read(&library).unwrap(), content);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_package_without_the_library_is_rejected() {
        let (path, folder) = tarball("without", &[("package/index.js", b"x")]);
        let error = unpack(&path, &folder).unwrap_err();
        assert!(error.to_string().contains("does not contain libchdb"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_truncated_tarball_is_rejected() {
        let content: Vec<u8> = (0..100_000_u32)
            .flat_map(|it| it.wrapping_mul(it).to_le_bytes())
            .collect();
        let (path, folder) = tarball("cut", &[("package/libchdb.so", &content)]);
        let whole = fs::read(&path).unwrap();
        for length in [0, 5, 100, whole.len() / 2, whole.len() * 9 / 10] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = unpack(&path, &folder).unwrap_err();
            assert!(error.is_fetch(), "cut at {length}: {error}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named() {
        let error = write(&mut [0_u8; 10].as_slice(), 10, Path::new("/dev/full")).unwrap_err();
        assert!(error.is_disk_full(), "{error:?}");
    }
}
