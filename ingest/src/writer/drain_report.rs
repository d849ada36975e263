//! The outcome of a drain.

use crate::spool::TableCounts;

/// The rows that [`Writer::drain`](crate::Writer::drain) could not deliver to ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainReport {
    /// The tables with remaining rows. [`TableCounts::rows_on_disk`] are those of a table that the
    /// next process finds.
    pub left: Vec<TableCounts>,
    /// Whether all remaining rows are on disk, for the next process.
    pub is_kept: bool,
}

impl DrainReport {
    /// Returns the report of these tables with remaining rows.
    pub(super) fn new(left: Vec<TableCounts>, has_disk: bool) -> Self {
        let mut report = Self {
            left,
            is_kept: has_disk,
        };
        report.is_kept &= report.rows_lost() == 0;
        report
    }

    /// Returns whether every accepted row is stored.
    ///
    /// ```
    /// use rowmill_ingest::writer::DrainReport;
    ///
    /// fn log(report: &DrainReport) {
    ///     if !report.is_complete() {
    ///         println!("rows wait for the next process");
    ///     }
    /// }
    /// ```
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the number of remaining rows.
    ///
    /// ```
    /// use rowmill_ingest::writer::DrainReport;
    ///
    /// fn log(report: &DrainReport) {
    ///     println!("{} rows wait", report.rows_left());
    /// }
    /// ```
    pub fn rows_left(&self) -> u64 {
        self.left.iter().map(|counts| counts.rows_pending).sum()
    }

    /// Returns the number of remaining rows that are not on disk: they are lost when the process
    /// ends.
    ///
    /// ```
    /// use rowmill_ingest::writer::DrainReport;
    ///
    /// fn log(report: &DrainReport) {
    ///     println!("{} rows are lost", report.rows_lost());
    /// }
    /// ```
    pub fn rows_lost(&self) -> u64 {
        self.left.iter().map(lost).sum()
    }

    /// Logs the remaining rows of each table.
    pub(super) fn log(&self) {
        for counts in &self.left {
            let (table, kept, lost) = (&counts.table, counts.rows_on_disk, lost(counts));
            if kept > 0 {
                tracing::warn!(%table, rows = kept, "rows stay in the spool until the next start");
            }
            if lost > 0 {
                tracing::error!(%table, rows = lost, "rows were not stored in time and are lost");
            }
        }
    }
}

fn lost(counts: &TableCounts) -> u64 {
    counts.rows_pending.saturating_sub(counts.rows_on_disk)
}
