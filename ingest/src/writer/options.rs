//! Options of a writer.

use std::time::Duration;

use crate::{
    archive::Archive,
    block::{BlockLimits, MAX_BLOCK_BYTES},
    deliver::{ColumnChanges, MAX_BLOCK_ROWS},
    ids::base::Base,
    spool::{LogLimits, SpoolLimits},
    store::InsertQuorum,
    table::dead_letter::{DEFAULT_DAYS, DEFAULT_PAYLOAD_BYTES},
    topics::Topics,
    writer::payload_rate::DEFAULT_BYTES_PER_SECOND,
};

/// The options for the collection of rows into blocks, and for their delivery.
///
/// ```
/// use std::time::Duration;
///
/// use rowmill_ingest::WriterOptions;
///
/// let options = WriterOptions {
///     block_age: Duration::from_millis(200), // rows are in their table sooner, in more parts
///     memory_bytes: 64 << 20,
///     ..WriterOptions::default()
/// };
/// ```
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Rows after which a block is sealed, at most a million. Each insert creates a part on
    /// ClickHouse's disk whatever its size; ClickHouse's documentation recommends inserts of
    /// 100 000 rows.
    pub block_rows: usize,
    /// Bytes after which a block is sealed. With 10 MiB, an insert of wide rows does not take long
    /// to send again, and memory under full load stays at some 64 MiB: the open block, the block
    /// before it, its columns, and their frames. When ClickHouse does not keep up, a block may have
    /// three times as many bytes, but not more rows.
    pub block_bytes: usize,
    /// Time after which a block is sealed, counted from its first row. One second is short enough
    /// to watch a dashboard, and creates at most one part per second and table.
    pub block_age: Duration,
    /// The number of parts per second that the inserts of all writers together may create in one
    /// table on one server. Beyond it, blocks become older than `block_age`, up to a minute, and rows
    /// are in their table later. Blocks that are full, that have a row whose sender waits for
    /// [`Ack::Stored`](crate::Ack::Stored), or whose rows are only in memory are not delayed. The
    /// writer reads the number from `system.parts`. `None`: no limit.
    pub max_parts_per_second: Option<f64>,
    /// Memory that all rows and all requests in flight may use. One table, or all requests
    /// together, may use at most as much as is free for all others. Without a folder, the memory
    /// contains all rows that ClickHouse has not confirmed; 256 MiB are enough for a few thousand
    /// events per second during a restart of ClickHouse that takes a minute.
    pub memory_bytes: usize,
    /// Disk space that all segments of the spool may use. One table may use at most as much as is
    /// free for all others.
    pub disk_bytes: u64,
    /// The largest number of idempotency keys in the index, on routes that have them. Each takes up
    /// to 75 bytes of memory and 36 bytes of disk. When more keys arrive within their window, the
    /// oldest are forgotten, which is logged as a warning.
    pub idempotency_keys: usize,
    /// Concurrent inserts over all tables. Two keep ClickHouse busy while one is in transit, and
    /// limit the rate of a backlog.
    pub inserts_in_flight: usize,
    /// Time for one insert, including materialized views. An attempt that times out may still
    /// succeed; the next one is then a duplicate, which ClickHouse skips.
    pub insert_timeout: Duration,
    /// Replicas that have the rows before an insert counts as confirmed, and its rows as stored.
    /// `None`: the user's profile decides, by default the one replica that receives the insert.
    pub insert_quorum: Option<InsertQuorum>,
    /// The way of rows into Distributed tables.
    pub cluster_inserts: ClusterInserts,
    /// Renamed, dropped and converted columns of rows that an earlier build left in the spool.
    pub column_changes: ColumnChanges,
    /// Days after which ClickHouse removes a dead letter from the table `rejected`; 0 keeps dead
    /// letters permanently. A TTL of another form, set by the operator, is not changed.
    pub rejected_days: u32,
    /// The maximum number of payload bytes that a dead letter keeps. The recorded length and hash
    /// are those of the whole payload.
    pub rejected_payload_bytes: usize,
    /// The payload bytes that dead letters keep per second, on average over 16 seconds; 0 is no limit.
    /// Beyond them, a dead letter keeps the first 256 bytes of its payload, so that junk does not fill
    /// the disk for which other events wait.
    pub rejected_bytes_per_second: usize,
    /// The node number in the ids of this process, 0 to 511, which no other process that fills the
    /// same tables may have. `None`: a free number is leased in the table `rowmill_nodes`. Until
    /// ClickHouse is available, ids come from a random part of the range that no node number uses.
    pub node: Option<u16>,
    /// The time from the confirmation of a row to the audit, which compares counts with the table;
    /// at least 10 ms. `None`: no audit. See
    /// [`TableCounts::audit_missing`](crate::writer::TableCounts::audit_missing).
    pub audit_after: Option<Duration>,
    /// The archive of the rows, beside ClickHouse; it needs a folder. `None`: no archive.
    pub archive: Option<Archive>,
    /// The topics of the rows, beside ClickHouse; they need a folder. `None`: no topics.
    pub topics: Option<Topics>,
}

/// The way of rows into the tables over the shards of a cluster.
///
/// ```
/// use rowmill_ingest::{WriterOptions, writer::ClusterInserts};
///
/// let options = WriterOptions {
///     cluster_inserts: ClusterInserts::Distributed,
///     ..WriterOptions::default()
/// };
/// assert_eq!(ClusterInserts::default(), ClusterInserts::Shards);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterInserts {
    /// The writer computes the shard of each row, and inserts it into a server of that shard. Rows
    /// whose sharding key only ClickHouse can compute, and rows of shards without a known server, go
    /// through the Distributed table.
    #[default]
    Shards,
    /// All rows go through the Distributed table of one server, which passes them on before it
    /// confirms them (`insert_distributed_sync`).
    Distributed,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            block_rows: 100_000,
            block_bytes: 10 << 20,
            block_age: Duration::from_secs(1),
            max_parts_per_second: None,
            memory_bytes: 256 << 20,
            disk_bytes: 8 << 30,
            idempotency_keys: 2_000_000,
            inserts_in_flight: 2,
            insert_timeout: Duration::from_secs(60),
            insert_quorum: None,
            cluster_inserts: ClusterInserts::default(),
            column_changes: ColumnChanges::default(),
            rejected_days: DEFAULT_DAYS,
            rejected_payload_bytes: DEFAULT_PAYLOAD_BYTES,
            rejected_bytes_per_second: DEFAULT_BYTES_PER_SECOND,
            node: None,
            audit_after: None,
            archive: None,
            topics: None,
        }
    }
}

impl WriterOptions {
    pub(super) fn base(&self) -> Option<Base> {
        let of_node = |node| Base::of_node(node).expect("a node is a number up to 511");
        self.node.map(of_node)
    }

    pub(crate) fn limits(&self) -> SpoolLimits {
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
            keys: self.idempotency_keys.max(1),
        }
    }
}

/// An age of more than a day is a mistake, and very long ones overflow clocks.
pub(super) const MAX_BLOCK_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The length at which a segment is complete, or an eighth of the disk limit if that is less: short
/// enough for all its rows to be stored soon.
const SEGMENT_BYTES: u64 = 64 << 20;

/// A batch may exceed the disk limit by one frame.
const DISK_RESERVE: u64 = 4 << 20;
