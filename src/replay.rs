//! `rowmill replay`: inserts the rows of an archive into their tables.

use std::{
    collections::BTreeSet,
    error::Error,
    io::{self, Write},
    time::Duration,
};

use jiff::Timestamp;
use rowmill_ingest::{
    WriterOptions,
    archive::{ArchiveFormat, ArchivedObject, Selection},
    schema::missing_tables,
    store::Servers,
    table::Schema,
    writer::{ReplayReport, RowsWithoutIds, replay as replay_archive},
};
use tokio::{runtime::Runtime, time::sleep};

use crate::{cli::ArchiveReplayOptions, database::Database};

/// A duration of a replay that stands for no limit.
const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What a replay says of objects of Parquet.
const PARQUET: &str = "a replay does not read objects of Parquet; ClickHouse itself does, with INSERT INTO … SELECT … \
                       FROM s3(…, 'Parquet') (docs/archive.md)";

/// The table of rows that ClickHouse has refused.
const REJECTED: &str = "rejected";

pub(crate) fn replay(options: &ArchiveReplayOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let runtime = Runtime::new()?;
    let selection = options.selection();
    if let (Some(from), Some(to)) = (selection.from, selection.to)
        && from >= to
    {
        return Err("--from has to be before --to".into());
    }
    let nothing = || format!("{} has no {}", options.archive, description(&selection));
    let objects = runtime.block_on(options.archive.objects(&selection))?;
    if objects.is_empty() {
        return Err(nothing().into());
    }
    if options.dry_run {
        for object in &objects {
            writeln!(out, "{}  {} bytes", object.name, object.bytes)?;
        }
        let bytes: u64 = objects.iter().map(|object| object.bytes).sum();
        writeln!(out, "{} objects, {bytes} bytes", objects.len())?;
        return Ok(());
    }
    if objects.iter().all(|object| object.format == ArchiveFormat::Parquet) {
        let tables: BTreeSet<_> = objects.iter().map(|object| &*object.table).collect();
        for table in tables {
            writeln!(out, "{table}: {PARQUET}")?;
        }
        return Err(format!("{} has only objects of Parquet", options.archive).into());
    }
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let blocks = objects.iter().filter(|object| object.format == ArchiveFormat::Blocks);
    let tables = blocks.map(|object| &*object.table);
    // The rows that ClickHouse refuses go there.
    let tables: BTreeSet<_> = tables.chain([REJECTED]).collect();
    let missing = runtime.block_on(missing_tables(database.url(), tables))?;
    if !missing.is_empty() {
        return Err(format!(
            "{} lacks tables of archived rows, or of rows that ClickHouse refuses: {}; create them with `rowmill apply`, or \
             name another table with --table",
            database.url(),
            missing.join(", ")
        )
        .into());
    }
    let writer_options = WriterOptions {
        column_changes: options.columns.changes(),
        ..WriterOptions::default()
    };
    let without_ids = match options.without_ids {
        true => RowsWithoutIds::SendByToken,
        false => RowsWithoutIds::LeaveOut,
    };
    let mut printed = Ok(());
    let on_done = |object: &ArchivedObject, rows: u64| {
        if printed.is_ok() {
            printed = writeln!(out, "{}  {rows} rows", object.name);
        }
    };
    let report = runtime.block_on(async {
        let deadline = sleep(options.within.unwrap_or(NO_LIMIT).min(NO_LIMIT));
        let servers = Servers::without_sync(database.url().clone());
        let archive = &options.archive;
        replay_archive(
            schema,
            servers,
            &writer_options,
            archive,
            &selection,
            without_ids,
            on_done,
            deadline,
        )
        .await
    })?;
    printed?;
    print(&report, &mut out)?;
    let left_out = [&report.unknown_tables, &report.without_ids];
    if let Some(object) = &report.stopped_at {
        let reason = match report.is_store_away {
            true => "the archive cannot be read",
            false => "the time is over",
        };
        return Err(format!("{reason}; repeat the command to continue with {}", object.name).into());
    }
    if !report.unreadable.is_empty() {
        return Err("some objects cannot be read".into());
    }
    if left_out.iter().any(|tables| !tables.is_empty()) || !report.parquet.is_empty() {
        return Err("some rows were left out".into());
    }
    if report.rows == 0 {
        return Err(nothing().into());
    }
    Ok(())
}

/// Describes the rows of a selection.
fn description(selection: &Selection) -> String {
    let mut text = "rows".to_owned();
    if let Some(table) = &selection.table {
        text.push_str(&format!(" of the table `{table}`"));
    }
    for (word, time) in [("from", selection.from), ("before", selection.to)] {
        if let Some(time) = time.and_then(|time| Timestamp::try_from(time).ok()) {
            text.push_str(&format!(" {word} {time:.0}"));
        }
    }
    text
}

fn print(report: &ReplayReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} rows in {} objects are done: searches found {} of them in their tables, and ClickHouse refused {}",
        report.rows, report.objects, report.rows_found, report.rows_refused
    )?;
    for (name, reason) in &report.unreadable {
        writeln!(out, "{name}: its rows are left out: {reason}")?;
    }
    for (table, objects) in &report.parquet {
        writeln!(out, "{table}: {objects} objects are left out: {PARQUET}")?;
    }
    for (table, rows) in &report.unknown_tables {
        writeln!(
            out,
            "{table}: {rows} rows are left out, since the schema has no such table"
        )?;
    }
    for (table, rows) in &report.without_ids {
        writeln!(
            out,
            "{table}: {rows} rows are left out, since they have no ids by which their table could be searched for them \
             (--without-ids)"
        )?;
    }
    Ok(())
}
