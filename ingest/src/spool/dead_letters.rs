//! Dead letters: moves a row that ClickHouse refuses from its block to the dead letters. Whenever
//! the process ends, the row is in exactly one of the two.
//!
//! A dead letter is a separate block, whose id follows from the row. The spool writes it to disk
//! first; from then on, a recovery that finds it removes the row from its block. Then the spool
//! marks the row in its block, durably, and releases the dead letter to be sent. The log keeps the
//! dead letter until that mark is written. If the row is refused once more after all, the dead
//! letter has the same token, and ClickHouse takes it once.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    ack::Ack,
    block::{Block, parts::Part, progress::WaitCondition, rows::RowBatch, sealed::SealedBlock},
    budget::SpoolFull,
    spool::{Counters, Outcome, Spool},
};

impl Spool {
    /// Appends the dead letter of a part's one row, written by `encode`, to the queue of the dead
    /// letters, and settles the row. Waits for the disk, however long it fails.
    ///
    /// # Errors
    /// [`SpoolFull`] for the dead letter; nothing is changed.
    pub(crate) async fn refuse(
        &self,
        lane: usize,
        block: &Arc<SealedBlock>,
        part: &Part,
        letters: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SpoolFull> {
        let letter = self.persist_dead_letter(letters, block, part.bounds().start, encode)?;
        if self.has_disk() {
            let on_disk = WaitCondition {
                rows: 0..1,
                ack: Ack::Spooled,
                fail_fast: false,
            };
            letter.progress.until(on_disk).await;
        }
        self.settle(lane, block, part, Outcome::Refused);
        self.release_dead_letter(letters, letter);
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
        letters: usize,
        id: Uuid,
        rows: &mut RowBatch,
    ) -> Result<Option<Arc<SealedBlock>>, SpoolFull> {
        let count = rows.count();
        if count == 0 || self.block(letters, id).is_some() {
            return Ok(None);
        }
        let notices = self.write_block(letters, id, count, |block, admit| block.append_rows(rows, admit))?;
        if self.has_disk() {
            let on_disk = WaitCondition {
                rows: 0..count as u32,
                ack: Ack::Spooled,
                fail_fast: false,
            };
            notices.progress.until(on_disk).await;
        }
        Ok(Some(notices))
    }

    /// Schedules a dead letter to be written to disk, without sending it.
    pub(super) fn persist_dead_letter(
        &self,
        letters: usize,
        block: &SealedBlock,
        row: u32,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Arc<SealedBlock>, SpoolFull> {
        let id = block.letter_id(row).ok_or(SpoolFull)?;
        self.write_block(letters, id, 1, |letter, admit| letter.append(encode, admit))
    }

    fn write_block(
        &self,
        letters: usize,
        id: Uuid,
        rows: usize,
        put: impl FnOnce(&mut Block, &dyn Fn(usize) -> bool) -> bool,
    ) -> Result<Arc<SealedBlock>, SpoolFull> {
        let lane = &self.lanes[letters];
        let mut queue = lane.lock();
        // Accept the dead letter while the disk fails: it may fail for lack of the space that the
        // row frees once its dead letter is on disk.
        if !self.has_disk_room_for_refused() {
            return Err(SpoolFull);
        }
        let mut letter = Block::named(id);
        let held = queue.in_memory();
        if !put(&mut letter, &|cost| self.memory.reserve(cost, held)) {
            return Err(SpoolFull);
        }
        let letter = lane.seal_for_disk(&mut queue, &mut letter, self.log.as_ref());
        drop(queue);
        Counters::add(&lane.counters.rows_appended, rows as u64);
        letter.ok_or(SpoolFull)
    }

    /// Releases a dead letter to be sent to ClickHouse.
    pub(crate) fn release_dead_letter(&self, letters: usize, letter: Arc<SealedBlock>) {
        let lane = &self.lanes[letters];
        lane.lock().sealed.push_back(letter);
        lane.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::{
        ack::Ack,
        spool::{
            LogLimits, SpoolLimits,
            disk::Disk,
            tests::limits::{LIMITS, World},
        },
    };

    const LETTERS: usize = 2;

    #[test]
    fn a_row_is_in_its_block_until_its_letter_is_on_disk() {
        let mut world = World::new(LIMITS);
        world.spool.append(0, Ack::Spooled, |out| out.push(7)).unwrap();
        world.commit();
        assert!(world.next_block(0).is_none());
        world.commit();
        let block = world.next_block(0).unwrap();

        let (spool, one) = (Arc::clone(&world.spool), Part::from(0..1));
        let mut refusal = pin!(spool.refuse(0, &block, &one, LETTERS, |out| out.push(8)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(refusal.as_mut().poll(&mut context).is_pending());
        assert!(block.next_part().is_some() && world.next_block(LETTERS).is_none());

        world.commit();
        assert!(refusal.as_mut().poll(&mut context).is_ready());
        assert!(block.next_part().is_none() && world.next_block(LETTERS).is_some());
    }

    fn home(block: &SealedBlock) -> u64 {
        block.state().logged.segment.unwrap()
    }

    /// Returns a world with a block of one row and the row's dead letter, both on disk, in
    /// different segments. The block's segment stays, since another table's block is in it too.
    fn with_letter() -> (World, Arc<SealedBlock>, Arc<SealedBlock>) {
        let log = LogLimits {
            // Each batch gets a new segment.
            segment_bytes: 1,
            ..LIMITS.log
        };
        let mut world = World::new(SpoolLimits { log, ..LIMITS });
        for lane in [0, 1] {
            world.spool.append(lane, Ack::Spooled, |out| out.push(7)).unwrap();
        }
        world.commit();
        assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
        world.commit();
        let [block, other] = [0, 1].map(|lane| world.next_block(lane).unwrap());
        let letter = world.spool.persist_dead_letter(LETTERS, &block, 0, |out| out.push(8));
        let letter = letter.unwrap();
        world.commit();
        assert!(home(&block) == home(&other) && home(&block) != home(&letter));
        (world, block, letter)
    }

    #[test]
    fn a_refused_row_does_not_come_back_when_its_letter_is_gone_and_then_the_power() {
        let (mut world, block, letter) = with_letter();
        world.spool.settle(0, &block, &Part::from(0..1), Outcome::Refused);
        world.spool.release_dead_letter(LETTERS, Arc::clone(&letter));
        world.spool.settle(LETTERS, &letter, &Part::from(0..1), Outcome::Stored);
        world.commit();
        world.spool.append(1, Ack::Spooled, |out| out.push(9)).unwrap();
        world.commit();
        // The dead letter is gone, and with it the sign for a recovery that the row has one.
        let segments = world.disk.segments().unwrap();
        assert!(
            segments.contains(&home(&block)) && !segments.contains(&home(&letter)),
            "{segments:?}"
        );

        let world = world.after_loss_of_power();
        assert!(
            world.next_block(0).is_none(),
            "the row would be refused, or stored, once more"
        );
        assert!(world.next_block(1).is_some());
    }

    #[test]
    fn a_refused_row_does_not_come_back_when_a_recovery_could_not_mark_it() {
        let (world, block, _) = with_letter();
        drop(block);
        world.disk.0.lock().unwrap().is_full = true;
        let mut world = world.after_loss_of_power();
        assert!(world.next_block(0).is_none(), "its letter says that it was refused");
        let letter = world.next_block(LETTERS).unwrap();
        world.spool.settle(LETTERS, &letter, &Part::from(0..1), Outcome::Stored);
        world.commit();
        let world = world.after_loss_of_power();
        assert!(world.next_block(0).is_none(), "nothing says so any more");
    }
}
