//! Dead letters: at any moment, a refused row is either in its block or in the dead letters.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use crate::{
    ack::Ack,
    block::{parts::Part, sealed::SealedBlock},
    spool::{
        LogLimits, Outcome, SpoolLimits,
        disk::Disk,
        tests::world::{DEAD_LETTERS, LIMITS, World},
    },
};

#[test]
fn a_row_stays_in_its_block_until_its_dead_letter_is_on_disk() {
    let mut world = World::new(LIMITS);
    world.append(0, Ack::Spooled, &[7]).unwrap();
    world.commit();
    assert!(world.next_block(0).is_none());
    world.commit();
    let block = world.next_block(0).unwrap();

    let (reader, part) = (world.readers[0].clone(), Part::from(0..1));
    let mut refusal = pin!(reader.move_to_dead_letters(&block, &part, |out| out.push(8)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(refusal.as_mut().poll(&mut context).is_pending());
    assert!(block.next_part().is_some() && world.next_block(DEAD_LETTERS).is_none());

    world.commit();
    assert!(refusal.as_mut().poll(&mut context).is_ready());
    assert!(block.next_part().is_none() && world.next_block(DEAD_LETTERS).is_some());
}

fn segment_of(block: &SealedBlock) -> u64 {
    block.state().logged.segment.unwrap()
}

/// Returns a world with a block of one row and the row's dead letter, both on disk, in
/// different segments. The block's segment stays, since another table's block is in it too.
fn with_dead_letter() -> (World, Arc<SealedBlock>, Arc<SealedBlock>) {
    let log = LogLimits {
        // Each batch gets a new segment.
        segment_bytes: 1,
        ..LIMITS.log
    };
    let mut world = World::new(SpoolLimits { log, ..LIMITS });
    for table in [0, 1] {
        world.append(table, Ack::Spooled, &[7]).unwrap();
    }
    world.commit();
    assert!(world.next_block(0).is_none() && world.next_block(1).is_none());
    world.commit();
    let [block, other] = [0, 1].map(|table| world.next_block(table).unwrap());
    let dead_letter = world.readers[0].persist_dead_letter(&block, 0, |out| out.push(8));
    let dead_letter = dead_letter.unwrap();
    world.commit();
    assert!(segment_of(&block) == segment_of(&other) && segment_of(&block) != segment_of(&dead_letter));
    (world, block, dead_letter)
}

#[test]
fn a_refused_row_does_not_return_after_its_dead_letter_is_removed() {
    let (mut world, block, dead_letter) = with_dead_letter();
    world.readers[0].settle(&block, &Part::from(0..1), Outcome::Refused);
    world.readers[0].release_dead_letter(Arc::clone(&dead_letter));
    world.readers[DEAD_LETTERS].settle(&dead_letter, &Part::from(0..1), Outcome::Stored);
    world.commit();
    world.append(1, Ack::Spooled, &[9]).unwrap();
    world.commit();
    // The dead letter is gone, so a recovery cannot know from it that the row was refused.
    let segments = world.disk.segments().unwrap();
    assert!(
        segments.contains(&segment_of(&block)) && !segments.contains(&segment_of(&dead_letter)),
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
fn a_refused_row_does_not_return_after_a_recovery_that_cannot_mark_it() {
    let (world, block, _) = with_dead_letter();
    drop(block);
    world.disk.0.lock().unwrap().is_full = true;
    let mut world = world.after_loss_of_power();
    assert!(
        world.next_block(0).is_none(),
        "the dead letter records that the row was refused"
    );
    let dead_letter = world.next_block(DEAD_LETTERS).unwrap();
    world.readers[DEAD_LETTERS].settle(&dead_letter, &Part::from(0..1), Outcome::Stored);
    world.commit();
    let world = world.after_loss_of_power();
    assert!(
        world.next_block(0).is_none(),
        "the row would be refused, or stored, once more"
    );
}
