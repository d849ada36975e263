//! `rowmill rejected`: replays rows that ClickHouse has refused into their tables, once the tables
//! accept them.

use std::{
    error::Error,
    io::{self, Write},
};

use rowmill_ingest::{
    rejected::{RejectedReplay, RejectedTable, replay as replay_rejected},
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::{
    cli::{RejectedCommand, RejectedReplayOptions},
    database::Database,
};

pub(crate) fn rejected(command: RejectedCommand, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    match command {
        RejectedCommand::Replay(options) => replay(options, schema),
    }
}

fn replay(options: RejectedReplayOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let replay = RejectedReplay {
        column_changes: options.columns.changes(),
        table: options.table,
        since: options.since,
        reason: options.reason,
        is_dry_run: options.dry_run,
        deletes_dead_letters: options.delete,
        ..RejectedReplay::default()
    };
    let report = Runtime::new()?.block_on(replay_rejected(database.url(), schema, &replay))?;
    let mut out = io::stdout().lock();
    for table in &report.tables {
        print(table, options.dry_run, &mut out)?;
    }
    if report.tables.is_empty() {
        writeln!(out, "found no dead letters of rows")?;
    }
    if options.delete {
        writeln!(out, "dead letters deleted: {}", report.deleted)?;
    }
    let is_complete = report.is_complete();
    if let Some(error) = report.interrupted {
        return Err(format!("the replay has ended early, and can be repeated: {error}").into());
    }
    if !is_complete {
        return Err("some rows are still dead letters".into());
    }
    Ok(())
}

fn print(table: &RejectedTable, is_dry_run: bool, out: &mut impl Write) -> io::Result<()> {
    let name = &table.table;
    let (what, rows) = if is_dry_run {
        ("rows to send", table.ready)
    } else {
        ("rows stored", table.stored)
    };
    writeln!(
        out,
        "{name}: {what}: {rows}, rows already in the table: {}",
        table.found
    )?;
    for (reason, rows) in &table.refused {
        writeln!(out, "{name}: rows refused: {rows}: {reason}")?;
    }
    for (what, count) in [
        ("rows that ClickHouse confirms and does not show", table.missing),
        ("dead letters with a cut payload, which cannot be replayed", table.cut),
        (
            "dead letters of a version that did not keep the columns, which cannot be replayed",
            table.undescribed,
        ),
    ] {
        if count > 0 {
            writeln!(out, "{name}: {what}: {count}")?;
        }
    }
    if table.is_known_by_token && !is_dry_run {
        writeln!(
            out,
            "{name}: rows cannot be looked up by id, so another replay stores them again once ClickHouse has dropped \
             their tokens: delete their dead letters (--delete)"
        )?;
    }
    Ok(())
}
