//! Stop: what the process is asked by signals. SIGTERM, SIGINT (Ctrl-C) and SIGHUP (the terminal is
//! gone) mean an orderly stop; a second one means haste, or, where the stop is announced first,
//! that it begins.

use std::{fs, future::pending, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

/// How the process is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    No,
    /// Soon: balancers are told, and events are still taken.
    Announced,
    /// Requests under way end, rows go to ClickHouse.
    Orderly,
    /// At once: what is on disk is safe there.
    InHaste,
}

/// Tells whoever waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<Stop>);

impl Stopping {
    /// Listens to the signals from now on. A stop is announced for so long before it begins.
    ///
    /// # Errors
    /// The system does not let it.
    pub(crate) fn by_signals(announced_for: Duration) -> io::Result<Self> {
        let (sender, stopping) = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // To listen to it would undo what `nohup` has done.
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
                            "about to stop: /ready tells it, and events are still taken"
                        );
                        Stop::Announced
                    }
                    Stop::No | Stop::Announced => {
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

    /// Returns whether the process is to stop, be it soon or at once.
    pub(crate) fn is_announced(&self) -> bool {
        *self.0.borrow() >= Stop::Announced
    }

    /// Waits until the process is to stop, be it soon or at once.
    pub(crate) async fn announced(self) {
        self.until(Stop::Announced).await;
    }

    /// Waits until the stop begins, in whatever way.
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

/// Returns whether the process was started with a signal ignored, where the system tells it.
fn is_ignored(signal: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (signal.as_raw_value() - 1) != 0)
}
