//! The dead letters of rows in `rejected`: all of them without payloads, and the payloads of a
//! batch.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, UNIX_EPOCH},
};

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::{RejectedError, RejectedReplay, RejectedTable};
use crate::{
    block::layout::InsertTarget,
    store::{ClickHouseError, within},
};

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 1000;

/// The maximum length of a batch's payloads, unless a single payload is longer.
const BATCH_BYTES: u64 = 8 << 20;

/// The condition for the dead letter of a row. No event's code begins like this.
const IS_ROW: &str = "startsWith(code, 'clickhouse')";

/// A dead letter without its payload.
#[derive(Debug, Row, Deserialize)]
pub(super) struct DeadLetter {
    id: u64,
    unix_ms: i64,
    layout: u64,
    payload_bytes: u64,
    is_cut: bool,
}

/// The table, format and columns of rows.
#[derive(Debug, Row, Deserialize)]
struct RowLayout {
    layout: u64,
    table: String,
    payload_format: String,
    payload_columns: String,
}

/// The selected dead letters, and the layouts of their rows.
#[derive(Debug)]
pub(super) struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    layouts: Vec<RowLayout>,
    /// The indexes in `layouts`, by the layouts' hashes.
    indexes: HashMap<u64, usize>,
}

/// Dead letters whose rows go into one table in the same way.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The index of the rows' layout.
    pub(super) layout: usize,
    pub(super) dead_letters: Vec<&'a DeadLetter>,
}

impl DeadLetters {
    /// Queries the dead letters that `options` select.
    pub(super) async fn list(client: &Client, options: &RejectedReplay) -> Result<Self, RejectedError> {
        let columns = client.query(
            "SELECT toUInt64(count()) FROM system.columns WHERE database = currentDatabase() AND table = 'rejected' \
             AND name IN ('payload_format', 'payload_columns', 'payload_bytes', 'payload_hash')",
        );
        let columns: u64 = within(options.timeout, columns.fetch_one()).await?;
        if columns < 4 {
            return Err(RejectedError::NoColumns);
        }
        let condition = condition(options);
        let layout = "cityHash64(table, payload_format, payload_columns)";
        let query = format!(
            "SELECT id, toUnixTimestamp64Milli(time) AS unix_ms, {layout} AS layout, payload_bytes, \
             payload_bytes != length(payload) OR payload_hash != xxHash64(payload) AS is_cut \
             FROM rejected WHERE {condition} ORDER BY table, layout, time, id"
        );
        let dead_letters = client.query_raw(&query).fetch_all::<DeadLetter>();
        let mut dead_letters = within(options.timeout, dead_letters).await?;
        let mut known = HashSet::with_capacity(dead_letters.len());
        dead_letters.retain(|dead_letter| known.insert(dead_letter.id));
        let query = format!(
            "SELECT DISTINCT {layout} AS layout, table, toString(payload_format) AS payload_format, \
             toString(payload_columns) AS payload_columns FROM rejected WHERE {condition}"
        );
        let layouts = within(options.timeout, client.query_raw(&query).fetch_all::<RowLayout>()).await?;
        let indexes = layouts
            .iter()
            .enumerate()
            .map(|(index, row_layout)| (row_layout.layout, index));
        Ok(Self {
            dead_letters,
            indexes: indexes.collect(),
            layouts,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dead_letters.is_empty()
    }

    pub(super) fn table_of(&self, layout: usize) -> &str {
        &self.layouts[layout].table
    }

    /// Returns the insert target of a layout's rows; `None` if this version cannot read the layout.
    pub(super) fn layout(&self, layout: usize) -> Option<InsertTarget> {
        let RowLayout {
            table,
            payload_format,
            payload_columns,
            ..
        } = &self.layouts[layout];
        InsertTarget::from_json(table, payload_format, payload_columns)
    }

    /// Returns the numbers of each table's dead letters, and of those that cannot be replayed.
    pub(super) fn counts(&self) -> BTreeMap<String, RejectedTable> {
        let mut counts: BTreeMap<String, RejectedTable> = BTreeMap::new();
        for dead_letter in &self.dead_letters {
            let Some(row_layout) = self.row_layout(dead_letter) else {
                continue;
            };
            let table = counts.entry(row_layout.table.clone()).or_default();
            table.table.clone_from(&row_layout.table);
            table.letters += 1;
            if row_layout.is_unknown() {
                table.undescribed += 1;
            } else if dead_letter.is_cut {
                table.cut += 1;
            }
        }
        counts
    }

    fn row_layout(&self, dead_letter: &DeadLetter) -> Option<&RowLayout> {
        self.indexes.get(&dead_letter.layout).map(|index| &self.layouts[*index])
    }

    /// Returns the dead letters that can be replayed, in batches.
    pub(super) fn batches(&self) -> Vec<Batch<'_>> {
        let mut batches: Vec<Batch<'_>> = Vec::new();
        let mut bytes = 0;
        for dead_letter in self.dead_letters.iter().filter(|dead_letter| !dead_letter.is_cut) {
            let Some(&layout) = self.indexes.get(&dead_letter.layout) else {
                continue;
            };
            if self.layouts[layout].is_unknown() {
                continue;
            }
            bytes += dead_letter.payload_bytes;
            match batches.last_mut() {
                Some(batch)
                    if batch.layout == layout && batch.dead_letters.len() < BATCH_ROWS && bytes <= BATCH_BYTES =>
                {
                    batch.dead_letters.push(dead_letter);
                }
                _ => {
                    bytes = dead_letter.payload_bytes;
                    batches.push(Batch {
                        layout,
                        dead_letters: vec![dead_letter],
                    });
                }
            }
        }
        batches
    }

    /// Returns the payloads of a batch with the ids of their dead letters, sorted by id.
    pub(super) async fn payloads(
        &self,
        client: &Client,
        batch: &Batch<'_>,
        timeout: Duration,
    ) -> Result<Vec<(u64, Vec<u8>)>, ClickHouseError> {
        let ids: Vec<_> = batch.dead_letters.iter().map(|dead_letter| dead_letter.id).collect();
        let times = batch.dead_letters.iter().map(|dead_letter| dead_letter.unix_ms);
        let (first, last) = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
        let query = format!(
            "SELECT id, any(hex(payload)) FROM rejected WHERE {IS_ROW} AND id IN ({}) \
             AND time BETWEEN fromUnixTimestamp64Milli(toInt64({first})) AND fromUnixTimestamp64Milli(toInt64({last})) \
             GROUP BY id ORDER BY id",
            list(&ids)
        );
        let payloads: Vec<(u64, String)> = within(timeout, client.query_raw(&query).fetch_all()).await?;
        let payloads = payloads.into_iter().map(|(id, hex)| (id, from_hex(&hex)));
        Ok(payloads.collect())
    }
}

impl RowLayout {
    /// Returns whether the rows' columns are unknown: an earlier version, which did not record
    /// them, wrote the dead letter.
    fn is_unknown(&self) -> bool {
        self.payload_columns.is_empty()
    }
}

/// Deletes dead letters by their ids.
pub(super) async fn delete(client: &Client, ids: &[u64], timeout: Duration) -> Result<(), ClickHouseError> {
    let statement = format!("DELETE FROM rejected WHERE {IS_ROW} AND id IN ({})", list(ids));
    within(timeout, client.query_raw(&statement).execute()).await
}

/// Returns numbers as a list in SQL.
pub(super) fn list(numbers: &[u64]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

fn condition(options: &RejectedReplay) -> String {
    let mut condition = IS_ROW.to_owned();
    if let Some(table) = &options.table {
        condition.push_str(&format!(" AND table = {}", text(table)));
    }
    if let Some(since) = options.since {
        // No dead letter is from before 1970.
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        condition.push_str(&format!(" AND time >= fromUnixTimestamp64Milli(toInt64({since}))"));
    }
    if let Some(reason) = &options.reason {
        let reason = text(reason);
        condition.push_str(&format!(" AND (code = {reason} OR position(reason, {reason}) > 0)"));
    }
    condition
}

/// Quotes a text for ClickHouse's SQL.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns the bytes that ClickHouse's `hex` wrote.
fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    let (pairs, _) = hex.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|[high, low]| digit(*high) << 4 | digit(*low))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let options = RejectedReplay {
            table: Some(r"a'b\".to_owned()),
            reason: Some("' OR 1 OR '".to_owned()),
            ..RejectedReplay::default()
        };
        assert_eq!(
            condition(&options),
            r"startsWith(code, 'clickhouse') AND table = 'a\'b\\' AND (code = '\' OR 1 OR \'' OR position(reason, '\' OR 1 OR \'') > 0)"
        );
    }

