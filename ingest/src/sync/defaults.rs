//! Constant defaults that differ between the schema and the database.
//!
//! The collector writes the literal of a DEFAULT into each row whose event has no value. While the
//! table has another DEFAULT, rows of the collector and rows of other clients differ.

use super::{Kind, STATEMENT_TIMEOUT, columns::existing_columns, definition::ColumnDefinition};
use crate::{
    store::{ClickHouseUrl, quoted, within},
    table::{Column, ColumnKind, Format, Schema, Shape, Table},
};

/// Returns a sentence for each column whose constant DEFAULT differs from the table's.
pub(super) async fn differing_defaults(url: &ClickHouseUrl, schema: &Schema) -> Result<Vec<String>, Kind> {
    let client = url.server_client();
    let existing = existing_columns(&client, url.database(), schema.tables).await?;
    let mut differing = Vec::new();
    for table in schema.tables {
        let constant = table.columns.iter().filter(|column| is_constant(table, column));
        for column in constant {
            let declared = ColumnDefinition::parse(column.declaration);
            let declared = declared
                .as_ref()
                .and_then(|column| column.source.strip_prefix("DEFAULT "));
            let found = existing.iter().find(|found| found.is(table.name, column.name));
            let (Some(wanted), Some(found)) = (declared, found) else {
                continue;
            };
            let found = found.default_expression.as_str();
            if wanted == found || is_same(url, wanted, found).await {
                continue;
            }
            let shown = if found.is_empty() { "none" } else { found };
            differing.push(format!(
                "the DEFAULT of {}.{} is {shown} in the database and {wanted} in the schema: rows of the collector get \
                 {wanted} where the event has no value, rows of other clients do not; `rowmill apply` changes the database",
                quoted(table.name),
                quoted(column.name)
            ));
        }
    }
    Ok(differing)
}

/// Returns whether the rows have the value of the column's DEFAULT. In a table with computed
/// defaults, only the columns without one are sent with a mark that they have a value.
fn is_constant(table: &Table, column: &Column) -> bool {
    column.kind == ColumnKind::Default
        && (table.format == Format::RowBinary || matches!(column.shape, Some(Shape::WithDefaultFlag(_))))
}

/// Returns whether ClickHouse writes both expressions in the same way.
async fn is_same(url: &ClickHouseUrl, wanted: &str, found: &str) -> bool {
    if found.is_empty() {
        return false;
    }
    let query = url
        .server_client()
        .query("SELECT formatQuery('SELECT ' || ?) = formatQuery('SELECT ' || ?)")
        .bind(wanted)
        .bind(found);
    matches!(within(STATEMENT_TIMEOUT, query.fetch_one::<u8>()).await, Ok(1))
}
