//! Compares the sent events with the rows in the tables.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use super::{clients::Sent, world::Fault};
use crate::support::engine::Database;

/// A table that receives a target's events.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The index of the target.
    pub target: usize,
    pub table: &'static str,
    /// An SQL condition for the rows to count.
    pub filter: &'static str,
    /// An SQL expression for the number of the event.
    pub number: &'static str,
    /// An SQL expression for the payload as an array of pairs of key and text.
    pub payload: &'static str,
}

/// A row that was read back: its id, its number, and its pairs of key and text.
type Stored = (String, String, Vec<(String, String)>);

/// The comparison of one table at the end of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub place: &'static str,
    pub sent: u64,
    pub acknowledged: usize,
    pub rows: usize,
    pub duplicates: usize,
    pub lost: usize,
    pub never_sent: usize,
    /// Rows whose payload differs from the sent one.
    pub changed: usize,
    /// Rows that share their id with another row, and rows whose id differs from the one in the
    /// answer.
    pub wrong_ids: usize,
}

impl Found {
    /// Compares the rows of a table with the events that were sent.
    pub fn count(database: &Database, sent: &Sent, place: &Place) -> Self {
        let Place {
            table,
            filter,
            number,
            payload,
            ..
        } = place;
        let rows = database.query(&format!(
            "SELECT toString(id), toString({number}), arraySort({payload}) FROM {table} WHERE {filter} \
             FORMAT JSONCompactEachRow"
        ));
        let (target, below) = (&sent.targets[place.target], sent.below[place.target]);
        let mut found = Self {
            place: table,
            sent: below,
            acknowledged: 0,
            rows: 0,
            duplicates: 0,
            lost: 0,
            never_sent: 0,
            changed: 0,
            wrong_ids: 0,
        };
        // The id of each number.
        let mut ids_by_number: HashMap<u64, u64> = HashMap::new();
        let mut ids = HashSet::new();
        for line in rows.lines() {
            let row: Stored = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let (id, number, payload) = row;
            let (id, number) = (id.parse().unwrap(), number.parse().unwrap_or(u64::MAX));
            found.rows += 1;
            found.duplicates += usize::from(ids_by_number.insert(number, id).is_some());
            found.wrong_ids += usize::from(!ids.insert(id));
            if number >= below {
                found.never_sent += 1;
            } else if payload != target.payload(number) {
                println!("{table} has {payload:?} instead of {:?}", target.payload(number));
                found.changed += 1;
            }
        }
        for event in sent.acknowledged.iter().filter(|event| event.target == place.target) {
            found.acknowledged += 1;
            match ids_by_number.get(&event.number) {
                None => {
                    println!("{table} does not have {event:?}");
                    found.lost += 1;
                }
                Some(id) => found.wrong_ids += usize::from(event.id.is_some_and(|acknowledged| acknowledged != *id)),
            }
        }
        found
    }

    /// Returns whether each acknowledged event is in the table once and unchanged, and each row is
    /// an event that was sent.
    pub fn is_exact(&self) -> bool {
        let Self {
            duplicates,
            lost,
            never_sent,
            changed,
            wrong_ids,
            ..
        } = self;
        duplicates + lost + never_sent + changed + wrong_ids == 0
    }
}

/// The report of a whole run.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub took: Duration,
    pub collectors: usize,
    pub faults: Vec<Fault>,
    /// The number of kills near an insert that came before its answer.
    pub kills_during_insert: usize,
    /// How often ClickHouse ended without a kill.
    pub aborts: usize,
    /// The number of inserts by other writers.
    pub other_inserts: u64,
    pub places: Vec<Found>,
    /// The number of inserts that have begun, by place.
    pub inserts: Vec<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Fault, usize> = BTreeMap::new();
        for fault in &self.faults {
            *kinds.entry(*fault).or_default() += 1;
        }
        writeln!(
            f,
            "seed {}, {} s, {} collectors, {} inserts of other writers",
            self.seed,
            self.took.as_secs(),
            self.collectors,
            self.other_inserts
        )?;
        writeln!(f, "{} faults: {kinds:?}", self.faults.len())?;
        writeln!(f, "{} kills before the answer of an insert", self.kills_during_insert)?;
        writeln!(f, "{} times ClickHouse has aborted by itself", self.aborts)?;
        writeln!(
            f,
            "{:16}{:>10}{:>10}{:>14}{:>10}{:>12}{:>8}{:>12}{:>10}{:>11}",
            "table",
            "inserts",
            "events",
            "acknowledged",
            "rows",
            "duplicates",
            "lost",
            "never sent",
            "changed",
            "wrong ids"
        )?;
        for (found, inserts) in self.places.iter().zip(&self.inserts) {
            writeln!(
                f,
                "{:16}{:>10}{:>10}{:>14}{:>10}{:>12}{:>8}{:>12}{:>10}{:>11}",
                found.place,
                inserts,
                found.sent,
                found.acknowledged,
                found.rows,
                found.duplicates,
                found.lost,
                found.never_sent,
                found.changed,
                found.wrong_ids
            )?;
        }
        Ok(())
    }
}
