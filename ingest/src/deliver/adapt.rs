//! Fits rows to the table as it is now: rows that another build has left, and rows of a running
//! collector after a change of the table.
//!
//! A block contains the names and the types of its columns. If the table's columns differ, delivery
//! sends the rows as columns with their original types, and ClickHouse converts them by type.
//! ClickHouse gets only conversions that keep each value. With any other conversion, the rows wait,
//! and the error names the remedy.
//!
//! The history of the table's columns has the new names of columns, and the columns that `rowmill
//! apply` has dropped or narrowed. Values for a dropped column are left out. For a narrowed column,
//! ClickHouse checks each value, and refuses a row whose value would change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::failure::Failure;
use crate::{
    block::layout::{ColumnarInsert, InsertTarget, TargetColumn},
    deliver::compress::Form,
    store::{quoted, within},
    table::{
        InsertSettings, Schema, Table,
        column_history::ColumnHistory,
        conversion::{checked, keeps_values, literal},
    },
};

/// The changes of a table's columns since rows were written.
///
/// ```
/// use rowmill_ingest::writer::ColumnChanges;
///
/// // The spool has rows with a column `mail`, which is `email` in the schema of today.
/// let changes = ColumnChanges {
///     renamed: [("mail".to_owned(), "email".to_owned())].into(),
///     ..ColumnChanges::default()
/// };
/// # assert!(changes.dropped.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnChanges {
    /// The new names of columns, by their old ones.
    pub renamed: HashMap<String, String>,
    /// Columns whose values are no longer stored.
    pub dropped: Vec<String>,
    /// Columns whose values ClickHouse may convert although the conversion may change them.
    pub converted: Vec<String>,
}

/// The changes of the columns of all tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    by_operator: ColumnChanges,
    /// The old and the new names of columns, for each table whose schema has a `was:`.
    declared: HashMap<&'static str, Vec<(&'static str, &'static str)>>,
    /// The settings of the inserts of each table that has some.
    insert_settings: &'static [(&'static str, InsertSettings)],
}

impl Changes {
    /// Returns the changes that the operator has given, and those that the schema declares with
    /// `was:`.
    pub(crate) fn new(by_operator: ColumnChanges, schema: &Schema) -> Self {
        let renamed = |table: &Table| -> Vec<_> {
            let columns = table.columns.iter();
            columns
                .flat_map(|column| column.was.iter().map(|old| (*old, column.name)))
                .collect()
        };
        let tables = schema.tables.iter().map(|table| (table.name, renamed(table)));
        Self {
            by_operator,
            declared: tables.filter(|(_, renamed)| !renamed.is_empty()).collect(),
            insert_settings: schema.insert_settings,
        }
    }

    /// Returns the settings of the inserts of a table.
    pub(crate) fn insert_settings(&self, table: &str) -> InsertSettings {
        let settings = self.insert_settings.iter().find(|(name, _)| *name == table);
        settings.map_or(&[], |(_, settings)| settings)
    }

    /// Returns the changes for rows of `layout`. A declared new name applies if the table has it
    /// and the rows do not. The operator's changes take precedence.
    fn of(&self, layout: &InsertTarget, existing: &[Existing]) -> ColumnChanges {
        let mut changes = self.by_operator.clone();
        for (old, new) in self.declared.get(&**layout.schema_table()).into_iter().flatten() {
            let is_written = |name: &str| layout.columns.iter().any(|column| *column.name == *name);
            let is_used = is_written(new) || changes.renamed.values().any(|name| name == new);
            if is_written(old) && !is_used && existing.iter().any(|found| found.name == *new) {
                changes
                    .renamed
                    .entry((*old).to_owned())
                    .or_insert_with(|| (*new).to_owned());
            }
        }
        changes
    }
}

/// A column in the database.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    default_kind: String,
}

/// The origin of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The running build.
    ThisBuild,
    /// Another build, whose rows wait if a conversion may change their values.
    AnotherBuild,
}

