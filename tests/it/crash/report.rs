//! What was sent, beside what is there.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use super::{clients::Sent, world::Fault};
use crate::support::engine::Database;

/// A table, or a view's, that numbers come to.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The target whose numbers come here.
    pub target: u64,
    pub table: &'static str,
    /// The number, as SQL.
    pub number: &'static str,
}

/// One table, in the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub place: &'static str,
    pub sent: u64,
    pub acknowledged: usize,
    pub rows: usize,
    pub duplicates: usize,
    pub lost: usize,
    pub never_sent: usize,
}

impl Found {
    /// Counts the numbers of `targets` targets that came to a place.
    pub fn count(database: &Database, sent: &Sent, targets: u64, place: &Place) -> Self {
        let rows = database.query(&format!("SELECT {} FROM {}", place.number, place.table));
        let mut times: HashMap<u64, usize> = HashMap::new();
        for number in rows.lines() {
            *times.entry(number.parse().unwrap()).or_default() += 1;
        }
        let is_ours = |number: &u64| number % targets == place.target;
        let acknowledged: Vec<_> = sent.acknowledged.iter().filter(|number| is_ours(number)).collect();
        Self {
            place: place.table,
            sent: (0..sent.below).filter(is_ours).count() as u64,
            acknowledged: acknowledged.len(),
            rows: rows.lines().count(),
            duplicates: times.values().map(|times| times - 1).sum(),
            lost: acknowledged.iter().filter(|number| !times.contains_key(number)).count(),
            never_sent: times
                .keys()
                .filter(|number| **number >= sent.below || !is_ours(number))
                .count(),
        }
    }

    /// Returns whether each acknowledged number is there once, and no other than was sent.
    pub fn is_exact(&self) -> bool {
        (self.duplicates, self.lost, self.never_sent) == (0, 0, 0)
    }
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub took: Duration,
    pub faults: Vec<Fault>,
    /// How often ClickHouse has ended by itself, beside the faults.
    pub aborts: usize,
    pub places: Vec<Found>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Fault, usize> = BTreeMap::new();
        for fault in &self.faults {
            *kinds.entry(*fault).or_default() += 1;
        }
        writeln!(f, "seed {}, {} s", self.seed, self.took.as_secs())?;
        writeln!(f, "{} faults: {kinds:?}", self.faults.len())?;
        writeln!(f, "{} times ClickHouse has aborted by itself", self.aborts)?;
        writeln!(
            f,
            "{:16}{:>10}{:>14}{:>10}{:>12}{:>8}{:>12}",
            "table", "events", "acknowledged", "rows", "duplicates", "lost", "never sent"
        )?;
        for found in &self.places {
            writeln!(
                f,
                "{:16}{:>10}{:>14}{:>10}{:>12}{:>8}{:>12}",
                found.place, found.sent, found.acknowledged, found.rows, found.duplicates, found.lost, found.never_sent
            )?;
        }
        Ok(())
    }
}
