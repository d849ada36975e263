//! Slots: the shard of a sharding key. Each shard has as many slots as its weight, in the order of
//! the shards, and a key belongs to the slot that is its remainder by the number of slots.

/// The slots of a cluster's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    /// The number of slots up to and including those of each shard.
    ends: Box<[u64]>,
}

impl Slots {
    /// Returns the slots of shards with these weights; `None` if no shard has any.
    pub(crate) fn of(weights: impl IntoIterator<Item = u32>) -> Option<Self> {
        let ends: Box<[u64]> = weights
            .into_iter()
            .scan(0, |end, weight| {
                *end += u64::from(weight);
                Some(*end)
            })
            .collect();
        ends.last().is_some_and(|total| *total > 0).then_some(Self { ends })
    }

    /// Returns the index of the shard to which a key belongs.
    pub(crate) fn shard(&self, key: u64) -> usize {
        let total = self.ends.last().copied().unwrap_or(1);
        let slot = key % total;
        self.ends.partition_point(|end| *end <= slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_as_many_slots_as_its_weight() {
        let Some(slots) = Slots::of([2, 0, 1]) else {
            unreachable!("the shards have slots");
        };
        let shards: Vec<_> = (0..7).map(|key| slots.shard(key)).collect();
        assert_eq!(shards, [0, 0, 2, 0, 0, 2, 0]);
        assert_eq!(Slots::of([]), None);
        assert_eq!(Slots::of([0, 0]), None);
    }
}
