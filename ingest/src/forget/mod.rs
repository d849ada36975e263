//! Forget: deletes the rows of a person, by the value of a column.
//!
//! The value stands in no statement that ClickHouse keeps: rows are compared by the SHA-256 of their
//! values, and dead letters are deleted by their keys. Only the search among the dead letters has the
//! value, in a query that `query_log` does not have; the text log of a server at `debug` has it.
//!
//! ```text
//! condition     the rows of one table, as an expression of SQL
//! dead_letters  the events of the person in `rejected`
//! error         why a person cannot be forgotten
//! ```

mod condition;
mod dead_letters;
mod error;

use std::{collections::BTreeMap, fmt, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use self::{
    condition::{ColumnOfTable, Condition},
    dead_letters::DeadLetterSearch,
};
pub use self::{dead_letters::ForgottenDeadLetters, error::ForgetError};
use crate::{
    store::{ClickHouseUrl, quoted, wait_for_cluster, within},
    sync::{adapt_to_database, local_table_in},
    table::{Schema, Table, View, dead_letter::REJECTED},
};

/// The person to forget, by the value of a column.
///
/// ```
/// use rowmill_ingest::forget::Person;
///
/// let person = Person { column: Some("email".to_owned()), ..Person::of_value("anna@example.org") };
/// # assert!(person.table.is_none());
/// ```
#[derive(Clone)]
pub struct Person {
    /// The column; `None` for all columns that the schema marks with `pii`.
    pub column: Option<String>,
    /// The value of the column, as ClickHouse prints it.
    pub value: String,
    /// Only rows of this table, and its dead letters.
    pub table: Option<String>,
    /// The timeout of one statement; ClickHouse rewrites all parts with such rows.
    pub timeout: Duration,
}

impl Person {
    /// Returns the person with this value in a column with personal data.
    pub fn of_value(value: &str) -> Self {
        Self {
            column: None,
            value: value.to_owned(),
            table: None,
            timeout: Duration::from_secs(3600),
        }
    }
}

/// Shows no value.
impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, table, .. } = self;
        f.debug_struct("Person")
            .field("column", column)
            .field("table", table)
            .finish_non_exhaustive()
    }
}

/// The rows of a person, and the statements that delete them.
#[derive(Debug)]
pub struct ForgetPlan {
    /// The tables with such a column, in the order of their names.
    pub tables: Vec<ForgottenTable>,
    /// The dead letters with the value.
    pub dead_letters: ForgottenDeadLetters,
    /// The tables that may have traces of the person which no statement reaches.
    pub unreached: Vec<Unreached>,
}

/// A table with traces of the person that no statement reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// The table.
    pub table: String,
    /// The reason.
    pub reason: String,
    /// Whether it may have rows of the person that belong to the plan: not so for what a view has
    /// counted, and for the dead letters of other servers.
    pub may_have_rows: bool,
}

/// The rows of a person in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenTable {
    /// The table.
    pub table: String,
    /// The number of rows.
    pub rows: u64,
    /// The servers that the rows are counted on.
    pub counted_on: CountedOn,
    /// The statement that deletes them.
    pub statement: String,
    /// The query that counts them.
    count: String,
}

/// The servers on which the rows of a table are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedOn {
    /// This one, which alone has the table as far as the schema states.
    This,
    /// One of each shard of a cluster, through the Distributed table.
    Shards,
    /// This one, while the statement runs on all servers of a cluster.
    OneOfCluster,
}

impl ForgottenTable {
    /// Returns whether the statement is to run. On a cluster, servers that were not counted may have
    /// rows.
    pub fn is_due(&self) -> bool {
        self.rows > 0 || self.counted_on != CountedOn::This
    }
}

/// One table of the database.
#[derive(Debug, Row, Deserialize)]
struct TableOfDatabase {
    name: String,
    engine: String,
    engine_full: String,
}

impl TableOfDatabase {
    /// Returns the table with the rows of this server's shard, if this is a Distributed table over one
    /// of the same database.
    fn local(&self, database: &str) -> Option<String> {
        let (of, name) = (self.engine == "Distributed").then(|| local_table_in(&self.engine_full))??;
        (of == database).then_some(name)
    }
}

