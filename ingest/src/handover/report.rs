//! The outcome of a handover.

use std::fmt;

/// The rows that a handover has given to another collector, and the reasons why others stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandoverReport {
    /// The number of rows that the other collector has on its disk.
    pub rows: u64,
    /// The number of blocks with these rows.
    pub blocks: u64,
    /// The number of these blocks that the other collector had before, because an answer of it was
    /// lost or a copy of the folder was sent.
    pub blocks_known: u64,
    /// The number of rows that the disk of this collector has lost.
    pub rows_lost: u64,
    /// The number of rows that stay in this spool.
    pub rows_left: u64,
    /// The reasons why rows stay, each with the table if it is about one table.
    pub reasons: Vec<Reason>,
}

/// The reason why rows were not handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The table of the rows; `None` if the reason is about all of them.
    pub table: Option<String>,
    /// The reason, for a person.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "{table}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl HandoverReport {
    /// Returns whether no row stays.
    ///
    /// ```
    /// use rowmill_ingest::handover::HandoverReport;
    ///
    /// assert!(HandoverReport::default().is_complete());
    /// ```
    pub fn is_complete(&self) -> bool {
        self.rows_left == 0
    }

    pub(super) fn add_reason(&mut self, table: Option<&str>, text: String) {
        let table = table.map(str::to_owned);
        self.reasons.push(Reason { table, text });
    }
}