/// Returns the form in which rows of an insert target fit the table as it is now.
///
/// # Errors
/// [`Failure::Misfit`] if no form fits, or an error of ClickHouse.
pub(crate) async fn adapt(
    client: &Client,
    layout: &InsertTarget,
    changes: &Changes,
    origin: Origin,
    timeout: Duration,
) -> Result<Form, Failure> {
    // A block of the first format version does not contain its types.
    if layout.columns.is_empty() {
        return Ok(Form::Own);
    }
    let query = client
        .query("SELECT ?fields FROM system.columns WHERE database = currentDatabase() AND table = ?")
        .bind(&*layout.table);
    let existing: Vec<Existing> = within(timeout, query.fetch_all()).await.map_err(Failure::Server)?;
    // If the table does not exist, the insert will report that.
    if existing.is_empty() {
        return Ok(Form::Own);
    }
    let mut changes = changes.of(layout, &existing);
    if let Ok(form) = form(layout, &existing, &changes, |_, _| false) {
        return Ok(form);
    }
    let history = ColumnHistory::read(client, timeout).await.map_err(Failure::Server)?;
    changes.complete(layout, &existing, &history);
    let is_missing = |column: &TargetColumn| {
        let name = changes.name_of(column);
        name.is_some_and(|name| !existing.iter().any(|found| found.name == name))
    };
    if origin == Origin::ThisBuild && layout.columns.iter().any(is_missing) {
        // ClickHouse refuses the insert, and its error has the remedy: a start creates the column.
        return Ok(Form::Own);
    }
    let is_checked = |name: &str, data_type: &str| {
        origin == Origin::ThisBuild || history.is_narrowed(&layout.table, name, data_type)
    };
    form(layout, &existing, &changes, is_checked).map_err(Failure::Misfit)
}

/// Returns the form of rows. `is_checked` returns whether ClickHouse checks each value of a column
/// of the table, by its name and type, if the conversion may change it.
fn form(
    layout: &InsertTarget,
    existing: &[Existing],
    changes: &ColumnChanges,
    is_checked: impl Fn(&str, &str) -> bool,
) -> Result<Form, String> {
    let (mut is_own, mut reasons) = (true, Vec::new());
    let mut computed: HashMap<&str, String> = HashMap::new();
    for column in &layout.columns {
        let Some(name) = changes.name_of(column) else {
            is_own = false;
            continue;
        };
        let found = existing.iter().find(|found| *found.name == *name);
        let Some(found) = found.filter(|found| !matches!(&*found.default_kind, "MATERIALIZED" | "ALIAS")) else {
            reasons.push(format!(
                "rows were written with a column `{name}`, which `{}` no longer accepts: give its new name \
                 (`was: {name}` in the schema, or `rowmill spool replay --map {name}=NEW`), or drop its values \
                 (`rowmill spool replay --drop {name}`)",
                layout.table
            ));
            continue;
        };
        let is_converted = changes.converted.iter().any(|converted| **converted == *column.name);
        if found.data_type != *column.data_type && !is_converted && !keeps_values(&column.data_type, &found.data_type) {
            if is_checked(name, &found.data_type) {
                computed.insert(name, checked(name, &column.sent_type, &found.data_type));
            } else {
                reasons.push(format!(
                    "rows were written with `{}` as {}, and `{}`.`{name}` is {} now, which cannot hold every value: \
                     change the column back, let ClickHouse convert what it can (`rowmill spool replay --convert {}`), or \
                     drop its values (`rowmill spool replay --drop {}`)",
                    column.name, column.data_type, layout.table, found.data_type, column.name, column.name
                ));
            }
        }
        is_own &= found.data_type == *column.data_type && *name == *column.name;
    }
    if !reasons.is_empty() {
        return Err(reasons.join("; "));
    }
    if is_own {
        return Ok(Form::Own);
    }
    let columnar = ColumnarInsert::of(&layout.table, &layout.columns, |column| {
        changes.name_of(column).map(Into::into)
    });
    match columnar {
        Some(columnar) if computed.is_empty() => Ok(Form::Columns(Arc::new(columnar))),
        Some(columnar) => Ok(Form::Columns(Arc::new(ColumnarInsert {
            statement: computing_statement(layout, changes, &computed).into(),
            ..columnar
        }))),
        None => Err(format!(
            "rows were written for other columns than `{}` has now, and have a type that cannot be converted (JSON, Dynamic or \
             Variant): change the table back until the rows are stored",
            layout.table
        )),
    }
}

