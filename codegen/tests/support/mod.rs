//! Pinned texts: compares generated texts with files, and rewrites the files only on request.

use std::{env, fs, path::Path};

/// Compares all generated texts with pinned ones before it fails.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    differences: Vec<String>,
}

impl Pinned {
    /// Compares `generated` with the file `path`, or writes the file if `ROWMILL_BLESS=1` is set.
    pub(crate) fn compare(&mut self, path: &Path, generated: &str) {
        if env::var_os("ROWMILL_BLESS").is_some_and(|value| value == "1") {
            fs::write(path, generated).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return;
        }
        // A missing file counts as empty.
        let pinned = fs::read_to_string(path).unwrap_or_default();
        if pinned != generated {
            self.differences.push(format!(
                "{} differs:\n--- pinned\n{pinned}\n--- generated\n{generated}",
                path.display()
            ));
        }
    }

    /// Fails if anything differs.
    pub(crate) fn finish(self) {
        assert!(
            self.differences.is_empty(),
            "{}\nIf this is intended, rewrite the files with ROWMILL_BLESS=1.",
            self.differences.join("\n")
        );
    }
}
