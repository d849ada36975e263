//! Counters of the keys of events that no column reads, by table.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::{Schema, Table};

/// One counter for each table of a schema.
#[derive(Debug)]
pub(super) struct UnknownKeyCounters {
    schema: &'static Schema,
    counts: Box<[AtomicU64]>,
}

impl UnknownKeyCounters {
    pub(super) fn new(schema: &'static Schema) -> Self {
        Self {
            schema,
            counts: schema.tables.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn add(&self, table: &'static Table, count: u64) {
        if let Some(counter) = self.counts.get(table.index) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let tables = self.schema.tables.iter().zip(&self.counts);
        tables
            .map(|(table, count)| (table.name, count.load(Ordering::Relaxed)))
            .collect()
    }
}
