//! Schema sync: adapts the database to the schema.
//!
//! The sync creates the database, missing tables and missing columns, each column in its position
//! in the schema. It sets a deduplication window on tables that lack one, and on the tables that
//! materialized views fill from them. It changes nothing more: it reports a column of another type,
//! with the statement that would change it, and ignores a column that the schema does not contain.
//! It reports all differences at once, before it changes anything. It does not reverse what a later
//! schema has changed (see `evolved`).
//!
//! ```text
//! cluster     the database on the clusters of the tables
//! columns     missing tables and columns, and columns that differ
//! copy        a table with another key: the new table, the copy and the exchange
//! copy_table  the name of the new table, and the setting that closes a table
//! defaults    constant defaults that differ
//! definition  the parts of a table's definition
//! dictionaries  creates missing dictionaries, and compares the others
//! dictionary_names  the names of dictionaries with their database
//! drift       where a definition differs although inserts work
//! evolved     what a later schema has changed, and the record of it
//! leader      lets one collector at a time change the tables
//! narrow      whether a type with fewer values changes data, and the closing of a table for it
//! window      whether ClickHouse remembers the blocks that it has stored
//! views       the tables that views fill, which must remember the blocks as well
//! view_query  the query of a view, as ClickHouse shows it, and its columns
//! new_views   creates missing views, each with the rows from which on it takes them
//! view_drift  where a view differs from the schema
//! presence    which tables a database lacks, by their names alone
//! qualify     the database in the statements of a plan
//! replicated_database  statements in a database that passes them on to its replicas
//! retention   how long ClickHouse keeps dead letters
//! server      the server's version and its settings
//! background  applies the schema to a writer's servers as soon as each is reachable
//! error       why the database does not match the schema
//! ```

mod background;
mod cluster;
mod columns;
mod copy;
mod copy_table;
mod defaults;
mod definition;
mod dictionaries;
mod dictionary_names;
mod drift;
mod error;
mod evolved;
mod leader;
mod narrow;
mod new_views;
mod presence;
mod qualify;
mod replicated_database;
mod retention;
mod server;
pub(crate) mod state;
pub(crate) mod topology;
mod view_drift;
mod view_query;
mod views;
mod window;

use std::{borrow::Cow, time::Duration};

use clickhouse::Client;

pub(crate) use self::{
    background::start,
    copy_table::{CLOSED, copy_name, is_closed},
    replicated_database::adapt_to_database,
    view_query::{cut_of, existing_view, query_columns},
    views::{TableName, View, local_table_in, qualified, receivers_of, views_over},
    window::views_recognize_blocks,
};
pub use self::{
    columns::Difference,
    copy::{CopyPlan, copy, plan_copies},
    dictionaries::dictionary_drift,
    drift::{Drift, DriftReport, Impact, Refused, apply_drift, drift},
    error::SyncError,
    presence::missing_tables,
    view_drift::view_drift,
};
use self::{
    columns::{Existing, existing_columns, missing},
    error::Kind,
    new_views::{MissingView, missing_views},
    qualify::{qualified_kind, qualified_statement},
    server::check_server,
    window::Deduplication,
};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, wait_for_cluster, within},
    table::{
        Schema, Table, column_history::ColumnChange, dead_letter::REJECTED, dictionary::without_passwords,
        node_leases::NODES,
    },
};

/// The timeout of one statement. On a busy or replicated server, DDL waits for other statements.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The changes that [`sync`] has made or would make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// The statements, in their order; empty if nothing was missing.
    pub statements: Vec<String>,
    /// Causes of possible duplicate rows and their remedies, as sentences for the log.
    pub warnings: Vec<String>,
    /// The rows that new materialized views lack, and the changes of a later schema that the sync
    /// leaves as they are, as sentences for the log.
    pub notes: Vec<String>,
}

/// Creates the tables and columns of `schema` that the database lacks, and the tables of dead
/// letters and of node numbers.
///
/// # Errors
/// ClickHouse is unreachable or refuses a statement, or a column differs.
///
/// ```no_run
/// # use embedder::tables;
/// use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, schema, store::Servers};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// for statement in schema::plan(&clickhouse, &tables::SCHEMA).await?.statements {
///     println!("{statement}");
/// }
/// for warning in schema::sync(&clickhouse, &tables::SCHEMA).await?.warnings {
///     eprintln!("{warning}");
/// }
/// // The writer leaves the tables as they are.
/// let servers = Servers::without_sync(clickhouse);
/// let writer = Writer::start(&tables::SCHEMA, servers, &WriterOptions::default());
/// # Ok(())
/// # }
/// ```
pub async fn sync(url: &ClickHouseUrl, schema: &Schema) -> Result<SyncReport, SyncError> {
    let synced = async {
        check_server(url).await?;
        apply(url, schema).await
    };
    let synced = synced.await.map_err(|kind| kind.at(url))?;
    Ok(synced.report(url))
}

