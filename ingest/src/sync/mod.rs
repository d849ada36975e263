//! Schema sync: makes the database have what the schema's tables need.
//!
//! Creates the database, missing tables and missing columns, each column in its place of the schema, and gives a table that keeps no
//! deduplication window one, and those that materialized views fill from it; nothing else, ever: a column of another type is
//! reported with the statement that would change it, a column that the schema does not know is left alone. All differences are
//! reported at once, and before anything is changed.
//!
//! ```text
//! columns     what is missing, what differs
//! window      whether ClickHouse remembers what it has taken
//! views       the tables that views fill, which have to remember it, too
//! retention   how long dead letters are kept
//! background  a writer's servers, each brought to the schema as soon as it is there
//! error       why it is not as it should be
//! ```

mod background;
mod columns;
mod error;
mod retention;
pub(crate) mod state;
mod views;
mod window;

use std::{borrow::Cow, time::Duration};

use clickhouse::Client;

pub(crate) use self::{
    background::start,
    views::{TableName, View, qualified, views_over},
    window::views_recognize_blocks,
};
pub use self::{columns::Difference, error::SyncError};
use self::{
    columns::{existing_columns, missing},
    error::Kind,
    window::Deduplication,
};
use crate::{
    store::{ClickHouseUrl, quoted, within},
    table::{Schema, Table, dead_letter::REJECTED, node_leases::NODES},
};

/// Time for one statement: on a busy or replicated server DDL waits for others.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What [`sync`] has done, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// The statements, in their order; none if nothing was missing.
    pub statements: Vec<String>,
    /// What could make rows come twice, and what a person can do about it, as sentences for the log.
    pub warnings: Vec<String>,
}

/// Creates what the database lacks of `schema`, of the table of dead letters, and of that of node numbers.
///
/// # Errors
/// ClickHouse is not there or refuses a statement; or a column differs.
pub async fn sync(url: &ClickHouseUrl, schema: &Schema) -> Result<SyncReport, SyncError> {
    let synced = bring(url, schema).await.map_err(|kind| kind.at(url))?;
    Ok(synced.report(url))
}

/// Returns what [`sync`] would do, and does nothing.
///
/// # Errors
/// ClickHouse is not there; or a column differs.
pub async fn plan(url: &ClickHouseUrl, schema: &Schema) -> Result<SyncReport, SyncError> {
    let mut plan = look(url, schema).await.map_err(|kind| kind.at(url))?;
    plan.statements.append(&mut plan.windows);
    Ok(plan.report(url))
}

/// What is to be done, or has been.
#[derive(Debug, Default)]
struct Plan {
    /// What rows need.
    statements: Vec<String>,
    /// What keeps rows from coming twice. Rows can be inserted without it.
    windows: Vec<String>,
    warnings: Vec<String>,
    /// The user's profile turns deduplication off, and an insert may turn it on.
    is_turned_off: bool,
}

impl Plan {
    /// Returns it as it is told to whoever sends inserts of his own.
    fn report(mut self, url: &ClickHouseUrl) -> SyncReport {
        if self.is_turned_off {
            self.warnings.push(format!(
                "the profile of {url}'s user turns deduplication off (deduplicate_insert = 'disable'): a writer that has the server by \
                 its URL turns it on for its own inserts, of any other's rows can come twice after a lost answer"
            ));
        }
        SyncReport {
            statements: self.statements,
            warnings: self.warnings,
        }
    }
}

