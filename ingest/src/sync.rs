//! Schema sync: makes the database have what the schema's tables need.
//!
//! Creates the database, missing tables and missing columns, each column in its place of the schema; nothing else, ever: a
//! column of another type is reported with the statement that would change it, a column that the schema does not know is left
//! alone. All differences are reported at once, and before anything is changed.

use std::{error::Error, fmt, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::{
    dead_letter::REJECTED,
    store::{StoreError, StoreUrl, quoted, within},
    table::{Column, ColumnKind, Schema, Table},
};

/// Time for one statement: on a busy or replicated server DDL waits for others.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What [`sync`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReport {
    /// The statements that were run, in their order; none if nothing was missing.
    pub statements: Vec<String>,
}

/// Creates what the database lacks of `schema`, and of the table of dead letters.
///
/// # Errors
/// ClickHouse is not there or refuses a statement; or a column differs, and then nothing has been changed.
pub async fn sync(url: &StoreUrl, schema: &Schema) -> Result<SyncReport, SyncError> {
    let statements = plan(url, schema).await?;
    // The first statement may create the database, which the others' client would already want to be in.
    for statement in &statements {
        let client = if statement.starts_with(CREATE_DATABASE) {
            url.server_client()
        } else {
            url.client()
        };
        run(&client, statement).await?;
    }
    // Seen from here, a table that has just been created is as any other: its types must read as the schema has them.
    if !statements.is_empty() {
        plan(url, schema).await?;
    }
    Ok(SyncReport { statements })
}

/// Returns the statements that [`sync`] would run, and runs none.
///
/// # Errors
/// ClickHouse is not there; or a column differs.
pub async fn plan(url: &StoreUrl, schema: &Schema) -> Result<Vec<String>, SyncError> {
    let client = url.server_client();
    let tables: Vec<&Table> = schema.tables.iter().copied().chain([&REJECTED]).collect();
    let mut statements = Vec::new();
    if !database_exists(&client, url.database()).await? {
        statements.push(format!("{CREATE_DATABASE}{}", quoted(url.database())));
    }
    let existing = existing_columns(&client, url.database(), &tables).await?;
    statements.extend(missing(&tables, &existing).map_err(SyncError::Differs)?);
    Ok(statements)
}

/// Begins the one statement that must not run inside of the database.
const CREATE_DATABASE: &str = "CREATE DATABASE IF NOT EXISTS ";

/// A column as the database has it.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    table: String,
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    default_kind: String,
}

/// A column that is in the database and in the schema, and not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// What the schema says: the type, and where the values come from if that differs.
    pub wanted: String,
    /// What the database says.
    pub found: String,
    /// The statement that would bring the database to the schema. It may rewrite data, and it may fail on data that does not fit.
    pub cure: String,
}

/// Why the database could not be brought to the schema.
#[derive(Debug)]
pub enum SyncError {
    /// ClickHouse was not there, or refused a statement.
    Store {
        /// The statement, or what was being done.
        doing: String,
        /// What went wrong.
        error: StoreError,
    },
    /// Columns differ; only a person can say which side is right.
    Differs(Vec<Difference>),
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { doing, .. } => write!(f, "ClickHouse did not do it: {doing}"),
            Self::Differs(differences) => {
                f.write_str("the database differs from the schema, and nothing has been changed:")?;
                for Difference {
                    table,
                    column,
                    wanted,
                    found,
                    cure,
                } in differences
                {
                    let (table, column) = (quoted(table), quoted(column));
                    write!(
                        f,
                        "\n  {table}.{column} is {found} in the database and {wanted} in the schema; "
                    )?;
                    write!(f, "change the schema, or run: {cure}")?;
                }
                Ok(())
            }
        }
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store { error, .. } => Some(error),
            Self::Differs(_) => None,
        }
    }
}

/// Compares tables with the columns that exist, in any order, and returns the statements for what is missing.
fn missing(tables: &[&'static Table], existing: &[Existing]) -> Result<Vec<String>, Vec<Difference>> {
    let mut statements = Vec::new();
    let mut differences = Vec::new();
    for table in tables {
        let existing: Vec<_> = existing.iter().filter(|column| column.table == table.name).collect();
        if existing.is_empty() {
            statements.push(table.create.to_owned());
            continue;
        }
        let mut place = "FIRST".to_owned();
        for column in table.columns {
            match existing.iter().find(|found| found.name == column.name) {
                Some(found) => differences.extend(difference(table, column, found)),
                None => statements.push(format!(
                    "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {place}",
                    quoted(table.name),
                    column.declaration
                )),
            }
            place = format!("AFTER {}", quoted(column.name));
        }
    }
    if differences.is_empty() {
        Ok(statements)
    } else {
        Err(differences)
    }
}

fn difference(table: &'static Table, column: &'static Column, found: &Existing) -> Option<Difference> {
    let wanted_source = source_of(column.kind);
    // An ordinary column may have gained or lost its DEFAULT: inserts work either way, and a row says what it has.
    let found_source = match found.default_kind.as_str() {
        "DEFAULT" => "",
        kind => kind,
    };
    if column.data_type == found.data_type && wanted_source == found_source {
        return None;
    }
    let described = |data_type: &str, source: &str| match source {
        _ if wanted_source == found_source => data_type.to_owned(),
        "" => format!("{data_type}, stored as inserted,"),
        source => format!("{data_type} {source}"),
    };
    // MODIFY COLUMN with a declaration that names no source keeps the one that there is.
    let change = match (wanted_source, found_source) {
        ("", "MATERIALIZED" | "ALIAS") if column.data_type == found.data_type => {
            format!("{} REMOVE {found_source}", quoted(column.name))
        }
        // There is no REMOVE EPHEMERAL; a DEFAULT takes its place.
        ("", "EPHEMERAL") => {
            let (name, data_type) = (quoted(column.name), column.data_type);
            let escaped = data_type.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{name} {data_type} DEFAULT defaultValueOfTypeName('{escaped}')")
        }
        _ => column.declaration.to_owned(),
    };
    Some(Difference {
        table: table.name,
        column: column.name,
        wanted: described(column.data_type, wanted_source),
        found: described(&found.data_type, found_source),
        cure: format!("ALTER TABLE {} MODIFY COLUMN {change}", quoted(table.name)),
    })
}

/// Where a column's values come from, as `system.columns.default_kind` says it; a DEFAULT changes nothing about an insert.
fn source_of(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Plain | ColumnKind::Default => "",
        ColumnKind::Ephemeral => "EPHEMERAL",
        ColumnKind::Materialized => "MATERIALIZED",
        ColumnKind::Alias => "ALIAS",
    }
}

