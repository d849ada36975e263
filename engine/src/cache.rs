//! The cache for fetched engines: one folder for each version, shared by all processes of a user.
//!
//! ```text
//! CACHE/engine/.lock                    held by the one process that fetches
//! CACHE/engine/.fetch/                  its unfinished work; disposable once the lock is free
//! CACHE/engine/26.7.3-stable.1/libchdb.so
//! ```
//!
//! A library gets its final name by one rename, so a library found there is complete.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Kind},
    variables::CACHE_VARIABLE,
};

/// The version of the npm packages that carry the library.
///
/// Pinned: npm's tag `latest` is older (26.5) and lacks `SYSTEM START LISTEN`, which the engine
/// requires.
pub const VERSION: &str = "26.7.3-stable.1";

/// The names of the library in its packages.
const LIBRARIES: [&str; 2] = ["libchdb.so", "libchdb.dylib"];

/// The cache's folder for engines.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Returns the cache of this user.
    ///
    /// # Errors
    ///
    /// Neither `ROWMILL_CACHE`, `XDG_CACHE_HOME` nor `HOME` names a folder.
    pub(crate) fn of_user() -> Result<Cache, Error> {
        Cache::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Cache, Error> {
        let folder = |name| variable(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let root = folder(CACHE_VARIABLE)
            // The XDG specification requires relative paths to be ignored.
            .or_else(|| {
                let xdg = folder("XDG_CACHE_HOME").filter(|it| it.is_absolute());
                Some(xdg?.join("rowmill"))
            })
            .or_else(|| Some(folder("HOME")?.join(".cache/rowmill")))
            .ok_or(Kind::NoCache)?;
        Ok(Cache {
            folder: root.join("engine"),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join(".lock")
    }

    pub(crate) fn unfinished(&self) -> PathBuf {
        self.folder.join(".fetch")
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.folder.join(VERSION)
    }

    /// Returns the library, if this version has been fetched.
    pub(crate) fn library(&self) -> Option<PathBuf> {
        let version = self.version();
        let mut paths = LIBRARIES.iter().map(|name| version.join(name));
        paths.find(|path| path.is_file())
    }
}

/// Returns the library's name in the cache if a file of the package is the library.
pub(crate) fn library_name(file: &Path) -> Option<&'static str> {
    LIBRARIES.into_iter().find(|name| file.ends_with(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn folder(set: &[(&str, &str)]) -> Option<PathBuf> {
        let find = |name: &str| set.iter().find(|(key, _)| *key == name);
        Cache::from_variables(|name| find(name).map(|(_, value)| value.into()))
            .ok()
            .map(|cache| cache.folder)
    }

    #[test]
    fn the_most_specific_variable_names_the_cache() {
        let all = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), (CACHE_VARIABLE, "/r")];
        assert_eq!(folder(&all), Some("/r/engine".into()));
        assert_eq!(folder(&all[..2]), Some("/x/rowmill/engine".into()));
        assert_eq!(folder(&all[..1]), Some("/h/.cache/rowmill/engine".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn empty_and_relative_values_are_ignored() {
        let ignored = [("HOME", "/h"), ("XDG_CACHE_HOME", "x"), (CACHE_VARIABLE, "")];
        assert_eq!(folder(&ignored), Some("/h/.cache/rowmill/engine".into()));
    }

    #[test]
    fn only_the_library_is_recognized_in_the_package() {
        let name = |path| library_name(Path::new(path));
        assert_eq!(name("package/libchdb.so"), Some("libchdb.so"));
        assert_eq!(name("package/libchdb.dylib"), Some("libchdb.dylib"));
        assert_eq!(name("package/chdb_node.node"), None);
        assert_eq!(name("package/libchdb.so.txt"), None);
    }
}
