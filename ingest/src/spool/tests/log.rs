//! Log: a segment stays as long as something depends on it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use crate::{
    block::sealed::dead_letter_id,
    spool::{
        disk::Disk,
        log::{Log, LogLimits},
        tests::{disk::SimulatedDisk, world::keys},
    },
};

#[test]
fn a_dead_letter_stays_until_its_row_is_marked() {
    let disk = Arc::new(SimulatedDisk::default());
    let limits = LogLimits {
        segment_bytes: 1 << 10,
        max_bytes: 1 << 20,
    };
    let mut log = Log::new(
        Arc::clone(&disk) as Arc<dyn Disk>,
        limits,
        BTreeMap::new(),
        Vec::new(),
        Arc::new(keys()),
    );
    let block = Uuid::from_u128(0x7000 << 64);
    let dead_letter = dead_letter_id(block, 3).unwrap();
    for id in [block, dead_letter] {
        let batch = log.begin(Vec::new()).unwrap();
        let segment = batch.segment;
        log.commit(batch).unwrap();
        log.keep(segment, id, 100);
        log.rotate();
    }
    disk.0.lock().unwrap().is_full = true;
    log.done(block, 3..4, false, true);
    log.done(dead_letter, 0..1, true, false);
    log.mark_again();
    assert_eq!(disk.segments().unwrap(), [1, 2]);
    disk.0.lock().unwrap().is_full = false;
    log.mark_again();
    assert_eq!(disk.segments().unwrap(), [1]);
}

#[test]
fn a_segment_stays_until_its_marks_are_in_another() {
    let disk = Arc::new(SimulatedDisk::default());
    let limits = LogLimits {
        segment_bytes: 1 << 10,
        max_bytes: 1 << 20,
    };
    let mut log = Log::new(
        Arc::clone(&disk) as Arc<dyn Disk>,
        limits,
        BTreeMap::new(),
        Vec::new(),
        Arc::new(keys()),
    );
    let (block, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for segment in 1..=2 {
        let batch = log.begin(Vec::new()).unwrap();
        log.commit(batch).unwrap();
        log.keep(segment, block, 100);
        log.keep(1, other, 100);
        log.rotate();
    }
    disk.0.lock().unwrap().is_full = true;
    log.relocated(block, 2);
    log.done(block, 0..1, true, false);
    log.mark_again();
    assert_eq!(disk.segments().unwrap(), [1, 2]);
    disk.0.lock().unwrap().is_full = false;
    log.mark_again();
    assert_eq!(disk.segments().unwrap(), [1]);
}
