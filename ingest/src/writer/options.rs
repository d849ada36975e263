//! Options of a writer.

use std::time::Duration;

use crate::{
    block::{BlockLimits, MAX_BLOCK_BYTES},
    deliver::{ColumnChanges, MAX_BLOCK_ROWS},
    ids::base::Base,
    spool::{LogLimits, SpoolLimits},
    store::InsertQuorum,
    table::dead_letter::{DEFAULT_DAYS, DEFAULT_PAYLOAD_BYTES},
};

/// How rows are gathered and delivered.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Rows after which a block is sealed, at most a million. Each insert makes a part on ClickHouse's disk whatever its
    /// size; 100 000 rows are what ClickHouse's own advice calls a good insert.
    pub block_rows: usize,
    /// Bytes after which a block is sealed. 10 MiB keeps wide rows from making an insert that takes long to send again, and the memory
    /// under full load at some 64 MiB: there are the block that rows come to, the one before it, its columns, and their frames. Where
    /// ClickHouse does not keep up, a block that others wait before may have three times as many, but not more rows.
    pub block_bytes: usize,
    /// Time after which a block is sealed, counted from its first row. One second is fresh enough to watch a dashboard by, and
    /// gives one part a second for each table at most.
    pub block_age: Duration,
    /// Memory that all rows and all requests in flight may take; one table has at most as much of it as is free for all others, and so
    /// have all requests together. Without a folder these
    /// are all rows that ClickHouse has not confirmed, and 256 MiB carry a few thousand events a second through a minute's
    /// restart of ClickHouse.
    pub memory_bytes: usize,
    /// Disk that all segments of the spool may take; again, one table has at most as much as is free for all others.
    pub disk_bytes: u64,
    /// Inserts at a time over all tables. Two keep ClickHouse busy while one is on the way, and pace a backlog.
    pub inserts_in_flight: usize,
    /// Time for one insert, materialized views included. A try that is given up may still succeed; the next one is then a
    /// duplicate, which ClickHouse skips.
    pub insert_timeout: Duration,
    /// Replicas that have the rows before an insert counts as confirmed, and its rows as stored. None: as the user's profile says,
    /// by default the one that takes the insert.
    pub insert_quorum: Option<InsertQuorum>,
    /// What has become of columns of rows that an earlier build has left in the spool.
    pub column_changes: ColumnChanges,
    /// Days after which ClickHouse removes a dead letter from the table `rejected`; 0 keeps them for good. A TTL of another form that a
    /// person has given the table stays.
    pub rejected_days: u32,
    /// How much of what was sent a dead letter keeps, in bytes; its length and its hash are those of the whole.
    pub rejected_payload_bytes: usize,
    /// The number of this process in its ids, 0 to 511, which no other process that fills the same tables may have. Without one,
    /// a free number is leased in the table `rowmill_nodes`; until ClickHouse can be asked, ids are from a random part of the
    /// places that no number has.
    pub node: Option<u16>,
    /// The time between the confirmation of a row and the audit's comparison of counts with the table, at least 10 ms; none without
    /// an audit. See [`TableCounts::audit_missing`].
    pub audit_after: Option<Duration>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            block_rows: 100_000,
            block_bytes: 10 << 20,
            block_age: Duration::from_secs(1),
            memory_bytes: 256 << 20,
            disk_bytes: 8 << 30,
            inserts_in_flight: 2,
            insert_timeout: Duration::from_secs(60),
            insert_quorum: None,
            column_changes: ColumnChanges::default(),
            rejected_days: DEFAULT_DAYS,
            rejected_payload_bytes: DEFAULT_PAYLOAD_BYTES,
            node: None,
            audit_after: None,
        }
    }
}

impl WriterOptions {
    pub(super) fn base(&self) -> Option<Base> {
        let of_node = |node| Base::of_node(node).expect("a node is a number up to 511");
        self.node.map(of_node)
    }

    pub(super) fn limits(&self) -> SpoolLimits {
        SpoolLimits {
            blocks: BlockLimits {
                rows: self.block_rows.clamp(1, MAX_BLOCK_ROWS),
                bytes: self.block_bytes.clamp(1, MAX_BLOCK_BYTES),
                age: self.block_age.min(MAX_BLOCK_AGE),
            },
            memory_bytes: self.memory_bytes,
            log: LogLimits {
                segment_bytes: SEGMENT_BYTES.min(self.disk_bytes / 8),
                max_bytes: self.disk_bytes.saturating_sub(DISK_RESERVE),
            },
        }
    }
}

/// An age beyond a day is a mistake, and far ones overflow clocks.
pub(super) const MAX_BLOCK_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A segment is left when it is this long, or an eighth of what the spool may be: small enough to be done with soon.
const SEGMENT_BYTES: u64 = 64 << 20;

/// A batch may reach beyond the bound of the disk by one frame.
const DISK_RESERVE: u64 = 4 << 20;
