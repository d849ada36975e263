//! Finds where the definition of an existing table differs from the schema beyond its columns'
//! types: keys, TTL, defaults, codecs, comments, settings, indexes and the rest.
//!
//! ClickHouse itself converts the schema's definition into the form in which it shows that of the
//! existing table: the definition becomes a temporary table of one session, which holds no rows and
//! that no other session sees. The sync then compares both texts part by part.
//!
//! Inserts work in spite of such differences, so a start ignores them. `rowmill plan` prints them,
//! and `rowmill apply` changes what the operator allows.

use std::{collections::BTreeMap, fmt};

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Kind, STATEMENT_TIMEOUT, SyncError, altered,
    columns::{existing_columns, missing},
    definition::{ColumnDefinition, Definition, unreplicated},
};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    table::{Schema, Table},
};

/// The name of the temporary table.
const WANTED: &str = "rowmill_wanted";

/// Settings that ClickHouse fixes when it creates a table.
const FIXED_SETTINGS: [&str; 4] = [
    "index_granularity",
    "enable_mixed_granularity_parts",
    "storage_policy",
    "disk",
];

/// The effect of a change on the table's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// The change affects the definition and new rows alone.
    Safe,
    /// ClickHouse reads and writes existing rows, or deletes rows by a TTL.
    Rewrite,
    /// The change removes something that only the database has.
    Drop,
    /// ClickHouse cannot change an existing table in this way.
    Impossible,
}

impl Impact {
    /// Returns the impact in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Rewrite => "rewrite",
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
    /// What only the database has and nothing changes, as sentences.
    pub notes: Vec<String>,
}

/// Compares the schema's tables with those that exist in the database. Changes nothing.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn drift(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, SyncError> {
    compare_tables(url, schema).await.map_err(|kind| kind.at(url))
}

/// Runs the statements of the differences whose impact `is_allowed`.
///
/// # Errors
/// ClickHouse is unreachable, or refuses a statement.
pub async fn apply_drift(
    url: &ClickHouseUrl,
    report: &DriftReport,
    is_allowed: impl Fn(Impact) -> bool,
) -> Result<(), SyncError> {
    let client = url.client();
    for drift in report.drifts.iter().filter(|drift| is_allowed(drift.impact)) {
        for statement in &drift.statements {
            super::run(&client, statement).await.map_err(|kind| kind.at(url))?;
        }
    }
    Ok(())
}

/// An existing table.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    total_rows: Option<u64>,
    total_bytes: Option<u64>,
}

async fn compare_tables(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, Kind> {
    let server = url.server_client();
    let names: Vec<_> = schema.all_tables().map(|table| table.name).collect();
    let query = server
        .query("SELECT ?fields FROM system.tables WHERE database = ? AND name IN ?")
        .bind(url.database())
        .bind(names);
    let existing: Vec<Existing> = within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the sizes of its tables", error))?;
    let tables: Vec<_> = schema.all_tables().collect();
    let columns = existing_columns(&server, url.database(), &tables).await?;
    // A temporary table lives as long as its session.
    let session = server.with_setting("session_id", format!("rowmill-{}", Uuid::now_v7()));

    let mut report = DriftReport::default();
    for table in tables {
        let Some(found) = existing.iter().find(|existing| existing.name == table.name) else {
            continue;
        };
        let mut drifts = Drifts {
            table,
            altered: altered(table).into_owned(),
            database: url.database().to_owned(),
            found: Vec::new(),
        };
        for difference in missing(&[table], &columns).err().into_iter().flatten() {
            let clause = format!(
                "column {} is {} in the database and {} in the schema",
                quoted(difference.column),
                difference.found,
                difference.wanted
            );
            let impact = if is_metadata(&difference.found, &difference.wanted) {
                Impact::Safe
            } else {
                Impact::Rewrite
            };
            drifts.push(impact, clause, [difference.statement]);
        }
        match definitions(&session, url.database(), table).await {
            Ok((wanted, found)) => drifts.compare(&wanted, &found),
            Err(Uncomparable::Server(error)) if error.is_transient() => {
                return Err(Kind::of("comparing the definitions of its tables", error));
            }
            Err(why) => report.warnings.push(format!(
                "the definition of {} cannot be compared with the schema: {why}",
                quoted(table.name)
            )),
        }
        let sized = drifts.found.into_iter().map(|drift| Drift {
            rows: found.total_rows,
            bytes: found.total_bytes,
            ..drift
        });
        report.drifts.extend(sized);
    }
    Ok(report)
}

/// The reason why two definitions cannot be compared.
enum Uncomparable {
    Server(ClickHouseError),
    /// The text of a definition has another form than that of a table.
    Text,
}

impl fmt::Display for Uncomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Text => f.write_str("ClickHouse shows it in another form than that of a table"),
        }
    }
}