/// Engines other than MergeTrees that delete rows by `ALTER TABLE … DELETE`.
const DELETING_ENGINES: [&str; 3] = ["EmbeddedRocksDB", "Join", "Memory"];

/// Engines whose rows are in other tables, which the plan has if they are in the same database.
const ENGINES_WITHOUT_ROWS: [&str; 6] = ["Dictionary", "MaterializedView", "Merge", "Null", "View", "WindowView"];

/// Finds the rows and dead letters of a person.
///
/// # Errors
///
/// ClickHouse is unavailable, or no table has the column.
///
/// # Examples
///
/// ```no_run
/// # use embedder::tables;
/// use rowmill_ingest::{ClickHouseUrl, forget::{self, Person}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// let person = Person::of_value("anna@example.org");
/// let plan = forget::plan(&clickhouse, &tables::SCHEMA, &person).await?;
/// forget::apply(&clickhouse, &plan, &person).await?;
/// # Ok(())
/// # }
/// ```
pub async fn plan(url: &ClickHouseUrl, schema: &Schema, person: &Person) -> Result<ForgetPlan, ForgetError> {
    if person.value.is_empty() {
        return Err(ForgetError::EmptyValue);
    }
    let client = url.client();
    let tables = client.query(
        "SELECT ?fields FROM system.tables WHERE database = currentDatabase() AND NOT is_temporary ORDER BY name",
    );
    let mut existing: Vec<TableOfDatabase> = within(person.timeout, tables.fetch_all()).await?;
    // By the names of the tables with the rows of one shard.
    let distributed: BTreeMap<_, _> = existing
        .iter()
        .filter_map(|table| Some((table.local(url.database())?, table.name.clone())))
        .collect();
    if let Some(table) = &person.table {
        if !existing.iter().any(|known| known.name == *table) {
            return Err(ForgetError::NoTable(table.clone()));
        }
        let of_shard = existing.iter().find(|known| known.name == *table);
        let of_shard = of_shard.and_then(|known| known.local(url.database()));
        let is_chosen = |name: &String| name == table || of_shard.as_ref() == Some(name);
        existing.retain(|known| is_chosen(&known.name) || known.name == REJECTED.name);
    }
    let existing = existing;
    let columns = columns(&client, person).await?;
    let mut found = ForgetPlan {
        tables: Vec::new(),
        dead_letters: ForgottenDeadLetters::default(),
        unreached: Vec::new(),
    };
    let mut has_column = false;
    let mut is_on_several_servers = false;
    for table in existing.iter().filter(|table| table.name != REJECTED.name) {
        let names = personal_columns(&table.name, schema, person);
        let known = columns.get(&table.name).map_or(&[][..], Vec::as_slice);
        has_column |= known.iter().any(|column| names.contains(&&*column.name));
        let engine = table.engine.as_str();
        let has_local = |local: String| existing.iter().any(|known| known.name == local);
        if ENGINES_WITHOUT_ROWS.contains(&engine) || table.local(url.database()).is_some_and(has_local) {
            continue;
        }
        let Condition { rows, problems } = condition::of_table(known, &names, &person.value);
        let unreached = |reason| Unreached {
            table: table.name.clone(),
            reason,
            may_have_rows: true,
        };
        found.unreached.extend(problems.into_iter().map(unreached));
        let Some(condition) = rows else {
            continue;
        };
        if !engine.ends_with("MergeTree") && !DELETING_ENGINES.contains(&engine) {
            let reason = format!("the engine {engine} deletes no rows");
            found.unreached.push(unreached(reason));
            continue;
        }
        let name = quoted(&table.name);
        let on_cluster = on_cluster(&table.name, schema);
        let all_shards = distributed.get(&table.name);
        let count_of = |name: &str| format!("SELECT toUInt64(count()) FROM {name} WHERE {condition}");
        let (counted_on, count) = match all_shards {
            _ if on_cluster.is_empty() => (CountedOn::This, count_of(&name)),
            Some(all_shards) => (CountedOn::Shards, count_of(&quoted(all_shards))),
            None => (CountedOn::OneOfCluster, count_of(&name)),
        };
        let rows: u64 = within(person.timeout, client.query_raw(&count).fetch_one()).await?;
        if let (CountedOn::This, Some(all_shards)) = (counted_on, all_shards) {
            let count = count_of(&quoted(all_shards));
            let all: u64 = within(person.timeout, client.query_raw(&count).fetch_one()).await?;
            found.unreached.extend(elsewhere(all_shards, all.saturating_sub(rows)));
        }
        is_on_several_servers |= counted_on != CountedOn::This || all_shards.is_some();
        let mut statement =
            format!("ALTER TABLE {name}{on_cluster} DELETE WHERE {condition} SETTINGS mutations_sync = 2");
        adapt_to_database(url, [&mut statement]).await?;
        found.tables.push(ForgottenTable {
            rows,
            counted_on,
            statement,
            count,
            table: table.name.clone(),
        });
    }
    found.unreached.extend(views(schema, &found, &distributed, person));
    if existing.iter().any(|table| table.name == REJECTED.name) {
        let search = DeadLetterSearch {
            client: &client,
            value: &person.value,
            table: person.table.as_deref(),
            timeout: person.timeout,
        };
        found.dead_letters = search.find().await?;
        if is_on_several_servers {
            found.unreached.push(Unreached {
                table: REJECTED.name.to_owned(),
                reason: "the dead letters of the other servers; repeat the command with the URL of each".to_owned(),
                may_have_rows: false,
            });
        }
    }
    // Any name may be a key of an extra: one that is found nowhere is probably misspelt.
    let may_be_found = |table: &ForgottenTable| table.rows > 0 || table.counted_on == CountedOn::OneOfCluster;
    let is_found = found.dead_letters.count() > 0 || found.tables.iter().any(may_be_found);
    if !is_found && !has_column && found.unreached.is_empty() {
        return Err(ForgetError::NoColumn);
    }
    Ok(found)
}