async fn database_exists(client: &Client, database: &str) -> Result<bool, SyncError> {
    let query = client
        .query("SELECT count() FROM system.databases WHERE name = ?")
        .bind(database);
    let count: u64 = within(STATEMENT_TIMEOUT, query.fetch_one())
        .await
        .map_err(|error| SyncError::Store {
            doing: "looking for the database".to_owned(),
            error,
        })?;
    Ok(count > 0)
}

async fn existing_columns(client: &Client, database: &str, tables: &[&Table]) -> Result<Vec<Existing>, SyncError> {
    let names: Vec<_> = tables.iter().map(|table| table.name).collect();
    let query = client
        .query("SELECT ?fields FROM system.columns WHERE database = ? AND table IN ? ORDER BY table, position")
        .bind(database)
        .bind(names);
    within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| SyncError::Store {
            doing: "reading the columns of its tables".to_owned(),
            error,
        })
}

async fn run(client: &Client, statement: &str) -> Result<(), SyncError> {
    // Raw: a `?` in a default or a comment is no placeholder.
    within(STATEMENT_TIMEOUT, client.query_raw(statement).execute())
        .await
        .map_err(|error| SyncError::Store {
            doing: statement.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::table::Format;

    const fn column(
        name: &'static str,
        data_type: &'static str,
        declaration: &'static str,
        kind: ColumnKind,
    ) -> Column {
        Column::new(name, data_type, declaration, kind)
    }

    static TABLE: Table = Table {
        name: "t",
        index: 0,
        columns: &[
            column("a", "UInt8", "`a` UInt8", ColumnKind::Plain),
            column("b", "String", "`b` String DEFAULT 'x'", ColumnKind::Plain),
            column("c", "Date", "`c` Date MATERIALIZED today()", ColumnKind::Materialized),
        ],
        create: "CREATE TABLE IF NOT EXISTS `t` …",
        format: Format::RowBinary,
    };

    fn existing(columns: &[(&str, &str, &str)]) -> Vec<Existing> {
        let column = |&(name, data_type, default_kind): &(&str, &str, &str)| Existing {
            table: "t".to_owned(),
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            default_kind: default_kind.to_owned(),
        };
        columns.iter().map(column).collect()
    }

    #[test]
    fn a_missing_table_is_created() {
        assert_eq!(missing(&[&TABLE], &[]).unwrap(), [TABLE.create]);
    }

    #[test]
    fn missing_columns_are_added_in_their_places() {
        assert_eq!(
            missing(&[&TABLE], &existing(&[("b", "String", "DEFAULT")])).unwrap(),
            [
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `a` UInt8 FIRST",
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `c` Date MATERIALIZED today() AFTER `b`",
            ]
        );
        assert_eq!(
            missing(&[&TABLE], &existing(&[("a", "UInt8", "")])).unwrap(),
            [
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `b` String DEFAULT 'x' AFTER `a`",
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `c` Date MATERIALIZED today() AFTER `b`",
            ]
        );
    }

    #[test]
    fn other_orders_other_columns_and_lost_defaults_are_left_alone() {
        let columns = [
            ("z", "IPv6", ""),
            ("c", "Date", "MATERIALIZED"),
            ("b", "String", ""),
            ("a", "UInt8", "DEFAULT"),
        ];
        assert_eq!(missing(&[&TABLE], &existing(&columns)).unwrap(), [""; 0]);
    }

    #[test]
    fn all_differences_are_told_at_once_and_stop_everything() {
        let columns = [("a", "UInt16", ""), ("b", "String", "MATERIALIZED"), ("c", "Date", "")];
        let differences = missing(&[&TABLE, &REJECTED], &existing(&columns)).unwrap_err();
        assert_eq!(
            SyncError::Differs(differences).to_string(),
            "the database differs from the schema, and nothing has been changed:\
             \n  `t`.`a` is UInt16 in the database and UInt8 in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `a` UInt8\
             \n  `t`.`b` is String MATERIALIZED in the database and String, stored as inserted, in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `b` REMOVE MATERIALIZED\
             \n  `t`.`c` is Date, stored as inserted, in the database and Date MATERIALIZED in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `c` Date MATERIALIZED today()"
        );
    }
}
