//! Stop: what the process is asked by signals. SIGTERM and SIGINT (Ctrl-C) mean an orderly stop, a second one means haste.

use std::{future::pending, io};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How the process is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// Requests under way end, rows go to ClickHouse.
    Orderly,
    /// At once: what is on disk is safe there.
    InHaste,
}

/// Tells whoever waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<Stop>);

impl Stopping {
    /// Listens to the signals from now on.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn by_signals() -> io::Result<Self> {
        let (sender, stopping) = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                let stop = *sender.borrow();
                let next = match stop {
                    Stop::No => {
                        tracing::info!("stopping: no more events are taken, the last rows go to ClickHouse");
                        Stop::Orderly
                    }
                    Stop::Orderly => {
                        tracing::warn!(
                            "stopping at once: open requests are cut off, rows that ClickHouse does not have stay in the spool"
                        );
                        Stop::InHaste
                    }
                    Stop::InHaste => continue,
                };
                sender.send_replace(next);
            }
        });
        Ok(stopping)
    }

    /// Returns what is told by the sender.
    pub(crate) fn new() -> (watch::Sender<Stop>, Self) {
        let (sender, receiver) = watch::channel(Stop::No);
        (sender, Self(receiver))
    }

    /// Waits until the process is to stop, in whatever way.
    pub(crate) async fn asked(self) {
        self.until(Stop::Orderly).await;
    }

    /// Waits until the process is to stop at once.
    pub(crate) async fn hurried(self) {
        self.until(Stop::InHaste).await;
    }

    async fn until(mut self, stop: Stop) {
        if self.0.wait_for(|asked| *asked >= stop).await.is_err() {
            // Nobody will ask any more.
            pending().await
        }
    }
}
