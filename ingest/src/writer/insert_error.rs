//! The reasons why a typed row cannot be inserted.

use std::{error::Error, fmt};

use crate::{budget::SpoolFull, table::refusal::InvalidColumn};

/// The error of [`Writer::insert`](crate::Writer::insert). The writer has not accepted the row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum InsertError {
    /// The row breaks rules of the schema, one for each listed column; it will be invalid the next
    /// time, too.
    Invalid(Vec<InvalidColumn>),
    /// The row's table is not in the writer's schema.
    UnknownTable(&'static str),
    /// Too many rows wait for ClickHouse, the requested level requires a disk that fails, or the
    /// writer is draining. The row can be inserted later.
    SpoolFull,
}

impl From<SpoolFull> for InsertError {
    fn from(_: SpoolFull) -> Self {
        Self::SpoolFull
    }
}

/// The text names columns and rules, and contains no value of the row, so that it can be logged.
impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(columns) => {
                f.write_str("the row breaks rules of the schema")?;
                for (index, InvalidColumn { column, problem, .. }) in columns.iter().enumerate() {
                    let before = if index == 0 { ": " } else { "; " };
                    write!(f, "{before}column `{}` ({}): ", column.name, column.data_type)?;
                    f.write_str(problem.text())?;
                }
                Ok(())
            }
            Self::UnknownTable(table) => write!(f, "the table `{table}` is not in the writer's schema"),
            Self::SpoolFull => SpoolFull.fmt(f),
        }
    }
}

impl Error for InsertError {}
