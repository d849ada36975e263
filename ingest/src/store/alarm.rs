//! Alarms: what is wrong with a table's rows, in the log, for a person.

use tokio::time::{Duration, Instant};

use crate::store::Class;

/// A table in trouble speaks up this often.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// What should pass by itself, and has not for so long, is for a person, too.
const PATIENCE: Duration = Duration::from_secs(300);

/// Says what is wrong with a block at once, and then once a minute while it lasts or when it becomes another thing.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    first: Option<Instant>,
    last: Option<(Instant, Class)>,
}

impl FailureLog {
    /// Returns, if it is time to speak up, whether there is still hope that it passes by itself.
    pub(crate) fn due(&mut self, class: Class) -> Option<bool> {
        let now = Instant::now();
        self.is_due(now, class).then(|| self.is_patient(now))
    }

    pub(crate) fn is_due(&mut self, now: Instant, class: Class) -> bool {
        let is_due = match self.last {
            Some((at, last)) => last != class || now.duration_since(at) >= ALARM_INTERVAL,
            None => true,
        };
        self.first.get_or_insert(now);
        if is_due {
            self.last = Some((now, class));
        }
        is_due
    }

    pub(crate) fn is_patient(&self, now: Instant) -> bool {
        self.first.is_none_or(|first| now.duration_since(first) < PATIENCE)
    }
}

/// Returns whether a table in trouble may be logged again that was logged at `last`.
pub(crate) fn is_interval_over(last: std::time::Instant) -> bool {
    last.elapsed() >= ALARM_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_speaks_at_once_then_each_minute_and_on_change() {
        let mut alarm = FailureLog::default();
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        assert!(alarm.is_due(start, Class::Retry));
        assert!(!alarm.is_due(after(59), Class::Retry));
        assert!(alarm.is_due(after(59), Class::Hold));
        assert!(!alarm.is_due(after(118), Class::Hold));
        assert!(alarm.is_due(after(119), Class::Hold));
        assert!(alarm.is_patient(after(299)) && !alarm.is_patient(after(300)));
    }
}
