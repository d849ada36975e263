//! Types with fewer values: whether the change of a column changes data, and the change itself.
//!
//! A running collector compares a table's columns once a second. So the table is closed to inserts
//! for longer than that, until no insert runs, before its column gets the new type. Collectors keep
//! their rows and send them again.

use std::time::{Duration, Instant};

use clickhouse::Client;
use tokio::time::sleep;

use super::{
    Kind, STATEMENT_TIMEOUT,
    copy_table::{CLOSED, LIMIT, limit_of},
    run,
};
use crate::{
    store::{quoted, within},
    table::{
        Table,
        column_history::FORM_LIFETIME,
        conversion::{fits, keeps_values},
    },
};

/// The longest wait for inserts that have begun before the table was closed.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The effect of another type on a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// The type has every value of the present one.
    None,
    /// No value would change.
    Unchanged,
    /// This number of values would change.
    Changed(u64),
    /// ClickHouse cannot convert a value, or cannot compare all of them; the reason.
    Unknown(String),
}

/// Returns the effect of the type `to` on the values of a column of the type `from`. Reads the whole
/// column unless the types suffice.
pub(super) async fn effect(client: &Client, table: &str, column: &str, from: &str, to: &str) -> Result<Effect, Kind> {
    if keeps_values(from, to) {
        return Ok(Effect::None);
    }
    let count = format!("SELECT countIf(NOT {}) FROM {}", fits(column, from, to), quoted(table));
    match within(STATEMENT_TIMEOUT, client.query_raw(&count).fetch_one::<u64>()).await {
        Ok(0) => Ok(Effect::Unchanged),
        Ok(changed) => Ok(Effect::Changed(changed)),
        Err(error) if error.is_unreachable() && !error.is_timeout() => {
            Err(Kind::of("counting the values that would change", error))
        }
        // The error may contain a value.
        Err(error) => Ok(Effect::Unknown(error.without_values())),
    }
}

/// Returns whether a running collector could send rows in a form that does not fit the new type.
pub(super) fn needs_closing(table: &Table, effect: &Effect) -> bool {
    let mut inserted = table.columns.iter().filter(|column| column.kind.is_inserted());
    *effect != Effect::None || inserted.any(|column| column.shape.is_none())
}

/// Runs `statements` while the table accepts no inserts. Does so at once if its engine cannot be
/// closed.
pub(super) async fn run_closed<R>(
    client: &Client,
    table: &str,
    statements: impl AsyncFnOnce() -> Result<R, Kind>,
) -> Result<R, Kind> {
    let query = client
        .query("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?")
        .bind(table);
    let engine: String = within(STATEMENT_TIMEOUT, query.fetch_one())
        .await
        .map_err(|error| Kind::of("reading the engine of a table", error))?;
    let family = engine.split([' ', '(']).next().unwrap_or_default();
    if !family.ends_with("MergeTree") {
        return statements().await;
    }
    let alter = format!("ALTER TABLE {}", quoted(table));
    run(client, &format!("{alter} MODIFY SETTING {CLOSED}")).await?;
    let closed = Instant::now();
    let result = async {
        wait_for_inserts(client, closed).await?;
        // A collector that has compared the columns just before does so again.
        sleep((FORM_LIFETIME * 3 / 2).saturating_sub(closed.elapsed())).await;
        statements().await
    };
    let result = result.await;
    let reopen = match limit_of(&engine) {
        // A table that was closed before is open afterwards.
        Some(limit) if limit != "0" => format!("{alter} MODIFY SETTING {LIMIT} = {limit}"),
        _ => format!("{alter} RESET SETTING {LIMIT}"),
    };
    let reopened = run(client, &reopen).await;
    let result = result?;
    reopened?;
    Ok(result)
}

/// Waits until no statement runs that may have begun to write before the table was closed.
async fn wait_for_inserts(client: &Client, closed: Instant) -> Result<(), Kind> {
    let running = "SELECT query_id FROM system.processes \
                   WHERE query_kind NOT IN ('Select', 'Show', 'Describe', 'Explain', 'System', 'Set', 'Use')";
    let mut begun: Option<Vec<String>> = None;
    loop {
        let now: Vec<String> = within(STATEMENT_TIMEOUT, client.query_raw(running).fetch_all())
            .await
            .map_err(|error| Kind::of("reading the inserts that run", error))?;
        let begun = begun.get_or_insert_with(|| now.clone());
        begun.retain(|id| now.contains(id));
        // The operator has allowed the change, and the collectors keep their rows meanwhile.
        if begun.is_empty() || closed.elapsed() > MAX_WAIT {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
