//! What a replay of dead letters has done, and why there was none.

use std::{collections::BTreeMap, error::Error, fmt};

use crate::store::ClickHouseError;

/// What [`replay_rejected`](crate::replay_rejected) has done, or would do.
#[derive(Debug)]
pub struct RejectedReport {
    /// The tables with letters, by their names.
    pub tables: Vec<RejectedTable>,
    /// Letters that were deleted.
    pub deleted: u64,
    /// Why the replay has ended before the last letter.
    pub interrupted: Option<ClickHouseError>,
}

/// What has become of one table's letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectedTable {
    /// The table that the rows are for.
    pub table: String,
    /// All letters that the replay was asked for.
    pub letters: u64,
    /// Rows that are in the table now.
    pub stored: u64,
    /// Rows that were in the table before.
    pub found: u64,
    /// Rows that a dry run has not sent.
    pub ready: u64,
    /// Rows that are refused again, by the reason, which has no value of a row in it.
    pub refused: BTreeMap<String, u64>,
    /// Rows that ClickHouse confirms and does not show in the table.
    pub missing: u64,
    /// Letters that have a part of their row only.
    pub cut: u64,
    /// Letters of a version that did not keep the columns of the row.
    pub undescribed: u64,
    /// Rows have no id that they can be looked for by: ClickHouse knows them by their tokens, as long as it remembers those.
    pub is_known_by_token: bool,
}

impl RejectedReport {
    /// Returns whether each letter that could be replayed is in its table now; of a dry run, whether it may be.
    pub fn is_complete(&self) -> bool {
        let is_complete = |table: &RejectedTable| table.refused.is_empty() && table.missing == 0;
        self.interrupted.is_none() && self.tables.iter().all(is_complete)
    }
}

/// Why dead letters cannot be replayed.
#[derive(Debug)]
pub enum RejectedError {
    /// ClickHouse was not there, or refused the question.
    Server(ClickHouseError),
    /// The table of dead letters is missing, or is of an earlier version.
    NoColumns,
    /// There is no such table, and no letter for it.
    NoTable {
        /// The name that was given.
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
                 Letters of an earlier version cannot be replayed",
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
