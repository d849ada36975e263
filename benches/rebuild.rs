//! The time from saving a YAML file to a new debug binary, and its growth with the number of
//! tables.
//!
//! A separate crate outside of this workspace is built with the seed's schemas, and with 1, 10, 50
//! and 200 tables of 40 columns. After a first build, the bench adds a column to one file and times
//! the build, several times. It shows the quickest run, because other processes only ever slow a
//! build down; CPU time is less noisy than the clock.
//!
//! `cargo bench --profile dev --bench rebuild` measures everything, and with `-- seed 10 200` at
//! the end only these. The crate stays in the target folder, so only the first run compiles its
//! dependencies.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

const COLUMNS: usize = 40;
const RUNS: usize = 3;

/// The types of a table's columns, in turn: a typical mix for tables of events.
const TYPES: [&str; 10] = [
    "String",
    "LowCardinality(String)",
    "UInt32",
    "Nullable(String)",
    "DateTime64(3)",
    "Int64 DEFAULT -1",
    "Array(String)",
    "Float64",
    "Map(String, UInt64)",
    "Nullable(Decimal(18, 2))",
];

/// The program and its build script are files of this workspace, so every build of the workspace
/// compiles them too.
const MAIN: &str = include_str!("../examples/own_tables.rs");
const BUILD: &str = include_str!("../build.rs");

/// The time of one build, by the clock and in CPU time.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let requested: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_requested = |name: &str| requested.is_empty() || requested.iter().any(|requested| requested == name);
    println!(
        "{:>8} {:>9} {:>9} {:>14} {:>10}",
        "tables", "wall", "cpu", "cpu per table", "code"
    );
    if is_requested("seed") {
        let package = Package::new();
        package.copy_seed();
        report("seed", 0, package.rebuild("50_mail.yml"), &package);
    }
    let mut costs = Vec::new();
    for tables in [1_u32, 10, 50, 200] {
        if !is_requested(&tables.to_string()) {
            continue;
        }
        let package = Package::new();
        for table in 0..tables {
            package.write(&format!("schemas/{table:03}.yml"), &schema(table));
        }
        let cost = package.rebuild("000.yml");
        report(&tables.to_string(), tables, cost, &package);
        costs.push((tables, cost));
    }
    let cost_of = |wanted: u32| {
        costs
            .iter()
            .find(|(tables, _)| *tables == wanted)
            .map(|(_, cost)| *cost)
    };
    let (Some(ten), Some(most)) = (cost_of(10), cost_of(200)) else {
        return;
    };
    println!();
    growth("with the fixed cost of a build", 10.0, 200.0, ten, most);
    // The fixed cost of a build makes the first ratio smaller than the growth per table.
    if let Some(one) = cost_of(1) {
        let without = |cost: Cost| Cost {
            wall: cost.wall.saturating_sub(one.wall),
            cpu: cost.cpu.saturating_sub(one.cpu),
        };
        growth(
            "for each table after the first",
            9.0,
            199.0,
            without(ten),
            without(most),
        );
    }
}

fn report(name: &str, tables: u32, cost: Cost, package: &Package) {
    let per_table = match tables {
        0 => "-".to_owned(),
        _ => format!("{:.0} ms", cost.cpu.as_secs_f64() * 1000.0 / f64::from(tables)),
    };
    println!(
        "{name:>8} {:>7.2} s {:>7.2} s {per_table:>14} {:>7} kB",
        cost.wall.as_secs_f64(),
        cost.cpu.as_secs_f64(),
        package.code_bytes() / 1000
    );
}

/// Prints the ratio of the cost per table with many tables to that with few.
fn growth(what: &str, few: f64, many: f64, cost_of_few: Cost, cost_of_many: Cost) {
    let ratio =
        |few_cost: Duration, many_cost: Duration| (many_cost.as_secs_f64() / many) / (few_cost.as_secs_f64() / few);
    println!(
        "time per table, 200 tables to 10, {what}: {:.2} by the clock, {:.2} by CPU time",
        ratio(cost_of_few.wall, cost_of_many.wall),
        ratio(cost_of_few.cpu, cost_of_many.cpu)
    );
}

/// Returns the YAML of one table.
fn schema(table: u32) -> String {
    let mut text = format!(
        "clickhouse:\n  destinations:\n    wh/table{table}: table_{table}\n  tables:\n    table_{table}:\n      id: {{ type: UInt64, from: $id }}\n"
    );
    for column in 1..COLUMNS {
        text.push_str(&format!("      column_{column}: {}\n", TYPES[column % TYPES.len()]));
    }
    text.push_str("      _options: { engine: MergeTree, order_by: id }\n");
    text
}

/// A package like that of an external user.
struct Package {
    folder: PathBuf,
}

impl Package {
    /// Writes the package; keeps the compiled dependencies.
    fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("rebuild"),
        };
        let _ = fs::remove_dir_all(package.folder.join("schemas"));
        let manifest = format!(
            "[package]\nname = \"rebuilt\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\nrowmill-ingest = {{ path = {:?} }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"net\", \"rt-multi-thread\"] }}\n\
             tower = {{ version = \"0.5\", features = [\"util\"] }}\n\n\
             [build-dependencies]\nrowmill-codegen = {{ path = {:?} }}\n",
            workspace.join("ingest"),
            workspace.join("codegen"),
        );
        package.write("Cargo.toml", &manifest);
        package.write("build.rs", BUILD);
        package.write("src/main.rs", MAIN);
        fs::copy(workspace.join("Cargo.lock"), package.folder.join("Cargo.lock")).unwrap();
        package
    }

    fn copy_seed(&self) {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        for entry in fs::read_dir(schemas).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            self.write(&format!("schemas/{name}"), &fs::read_to_string(&path).unwrap());
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Builds, then adds a column to a file and builds again, several times. Returns the quickest
    /// build.
    fn rebuild(&self, file: &str) -> Cost {
        self.build();
        let path = format!("schemas/{file}");
        let text = fs::read_to_string(self.folder.join(&path)).unwrap();
        let costs: Vec<Cost> = (0..RUNS)
            .map(|run| {
                // The new column goes before the options, at the indentation of the columns.
                let line = text.lines().find(|line| line.contains("_options:")).unwrap();
                let indent = " ".repeat(line.len() - line.trim_start().len());
                self.write(
                    &path,
                    &text.replacen(line, &format!("{indent}added_{run}: String\n{line}"), 1),
                );
                self.build()
            })
            .collect();
        Cost {
            wall: costs.iter().map(|cost| cost.wall).min().unwrap(),
            cpu: costs.iter().map(|cost| cost.cpu).min().unwrap(),
        }
    }

    fn build(&self) -> Cost {
        let (start, cpu) = (Instant::now(), cpu_of_children());
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--offline", "--color=never"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Cost {
            wall: start.elapsed(),
            cpu: cpu_of_children() - cpu,
        }
    }

    /// Returns the size of the newest generated file.
    fn code_bytes(&self) -> u64 {
        let outputs = fs::read_dir(self.folder.join("target/debug/build")).unwrap();
        let files = outputs.filter_map(|entry| fs::metadata(entry.ok()?.path().join("out/rowmill_tables.rs")).ok());
        files
            .max_by_key(|file| file.modified().unwrap())
            .map_or(0, |file| file.len())
    }
}

/// Returns the CPU time of all child processes that have ended.
fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(microseconds.try_into().unwrap())
}
