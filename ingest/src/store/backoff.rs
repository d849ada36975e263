//! The wait after a failure at ClickHouse. It doubles with each failure in a row, up to a cap.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The waits after one kind of failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) cap: Duration,
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
    /// and the rest by the jitter `dice`, so that tables and collectors that failed together do not
    /// retry together.
    pub(crate) fn wait(self, failures: u32, dice: u64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let full = self.first.saturating_mul(doubled).min(self.cap);
        let share = f64::from(u16::try_from(dice % 1024).unwrap_or(0)) / 1024.0;
        full / 2 + (full / 2).mul_f64(share)
    }
}

/// Returns a number that is random enough to spread retries: the standard library seeds each hasher
/// differently.
pub(crate) fn dice() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_spread_over_their_upper_half() {
        let ms = |failures, dice| RETRY.wait(failures, dice).as_millis();
        assert_eq!([ms(1, 0), ms(2, 0), ms(3, 0)], [50, 100, 200]);
        assert_eq!([ms(8, 0), ms(40, 0), ms(u32::MAX, 0)], [5000, 5000, 5000]);
        for failures in [1, 5, 100] {
            let (least, most) = (ms(failures, 0), ms(failures, 1023));
            assert!(least * 19 / 10 < most && most <= least * 2, "{least}..{most}");
        }
        assert_ne!(dice(), dice());
    }
}
