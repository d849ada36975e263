//! Finds where the definition of an existing table differs from the schema beyond its columns'
//! types: keys, TTL, defaults, codecs, comments, settings, indexes and the rest.
//!
//! ClickHouse itself converts the schema's definition into the form in which it shows that of the
//! existing table: the definition becomes a temporary table of one session, which holds no rows and
//! that no other session sees. The sync then compares both texts part by part.
//!
//! Inserts work in spite of such differences, so a start ignores them. `rowmill plan` prints them,
//! and `rowmill apply` changes what the operator allows.

mod columns_of;
mod compare;
mod definitions;

use std::fmt;

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use self::compare::Drifts;
pub(super) use self::definitions::{Uncomparable, definitions};
use super::{
    Kind, STATEMENT_TIMEOUT, SyncError, adapt_to_database, altered,
    columns::{self, existing_columns},
    copy_table::{copy_name, is_closed},
    evolved, narrow, of_database,
    qualify::qualified_statement,
    server::check_server,
};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    table::{Schema, dictionary::without_passwords},
};

/// The effect of a change on the table's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// The change affects the definition and new rows alone.
    Safe,
    /// ClickHouse reads and writes existing rows, or deletes rows by a TTL.
    Rewrite,
    /// The change replaces values of existing rows by other ones.
    Lossy,
    /// The change removes something that only the database has.
    Drop,
    /// ClickHouse cannot change an existing table in this way.
    Impossible,
}

impl Impact {
    /// Returns the impact in a word.
    ///
    /// ```
    /// use rowmill_ingest::schema::Impact;
    ///
    /// assert_eq!(Impact::Safe.name(), "safe");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Rewrite => "rewrite",
            Self::Lossy => "lossy",
            Self::Drop => "drop",
            Self::Impossible => "impossible in place",
        }
    }
}

/// A difference between an existing table and the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The table's name.
    pub table: &'static str,
    /// The difference as a clause, for example "column `a` has no comment in the database and 'x'
    /// in the schema".
    pub difference: String,
    /// The effect of the statements on the data.
    pub impact: Impact,
    /// The statements that change the table to match the schema, in their order; empty if it is
    /// impossible.
    pub statements: Vec<String>,
    /// The statements that record the change for collectors of earlier builds, which would reverse
    /// it. [`apply_drift`] runs them first.
    pub records: Vec<String>,
    /// Whether [`apply_drift`] lets the table accept no inserts while the statements run. Collectors
    /// keep their rows meanwhile.
    pub closes_table: bool,
    /// Whether a start of the collector fails because of the difference.
    pub stops_start: bool,
    /// The rows of the table, if ClickHouse counts them.
    pub rows: Option<u64>,
    /// The bytes of the table on disk, if ClickHouse counts them.
    pub bytes: Option<u64>,
}

/// Displays the difference and the impact on one line.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.impact.name(), quoted(self.table), self.difference)?;
        match (self.impact, self.rows, self.bytes) {
            (Impact::Safe, ..) | (_, None, _) | (_, _, None) => Ok(()),
            (_, Some(rows), Some(bytes)) => write!(f, " (the table has {rows} rows, {bytes} bytes)"),
        }
    }
}

/// The differences of all existing tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftReport {
    /// The differences, in the order of the schema's tables.
    pub drifts: Vec<Drift>,
    /// The reasons why tables could not be compared, as sentences.
    pub warnings: Vec<String>,
    /// The parts that only the database has and nothing changes, as sentences.
    pub notes: Vec<String>,
}

/// A statement that ClickHouse has refused.
#[derive(Debug)]
pub struct Refused {
    /// The table's name.
    pub table: &'static str,
    /// The statement.
    pub statement: String,
    /// ClickHouse's error.
    pub error: ClickHouseError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ClickHouse refuses a statement for {}: {}: {}",
            quoted(self.table),
            without_passwords(&self.statement),
            self.error
        )
    }
}

/// Compares the schema's tables with those that exist in the database. Changes nothing.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn drift(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, SyncError> {
    let report = async {
        check_server(url).await?;
        let columns = existing_columns(
            &url.server_client(),
            url.database(),
            &schema.all_tables().collect::<Vec<_>>(),
        )
        .await?;
        compare_tables(url, schema, &columns).await
    };
    report.await.map_err(|kind: Kind| kind.at(url))
}

