//! The visible state of a case, for the comparison of two runs.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::spool::TableCounts;

/// The visible state of a world: the bytes on disk, the counts of each table, the acknowledged
/// rows, and the tokens that ClickHouse remembers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    segments: Vec<BTreeMap<u64, Vec<u8>>>,
    counts: Vec<Vec<TableCounts>>,
    acknowledged: BTreeSet<u32>,
    tokens: BTreeSet<String>,
}

impl Snapshot {
    pub(super) fn of(world: &World) -> Self {
        let collectors = world.collectors.iter();
        let segments = collectors.clone().map(|collector| {
            let state = collector.disk.0.lock().unwrap();
            let segments = state.segments.iter();
            segments
                .map(|(number, segment)| (*number, segment.bytes.clone()))
                .collect()
        });
        Self {
            segments: segments.collect(),
            counts: collectors.map(|collector| collector.spool.counts()).collect(),
            acknowledged: world.acknowledged.clone(),
            tokens: world.store.tokens.iter().flatten().cloned().collect(),
        }
    }
}
