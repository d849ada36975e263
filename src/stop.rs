//! Stopping by signals. SIGTERM, SIGINT (Ctrl-C) and SIGHUP (the terminal is closed) request an
//! orderly stop. A second signal makes the stop immediate or, during an announcement, begins the
//! orderly stop.

use std::{fs, future::pending, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

/// The stage of a stop, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// No stop has been requested.
    No,
    /// The stop is announced: `/ready` reports it to load balancers, and the collector still
    /// accepts events.
    Announced,
    /// Requests in flight complete, and rows are delivered to ClickHouse.
    Orderly,
    /// The process ends at once; rows on disk stay safe there.
    Immediate,
}

/// Waits for the stages of a stop.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<Stop>);

impl Stopping {
    /// Listens to the signals from now on. A stop is announced for `announced_for` before it
    /// begins.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub(crate) fn by_signals(announced_for: Duration) -> io::Result<Self> {
        let (sender, stopping) = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // A SIGHUP handler would undo `nohup`.
        let mut hangup = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        tokio::spawn(async move {
            loop {
                let stop = *sender.borrow();
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    Some(_) = async { hangup.as_mut()?.recv().await } => {}
                    () = sleep(announced_for), if stop == Stop::Announced => {}
                }
                let next = match stop {
                    Stop::No if !announced_for.is_zero() => {
                        tracing::info!(
                            seconds = announced_for.as_secs_f64(),
                            "about to stop: /ready responds with 503, and events are still accepted"
                        );
                        Stop::Announced
                    }
                    Stop::No | Stop::Announced => {
                        tracing::info!(
                            "stopping: the collector accepts no more events and sends the last rows to ClickHouse"
                        );
                        Stop::Orderly
                    }
                    Stop::Orderly => {
                        tracing::warn!(
                            "stopping at once: open requests are aborted, and unconfirmed rows stay in the spool"
                        );
                        Stop::Immediate
                    }
                    Stop::Immediate => continue,
                };
                sender.send_replace(next);
            }
        });
        Ok(stopping)
    }

    /// Returns a sender of stages and the receiver for them.
    pub(crate) fn new() -> (watch::Sender<Stop>, Self) {
        let (sender, receiver) = watch::channel(Stop::No);
        (sender, Self(receiver))
    }

    /// Returns whether a stop has at least been announced.
    pub(crate) fn is_announced(&self) -> bool {
        *self.0.borrow() >= Stop::Announced
    }

    /// Waits until a stop has at least been announced.
    pub(crate) async fn announced(self) {
        self.until(Stop::Announced).await;
    }

    /// Waits until a stop begins, orderly or immediate.
    pub(crate) async fn requested(self) {
        self.until(Stop::Orderly).await;
    }

    /// Waits until the stop is immediate.
    pub(crate) async fn immediate(self) {
        self.until(Stop::Immediate).await;
    }

    async fn until(mut self, stop: Stop) {
        if self.0.wait_for(|stage| *stage >= stop).await.is_err() {
            // The sender was dropped, so the stage cannot change.
            pending().await
        }
    }
}

/// Returns whether the process was started with a signal ignored. Returns `false` on systems
/// without `/proc/self/status`.
fn is_ignored(signal: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (signal.as_raw_value() - 1) != 0)
}