impl From<ClickHouseError> for Uncomparable {
    fn from(error: ClickHouseError) -> Self {
        Self::Server(error)
    }
}

/// Returns the schema's definition of a table and the existing one, both as ClickHouse shows them.
async fn definitions(
    session: &Client,
    database: &str,
    table: &Table,
) -> Result<(Definition, Definition), Uncomparable> {
    let show = format!("SHOW CREATE TABLE {}.{}", quoted(database), quoted(table.name));
    let found = fetch(session, &show).await?;
    let create = temporary(table.create).ok_or(Uncomparable::Text)?;
    within(STATEMENT_TIMEOUT, session.query_raw(&create).execute()).await?;
    let wanted = fetch(session, &format!("SHOW CREATE TEMPORARY TABLE {WANTED}")).await;
    let drop = format!("DROP TEMPORARY TABLE IF EXISTS {WANTED}");
    within(STATEMENT_TIMEOUT, session.query_raw(&drop).execute()).await?;
    let wanted = Definition::parse(&wanted?).ok_or(Uncomparable::Text)?;
    let found = Definition::parse(&found).ok_or(Uncomparable::Text)?;
    Ok((wanted, found))
}

async fn fetch(session: &Client, statement: &str) -> Result<String, ClickHouseError> {
    within(STATEMENT_TIMEOUT, session.query_raw(statement).fetch_one()).await
}

/// Returns the statement that creates the table as a temporary one, without replicas.
fn temporary(create: &str) -> Option<String> {
    let (_, body) = create.split_once("\n(")?;
    let (columns, rest) = body.split_once("\nENGINE = ")?;
    let (engine, clauses) = rest.split_once('\n').unwrap_or((rest, ""));
    Some(format!(
        "CREATE TEMPORARY TABLE {WANTED}\n({columns}\nENGINE = {}\n{clauses}",
        unreplicated(engine)
    ))
}

/// Returns whether ClickHouse changes one type into another without touching data: an Enum with
/// more values, or a time with another zone.
fn is_metadata(found: &str, wanted: &str) -> bool {
    let inner = |data_type: &str, family: &str| -> Option<String> {
        let text = data_type.strip_prefix(family)?.strip_prefix('(')?.strip_suffix(')')?;
        Some(format!("{text}, "))
    };
    if ["Enum8", "Enum16"].iter().any(|family| {
        inner(found, family)
            .zip(inner(wanted, family))
            .is_some_and(|(found, wanted)| found.split_inclusive(", ").all(|value| wanted.contains(value)))
    }) {
        return true;
    }
    let is_zoned = |data_type: &str| data_type == "DateTime" || data_type.starts_with("DateTime('");
    is_zoned(found) && is_zoned(wanted)
}

/// Returns whether two engines are the same. In an existing table, ClickHouse quotes names among
/// the arguments, and writes the connection's database in place of an empty one.
fn is_same_engine(found: &str, wanted: &str, database: &str) -> bool {
    let parts = |engine: &str| -> Vec<String> {
        let (family, arguments) = engine.split_once('(').unwrap_or((engine, ""));
        let arguments = arguments.strip_suffix(')').unwrap_or(arguments).split(',');
        let plain = arguments.map(|argument| match argument.trim().trim_matches(['\'', '`']) {
            "" => database.to_owned(),
            argument => argument.to_owned(),
        });
        [family.trim().to_owned()].into_iter().chain(plain).collect()
    };
    found == wanted || parts(found) == parts(wanted)
}

/// Collects the differences of one table.
struct Drifts {
    table: &'static Table,
    /// The text after `ALTER TABLE`.
    altered: String,
    database: String,
    found: Vec<Drift>,
}

impl Drifts {
    fn push<const N: usize>(&mut self, impact: Impact, difference: String, statements: [String; N]) {
        self.found.push(Drift {
            table: self.table.name,
            difference,
            impact,
            statements: statements.into(),
            rows: None,
            bytes: None,
        });
    }

