//! Dead letters: moves a row that ClickHouse refuses from its block to the dead letters. Whenever
//! the process ends, the row is in exactly one of the two.
//!
//! A dead letter is a separate block, whose id follows from the row. The spool writes it to disk
//! first; from then on, a recovery that finds it removes the row from its block. Then the spool
//! marks the row in its block, durably, and releases the dead letter to be sent. The log keeps the
//! dead letter until that mark is written. If ClickHouse refuses the row once more, the dead
//! letter has the same token, and ClickHouse stores it once.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    ack::Ack,
    block::{Block, parts::Part, progress::WaitCondition, rows::RowBatch, sealed::SealedBlock},
    budget::SpoolFull,
    spool::{
        counters::Counters,
        reader::{Outcome, TableReader},
        shared::Shared,
    },
};

impl TableReader {
    /// Appends the dead letter of a part's one row, written by `encode`, to the queue of the dead
    /// letters, and settles the row. Waits for the disk, however long it fails.
    ///
    /// # Errors
    /// [`SpoolFull`] for the dead letter; nothing is changed.
    pub(crate) async fn move_to_dead_letters(
        &self,
        block: &Arc<SealedBlock>,
        part: &Part,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SpoolFull> {
        let dead_letter = self.persist_dead_letter(block, part.bounds().start, encode)?;
        self.wait_for_disk(&dead_letter).await;
        self.settle(block, part, Outcome::Refused);
        self.release_dead_letter(dead_letter);
        Ok(())
    }

    /// Writes dead letters about rows that stay in their own block, as a block with this `id`, and
    /// returns once they are on disk. Waits for the disk, however long it fails. Returns `None` if
    /// `rows` is empty, or if the dead letters of an earlier process wait under this id.
    ///
    /// # Errors
    /// [`SpoolFull`] for the dead letters; nothing is changed.
    pub(crate) async fn write_notices(
        &self,
        id: Uuid,
        rows: &mut RowBatch,
    ) -> Result<Option<Arc<SealedBlock>>, SpoolFull> {
        let count = rows.count();
        let dead_letters = Self::new(Arc::clone(&self.shared), self.shared.dead_letters());
        if count == 0 || dead_letters.block(id).is_some() {
            return Ok(None);
        }
        let put = |block: &mut Block, admit: &dyn Fn(usize) -> bool| block.append_rows(rows, admit);
        let notices = write_block(&self.shared, id, count, put)?;
        self.wait_for_disk(&notices).await;
        Ok(Some(notices))
    }

    /// Releases a dead letter to be sent to ClickHouse.
    pub(crate) fn release_dead_letter(&self, dead_letter: Arc<SealedBlock>) {
        let dead_letters = self.shared.queue(self.shared.dead_letters());
        dead_letters.lock().release(dead_letter);
    }

    /// Schedules a dead letter to be written to disk, without sending it.
    pub(super) fn persist_dead_letter(
        &self,
        block: &SealedBlock,
        row: u32,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Arc<SealedBlock>, SpoolFull> {
        let id = block.dead_letter_id(row).ok_or(SpoolFull)?;
        write_block(&self.shared, id, 1, |dead_letter, admit| {
            dead_letter.append(encode, admit)
        })
    }

    /// Waits until all rows of a block are on disk, however long the disk fails.
    async fn wait_for_disk(&self, block: &SealedBlock) {
        if self.shared.log.is_some() {
            let on_disk = WaitCondition {
                rows: 0..block.rows,
                ack: Ack::Spooled,
                fail_fast: false,
            };
            block.progress.until(on_disk).await;
        }
    }
}

/// Seals a block of dead letters with this id, and schedules it for the log, without releasing it.
fn write_block(
    shared: &Shared,
    id: Uuid,
    rows: usize,
    put: impl FnOnce(&mut Block, &dyn Fn(usize) -> bool) -> bool,
) -> Result<Arc<SealedBlock>, SpoolFull> {
    let queue = shared.queue(shared.dead_letters());
    let mut blocks = queue.lock();
    // Accept the dead letter while the disk fails: it may fail for lack of the space that the row
    // frees once its dead letter is on disk.
    if !shared.log.as_ref().is_none_or(|log| log.has_space_for_refused()) {
        return Err(SpoolFull);
    }
    let mut dead_letter = Block::with_id(id);
    let held = blocks.in_memory();
    if !put(&mut dead_letter, &|cost| shared.memory.reserve(cost, held)) {
        return Err(SpoolFull);
    }
    let dead_letter = blocks.seal_unreleased(&mut dead_letter);
    drop(blocks);
    Counters::add(&queue.counters.rows_appended, rows as u64);
    dead_letter.ok_or(SpoolFull)
}
