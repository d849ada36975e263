//! Compiles generated code with rustc, against the runtime of this workspace.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::SystemTime,
};

/// A schema and its code.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

/// The lints that a user's crate may deny. Only the names of the schema decide about the lints on
/// the scripts of identifiers, which nothing but the whole crate can allow.
const HEAD: &str = "\
#![deny(warnings, keyword_idents, nonstandard_style, rust_2018_idioms, unused, missing_docs, unreachable_pub)]
#![allow(mixed_script_confusables, confusable_idents, uncommon_codepoints)]
//! Generated code.
";

/// A folder with one crate.
pub(crate) struct Compiler {
    folder: PathBuf,
}

impl Compiler {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compiles-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// Returns the modules that rustc refuses, with its messages. One that it refuses may hide the
    /// problems of others, so it compiles the rest again.
    pub(crate) fn refused(&self, modules: &[Module], edition: &str) -> Vec<(String, String)> {
        for module in modules {
            fs::write(self.folder.join(format!("{}.rs", module.name)), &module.code).unwrap();
        }
        let mut names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        let mut refused = Vec::new();
        while let Err(messages) = self.compile(&names, edition) {
            let of = |name: &str| {
                let file = format!("{name}.rs:");
                let lines: Vec<&str> = messages.lines().filter(|line| line.contains(&file)).take(5).collect();
                (!lines.is_empty()).then(|| lines.join("\n"))
            };
            let found: Vec<_> = names
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), of(name)?)))
                .collect();
            assert!(!found.is_empty(), "rustc names no module:\n{messages}");
            names.retain(|name| !found.iter().any(|(refused, _)| refused == name));
            refused.extend(found);
        }
        refused
    }

    fn compile(&self, names: &[&str], edition: &str) -> Result<(), String> {
        let modules = names.iter().map(|name| format!("/// A schema.\npub mod {name};\n"));
        fs::write(
            self.folder.join("lib.rs"),
            HEAD.to_owned() + &modules.collect::<String>(),
        )
        .unwrap();
        let (runtime, dependencies) = &*RUNTIME;
        let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "lib.rs",
                "--crate-type=lib",
                "--crate-name=generated",
                "--emit=metadata",
                "--error-format=short",
            ])
            .arg(format!("--edition={edition}"))
            .arg("-L")
            .arg(format!("dependency={}", dependencies.display()))
            .arg("--extern")
            .arg(format!("rowmill_ingest={}", runtime.display()))
            .current_dir(&self.folder)
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The compiled runtime and the folder of its dependencies.
static RUNTIME: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let dependencies = env::current_exe().unwrap().parent().unwrap().to_owned();
    let sources = newest(Path::new("../ingest/src"));
    let find = || {
        let entries = fs::read_dir(&dependencies).unwrap().map(|entry| entry.unwrap().path());
        let is_runtime = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("librowmill_ingest-") && name.ends_with(".rlib")
        };
        entries
            .filter(is_runtime)
            .map(|path| (modified(&path), path))
            .max()
            .filter(|(time, _)| *time >= sources)
    };
    // The tests of the whole workspace have built it; those of this package alone may not.
    let found = find().or_else(|| {
        let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--offline", "--package=rowmill-ingest"])
            .arg(if cfg!(debug_assertions) {
                "--profile=dev"
            } else {
                "--profile=release"
            })
            .env("CARGO_TARGET_DIR", dependencies.ancestors().nth(2).unwrap())
            .status()
            .unwrap();
        assert!(built.success(), "rowmill-ingest does not build");
        find()
    });
    (found.expect("no library of rowmill-ingest").1, dependencies)
});

/// Returns the time of the last change in a folder.
fn newest(folder: &Path) -> SystemTime {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = paths.map(|path| if path.is_dir() { newest(&path) } else { modified(&path) });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}
