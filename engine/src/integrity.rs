//! Checks that the package and its library are the ones whose SHA-512 this crate contains.
//!
//! The tarball is hashed before anything of it is unpacked. The library is hashed before it is
//! loaded, unless the record beside it says that this very file has been hashed: it contains the
//! file's size, inode and times. The time of the last change (ctime) is the kernel's, and no program
//! can set it back. A record helps nobody who may write into the cache; such a user can change the
//! library after each check.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ring::digest::{Context, Digest, SHA512};

use crate::error::{Error, Kind};

/// The bytes that are read at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The SHA-512 of a package's two files, in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    /// The tarball that npm fetches; npm's registry calls it `integrity`, in Base64.
    pub(crate) tarball: &'static str,
    /// The library in it.
    pub(crate) library: &'static str,
}

/// The package for Linux on x86-64, of the version in [`VERSION`](crate::VERSION).
pub(crate) const LINUX_X64: Sums = Sums {
    tarball: "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
              a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7",
    library: "0a5e6af5cf57034116d34a39480989a160dd105f372d85aa748f8d2b0a5ebd52\
              a90d913737d7ae86f6f597d37fe06d3a4d22125c13c5aa961d91aa93d034751e",
};

/// Checks a file against its SHA-512.
///
/// # Errors
///
/// The file is another one, or cannot be read.
pub(crate) fn check(path: &Path, expected: &'static str) -> Result<(), Error> {
    let found = sum(path).map_err(|cause| Error::cache(path, cause))?;
    match found == expected {
        true => Ok(()),
        false => Err(Kind::Altered {
            path: path.to_owned(),
            expected,
            found,
        }
        .into()),
    }
}

/// Checks a library against its SHA-512, or finds that it has not changed since the last check.
///
/// # Errors
///
/// The file is another one, or cannot be read.
pub(crate) fn check_library(path: &Path, expected: &'static str) -> Result<(), Error> {
    let record = record_path(path);
    // Read before the check: a change meanwhile makes the record outdated.
    let state = state(path, expected).map_err(|cause| Error::cache(path, cause))?;
    if fs::read_to_string(&record).is_ok_and(|recorded| recorded == state) {
        return Ok(());
    }
    check(path, expected)?;
    // Without a record, the next start hashes the library again.
    let _ = write(&record, &state);
    Ok(())
}

fn record_path(library: &Path) -> PathBuf {
    let mut name = library.file_name().unwrap_or_default().to_owned();
    name.push(".sha512");
    library.with_file_name(name)
}

/// Returns the content of the record for a file as it is now.
fn state(path: &Path, expected: &str) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    Ok(format!(
        "{expected}\nsize {} device {} inode {} modified {}.{:09} changed {}.{:09}\n",
        metadata.len(),
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    ))
}

/// Replaces a file as a whole: other processes may read it at the same time.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("sha512-{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn sum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA512);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&context.finish())),
            Ok(read) => context.update(&buffer[..read]),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

fn hexadecimal(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{env, time::Duration};

    use super::*;

    /// The SHA-512 of "abc", from FIPS 180.
    const ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = env::temp_dir().join(format!("rowmill-integrity-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_has_the_expected_sum_or_is_an_error_with_both() {
        let folder = Folder::new("check");
        let path = folder.0.join("libchdb.so");
        fs::write(&path, "abc").unwrap();
        check(&path, ABC).unwrap();
        fs::write(&path, "abd").unwrap();
        let error = check(&path, ABC).unwrap_err();
        assert!(error.is_altered());
        let text = error.to_string();
        assert!(text.contains(ABC) && text.contains("libchdb.so"), "{text}");
    }

    #[test]
    fn an_altered_library_is_found_although_its_size_and_time_are_the_same() {
        let folder = Folder::new("altered");
        let path = folder.0.join("libchdb.so");
        fs::write(&path, "abc").unwrap();
        check_library(&path, ABC).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        // The system's clock of files has steps of some milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&path, "abd").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert!(check_library(&path, ABC).unwrap_err().is_altered());
        // The error leaves no record.
        assert!(check_library(&path, ABC).unwrap_err().is_altered());
    }

    #[test]
    fn a_record_saves_the_hashing_of_the_same_file() {
        let folder = Folder::new("record");
        let path = folder.0.join("libchdb.so");
        fs::write(&path, "abd").unwrap();
        // Only the record says that the content is "abc".
        fs::write(record_path(&path), state(&path, ABC).unwrap()).unwrap();
        check_library(&path, ABC).unwrap();
        assert!(check_library(&path, LINUX_X64.library).unwrap_err().is_altered());
        fs::remove_file(record_path(&path)).unwrap();
        assert!(check_library(&path, ABC).unwrap_err().is_altered());
    }
}
