//! Cuts: where the records of a partition are divided into blocks.
//!
//! Which records a block has must not depend on who reads them, and when. A delivery therefore
//! proposes a cut, as a record of the control topic, and all deliveries read these records in one
//! order. A cut is accepted if it ends after the accepted cuts before it; others are ignored. The
//! records between two accepted cuts are the rows of one block, or of one for each insert target.
//! Two processes that both deliver a partition for a moment thus send the same blocks under the
//! same tokens.
//!
//! A cut also says the last record of each producer before it, so that a record that was appended
//! twice is recognized although its first copy is in an earlier block.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::record::RowsRecord;
use crate::{
    block::{content::BlockRows, layout::InsertTarget},
    deliver::MAX_BLOCK_ROWS,
};

/// The number of offsets after its last record at which a producer is forgotten: long after it
/// would have appended a record again.
const FORGOTTEN_AFTER: i64 = 1 << 20;

/// The last record of each producer: its sequence and its offset.
pub(super) type Sequences = BTreeMap<Uuid, (u64, i64)>;

/// The end of a partition's records that are divided into blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    /// The offset after the last record.
    pub(super) end: i64,
    /// The last record of each producer before `end`.
    pub(super) sequences: Sequences,
}

/// A cut, and where it stands in the control topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcceptedCut {
    pub(super) cut: Cut,
    pub(super) control_offset: i64,
}

/// The accepted cuts of a partition, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts(VecDeque<AcceptedCut>);

impl Cuts {
    /// Adds a cut that the control topic has at `control_offset`, and returns whether it is
    /// accepted.
    pub(super) fn add(&mut self, cut: Cut, control_offset: i64) -> bool {
        let is_accepted = self.0.back().is_none_or(|last| cut.end > last.cut.end);
        if is_accepted {
            self.0.push_back(AcceptedCut { cut, control_offset });
        }
        is_accepted
    }

    /// Returns the first cut that ends after `position`.
    pub(super) fn after(&self, position: i64) -> Option<&AcceptedCut> {
        self.0.iter().find(|accepted| accepted.cut.end > position)
    }

    /// Returns the last records before `position`, at which a cut ends.
    pub(super) fn sequences_at(&self, position: i64) -> Option<&Sequences> {
        let found = self.0.iter().find(|accepted| accepted.cut.end == position)?;
        Some(&found.cut.sequences)
    }

    /// Forgets the cuts that end before `position`.
    pub(super) fn forget_before(&mut self, position: i64) {
        // The last cut decides which ones are accepted later.
        while self.0.len() > 1 && self.0[0].cut.end < position {
            self.0.pop_front();
        }
    }
}

/// A record that no cut of this reader covers yet.
#[derive(Debug)]
struct Waiting {
    offset: i64,
    layout: Arc<InsertTarget>,
    record: RowsRecord,
}

/// A block of a partition.
#[derive(Debug)]
pub(super) struct LogBlock {
    pub(super) layout: Arc<InsertTarget>,
    /// The offset of its first record.
    pub(super) first: i64,
    /// The offset of its last record.
    pub(super) last: i64,
    /// The id that the first record's rows had at their producer.
    pub(super) first_block: Uuid,
    pub(super) rows: BlockRows,
}

/// The records of a partition that wait for a cut.
#[derive(Debug)]
pub(super) struct Uncut {
    /// The end of the last cut that was taken.
    position: i64,
    /// The offset after the last record that was read.
    next: i64,
    sequences: Sequences,
    waiting: VecDeque<Waiting>,
    rows: usize,
    bytes: usize,
}

