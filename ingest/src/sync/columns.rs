//! Finds the tables and columns that a database lacks, and the columns that differ from the schema.
//!
//! A collector of an earlier build must not reverse what a later one has changed. So the sync
//! accepts a column with more values than the schema's type has, and does not miss a column that
//! the history of the table's columns has as renamed or dropped.

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{Kind, STATEMENT_TIMEOUT, altered};
use crate::{
    store::{quoted, within},
    table::{Column, ColumnKind, Table, column_history::ColumnHistory, conversion::is_wider},
};

/// A column in the database.
#[derive(Debug, Row, Deserialize)]
pub(super) struct Existing {
    table: String,
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    default_kind: String,
    pub(super) default_expression: String,
}

impl Existing {
    /// Returns whether this is the column `name` of `table`.
    pub(super) fn is(&self, table: &str, name: &str) -> bool {
        self.table == table && self.name == name
    }

    /// Returns the type as ClickHouse shows it.
    pub(super) fn data_type(&self) -> &str {
        &self.data_type
    }
}

/// A column that is in both the database and the schema, but differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// The schema's type, and the source of the values if that differs.
    pub wanted: String,
    /// The database's type, and the source of the values if that differs.
    pub found: String,
    /// The statement that would change the database to match the schema. It may rewrite data, and
    /// it may fail on data that does not fit.
    pub statement: String,
}

