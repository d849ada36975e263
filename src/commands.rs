//! The smaller commands: `engine`, `plan`, `apply` and `routes`.

use std::{
    error::Error,
    io::{self, Write},
};

use rowmill_engine::{RunOptions, Tie};
use rowmill_ingest::{
    ClickHouseUrl,
    route::Destination,
    schema::{
        CopyPlan, Drift, DriftReport, Impact, Refused, SyncError, SyncReport, apply_drift, compare, copy,
        dictionary_drift, drift, plan_copies, sync, view_drift, without_passwords,
    },
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::{
    cli::{Allowed, ApplyCommand, ApplyOptions, EngineOptions, PlanOptions},
    data_folder,
    database::Database,
    plan_file::PlanFile,
};

/// Runs the embedded ClickHouse in this process.
pub(crate) fn engine(options: &EngineOptions) -> Result<(), Box<dyn Error>> {
    data_folder::create(&options.data)?;
    rowmill_engine::run(RunOptions {
        listen: options.listen,
        data: options.data.clone(),
        tie: if options.tied { Tie::Stdin } else { Tie::Free },
        grants: Vec::new(),
    })?;
    Ok(())
}

/// The exit status of `plan --exit-code` if the database differs from the schema.
pub(crate) const DIFFERS: u8 = 2;

/// Prints the statements that the database lacks, and the differences from the schema. Returns
/// whether there are any.
pub(crate) fn plan(options: &PlanOptions, schema: &'static Schema) -> Result<bool, Box<dyn Error>> {
    let PlanOptions {
        apply: options,
        exit_code,
        out,
    } = options;
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let store = database.url();
    let needed = Needed::find(&Runtime::new()?, store, schema)?;
    if let Some(file) = out {
        needed.as_file(store, &options.allow)?.write(file)?;
    }
    let Needed { planned, found, copies } = needed;
    match planned {
        Ok(report) => {
            print(&report, &found, &copies, options)?;
            Ok(!report.statements.is_empty() || !found.drifts.is_empty())
        }
        // `serve` would fail; the differences contain the statements that fix the tables.
        Err(error) => {
            print_drifts(&found.drifts, &copies, options)?;
            if *exit_code && !error.differences().is_empty() {
                writeln!(io::stderr(), "{error}")?;
                return Ok(true);
            }
            Err(error.into())
        }
    }
}

/// The changes that a database needs.
struct Needed {
    /// The statements that create what is missing.
    planned: Result<SyncReport, SyncError>,
    found: DriftReport,
    copies: Vec<CopyPlan>,
}

impl Needed {
    fn find(runtime: &Runtime, store: &ClickHouseUrl, schema: &'static Schema) -> Result<Self, Box<dyn Error>> {
        let (planned, mut found) = runtime.block_on(compare(store, schema))?;
        let copies = runtime.block_on(plan_copies(store, schema, &found))?;
        append(&mut found, runtime.block_on(dictionary_drift(store, schema))?);
        append(&mut found, runtime.block_on(view_drift(store, schema))?);
        Ok(Self { planned, found, copies })
    }

    /// Returns the changes as a file of `plan --out`.
    ///
    /// # Errors
    /// ClickHouse is unreachable, or refuses a statement.
    fn as_file(&self, store: &ClickHouseUrl, allow: &[Allowed]) -> Result<PlanFile, Box<dyn Error>> {
        let statements = match &self.planned {
            Ok(report) => Some(report.statements.as_slice()),
            Err(error) if !error.differences().is_empty() => None,
            Err(error) => return Err(error.to_string().into()),
        };
        Ok(PlanFile::new(
            store,
            allow,
            statements,
            &self.found.drifts,
            &self.copies,
        ))
    }
}

/// Changes the database to match the schema as far as the options allow, or as the plan in a file
/// states, and prints the statements. A statement that ClickHouse refuses does not stop the others.
pub(crate) fn apply(command: &ApplyCommand, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let mut options = command.options.clone();
    let plan = command.plan.as_deref().map(PlanFile::read).transpose()?;
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let store = database.url();
    let runtime = Runtime::new()?;
    let mut lists_missing = true;
    if let Some(plan) = plan {
        let needed = Needed::find(&runtime, store, schema)?;
        plan.check(&needed.as_file(store, &plan.allow)?)?;
        lists_missing = plan.lists_missing();
        options.allow = plan.allow;
    }
    let options = &options;
    let mut found = runtime.block_on(drift(store, schema))?;
    let run = |found: &DriftReport, stops_start: bool| {
        let is_due = |drift: &Drift| drift.stops_start == stops_start && is_allowed(drift.impact, options);
        runtime.block_on(apply_drift(store, found, is_due))
    };
    // New columns and queries may use new attributes of dictionaries.
    let dictionaries = runtime.block_on(dictionary_drift(store, schema))?;
    let mut refused = run(&dictionaries, false)?;
    // Columns of another type must change before the sync adds others, and a projection, an index
    // or a TTL may need a column that the sync adds.
    refused.extend(run(&found, true)?);
    if !lists_missing && let Err(error) = nothing_is_missing(&runtime, store, schema) {
        append(&mut found, dictionaries);
        print_drifts(&found.drifts, &[], options)?;
        print_refused(&refused)?;
        return Err(error);
    }
    let mut report = runtime.block_on(sync(store, schema));
    refused.extend(run(&found, false)?);
    append(&mut found, dictionaries);
    let copies = runtime.block_on(plan_copies(store, schema, &found))?;
    if let Ok(done) = &mut report {
        // A query may use a column that the sync has added, and the sync creates a view again that
        // was dropped.
        let views = runtime.block_on(view_drift(store, schema))?;
        refused.extend(run(&views, false)?);
        let again = runtime.block_on(sync(store, schema))?;
        append(&mut found, views);
        done.statements.extend(again.statements);
        done.notes.extend(again.notes);
    }
    match &report {
        Ok(report) => print(report, &found, &copies, options)?,
        Err(_) => print_drifts(&found.drifts, &copies, options)?,
    }
    print_refused(&refused)?;
    report?;
    if !refused.is_empty() {
        return Err(format!("ClickHouse has refused {} of the statements", refused.len()).into());
    }
    if options.allow.contains(&Allowed::Copy) {
        for plan in copies {
            let progress = |step: &str| drop(writeln!(io::stderr(), "{}: {step}", plan.table));
            runtime.block_on(copy(store, schema, plan.table, progress))?;
        }
    }
    Ok(())
}

/// Checks that the database has all tables, columns and views, after the changes of a plan that could
/// not list them.
///
/// # Errors
/// Something is missing that nobody has approved, or a column still keeps the collector from a start.
fn nothing_is_missing(runtime: &Runtime, store: &ClickHouseUrl, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let (missing, _) = runtime.block_on(compare(store, schema))?;
    match missing?.statements.len() {
        0 => Ok(()),
        _ => Err("the columns are changed; make a new plan for what is missing".into()),
    }
}

fn print_refused(refused: &[Refused]) -> io::Result<()> {
    for refused in refused {
        writeln!(io::stderr(), "error: {refused}")?;
    }
    Ok(())
}

/// Adds the differences of the views to those of the tables.
fn append(tables: &mut DriftReport, views: DriftReport) {
    tables.drifts.extend(views.drifts);
    tables.warnings.extend(views.warnings);
    tables.notes.extend(views.notes);
}

/// Returns whether the operator allows changes with this impact.
fn is_allowed(impact: Impact, options: &ApplyOptions) -> bool {
    match impact {
        Impact::Safe => true,
        Impact::Rewrite => options.allow.contains(&Allowed::Rewrite),
        Impact::Lossy => options.allow.contains(&Allowed::Lossy),
        Impact::Drop => options.allow.contains(&Allowed::Drop),
        Impact::Impossible => false,
    }
}

/// Prints each destination with its table, and with the options that the schema sets.
pub(crate) fn routes(destinations: &[Destination]) -> Result<(), Box<dyn Error>> {
    let width = destinations
        .iter()
        .map(|destination| destination.path.len())
        .max()
        .unwrap_or_default();
    let mut out = io::stdout().lock();
    for Destination {
        path,
        table,
        acks,
        rate_limit,
        options,
    } in destinations
    {
        let ack = acks.ack.map_or("", |ack| ack.name());
        let by_header = if acks.by_header { " or by X-Rowmill-Ack" } else { "" };
        let at_most = rate_limit.map_or_else(String::new, |limit| format!("  at most {limit}"));
        let options = options.map_or_else(String::new, |options| format!("  {options}"));
        writeln!(
            out,
            "{}",
            format!("{path:width$}  {table:30}  {ack}{by_header}{at_most}{options}").trim_end()
        )?;
    }
    Ok(())
}

fn print(
    report: &SyncReport,
    found: &DriftReport,
    copies: &[CopyPlan],
    options: &ApplyOptions,
) -> Result<(), Box<dyn Error>> {
    for statement in &report.statements {
        writeln!(io::stdout(), "{statement};")?;
    }
    print_drifts(&found.drifts, copies, options)?;
    for note in &found.notes {
        writeln!(io::stdout(), "-- note: {note}")?;
    }
    let mut stderr = io::stderr().lock();
    for warning in report.warnings.iter().chain(&found.warnings) {
        writeln!(stderr, "warning: {warning}")?;
    }
    for note in &report.notes {
        writeln!(stderr, "note: {note}")?;
    }
    if report.statements.is_empty() && found.drifts.is_empty() {
        writeln!(stderr, "the database matches the schema")?;
    }
    Ok(())
}

/// Prints each difference as a comment with its statements, which are comments as well unless the
/// options allow them, and then the copy of each table that ClickHouse cannot change in place.
fn print_drifts(drifts: &[Drift], copies: &[CopyPlan], options: &ApplyOptions) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for drift in drifts {
        writeln!(out, "-- {drift}")?;
        let comment = if is_allowed(drift.impact, options) { "" } else { "-- " };
        for statement in &drift.statements {
            writeln!(out, "{comment}{};", without_passwords(statement))?;
        }
    }
    for plan in copies {
        match &plan.obstacle {
            Some(reason) => writeln!(out, "-- `{}` cannot be copied: {reason}", plan.table)?,
            None => writeln!(out, "-- `{}` can be copied (rowmill apply --allow copy):", plan.table)?,
        }
        for (number, step) in plan.steps.iter().enumerate() {
            let lines = step.replace('\n', "\n--    ");
            writeln!(out, "-- {}. {lines}", number + 1)?;
        }
    }
    Ok(())
}
