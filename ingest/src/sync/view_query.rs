//! The query of a materialized view: its text as ClickHouse shows it, the rows that it takes, and the
//! names of its columns.
//!
//! A view over a table that had rows before it takes only rows from an id on, its cut: the query
//! reads `(SELECT * FROM table WHERE id >= 123)` in place of the table. A backfill adds the rows
//! before the cut. The database's own text of the view is where the cut is kept.

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use super::{STATEMENT_TIMEOUT, dictionary_names::qualify_dictionaries};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted, within},
    table::{ColumnKind, Schema, Table, View},
};

/// A view, or a table with the name of a view, in the database.
#[derive(Debug, Row, Deserialize)]
pub(crate) struct ExistingView {
    pub(crate) engine: String,
    /// The CREATE statement.
    pub(crate) create_table_query: String,
    /// The query, in which each table name includes the database.
    pub(crate) as_select: String,
    pub(crate) comment: String,
}

/// Reads a view from the database; `None` if it does not exist.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub(crate) async fn existing_view(url: &ClickHouseUrl, view: &View) -> Result<Option<ExistingView>, ClickHouseError> {
    let client = url.server_client();
    let query = client
        .query("SELECT ?fields FROM system.tables WHERE database = ? AND name = ?")
        .bind(url.database())
        .bind(view.name);
    within(STATEMENT_TIMEOUT, query.fetch_optional()).await
}

/// Returns the text in which ClickHouse would show a query or a statement.
pub(super) async fn formatted(client: &Client, sql: &str) -> Result<String, ClickHouseError> {
    let query = client.query("SELECT formatQuerySingleLine(?)").bind(sql);
    within(STATEMENT_TIMEOUT, query.fetch_one()).await
}

/// Returns the id from which on a view takes rows, from its query in the database; `None` if the
/// view takes all rows.
pub(crate) fn cut_of(view: &View, source: &Table, as_select: &str) -> Option<u64> {
    let source_name = view.source.as_ref()?.table;
    let id = source.row_id?;
    for name in [source_name.to_owned(), quoted(source_name)] {
        for id in [id.to_owned(), quoted(id)] {
            let condition = format!("{name} WHERE {id} >= ");
            if let Some((_, rest)) = as_select.split_once(&condition) {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                if rest[end..].starts_with(')') {
                    return rest[..end].parse().ok();
                }
            }
        }
    }
    None
}

/// Returns the query of a view that takes the rows from the id `cut` on, or all rows, with the
/// database before each table's name.
pub(super) fn select_from(view: &View, schema: &Schema, database: &str, cut: Option<u64>) -> String {
    let source = view.source.as_ref().and_then(|source| schema.table(source.table));
    let with_cut = source.zip(cut).and_then(|(source, cut)| {
        let condition = format!("{} >= {cut}", quoted(source.row_id?));
        view.select_where(database, source, &condition)
    });
    with_cut.unwrap_or_else(|| view.select_in(database))
}

/// Removes the database before the names in a query: ClickHouse adds it to the names of tables.
pub(super) fn without_database(sql: &str, database: &str) -> String {
    let prefixes = [format!("{database}."), format!("{}.", quoted(database))];
    let mut text = String::with_capacity(sql.len());
    let (mut rest, mut quote, mut is_start) = (sql, None, true);
    while let Some(first) = rest.chars().next() {
        if quote.is_none()
            && is_start
            && let Some(after) = prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix.as_str()))
        {
            rest = after;
            continue;
        }
        match (quote, first) {
            (Some(_), '\\') => {
                let length = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                text.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            }
            (Some(open), _) if open == first => quote = None,
            (None, '\'' | '`' | '"') => quote = Some(first),
            _ => {}
        }
        is_start = quote.is_none() && !(first.is_alphanumeric() || matches!(first, '_' | '.' | '`'));
        text.push(first);
        rest = &rest[first.len_utf8()..];
    }
    text
}

/// A column of a query.
#[derive(Debug, Row, Deserialize)]
struct QueryColumn {
    name: String,
    #[serde(rename = "type")]
    _data_type: String,
}