/// Returns the changes that [`sync`] would make, without making them.
///
/// # Errors
/// ClickHouse is unreachable, or a column differs.
pub async fn plan(url: &ClickHouseUrl, schema: &Schema) -> Result<SyncReport, SyncError> {
    let plan = async {
        check_server(url).await?;
        planned(make_plan(url, schema).await?, url, schema).await
    };
    plan.await.map_err(|kind: Kind| kind.at(url))
}

async fn planned(mut plan: Plan, url: &ClickHouseUrl, schema: &Schema) -> Result<SyncReport, Kind> {
    plan.statements.append(&mut plan.windows);
    let views = new_views::planned(url, schema, &plan.views).await?;
    plan.statements.extend(views);
    Ok(plan.report(url))
}

/// Returns the changes that [`sync`] would make, or its error, and the differences that [`drift()`]
/// finds. Reads the columns once for both.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn compare(
    url: &ClickHouseUrl,
    schema: &Schema,
) -> Result<(Result<SyncReport, SyncError>, DriftReport), SyncError> {
    let compared = async {
        check_server(url).await?;
        let tables = all_tables(schema);
        let columns = existing_columns(&url.server_client(), url.database(), &tables).await?;
        let planned = match make_plan_for(url, schema, &tables, &columns).await {
            Ok(plan) => planned(plan, url, schema).await,
            Err(kind) => Err(kind),
        };
        let report = drift::compare_tables(url, schema, &columns).await?;
        Ok((planned, report))
    };
    let (planned, report) = compared.await.map_err(|kind: Kind| kind.at(url))?;
    Ok((planned.map_err(|kind| kind.at(url)), report))
}

/// Changes to make, or changes made.
#[derive(Debug, Default)]
struct Plan {
    /// Statements that inserts depend on.
    statements: Vec<String>,
    /// Statements that prevent duplicate rows. Inserts work without them.
    windows: Vec<String>,
    /// The materialized views that are missing.
    views: Vec<MissingView>,
    warnings: Vec<String>,
    notes: Vec<String>,
    /// The renames to record for collectors of earlier builds.
    renames: Vec<ColumnChange>,
    /// Whether a table is not exactly as in the schema.
    is_converting: bool,
    /// Whether the user's profile turns deduplication off and allows an insert to turn it on.
    is_turned_off: bool,
}

impl Plan {
    /// Returns whether anything is to be changed.
    fn has_changes(&self) -> bool {
        !(self.statements.is_empty() && self.windows.is_empty() && self.views.is_empty())
    }

    /// Returns the report for a caller that sends its own inserts.
    fn report(mut self, url: &ClickHouseUrl) -> SyncReport {
        if self.is_turned_off {
            self.warnings.push(format!(
                "the profile of {url}'s user turns deduplication off (deduplicate_insert = 'disable'): a writer \
                 that has the server's URL turns it on for its own inserts; rows of other inserts can be stored \
                 twice after a lost response"
            ));
        }
        SyncReport {
            statements: self
                .statements
                .iter()
                .map(|statement| without_passwords(statement))
                .collect(),
            warnings: self.warnings,
            notes: self.notes,
        }
    }
}

/// Applies the schema, and returns the changes made.
async fn apply(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let plan = make_plan(url, schema).await?;
    apply_plan(url, schema, plan).await
}