/// Runs the statements of the differences that `is_allowed`. Returns the statements that ClickHouse
/// has refused. The later statements of the same difference do not run; those of all others do.
///
/// # Errors
/// ClickHouse is unreachable.
pub async fn apply_drift(
    url: &ClickHouseUrl,
    report: &DriftReport,
    is_allowed: impl Fn(&Drift) -> bool,
) -> Result<Vec<Refused>, SyncError> {
    let client = url.client();
    let mut refused = Vec::new();
    for drift in report.drifts.iter().filter(|drift| is_allowed(drift)) {
        let change = async || run_all(&client, drift).await;
        let outcome = if drift.closes_table {
            narrow::run_closed(&client, drift.table, change).await
        } else {
            change().await
        };
        refused.extend(outcome.map_err(|kind| kind.at(url))?);
    }
    Ok(refused)
}

/// Runs the statements of a difference until ClickHouse refuses one, which it returns.
async fn run_all(client: &Client, drift: &Drift) -> Result<Option<Refused>, Kind> {
    for statement in drift.records.iter().chain(&drift.statements) {
        match super::run(client, statement).await {
            Ok(()) => {}
            Err(Kind::Server { error, .. }) if !error.is_transient() => {
                return Ok(Some(Refused {
                    table: drift.table,
                    statement: statement.clone(),
                    error,
                }));
            }
            Err(kind) => return Err(kind),
        }
    }
    Ok(None)
}

/// An existing table.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    engine_full: String,
    total_rows: Option<u64>,
    total_bytes: Option<u64>,
}

/// Compares the schema's tables with the existing ones, whose columns are `columns`.
pub(super) async fn compare_tables(
    url: &ClickHouseUrl,
    schema: &Schema,
    columns: &[columns::Existing],
) -> Result<DriftReport, Kind> {
    let server = url.server_client();
    let names = schema.all_tables().map(|table| table.name.to_owned());
    let names: Vec<_> = names
        .chain(schema.all_tables().map(|table| copy_name(table.name)))
        .collect();
    let query = server
        .query("SELECT ?fields FROM system.tables WHERE database = ? AND name IN ?")
        .bind(url.database())
        .bind(names);
    let existing: Vec<Existing> = within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the sizes of its tables", error))?;
    // A temporary table lives as long as its session.
    let session = server.with_setting("session_id", format!("rowmill-{}", Uuid::now_v7()));

    let history = evolved::history(url).await?;
    let mut report = DriftReport::default();
    for table in schema.all_tables() {
        let named = |name: &str| existing.iter().find(|existing| existing.name == name);
        let Some(found) = named(table.name) else {
            continue;
        };
        let mut drifts = Drifts {
            table,
            altered: altered(table).into_owned(),
            database: url.database().to_owned(),
            found: Vec::new(),
            later_names: Vec::new(),
        };
        let client = url.client();
        drifts
            .compare_columns(&client, columns, &history, &mut report.notes)
            .await?;
        match definitions(&session, url.database(), table.name, table).await {
            Ok((wanted, found)) => drifts.compare(&wanted, &found),
            Err(Uncomparable::Server(error)) if error.is_transient() => {
                return Err(Kind::of("comparing the definitions of its tables", error));
            }
            Err(why) => report.warnings.push(format!(
                "the definition of {} cannot be compared with the schema: {why}",
                quoted(table.name)
            )),
        }
        let sized = |found: &Existing, drift: Drift| Drift {
            rows: found.total_rows,
            bytes: found.total_bytes,
            ..drift
        };
        let kept = named(&copy_name(table.name)).filter(|copy| is_closed(&copy.engine_full));
        if kept.is_some() && is_closed(&found.engine_full) {
            let clause = "a copy of it has not ended, and it accepts no inserts".to_owned();
            drifts.push(Impact::Impossible, clause, []);
        }
        let kept = kept.filter(|_| !is_closed(&found.engine_full)).and_then(|kept| {
            let name = quoted(&kept.name);
            let clause = format!("{name}, the table before its copy, is in the database and not in the schema");
            drifts.push(Impact::Drop, clause, [format!("DROP TABLE {name} SYNC")]);
            drifts.found.pop().map(|drift| sized(kept, drift))
        });
        report
            .drifts
            .extend(drifts.found.into_iter().map(|drift| sized(found, drift)));
        report.drifts.extend(kept);
    }
    let mut statements: Vec<_> = report
        .drifts
        .iter_mut()
        .flat_map(|drift| &mut drift.statements)
        .collect();
    for statement in &mut statements {
        **statement = qualified_statement(statement, url.database());
    }
    adapt_to_database(url, statements).await.map_err(of_database)?;
    Ok(report)
}
