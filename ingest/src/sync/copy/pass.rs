//! Inserts the rows that the new table lacks, by ranges of ids.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio::time::sleep;

use super::{facts::Facts, lock::RUNNING};
use crate::{
    store::{ClickHouseError, quoted, within},
    sync::Kind,
};

/// The approximate number of rows in one statement, whose ids ClickHouse has in memory.
const ROWS: u64 = 2_000_000;

/// The maximum number of statements of one pass.
const MAX_RANGES: u64 = 10_000;

/// The timeout of one statement.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait for a statement of an earlier copy that still runs.
const RUNNING_WAIT: Duration = Duration::from_millis(500);

/// The settings of an insert of the copy. The new table's rows come from this insert alone, so it
/// needs no deduplication; the partitions of the rows are as many as in the old table.
const SETTINGS: [(&str, &str); 7] = [
    ("insert_deduplicate", "0"),
    ("async_insert", "0"),
    ("max_partitions_per_insert_block", "0"),
    ("max_execution_time", "0"),
    ("max_query_size", "67108864"),
    ("wait_end_of_query", "1"),
    // For millions of ids, the search in the index takes longer than the comparison of all rows.
    ("use_index_for_in_with_subqueries", "0"),
];

/// The number of some rows, and their least and greatest ids.
#[derive(Debug, Row, Deserialize)]
struct Extent {
    rows: u64,
    least: String,
    most: String,
}

/// The passes over one table.
pub(super) struct Pass<'a> {
    client: &'a Client,
    facts: &'a Facts,
    /// The parts of the old table whose rows are all in the new one.
    done: Vec<String>,
}

impl<'a> Pass<'a> {
    pub(super) const fn new(client: &'a Client, facts: &'a Facts) -> Self {
        let done = Vec::new();
        Self { client, facts, done }
    }

    /// Inserts each row of the old table whose id the new one lacks. Returns the number of rows in
    /// the parts that the pass has read.
    pub(super) async fn run(&mut self, progress: &impl Fn(&str)) -> Result<u64, Kind> {
        let Facts { table, copy, id, .. } = self.facts;
        let (table, copy, columns) = (quoted(table.name), quoted(copy), self.facts.columns.join(", "));
        // The parts of this moment: a later part may have rows that the pass does not see.
        let parts = self.parts().await?;
        let is_new = self.is_new();
        let (rows, least, most) = self.extent(&table, &is_new).await?;
        // Late rows can have old ids, between which the new table has many rows already. The ids of
        // both sides determine the memory of a statement.
        let extent = format!("{id} BETWEEN {least} AND {most}");
        let copied = self
            .number(&format!("SELECT count() FROM {copy} WHERE {extent}"))
            .await?;
        let ranges = match copied > rows {
            true => self.ranges(&copy, &extent, copied).await?,
            false => self.ranges(&table, &is_new, rows).await?,
        };
        for (number, range) in ranges.iter().enumerate() {
            self.execute(&format!(
                "INSERT INTO {copy} ({columns}) SELECT {columns} FROM {table} WHERE {extent} AND {range} AND \
                 {is_new} AND {id} NOT IN (SELECT {id} FROM {copy} WHERE {extent} AND {range})"
            ))
            .await?;
            if ranges.len() > 1 {
                progress(&format!("range {} of {} is copied", number + 1, ranges.len()));
            }
        }
        self.done = parts;
        Ok(rows)
    }

    /// Checks that no two rows of the old table have the same id.
    pub(super) async fn check_ids(&self) -> Result<(), Kind> {
        let (table, id) = (quoted(self.facts.table.name), &self.facts.id);
        let rows = self.number(&format!("SELECT count() FROM {table}")).await?;
        for range in self.ranges(&table, "1", rows).await? {
            let repeated = self
                .number(&format!(
                    "SELECT toUInt64(count() - uniqExact({id})) FROM {table} WHERE {range}"
                ))
                .await?;
            if repeated > 0 {
                return Err(self.facts.refused(&format!(
                    "{repeated} of its rows have the id of another row in {id}, so rows that are copied could not \
                     be told from others"
                )));
            }
        }
        Ok(())
    }

    /// Checks that the table has all rows of the old one, after the exchange.
    pub(super) async fn check_old(&self, progress: &impl Fn(&str)) -> Result<(), Kind> {
        if self.facts.has_ttl {
            return Ok(());
        }
        let (table, old, id) = (quoted(self.facts.table.name), quoted(&self.facts.copy), &self.facts.id);
        let rows = self.number(&format!("SELECT count() FROM {old}")).await?;
        let mut missing = 0;
        for range in self.ranges(&old, "1", rows).await? {
            missing += self
                .number(&format!(
                    "SELECT count() FROM {old} WHERE {range} AND {id} NOT IN (SELECT {id} FROM {table} WHERE {range})"
                ))
                .await?;
        }
        if missing > 0 {
            return Err(self.facts.refused(&format!(
                "after the exchange, {missing} of the {rows} rows of {old} are not in it; keep both tables"
            )));
        }
        progress(&format!("all {rows} rows of the previous table are in the new one"));
        Ok(())
    }

