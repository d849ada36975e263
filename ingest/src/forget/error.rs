//! The reasons why a person cannot be forgotten.

use std::{error::Error, fmt};

use crate::store::ClickHouseError;

/// The reason why a person cannot be forgotten.
#[derive(Debug)]
pub enum ForgetError {
    /// ClickHouse was unavailable, or refused a statement.
    Server(ClickHouseError),
    /// The value is empty: it would be that of all rows without one.
    EmptyValue,
    /// No table has the column, or none of the schema's columns is personal.
    NoColumn,
    /// The database has no such table.
    NoTable(String),
    /// Rows are still there after the deletion: collectors have stored them meanwhile.
    Remaining {
        /// The table.
        table: String,
        /// The number of rows.
        rows: u64,
    },
}

impl From<ClickHouseError> for ForgetError {
    fn from(error: ClickHouseError) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for ForgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(_) => f.write_str("ClickHouse has not deleted everything; repeat the command"),
            Self::EmptyValue => f.write_str("the value is empty, which is that of all rows without one"),
            Self::NoColumn => f.write_str(
                "no table has this column; without `--column`, the columns that the schema marks with `pii` count",
            ),
            Self::NoTable(table) => write!(f, "the database has no table `{table}`"),
            Self::Remaining { table, rows } => write!(
                f,
                "`{table}` still has {rows} such rows: collectors have stored them meanwhile; repeat the command"
            ),
        }
    }
}

impl Error for ForgetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}
