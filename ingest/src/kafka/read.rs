//! Read: the records of one partition, in order, while memory is free.

use std::{pin::pin, sync::Arc, time::Duration};

use rskafka::record::RecordAndOffset;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    client::{Log, LogError, Partition},
    lag::LagGauge,
    positions::PartitionId,
};
use crate::{
    spool::Spool,
    store::{Class, backoff::RETRY, failure_log::FailureLog},
};

/// The wait while memory is short.
const MEMORY_WAIT: Duration = Duration::from_millis(20);

/// The interval at which the end of a partition is asked for while no records are read.
const END_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the records of a partition from `offset` on, until the receiver is dropped. Reads no more
/// while `spool` has enough rows of `table`. Keeps the end of the partition in `lag` meanwhile, too.
pub(super) async fn read(
    log: Arc<Log>,
    spool: Spool,
    table: Arc<str>,
    (topic, partition): PartitionId,
    mut offset: i64,
    lag: Arc<LagGauge>,
    records: mpsc::Sender<Vec<RecordAndOffset>>,
) {
    let mut connection: Option<Partition> = None;
    let mut failures = 0;
    let mut failure_log = FailureLog::default();
    loop {
        let memory = async {
            while spool.has_enough_of(&table) {
                sleep(MEMORY_WAIT).await;
            }
        };
        watch_end(&lag, connection.as_ref(), memory).await;
        let result = async {
            let connection = match connection.take() {
                Some(connection) => connection,
                None => log.partition(&topic, partition).await?,
            };
            let read = match connection.read(offset).await {
                Err(error) if error.is_out_of_range() => {
                    let (first, _) = connection.bounds().await?;
                    if first <= offset {
                        return Err(error);
                    }
                    report_removed(&topic, partition, first - offset);
                    connection.read(first).await?
                }
                read => read?,
            };
            Ok::<_, LogError>((connection, read))
        };
        match result.await {
            Ok((open, (read, end))) => {
                lag.set_end(end);
                failures = 0;
                let open = connection.insert(open);
                let Some(last) = read.last() else { continue };
                offset = last.offset + 1;
                if watch_end(&lag, Some(&*open), records.send(read)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                failures += 1;
                let class = match error.is_out_of_range() {
                    true => Class::Hold,
                    false => Class::Retry,
                };
                if failure_log.due(class).is_some() {
                    tracing::warn!(
                        topic = &*topic, partition, offset, %error,
                        "a partition of the shared log cannot be read and will be retried"
                    );
                }
                sleep(RETRY.wait(failures)).await;
            }
        }
    }
}

/// Waits, and asks for the end of the partition once in a while: with ClickHouse away, no records
/// are read, and the lag grows.
async fn watch_end<T>(lag: &LagGauge, connection: Option<&Partition>, wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    loop {
        if let Ok(done) = timeout(END_INTERVAL, wait.as_mut()).await {
            return done;
        }
        if let Some(connection) = connection
            && let Ok(end) = connection.end().await
        {
            lag.set_end(end);
        }
    }
}

/// Reports records that the brokers have removed.
pub(super) fn report_removed(topic: &str, partition: i32, records: i64) {
    tracing::error!(
        topic,
        partition,
        records,
        "the shared log has removed records before they were delivered: raise `retention.ms` of the topic"
    );
}
