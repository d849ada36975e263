//! Counters: the outcomes of a table's rows since the start.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counters and gauges of one table since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rows_appended: AtomicU64,
    pub(crate) rows_rejected_full: AtomicU64,
    pub(crate) rows_inserted: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) rows_refused: AtomicU64,
    /// Queries to the table for rows that may be stored.
    pub(crate) lookups: AtomicU64,
    /// Rows that such a query has found in the table.
    pub(crate) rows_found: AtomicU64,
    /// Rows that ClickHouse has confirmed but does not show.
    pub(crate) rows_missing: AtomicU64,
    /// Blocks that a materialized view may have missed.
    pub(crate) views_in_doubt: AtomicU64,
    /// Rows that a materialized view refuses although they are in their table.
    pub(crate) rows_refused_by_views: AtomicU64,
    /// Rows that were damaged on disk.
    pub(crate) rows_lost: AtomicU64,
    /// Rows that another collector has taken over.
    pub(crate) rows_handed_over: AtomicU64,
    /// Rows taken over from another collector.
    pub(crate) rows_received: AtomicU64,
    /// Consecutive failures of the rows that are being inserted.
    pub(crate) failures: AtomicU64,
    /// 1 while rows wait that ClickHouse refuses, or that do not fit the table.
    pub(crate) is_held: AtomicU64,
    /// Confirmed rows that the audit has compared with the table.
    pub(crate) audit_checked: AtomicU64,
    /// Confirmed rows that the audit does not find.
    pub(crate) audit_missing: AtomicU64,
    /// Rows that the audit finds more than once.
    pub(crate) audit_duplicate: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, n: u64) {
        gauge.store(n, Ordering::Relaxed);
    }
}

/// One table's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCounts {
    /// The table's name.
    pub table: Arc<str>,
    /// Rows accepted since the start.
    pub rows_appended: u64,
    /// Rows not accepted because the spool was full.
    pub rows_rejected_full: u64,
    /// Rows that ClickHouse has confirmed, including those from before the start.
    pub rows_inserted: u64,
    /// Inserts that ClickHouse has confirmed.
    pub inserts: u64,
    /// Inserts that failed and were, or will be, retried.
    pub retries: u64,
    /// Rows that ClickHouse refused and that became dead letters.
    pub rows_refused: u64,
    /// Queries to the table for rows that may be stored although ClickHouse has not confirmed them.
    pub lookups: u64,
    /// Rows that such a query has found in the table and that were not sent again.
    pub rows_found: u64,
    /// Rows that ClickHouse has confirmed but does not show: lost, or hidden from this user.
    pub rows_missing: u64,
    /// Blocks that a materialized view may have missed: after a lost response, or because the view
    /// throws on rows that are valid one by one.
    pub views_in_doubt: u64,
    /// Rows that are in their table although a materialized view over it refuses them; counted once
    /// for each such view.
    pub rows_refused_by_views: u64,
    /// Rows that were damaged on the spool's disk while they waited, and are lost.
    pub rows_lost: u64,
    /// Rows that another collector has taken over.
    pub rows_handed_over: u64,
    /// Rows taken over from another collector.
    pub rows_received: u64,
    /// Consecutive failures of the current insert; 0 once it is stored or held.
    pub failures: u64,
    /// Whether rows wait for manual intervention: ClickHouse refuses all of them, or they do not
    /// fit the table.
    pub is_held: bool,
    /// Confirmed rows that the audit has compared with the table; 0 without
    /// [`WriterOptions::audit_after`](crate::WriterOptions::audit_after).
    pub audit_checked: u64,
    /// Confirmed rows that the audit currently does not find in the table.
    pub audit_missing: u64,
    /// Rows that the audit currently finds in the table beyond the first with their id.
    pub audit_duplicate: u64,
    /// Rows accepted and not yet confirmed.
    pub rows_pending: u64,
    /// Those of `rows_pending` that are on disk, where the next start finds them.
    pub rows_on_disk: u64,
    /// Blocks with unconfirmed rows, including the open one.
    pub blocks_pending: u64,
    /// The length of all rows of these blocks, in bytes.
    pub bytes_pending: u64,
    /// The age at which a block is sealed. It grows with the number of writers of the table if
    /// [`WriterOptions::max_parts_per_second`](crate::WriterOptions::max_parts_per_second) is set.
    pub block_age: Duration,
}

impl TableCounts {
    /// Adds the counters of a shard of the table.
    pub(super) fn add(&mut self, shard: &Self) {
        self.rows_appended += shard.rows_appended;
        self.rows_rejected_full += shard.rows_rejected_full;
        self.rows_inserted += shard.rows_inserted;
        self.inserts += shard.inserts;
        self.retries += shard.retries;
        self.rows_refused += shard.rows_refused;
        self.lookups += shard.lookups;
        self.rows_found += shard.rows_found;
        self.rows_missing += shard.rows_missing;
        self.views_in_doubt += shard.views_in_doubt;
        self.rows_refused_by_views += shard.rows_refused_by_views;
        self.rows_lost += shard.rows_lost;
        self.rows_handed_over += shard.rows_handed_over;
        self.rows_received += shard.rows_received;
        // The shard that has failed the longest needs attention.
        self.failures = self.failures.max(shard.failures);
        self.is_held |= shard.is_held;
        self.audit_checked += shard.audit_checked;
        self.audit_missing += shard.audit_missing;
        self.audit_duplicate += shard.audit_duplicate;
        self.rows_pending += shard.rows_pending;
        self.rows_on_disk += shard.rows_on_disk;
        self.blocks_pending += shard.blocks_pending;
        self.bytes_pending += shard.bytes_pending;
        self.block_age = self.block_age.max(shard.block_age);
    }

    /// Adds the counters of the delivery of the same table from a shared log. Rows count as inserted
    /// once they are in their table, not once the log has them.
    pub(crate) fn add_delivery(&mut self, delivery: &Self) {
        self.add(delivery);
        self.rows_inserted = delivery.rows_inserted;
        self.inserts = delivery.inserts;
        self.block_age = delivery.block_age;
    }
}

impl Counters {
    /// Returns the counters of `table` at this moment, without pending rows.
    pub(super) fn read(&self, table: Arc<str>) -> TableCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TableCounts {
            table,
            rows_appended: read(&self.rows_appended),
            rows_rejected_full: read(&self.rows_rejected_full),
            rows_inserted: read(&self.rows_inserted),
            inserts: read(&self.inserts),
            retries: read(&self.retries),
            rows_refused: read(&self.rows_refused),
            lookups: read(&self.lookups),
            rows_found: read(&self.rows_found),
            rows_missing: read(&self.rows_missing),
            views_in_doubt: read(&self.views_in_doubt),
            rows_refused_by_views: read(&self.rows_refused_by_views),
            rows_lost: read(&self.rows_lost),
            rows_handed_over: read(&self.rows_handed_over),
            rows_received: read(&self.rows_received),
            failures: read(&self.failures),
            is_held: read(&self.is_held) > 0,
            audit_checked: read(&self.audit_checked),
            audit_missing: read(&self.audit_missing),
            audit_duplicate: read(&self.audit_duplicate),
            rows_pending: 0,
            rows_on_disk: 0,
            blocks_pending: 0,
            bytes_pending: 0,
            block_age: Duration::ZERO,
        }
    }
}
