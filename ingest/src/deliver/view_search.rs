//! Finds the rows on which the materialized views over a table throw.
//!
//! The search runs each view's query over some of the rows, by halves, and writes nothing.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::lookup::sql_string;
use crate::{
    block::sealed::SealedBlock,
    store::{Class, ClickHouseError, quoted, within},
    sync::{TableName, View, qualified, views_over},
};

/// The maximum number of rows in a condition, which keeps the query within ClickHouse's default
/// `max_query_size`.
const MAX_IDS: usize = 4096;

/// The maximum number of queries that search the rows of one part. Rows that are not separated by
/// then all count as refused.
const MAX_QUERIES: u32 = 1000;

/// The number of a row in its block, and the row's id.
pub(crate) type NumberedRow = (u32, u64);

/// The rows that a view refuses.
#[derive(Debug)]
pub(crate) struct RefusedRows {
    pub(super) view: TableName,
    /// The rows on which the view throws, each with the error.
    pub(super) rows: Vec<(NumberedRow, ClickHouseError)>,
    /// Rows that were not separated: some of them make the view throw.
    pub(super) unseparated: Vec<u32>,
}

impl RefusedRows {
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let rows = self.rows.iter().map(|((row, _), _)| *row);
        rows.chain(self.unseparated.iter().copied())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.unseparated.len()
    }
}

/// A search for the rows on which the views over a table throw.
pub(super) struct Search<'a> {
    client: &'a Client,
    table: &'a str,
    /// The column of the rows' ids.
    column: &'a str,
    timeout: Duration,
}

/// A column whose type in the view's target table differs from its type in the view.
#[derive(Debug, Row, Deserialize)]
struct Converted {
    name: String,
    data_type: String,
}

impl<'a> Search<'a> {
    /// Returns a search among the rows of a block.
    pub(super) fn of(client: &'a Client, block: &'a SealedBlock, timeout: Duration) -> Self {
        Self {
            client,
            table: &block.layout.table,
            column: block.layout.row_id.map_or("", |at| &block.layout.columns[at].name),
            timeout,
        }
    }

    /// Returns the rows that views refuse, for each view that refuses any.
    pub(super) async fn refused(&self, rows: &[NumberedRow]) -> Result<Vec<RefusedRows>, ClickHouseError> {
        let (table, views) = views_over(self.client, self.table).await?;
        let parts = self.parts(rows).await?;
        let mut refused = self.refused_by(&table, &views, &parts, rows).await?;
        // A query by part names skips parts that ClickHouse has merged since.
        if !parts.is_empty() && !self.are_active(&parts).await? {
            refused = self.refused_by(&table, &views, &[], rows).await?;
        }
        Ok(refused)
    }

    async fn refused_by(
        &self,
        table: &TableName,
        views: &[View],
        parts: &[String],
        rows: &[NumberedRow],
    ) -> Result<Vec<RefusedRows>, ClickHouseError> {
        let mut queries_left = MAX_QUERIES;
        let mut refused = Vec::new();
        for has_conversions in [false, true] {
            for view in views {
                let columns = match has_conversions {
                    false => "*".to_owned(),
                    true => self.conversions(view).await?,
                };
                if columns.is_empty() {
                    continue;
                }
                let query = format!(
                    "SELECT {columns} FROM ({}) SETTINGS additional_table_filters = {{{}: ",
                    view.select,
                    sql_string(&format!("{}.{}", table.0, table.1))
                );
                match self.separate(view, &query, parts, rows, &mut queries_left).await {
                    Ok(one) if one.len() > 0 => refused.push(one),
                    Ok(_) => {}
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => {
                        let error = error.without_values();
                        tracing::debug!(
                            view = qualified(&view.name),
                            error,
                            "the view's query cannot be run by itself"
                        );
                    }
                }
            }
            // The conversions of a view's target table matter only if the view's query does not
            // throw.
            if !refused.is_empty() {
                break;
            }
        }
        Ok(refused)
    }