/// The reason why the sync accepts a column that is not as in the schema.
#[derive(Debug, Clone)]
pub(super) enum Accepted {
    /// The table's type has more values.
    Wider(Difference),
    /// A later schema has given the column a type with fewer values.
    Narrowed(Difference),
    /// A later schema has renamed the column.
    Renamed { column: &'static str, new_name: String },
    /// The column was dropped.
    Dropped { column: &'static Column },
}

/// Returns the columns of an existing table that are not as in the schema and that the sync
/// accepts.
pub(super) fn accepted(table: &'static Table, existing: &[Existing], history: &ColumnHistory) -> Vec<Accepted> {
    let existing: Vec<_> = existing.iter().filter(|column| column.table == table.name).collect();
    if existing.is_empty() {
        return Vec::new();
    }
    let accepted =
        table
            .columns
            .iter()
            .filter_map(|column| match existing.iter().find(|found| found.name == column.name) {
                Some(found) => accepted_type(table, column, found, history),
                None if renamed(table, column, &existing).is_some() => None,
                None => accepted_absence(table, column, &existing, history),
            });
    accepted.collect()
}

fn accepted_type(
    table: &'static Table,
    column: &'static Column,
    found: &Existing,
    history: &ColumnHistory,
) -> Option<Accepted> {
    let is_ordinary = source_of(column.kind).is_empty() && matches!(&*found.default_kind, "" | "DEFAULT");
    // Rows of another shape than the table's can only be sent as columns.
    let inserted = table.columns.iter().filter(|column| column.kind.is_inserted());
    if !is_ordinary || inserted.into_iter().any(|column| column.shape.is_none()) {
        return None;
    }
    let difference = difference(table, column, found)?;
    if is_wider(column.data_type, &found.data_type) {
        Some(Accepted::Wider(difference))
    } else if history.is_narrowed(table.name, column.name, &found.data_type) {
        Some(Accepted::Narrowed(difference))
    } else {
        None
    }
}

fn accepted_absence(
    table: &'static Table,
    column: &'static Column,
    existing: &[&Existing],
    history: &ColumnHistory,
) -> Option<Accepted> {
    let is_ours = |name: &str| table.columns.iter().any(|column| column.name == name);
    let exists = |name: &str| !is_ours(name) && existing.iter().any(|found| found.name == name);
    if let Some(new_name) = history.later_name(table.name, column.name, exists) {
        let (column, new_name) = (column.name, new_name.to_owned());
        return Some(Accepted::Renamed { column, new_name });
    }
    let is_dropped = history.is_dropped(table.name, column.name);
    is_dropped.then_some(Accepted::Dropped { column })
}

/// Compares tables with the existing columns, which may be in any order. Returns the statements
/// that create the missing tables and columns.
pub(super) fn missing(
    tables: &[&'static Table],
    existing: &[Existing],
    history: &ColumnHistory,
) -> Result<Vec<String>, Vec<Difference>> {
    let mut statements = Vec::new();
    let mut differences = Vec::new();
    for table in tables {
        let existing: Vec<_> = existing.iter().filter(|column| column.table == table.name).collect();
        if existing.is_empty() {
            statements.push(table.create.to_owned());
            continue;
        }
        let mut position = "FIRST".to_owned();
        for column in table.columns {
            match existing.iter().find(|found| found.name == column.name) {
                Some(found) if accepted_type(table, column, found, history).is_some() => {}
                Some(found) => differences.extend(difference(table, column, found)),
                None => match renamed(table, column, &existing) {
                    Some(difference) => differences.push(difference),
                    None => match accepted_absence(table, column, &existing, history) {
                        Some(Accepted::Renamed { new_name, .. }) => {
                            position = format!("AFTER {}", quoted(&new_name));
                            continue;
                        }
                        Some(_) => continue,
                        None => statements.push(add_column(table, column, &position)),
                    },
                },
            }
            position = format!("AFTER {}", quoted(column.name));
        }
    }
    if differences.is_empty() {
        Ok(statements)
    } else {
        Err(differences)
    }
}

/// Returns the statement that adds a column, where `position` is `FIRST` or `AFTER …`, or empty for
/// the last place.
pub(super) fn add_column(table: &Table, column: &Column, position: &str) -> String {
    let statement = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {position}",
        altered(table),
        column.declaration
    );
    statement.trim_end().to_owned()
}

/// Returns a difference if the table still has the column under an earlier name. Collectors of the
/// earlier build write it and queries read it under that name, so only the operator can decide when
/// to rename it.
fn renamed(table: &'static Table, column: &'static Column, existing: &[&Existing]) -> Option<Difference> {
    let old = column
        .was
        .iter()
        .find(|old| existing.iter().any(|found| found.name == **old))?;
    let (old, new) = (quoted(old), quoted(column.name));
    Some(Difference {
        table: table.name,
        column: column.name,
        wanted: new.clone(),
        found: old.clone(),
        statement: format!("ALTER TABLE {} RENAME COLUMN {old} TO {new}", altered(table)),
    })
}

fn difference(table: &'static Table, column: &'static Column, found: &Existing) -> Option<Difference> {
    let wanted_source = source_of(column.kind);
    // An ordinary column may have gained or lost its DEFAULT: inserts work either way, and rows
    // contain the value.
    let found_source = match found.default_kind.as_str() {
        "DEFAULT" => "",
        kind => kind,
    };
    // The schema does not know the type of an ALIAS without one.
    let is_same_type = column.data_type == found.data_type || column.data_type.is_empty();
    if is_same_type && wanted_source == found_source {
        return None;
    }
    let described = |data_type: &str, source: &str| match source {
        _ if wanted_source == found_source => data_type.to_owned(),
        "" => format!("{data_type}, stored as inserted,"),
        source => format!("{data_type} {source}"),
    };
    // MODIFY COLUMN with a declaration that names no source keeps the existing source.
    let change = match (wanted_source, found_source) {
        ("", "MATERIALIZED" | "ALIAS") if column.data_type == found.data_type => {
            format!("{} REMOVE {found_source}", quoted(column.name))
        }
        // REMOVE EPHEMERAL does not exist; a DEFAULT replaces the source.
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
        statement: format!("ALTER TABLE {} MODIFY COLUMN {change}", altered(table)),
    })
}

/// Returns the source of a column's values, as in `system.columns.default_kind`. A DEFAULT does not
/// affect inserts.
fn source_of(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Plain | ColumnKind::Default => "",
        ColumnKind::Ephemeral => "EPHEMERAL",
        ColumnKind::Materialized => "MATERIALIZED",
        ColumnKind::Alias => "ALIAS",
    }
}

