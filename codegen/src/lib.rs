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
//!          server_check  with a server: its tables and views
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
mod left_out;
mod model;
mod names;
mod paths;
mod presets;
mod read;
mod server_check;
mod server_names;
mod shards;
mod source;
mod sql;
mod standard;
mod summary;
mod syntax;
mod table_engine;
mod table_engine_list;
mod types;
mod yaml;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use declare::Declared;
use diagnostic::Report;
pub use diagnostic::{Place, Problem, Problems};
pub use import::{ImportedTable, import_table};
pub use json_schema::json_schema;
use model::Model;
pub use server_check::ServerAnswer;
pub use source::LeftOut;
use source::Sources;
pub use summary::TableSummary;

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
    /// The files and folders of the schema folder that were not read.
    pub left_out: Vec<LeftOut>,
    /// The tables, in the order of the schema; none if there are errors.
    pub tables: Vec<TableSummary>,
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
    // Cargo shows these lines with `-vv`.
    for line in generated.summary().lines() {
        println!("{line}");
    }
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

/// Generates the tables of the folder `schemas`, and lets a ClickHouse server check them as well:
/// `send` runs a statement in an empty database of the server and returns the output, or the
/// server's error message. A schema that has errors already is not sent.
///
/// # Errors
/// The error of `send`, which ends the check.
pub fn generate_with_server<E>(
    schemas: impl AsRef<Path>,
    mut send: impl FnMut(&str) -> Result<ServerAnswer, E>,
) -> Result<Generated, E> {
    let mut report = Report::default();
    let mut sources = Sources::read(schemas.as_ref(), &mut report);
    sources.add_standard();
    sources.add_presets();
    let (declared, model) = checked(&sources, &mut report);
    if !report.has_errors() {
        let tables = inherit::inherit(&declared, &mut Report::default());
        server_check::check(&declared, &tables, &model, &mut report, &mut send)?;
    }
    Ok(emitted(&model, &sources, report))
}

fn generate_from(mut sources: Sources, mut report: Report) -> Generated {
    sources.add_standard();
    sources.add_presets();
    let (_, model) = checked(&sources, &mut report);
    emitted(&model, &sources, report)
}

fn checked(sources: &Sources, report: &mut Report) -> (Declared, Model) {
    let (root, removals) = yaml::parse(sources, report);
    let declared = declare::declare(root, removals, sources, report);
    let tables = inherit::inherit(&declared, report);
    let model = check::check(&declared, tables, report);
    (declared, model)
}

fn emitted(model: &Model, sources: &Sources, report: Report) -> Generated {
    let (code, statements, tables) = if report.has_errors() {
        (emit::stub(sources), Vec::new(), Vec::new())
    } else {
        (
            emit::emit(model, sources),
            emit::statements(model),
            summary::tables(model),
        )
    };
    let mut problems = report.render(sources);
    // The notes on the standard tables and on presets are not about the user's files, and their
    // files are not ones that an editor could open.
    let is_included = |place: Option<&Place>| standard::is_place(place) || presets::is_place(place);
    problems.notes.retain(|note| !is_included(note.place.as_ref()));
    Generated {
        code,
        statements,
        tables,
        left_out: sources.left_out.clone(),
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
