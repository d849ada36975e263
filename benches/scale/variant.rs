//! Builds the collector with another schema, as a user does who edits the schemas and rebuilds.
//!
//! The bench makes a folder with links to this project's files and with other schemas, and builds
//! it in release mode. All variants share a separate target folder, so the parts that do not depend
//! on the schema compile once. The first build takes as long as any first build of the project.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rowmill_harness::Failure;

/// Entries without a link: the variant has its own, or the build does not need them.
const OWN: [&str; 5] = ["schemas", "target", "data", ".git", ".ci"];

/// The folders in which variants are built.
#[derive(Debug)]
pub(crate) struct BuildFolders {
    project: PathBuf,
    target: PathBuf,
    programs: PathBuf,
}

/// A collector with another schema.
#[derive(Debug)]
pub(crate) struct Variant {
    /// The program.
    pub(crate) program: PathBuf,
    /// Time from the changed schema to the program.
    pub(crate) build_time: Duration,
}

impl BuildFolders {
    /// Creates the folders below `folder`, and reuses the compiled output of an earlier run.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let folders = Self {
            project: folder.join("project"),
            target: folder.join("target"),
            programs: folder.join("programs"),
        };
        if folders.project.exists() {
            fs::remove_dir_all(&folders.project)?;
        }
        fs::create_dir_all(folders.project.join("schemas"))?;
        fs::create_dir_all(&folders.programs)?;
        for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR"))? {
            let entry = entry?;
            if OWN.iter().all(|own| entry.file_name() != *own) {
                symlink(entry.path(), folders.project.join(entry.file_name()))?;
            }
        }
        Ok(folders)
    }

    /// Builds the collector with `schema`.
    ///
    /// # Errors
    /// If the build fails; cargo has printed the reason.
    pub(crate) fn build(&self, name: &str, schema: &str) -> Result<Variant, Failure> {
        // The crates that do not depend on the schema are built before the clock starts.
        self.cargo(&[
            "--package",
            "rowmill-ingest",
            "--package",
            "rowmill-codegen",
            "--package",
            "rowmill-engine",
        ])?;
        write_if_changed(&self.project.join("schemas/tables.yml"), schema)?;
        let started = Instant::now();
        self.cargo(&["--bin", "rowmill"])?;
        let build_time = started.elapsed();
        let program = self.programs.join(name);
        fs::copy(self.target.join("release/rowmill"), &program)?;
        Ok(Variant { program, build_time })
    }

    fn cargo(&self, what: &[&str]) -> Result<(), Failure> {
        let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--locked", "--target-dir"])
            .arg(&self.target)
            .args(what)
            .current_dir(&self.project)
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("cargo build in {} ended with {status}", self.project.display()).into())
        }
    }
}

fn write_if_changed(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        _ => fs::write(path, text),
    }
}
