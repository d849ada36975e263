//! The processes that deliver a log, and the partitions of each.
//!
//! A process is a member while the others read its beats in the control topic. Every member
//! computes the same owner for a partition from the list of members. While members come and go,
//! two of them may own a partition for a moment; then both send the same blocks.

use std::{
    collections::BTreeMap,
    hash::Hasher,
    time::{Duration, Instant},
};

use twox_hash::XxHash64;
use uuid::Uuid;

/// The interval between two beats.
pub(super) const BEAT_INTERVAL: Duration = Duration::from_secs(2);

/// The time after its last beat at which a process is no member any more.
const EXPIRY: Duration = Duration::from_secs(10);

/// The time after its last beat at which a process no longer counts on being a member. The
/// others notice later, so that it has stopped when they begin.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// The members, with the time at which this process read the last beat of each.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<Uuid, Instant>);

impl Members {
    /// Records a beat that was read at `now`.
    pub(super) fn beat(&mut self, member: Uuid, now: Instant) {
        self.0.insert(member, now);
    }

    /// Records that a process has stopped.
    pub(super) fn left(&mut self, member: Uuid) {
        self.0.remove(&member);
    }

    /// Removes the processes whose beats have ended.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, last| now.duration_since(*last) < EXPIRY);
    }

    /// Returns the member that delivers a partition: the one with the greatest hash of both
    /// (rendezvous hashing), so that few partitions move when a member comes or goes.
    pub(super) fn owner(&self, topic: &str, partition: i32) -> Option<Uuid> {
        let weight = |member: &&Uuid| {
            let mut hash = XxHash64::with_seed(0);
            hash.write(member.as_bytes());
            hash.write(topic.as_bytes());
            hash.write(&partition.to_le_bytes());
            hash.finish()
        };
        self.0.keys().max_by_key(weight).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_partitions_of_a_member_that_goes_get_another_owner() {
        let start = Instant::now();
        let ids: Vec<_> = (1..=3).map(Uuid::from_u128).collect();
        let mut members = Members::default();
        for id in &ids {
            members.beat(*id, start);
        }
        let owners = |members: &Members| -> Vec<_> { (0..60).map(|partition| members.owner("t", partition)).collect() };
        let before = owners(&members);
        for id in &ids {
            let share = before.iter().filter(|owner| **owner == Some(*id)).count();
            assert!((8..=32).contains(&share), "{share} of 60");
        }
        let later = start + EXPIRY;
        members.beat(ids[0], later);
        members.beat(ids[1], later);
        members.expire(later);
        for (before, after) in before.iter().zip(owners(&members)) {
            assert!(*before == after || *before == Some(ids[2]));
        }
        members.left(ids[0]);
        assert!(owners(&members).iter().all(|owner| *owner == Some(ids[1])));
        members.left(ids[1]);
        assert_eq!(members.owner("t", 0), None);
    }
}
