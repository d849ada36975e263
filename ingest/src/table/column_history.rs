//! The history of the tables' columns: renamed, dropped and narrowed ones.
//!
//! A collector of an earlier build does not know why a table lacks one of its columns. The table
//! `rowmill_column_changes` has the reason: `rowmill apply` and the start of a collector with a
//! `was:` write it there. ClickHouse has the table only if there is a change.

use std::time::Duration;

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

use crate::{
    store::{ClickHouseError, within},
    table::conversion::literal,
};

/// The statement that creates the table of the changes, in the connection's database.
pub(crate) const CREATE: &str = "CREATE TABLE IF NOT EXISTS `rowmill_column_changes`\n(\n    \
    `at` DateTime64(6, 'UTC') DEFAULT now64(6),\n    \
    `table` String,\n    \
    `column` String,\n    \
    `new_name` String COMMENT 'empty unless the column was renamed',\n    \
    `new_type` String COMMENT 'empty unless the column got a type with fewer values'\n)\n\
    ENGINE = MergeTree\nORDER BY (`table`, `column`, `at`)";

/// The time after which delivery compares a table's columns again. While rows arrive, this takes one
/// small query a second for each table. A table is closed for longer than this when a column is
/// narrowed, so that each collector sees the new type before it sends rows.
pub(crate) const FORM_LIFETIME: Duration = Duration::from_secs(1);

/// UNKNOWN_TABLE, UNKNOWN_DATABASE, ACCESS_DENIED: there are no changes for this user.
const NO_CHANGES: [u32; 3] = [60, 81, 497];

/// The most renames that [`ColumnHistory::later_name`] follows.
const MAX_RENAMES: usize = 100;

/// A change of one column. A column without a new name and a new type was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct ColumnChange {
    pub(crate) table: String,
    /// The column's name before the change.
    pub(crate) column: String,
    /// The column's new name, or an empty text.
    pub(crate) new_name: String,
    /// The column's new type, or an empty text.
    pub(crate) new_type: String,
}

impl ColumnChange {
    pub(crate) fn renamed(table: &str, column: &str, new_name: &str) -> Self {
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
            new_name: new_name.to_owned(),
            new_type: String::new(),
        }
    }

    pub(crate) fn narrowed(table: &str, column: &str, new_type: &str) -> Self {
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
            new_name: String::new(),
            new_type: new_type.to_owned(),
        }
    }

    pub(crate) fn dropped(table: &str, column: &str) -> Self {
        Self::narrowed(table, column, "")
    }

    /// Returns the statement that records the change.
    pub(crate) fn statement(&self) -> String {
        let values = [&self.table, &self.column, &self.new_name, &self.new_type].map(|text| literal(text));
        format!(
            "INSERT INTO `rowmill_column_changes` (`table`, `column`, `new_name`, `new_type`) VALUES ({})",
            values.join(", ")
        )
    }
}

/// All recorded changes, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnHistory(Vec<ColumnChange>);

impl ColumnHistory {
    /// Reads the changes in the client's database.
    ///
    /// # Errors
    /// ClickHouse is unreachable.
    pub(crate) async fn read(client: &Client, timeout: Duration) -> Result<Self, ClickHouseError> {
        let query = client.query("SELECT ?fields FROM rowmill_column_changes ORDER BY at");
        match within(timeout, query.fetch_all()).await {
            Ok(changes) => Ok(Self(changes)),
            Err(error) if error.code().is_some_and(|code| NO_CHANGES.contains(&code)) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Returns whether the change is the latest one of its kind.
    pub(crate) fn has(&self, change: &ColumnChange) -> bool {
        self.of(&change.table, &change.column).next() == Some(change)
    }

    /// Returns the first later name of a column that the table has.
    pub(crate) fn later_name<'a>(
        &'a self,
        table: &'a str,
        column: &'a str,
        exists: impl Fn(&str) -> bool,
    ) -> Option<&'a str> {
        let mut name = column;
        for _ in 0..MAX_RENAMES {
            name = self
                .of(table, name)
                .map(|change| &*change.new_name)
                .find(|new_name| !new_name.is_empty())?;
            if exists(name) {
                return Some(name);
            }
        }
        None
    }

    /// Returns whether the column, which the table lacks, was dropped.
    pub(crate) fn is_dropped(&self, table: &str, column: &str) -> bool {
        let last = self.of(table, column).find(|change| change.new_type.is_empty());
        last.is_some_and(|change| change.new_name.is_empty())
    }

    /// Returns whether the column got its present type, which has fewer values than before.
    pub(crate) fn is_narrowed(&self, table: &str, column: &str, present_type: &str) -> bool {
        let mut types = self.of(table, column).filter(|change| !change.new_type.is_empty());
        types.next().is_some_and(|change| change.new_type == present_type)
    }

    /// Returns the changes of a column, the latest first.
    fn of(&self, table: &str, column: &str) -> impl Iterator<Item = &ColumnChange> {
        let changes = self.0.iter().rev();
        changes.filter(move |change| change.table == table && change.column == column)
    }
}

#[cfg(test)]
impl From<Vec<ColumnChange>> for ColumnHistory {
    fn from(changes: Vec<ColumnChange>) -> Self {
        Self(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_change_of_a_column_counts() {
        let history = ColumnHistory::from(vec![
            ColumnChange::renamed("t", "a", "b"),
            ColumnChange::renamed("t", "b", "c"),
            ColumnChange::dropped("t", "d"),
            ColumnChange::narrowed("t", "n", "UInt16"),
            ColumnChange::narrowed("t", "n", "UInt8"),
        ]);
        assert_eq!(history.later_name("t", "a", |name| name == "c"), Some("c"));
        assert_eq!(history.later_name("t", "a", |name| name == "b"), Some("b"));
        assert_eq!(history.later_name("t", "a", |_| false), None);
        assert_eq!(history.later_name("u", "a", |_| true), None);
        assert!(history.is_dropped("t", "d") && !history.is_dropped("t", "a") && !history.is_dropped("t", "n"));
        assert!(history.is_narrowed("t", "n", "UInt8") && !history.is_narrowed("t", "n", "UInt16"));
        assert!(history.has(&ColumnChange::dropped("t", "d")) && !history.has(&ColumnChange::dropped("t", "a")));
    }

    #[test]
    fn a_circle_of_renames_ends() {
        let history = ColumnHistory::from(vec![
            ColumnChange::renamed("t", "a", "b"),
            ColumnChange::renamed("t", "b", "a"),
        ]);
        assert_eq!(history.later_name("t", "a", |_| false), None);
    }

    #[test]
    fn the_statement_quotes_its_texts() {
        assert_eq!(
            ColumnChange::renamed("t", "it's", "b\\c").statement(),
            r"INSERT INTO `rowmill_column_changes` (`table`, `column`, `new_name`, `new_type`) VALUES ('t', 'it\'s', 'b\\c', '')"
        );
    }
}
