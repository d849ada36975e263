//! Backoff: the wait after a failure. It doubles with each failure in a row, up to a cap.

use std::time::Duration;

/// The waits after one kind of failure.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The full wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub cap: Duration,
}

/// For transient failures. The first waits are short, since most failures last for a moment; the
/// cap limits how much the wait prolongs an outage.
pub(crate) const RETRY: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(10),
};

/// For failures that last until the operator acts, so that frequent retries would gain nothing.
pub(crate) const HOLD: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

impl Backoff {
    /// Returns the wait after the `failures`th failure in a row: at least half of the full wait,
    /// and a random part of the rest, so that tables and processes that failed together do not
    /// retry together.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rowmill_ingest::store::Backoff;
    ///
    /// let backoff = Backoff {
    ///     first: Duration::from_millis(200),
    ///     cap: Duration::from_secs(30),
    /// };
    /// let third = backoff.wait(3);
    /// assert!(third >= Duration::from_millis(400) && third <= Duration::from_millis(800));
    /// ```
    pub fn wait(self, failures: u32) -> Duration {
        self.wait_with(failures, fastrand::f64())
    }

    /// Returns the wait with a given part of its upper half, from 0 to 1.
    fn wait_with(self, failures: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.cap);
        full / 2 + (full / 2).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_spread_over_their_upper_half() {
        let ms = |failures, jitter| RETRY.wait_with(failures, jitter).as_millis();
        assert_eq!([ms(1, 0.0), ms(2, 0.0), ms(3, 0.0)], [50, 100, 200]);
        assert_eq!([ms(8, 0.0), ms(40, 0.0), ms(u32::MAX, 0.0)], [5000, 5000, 5000]);
        for failures in [1, 5, 100] {
            assert_eq!(ms(failures, 1.0), ms(failures, 0.0) * 2, "{failures}");
        }
        let waits: Vec<_> = (0..10).map(|_| HOLD.wait(1)).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