    /// Separates the rows on which a view throws from the others.
    async fn separate(
        &self,
        view: &View,
        query: &str,
        parts: &[String],
        rows: &[NumberedRow],
        queries_left: &mut u32,
    ) -> Result<RefusedRows, ClickHouseError> {
        let mut refused = RefusedRows {
            view: view.name.clone(),
            rows: Vec::new(),
            unseparated: Vec::new(),
        };
        let mut waiting: Vec<_> = rows.chunks(MAX_IDS).rev().collect();
        while let Some(chunk) = waiting.pop() {
            if *queries_left == 0 {
                refused.unseparated.extend(chunk.iter().map(|(row, _)| *row));
                continue;
            }
            *queries_left -= 1;
            let condition = self.condition(parts, chunk);
            let query = format!("{query}{}}} FORMAT Null", sql_string(&condition));
            match (within(self.timeout, self.execute(&query)).await, chunk) {
                (Ok(()), _) => {}
                (Err(error), _) if error.class() != Class::Refused => return Err(error),
                (Err(error), [row]) => refused.rows.push((*row, error)),
                (Err(_), _) => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    waiting.extend([second, first]);
                }
            }
        }
        Ok(refused)
    }

    /// Runs a query without a result. An error in any row is the response itself, not a late
    /// exception.
    async fn execute(&self, query: &str) -> Result<(), clickhouse::error::Error> {
        let query = self.client.query_raw(query);
        query.with_setting("wait_end_of_query", "1").execute().await
    }

    fn condition(&self, parts: &[String], rows: &[NumberedRow]) -> String {
        let ids: Vec<_> = rows.iter().map(|(_, id)| id.to_string()).collect();
        let condition = format!("{} IN ({})", quoted(self.column), ids.join(", "));
        if parts.is_empty() {
            return condition;
        }
        format!("_part IN ({}) AND {condition}", list(parts))
    }

    /// Returns the table's parts that have the rows, so that the queries read no other parts; none
    /// if the table has no parts.
    async fn parts(&self, rows: &[NumberedRow]) -> Result<Vec<String>, ClickHouseError> {
        let ids = || rows.iter().map(|(_, id)| *id);
        let (least, most) = (ids().min().unwrap_or_default(), ids().max().unwrap_or_default());
        let select = format!(
            "SELECT DISTINCT _part FROM {} WHERE {} BETWEEN {least} AND {most}",
            quoted(self.table),
            quoted(self.column)
        );
        match within(self.timeout, self.client.query_raw(&select).fetch_all()).await {
            Err(error) if error.is_transient() => Err(error),
            result => Ok(result.unwrap_or_default()),
        }
    }

    async fn are_active(&self, parts: &[String]) -> Result<bool, ClickHouseError> {
        let select = format!(
            "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = {} AND name IN ({})",
            sql_string(self.table),
            list(parts)
        );
        let active: u64 = within(self.timeout, self.client.query_raw(&select).fetch_one()).await?;
        Ok(active == parts.len() as u64)
    }

    /// Returns the conversions from the view's columns to the target table's columns, as columns of
    /// a query. The text is empty if there are none.
    async fn conversions(&self, view: &View) -> Result<String, ClickHouseError> {
        // The query omits nullable columns, since a NULL may become the target column's default.
        let query = self
            .client
            .query(
                "SELECT name, type AS data_type FROM system.columns WHERE database = ? AND table = ? \
                 AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') AND name IN (\
                 SELECT name FROM system.columns WHERE database = ? AND table = ? AND NOT startsWith(type, 'Nullable(')) \
                 AND (name, type) NOT IN (SELECT name, type FROM system.columns WHERE database = ? AND table = ?)",
            )
            .bind(&view.target.0)
            .bind(&view.target.1)
            .bind(&view.name.0)
            .bind(&view.name.1)
            .bind(&view.name.0)
            .bind(&view.name.1);
        let converted: Vec<Converted> = within(self.timeout, query.fetch_all()).await?;
        let columns = converted
            .iter()
            .map(|column| format!("CAST({} AS {})", quoted(&column.name), column.data_type));
        Ok(columns.collect::<Vec<_>>().join(", "))
    }
}

/// Joins strings as a list in ClickHouse's SQL.
fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|part| sql_string(part)).collect();
    texts.join(", ")
}