impl Uncut {
    /// Returns no records, after a cut at `position`.
    pub(super) fn new(position: i64, sequences: Sequences) -> Self {
        Self {
            position,
            next: position,
            sequences,
            waiting: VecDeque::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Returns the end of the last cut that was taken.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Returns the offset after the last record that was read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the memory of the records, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the time of the oldest record, in milliseconds since 1970.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.waiting.front().map(|waiting| waiting.record.at_ms)
    }

    /// Returns whether a record is a copy of one that was read before.
    pub(super) fn is_copy(&self, record: &RowsRecord) -> bool {
        let waiting = self.waiting.iter().rev();
        let last = waiting
            .map(|waiting| &waiting.record)
            .find(|earlier| earlier.producer == record.producer)
            .map(|earlier| earlier.sequence);
        let before = || self.sequences.get(&record.producer).map(|(sequence, _)| *sequence);
        last.or_else(before).is_some_and(|last| record.sequence <= last)
    }

    /// Adds the next record.
    pub(super) fn push(&mut self, offset: i64, layout: Arc<InsertTarget>, mut record: RowsRecord) {
        record.forget_layout();
        self.rows += record.rows();
        self.bytes += record.memory();
        self.waiting.push_back(Waiting { offset, layout, record });
        self.skip(offset);
    }

    /// Passes over an offset without rows.
    pub(super) fn skip(&mut self, offset: i64) {
        self.next = self.next.max(offset + 1);
    }

    /// Returns the cut after all records that were read.
    pub(super) fn propose(&self) -> Cut {
        let mut sequences = self.sequences.clone();
        for Waiting { offset, record, .. } in &self.waiting {
            is_new(&mut sequences, record, *offset);
        }
        sequences.retain(|_, (_, offset)| *offset >= self.next - FORGOTTEN_AFTER);
        Cut {
            end: self.next,
            sequences,
        }
    }

    /// Removes the records before a cut, all of which have been read, and returns them as blocks.
    pub(super) fn take(&mut self, cut: &Cut) -> Vec<LogBlock> {
        let mut blocks: Vec<Open> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        let count = self.waiting.partition_point(|waiting| waiting.offset < cut.end);
        for waiting in self.waiting.drain(..count) {
            rows += waiting.record.rows();
            bytes += waiting.record.memory();
            if !is_new(&mut self.sequences, &waiting.record, waiting.offset) {
                continue;
            }
            // The last block of the same target, unless it is too long.
            let open = blocks.iter_mut().rev().find(|open| open.layout == waiting.layout);
            if open.is_some_and(|open| open.append(&waiting)) {
                continue;
            }
            let mut open = Open::of(&waiting);
            open.append(&waiting);
            blocks.push(open);
        }
        self.rows -= rows;
        self.bytes -= bytes;
        self.position = cut.end;
        // The same for all readers, whatever this one has read before.
        self.sequences = cut.sequences.clone();
        blocks.into_iter().map(Open::close).collect()
    }
}

/// A block that still gets records.
struct Open {
    layout: Arc<InsertTarget>,
    first: i64,
    last: i64,
    first_block: Uuid,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Open {
    fn of(waiting: &Waiting) -> Self {
        Self {
            layout: Arc::clone(&waiting.layout),
            first: waiting.offset,
            last: waiting.offset,
            first_block: waiting.record.block,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Appends the rows of a record; returns whether they fit. A record alone always fits.
    fn append(&mut self, waiting: &Waiting) -> bool {
        let rows = self.ends.len() + waiting.record.rows();
        let fits = self.ends.is_empty() || rows <= MAX_BLOCK_ROWS;
        let fits = fits && waiting.record.append_to(&mut self.bytes, &mut self.ends);
        if fits {
            self.last = waiting.offset;
        }
        fits
    }

    fn close(self) -> LogBlock {
        LogBlock {
            layout: self.layout,
            first: self.first,
            last: self.last,
            first_block: self.first_block,
            rows: BlockRows {
                bytes: self.bytes.into(),
                ends: self.ends.into(),
            },
        }
    }
}

/// Returns whether a record is not a copy of an earlier one, and remembers it.
fn is_new(sequences: &mut Sequences, record: &RowsRecord, offset: i64) -> bool {
    let last = sequences.get(&record.producer);
    let is_new = last.is_none_or(|(sequence, _)| record.sequence > *sequence);
    if is_new {
        sequences.insert(record.producer, (record.sequence, offset));
    }
    is_new
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::record::tests::record, *};
    use crate::table::dead_letter::REJECTED;

    fn push(uncut: &mut Uncut, layout: &Arc<InsertTarget>, offset: i64, producer: u128, sequence: u64, row: &str) {
        let record = RowsRecord::read(record(producer, sequence, &[row])).unwrap();
        uncut.push(offset, Arc::clone(layout), record);
    }

    fn text(block: &LogBlock) -> &str {
        std::str::from_utf8(&block.rows.bytes).unwrap()
    }

    #[test]
    fn the_first_of_two_cuts_with_one_end_is_accepted() {
        let mut cuts = Cuts::default();
        let cut = |end, producer| Cut {
            end,
            sequences: Sequences::from([(Uuid::from_u128(producer), (1, 1))]),
        };
        assert!(cuts.add(cut(10, 1), 0) && !cuts.add(cut(10, 2), 1) && !cuts.add(cut(9, 3), 2));
        assert!(cuts.add(cut(12, 4), 3));
        let ends = |position| {
            cuts.after(position)
                .map(|accepted| (accepted.cut.end, accepted.control_offset))
        };
        assert_eq!(
            [ends(0), ends(10), ends(11), ends(12)],
            [Some((10, 0)), Some((12, 3)), Some((12, 3)), None]
        );
        assert_eq!(cuts.sequences_at(10), Some(&cut(10, 1).sequences));
        cuts.forget_before(100);
        assert!(!cuts.add(cut(12, 5), 9), "the last cut is not forgotten");
    }

    #[test]
    fn a_record_that_was_appended_twice_is_in_one_block_once() {
        let layout = InsertTarget::of(&REJECTED);
        let mut uncut = Uncut::new(0, Sequences::new());
        push(&mut uncut, &layout, 0, 1, 0, "a");
        push(&mut uncut, &layout, 1, 1, 0, "a");
        push(&mut uncut, &layout, 2, 2, 0, "x");
        let first = uncut.propose();
        // Copies after the cut.
        push(&mut uncut, &layout, 3, 2, 0, "x");
        push(&mut uncut, &layout, 4, 1, 1, "b");
        let second = uncut.propose();
        let blocks = uncut.take(&first);
        assert_eq!(blocks.iter().map(text).collect::<Vec<_>>(), ["ax"]);
        assert_eq!((blocks[0].first, blocks[0].last, uncut.position()), (0, 2, 3));
        // Another process begins at the first cut.
        let mut other = Uncut::new(3, first.sequences);
        push(&mut other, &layout, 3, 2, 0, "x");
        push(&mut other, &layout, 4, 1, 1, "b");
        for uncut in [&mut uncut, &mut other] {
            assert_eq!(uncut.propose(), second);
            let blocks = uncut.take(&second);
            assert_eq!(blocks.iter().map(text).collect::<Vec<_>>(), ["b"]);
            assert_eq!((blocks[0].first, uncut.rows(), uncut.bytes()), (4, 0, 0));
        }
    }

    #[test]
    fn a_cut_of_another_process_leaves_the_records_after_it() {
        let layout = InsertTarget::of(&REJECTED);
        let mut uncut = Uncut::new(5, Sequences::new());
        for offset in 5..9 {
            push(&mut uncut, &layout, offset, 1, offset as u64, "r");
        }
        uncut.skip(9);
        let cut = Cut {
            end: 7,
            sequences: Sequences::from([(Uuid::from_u128(1), (6, 6))]),
        };
        assert_eq!(text(&uncut.take(&cut)[0]), "rr");
        assert_eq!((uncut.position(), uncut.next(), uncut.rows()), (7, 10, 2));
        let rest = uncut.propose();
        assert_eq!((rest.end, text(&uncut.take(&rest)[0])), (10, "rr"));
        assert!(uncut.is_empty());
    }

    #[test]
    fn rows_of_two_insert_targets_are_two_blocks() {
        let layout = InsertTarget::of(&REJECTED);
        let older = Arc::new(InsertTarget::new(
            Arc::clone(&layout.table),
            "INSERT".into(),
            [].into(),
            None,
        ));
        let mut uncut = Uncut::new(0, Sequences::new());
        for (offset, layout) in [&layout, &older, &layout].into_iter().enumerate() {
            push(&mut uncut, layout, offset as i64, 1, offset as u64, &offset.to_string());
        }
        let cut = uncut.propose();
        let blocks = uncut.take(&cut);
        let found: Vec<_> = blocks
            .iter()
            .map(|block| (block.first, block.last, text(block)))
            .collect();
        assert_eq!(found, [(0, 2, "02"), (1, 1, "1")]);
    }

    #[test]
    fn a_producer_is_forgotten_long_after_its_last_record() {
        let layout = InsertTarget::of(&REJECTED);
        let mut uncut = Uncut::new(0, Sequences::new());
        push(&mut uncut, &layout, 0, 1, 0, "a");
        uncut.skip(FORGOTTEN_AFTER - 1);
        assert_eq!(uncut.propose().sequences.len(), 1);
        uncut.skip(FORGOTTEN_AFTER);
        assert_eq!(uncut.propose().sequences.len(), 0);
    }
}
