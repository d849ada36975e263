//! `rowmill forget`: deletes the rows of a person from all tables, and the dead letters.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{self, Read, Write},
    path::Path,
};

use rowmill_ingest::{
    forget::{self, CountedOn, ForgetPlan, Person, Unreached},
    spool::inspect,
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::{
    cli::{ForgetOptions, uploads_folder},
    database::Database,
    serve::spool_folder,
};

/// The table of dead letters.
const REJECTED: &str = "rejected";

pub(crate) fn forget(options: &ForgetOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let person = Person {
        column: options.column.clone(),
        table: options.table.clone(),
        ..Person::of_value(&value(options)?)
    };
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let runtime = Runtime::new()?;
    let plan = runtime.block_on(forget::plan(database.url(), schema, &person))?;
    print(&plan, &mut io::stdout().lock())?;
    // Rows that are still to be sent would be in their tables after the deletion.
    let waiting = waiting(options);
    if !options.apply {
        if let Err(reason) = waiting {
            writeln!(io::stderr(), "note: {reason}")?;
        }
        writeln!(io::stderr(), "note: nothing is deleted without --apply")?;
        return Ok(());
    }
    waiting?;
    runtime.block_on(forget::apply(database.url(), &plan, &person))?;
    let rows: u64 = plan.tables.iter().map(|table| table.rows).sum();
    let dead_letters = plan.dead_letters.count();
    writeln!(
        io::stdout(),
        "-- deleted: {rows} rows, {dead_letters} dead letters; no such row is left in these tables"
    )?;
    is_complete(&plan)
}

/// Checks that the statements have reached all rows.
///
/// # Errors
///
/// The tables that may still have rows of the person.
fn is_complete(plan: &ForgetPlan) -> Result<(), Box<dyn Error>> {
    let unreached = plan.unreached.iter().filter(|unreached| unreached.may_have_rows);
    let tables: BTreeSet<_> = unreached.map(|unreached| format!("`{}`", unreached.table)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let tables = Vec::from_iter(tables).join(", ");
    Err(format!("{tables} may still have rows of the person: see `not reached`").into())
}

/// Returns the value, from the option, the file or standard input.
fn value(options: &ForgetOptions) -> Result<String, Box<dyn Error>> {
    if let Some(value) = &options.value {
        return Ok(value.clone());
    }
    let mut text = String::new();
    match options.value_file.as_deref() {
        Some(file) if file != Path::new("-") => {
            text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        _ => drop(io::stdin().read_to_string(&mut text)?),
    }
    // The end of the line belongs to the file.
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Checks that nothing waits on disk: rows for any table, since a Distributed table or a view passes them on,
/// and uploads, whose events may be of the person.
///
/// # Errors
///
/// The reason why nothing may be deleted.
fn waiting(options: &ForgetOptions) -> Result<(), String> {
    if options.no_spool {
        return Ok(());
    }
    let data = options.engine.data.display();
    let folder = spool_folder(&options.engine.data);
    if !folder.is_dir() {
        return Err(format!(
            "{data} has no spool, whose rows may be of the person: set --data to the data directory of `rowmill serve`, or \
             --no-spool if there is none"
        ));
    }
    let report = inspect(&folder).map_err(|error| error.to_string())?;
    if report.damaged_bytes > 0 || !report.quarantined.is_empty() {
        return Err(format!(
            "the spool of {data} is damaged, and what cannot be read may be of the person: see `rowmill spool verify`"
        ));
    }
    let rows: u64 = report.blocks.iter().map(|block| block.rows).sum();
    if rows > 0 {
        return Err(format!(
            "{rows} rows wait in the spool of {data}, and would be stored after the deletion: wait until the collector has sent \
             them (`rowmill spool list`), and repeat the command"
        ));
    }
    match uploads(&uploads_folder(&options.engine.data))? {
        0 => Ok(()),
        uploads => Err(format!(
            "{uploads} uploads are not complete in {data}, and their events would be stored after the deletion: wait until they \
             are complete or expire, or remove the folder of a stopped collector, and repeat the command"
        )),
    }
}

/// Returns the number of resumable uploads in a folder.
fn uploads(folder: &Path) -> Result<usize, String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(failed)?,
    };
    let mut uploads = 0;
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        uploads += usize::from(path.extension().is_some_and(|extension| extension == "data"));
    }
    Ok(uploads)
}

fn print(plan: &ForgetPlan, out: &mut impl Write) -> io::Result<()> {
    for table in &plan.tables {
        let counted_on = match table.counted_on {
            CountedOn::This => "",
            CountedOn::Shards => " on all shards",
            CountedOn::OneOfCluster => " on this server; those of the others are not counted",
        };
        writeln!(out, "-- {}: {} rows{counted_on}", table.table, table.rows)?;
        if table.is_due() {
            writeln!(out, "{};", table.statement)?;
        }
    }
    writeln!(out, "-- {REJECTED}: {} dead letters", plan.dead_letters.count())?;
    for statement in plan.dead_letters.statements() {
        writeln!(out, "{statement};")?;
    }
    for Unreached { table, reason, .. } in &plan.unreached {
        writeln!(out, "-- not reached: {table}: {reason}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rowmill_ingest::forget::ForgottenDeadLetters;

    use super::*;

    fn plan(may_have_rows: bool) -> ForgetPlan {
        let unreached = Unreached {
            table: "notes".to_owned(),
            reason: "…".to_owned(),
            may_have_rows,
        };
        ForgetPlan {
            tables: Vec::new(),
            dead_letters: ForgottenDeadLetters::default(),
            unreached: vec![unreached.clone(), unreached],
        }
    }

    #[test]
    fn an_upload_on_disk_counts() {
        let folder = tempfile::tempdir().unwrap();
        let count = |name: &str| {
            fs::write(folder.path().join(name), "").unwrap();
            uploads(folder.path()).unwrap()
        };
        assert_eq!(uploads(&folder.path().join("none")), Ok(0));
        assert_eq!((count("a.json"), count("a.data"), count("b.data")), (0, 1, 2));
    }

    #[test]
    fn rows_out_of_reach_are_an_error() {
        is_complete(&plan(false)).unwrap();
        assert_eq!(
            is_complete(&plan(true)).unwrap_err().to_string(),
            "`notes` may still have rows of the person: see `not reached`"
        );
    }
}