    /// Returns conditions that together hold for each row once, and each for about [`ROWS`] of
    /// `rows` rows.
    async fn ranges(&self, table: &str, condition: &str, rows: u64) -> Result<Vec<String>, Kind> {
        let id = &self.facts.id;
        let pieces = rows.div_ceil(ROWS).min(MAX_RANGES);
        if pieces == 0 {
            return Ok(Vec::new());
        }
        let mut bounds = Vec::new();
        if pieces > 1 {
            let levels: Vec<_> = (1..pieces).map(|piece| format!("{piece}/{pieces}")).collect();
            let quantiles = format!(
                "SELECT arrayJoin(arrayDistinct(arraySort(arrayMap(x -> toInt128(x), quantiles({})({id}))))) AS bound \
                 FROM {table} WHERE {condition} ORDER BY bound",
                levels.join(", ")
            );
            let text = format!("SELECT toString(bound) FROM ({quantiles})");
            let query = self.with_settings(&text).fetch_all::<String>();
            bounds = within(TIMEOUT, query).await.map_err(|error| Kind::of(text, error))?;
        }
        Ok(between(id, &bounds))
    }

    /// Returns the number of rows that satisfy a condition, and their least and greatest ids.
    async fn extent(&self, table: &str, condition: &str) -> Result<(u64, String, String), Kind> {
        let id = &self.facts.id;
        let select = format!(
            "SELECT count() AS rows, toString(min({id})) AS least, toString(max({id})) AS most FROM {table} \
             WHERE {condition}"
        );
        let extent: Extent = within(TIMEOUT, self.with_settings(&select).fetch_one())
            .await
            .map_err(|error| Kind::of(select, error))?;
        Ok((extent.rows, extent.least, extent.most))
    }

    async fn parts(&self) -> Result<Vec<String>, Kind> {
        let query = self
            .client
            .query("SELECT name FROM system.parts WHERE active AND database = currentDatabase() AND table = ?")
            .bind(self.facts.table.name);
        within(TIMEOUT, query.fetch_all())
            .await
            .map_err(|error| Kind::of("reading the parts of a table", error))
    }

    /// Returns the condition of a row in a part that no complete pass has read.
    fn is_new(&self) -> String {
        if self.done.is_empty() {
            return "1".to_owned();
        }
        let parts: Vec<_> = self.done.iter().map(|part| format!("'{part}'")).collect();
        format!("_part NOT IN ({})", parts.join(", "))
    }

    async fn number(&self, select: &str) -> Result<u64, Kind> {
        within(TIMEOUT, self.with_settings(select).fetch_one())
            .await
            .map_err(|error| Kind::of(select, error))
    }

    fn with_settings(&self, statement: &str) -> clickhouse::query::Query {
        let query = self.client.query_raw(statement);
        SETTINGS
            .iter()
            .fold(query, |query, (name, value)| query.with_setting(*name, *value))
    }

    /// Runs a statement of the copy. One such statement runs at a time, since all have one query
    /// id: a statement of a copy that was killed ends first.
    async fn execute(&self, statement: &str) -> Result<(), Kind> {
        let query_id = format!("rowmill-copy-{}-{}", self.facts.database, self.facts.table.name);
        loop {
            let mut query = self.with_settings(statement).with_setting("query_id", &query_id);
            if self.facts.has_materialized {
                // The values of the old table, and not those of now.
                query = query.with_setting("insert_allow_materialized_columns", "1");
            }
            match within(TIMEOUT, query.execute()).await {
                Err(error) if is_running(&error) => sleep(RUNNING_WAIT).await,
                result => return result.map_err(|error| Kind::of(statement, error)),
            }
        }
    }
}

fn is_running(error: &ClickHouseError) -> bool {
    error.code() == Some(RUNNING)
}

/// Returns the conditions of the ranges of ids before, between and after the sorted bounds.
fn between(id: &str, bounds: &[String]) -> Vec<String> {
    let from = bounds.iter().map(|bound| Some(format!("{id} >= {bound}")));
    let to = bounds.iter().map(|bound| Some(format!("{id} < {bound}")));
    let from = [None].into_iter().chain(from);
    let to = to.chain([None]);
    from.zip(to)
        .map(|range| match range {
            (Some(from), Some(to)) => format!("({from} AND {to})"),
            (Some(bound), None) | (None, Some(bound)) => format!("({bound})"),
            (None, None) => "1".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn ranges_cover_every_id_once() {
        assert_eq!(between("`id`", &[]), ["1"]);
        assert_eq!(
            between("`id`", &["-5".to_owned(), "7".to_owned()]),
            ["(`id` < -5)", "(`id` >= -5 AND `id` < 7)", "(`id` >= 7)"]
        );
    }
}
