//! Collect: adds the new rows of a queue to a batch.

use uuid::Uuid;

use crate::{
    block::{
        layout::InsertTarget,
        logged::{FrameAt, Logged},
        row_key::{KeyRecord, RowKey, keys_in},
        sealed::is_dead_letter,
    },
    spool::{
        frame::{self, Kind},
        keyed_rows::put_keys,
        log::{Admits, Batch},
        queue::Blocks,
        table_id::TableId,
    },
};

/// The maximum length of the rows in one frame; a single row may be longer.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// The frames of one block in a batch.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) table: TableId,
    pub(super) block: Uuid,
    pub(super) frames: Vec<FrameAt>,
    /// The number of the block's rows on disk with this batch.
    pub(super) rows: u32,
    pub(super) bytes: u64,
    pub(super) is_sealed: bool,
    /// The keys whose rows are all on disk with this batch, and were not before.
    pub(super) keys: Vec<KeyRecord>,
}

/// Adds the new rows of a queue to the batch; returns whether all of them fit. While the log is
/// leaving a segment, blocks outside it wait for the next one.
pub(super) fn collect_rows(
    blocks: &Blocks,
    table: TableId,
    layout: &InsertTarget,
    leaving: Option<u64>,
    batch: &mut Batch,
    entries: &mut Vec<Entry>,
) -> bool {
    let mut is_all = true;
    for block in &blocks.unlogged {
        let is_admitted = is_dead_letter(block.id)
            || match batch.admits {
                Admits::All => true,
                Admits::MovesAndDeadLetters => block.progress.read(|progress| progress.on_disk >= block.rows),
                Admits::DeadLetters => false,
            };
        if !is_admitted {
            is_all = false;
            continue;
        }
        let state = block.state();
        if leaving.is_some_and(|leaving| state.logged.segment != Some(leaving) || state.logged.is_sealed) {
            continue;
        }
        let Some(content) = &state.content else { continue };
        // A sealed block that is complete on disk moves to this segment.
        let none_logged = Logged::default();
        let logged = match &state.logged {
            logged if logged.is_sealed || !logged.is_in(batch.segment) => &none_logged,
            logged => logged,
        };
        let source = Source {
            layout: &block.layout,
            table,
            block: block.id,
            bytes: &content.bytes,
            ends: &content.ends,
            keys: &state.keys,
            sent_to: state.sent_to.as_deref(),
        };
        if !source.put(logged, true, batch, entries) {
            return false;
        }
    }
    if let (Some(opened), None) = (blocks.open.opened(), leaving) {
        let (bytes, ends) = blocks.open.content();
        let source = Source {
            layout,
            table,
            block: opened.id,
            bytes,
            ends,
            keys: blocks.open.keys(),
            sent_to: None,
        };
        let none_logged = Logged::default();
        let logged = match &opened.logged {
            logged if logged.is_in(batch.segment) => logged,
            _ => &none_logged,
        };
        if batch.admits != Admits::All && logged.rows as usize != ends.len() {
            return false;
        }
        return source.put(logged, false, batch, entries) && is_all;
    }
    is_all
}

/// A block whose rows go into a batch.
struct Source<'a> {
    layout: &'a InsertTarget,
    table: TableId,
    block: Uuid,
    bytes: &'a [u8],
    ends: &'a [u32],
    keys: &'a [RowKey],
    /// The server that a block on its way to another segment has gone to.
    sent_to: Option<&'a str>,
}

impl Source<'_> {
    /// Adds the rows that are not logged to the batch, as far as they fit. Returns whether all of
    /// them did.
    fn put(&self, logged: &Logged, is_sealed: bool, batch: &mut Batch, entries: &mut Vec<Entry>) -> bool {
        let rows = self.ends.len() as u32;
        if logged.rows == rows && !is_sealed {
            return true;
        }
        // A block begins with at least one frame of rows: if its open frame filled the batch,
        // another such batch would follow.
        if batch.is_full() {
            return false;
        }
        let before = batch.len();
        let open = |batch: &mut Batch| {
            batch.put(Kind::Open, self.block, 0..0, |out| frame::put_layout(out, self.layout));
        };
        if logged.rows == 0 {
            open(batch);
        }
        let mut entry = Entry {
            table: self.table,
            block: self.block,
            frames: Vec::new(),
            rows: logged.rows,
            bytes: 0,
            is_sealed: false,
            keys: Vec::new(),
        };
        while entry.rows < rows && (entry.frames.is_empty() || !batch.is_full()) {
            let range = entry.rows..self.frame_end(entry.rows);
            let keys = keys_in(self.keys, &range);
            let kind = if keys.is_empty() { Kind::Rows } else { Kind::KeyedRows };
            let frame = batch.put(kind, self.block, range.clone(), |out| {
                if !keys.is_empty() {
                    put_keys(out, keys);
                }
                frame::put_rows(out, self.bytes, self.ends, &range);
            });
            let is_complete = |key: &&RowKey| key.rows.end <= range.end;
            entry.keys.extend(keys.iter().filter(is_complete).map(|key| key.record));
            entry.frames.push(frame);
            entry.rows = range.end;
        }
        if logged.rows == 0 {
            // A second copy, away from the first one: without an open frame, the rows are
            // unreadable.
            open(batch);
        }
        let is_all = entry.rows == rows;
        if is_all && is_sealed {
            batch.put(Kind::Seal, self.block, 0..rows, |_| {});
            if let Some(server) = self.sent_to {
                batch.put(Kind::Seal, self.block, 0..rows, |out| {
                    out.extend_from_slice(server.as_bytes());
                });
            }
            entry.is_sealed = true;
        }
        entry.bytes = (batch.len() - before) as u64;
        entries.push(entry);
        is_all
    }

    /// Returns the end of the frame that begins with row `first`.
    fn frame_end(&self, first: u32) -> u32 {
        let start = if first == 0 { 0 } else { self.ends[first as usize - 1] };
        let fitting = self.ends[first as usize..].partition_point(|&end| end - start <= MAX_FRAME_BYTES);
        first + fitting.max(1) as u32
    }
}