/// Returns the statement that inserts columns, of which ClickHouse computes some by their
/// expressions.
fn computing_statement(layout: &InsertTarget, changes: &ColumnChanges, computed: &HashMap<&str, String>) -> String {
    let sent = layout.columns.iter().filter_map(|column| {
        let name = changes.name_of(column)?;
        Some((name, quoted(name), &column.sent_type))
    });
    let (mut names, mut values, mut structure) = (Vec::new(), Vec::new(), Vec::new());
    for (name, quoted, sent_type) in sent {
        values.push(computed.get(name).unwrap_or(&quoted).clone());
        structure.push(format!("{quoted} {sent_type}"));
        names.push(quoted);
    }
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM input({}) FORMAT Native",
        quoted(&layout.table),
        names.join(", "),
        values.join(", "),
        literal(&structure.join(", ")),
    )
}

impl ColumnChanges {
    /// Returns a column's present name, or `None` if it is dropped.
    fn name_of<'a>(&'a self, column: &'a TargetColumn) -> Option<&'a str> {
        if self.dropped.iter().any(|dropped| **dropped == *column.name) {
            return None;
        }
        Some(self.renamed.get(&*column.name).map_or(&*column.name, String::as_str))
    }

    /// Adds the recorded changes of columns that the table lacks.
    fn complete(&mut self, layout: &InsertTarget, existing: &[Existing], history: &ColumnHistory) {
        let exists = |name: &str| existing.iter().any(|found| found.name == name);
        let table = &*layout.table;
        for column in &layout.columns {
            let Some(name) = self.name_of(column).filter(|name| !exists(name)) else {
                continue;
            };
            let is_written = |name: &str| layout.columns.iter().any(|other| *other.name == *name);
            let later = history.later_name(table, name, |later| exists(later) && !is_written(later));
            if let Some(later) = later {
                self.renamed.insert(column.name.to_string(), later.to_owned());
            } else if history.is_dropped(table, name) {
                self.dropped.push(column.name.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::table::{Column, ColumnKind, Format, column_history::ColumnChange, shape::ShapeBuf};

    fn layout() -> InsertTarget {
        let column = |name: &str, data_type: &str, shape| TargetColumn {
            name: name.into(),
            data_type: data_type.into(),
            sent_type: data_type.into(),
            shape: Some(shape),
        };
        let columns = [
            column("id", "UInt64", ShapeBuf::Fixed(8)),
            column("sum", "Decimal(18, 2)", ShapeBuf::Fixed(8)),
        ];
        InsertTarget::new("t".into(), "rows".into(), columns.into(), Some(0))
    }

    fn unchecked(_: &str, _: &str) -> bool {
        false
    }

    fn table(columns: &[(&str, &str)]) -> Vec<Existing> {
        let column = |&(name, data_type): &(&str, &str)| Existing {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            default_kind: String::new(),
        };
        columns.iter().map(column).collect()
    }

    #[test]
    fn an_unchanged_table_gets_rows_in_their_own_form() {
        let existing = table(&[("new", "String"), ("sum", "Decimal(18, 2)"), ("id", "UInt64")]);
        let form = form(&layout(), &existing, &ColumnChanges::default(), unchecked);
        assert!(matches!(form, Ok(Form::Own)), "{form:?}");
    }

    #[test]
    fn renamed_dropped_and_wider_columns_are_sent_as_columns() {
        let existing = table(&[("id", "UInt64"), ("total", "Decimal(38, 4)")]);
        let reason = form(&layout(), &existing, &ColumnChanges::default(), unchecked).unwrap_err();
        assert!(reason.contains("--map sum=NEW"), "{reason}");
        let changes = ColumnChanges {
            renamed: [("sum".to_owned(), "total".to_owned())].into(),
            ..ColumnChanges::default()
        };
        let Ok(Form::Columns(columnar)) = form(&layout(), &existing, &changes, unchecked) else {
            panic!("not converted")
        };
        assert_eq!(&*columnar.statement, "INSERT INTO `t` (`id`, `total`) FORMAT Native");
        let changes = ColumnChanges {
            dropped: vec!["sum".to_owned()],
            ..ColumnChanges::default()
        };
        let Ok(Form::Columns(columnar)) = form(&layout(), &existing, &changes, unchecked) else {
            panic!("not dropped")
        };
        assert_eq!(&*columnar.statement, "INSERT INTO `t` (`id`) FORMAT Native");
    }

    #[test]
    fn an_earlier_name_applies_if_the_table_has_the_new_one() {
        static RENAMED: Table = Table::new(
            "t",
            0,
            &[
                Column::new("id", "UInt64", "", ColumnKind::Plain),
                Column::new("total", "Decimal(18, 2)", "", ColumnKind::Plain).was(&["amount", "sum"]),
            ],
            "",
            Format::RowBinary,
        );
        static SCHEMA: Schema = Schema::new(&[&RENAMED]);
        let declared = |by_operator| Changes::new(by_operator, &SCHEMA);
        let statement = |changes: &Changes, columns: &[(&str, &str)]| {
            let existing = table(columns);
            match form(&layout(), &existing, &changes.of(&layout(), &existing), unchecked) {
                Ok(Form::Columns(columnar)) => columnar.statement.to_string(),
                other => panic!("{other:?}"),
            }
        };
        let id = ("id", "UInt64");
        let (old, new) = (("sum", "Decimal(18, 2)"), ("total", "Decimal(18, 2)"));
        let none = declared(ColumnChanges::default());
        for columns in [&[id, new][..], &[id, old, new]] {
            assert_eq!(
                statement(&none, columns),
                "INSERT INTO `t` (`id`, `total`) FORMAT Native"
            );
        }
        // A table that is not altered yet accepts the rows as they are.
        let existing = table(&[id, old]);
        assert_eq!(none.of(&layout(), &existing), ColumnChanges::default());
        // The operator's changes take precedence.
        let by_operator = ColumnChanges {
            renamed: [("sum".to_owned(), "other".to_owned())].into(),
            ..ColumnChanges::default()
        };
        assert_eq!(
            statement(&declared(by_operator), &[id, new, ("other", "Decimal(18, 2)")]),
            "INSERT INTO `t` (`id`, `other`) FORMAT Native"
        );
    }

    #[test]
    fn a_narrower_column_needs_an_explicit_conversion() {
        let existing = table(&[("id", "UInt64"), ("sum", "Decimal(18, 1)")]);
        let reason = form(&layout(), &existing, &ColumnChanges::default(), unchecked).unwrap_err();
        assert!(reason.contains("--convert sum"), "{reason}");
        let changes = ColumnChanges {
            converted: vec!["sum".to_owned()],
            ..ColumnChanges::default()
        };
        assert!(matches!(
            form(&layout(), &existing, &changes, unchecked),
            Ok(Form::Columns(_))
        ));
    }
    #[test]
    fn the_history_has_new_names_and_dropped_and_narrowed_columns() {
        let existing = table(&[("id", "UInt64"), ("total", "Decimal(18, 1)")]);
        let history = ColumnHistory::from(vec![
            ColumnChange::renamed("t", "sum", "total"),
            ColumnChange::narrowed("t", "total", "Decimal(18, 1)"),
        ]);
        let mut changes = ColumnChanges::default();
        changes.complete(&layout(), &existing, &history);
        let form_of = |changes: &ColumnChanges, existing: &[Existing]| match form(
            &layout(),
            existing,
            changes,
            |name, data_type| history.is_narrowed("t", name, data_type),
        ) {
            Ok(Form::Columns(columnar)) => columnar.statement.to_string(),
            other => panic!("{other:?}"),
        };
        let statement = form_of(&changes, &existing);
        assert!(
            statement.starts_with("INSERT INTO `t` (`id`, `total`) SELECT `id`, if(throwIf(NOT ifNull(CAST(CAST(`total`, 'Decimal(18, 1)'), ")
                && statement.ends_with(" FROM input('`id` UInt64, `total` Decimal(18, 2)') FORMAT Native"),
            "{statement}"
        );
        let existing = table(&[("id", "UInt64")]);
        let history = ColumnHistory::from(vec![ColumnChange::dropped("t", "sum")]);
        let mut changes = ColumnChanges::default();
        changes.complete(&layout(), &existing, &history);
        assert_eq!(form_of(&changes, &existing), "INSERT INTO `t` (`id`) FORMAT Native");
    }
}
