//! The changes of a later schema that the sync leaves as they are, and the record of renames.
//!
//! A start of an earlier build finds a renamed, dropped or narrowed column in the history, and
//! neither reverses the change nor advises to. `rowmill apply` records what it drops, renames and
//! narrows. A start with a `was:` records a rename that the operator has made.

use super::{
    Kind, STATEMENT_TIMEOUT,
    columns::{Accepted, Existing, accepted},
    run,
};
use crate::{
    store::{ClickHouseUrl, quoted},
    table::{
        Table,
        column_history::{CREATE, ColumnChange, ColumnHistory},
    },
};

/// Reads the history of all tables.
pub(super) async fn history(url: &ClickHouseUrl) -> Result<ColumnHistory, Kind> {
    ColumnHistory::read(&url.client(), STATEMENT_TIMEOUT)
        .await
        .map_err(|error| Kind::of("reading the changes of columns", error))
}

/// Returns a sentence for each column that is not as in the schema and stays as it is.
pub(super) fn notes(tables: &[&'static Table], existing: &[Existing], history: &ColumnHistory) -> Vec<String> {
    let of_table = |table: &&'static Table| -> Vec<String> {
        let accepted = accepted(table, existing, history);
        accepted.iter().map(|accepted| note(table, accepted)).collect()
    };
    tables.iter().flat_map(of_table).collect()
}

/// Returns the sentence for one column.
pub(super) fn note(table: &Table, accepted: &Accepted) -> String {
    let place = |column: &str| format!("{}.{}", quoted(table.name), quoted(column));
    match accepted {
        Accepted::Wider(difference) => format!(
            "{} is {} in the database and {} in the schema: the collector's rows are converted",
            place(difference.column),
            difference.found,
            difference.wanted
        ),
        Accepted::Narrowed(difference) => format!(
            "{} is {} in the database and {} in the schema, since a later schema has narrowed it: a row with a value that \
             would change becomes a dead letter",
            place(difference.column),
            difference.found,
            difference.wanted
        ),
        Accepted::Renamed { column, new_name } => format!(
            "{} is {} in the database, since a later schema has renamed it: its values go there",
            place(column),
            quoted(new_name)
        ),
        Accepted::Dropped { column } => format!(
            "{} was dropped from the database: its values are not stored; `rowmill apply` adds the column again",
            place(column.name)
        ),
    }
}

/// Returns the renames that existing tables show and the history lacks.
pub(super) fn unrecorded_renames(
    tables: &[&'static Table],
    existing: &[Existing],
    history: &ColumnHistory,
) -> Vec<ColumnChange> {
    let mut renames = Vec::new();
    for table in tables {
        let exists = |name: &str| existing.iter().any(|found| found.is(table.name, name));
        for column in table.columns.iter().filter(|column| exists(column.name)) {
            let earlier = column.was.iter().filter(|old| !exists(old));
            let renamed = earlier.map(|old| ColumnChange::renamed(table.name, old, column.name));
            renames.extend(renamed.filter(|rename| !history.has(rename)));
        }
    }
    renames
}

/// Records changes. Returns a warning if the user may not.
pub(super) async fn record(url: &ClickHouseUrl, changes: &[ColumnChange]) -> Result<Option<String>, Kind> {
    if changes.is_empty() {
        return Ok(None);
    }
    let client = url.client();
    let statements = [CREATE.to_owned()]
        .into_iter()
        .chain(changes.iter().map(ColumnChange::statement));
    for statement in statements {
        match run(&client, &statement).await {
            Ok(()) => {}
            Err(Kind::Server { error, .. }) if !error.is_transient() => {
                return Ok(Some(format!(
                    "a change of a column cannot be recorded, so a collector of an earlier build may reverse it: {error}"
                )));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
