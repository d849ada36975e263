//! The facts about both tables that a copy needs, and the reasons why a table cannot be copied.

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    store::{ClickHouseUrl, in_database, quoted, within},
    sync::{
        Kind, STATEMENT_TIMEOUT, altered,
        columns::existing_columns,
        copy_table::{CLOSED, LIMIT, copy_name, is_closed, limit_of},
        definition::Definition,
        drift::{self, Impact, Uncomparable, definitions},
        qualify::qualified_statement,
    },
    table::{ColumnKind, Schema, Table},
};

/// The facts of a table that can be copied.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) table: &'static Table,
    pub(super) database: String,
    /// The name of the new table.
    pub(super) copy: String,
    /// The statement that creates the new table.
    pub(super) create: String,
    /// The quoted name of the column with the id.
    pub(super) id: String,
    /// The quoted names of the columns that the copy inserts.
    pub(super) columns: Vec<String>,
    /// Whether some of the columns are MATERIALIZED.
    pub(super) has_materialized: bool,
    /// Whether ClickHouse deletes rows of one of the tables by a TTL.
    pub(super) has_ttl: bool,
    /// Whether the new table exists.
    pub(super) has_copy: bool,
    /// Whether the new table accepts no inserts.
    pub(super) is_copy_closed: bool,
    /// The moment in which the new table was created, in seconds; `None` if it does not exist.
    pub(super) created: Option<u32>,
    /// Whether the old table accepts no inserts.
    pub(super) is_closed: bool,
    /// The views over the table, which ClickHouse finds by the table's name.
    pub(super) views: Vec<String>,
    /// Whether an earlier copy has exchanged the tables, and has not opened the new one.
    pub(super) is_exchanged: bool,
    /// The limit of parts that the old table has by itself, if it is not closed.
    pub(super) limit: Option<String>,
    rows: u64,
    bytes: u64,
}

/// One of both tables.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    engine: String,
    engine_full: String,
    database_engine: String,
    views: Vec<String>,
    created: u32,
    total_rows: u64,
    total_bytes: u64,
    unfinished_mutations: u64,
    patches: u64,
}

impl Facts {
    /// Reads the facts of a table, without changing anything.
    ///
    /// # Errors
    /// The table cannot be copied, or ClickHouse is unreachable.
    pub(super) async fn read(url: &ClickHouseUrl, schema: &Schema, table: &'static Table) -> Result<Self, Kind> {
        let refuse = |reason: String| Kind::Copy {
            table: table.name,
            reason,
        };
        let (server, copy) = (url.server_client(), copy_name(table.name));
        let tables = existing(&server, url.database(), table.name, &copy).await?;
        let named = |name: &str| tables.iter().find(|table| table.name == name);
        let Some(old) = named(table.name) else {
            return Err(refuse("it does not exist".to_owned()));
        };
        let Some(id) = table.row_id else {
            return Err(refuse("its rows have no id that the collector assigns".to_owned()));
        };
        if let Some(reason) = obstacle(table, old) {
            return Err(refuse(reason));
        }
        differences(url, schema, table).await?;
        let new = named(&copy);
        let mut is_exchanged = false;
        if let Some(new) = new {
            is_exchanged = check_new(url, table, old, new).await.map_err(|kind| match kind {
                Uncopyable::Kind(kind) => kind,
                Uncopyable::Reason(reason) => refuse(reason),
            })?;
        }
        let is_copied = |kind| !matches!(kind, ColumnKind::Alias | ColumnKind::Ephemeral);
        let columns = table.columns.iter().filter(|column| is_copied(column.kind));
        let columns = columns.map(|column| quoted(column.name)).collect();
        Ok(Self {
            database: url.database().to_owned(),
            create: table.create.replacen(&quoted(table.name), &quoted(&copy), 1),
            id: quoted(id),
            has_materialized: table
                .columns
                .iter()
                .any(|column| column.kind == ColumnKind::Materialized),
            has_ttl: old.engine_full.contains(" TTL ") || table.create.contains("\nTTL "),
            has_copy: new.is_some(),
            is_copy_closed: new.is_some_and(|new| is_closed(&new.engine_full)),
            created: new.map(|new| new.created),
            is_closed: is_closed(&old.engine_full),
            views: old.views.clone(),
            is_exchanged,
            limit: limit_of(&old.engine_full)
                .filter(|limit| *limit != "0")
                .map(str::to_owned),
            rows: old.total_rows,
            bytes: old.total_bytes,
            table,
            copy,
            columns,
        })
    }

