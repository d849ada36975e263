//! A shared log in place of the spool's folder: Kafka's protocol keeps the rows between the
//! collectors and ClickHouse, so that they outlive a collector's machine.
//!
//! Two spools in memory are the ends of the log. That of a collector holds rows until the log has
//! them; that of a delivery holds blocks of the log until ClickHouse has them. Between the two:
//!
//! ```text
//! append     rows of a collector's spool become records of their table's topic
//! key        the partition of a row, by the value of a column
//! record     the bytes of such a record: frames of the spool
//! read       the records of a partition, while memory is free
//! follow     records of a partition become blocks of a delivery's spool
//! start      where that begins
//! cuts       which records are a block, the same for all processes
//! deliver    the partitions that this process follows
//! lag        how far the deliveries are behind the end of the log
//! members    the processes that deliver, and who owns a partition
//! control    the records in which they agree on both
//! positions  how far each partition is stored, in ClickHouse
//! inspect    reports of the rows that are not stored yet
//! client     the connections to the brokers
//! url        the address of the log
//! ```
//!
//! Promises: a row that is acknowledged as replicated is in its table exactly once, whichever
//! processes end and whenever. A block's rows, and so its token, follow from the log alone. The
//! token and the lookup of its rows keep two processes that deliver the same block from storing it
//! twice. A partition's position moves only after its rows are stored.

mod append;
pub(crate) mod client;
mod control;
mod cuts;
mod deliver;
mod follow;
mod inspect;
mod key;
mod lag;
mod members;
mod positions;
mod read;
mod record;
mod start;
mod url;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

pub(crate) use self::lag::Lags;
use self::{
    append::{MAX_RECORD_BYTES, TableAppender},
    client::Log,
    deliver::Member,
    follow::Shared,
    key::PartitionKey,
    positions::Positions,
};
pub use self::{
    client::TopicOptions,
    inspect::{LogEnds, LogInspectError, LogReport, LogRows, PartitionReport, inspect_log},
    key::InvalidLogKey,
    lag::PartitionLag,
    url::{InvalidLogUrl, LogUrl},
};
use crate::{
    block::BlockLimits,
    spool::{Spool, SpoolLimits},
    sync::state::State,
};

/// The time for which a collector gathers rows for a record while no record is under way. It costs
/// each lone row this much latency, and saves a record for each further row.
const LINGER: Duration = Duration::from_millis(2);

/// Returns the limits of a collector's spool, whose blocks become records.
pub(crate) fn limits_of_appends(limits: SpoolLimits) -> SpoolLimits {
    SpoolLimits {
        blocks: BlockLimits {
            bytes: limits.blocks.bytes.min(MAX_RECORD_BYTES),
            age: LINGER,
            ..limits.blocks
        },
        ..limits
    }
}

/// Starts the tasks that append the rows of a spool to a log.
pub(crate) fn append(spool: &Spool, url: &LogUrl, topics: TopicOptions, tasks: &mut JoinSet<()>) {
    let log = Arc::new(Log::new(url.clone(), topics));
    let producer = Uuid::now_v7();
    for reader in spool.readers() {
        // The program has checked the keys; another one gets its rows in any order.
        let key = PartitionKey::of(&url.keys, reader.layout()).unwrap_or_else(|error| {
            tracing::error!(%error, "the rows of a table have no partition of their own");
            None
        });
        tasks.spawn(TableAppender::new(Arc::clone(&log), reader, key, producer).run());
    }
}

/// Starts the task that moves the blocks of a log to a spool, whose deliveries insert them. Returns
/// the lags of the partitions that it follows.
pub(crate) fn deliver(
    spool: &Spool,
    url: &LogUrl,
    topics: TopicOptions,
    limits: SpoolLimits,
    states: watch::Receiver<Vec<State>>,
    tasks: &mut JoinSet<()>,
) -> Lags {
    let log = Arc::new(Log::new(url.clone(), topics));
    let tables = spool
        .readers()
        .iter()
        .map(|reader| Arc::clone(reader.layout()))
        .collect();
    let positions = Positions::new(states);
    let shared = Shared::new(log, spool.clone(), limits.blocks, positions, limits.memory_bytes);
    let lags = shared.lags.clone();
    tasks.spawn(Member::new(Arc::new(shared)).run(tables));
    lags
}
