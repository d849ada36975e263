//! The reasons why a backfill ends early.

use std::{error::Error, fmt};

use crate::{
    store::{ClickHouseError, quoted},
    sync::SyncError,
};

/// The error of a backfill.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackfillError {
    /// The schema has no view of this name.
    NoView {
        /// The name.
        view: String,
        /// The names of the schema's views.
        known: Vec<&'static str>,
    },
    /// The view has a schedule.
    Scheduled {
        /// The name of the view.
        view: &'static str,
    },
    /// The table that the view reads has no ids of the collector.
    NoId {
        /// The name of the view.
        view: &'static str,
    },
    /// The database does not have the view.
    NotCreated {
        /// The name of the view.
        view: &'static str,
    },
    /// The view takes all rows that are inserted, without a first id.
    NoCut {
        /// The name of the view.
        view: &'static str,
    },
    /// The view was created again after an earlier backfill.
    CreatedAgain {
        /// The name of the view.
        view: &'static str,
    },
    /// The view in the database differs from the schema.
    Differs {
        /// The name of the view.
        view: &'static str,
        /// The difference.
        difference: String,
    },
    /// An earlier run ended while it sent a piece, and a table that receives its rows may no longer
    /// remember whether it has them.
    InDoubt {
        /// The name of the view.
        view: &'static str,
        /// The number of the piece.
        piece: u64,
        /// The rows of the source in the piece.
        rows: u64,
        /// The quoted name of the table.
        table: String,
    },
    /// The view could not be compared with the schema.
    Comparison(SyncError),
    /// ClickHouse is unreachable, or refuses a statement.
    Server(ClickHouseError),
}

impl From<ClickHouseError> for BackfillError {
    fn from(error: ClickHouseError) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for BackfillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoView { view, known } if known.is_empty() => {
                write!(f, "the schema has no view `{view}`, and no other view")
            }
            Self::NoView { view, known } => {
                write!(f, "the schema has no view `{view}`; its views are {}", known.join(", "))
            }
            Self::Scheduled { view } => write!(
                f,
                "view `{view}` has a schedule, and reads all rows at each refresh; run SYSTEM REFRESH VIEW {}",
                quoted(view)
            ),
            Self::NoId { view } => write!(
                f,
                "view `{view}` cannot be backfilled: the table that it reads has no column with the collector's ids, \
                 which would tell the rows before the view from those after"
            ),
            Self::NotCreated { view } => write!(
                f,
                "the database has no view `{view}`: `rowmill apply` or the start of a collector creates it"
            ),
            Self::NoCut { view } => write!(
                f,
                "view `{view}` has no first id: Rowmill created it together with the table that it reads, and it has \
                 all rows; or something else created it, and Rowmill cannot tell which rows it has"
            ),
            Self::CreatedAgain { view } => write!(
                f,
                "view `{view}` was created again after a backfill, and its table may have rows of before: empty the \
                 table, create the view again, and delete the view's rows in `rowmill_backfill_rows`"
            ),
            Self::Differs { view, difference } => write!(
                f,
                "view `{view}` differs from the schema ({difference}): run `rowmill apply` first"
            ),
            Self::InDoubt {
                view,
                piece,
                rows,
                table,
            } => write!(
                f,
                "piece {piece} of view `{view}` ({rows} rows of its source) was being sent when an earlier run ended, and \
                 {table} has received too many inserts since to recognize it: find out whether the rows are in it, and \
                 repeat with --in-doubt stored or --in-doubt missing"
            ),
            Self::Comparison(_) => f.write_str("the view could not be compared with the schema"),
            Self::Server(_) => f.write_str("the backfill has ended early, and can be repeated"),
        }
    }
}

impl Error for BackfillError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Comparison(error) => Some(error),
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}
