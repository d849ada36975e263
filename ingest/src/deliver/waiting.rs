//! The blocks that wait for the server that may have their rows.

use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::{
    block::sealed::SealedBlock,
    store::{Class, failure_log::FailureLog},
};

/// The interval at which rows are tried again whose server does not answer. It takes no request.
const INTERVAL: Duration = Duration::from_secs(1);

/// The blocks that wait for their server.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    blocks: Vec<(Uuid, Instant)>,
    log: FailureLog,
}

impl Waiting {
    /// Returns whether a block waits. Once its time is over, it is the oldest one, and next.
    pub(super) fn has(&self, block: &SealedBlock) -> bool {
        let is_waiting = |(id, until): &(Uuid, Instant)| *id == block.id && *until > Instant::now();
        self.blocks.iter().any(is_waiting)
    }

    /// Returns whether any block waits.
    pub(super) fn has_any(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Returns the time at which a block is tried again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.blocks.iter().map(|(_, until)| *until).min()
    }

    /// Lets a block wait for `server`.
    pub(super) fn wait(&mut self, block: &SealedBlock, server: &str) {
        self.blocks.retain(|(id, _)| *id != block.id);
        self.blocks.push((block.id, Instant::now() + INTERVAL));
        match self.log.due(Class::Retry) {
            Some(true) => tracing::warn!(
                table = %block.layout.table, block = %block.id, server,
                "rows may be stored on a server that does not answer: they wait for it, and other rows do not"
            ),
            Some(false) => tracing::error!(
                table = %block.layout.table, block = %block.id, server,
                cure = "start the server, or give its URL to the collector again",
                "rows may be stored on a server that has not answered for minutes: they wait for it"
            ),
            None => {}
        }
    }

    /// Forgets the blocks that have waited until `now`.
    pub(super) fn release(&mut self, now: Instant) {
        self.blocks.retain(|(_, until)| *until > now);
    }

    /// Begins anew with the log, if no block waits.
    pub(super) fn forget_failures(&mut self) {
        if !self.has_any() {
            self.log = FailureLog::default();
        }
    }
}
