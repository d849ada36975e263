//! Logs clashes and failures of a lease, at most one message about the same problem in a minute.

use std::time::Duration;

use tokio::time::Instant;

use super::Lease;
use crate::{lease::nodes::Claim, store::ClickHouseError};

/// After this many failures in a row, about five minutes, the lease logs a failure of any kind.
const LASTING_FAILURES: u32 = 30;

/// The interval between two messages about a clash that lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl Lease<'_> {
    /// Counts and logs that another process has the same number.
    pub(super) fn report_clash(&mut self, node: u16, other: Option<&Claim>) {
        self.progress.send_modify(|progress| progress.clashes += 1);
        if !self.should_log() {
            return;
        }
        let host = other.map(|other| &*other.on_host);
        let process = other.map(|other| &*other.claimant);
        if self.chosen.is_some() {
            tracing::error!(
                node,
                host,
                process,
                "another process has the same node number, and both make the same ids: give one of them another number, or none"
            );
        } else {
            tracing::error!(
                node,
                host,
                process,
                "another process has the same node number: this process takes another, and some ids since its start may be duplicates"
            );
        }
    }

    /// Returns whether a message about a lasting problem is due.
    pub(super) fn should_log(&mut self) -> bool {
        let now = Instant::now();
        let is_recent = |last| now.duration_since(last) < LOG_INTERVAL;
        let is_due = !self.last_logged.is_some_and(is_recent);
        if is_due {
            self.last_logged = Some(now);
        }
        is_due
    }

    pub(super) fn log_failure(&self, error: &ClickHouseError, failures: u32) {
        // While ClickHouse is unreachable, other tasks log the outage.
        let is_due = failures == LASTING_FAILURES || (failures == 1 && !error.is_transient());
        if !is_due {
            tracing::debug!(%error, failures, "the node number could not be renewed");
        } else {
            let cure = error.hint();
            tracing::warn!(
                %error, cure,
                "the table `rowmill_nodes` cannot be used: a second process with the same node number would not be noticed"
            );
        }
    }
}
