//! Pinned texts: what was made is compared with a file, which is written anew only where a person asks for it.

use std::{env, fs, path::Path};

/// Compares made texts with pinned ones, all of them before it fails.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    differences: Vec<String>,
}

impl Pinned {
    /// Compares `made` with the file `path`; with `ROWMILL_BLESS=1` in the environment, writes the file.
    pub(crate) fn compare(&mut self, path: &Path, made: &str) {
        if env::var_os("ROWMILL_BLESS").is_some_and(|value| value == "1") {
            fs::write(path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return;
        }
        // Without the file, everything is a difference.
        let pinned = fs::read_to_string(path).unwrap_or_default();
        if pinned != made {
            self.differences.push(format!(
                "{} differs:\n--- pinned\n{pinned}\n--- made\n{made}",
                path.display()
            ));
        }
    }

    /// Fails if anything differs.
    pub(crate) fn finish(self) {
        assert!(
            self.differences.is_empty(),
            "{}\nIf this is meant, write the files anew with ROWMILL_BLESS=1.",
            self.differences.join("\n")
        );
    }
}