    /// Adds a difference of one part, which both sides write as `wanted` and `found`; an empty text
    /// is an absent part. `change` follows `ALTER TABLE …`.
    fn push_part(&mut self, impact: Impact, part: &str, found: &str, wanted: &str, change: &str) {
        let described = |text: &str| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                text.to_owned()
            }
        };
        let difference = format!(
            "{part} is {} in the database and {} in the schema",
            described(found),
            described(wanted)
        );
        let statement = format!("ALTER TABLE {} {change}", self.altered);
        if impact == Impact::Impossible {
            self.push(impact, difference, []);
        } else {
            self.push(impact, difference, [statement]);
        }
    }

    fn compare(&mut self, wanted: &Definition, found: &Definition) {
        self.columns(wanted, found);
        self.elements(&wanted.elements, &found.elements);
        self.clauses(wanted, found);
    }

    fn columns(&mut self, wanted: &Definition, found: &Definition) {
        for wanted in &wanted.columns {
            // The sync adds a missing column.
            if let Some(found) = found.columns.iter().find(|found| found.name == wanted.name) {
                self.column(wanted, found);
            }
        }
        let is_known = |name: &str| {
            let columns = self.table.columns;
            columns
                .iter()
                .any(|column| column.name == name || column.was.contains(&name))
        };
        let extra: Vec<_> = found.columns.iter().filter(|column| !is_known(&column.name)).collect();
        for column in extra {
            let name = quoted(&column.name);
            self.push_part(
                Impact::Drop,
                &format!("column {name}"),
                &column.data_type,
                "",
                &format!("DROP COLUMN {name}"),
            );
        }
    }

    fn column(&mut self, wanted: &ColumnDefinition, found: &ColumnDefinition) {
        let name = quoted(&wanted.name);
        let kind = |source: &str| source.split(' ').next().unwrap_or_default().to_owned();
        let (is_default, is_same_kind) = (
            kind(&found.source) == "DEFAULT" && wanted.source.is_empty(),
            kind(&found.source) == kind(&wanted.source),
        );
        // A source of another kind is a difference that stops a start.
        if wanted.source != found.source
            && (is_same_kind || is_default || (found.source.is_empty() && kind(&wanted.source) == "DEFAULT"))
        {
            let change = if is_default {
                format!("MODIFY COLUMN {name} REMOVE DEFAULT")
            } else {
                format!("MODIFY COLUMN {name} {}", wanted.source)
            };
            let part = format!("the source of column {name}");
            self.push_part(Impact::Safe, &part, &found.source, &wanted.source, &change);
        }
        if wanted.comment != found.comment {
            let comment = if wanted.comment.is_empty() {
                "''"
            } else {
                &wanted.comment
            };
            let part = format!("the comment of column {name}");
            let change = format!("COMMENT COLUMN {name} {comment}");
            self.push_part(Impact::Safe, &part, &found.comment, &wanted.comment, &change);
        }
        if wanted.codec != found.codec {
            let change = match &*wanted.codec {
                "" => format!("MODIFY COLUMN {name} REMOVE CODEC"),
                codec => format!("MODIFY COLUMN {name} CODEC({codec})"),
            };
            let part = format!("the codec of column {name}");
            self.push_part(Impact::Safe, &part, &found.codec, &wanted.codec, &change);
        }
        if wanted.ttl != found.ttl {
            let (impact, change) = match &*wanted.ttl {
                "" => (Impact::Drop, format!("MODIFY COLUMN {name} REMOVE TTL")),
                ttl => (Impact::Rewrite, format!("MODIFY COLUMN {name} TTL {ttl}")),
            };
            self.push_part(
                impact,
                &format!("the TTL of column {name}"),
                &found.ttl,
                &wanted.ttl,
                &change,
            );
        }
    }

    fn elements(&mut self, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
        for (element, text) in wanted {
            let Some((kind, name)) = element.split_once(' ') else {
                continue;
            };
            let name = quoted(name);
            let add = format!("ADD {kind} {name} {text}");
            match found.get(element) {
                None => self.push_part(Impact::Safe, &format!("{kind} {name}"), "", text, &add),
                Some(existing) if existing != text => {
                    let difference = format!("{kind} {name} is {existing} in the database and {text} in the schema");
                    let drop = format!("ALTER TABLE {} DROP {kind} {name}", self.altered);
                    let add = format!("ALTER TABLE {} {add}", self.altered);
                    self.push(Impact::Rewrite, difference, [drop, add]);
                }
                Some(_) => {}
            }
        }
        for (element, text) in found.iter().filter(|(element, _)| !wanted.contains_key(*element)) {
            if let Some((kind, name)) = element.split_once(' ') {
                let name = quoted(name);
                let change = format!("DROP {kind} {name}");
                self.push_part(Impact::Drop, &format!("{kind} {name}"), text, "", &change);
            }
        }
    }

    fn clauses(&mut self, wanted: &Definition, found: &Definition) {
        let engines = (found.engine(), wanted.engine());
        if !is_same_engine(&engines.0, &engines.1, &self.database) {
            self.push_part(Impact::Impossible, "the engine", &engines.0, &engines.1, "");
        }
        for keyword in ["PARTITION BY", "PRIMARY KEY", "ORDER BY", "SAMPLE BY", "TTL", "COMMENT"] {
            // Without PRIMARY KEY, the sorting key is the primary key.
            let is_left_out =
                |definition: &Definition| keyword == "PRIMARY KEY" && definition.clause(keyword).is_empty();
            let key_of = |definition| if is_left_out(definition) { "ORDER BY" } else { keyword };
            let (found, wanted) = (found.clause(key_of(found)), wanted.clause(key_of(wanted)));
            if found == wanted {
                continue;
            }
            let (impact, change) = match keyword {
                "TTL" | "SAMPLE BY" if wanted.is_empty() => (Impact::Drop, format!("REMOVE {keyword}")),
                "TTL" => (Impact::Rewrite, format!("MODIFY TTL {wanted}")),
                "SAMPLE BY" => (Impact::Safe, format!("MODIFY SAMPLE BY {wanted}")),
                "COMMENT" if wanted.is_empty() => (Impact::Safe, "MODIFY COMMENT ''".to_owned()),
                "COMMENT" => (Impact::Safe, format!("MODIFY COMMENT {wanted}")),
                _ => (Impact::Impossible, String::new()),
            };
            self.push_part(impact, keyword, found, wanted, &change);
        }
        let existing = found.settings();
        for (name, value) in wanted.settings() {
            let found = existing.get(name).copied().unwrap_or_default();
            // The sync sets the deduplication window, and keeps a longer one.
            if found == value || name.contains("deduplication_window") {
                continue;
            }
            let impact = if FIXED_SETTINGS.contains(&name) {
                Impact::Impossible
            } else {
                Impact::Safe
            };
            let part = format!("the setting {name}");
            self.push_part(impact, &part, found, value, &format!("MODIFY SETTING {name} = {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_temporary_table_has_no_replicas_and_no_cluster() {
        let create = "CREATE TABLE IF NOT EXISTS `t` ON CLUSTER `c`\n(\n    `a` UInt8\n)\n\
                      ENGINE = ReplicatedMergeTree('/p', '{replica}')\nORDER BY a";
        assert_eq!(
            temporary(create).unwrap(),
            "CREATE TEMPORARY TABLE rowmill_wanted\n(\n    `a` UInt8\n)\nENGINE = MergeTree\nORDER BY a"
        );
        let memory = "CREATE TABLE IF NOT EXISTS `t`\n(\n    `a` UInt8\n)\nENGINE = Memory";
        assert!(temporary(memory).unwrap().ends_with("\n)\nENGINE = Memory\n"));
    }

    #[test]
    fn a_change_of_metadata_is_recognized() {
        for (found, wanted, expected) in [
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)", true),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('b' = 2, 'a' = 1, 'c' = 3)", true),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)", false),
            ("Enum8('a' = 1)", "Enum8('a' = 2)", false),
            ("Enum8('a' = 1)", "Enum16('a' = 1)", false),
            ("DateTime", "DateTime('Europe/Berlin')", true),
            ("DateTime", "DateTime64(3)", false),
            ("UInt8", "UInt16", false),
        ] {
            assert_eq!(is_metadata(found, wanted), expected, "{found} {wanted}");
        }
    }

    #[test]
    fn an_engine_is_the_same_with_its_names_quoted() {
        for (found, wanted, expected) in [
            ("Buffer('d', 't', 1)", "Buffer('', t, 1)", true),
            ("Buffer('e', 't', 1)", "Buffer('', t, 1)", false),
            ("MergeTree", "MergeTree", true),
            ("SummingMergeTree", "SummingMergeTree(a)", false),
        ] {
            assert_eq!(is_same_engine(found, wanted, "d"), expected, "{found} {wanted}");
        }
    }
}
