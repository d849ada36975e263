//! A rate limit: a number of requests per number of seconds.

use std::{fmt, str::FromStr, time::Duration};

/// A number of requests in a number of seconds, sent at once or spread over the period.
///
/// ```
/// use rowmill_ingest::layer::RateLimit;
///
/// assert_eq!("600/m".parse(), Ok(RateLimit::new(600, 60)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    requests: u32,
    seconds: u32,
}

/// An invalid [`RateLimit`] text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRateLimit;

impl fmt::Display for InvalidRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a rate limit is a number of requests a second, a minute or an hour, such as `100/s`, `600/m` or `1000/h`",
        )
    }
}

impl std::error::Error for InvalidRateLimit {}

impl RateLimit {
    /// Returns the limit of `requests` in `seconds`; zero counts as 1 for both.
    pub const fn new(requests: u32, seconds: u32) -> Self {
        Self {
            requests: if requests == 0 { 1 } else { requests },
            seconds: if seconds == 0 { 1 } else { seconds },
        }
    }

    /// Returns the period, in nanoseconds.
    const fn period_ns(self) -> u64 {
        self.seconds as u64 * 1_000_000_000
    }

    /// Returns the part of the period for one request, in nanoseconds.
    const fn interval_ns(self) -> u64 {
        self.period_ns() / self.requests as u64
    }

    /// Returns the theoretical arrival time after one more request at `now`; `tat` is that time
    /// before the request.
    ///
    /// # Errors
    ///
    /// The time until the next request is allowed, if this one is over the limit.
    pub(super) fn next(self, tat: u64, now: u64) -> Result<u64, Duration> {
        let next = tat.max(now) + self.interval_ns();
        match next.checked_sub(now + self.period_ns()) {
            None | Some(0) => Ok(next),
            Some(retry_after) => Err(Duration::from_nanos(retry_after)),
        }
    }
}

/// Parses a number of requests, a `/`, and `s`, `m` or `h`.
impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, InvalidRateLimit> {
        let (requests, period) = text.trim().split_once('/').ok_or(InvalidRateLimit)?;
        let seconds = match period.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(InvalidRateLimit),
        };
        match requests.trim().parse() {
            Ok(requests @ 1..) => Ok(Self { requests, seconds }),
            _ => Err(InvalidRateLimit),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            1 => write!(f, "{}/s", self.requests),
            60 => write!(f, "{}/m", self.requests),
            3_600 => write!(f, "{}/h", self.requests),
            seconds => write!(f, "{} in {seconds} s", self.requests),
        }
    }
}
