//! The simulated ClickHouse.

use std::collections::{HashMap, HashSet, VecDeque};

use uuid::Uuid;

use crate::block::rng::Rng;

/// The number of tokens that ClickHouse remembers, including those of other writers.
const WINDOW: usize = 3;

/// A ClickHouse: stores rows once for each token that it remembers, and refuses blocks with a
/// poisoned row.
///
/// Several collectors share it, and other writers insert as well, so that it soon forgets a block's
/// token.
///
/// Rows are in two partitions, the even ones and the odd ones. After an insert whose response is
/// lost, ClickHouse may have stored one partition and not the other, and may remember the token for
/// either of them.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// The tokens of both partitions, newest last.
    pub(super) tokens: [VecDeque<String>; 2],
    pub(super) rows: HashMap<u32, usize>,
    pub(super) dead_letters: HashMap<u32, usize>,
    dead_letter_tokens: HashSet<String>,
    /// Inserts that go on although no collector waits for the response: the block, its token, and
    /// the rows.
    pub(super) running: Vec<(Uuid, String, Vec<u8>)>,
    /// Whether the table has been repaired and accepts the rows that it refused.
    pub(super) is_repaired: bool,
}

/// Returns whether ClickHouse refuses this row until the table is repaired.
fn is_poisoned(row: u32) -> bool {
    row % 9 == 8
}

impl Store {
    pub(super) fn insert(&mut self, token: &str, rows: &[u8]) -> Result<(), ()> {
        self.check(rows)?;
        for partition in [0, 1] {
            self.insert_partition(partition, token, rows);
        }
        Ok(())
    }

    /// Like [`insert`](Self::insert), but ClickHouse is killed in the middle.
    pub(super) fn insert_and_crash(&mut self, token: &str, rows: &[u8], rng: &mut Rng) {
        if self.check(rows).is_err() {
            return;
        }
        for partition in [0, 1] {
            match rng.below(4) {
                0 => {}
                // ClickHouse writes the log of tokens before it names the part.
                1 => self.remember(partition, token),
                _ => self.insert_partition(partition, token, rows),
            }
        }
    }

    /// Completes an insert that no collector waits for.
    pub(super) fn end_running(&mut self, rng: &mut Rng) {
        if !self.running.is_empty() {
            let at = rng.below(self.running.len() as u64) as usize;
            let (_, token, rows) = self.running.swap_remove(at);
            // No collector receives a refusal.
            _ = self.insert(&token, &rows);
        }
    }

    fn check(&self, rows: &[u8]) -> Result<(), ()> {
        let is_refused = !self.is_repaired && rows_of(rows).into_iter().any(is_poisoned);
        if is_refused { Err(()) } else { Ok(()) }
    }

    fn insert_partition(&mut self, partition: u32, token: &str, rows: &[u8]) {
        if self.tokens[partition as usize].iter().any(|known| known == token) {
            return;
        }
        self.remember(partition, token);
        for row in rows_of(rows) {
            if row % 2 == partition {
                *self.rows.entry(row).or_default() += 1;
            }
        }
    }

    pub(super) fn remember(&mut self, partition: u32, token: &str) {
        let tokens = &mut self.tokens[partition as usize];
        tokens.push_back(token.to_owned());
        if tokens.len() > WINDOW {
            tokens.pop_front();
        }
    }

    pub(super) fn insert_dead_letter(&mut self, token: String, rows: &[u8]) {
        if self.dead_letter_tokens.insert(token) {
            for row in rows_of(rows) {
                *self.dead_letters.entry(row).or_default() += 1;
            }
        }
    }
}

/// Writes a row: its number, and then as many bytes as its last digit.
pub(super) fn encode(row: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&row.to_le_bytes());
    out.resize(out.len() + row as usize % 10, b'x');
}

pub(super) fn rows_of(mut bytes: &[u8]) -> Vec<u32> {
    let mut rows = Vec::new();
    while let Some((row, rest)) = bytes.split_first_chunk::<4>() {
        let row = u32::from_le_bytes(*row);
        bytes = &rest[row as usize % 10..];
        rows.push(row);
    }
    assert!(bytes.is_empty(), "a part of a row");
    rows
}
