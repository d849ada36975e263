//! The reasons why a try fails, and the dead letter of a row that ClickHouse refuses.

use std::{io, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    block::{layout::InsertTarget, parts::Part, sealed::SealedBlock},
    store::{Class, ClickHouseError, failure_log::FailureLog},
    table::dead_letter::DeadLetter,
};

/// The reason why a try failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of ClickHouse or of the connection to it.
    Server(ClickHouseError),
    /// An error of the spool's disk.
    Disk(io::Error),
    /// An earlier try is still running on the server, or the table is closed to inserts.
    Running,
    /// ClickHouse has confirmed rows that the table does not have.
    Missing,
    /// The server that may have the rows does not answer: its URL.
    Away(String),
    /// The rows do not fit the table as it is now.
    Misfit(String),
}

impl Failure {
    /// Returns the text for the log, without quoted values of rows.
    pub(crate) fn without_values(&self) -> String {
        match self {
            Self::Server(error) => error.without_values(),
            Self::Disk(error) => error.to_string(),
            Self::Running => "an earlier attempt is still running, or the table is closed to inserts".to_owned(),
            Self::Missing => "rows are not in the table although ClickHouse has confirmed them".to_owned(),
            Self::Away(server) => format!("rows may be stored on {server}, which does not answer"),
            Self::Misfit(reason) => reason.clone(),
        }
    }

    /// Returns the name of the server that answered, if it told.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            Self::Server(error) => error.server(),
            _ => None,
        }
    }

    /// Returns the class of the failure, which decides what delivery does next.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Server(error) => error.class(),
            Self::Disk(_) | Self::Running | Self::Missing | Self::Away(_) => Class::Retry,
            Self::Misfit(_) => Class::Hold,
        }
    }

    /// Returns whether a materialized view refuses rows that its table may have stored.
    pub(crate) fn is_view_error(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_view_error())
    }

    /// Returns whether the server did not answer in time.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_timeout())
    }
}

impl FailureLog {
    /// Logs a failure if a message is due.
    pub(crate) fn report(&mut self, block: &SealedBlock, part: &Part, failures: u32, failure: &Failure) {
        let now = Instant::now();
        if !self.should_log(now, failure.class()) {
            return;
        }
        let (table, id, rows) = (&*block.layout.table, block.id, part.len());
        let shard = block.layout.shard.as_ref().map(|shard| shard.number);
        let error = match failure {
            Failure::Server(error) => error,
            Failure::Disk(error) => {
                tracing::error!(table, shard, block = %id, rows, failures, %error, "rows are held because the spool's disk fails");
                return;
            }
            Failure::Misfit(reason) => {
                tracing::error!(table, shard, block = %id, rows, reason, "rows do not fit the table as it is now and are held");
                return;
            }
            Failure::Running | Failure::Missing | Failure::Away(_) => {
                let error = failure.without_values();
                tracing::warn!(table, shard, block = %id, rows, failures, error, "the outcome of an insert is still unknown");
                return;
            }
        };
        let (code, server) = (error.code(), error.server());
        let (cure, class) = (error.hint(), error.class());
        let error = error.without_values();
        match class {
            Class::Retry if self.is_recent(now) => {
                tracing::warn!(table, shard, block = %id, rows, failures, code, server, error, "an insert failed and will be retried");
            }
            Class::Retry => {
                tracing::error!(table, shard, block = %id, rows, failures, code, server, error, "an insert has failed for minutes and will be retried");
            }
            Class::Hold => {
                tracing::error!(table, shard, block = %id, rows, failures, code, server, cure, error, "an insert failed and will not succeed without intervention");
            }
            Class::Refused | Class::TooLarge => {
                tracing::error!(table, shard, block = %id, rows, failures, code, server, cure, error, "ClickHouse refuses every row; the table's rows are held");
            }
        }
    }
}

/// The reason why ClickHouse refuses a row, for its dead letter.
#[derive(Debug)]
pub(crate) struct RefusedRow {
    layout: Arc<InsertTarget>,
    code: String,
    reason: String,
    id: u64,
}

impl RefusedRow {
    /// Returns the data for the dead letter of the one row in `part`.
    pub(crate) fn of(block: &SealedBlock, part: &Part, refusal: &Failure) -> Self {
        let (code, reason) = match refusal {
            Failure::Server(error) => (error.code(), error.with_values()),
            other => (None, other.without_values()),
        };
        Self {
            layout: Arc::clone(&block.layout),
            code: code.map_or_else(|| "clickhouse".to_owned(), |code| format!("clickhouse-{code}")),
            reason,
            // If ClickHouse refuses the row a second time after a crash, the dead letter has the
            // same id.
            id: block.id.as_u64_pair().1 ^ u64::from(part.bounds().start),
        }
    }

    /// Appends the dead letter of `row`. The row was acknowledged and exists nowhere else, so the
    /// dead letter contains it in full.
    pub(crate) fn encode(&self, row: &[u8], out: &mut Vec<u8>) {
        let dead_letter = DeadLetter {
            time: Timestamp::now(),
            id: self.id,
            service: "",
            name: "",
            table: self.layout.schema_table(),
            column: "",
            code: &self.code,
            reason: &self.reason,
            payload: row,
            ip: "",
        };
        dead_letter.encode_row(self.layout.format(), &self.layout.columns_as_json(), out);
    }
}
