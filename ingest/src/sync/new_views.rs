//! Creates the materialized views that the database lacks.
//!
//! A view over a table that the same plan creates takes every row. A view over an older table takes
//! the rows from an id on, its cut, which is some seconds in the future: no insert that began before
//! the view can have such a row, so each row is on one side of the cut for certain, whenever it
//! arrives. `rowmill backfill` adds the rows before the cut.

use std::time::{Duration, Instant};

use clickhouse::Row;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Kind, STATEMENT_TIMEOUT, adapt_to_database,
    dictionary_names::qualify_dictionaries,
    of_database, run,
    view_query::{lost_columns, select_from},
};
use crate::{
    ids::{first_id_of, millisecond_of},
    store::{ClickHouseUrl, quoted, within},
    table::{Schema, Table, View},
};

/// The time from the creation of a view to its cut. The clocks of the collectors and of ClickHouse
/// differ by less.
const MARGIN: Duration = Duration::from_secs(10);

/// The part of the margin that a CREATE statement may take.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// An id later than this is not from a collector.
const MAX_AHEAD_MS: u64 = 24 * 60 * 60 * 1000;

/// A view that the database lacks.
#[derive(Debug)]
pub(super) struct MissingView {
    view: &'static View,
    /// The table that the view reads, if it existed before the view.
    older_source: Option<&'static Table>,
}

/// A view that was created.
#[derive(Debug)]
pub(super) struct CreatedView {
    pub(super) statement: String,
    pub(super) warning: Option<String>,
    pub(super) note: Option<String>,
}

/// Returns the views of the schema that the database lacks, in the schema's order.
pub(super) async fn missing_views(url: &ClickHouseUrl, schema: &Schema) -> Result<Vec<MissingView>, Kind> {
    if schema.views.is_empty() {
        return Ok(Vec::new());
    }
    let sources = schema.views.iter().filter_map(|view| Some(view.source.as_ref()?.table));
    let names: Vec<&str> = schema.views.iter().map(|view| view.name).chain(sources).collect();
    let client = url.server_client();
    let query = client
        .query("SELECT name FROM system.tables WHERE database = ? AND name IN ?")
        .bind(url.database())
        .bind(names);
    let existing: Vec<String> = within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the names of its views", error))?;
    let exists = |name: &str| existing.iter().any(|existing| existing == name);
    let missing = schema.views.iter().filter(|view| !exists(view.name));
    Ok(missing
        .map(|view| {
            let source = view.source.as_ref().filter(|source| exists(source.table));
            MissingView {
                view,
                older_source: source.and_then(|source| schema.table(source.table)),
            }
        })
        .collect())
}

/// Returns the statements that would create views, and checks their queries.
pub(super) async fn planned(
    url: &ClickHouseUrl,
    schema: &Schema,
    missing: &[MissingView],
) -> Result<Vec<String>, Kind> {
    let mut statements = Vec::new();
    for missing in missing {
        check_columns(url, schema, missing.view).await?;
        let cut = cut(url, missing).await?;
        statements.push(create_statement(url, schema, missing.view, cut).await?);
    }
    Ok(statements)
}

/// Creates a view, whose table and whose source exist.
pub(super) async fn create(url: &ClickHouseUrl, schema: &Schema, missing: &MissingView) -> Result<CreatedView, Kind> {
    let view = missing.view;
    let mut warning = check_columns(url, schema, view).await?;
    let started = Instant::now();
    let cut = cut(url, missing).await?;
    let statement = create_statement(url, schema, view, cut).await?;
    run(&url.client(), &statement).await?;
    let name = quoted(view.name);
    if cut.is_some() && started.elapsed() > MAX_DELAY {
        warning = Some(format!(
            "the creation of view {name} took {} s: rows of that time may be missing in it, also after a backfill; \
             compare the view with its source",
            started.elapsed().as_secs()
        ));
    }
    let note = missing.older_source.map(|source| match cut {
        Some(cut) => format!(
            "the new view {name} takes the events from {} on; `rowmill backfill {}` adds the earlier rows of {}",
            time_of(cut),
            view.name,
            quoted(source.name)
        ),
        None => format!(
            "the new view {name} takes the rows that are inserted from now on; no backfill can add the earlier rows of {}, \
             which have no id of the collector",
            quoted(source.name)
        ),
    });
    Ok(CreatedView {
        statement,
        warning,
        note,
    })
}

async fn create_statement(url: &ClickHouseUrl, schema: &Schema, view: &View, cut: Option<u64>) -> Result<String, Kind> {
    let database = url.database();
    let select = select_from(view, schema, database, cut);
    let mut statement = view.create(database, &qualify_dictionaries(&select, database));
    adapt_to_database(url, [&mut statement]).await.map_err(of_database)?;
    Ok(statement)
}

/// Checks that the table of a view has all columns of its query. Returns a warning if ClickHouse
/// cannot tell.
async fn check_columns(url: &ClickHouseUrl, schema: &Schema, view: &'static View) -> Result<Option<String>, Kind> {
    match lost_columns(url, schema, view).await {
        Ok(columns) if columns.is_empty() => Ok(None),
        Ok(columns) => Err(Kind::LostColumns {
            view: view.name,
            target: view.target,
            columns,
        }),
        Err(error) if error.is_transient() => Err(Kind::of("reading the columns of a view", error)),
        Err(error) => Ok(Some(format!(
            "the columns of view {} cannot be compared with those of its table: {error}",
            quoted(view.name)
        ))),
    }
}

/// The times from which the cut follows.
#[derive(Debug, Row, Deserialize)]
struct Latest {
    now_ms: u64,
    id: u64,
}

/// Returns the first id of the rows that a new view takes; `None` if it takes all rows.
async fn cut(url: &ClickHouseUrl, missing: &MissingView) -> Result<Option<u64>, Kind> {
    let Some((source, id)) = missing.older_source.and_then(|source| Some((source, source.row_id?))) else {
        return Ok(None);
    };
    let query = format!(
        "SELECT toUInt64(toUnixTimestamp64Milli(now64(3))) AS now_ms, \
         assumeNotNull((SELECT toUInt64(max({})) FROM {})) AS id",
        quoted(id),
        quoted(source.name)
    );
    let client = url.client();
    let Latest { now_ms, id } = within(STATEMENT_TIMEOUT, client.query_raw(&query).fetch_one())
        .await
        .map_err(|error| Kind::of("reading the last id of a view's source", error))?;
    // The ids are ahead if the clock of a collector is.
    let last_ms = Some(millisecond_of(id)).filter(|last| *last < now_ms + MAX_AHEAD_MS);
    let cut_ms = now_ms.max(last_ms.unwrap_or(0)) + u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(first_id_of(cut_ms)))
}

/// Returns the time of an id as text.
fn time_of(id: u64) -> String {
    let ms = i64::try_from(millisecond_of(id)).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}
