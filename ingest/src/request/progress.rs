//! Progress: how slowly a body may arrive.
//!
//! A limit on the whole time alone would refuse either long bodies over slow lines, or nobody. So a
//! body has to make progress: a minimum of bytes in each window of time. A sender that stalls, or
//! that sends a byte now and then, fails at the end of a window.
//!
//! While the memory for requests is nearly used up, a body has one window. Otherwise a few senders
//! could hold this memory for as long as they send slowly.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// The time limits of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyTimeouts {
    // In milliseconds and 32 bits, because each request has a copy.
    window_ms: u32,
    whole_ms: u32,
    /// The number of bytes that must arrive in each window.
    min_bytes: u32,
}

impl BodyTimeouts {
    /// Returns the limits of a body that must arrive within `whole`, at no less than
    /// `min_bytes_per_second` in each `window`.
    pub(crate) fn new(window: Duration, whole: Duration, min_bytes_per_second: u32) -> Self {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let min_bytes = u64::from(min_bytes_per_second) * u64::from(ms(window)) / 1000;
        Self {
            window_ms: ms(window.min(whole)),
            whole_ms: ms(whole),
            // A window without any byte is never progress.
            min_bytes: u32::try_from(min_bytes).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Returns the limits of a body of any length: its progress is limited, and the whole time is not.
    pub(crate) fn without_whole(self) -> Self {
        Self {
            whole_ms: u32::MAX,
            ..self
        }
    }

    fn window(self) -> Duration {
        Duration::from_millis(self.window_ms.into())
    }

    fn whole(self) -> Duration {
        Duration::from_millis(self.whole_ms.into())
    }
}

/// The state of a body that the collector has waited for.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    /// The end of the current window.
    window: Pin<Box<Sleep>>,
    /// The length of the body at the start of the window.
    length: usize,
    /// Whether the collector itself has paused the body in this window.
    was_paused: bool,
}

impl Progress {
    /// Returns the state of a body of which `length` bytes have arrived.
    pub(crate) fn new(limits: BodyTimeouts, length: usize) -> Self {
        Self {
            started: Instant::now(),
            window: Box::pin(sleep(limits.window())),
            length,
            was_paused: false,
        }
    }

    /// Returns `Ready` if the body has exceeded a limit. `length` is the number of bytes so far,
    /// `is_paused` whether the collector has not read the body although there may be more of it, and
    /// `is_tight` whether the memory for requests is nearly used up.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limits: BodyTimeouts,
        length: usize,
        is_paused: bool,
        is_tight: impl Fn() -> bool,
    ) -> Poll<()> {
        self.was_paused |= is_paused;
        loop {
            ready!(self.window.as_mut().poll(cx));
            let is_slow = length - self.length < limits.min_bytes as usize && !self.was_paused;
            if is_slow || self.started.elapsed() >= limits.whole() || is_tight() {
                return Poll::Ready(());
            }
            let end = (Instant::now() + limits.window()).min(self.started + limits.whole());
            self.window.as_mut().reset(end);
            (self.length, self.was_paused) = (length, is_paused);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);
    const WHOLE: Duration = Duration::from_secs(600);
    /// 10 240 bytes in each window.
    const RATE: u32 = 1 << 10;

    /// Returns the time after which a body is refused that gets `bytes` in each second.
    async fn refused_after(bytes: usize, is_paused: bool, is_tight: bool) -> Option<Duration> {
        let limits = BodyTimeouts::new(WINDOW, WHOLE, RATE);
        let started = Instant::now();
        let mut progress = Progress::new(limits, 0);
        for second in 0..3600 {
            let wait = poll_fn(|cx| progress.poll(cx, limits, second * bytes, is_paused, || is_tight));
            if timeout(Duration::from_secs(1), wait).await.is_ok() {
                return Some(started.elapsed());
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_or_trickles_is_refused_after_one_window() {
        for bytes in [0, 1, 900] {
            assert_eq!(refused_after(bytes, false, false).await, Some(WINDOW), "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_makes_progress_has_the_whole_time() {
        for bytes in [1200, 8 << 10] {
            assert_eq!(refused_after(bytes, false, false).await, Some(WHOLE), "{bytes}");
        }
        // 4 MiB at 64 kbit/s.
        assert!((4 << 20) / (8 << 10) < WHOLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_the_collector_pauses_is_not_slow() {
        assert_eq!(refused_after(0, true, false).await, Some(WHOLE));
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_tight_a_body_has_one_window() {
        assert_eq!(refused_after(1 << 20, false, true).await, Some(WINDOW));
        assert_eq!(refused_after(0, true, true).await, Some(WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_time_below_the_window_counts() {
        let limits = BodyTimeouts::new(WINDOW, Duration::from_secs(2), RATE);
        let started = Instant::now();
        let mut progress = Progress::new(limits, 0);
        poll_fn(|cx| progress.poll(cx, limits, 1 << 20, false, || false)).await;
        assert_eq!(started.elapsed(), Duration::from_secs(2));
    }
}
