//! Why a database does not match the schema.

use std::{error::Error, fmt};

use super::columns::Difference;
use crate::store::{Class, ClickHouseError, ClickHouseUrl, ServerVersion, quoted};

/// The error for a database to which the schema could not be applied.
#[derive(Debug)]
pub struct SyncError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    store: String,
    kind: Kind,
}

/// The cause of the error.
#[derive(Debug)]
pub(super) enum Kind {
    /// ClickHouse is unreachable, or refuses a statement.
    Server {
        /// The statement or the current operation.
        doing: String,
        error: ClickHouseError,
    },
    /// Columns differ; only the operator knows which side is right.
    Differs {
        differences: Vec<Difference>,
        /// The statements that ran before the difference was found.
        done: Vec<String>,
    },
    /// The query of a view has columns that its table lacks.
    LostColumns {
        view: &'static str,
        target: &'static str,
        columns: Vec<String>,
    },
    /// ClickHouse has accepted the statements, but the database lacks the same as before.
    Unchanged { lacking: Vec<String> },
    /// The server is older than the collector needs.
    TooOld { found: ServerVersion },
    /// The server lacks a setting that inserts need.
    NoSetting { setting: &'static str },
    /// A table cannot be copied.
    Copy {
        table: &'static str,
        /// The reason as a clause.
        reason: String,
    },
}

impl Kind {
    pub(super) fn of(doing: impl Into<String>, error: ClickHouseError) -> Self {
        Self::Server {
            doing: doing.into(),
            error,
        }
    }

    pub(super) fn at(self, store: &ClickHouseUrl) -> SyncError {
        SyncError(Box::new(Inner {
            store: store.to_string(),
            kind: self,
        }))
    }
}

impl SyncError {
    /// Returns the columns that differ, if that is the cause. Each has a statement that would
    /// change the database.
    pub fn differences(&self) -> &[Difference] {
        match &self.0.kind {
            Kind::Differs { differences, .. } => differences,
            _ => &[],
        }
    }

    /// Returns whether the error is transient: ClickHouse is unreachable, starting or overloaded. A
    /// certificate that TLS refuses is not transient.
    /// Any other error lasts until the operator acts.
    pub fn is_transient(&self) -> bool {
        match &self.0.kind {
            Kind::Server { error, .. } => error.is_transient() && !error.is_of_tls(),
            _ => false,
        }
    }

    /// Returns the class of the error.
    pub(crate) fn class(&self) -> Class {
        if self.is_transient() { Class::Retry } else { Class::Hold }
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.store, self.0.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { doing, .. } => write!(f, "request failed: {doing}"),
            Self::Differs { differences, done } => {
                f.write_str("the database differs from the schema, and ")?;
                if done.is_empty() {
                    f.write_str("nothing has been changed:")?;
                } else {
                    f.write_str("these statements had already run:")?;
                    done.iter().try_for_each(|statement| write!(f, "\n  {statement};"))?;
                    f.write_str("\nDifferences:")?;
                }
                differences
                    .iter()
                    .try_for_each(|difference| write!(f, "\n  {difference}"))
            }
            Self::LostColumns { view, target, columns } => {
                let columns: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
                write!(
                    f,
                    "view {} would lose columns of its query, which its table {} lacks: {}; add them to the table, or \
                     give them the names of its columns with AS",
                    quoted(view),
                    quoted(target),
                    columns.join(", ")
                )
            }
            Self::Unchanged { lacking } => {
                f.write_str("ClickHouse ran the statements, but the database still lacks:")?;
                lacking.iter().try_for_each(|statement| write!(f, "\n  {statement};"))
            }
            Self::TooOld { found } => write!(
                f,
                "ClickHouse {found} is older than {}, which Rowmill needs",
                ServerVersion::OLDEST
            ),
            Self::NoSetting { setting } => write!(f, "ClickHouse has no setting `{setting}`, which Rowmill needs"),
            Self::Copy { table, reason } => write!(f, "{} cannot be copied: {reason}", quoted(table)),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            column,
            wanted,
            found,
            statement,
        } = self;
        let (table, column) = (quoted(table), quoted(column));
        write!(
            f,
            "{table}.{column} is {found} in the database and {wanted} in the schema; change the schema, or run: {statement}"
        )
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            Kind::Server { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference() -> Difference {
        Difference {
            table: "t",
            column: "a",
            wanted: "UInt8".to_owned(),
            found: "UInt16".to_owned(),
            statement: "ALTER …".to_owned(),
        }
    }

    #[test]
    fn an_error_lists_the_statements_that_had_run() {
        let done = vec!["CREATE …".to_owned(), "ALTER …".to_owned()];
        let differs = |done| Kind::Differs {
            differences: vec![difference()],
            done,
        };
        assert_eq!(
            differs(done).to_string(),
            "the database differs from the schema, and these statements had already run:\n  CREATE …;\n  ALTER …;\nDifferences:\
             \n  `t`.`a` is UInt16 in the database and UInt8 in the schema; change the schema, or run: ALTER …"
        );
        assert!(differs(Vec::new()).to_string().contains("nothing has been changed"));
        let lacking = vec!["ALTER …".to_owned()];
        assert!(
            Kind::Unchanged { lacking }
                .to_string()
                .ends_with("still lacks:\n  ALTER …;")
        );
    }

    #[test]
    fn unavailability_is_transient_and_a_refused_statement_is_not() {
        let refused = |text: &str| ClickHouseError::from(clickhouse::error::Error::BadResponse(text.to_owned()));
        let is_transient = |error| {
            SyncError(Box::new(Inner {
                store: String::new(),
                kind: Kind::of("", error),
            }))
            .is_transient()
        };
        assert!(is_transient(clickhouse::error::Error::TimedOut.into()));
        assert!(is_transient(refused("502 Bad Gateway")));
        assert!(is_transient(refused("Code: 999. DB::Exception: Keeper")));
        // After this error, delivery would retry an insert.
        assert!(!is_transient(refused("Code: 36. DB::Exception: Bad arguments")));
        assert!(!is_transient(refused(
            "Code: 497. DB::Exception: Not enough privileges"
        )));
    }
}