/// Returns the columns of a view's query that its table lacks. ClickHouse itself reads the query,
/// over temporary tables with the columns of the schema.
///
/// # Errors
/// ClickHouse is unreachable, cannot read the query, or the user may not create temporary tables.
pub(super) async fn lost_columns(
    url: &ClickHouseUrl,
    schema: &Schema,
    view: &View,
) -> Result<Vec<String>, ClickHouseError> {
    let session = url
        .server_client()
        .with_setting("session_id", format!("rowmill-{}", Uuid::now_v7()));
    let named = schema.all_tables().filter(|table| view.select.contains(table.name));
    for table in named {
        let columns = table
            .columns
            .iter()
            .filter(|column| column.kind != ColumnKind::Ephemeral);
        let columns: Vec<_> = columns
            .map(|column| format!("{} {}", quoted(column.name), column.data_type))
            .collect();
        let create = format!(
            "CREATE TEMPORARY TABLE {} ({}) ENGINE = Memory",
            quoted(table.name),
            columns.join(", ")
        );
        within(STATEMENT_TIMEOUT, session.query_raw(&create).execute()).await?;
    }
    let columns = query_columns(&session, &qualify_dictionaries(view.select, url.database())).await?;
    let target = schema.table(view.target);
    let has = |name: &str| target.is_none_or(|table| table.columns.iter().any(|column| column.name == name));
    Ok(columns.into_iter().filter(|name| !has(name)).collect())
}

/// Returns the names of the columns of a query, in their order.
///
/// # Errors
/// ClickHouse is unreachable, or cannot read the query.
pub(crate) async fn query_columns(client: &Client, select: &str) -> Result<Vec<String>, ClickHouseError> {
    let describe = format!("DESCRIBE TABLE ({select})");
    let compact = client.clone().with_setting("describe_compact_output", "1");
    let columns: Vec<QueryColumn> = within(STATEMENT_TIMEOUT, compact.query_raw(&describe).fetch_all()).await?;
    Ok(columns.into_iter().map(|column| column.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, Format};

    static SOURCE: Table = Table {
        row_id: Some("id"),
        ..Table::new(
            "t",
            0,
            &[Column::new("id", "UInt64", "`id` UInt64", ColumnKind::Plain)],
            "",
            Format::RowBinary,
        )
    };
    static TABLES: [&Table; 1] = [&SOURCE];

    #[test]
    fn the_cut_is_read_from_the_query() {
        let view = View::new("v", "s", "SELECT id FROM t").over("t", 15..16, false);
        let schema = Schema::new(&TABLES);
        let select = select_from(&view, &schema, "d", Some(12));
        assert_eq!(select, "SELECT id FROM (SELECT * FROM `d`.`t` WHERE `id` >= 12) AS `t`");
        assert_eq!(cut_of(&view, &SOURCE, &select), Some(12));
        let shown = "SELECT id FROM (SELECT * FROM d.t WHERE id >= 12) AS t";
        assert_eq!(cut_of(&view, &SOURCE, shown), Some(12));
        for other in [
            "SELECT id FROM d.t",
            "SELECT id FROM d.t WHERE id >= 5 AND id < 6",
            "SELECT id FROM (SELECT * FROM d.t WHERE id >= 99999999999999999999) AS t",
        ] {
            assert_eq!(cut_of(&view, &SOURCE, other), None, "{other}");
        }
        assert_eq!(select_from(&view, &schema, "d", None), view.select);
    }

    #[test]
    fn the_database_before_names_is_removed() {
        for (sql, database, expected) in [
            ("SELECT a FROM d.t", "d", "SELECT a FROM t"),
            (
                "SELECT 'd.t', d.a, xd.a, x.d.a FROM d.t AS d",
                "d",
                "SELECT 'd.t', a, xd.a, x.d.a FROM t AS d",
            ),
            ("SELECT '\\'d.t' FROM `my d`.t", "my d", "SELECT '\\'d.t' FROM t"),
            ("SELECT `d.t` FROM d.`t`", "d", "SELECT `d.t` FROM `t`"),
        ] {
            assert_eq!(without_database(sql, database), expected, "{sql}");
        }
    }
}
