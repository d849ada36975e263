//! Deliveries as tasks, which start again after a panic.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::{deliver::Delivery, spool::Spool};

/// A delivery that ended by a panic starts again after this.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// Stops the spool's log when nobody delivers any more.
#[derive(Debug)]
pub(crate) struct StopAfter(pub(crate) Delivery, pub(crate) Arc<Spool>);

impl Drop for StopAfter {
    fn drop(&mut self) {
        self.1.stop();
    }
}

/// Runs a lane's deliveries, again after a panic: its blocks are still in the spool, and another try sends the same.
pub(crate) async fn run(delivery: Arc<StopAfter>, lane: usize, table: Arc<str>) {
    loop {
        // A set of one: when this task is stopped, it stops the one within.
        let mut one = JoinSet::new();
        let delivery = Arc::clone(&delivery);
        one.spawn(async move { delivery.0.run(lane).await });
        match one.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%table, %error, "a delivery ended unexpectedly and is started again");
                sleep(RESTART_WAIT).await;
            }
            _ => return,
        }
    }
}