async fn apply_plan(url: &ClickHouseUrl, schema: &Schema, plan: Plan) -> Result<Plan, Kind> {
    let mut done = Plan {
        warnings: plan.warnings,
        notes: plan.notes,
        is_turned_off: plan.is_turned_off,
        is_converting: plan.is_converting,
        ..Plan::default()
    };
    done.warnings.extend(evolved::record(url, &plan.renames).await?);
    for statement in plan.statements {
        // The first statement may create the database, which the client of the other statements
        // selects.
        let client = if statement.starts_with(CREATE_DATABASE) {
            url.server_client()
        } else {
            url.client()
        };
        run(&client, &statement).await?;
        done.statements.push(statement);
    }
    let needed = done.statements.len();
    for missing in plan.views {
        let created = new_views::create(url, schema, &missing).await?;
        done.statements.push(created.statement);
        done.warnings.extend(created.warning);
        done.notes.extend(created.note);
    }
    set_windows(url, plan.windows, &mut done).await?;
    // Checks new tables like existing ones: ClickHouse must display their types as the schema has
    // them.
    if needed > 0 {
        match make_plan(url, schema).await {
            Ok(again) if again.statements.is_empty() => {}
            Ok(again) => {
                let lacking = again.statements.iter().map(|statement| without_passwords(statement));
                return Err(Kind::Unchanged {
                    lacking: lacking.collect(),
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

/// Sets the windows of tables that lack one, such as those of views that were created later.
async fn apply_windows(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let found = Deduplication::check(&url.server_client(), url.database(), &all_tables(schema)).await;
    let found = found.map_err(|error| Kind::of(READING_WINDOWS, error))?;
    let mut done = Plan {
        warnings: found.warnings,
        ..Plan::default()
    };
    let statements = found.statements.iter();
    let statements = statements.map(|statement| qualified_statement(statement, url.database()));
    let mut statements: Vec<_> = statements.collect();
    adapt_to_database(url, &mut statements)
        .await
        .map_err(|error| Kind::of(READING_WINDOWS, error))?;
    set_windows(url, statements, &mut done).await?;
    Ok(done)
}

/// Runs statements that inserts do not depend on.
async fn set_windows(url: &ClickHouseUrl, statements: Vec<String>, done: &mut Plan) -> Result<(), Kind> {
    for statement in statements {
        match run(&url.client(), &statement).await {
            Ok(()) => done.statements.push(statement),
            Err(Kind::Server { doing, error }) if !error.is_transient() => {
                done.warnings.push(format!(
                    "ClickHouse refuses a statement that prevents duplicate rows after a lost response, {doing}: {error}"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the tables of a schema, and the tables that every collector has.
fn all_tables(schema: &Schema) -> Vec<&'static Table> {
    schema.all_tables().chain([&REJECTED, &NODES]).collect()
}

const READING_WINDOWS: &str = "reading the deduplication windows";

/// Determines the missing tables, columns and windows, without changing anything.
async fn make_plan(url: &ClickHouseUrl, schema: &Schema) -> Result<Plan, Kind> {
    let tables = all_tables(schema);
    let columns = existing_columns(&url.server_client(), url.database(), &tables).await?;
    make_plan_for(url, schema, &tables, &columns).await
}

async fn make_plan_for(
    url: &ClickHouseUrl,
    schema: &Schema,
    tables: &[&'static Table],
    columns: &[Existing],
) -> Result<Plan, Kind> {
    let client = url.server_client();
    let mut plan = Plan::default();
    if !database_exists(&client, url.database()).await? {
        plan.statements
            .extend(cluster::create_database(url.database(), schema, tables));
    }
    let history = evolved::history(url).await?;
    let missing = match missing(tables, columns, &history) {
        Ok(missing) => missing,
        Err(mut differences) => {
            let statements = differences.iter_mut().map(|difference| &mut difference.statement);
            adapt_to_database(url, statements).await.map_err(of_database)?;
            let done = Vec::new();
            return Err(qualified_kind(Kind::Differs { differences, done }, url.database()));
        }
    };
    plan.notes = evolved::notes(tables, columns, &history);
    plan.is_converting = !plan.notes.is_empty();
    plan.renames = evolved::unrecorded_renames(tables, columns, &history);
    let dictionaries = dictionaries::missing_dictionaries(url, schema).await?;
    let missing = dictionaries::with_dictionaries(missing, &dictionaries);
    let missing = missing
        .iter()
        .map(|statement| qualified_statement(statement, url.database()));
    plan.statements.extend(missing);
    plan.views = missing_views(url, schema).await?;
    match Deduplication::check(&client, url.database(), tables).await {
        Ok(deduplication) => {
            let windows = deduplication.statements.iter();
            plan.windows = windows
                .map(|statement| qualified_statement(statement, url.database()))
                .collect();
            plan.warnings = deduplication.warnings;
            plan.is_turned_off = deduplication.is_turned_off;
        }
        Err(error) if error.is_transient() => return Err(Kind::of(READING_WINDOWS, error)),
        // A user without permission to query may still insert.
        Err(error) => plan
            .warnings
            .push(format!("the deduplication windows of {url} cannot be read: {error}")),
    }
    adapt_to_database(url, plan.statements.iter_mut().chain(&mut plan.windows))
        .await
        .map_err(of_database)?;
    Ok(plan)
}

fn of_database(error: ClickHouseError) -> Kind {
    Kind::of("reading the engine of the database", error)
}

/// The beginning of the only statement that must not run inside the database.
const CREATE_DATABASE: &str = "CREATE DATABASE IF NOT EXISTS ";

/// Returns the text after `ALTER TABLE`: the table's quoted name, and its cluster if it has one, as
/// in the CREATE statement.
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
    // Raw, since a `?` in a default or a comment is not a placeholder.
    let query = client.query_raw(statement);
    let query = match statement.contains(" ON CLUSTER ") {
        true => wait_for_cluster(query, STATEMENT_TIMEOUT),
        false => query,
    };
    within(STATEMENT_TIMEOUT, query.execute())
        .await
        .map_err(|error| Kind::of(without_passwords(statement), error))
}
