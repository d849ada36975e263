//! Sends all rows of a spool to another collector.

use std::{pin::Pin, sync::Arc};

use tokio::time::sleep;

use crate::{
    block::sealed::SealedBlock,
    handover::{
        report::HandoverReport,
        target::{PostError, Target},
    },
    spool::{Package, Received, Spool, TableReader},
    store::{Class, backoff::RETRY, failure_log::FailureLog},
};

/// The reason for the rows that are left when the time is over without a failure.
const TIME_IS_OVER: &str = "the time is over";

/// Hands the rows of a spool to another collector, until none is left, the other collector takes no
/// more, or `deadline` completes. Nothing may deliver or append rows meanwhile.
pub(crate) async fn hand_over(spool: &Spool, target: &Target, deadline: impl Future<Output = ()>) -> HandoverReport {
    let mut deadline = std::pin::pin!(deadline);
    let mut handover = Handover {
        target,
        report: HandoverReport::default(),
        failures: FailureLog::default(),
    };
    for reader in spool.readers() {
        if handover.table(&reader, deadline.as_mut()).await.is_err() {
            break;
        }
    }
    let mut report = handover.report;
    let counts = spool.counts();
    report.rows_left = counts.iter().map(|counts| counts.rows_pending).sum();
    report.rows_lost = counts.iter().map(|counts| counts.rows_lost).sum();
    report
}

/// The handover of no further table makes sense.
struct Ended;

/// The outcome of a package.
enum Sent {
    /// The other collector has the blocks.
    Taken(Received),
    /// The other collector takes no blocks of this queue.
    NoQueue(String),
    /// The other collector cannot take one of the blocks.
    Refused(String),
    /// The request is too long for the other collector.
    TooLong(String),
}

/// A handover in progress.
struct Handover<'t> {
    target: &'t Target,
    report: HandoverReport,
    failures: FailureLog,
}

impl Handover<'_> {
    /// Hands over the blocks of one queue.
    async fn table(
        &mut self,
        reader: &TableReader,
        mut deadline: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Ended> {
        let table = &*reader.layout().table;
        let mut blocks = reader.seal_all();
        let mut most = usize::MAX;
        while !blocks.is_empty() {
            let package = tokio::select! {
                package = reader.pack(&mut blocks, most) => package,
                () = deadline.as_mut() => return self.end(TIME_IS_OVER.to_owned()),
            };
            let package = match package {
                Ok(package) => package,
                Err(error) => {
                    let block = blocks.remove(0);
                    self.skip(table, &[block], format!("rows cannot be read from disk: {error}"));
                    continue;
                }
            };
            if package.blocks.is_empty() {
                self.forget(reader, &package)?;
                continue;
            }
            let sent = self.send(table, &package, deadline.as_mut()).await?;
            if !matches!(sent, Sent::Taken(_)) {
                // Nothing is left of these, whatever happens to the others.
                self.forget(reader, &package.only_lost())?;
            }
            match sent {
                Sent::Taken(received) => {
                    self.forget(reader, &package)?;
                    let rows: usize = package.blocks.iter().map(|(_, rows)| rows).sum();
                    tracing::debug!(
                        table,
                        rows,
                        blocks = package.blocks.len(),
                        known = received.known,
                        "handed over"
                    );
                    self.report.rows += rows as u64;
                    self.report.blocks += package.blocks.len() as u64;
                    self.report.blocks_known += received.known as u64;
                }
                Sent::NoQueue(reason) => {
                    blocks.splice(0..0, package.blocks.into_iter().map(|(block, _)| block));
                    self.skip(table, &blocks, reason);
                    return Ok(());
                }
                // Alone, each block is as short as it can be, and only those stay that are refused.
                Sent::TooLong(_) | Sent::Refused(_) if package.blocks.len() > 1 => {
                    blocks.splice(0..0, package.blocks.into_iter().map(|(block, _)| block));
                    most = 1;
                }
                Sent::TooLong(reason) | Sent::Refused(reason) => {
                    let block = package.blocks.into_iter().map(|(block, _)| block);
                    self.skip(table, &block.collect::<Vec<_>>(), reason);
                }
            }
        }
        Ok(())
    }

    /// Sends a package until there is an outcome.
    async fn send(
        &mut self,
        table: &str,
        package: &Package,
        mut deadline: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Sent, Ended> {
        let target = self.target;
        let mut failures = 0;
        let mut last = TIME_IS_OVER.to_owned();
        loop {
            let posted = tokio::select! {
                posted = target.post(package.bytes.clone()) => posted,
                () = deadline.as_mut() => return self.end(last),
            };
            let (reason, after) = match posted {
                Ok(received) if received.taken + received.known == package.blocks.len() => {
                    self.failures = FailureLog::default();
                    return Ok(Sent::Taken(received));
                }
                Ok(_) => return self.end("the other collector answers with the number of other blocks".to_owned()),
                Err(PostError::NoQueue(reason)) => return Ok(Sent::NoQueue(reason)),
                Err(PostError::Refused(reason)) => return Ok(Sent::Refused(reason)),
                Err(PostError::TooLong(reason)) => return Ok(Sent::TooLong(reason)),
                Err(PostError::Fatal(reason)) => return self.end(reason),
                Err(PostError::Retry { reason, after }) => (reason, after),
            };
            failures += 1;
            if self.failures.due(Class::Retry).is_some() {
                tracing::warn!(%target, table, failures, reason, "rows cannot be handed over now, and are sent again");
            }
            let wait = RETRY.wait(failures).max(after.unwrap_or_default());
            tokio::select! {
                () = sleep(wait) => {}
                () = deadline.as_mut() => return self.end(reason),
            }
            last = reason;
        }
    }

    /// Forgets the blocks of a package that the other collector has.
    fn forget(&mut self, reader: &TableReader, package: &Package) -> Result<(), Ended> {
        match reader.handed_over(package) {
            Ok(()) => Ok(()),
            Err(error) => self.end(format!(
                "the other collector has rows that this one cannot mark as handed over: {error}"
            )),
        }
    }

    /// Records why blocks of a table stay.
    fn skip(&mut self, table: &str, blocks: &[Arc<SealedBlock>], reason: String) {
        let blocks = blocks.len();
        tracing::error!(target = %self.target, table, blocks, reason, "rows cannot be handed over and stay in this spool");
        self.report.add_reason(Some(table), reason);
    }

    /// Ends the handover of all tables.
    fn end<T>(&mut self, reason: String) -> Result<T, Ended> {
        self.report.add_reason(None, reason);
        Err(Ended)
    }
}
