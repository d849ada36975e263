//! Fits rows that another build has left to the table as it is now.
//!
//! A block contains the names and the types of its columns. If the table's columns differ, delivery
//! sends the rows as columns with their original types, and ClickHouse converts them by type.
//! ClickHouse gets only conversions that keep each value. With any other conversion, the rows wait,
//! and the error names the remedy.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::failure::Failure;
use crate::{
    block::layout::{ColumnarInsert, InsertTarget, TargetColumn},
    deliver::compress::Form,
    store::within,
    table::{InsertSettings, Schema, Table},
};

/// The changes of a table's columns since rows were written.
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
        for (old, new) in self.declared.get(&*layout.table).into_iter().flatten() {
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

/// Returns the form in which rows of an insert target fit the table as it is now.
///
/// # Errors
/// [`Failure::Misfit`] if no form fits, or an error of ClickHouse.
pub(crate) async fn adapt(
    client: &Client,
    layout: &InsertTarget,
    changes: &Changes,
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
    form(layout, &existing, &changes.of(layout, &existing)).map_err(Failure::Misfit)
}

fn form(layout: &InsertTarget, existing: &[Existing], changes: &ColumnChanges) -> Result<Form, String> {
    let (mut is_own, mut reasons) = (true, Vec::new());
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
            reasons.push(format!(
                "rows were written with `{}` as {}, and `{}`.`{name}` is {} now, which cannot hold every value: \
                 change the column back, let ClickHouse convert what it can (`rowmill spool replay --convert {}`), or \
                 drop its values (`rowmill spool replay --drop {}`)",
                column.name, column.data_type, layout.table, found.data_type, column.name, column.name
            ));
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
        Some(columnar) => Ok(Form::Columns(Arc::new(columnar))),
        None => Err(format!(
            "rows were written for other columns than `{}` has now, and have a type that cannot be converted (JSON, Dynamic or \
             Variant): change the table back until the rows are stored",
            layout.table
        )),
    }
}

impl ColumnChanges {
    /// Returns a column's present name, or `None` if it is dropped.
    fn name_of<'a>(&'a self, column: &'a TargetColumn) -> Option<&'a str> {
        if self.dropped.iter().any(|dropped| **dropped == *column.name) {
            return None;
        }
        Some(self.renamed.get(&*column.name).map_or(&*column.name, String::as_str))
    }
}

/// Returns whether ClickHouse either converts each value to the same value of the other type, or
/// refuses it.
fn keeps_values(from: &str, to: &str) -> bool {
    if from == to {
        return true;
    }
    match (argument_of(from, "LowCardinality"), argument_of(to, "LowCardinality")) {
        (None, None) => {}
        (a, b) => return keeps_values(a.unwrap_or(from), b.unwrap_or(to)),
    }
    match (argument_of(from, "Nullable"), argument_of(to, "Nullable")) {
        (None, None) => {}
        (Some(_), None) => return false,
        (inside, Some(to)) => return keeps_values(inside.unwrap_or(from), to),
    }
    if let (Some(from), Some(to)) = (argument_of(from, "Array"), argument_of(to, "Array")) {
        return keeps_values(from, to);
    }
    if to == "String" {
        let is_text = |name| argument_of(from, name).is_some();
        return integer(from).is_some()
            || matches!(from, "Date" | "Date32" | "UUID" | "IPv4" | "IPv6" | "Bool")
            || ["FixedString", "Enum8", "Enum16"].into_iter().any(is_text);
    }
    if let (Some((from_signed, from_bits)), Some((to_signed, to_bits))) = (integer(from), integer(to)) {
        return to_bits > from_bits && (to_signed || !from_signed);
    }
    if let (Some(from_scale), Some(to_scale)) = (decimal_scale(from), decimal_scale(to)) {
        // ClickHouse refuses a value with too many digits before the point, which becomes a dead
        // letter.
        return to_scale >= from_scale;
    }
    if let (Some(from), Some(to)) = (fractional_digits(from), fractional_digits(to)) {
        return to >= from;
    }
    if let (Some(from), Some(to)) = (enum_values(from), enum_values(to)) {
        return from.iter().all(|name| to.contains(name));
    }
    matches!((from, to), ("Date", "Date32") | ("Float32", "Float64"))
}

/// Returns the text in parentheses after a type's name.
fn argument_of<'a>(data_type: &'a str, name: &str) -> Option<&'a str> {
    data_type.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// Returns whether an integer type is signed, and its number of bits.