/// Does what is to be done, and says what it was.
async fn bring(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let plan = look(url, schema).await?;
    let mut done = Plan {
        warnings: plan.warnings,
        is_turned_off: plan.is_turned_off,
        ..Plan::default()
    };
    for statement in plan.statements {
        // The first statement may create the database, which the others' client would already want to be in.
        let client = if statement.starts_with(CREATE_DATABASE) {
            url.server_client()
        } else {
            url.client()
        };
        run(&client, &statement).await?;
        done.statements.push(statement);
    }
    let needed = done.statements.len();
    set_windows(url, plan.windows, &mut done).await?;
    // Seen from here, a table that has just been created is as any other: its types must read as the schema has them.
    if needed > 0 {
        match look(url, schema).await {
            Ok(again) if again.statements.is_empty() => {}
            Ok(again) => {
                return Err(Kind::Unchanged {
                    lacking: again.statements,
                });
            }
            Err(Kind::Differs { differences, .. }) => {
                return Err(Kind::Differs {
                    differences,
                    done: done.statements,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Gives windows to tables that have none by now, such as those of views that were made later.
async fn bring_windows(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let found = Deduplication::look(&url.server_client(), url.database(), &all_tables(schema)).await;
    let found = found.map_err(|error| Kind::of(LOOKING_AT_WINDOWS, error))?;
    let mut done = Plan {
        warnings: found.warnings,
        ..Plan::default()
    };
    set_windows(url, found.statements, &mut done).await?;
    Ok(done)
}

/// Runs statements that rows can be inserted without.
async fn set_windows(url: &ClickHouseUrl, statements: Vec<String>, done: &mut Plan) -> Result<(), Kind> {
    for statement in statements {
        match run(&url.client(), &statement).await {
            Ok(()) => done.statements.push(statement),
            Err(Kind::Server { doing, error }) if !error.is_passing() => {
                done.warnings.push(format!(
                    "ClickHouse refuses what would keep rows from coming twice after a lost answer, {doing}: {error}"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The tables of a schema, and those that every collector has.
fn all_tables(schema: &Schema) -> Vec<&'static Table> {
    schema.tables.iter().copied().chain([&REJECTED, &NODES]).collect()
}

const LOOKING_AT_WINDOWS: &str = "looking at the deduplication windows";

/// Looks for what is missing, and changes nothing.
async fn look(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let client = url.server_client();
    let tables = all_tables(schema);
    let mut plan = Plan::default();
    if !database_exists(&client, url.database()).await? {
        plan.statements
            .push(format!("{CREATE_DATABASE}{}", quoted(url.database())));
    }
    let existing = existing_columns(&client, url.database(), &tables).await?;
    let missing = missing(&tables, &existing).map_err(|differences| Kind::Differs {
        differences,
        done: Vec::new(),
    })?;
    plan.statements.extend(missing);
    match Deduplication::look(&client, url.database(), &tables).await {
        Ok(deduplication) => {
            plan.windows = deduplication.statements;
            plan.warnings = deduplication.warnings;
            plan.is_turned_off = deduplication.is_turned_off;
        }
        Err(error) if error.is_passing() => return Err(Kind::of(LOOKING_AT_WINDOWS, error)),
        // A user who may not ask may still insert.
        Err(error) => plan.warnings.push(format!(
            "it cannot be seen whether {url} keeps deduplication windows: {error}"
        )),
    }
    Ok(plan)
}

/// Begins the one statement that must not run inside of the database.
const CREATE_DATABASE: &str = "CREATE DATABASE IF NOT EXISTS ";

/// Returns what follows `ALTER TABLE`: the table's quoted name, and the cluster that it is on, as its CREATE statement has them.
fn altered(table: &Table) -> Cow<'static, str> {
    let created = table.create.strip_prefix("CREATE TABLE IF NOT EXISTS ");
    match created.and_then(|created| created.split_once("\n(")) {
        Some((name_and_cluster, _)) => name_and_cluster.into(),
        None => quoted(table.name).into(),
    }
}

async fn database_exists(client: &Client, database: &str) -> Result<bool, Kind> {
    let query = client
        .query("SELECT count() FROM system.databases WHERE name = ?")
        .bind(database);
    let count: u64 = within(STATEMENT_TIMEOUT, query.fetch_one())
        .await
        .map_err(|error| Kind::of("looking for the database", error))?;
    Ok(count > 0)
}

async fn run(client: &Client, statement: &str) -> Result<(), Kind> {
    // Raw: a `?` in a default or a comment is no placeholder.
    within(STATEMENT_TIMEOUT, client.query_raw(statement).execute())
        .await
        .map_err(|error| Kind::of(statement, error))
}
