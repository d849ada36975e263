//! `rowmill backfill`: fills the table of a view from rows that are older than the view.

use std::{
    error::Error,
    io::{self, Write},
};

use jiff::Timestamp;
use rowmill_ingest::{
    backfill::{Backfill, InDoubt, backfill as run_backfill},
    table::Schema,
};
use tokio::runtime::Runtime;

use crate::{
    cli::{BackfillOptions, PieceInDoubt},
    database::Database,
};

/// Runs the backfill, and prints each piece.
pub(crate) fn backfill(options: BackfillOptions, schema: &'static Schema) -> Result<(), Box<dyn Error>> {
    let database = Database::open(&options.database, &options.engine.data, schema)?;
    let view = options.view.clone();
    let backfill = Backfill {
        from: options.from,
        to: options.to,
        piece_rows: options.piece_rows,
        in_doubt: match options.in_doubt {
            None => InDoubt::Refuse,
            Some(PieceInDoubt::Stored) => InDoubt::Stored,
            Some(PieceInDoubt::Missing) => InDoubt::Missing,
        },
        ..Backfill::new(options.view)
    };
    let mut failed = Ok(());
    let report = Runtime::new()?.block_on(run_backfill(database.url(), schema, &backfill, |piece| {
        let until = Timestamp::try_from(piece.until).map_or_else(|_| String::new(), |time| format!(" until {time}"));
        let written = writeln!(
            io::stdout(),
            "{view}: piece {}: {} rows{until}",
            piece.number,
            piece.rows
        );
        if failed.is_ok() {
            failed = written;
        }
    }))?;
    failed?;
    writeln!(
        io::stdout(),
        "{view}: {} rows added in {} pieces, {} rows in all backfills",
        report.rows,
        report.pieces,
        report.total_rows
    )?;
    Ok(())
}
