//! Inserts sealed blocks into their tables, oldest first, until ClickHouse confirms each one.
//!
//! Each table has one task, so a table that ClickHouse refuses delays no other table. The task
//! compresses the table's next block while ClickHouse inserts the current one. Promises: each try
//! sends the same rows under the same token with the same settings, and ClickHouse stores them
//! once; delivery never drops a row; no more inserts run at a time than the options allow.
//!
//! ```text
//! table     the loop of one table: the next part, its tries, its failures
//! attempt   one try: looks up rows in doubt, compresses rows, sends them
//! lookup    checks whether the table has the rows of a try without a clear outcome
//! attach    adds rows whose token ClickHouse knows to their table alone, without its views
//! backend   the requests to ClickHouse, as a trait
//! adapt     fits the rows of another build to the table as it is now
//! guard     decides whether refused rows become dead letters or wait, without blocking other rows
//! views     leaves out the rows on which a materialized view throws, for that view only
//!           (`view_search` finds them)
//! failure   the reasons why a try fails
//! target    the servers that a table's rows may go to: the writer's (`servers`), or those of one
//!           shard (`shard_servers`)
//! fixed_server  the server of a try: that which may have the rows, or the next one in turn
//! waiting   the blocks whose server does not answer
//! shards    the shards that rows wait for, and their servers
//! follow    follows the clusters of Distributed tables: their servers, and the way of rows to them
//!           (`known_replicas` keeps the connections that reach each server)
//! pace      the age of blocks, by the number of new parts
//! audit     compares the number of confirmed rows with the table's, if enabled
//! ```
//!
//! Delivery bisects rows that ClickHouse refuses until only the bad row is left, which becomes a
//! dead letter. The spool records each cut before delivery sends the halves. Delivery also halves
//! rows that time out or that ClickHouse finds too many.

mod adapt;
mod attach;
mod attempt;
mod audit;
mod backend;
pub(crate) mod compress;
mod failure;
mod fixed_server;
pub(crate) mod follow;
mod guard;
mod known_replicas;
mod lookup;
pub(crate) mod pace;
pub(crate) mod prefetch;
pub(crate) mod run;
pub(crate) mod servers;
mod shard_servers;
pub(crate) mod shards;
mod table;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod view_search;
mod views;
mod waiting;

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};

pub use self::adapt::ColumnChanges;
pub(crate) use self::{
    adapt::{Changes, Origin, adapt},
    audit::Audit,
    failure::Failure,
    lookup::keeps_each_row,
};
use self::{
    backend::Backend, guard::Guard, servers::ServerPool, shards::Shards, table::TableDelivery, target::Target,
    waiting::Waiting,
};
use crate::{
    deliver::compress::Compressor,
    spool::{Spool, TableReader},
    store::{Connection, failure_log::FailureLog},
};

/// The maximum number of rows in a block. It is less than the `max_insert_block_size` that every
/// insert sets (ClickHouse's default), so ClickHouse inserts a block as one unit: atomicity and
/// deduplication apply to such units.
pub(crate) const MAX_BLOCK_ROWS: usize = 1_000_000;

/// The longest wait while the process is shutting down.
const CLOSING_WAIT: Duration = Duration::from_millis(200);

/// The state that the deliveries of all tables share.
#[derive(Debug)]
pub(crate) struct Delivery<B = Connection> {
    servers: ServerPool<B>,
    /// The servers of shards.
    shards: Shards<B>,
    spool: Spool,
    /// One permit for each insert that may run at a time.
    permits: Semaphore,
    /// The same number of permits for prefetched rows.
    prefetch_permits: Semaphore,
    compressor: Arc<Compressor>,
    timeout: Duration,
    changes: Changes,
    /// `None` unless the audit is enabled.
    audit: Option<Arc<Audit>>,
}

impl<B: Backend> Delivery<B> {
    /// Returns a delivery from `spool` to `servers`, with at most `inserts_in_flight` inserts at a
    /// time.
    pub(crate) fn new(
        servers: ServerPool<B>,
        spool: Spool,
        inserts_in_flight: usize,
        timeout: Duration,
        changes: Changes,
        audit: Option<Arc<Audit>>,
    ) -> Self {
        let permits = inserts_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            servers,
            shards: Shards::new(permits),
            spool,
            permits: Semaphore::new(permits),
            prefetch_permits: Semaphore::new(permits),
            compressor: Arc::default(),
            timeout,
            changes,
            audit,
        }
    }

    /// Returns the number of further tables that may prefetch rows.
    #[cfg(test)]
    pub(crate) fn free_prefetch_permits(&self) -> usize {
        self.prefetch_permits.available_permits()
    }

    /// Delivers a queue's blocks until the spool is closed and the queue is empty.
    pub(crate) async fn run(&self, reader: TableReader) {
        let shard = reader.layout().shard.as_deref().map(|shard| self.shards.servers(shard));
        let table = TableDelivery {
            delivery: self,
            reader: &reader,
            target: match &shard {
                Some(servers) => Target::Shard(servers),
                None => Target::Any(&self.servers, &self.permits),
            },
            guard: Guard::new(reader.has_divided()),
            waiting: Waiting::default(),
            failure_log: FailureLog::default(),
            forms: Vec::new(),
            max_bytes: usize::MAX,
            // A backlog at the start consists of rows that an earlier process could not deliver.
            is_throttled: reader.has_backlog(),
            prefetched: None,
        };
        table.run().await;
        reader.finish();
    }

    /// Waits for `wait`, but only briefly while the process is shutting down.
    async fn wait(&self, wait: Duration) {
        if !self.spool.is_closed() {
            tokio::select! {
                () = sleep(wait) => return,
                () = self.spool.closed() => {}
            }
        }
        sleep(wait.min(CLOSING_WAIT)).await;
    }
}
