//! `rowmill check`: reports the problems that the build would report, without a build.

use std::{
    error::Error,
    io::{self, Write},
};

use rowmill_codegen::{Place, Problem, Problems, generate, json_schema};
use serde_json::json;

use crate::{
    check_engine::generate_with_engine,
    cli::{CheckOptions, Format},
};

/// Prints the files and the tables of a schema folder, its problems, and notes on it. Only errors make
/// the command fail.
pub(crate) fn check(options: &CheckOptions) -> Result<(), Box<dyn Error>> {
    let generated = match options.engine {
        true => generate_with_engine(options)?,
        false => generate(&options.schemas),
    };
    let Problems {
        errors,
        warnings,
        notes,
    } = &generated.problems;
    let all = errors
        .iter()
        .map(|error| ("error", error))
        .chain(warnings.iter().map(|warning| ("warning", warning)))
        .chain(notes.iter().map(|note| ("note", note)));
    let mut out = io::stdout().lock();
    if options.format == Format::Text {
        writeln!(out, "{}", generated.summary())?;
    }
    for (severity, problem) in all {
        match options.format {
            Format::Text => writeln!(out, "{}\n", problem.text)?,
            Format::Json => writeln!(out, "{}", as_json(severity, problem))?,
        }
    }
    match errors.len() {
        0 => {
            if options.format == Format::Text {
                writeln!(
                    out,
                    "{}: {} tables, no errors",
                    options.schemas.display(),
                    generated.statements.len()
                )?;
            }
            Ok(())
        }
        1 => Err("the schema has an error".into()),
        errors => Err(format!("the schema has {errors} errors").into()),
    }
}

/// Prints the JSON Schema of schema files.
pub(crate) fn schema() -> Result<(), Box<dyn Error>> {
    write!(io::stdout(), "{}", json_schema())?;
    Ok(())
}

/// Returns a problem as JSON. Lines and columns count from 1, and columns count characters;
/// `endColumn` is the column after the last character.
fn as_json(severity: &str, problem: &Problem) -> serde_json::Value {
    let Problem {
        code,
        message,
        place,
        help,
        ..
    } = problem;
    let mut value = json!({ "severity": severity, "code": code, "message": message, "help": help });
    if let Some(Place { file, start, end }) = place {
        value["file"] = json!(file);
        value["line"] = json!(start.0);
        value["column"] = json!(start.1);
        value["endLine"] = json!(end.0);
        value["endColumn"] = json!(end.1);
    }
    value
}