/// Deletes the rows and dead letters of a plan, and checks that they are gone.
///
/// # Errors
///
/// ClickHouse is unavailable or refuses a statement, or has rows of the person afterwards. The
/// statements may be repeated.
pub async fn apply(url: &ClickHouseUrl, plan: &ForgetPlan, person: &Person) -> Result<(), ForgetError> {
    let client = url.client();
    for table in plan.tables.iter().filter(|table| table.is_due()) {
        let query = wait_for_cluster(client.query_raw(&table.statement), person.timeout);
        within(person.timeout, query.execute()).await?;
    }
    for statement in plan.dead_letters.statements() {
        within(person.timeout, client.query_raw(&statement).execute()).await?;
    }
    // Rows may have come into every table since the plan.
    for table in &plan.tables {
        let rows: u64 = within(person.timeout, client.query_raw(&table.count).fetch_one()).await?;
        if rows > 0 {
            let table = table.table.clone();
            return Err(ForgetError::Remaining { table, rows });
        }
    }
    if !plan.dead_letters.exist() {
        return Ok(());
    }
    let search = DeadLetterSearch {
        client: &client,
        value: &person.value,
        table: person.table.as_deref(),
        timeout: person.timeout,
    };
    match search.find().await?.count() {
        0 => Ok(()),
        rows => Err(ForgetError::Remaining {
            table: REJECTED.name.to_owned(),
            rows,
        }),
    }
}

/// Returns the columns of all tables of the database, by table.
async fn columns(client: &Client, person: &Person) -> Result<BTreeMap<String, Vec<ColumnOfTable>>, ForgetError> {
    #[derive(Row, Deserialize)]
    struct Line {
        table: String,
        name: String,
        data_type: String,
    }
    let query = client.query(
        "SELECT table, name, type AS data_type FROM system.columns WHERE database = currentDatabase() \
         AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY table, position",
    );
    let lines: Vec<Line> = within(person.timeout, query.fetch_all()).await?;
    let mut columns: BTreeMap<String, Vec<ColumnOfTable>> = BTreeMap::new();
    for Line { table, name, data_type } in lines {
        columns
            .entry(table)
            .or_default()
            .push(ColumnOfTable { name, data_type });
    }
    Ok(columns)
}

