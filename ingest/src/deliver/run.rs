//! Runs deliveries as tasks, and restarts them after a panic.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    deliver::Delivery,
    spool::{Spool, TableReader},
};

/// The wait before a delivery restarts after a panic.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// Stops the spool's log once no delivery is left.
#[derive(Debug)]
pub(crate) struct StopAfter(pub(crate) Delivery, pub(crate) Spool);

impl Drop for StopAfter {
    fn drop(&mut self) {
        self.1.stop();
    }
}

/// Runs a queue's delivery, and restarts it after a panic: the blocks are still in the spool, and
/// the next try sends the same rows.
pub(crate) async fn run(delivery: Arc<StopAfter>, reader: TableReader) {
    let table = Arc::clone(&reader.layout().table);
    loop {
        // A set of one task: if this task is aborted, the set aborts the inner one.
        let mut tasks = JoinSet::new();
        let (delivery, reader) = (Arc::clone(&delivery), reader.clone());
        tasks.spawn(async move { delivery.0.run(reader).await });
        match tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%table, %error, "a delivery ended unexpectedly and is restarted");
                sleep(RESTART_WAIT).await;
            }
            _ => return,
        }
    }
}
