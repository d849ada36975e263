//! The state of the servers' tables, as a writer sees it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::timeout;

use super::{Writer, status::FailingServer};
use crate::{
    store::InsertFailures,
    sync::{
        SyncError,
        state::{SchemaState, State},
    },
};

impl Writer {
    /// Waits until a server's tables match the schema, ids have a node number and the shards of
    /// Distributed tables are known, or every server has failed, or `max_wait` has elapsed. Rows are
    /// accepted throughout and afterwards, and sent to the first server that becomes ready.
    ///
    /// # Errors
    ///
    /// No server is ready, and at least one has responded: the database and the schema differ, or
    /// ClickHouse refuses to create the missing parts.
    pub async fn synced(&self, max_wait: Duration) -> Result<SchemaState, Arc<SyncError>> {
        let mut states = self.shared.states.clone();
        let is_decided = |states: &Vec<State>| {
            let is_known = |state: &State| !matches!(state, State::Unknown);
            states.iter().any(|state| matches!(state, State::Ready(_))) || states.iter().all(is_known)
        };
        let mut lease = self.shared.lease.clone();
        let mut shards = self.shared.shards.clone();
        let all_decided = async {
            _ = states.wait_for(is_decided).await;
            if self.schema_state() == SchemaState::Ready {
                _ = lease.wait_for(|lease| lease.is_settled).await;
                _ = shards.wait_for(|is_settled| *is_settled).await;
            }
        };
        // After a timeout, return the state known so far.
        _ = timeout(max_wait, all_decided).await;
        let state = self.schema_state();
        let refusal = states.borrow().iter().find_map(|state| match state {
            State::Rejected(error) => Some(Arc::clone(error)),
            _ => None,
        });
        match refusal.filter(|_| state == SchemaState::Rejected) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    /// Returns the number of columns whose constant DEFAULT differs, on the server with the most.
    pub(super) fn differing_defaults(&self) -> u64 {
        let states = self.shared.states.borrow();
        let counts = states.iter().map(|state| match state {
            State::Ready(connection) => connection.differing_defaults.load(Ordering::Relaxed),
            _ => 0,
        });
        counts.max().unwrap_or_default()
    }

    /// Returns the servers whose last inserts have failed.
    pub(super) fn failing_servers(&self) -> Vec<FailingServer> {
        let states = self.shared.states.borrow();
        let failing = states.iter().filter_map(|state| match state {
            State::Ready(connection) => {
                let InsertFailures { count, server } = connection.inserts.failures();
                let url = connection.inserts.url().to_string();
                (count > 0).then_some(FailingServer {
                    url,
                    failures: count,
                    server,
                })
            }
            _ => None,
        });
        failing.collect()
    }

    pub(super) fn schema_state(&self) -> SchemaState {
        let states = self.shared.states.borrow();
        let is_any = |is_match: fn(&State) -> bool| states.iter().any(is_match);
        if is_any(|state| matches!(state, State::Ready(_))) {
            SchemaState::Ready
        } else if is_any(|state| matches!(state, State::Rejected(_))) {
            SchemaState::Rejected
        } else {
            SchemaState::Unreachable
        }
    }
}
