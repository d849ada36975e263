//! `rowmill rejected`: rows that ClickHouse has refused, and that a person brings into their tables once it takes them.

use std::{
    error::Error,
    io::{self, Write},
};

use rowmill::tables;
use rowmill_ingest::{RejectedReplay, RejectedTable, StoreUrl, replay_rejected};
use tokio::runtime::Runtime;

use crate::cli::{RejectedCommand, RejectedReplayOptions};

pub(crate) fn rejected(command: RejectedCommand) -> Result<(), Box<dyn Error>> {
    match command {
        RejectedCommand::Replay(options) => replay(options),
    }
}

fn replay(options: RejectedReplayOptions) -> Result<(), Box<dyn Error>> {
    let store: StoreUrl = options.database.clickhouse.parse()?;
    let replay = RejectedReplay {
        column_changes: options.columns.changes(),
        table: options.table,
        since: options.since,
        reason: options.reason,
        is_dry_run: options.dry_run,
        deletes_letters: options.delete,
        ..RejectedReplay::default()
    };
    let report = Runtime::new()?.block_on(replay_rejected(&store, &tables::SCHEMA, &replay))?;
    let mut out = io::stdout().lock();
    for table in &report.tables {
        print(table, options.dry_run, &mut out)?;
    }
    if report.tables.is_empty() {
        writeln!(out, "no row is among the dead letters")?;
    }
    if options.delete {
        writeln!(out, "{} dead letters are deleted", report.deleted)?;
    }
    let is_complete = report.is_complete();
    if let Some(error) = report.interrupted {
        return Err(format!("the replay has ended early, and can be repeated: {error}").into());
    }
    if !is_complete {
        return Err("rows are still dead letters".into());
    }
    Ok(())
}

fn print(table: &RejectedTable, is_dry_run: bool, out: &mut impl Write) -> io::Result<()> {
    let name = &table.table;
    if is_dry_run {
        let (ready, found) = (table.ready, table.found);
        writeln!(
            out,
            "{name}: {ready} rows would be sent, {found} are in the table already"
        )?;
    } else {
        let (stored, found) = (table.stored, table.found);
        writeln!(
            out,
            "{name}: {stored} rows are stored, {found} were in the table already"
        )?;
    }
    for (reason, rows) in &table.refused {
        writeln!(out, "{name}: {rows} rows are refused: {reason}")?;
    }
    if table.missing > 0 {
        let rows = table.missing;
        writeln!(
            out,
            "{name}: {rows} rows are confirmed by ClickHouse and not in the table"
        )?;
    }
    if table.cut > 0 {
        let letters = table.cut;
        writeln!(
            out,
            "{name}: {letters} dead letters have a part of their row only, and cannot be replayed"
        )?;
    }
    if table.undescribed > 0 {
        let letters = table.undescribed;
        writeln!(
            out,
            "{name}: {letters} dead letters are of a version that did not keep the columns of a row, and cannot be replayed"
        )?;
    }
    if table.is_known_by_token && !is_dry_run {
        writeln!(
            out,
            "{name}: its rows cannot be looked for by an id; another replay stores them again once ClickHouse has forgotten \
             their tokens, so delete their letters (`--delete`)"
        )?;
    }
    Ok(())
}