pub(super) async fn existing_columns(
    client: &Client,
    database: &str,
    tables: &[&Table],
) -> Result<Vec<Existing>, Kind> {
    let names: Vec<_> = tables.iter().map(|table| table.name).collect();
    let query = client
        .query("SELECT ?fields FROM system.columns WHERE database = ? AND table IN ? ORDER BY table, position")
        .bind(database)
        .bind(names);
    within(STATEMENT_TIMEOUT, query.fetch_all())
        .await
        .map_err(|error| Kind::of("reading the columns of its tables", error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::table::{Format, Shape, column_history::ColumnChange, dead_letter::REJECTED};

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
        row_id: None,
        partition_key: None,
    };

    fn existing(columns: &[(&str, &str, &str)]) -> Vec<Existing> {
        let column = |&(name, data_type, default_kind): &(&str, &str, &str)| Existing {
            table: "t".to_owned(),
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            default_kind: default_kind.to_owned(),
            default_expression: String::new(),
        };
        columns.iter().map(column).collect()
    }

    fn compare(tables: &[&'static Table], existing: &[Existing]) -> Result<Vec<String>, Vec<Difference>> {
        missing(tables, existing, &ColumnHistory::default())
    }

    #[test]
    fn a_missing_table_is_created() {
        assert_eq!(compare(&[&TABLE], &[]).unwrap(), [TABLE.create]);
    }

    #[test]
    fn missing_columns_are_added_in_their_positions() {
        assert_eq!(
            compare(&[&TABLE], &existing(&[("b", "String", "DEFAULT")])).unwrap(),
            [
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `a` UInt8 FIRST",
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `c` Date MATERIALIZED today() AFTER `b`",
            ]
        );
        assert_eq!(
            compare(&[&TABLE], &existing(&[("a", "UInt8", "")])).unwrap(),
            [
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `b` String DEFAULT 'x' AFTER `a`",
                "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `c` Date MATERIALIZED today() AFTER `b`",
            ]
        );
    }

    #[test]
    fn a_column_under_an_earlier_name_is_left_to_the_operator() {
        static RENAMED: Table = Table {
            columns: &[
                column("a", "UInt8", "`a` UInt8", ColumnKind::Plain),
                column("b", "String", "`b` String", ColumnKind::Plain).was(&["y", "z"]),
            ],
            ..TABLE
        };
        let differences = compare(&[&RENAMED], &existing(&[("z", "String", "")])).unwrap_err();
        let [difference] = &differences[..] else {
            panic!("{differences:?}")
        };
        assert_eq!(
            difference.to_string(),
            "`t`.`b` is `z` in the database and `b` in the schema; change the schema, or run: \
             ALTER TABLE `t` RENAME COLUMN `z` TO `b`"
        );
        // A table that has the new column, or neither column, gets no special treatment.
        let both = existing(&[("a", "UInt8", ""), ("b", "String", ""), ("z", "String", "")]);
        assert_eq!(compare(&[&RENAMED], &both).unwrap(), [""; 0]);
        assert_eq!(
            compare(&[&RENAMED], &existing(&[("a", "UInt8", "")])).unwrap(),
            ["ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `b` String AFTER `a`"]
        );
    }

    #[test]
    fn a_table_of_a_cluster_is_altered_on_its_cluster() {
        static CLUSTERED: Table = Table {
            create: "CREATE TABLE IF NOT EXISTS `t` ON CLUSTER `c`\n(\n    `a` UInt8,\n…",
            ..TABLE
        };
        assert_eq!(
            compare(&[&CLUSTERED], &existing(&[("a", "UInt8", ""), ("b", "String", "")])).unwrap(),
            ["ALTER TABLE `t` ON CLUSTER `c` ADD COLUMN IF NOT EXISTS `c` Date MATERIALIZED today() AFTER `b`"]
        );
        let differences = compare(&[&CLUSTERED], &existing(&[("a", "UInt16", "")])).unwrap_err();
        assert_eq!(
            differences[0].statement,
            "ALTER TABLE `t` ON CLUSTER `c` MODIFY COLUMN `a` UInt8"
        );
    }

    #[test]
    fn column_order_extra_columns_and_lost_defaults_are_ignored() {
        let columns = [
            ("z", "IPv6", ""),
            ("c", "Date", "MATERIALIZED"),
            ("b", "String", ""),
            ("a", "UInt8", "DEFAULT"),
        ];
        assert_eq!(compare(&[&TABLE], &existing(&columns)).unwrap(), [""; 0]);
    }

    #[test]
    fn all_differences_are_reported_at_once_without_statements() {
        let columns = [("a", "UInt16", ""), ("b", "String", "MATERIALIZED"), ("c", "Date", "")];
        let differences = compare(&[&TABLE, &REJECTED], &existing(&columns)).unwrap_err();
        assert_eq!(
            Kind::Differs {
                differences,
                done: Vec::new()
            }
            .to_string(),
            "the database differs from the schema, and nothing has been changed:\
             \n  `t`.`a` is UInt16 in the database and UInt8 in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `a` UInt8\
             \n  `t`.`b` is String MATERIALIZED in the database and String, stored as inserted, in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `b` REMOVE MATERIALIZED\
             \n  `t`.`c` is Date, stored as inserted, in the database and Date MATERIALIZED in the schema; \
             change the schema, or run: ALTER TABLE `t` MODIFY COLUMN `c` Date MATERIALIZED today()"
        );
    }

    static SHAPED: Table = Table {
        columns: &[
            column("a", "UInt8", "`a` UInt8", ColumnKind::Plain).shaped(Shape::Fixed(1)),
            column("b", "String", "`b` String", ColumnKind::Plain).shaped(Shape::String),
            column("c", "UInt8", "`c` UInt8", ColumnKind::Plain).shaped(Shape::Fixed(1)),
        ],
        ..TABLE
    };

    #[test]
    fn a_column_with_more_values_is_accepted() {
        let wider = existing(&[("a", "UInt16", ""), ("b", "Nullable(String)", ""), ("c", "UInt8", "")]);
        assert_eq!(compare(&[&SHAPED], &wider).unwrap(), [""; 0]);
        let accepted = accepted(&SHAPED, &wider, &ColumnHistory::default());
        assert!(
            matches!(&accepted[..], [Accepted::Wider(a), Accepted::Wider(b)] if (a.column, b.column) == ("a", "b"))
        );
        // ClickHouse would compute the column, or the rows cannot be sent as columns.
        let computed = existing(&[("a", "UInt16", "MATERIALIZED"), ("b", "String", ""), ("c", "UInt8", "")]);
        assert_eq!(compare(&[&SHAPED], &computed).unwrap_err().len(), 1);
        let unshaped = existing(&[("a", "UInt16", ""), ("b", "String", ""), ("c", "Date", "MATERIALIZED")]);
        assert_eq!(compare(&[&TABLE], &unshaped).unwrap_err().len(), 1);
    }

    #[test]
    fn columns_that_a_later_schema_has_changed_are_left_as_they_are() {
        let later = existing(&[("z", "UInt8", ""), ("c", "Bool", "")]);
        let history = ColumnHistory::from(vec![
            ColumnChange::renamed("t", "a", "z"),
            ColumnChange::dropped("t", "b"),
            ColumnChange::narrowed("t", "c", "Bool"),
        ]);
        assert_eq!(missing(&[&SHAPED], &later, &history).unwrap(), [""; 0]);
        let accepted = accepted(&SHAPED, &later, &history);
        assert!(
            matches!(
                &accepted[..],
                [Accepted::Renamed { column: "a", new_name }, Accepted::Dropped { .. }, Accepted::Narrowed(_)] if new_name == "z"
            ),
            "{accepted:?}"
        );
        // Without a record, the columns are missing.
        assert!(compare(&[&SHAPED], &later).is_err());
        // A column that is missing beside them still gets its place.
        let without_c = existing(&[("z", "UInt8", "")]);
        assert_eq!(
            missing(&[&SHAPED], &without_c, &history).unwrap(),
            ["ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `c` UInt8 AFTER `z`"]
        );
    }
}