    /// Returns the steps of the copy.
    pub(super) fn steps(&self) -> Vec<String> {
        let in_database = |name: &str| in_database(&self.database, name);
        let (table, copy, id) = (in_database(self.table.name), in_database(&self.copy), &self.id);
        if self.is_exchanged {
            return vec![format!("{table} is the new table: the copy opens it")];
        }
        let pause = if self.views.is_empty() {
            "a moment"
        } else {
            "some seconds"
        };
        let create = match self.has_copy {
            true => format!("{copy} exists: the copy continues"),
            false => qualified_statement(&self.create, &self.database),
        };
        vec![
            create,
            format!(
                "INSERT INTO {copy} SELECT … FROM {table} WHERE {id} NOT IN (SELECT {id} FROM {copy}), by ranges of \
                 {id}, while collectors insert into {table} ({} rows, {} bytes)",
                self.rows, self.bytes
            ),
            format!("ALTER TABLE {table} MODIFY SETTING {CLOSED}, so that collectors keep new rows for {pause}"),
            format!("INSERT INTO {copy} …, the rows since then"),
            format!("EXCHANGE TABLES {table} AND {copy}, while both are closed"),
            format!(
                "{}, so that collectors insert into the new table",
                self.open_new(self.table.name)
            ),
        ]
    }

    /// Returns the statement that lets the old table accept inserts again.
    pub(super) fn reopen_old(&self) -> String {
        let limit = self.limit.as_deref().or(limit_of(self.table.create));
        self.open(self.table.name, limit)
    }

    /// Returns the statement that lets the new table accept inserts, which has the name `name`.
    pub(super) fn open_new(&self, name: &str) -> String {
        self.open(name, limit_of(self.table.create))
    }

    fn open(&self, name: &str, limit: Option<&str>) -> String {
        let table = in_database(&self.database, name);
        match limit {
            Some(limit) => format!("ALTER TABLE {table} MODIFY SETTING {LIMIT} = {limit}"),
            None => format!("ALTER TABLE {table} RESET SETTING {LIMIT}"),
        }
    }

    /// Returns the error for a table that cannot be copied.
    pub(super) fn refused(&self, reason: &str) -> Kind {
        Kind::Copy {
            table: self.table.name,
            reason: reason.to_owned(),
        }
    }

    /// Checks that no mutation has changed rows that may be copied already.
    pub(super) async fn check_mutations(&self, client: &Client) -> Result<(), Kind> {
        let query = client
            .query(
                "SELECT count() FROM system.mutations WHERE database = ? AND table = ? \
                 AND (NOT is_done OR toUnixTimestamp(create_time) >= ?)",
            )
            .bind(&self.database)
            .bind(self.table.name)
            .bind(self.created.unwrap_or_default());
        let mutations: u64 = within(STATEMENT_TIMEOUT, query.fetch_one())
            .await
            .map_err(|error| Kind::of("reading the mutations of a table", error))?;
        if mutations > 0 {
            return Err(self.refused(&format!(
                "a mutation has changed its rows during the copy; drop {} and start again",
                quoted(&self.copy)
            )));
        }
        Ok(())
    }
}

async fn existing(server: &Client, database: &str, table: &str, copy: &str) -> Result<Vec<Existing>, Kind> {
    let query = server
        .query(
            "SELECT name, engine, engine_full, \
             ifNull((SELECT any(engine) FROM system.databases WHERE name = ?), '') AS database_engine, \
             arraySort(arrayMap((d, n) -> d || '.' || n, dependencies_database, dependencies_table)) AS views, \
             toUnixTimestamp(metadata_modification_time) AS created, \
             ifNull(total_rows, toUInt64(0)) AS total_rows, ifNull(total_bytes, toUInt64(0)) AS total_bytes, \
             ifNull(toUInt64((SELECT count() FROM system.mutations WHERE database = ? AND table = ? AND NOT is_done)), \
             toUInt64(0)) AS unfinished_mutations, \
             ifNull(toUInt64((SELECT count() FROM system.parts WHERE active AND database = ? AND table = ? \
             AND startsWith(name, 'patch-'))), toUInt64(0)) AS patches \
             FROM system.tables WHERE database = ? AND name IN ?",
        )
        .bind(database)
        .bind(database)
        .bind(table)
        .bind(database)
        .bind(table)
        .bind(database)
        .bind([table, copy]);
    within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the tables of a copy", error))
}

/// Returns whether a table is open and has the schema's definition: another copy, or the last
/// statement of one that was killed, has ended meanwhile.
pub(super) async fn is_done(url: &ClickHouseUrl, table: &'static Table) -> Result<bool, Kind> {
    let tables = existing(&url.server_client(), url.database(), table.name, &copy_name(table.name)).await?;
    match tables.iter().find(|found| found.name == table.name) {
        Some(found) if !is_closed(&found.engine_full) => match is_as_in_schema(url, table, found).await {
            Ok(is_done) => Ok(is_done),
            Err(Uncopyable::Kind(kind)) => Err(kind),
            Err(Uncopyable::Reason(_)) => Ok(false),
        },
        _ => Ok(false),
    }
}

