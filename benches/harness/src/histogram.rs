//! Latency histograms, with buckets no wider than 1/64 of their values.

use std::time::Duration;

/// Buckets between two powers of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of durations up to 584 years.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
            longest: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(nanos);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// Returns the number of recorded durations.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Returns the least duration that this share of all does not exceed, at most 1/64 too long;
    /// zero if the histogram is empty.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end(bucket).min(self.longest));
            }
        }
        Duration::ZERO
    }
}

/// Returns the bucket of a value. Values below `STEPS` have a bucket each; for larger ones, the
/// highest bits determine it.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// Returns the greatest value of a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let from = (bucket % STEPS + STEPS) << shift;
    from + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for last in 0..bucket(u64::MAX) {
            assert_eq!(bucket(end(last)), last);
            assert_eq!(bucket(end(last) + 1), last + 1);
        }
        assert_eq!(end(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = (0..10_000_u64).map(|n| n * n % 7_919 * 1_000 + 17).collect();
        for value in &values {
            histogram.record(Duration::from_nanos(*value));
        }
        values.sort_unstable();
        for (share, rank) in [(0.0, 0), (0.5, 4_999), (0.99, 9_899), (1.0, 9_999)] {
            let exact = values[rank];
            let found = u64::try_from(histogram.quantile(share).as_nanos()).unwrap_or(0);
            assert!(
                (exact..=exact + exact / STEPS).contains(&found),
                "{share}: {found} for {exact}"
            );
        }
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }
}