fn integer(data_type: &str) -> Option<(bool, u32)> {
    let (is_signed, bits) = match data_type.strip_prefix("UInt") {
        Some(bits) => (false, bits),
        None => (true, data_type.strip_prefix("Int")?),
    };
    Some((is_signed, bits.parse().ok()?))
}

/// Returns the number of a decimal type's digits after the point.
fn decimal_scale(data_type: &str) -> Option<u32> {
    let (_, scale) = argument_of(data_type, "Decimal")?.split_once(", ")?;
    scale.parse().ok()
}

/// Returns the number of fractional digits of a time type's seconds. The time zone only affects how
/// ClickHouse displays the time.
fn fractional_digits(data_type: &str) -> Option<u32> {
    if data_type == "DateTime" || argument_of(data_type, "DateTime").is_some() {
        return Some(0);
    }
    let arguments = argument_of(data_type, "DateTime64")?;
    arguments.split(',').next()?.parse().ok()
}

/// Returns the values of an enumeration as `'name' = number`. The number is the value's encoding.
fn enum_values(data_type: &str) -> Option<Vec<&str>> {
    let values = argument_of(data_type, "Enum8").or_else(|| argument_of(data_type, "Enum16"))?;
    Some(values.split(", ").collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::table::{Column, ColumnKind, Format, shape::ShapeBuf};

    #[test]
    fn columns_are_converted_only_to_types_that_have_every_value() {
        for (from, to) in [
            ("Int32", "Int64"),
            ("UInt8", "Int16"),
            ("UInt64", "String"),
            ("Decimal(18, 2)", "Decimal(18, 4)"),
            ("DateTime64(3)", "DateTime64(6)"),
            ("DateTime('UTC')", "DateTime64(3, 'UTC')"),
            ("Date", "Date32"),
            ("String", "LowCardinality(String)"),
            ("LowCardinality(String)", "Nullable(String)"),
            ("Int32", "Nullable(Int64)"),
            ("Nullable(Int8)", "Nullable(Int16)"),
            ("Array(UInt8)", "Array(UInt16)"),
            ("Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)"),
        ] {
            assert!(keeps_values(from, to), "{from} → {to}");
        }
        for (from, to) in [
            ("Int64", "Int32"),
            ("Int8", "UInt16"),
            ("Decimal(18, 4)", "Decimal(18, 2)"),
            ("DateTime64(6)", "DateTime64(3)"),
            ("Nullable(Int8)", "Int8"),
            ("String", "UInt64"),
            ("Float64", "Int64"),
            ("Float64", "String"),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)"),
            ("Date", "UInt16"),
        ] {
            assert!(!keeps_values(from, to), "{from} → {to}");
        }
    }

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
        let form = form(&layout(), &existing, &ColumnChanges::default());
        assert!(matches!(form, Ok(Form::Own)), "{form:?}");
    }

    #[test]
    fn renamed_dropped_and_wider_columns_are_sent_as_columns() {
        let existing = table(&[("id", "UInt64"), ("total", "Decimal(38, 4)")]);
        let reason = form(&layout(), &existing, &ColumnChanges::default()).unwrap_err();
        assert!(reason.contains("--map sum=NEW"), "{reason}");
        let changes = ColumnChanges {
            renamed: [("sum".to_owned(), "total".to_owned())].into(),
            ..ColumnChanges::default()
        };
        let Ok(Form::Columns(columnar)) = form(&layout(), &existing, &changes) else {
            panic!("not converted")
        };
        assert_eq!(&*columnar.statement, "INSERT INTO `t` (`id`, `total`) FORMAT Native");
        let changes = ColumnChanges {
            dropped: vec!["sum".to_owned()],
            ..ColumnChanges::default()
        };
        let Ok(Form::Columns(columnar)) = form(&layout(), &existing, &changes) else {
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
            match form(&layout(), &existing, &changes.of(&layout(), &existing)) {
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
        let reason = form(&layout(), &existing, &ColumnChanges::default()).unwrap_err();
        assert!(reason.contains("--convert sum"), "{reason}");
        let changes = ColumnChanges {
            converted: vec!["sum".to_owned()],
            ..ColumnChanges::default()
        };
        assert!(matches!(form(&layout(), &existing, &changes), Ok(Form::Columns(_))));
    }
}
