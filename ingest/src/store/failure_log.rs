//! Limits how often the log reports that a table's rows cannot be stored.

use tokio::time::{Duration, Instant};

use crate::store::Class;

/// The interval between two messages about a table.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A transient failure that lasts longer than this is logged as an error.
const LASTING_AFTER: Duration = Duration::from_secs(300);

/// Decides when to log a failure: at once, then once a minute while it lasts, and when its class
/// changes.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    first: Option<Instant>,
    last: Option<(Instant, Class)>,
}

impl FailureLog {
    /// Returns `None` if no message is due, otherwise whether the failure is recent enough to be
    /// transient.
    pub(crate) fn due(&mut self, class: Class) -> Option<bool> {
        let now = Instant::now();
        self.should_log(now, class).then(|| self.is_recent(now))
    }

    pub(crate) fn should_log(&mut self, now: Instant, class: Class) -> bool {
        let is_due = match self.last {
            Some((at, last)) => last != class || now.duration_since(at) >= LOG_INTERVAL,
            None => true,
        };
        self.first.get_or_insert(now);
        if is_due {
            self.last = Some((now, class));
        }
        is_due
    }

    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        self.first.is_none_or(|first| now.duration_since(first) < LASTING_AFTER)
    }
}

/// Returns whether a table that was last logged at `last` may be logged again.
pub(crate) fn is_interval_over(last: std::time::Instant) -> bool {
    last.elapsed() >= LOG_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_once_then_each_minute_and_on_change() {
        let mut failures = FailureLog::default();
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        assert!(failures.should_log(start, Class::Retry));
        assert!(!failures.should_log(after(59), Class::Retry));
        assert!(failures.should_log(after(59), Class::Hold));
        assert!(!failures.should_log(after(118), Class::Hold));
        assert!(failures.should_log(after(119), Class::Hold));
        assert!(failures.is_recent(after(299)) && !failures.is_recent(after(300)));
    }
}