/// Returns the names of the columns in which a table may have the value. Without a name, these are the
/// personal columns of the schema; in a table outside of the schema, columns of their names.
fn personal_columns<'a>(table: &str, schema: &Schema, person: &'a Person) -> Vec<&'a str> {
    if let Some(column) = &person.column {
        return vec![column];
    }
    let personal = |table: &'static Table| {
        let columns = table.columns.iter().filter(|column| column.is_personal);
        columns.map(|column| column.name)
    };
    let mut names: Vec<_> = match schema.table(table) {
        Some(table) if table.columns.iter().any(|column| column.is_personal) => personal(table).collect(),
        _ => schema.all_tables().flat_map(personal).collect(),
    };
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the clause of the cluster that the schema states for a table.
fn on_cluster(table: &str, schema: &Schema) -> String {
    let clause = || {
        let create = schema.table(table)?.create;
        let head = create.split_once('\n').map_or(create, |(head, _)| head);
        let (_, cluster) = head.rsplit_once(" ON CLUSTER ")?;
        Some(format!(" ON CLUSTER {}", cluster.trim()))
    };
    clause().unwrap_or_default()
}

/// Returns the rows of a Distributed table that other servers have, if there are any.
fn elsewhere(distributed: &str, rows: u64) -> Option<Unreached> {
    (rows > 0).then(|| Unreached {
        table: distributed.to_owned(),
        reason: format!(
            "{rows} rows on other servers, where nothing is deleted since the schema has no `cluster`; repeat the \
             command with the URL of each"
        ),
        may_have_rows: true,
    })
}

/// Returns the views over tables with such rows whose own tables have no such column.
fn views(
    schema: &Schema,
    found: &ForgetPlan,
    distributed: &BTreeMap<String, String>,
    person: &Person,
) -> Vec<Unreached> {
    let is_reached = |table: &str| {
        let is_over = |local: &String| distributed.get(local).is_some_and(|over| over == table);
        let mut reached = found.tables.iter().map(|known| &known.table);
        reached.any(|local| local == table || is_over(local))
    };
    let is_traced = |view: &&View| {
        let source = view.source.as_ref().map(|source| source.table);
        source.is_none_or(is_reached) && !is_reached(view.target) && person.table.is_none()
    };
    let views = schema.views.iter().filter(is_traced);
    let unreached = |view: &View| Unreached {
        table: view.target.to_owned(),
        reason: format!(
            "no such column; what the view `{}` has counted of the rows remains",
            view.name
        ),
        may_have_rows: false,
    };
    views.map(unreached).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn table(rows: u64, counted_on: CountedOn) -> ForgottenTable {
        ForgottenTable {
            table: "orders_local".to_owned(),
            rows,
            counted_on,
            statement: String::new(),
            count: String::new(),
        }
    }

    #[test]
    fn a_statement_runs_on_a_cluster_whatever_one_server_has() {
        assert!(!table(0, CountedOn::This).is_due());
        assert!(table(1, CountedOn::This).is_due());
        assert!(table(0, CountedOn::Shards).is_due());
        assert!(table(0, CountedOn::OneOfCluster).is_due());
    }

    #[test]
    fn a_distributed_table_is_over_one_of_its_database() {
        let over = |engine: &str, engine_full: &str| {
            let table = TableOfDatabase {
                name: "orders".to_owned(),
                engine: engine.to_owned(),
                engine_full: engine_full.to_owned(),
            };
            table.local("stats")
        };
        let engine_full = "Distributed('fleet', 'stats', 'orders_local', id)";
        assert_eq!(over("Distributed", engine_full), Some("orders_local".to_owned()));
        assert_eq!(over("Distributed", "Distributed('fleet', 'old', 'orders_local')"), None);
        assert_eq!(over("MergeTree", "MergeTree ORDER BY id"), None);
    }

    #[test]
    fn rows_of_other_servers_are_named() {
        assert_eq!(elsewhere("orders", 0), None);
        let unreached = elsewhere("orders", 2).unwrap();
        assert!(unreached.may_have_rows && unreached.reason.starts_with("2 rows on other servers"));
    }
}