    #[test]
    fn hex_is_read() {
        assert_eq!(from_hex("00FF1a"), [0, 0xff, 0x1a]);
    }

    #[test]
    fn a_batch_has_one_layout_and_a_bounded_size() {
        let dead_letter = |id, layout, payload_bytes| DeadLetter {
            id,
            unix_ms: 0,
            layout,
            payload_bytes,
            is_cut: false,
        };
        let row_layout = |layout, columns: &str| RowLayout {
            layout,
            table: "t".to_owned(),
            payload_format: "RowBinary".to_owned(),
            payload_columns: columns.to_owned(),
        };
        let mut dead_letters: Vec<_> = (0..1001).map(|id| dead_letter(id, 7, 10)).collect();
        dead_letters.extend([
            dead_letter(2000, 8, 10),
            dead_letter(2001, 8, BATCH_BYTES),
            dead_letter(2002, 9, 10),
        ]);
        let dead_letters = DeadLetters {
            dead_letters,
            layouts: vec![row_layout(7, "{}"), row_layout(8, "{}"), row_layout(9, "")],
            indexes: [(7, 0), (8, 1), (9, 2)].into(),
        };
        let batches = dead_letters.batches();
        let sizes: Vec<_> = batches
            .iter()
            .map(|batch| (batch.layout, batch.dead_letters.len()))
            .collect();
        assert_eq!(sizes, [(0, 1000), (0, 1), (1, 1), (1, 1)]);
        let counts = dead_letters.counts();
        assert_eq!((counts["t"].letters, counts["t"].undescribed), (1004, 1));
    }
}