/// Returns why the old table cannot be copied.
fn obstacle(table: &Table, old: &Existing) -> Option<String> {
    let (_, engine) = table.create.split_once("\nENGINE = ")?;
    let engine = engine.split(['\n', '(', ' ']).next().unwrap_or_default();
    if altered(table).contains(" ON CLUSTER ") {
        return Some("it is on several servers of a cluster, and a copy is on one".to_owned());
    }
    if let Some(other) = [&*old.engine, engine].into_iter().find(|engine| *engine != "MergeTree") {
        return Some(format!(
            "one of both tables is a {other}, and a copy needs a MergeTree on both sides: it keeps each row and is \
             on one server"
        ));
    }
    if old.database_engine != "Atomic" {
        return Some(format!(
            "its database is {}, and only in an Atomic database two tables can be exchanged",
            old.database_engine
        ));
    }
    if old.unfinished_mutations > 0 {
        return Some("a mutation of it is not finished".to_owned());
    }
    (old.patches > 0).then(|| "it has patch parts of lightweight updates".to_owned())
}

/// Checks that the table differs from the schema only in what a copy changes.
async fn differences(url: &ClickHouseUrl, schema: &Schema, table: &'static Table) -> Result<(), Kind> {
    let columns = existing_columns(&url.server_client(), url.database(), schema.tables).await?;
    let report = drift::compare_tables(url, schema, &columns).await?;
    let mut others = report.drifts.iter().filter(|drift| {
        drift.table == table.name && matches!(drift.impact, Impact::Rewrite | Impact::Lossy | Impact::Drop)
    });
    let other = others.next().map(|drift| drift.difference.clone());
    let missing = table
        .columns
        .iter()
        .find(|column| !columns.iter().any(|found| found.is(table.name, column.name)))
        .map(|column| format!("column {} is missing", quoted(column.name)));
    match other.or(missing) {
        Some(difference) => Err(Kind::Copy {
            table: table.name,
            reason: format!("another difference comes first: {difference}"),
        }),
        None => Ok(()),
    }
}

/// The reason why the new table cannot be used.
enum Uncopyable {
    Kind(Kind),
    Reason(String),
}

/// Checks that the new table has the schema's definition. Returns whether the tables are exchanged
/// already, so that the old table has the name of the new one.
async fn check_new(url: &ClickHouseUrl, table: &Table, old: &Existing, new: &Existing) -> Result<bool, Uncopyable> {
    let name = quoted(&new.name);
    if is_as_in_schema(url, table, new).await? {
        return Ok(false);
    }
    if !is_closed(&new.engine_full) {
        return Err(Uncopyable::Reason(format!(
            "{name} exists with another definition than the schema's: drop it first"
        )));
    }
    if is_closed(&old.engine_full) && is_as_in_schema(url, table, old).await? {
        return match &*new.views {
            [] => Ok(true),
            views => Err(Uncopyable::Reason(format!(
                "ClickHouse has moved its views to {name} ({}), the table before the copy: restart ClickHouse, which \
                 looks for the tables of views by their names",
                views.join(", ")
            ))),
        };
    }
    Err(Uncopyable::Reason(format!(
        "{name} is the table before an earlier copy: drop it first"
    )))
}

/// Returns whether an existing table has the schema's definition.
async fn is_as_in_schema(url: &ClickHouseUrl, table: &Table, existing: &Existing) -> Result<bool, Uncopyable> {
    let session = url
        .server_client()
        .with_setting("session_id", format!("rowmill-{}", Uuid::now_v7()));
    match definitions(&session, url.database(), &existing.name, table).await {
        Ok((wanted, found)) => Ok(is_same(&wanted, &found)),
        Err(Uncomparable::Server(error)) => {
            Err(Uncopyable::Kind(Kind::of("comparing the definitions of a copy", error)))
        }
        Err(Uncomparable::Text) => Err(Uncopyable::Reason(format!(
            "{} is not a table: drop it first",
            quoted(&existing.name)
        ))),
    }
}

/// Returns whether two definitions are the same but for settings that the schema does not name.
fn is_same(wanted: &Definition, found: &Definition) -> bool {
    let settings = found.settings();
    let clauses = |definition: &Definition| {
        let mut clauses = definition.clauses.clone();
        clauses.remove("SETTINGS");
        clauses
    };
    wanted.columns == found.columns
        && wanted.elements == found.elements
        && clauses(wanted) == clauses(found)
        // The setting that closes a table is a state of the copy.
        && wanted.settings().iter().all(|(name, value)| {
            name.contains("deduplication_window") || *name == LIMIT || settings.get(name) == Some(value)
        })
}
