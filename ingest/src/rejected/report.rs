//! The result of a replay of dead letters, and its errors.

use std::{collections::BTreeMap, error::Error, fmt};

use crate::store::ClickHouseError;

/// The result of [`replay`](crate::rejected::replay), or of a dry run.
#[derive(Debug)]
pub struct RejectedReport {
    /// The tables with dead letters, sorted by name.
    pub tables: Vec<RejectedTable>,
    /// The number of deleted dead letters.
    pub deleted: u64,
    /// The error that stopped the replay before the last dead letter.
    pub interrupted: Option<ClickHouseError>,
}

/// The result for one table's dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectedTable {
    /// The table that the rows are for.
    pub table: String,
    /// All dead letters that the replay selected.
    pub letters: u64,
    /// Rows that the replay stored in the table.
    pub stored: u64,
    /// Rows that were in the table before.
    pub found: u64,
    /// Rows that a dry run has not sent.
    pub ready: u64,
    /// Rows that are refused again, by reason. The reasons contain no values of rows.
    pub refused: BTreeMap<String, u64>,
    /// Rows that ClickHouse confirms, but does not show in the table.
    pub missing: u64,
    /// Dead letters that have only a part of their row.
    pub cut: u64,
    /// Dead letters of a version that did not record the columns of the row.
    pub undescribed: u64,
    /// Whether rows have no id for a lookup: ClickHouse recognizes them by their tokens, for as
    /// long as it remembers those.
    pub is_known_by_token: bool,
}

impl RejectedReport {
    /// Returns whether every row that could be replayed is in its table now; for a dry run, whether
    /// this is possible.
    pub fn is_complete(&self) -> bool {
        let is_complete = |table: &RejectedTable| table.refused.is_empty() && table.missing == 0;
        self.interrupted.is_none() && self.tables.iter().all(is_complete)
    }
}

/// The reason why dead letters cannot be replayed.
#[derive(Debug)]
pub enum RejectedError {
    /// ClickHouse was unavailable, or refused the query.
    Server(ClickHouseError),
    /// The table of dead letters is missing, or is of an earlier version.
    NoColumns,
    /// The schema has no such table, and no dead letter is for it.
    NoTable {
        /// The given name.
        table: String,
        /// The tables of the schema.
        known: Vec<&'static str>,
    },
}

impl From<ClickHouseError> for RejectedError {
    fn from(error: ClickHouseError) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for RejectedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(_) => f.write_str("the dead letters cannot be read"),
            Self::NoColumns => f.write_str(
                "the database has no table `rejected` with the columns of the rows: create it with `rowmill apply`. \
                 Dead letters of an earlier version cannot be replayed",
            ),
            Self::NoTable { table, known } => write!(
                f,
                "the schema has no table `{table}`, and no dead letter is for it; the tables are {}",
                known.join(", ")
            ),
        }
    }
}

impl Error for RejectedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            Self::NoColumns | Self::NoTable { .. } => None,
        }
    }
}
