//! Turns a folder of YAML tables into Rust: typed rows, their decoders and encoders, their DDL and
//! their Tower layers.
//!
//! The crate is a build dependency. A build script is one line:
//!
//! ```no_run
//! # #[allow(clippy::needless_doctest_main)]
//! fn main() {
//!     rowmill_codegen::build("schemas");
//! }
//! ```
//!
//! The crate that is built includes the generated file with
//! `pub mod tables { rowmill_ingest::include_tables!(); }`.
//!
//! The stages of a schema, in order:
//!
//! ```text
//! read     source      the files, in the order in which they override one another
//! parse    yaml        one tree with the place of each piece
//! declare  declare     tables, columns, options and destinations, with a parser of types
//! inherit  inherit     tables with all that they extend
//! check    check       every rule, every problem in one run → model
//! emit     emit        Rust
//! ```
//!
//! No stage needs the network, a server or another program, and the same files produce the same
//! output.

mod check;
mod collector_value;
mod declare;
mod diagnostic;
mod doc_comment;
mod emit;
mod import;
mod inherit;
mod json_schema;
mod model;
mod names;
mod paths;
mod read;
mod source;
mod sql;
mod standard;
mod syntax;
mod table_engine;
mod table_engine_list;
mod types;
mod yaml;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use diagnostic::Report;
pub use diagnostic::{Place, Problem, Problems};
pub use import::{ImportedTable, import_table};
pub use json_schema::json_schema;
use source::Sources;

/// The name of the generated file in `OUT_DIR`.
pub const FILE_NAME: &str = "rowmill_tables.rs";

/// The result of reading a schema.
#[derive(Debug)]
pub struct Generated {
    /// The Rust file; a stub if there are errors.
    pub code: String,
    /// The errors and warnings of the schema.
    pub problems: Problems,
    /// The files that were read, in their order.
    pub files: Vec<PathBuf>,
    /// The statement that creates each table, in the order of the schema; none if there are errors.
    pub statements: Vec<String>,
}

/// Generates the tables of the folder `schemas` into `OUT_DIR`, for a build script.
///
/// The function prints every problem of the schema with its place and help. Errors fail the build.
pub fn build(schemas: impl AsRef<Path>) {
    let schemas = schemas.as_ref();
    let generated = generate(schemas);

    // A path that does not exist makes cargo run the script at every build. A missing folder is an
    // error in any case.
    if schemas.exists() {
        println!("cargo::rerun-if-changed={}", schemas.display());
    }
    for file in &generated.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let shown = |kind: &str, problems: &[Problem]| {
        for line in problems.iter().flat_map(|problem| problem.text.lines()) {
            println!("cargo::{kind}={line}");
        }
    };
    shown("warning", &generated.problems.warnings);
    shown("error", &generated.problems.errors);

    let Some(out) = env::var_os("OUT_DIR") else {
        println!("cargo::error=OUT_DIR is not set: call this from a build script");
        return;
    };
    let path = Path::new(&out).join(FILE_NAME);
    if let Err(error) = write_if_changed(&path, &generated.code) {
        println!("cargo::error=cannot write {}: {error}", path.display());
    }
}

/// Generates the tables of the folder `schemas` and writes nothing.
pub fn generate(schemas: impl AsRef<Path>) -> Generated {
    let mut report = Report::default();
    let sources = Sources::read(schemas.as_ref(), &mut report);
    generate_from(sources, report)
}

/// Generates tables from texts, in their order. Problems name the files by these paths.
pub fn generate_texts<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Generated {
    generate_from(Sources::from_texts(files), Report::default())
}

fn generate_from(mut sources: Sources, mut report: Report) -> Generated {
    sources.add_standard();
    let sources = &sources;
    let root = yaml::parse(sources, &mut report);
    let declared = declare::declare(root, sources, &mut report);
    let tables = inherit::inherit(&declared, &mut report);
    let model = check::check(&declared, tables, &mut report);
    let (code, statements) = if report.has_errors() {
        (emit::stub(sources), Vec::new())
    } else {
        (emit::emit(&model, sources), emit::statements(&model))
    };
    let mut problems = report.render(sources);
    // The notes on the standard tables are not about the user's files, and their file is not one
    // that an editor could open.
    problems.notes.retain(|note| !standard::is_place(note.place.as_ref()));
    Generated {
        code,
        statements,
        problems,
        files: sources.paths(),
    }
}

/// Writes a file unless it has this text already: an unchanged file keeps its time, so cargo does
/// not rebuild its dependents.
fn write_if_changed(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(existing) if existing == text => Ok(()),
        _ => fs::write(path, text),
    }
}
