//! Lag: how far the partitions that this process delivers are behind the end of the log.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::positions::PartitionId;
use crate::lease::nodes::unix_ms;

/// The time of no record.
const NONE: i64 = i64::MIN;

/// How far the delivery of a partition of a shared log is behind its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// The topic of a table.
    pub topic: Arc<str>,
    /// The number of the partition in its topic.
    pub partition: i32,
    /// The number of records whose rows are not stored yet.
    pub records: u64,
    /// The age of the oldest of these records, since its collector appended it. Zero if there is
    /// none, or if this process has not read it yet.
    pub age: Duration,
}

/// The lags of the partitions that a process delivers now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lags(Arc<Mutex<BTreeMap<PartitionId, Weak<LagGauge>>>>);

impl Lags {
    /// Adds a partition, which is there until its gauge is dropped.
    pub(super) fn add(&self, id: &PartitionId, position: i64, end: i64) -> Arc<LagGauge> {
        let gauge = Arc::new(LagGauge {
            position: position.into(),
            end: end.into(),
            oldest_ms: NONE.into(),
        });
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.insert(id.clone(), Arc::downgrade(&gauge));
        gauge
    }

    /// Returns the lag of each partition.
    pub(crate) fn read(&self) -> Vec<PartitionLag> {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|_, gauge| gauge.strong_count() > 0);
        let now_ms = i64::try_from(unix_ms()).unwrap_or(i64::MAX);
        let gauges = gauges.iter().filter_map(|(id, gauge)| Some((id, gauge.upgrade()?)));
        gauges.map(|(id, gauge)| gauge.read(id, now_ms)).collect()
    }
}

/// The lag of one partition, as its follower and its reader know it.
#[derive(Debug)]
pub(super) struct LagGauge {
    position: AtomicI64,
    end: AtomicI64,
    /// The time of the oldest record that was read and is not stored.
    oldest_ms: AtomicI64,
}

impl LagGauge {
    /// Records the offset up to which the rows are stored.
    pub(super) fn set_position(&self, position: i64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Records the offset after the last record.
    pub(super) fn set_end(&self, end: i64) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// Records the time of the oldest record that was read and is not stored.
    pub(super) fn set_oldest(&self, unix_ms: Option<i64>) {
        self.oldest_ms.store(unix_ms.unwrap_or(NONE), Ordering::Relaxed);
    }

    fn read(&self, (topic, partition): &PartitionId, now_ms: i64) -> PartitionLag {
        let read = |number: &AtomicI64| number.load(Ordering::Relaxed);
        let records = read(&self.end).saturating_sub(read(&self.position));
        let oldest_ms = Some(read(&self.oldest_ms)).filter(|oldest| *oldest != NONE);
        let age_ms = oldest_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest));
        PartitionLag {
            topic: Arc::clone(topic),
            partition: *partition,
            records: u64::try_from(records).unwrap_or(0),
            // The clock of the collector may be ahead.
            age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_lasts_as_long_as_its_gauge() {
        let lags = Lags::default();
        let id: PartitionId = ("events.mail".into(), 1);
        let gauge = lags.add(&id, 4, 10);
        let lag = |records, ms| PartitionLag {
            topic: "events.mail".into(),
            partition: 1,
            records,
            age: Duration::from_millis(ms),
        };
        assert_eq!(lags.read(), [lag(6, 0)]);
        gauge.set_oldest(Some(1_000));
        gauge.set_end(12);
        gauge.set_position(5);
        assert_eq!(gauge.read(&id, 1_500), lag(7, 500));
        // The clocks of two machines differ.
        assert_eq!(gauge.read(&id, 900), lag(7, 0));
        gauge.set_oldest(None);
        gauge.set_position(13);
        assert_eq!(gauge.read(&id, 1_500), lag(0, 0));
        drop(gauge);
        assert!(lags.read().is_empty());
    }
}
