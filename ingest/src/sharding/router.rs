//! Routers: the queue of a row's shard.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{ShardingKey, Slots};

/// The way of a table's rows to the shards of its cluster. `Q` is the id of a queue.
#[derive(Debug)]
pub(crate) struct Router<Q> {
    rule: Rule,
    slots: Slots,
    /// The queue of each shard, in the order of the shards; `None` for a shard whose rows go through
    /// the Distributed table.
    queues: Box<[Option<Q>]>,
}

/// The rule for the shard of a row.
#[derive(Debug)]
enum Rule {
    /// The cluster has one shard.
    One,
    /// The remainder of this key by the number of slots.
    Key(ShardingKey),
    /// Each slot in turn: the table has no sharding key.
    RoundRobin(AtomicU64),
}

impl<Q: Copy + Eq> Router<Q> {
    /// Returns the router of a table with this sharding key, over shards with these weights and
    /// queues; `None` if no shard has a queue. A table without a sharding key has `None`.
    pub(crate) fn new(key: Option<ShardingKey>, shards: impl IntoIterator<Item = (u32, Option<Q>)>) -> Option<Self> {
        let (mut weights, queues): (Vec<_>, Vec<_>) = shards.into_iter().unzip();
        let rule = match key {
            _ if queues.len() == 1 => Rule::One,
            Some(key) => Rule::Key(key),
            None => {
                // A Distributed table without a sharding key accepts no rows itself.
                let without_queue = weights.iter_mut().zip(&queues).filter(|(_, queue)| queue.is_none());
                without_queue.for_each(|(weight, _)| *weight = 0);
                Rule::RoundRobin(AtomicU64::new(0))
            }
        };
        let has_queue = queues.iter().any(Option::is_some);
        let slots = Slots::of(weights).filter(|_| has_queue)?;
        Some(Self {
            rule,
            slots,
            queues: queues.into(),
        })
    }

    /// Returns the queue of the shard of a row; `None` if the row goes through the Distributed table.
    pub(crate) fn queue(&self, row: &[u8]) -> Option<Q> {
        let key = match &self.rule {
            Rule::One => 0,
            Rule::Key(key) => key.of(row)?,
            Rule::RoundRobin(next) => next.fetch_add(1, Ordering::Relaxed),
        };
        self.queues[self.slots.shard(key)]
    }

    /// Returns the number of shards.
    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Returns the queue that all rows belong to; `None` if there is none, or if the rows have
    /// several. Rows of a table without a sharding key may be on any shard, so all get that of the
    /// first one.
    pub(crate) fn common_queue<'r>(&self, mut rows: impl Iterator<Item = &'r [u8]>) -> Option<Q> {
        let first = self.queue(rows.next()?)?;
        let is_free = matches!(self.rule, Rule::RoundRobin(_));
        (is_free || rows.all(|row| self.queue(row) == Some(first))).then_some(first)
    }

    /// Returns whether another router sends the same rows to the same queues.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_rule = match (&self.rule, &other.rule) {
            (Rule::One, Rule::One) | (Rule::RoundRobin(_), Rule::RoundRobin(_)) => true,
            (Rule::Key(key), Rule::Key(other)) => key == other,
            _ => false,
        };
        is_same_rule && self.slots == other.slots && self.queues == other.queues
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_table_without_a_key_uses_the_shards_in_turn_by_weight() {
        let router = Router::new(None, [(2, Some('a')), (1, None), (1, Some('c'))]).unwrap();
        let queues: Vec<_> = (0..6).map(|_| router.queue(b"").unwrap()).collect();
        assert_eq!(queues, ['a', 'a', 'c', 'a', 'a', 'c']);
        assert_eq!(router.common_queue([&b""[..]; 2].into_iter()), Some('a'));
        assert_eq!(router.common_queue([&b""[..]; 3].into_iter()), Some('a'));
        assert_eq!(
            router.common_queue([&b""[..]; 2].into_iter()),
            Some('c'),
            "each request takes one turn"
        );
        assert!(Router::<char>::new(None, [(1, None), (1, None)]).is_none());
    }

    #[test]
    fn the_rows_of_one_shard_need_no_key() {
        let router = Router::new(None, [(3, Some('a'))]).unwrap();
        assert_eq!(router.queue(b""), Some('a'));
        assert!(router.is_same(&Router::new(None, [(3, Some('a'))]).unwrap()));
        for other in [Router::new(None, [(2, Some('a'))]), Router::new(None, [(3, Some('b'))])] {
            assert!(!router.is_same(&other.unwrap()));
        }
    }
}
