//! Damage: one flipped bit costs the rows of the frame that it hits, and no others.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{path::Path, time::Duration};

use crate::{
    ack::Ack,
    block::{BlockLimits, frame_format::FrameFormat},
    spool::{
        SpoolLimits,
        disk::Disk,
        frame::{self, Kind, SegmentHeader},
        read::read_rows,
        recover::recover,
        scan::scan,
        tests::{
            disk::SimulatedDisk,
            world::{LIMITS, World},
        },
    },
};

fn long_blocks() -> SpoolLimits {
    let blocks = BlockLimits {
        rows: 2_000,
        bytes: 64 << 20,
        age: Duration::ZERO,
    };
    let mut limits = SpoolLimits { blocks, ..LIMITS };
    limits.memory_bytes = 64 << 20;
    limits.log.segment_bytes = 64 << 20;
    limits.log.max_bytes = 256 << 20;
    limits
}

fn append(world: &World, row: &[u8], rows: usize) {
    for _ in 0..rows {
        world.append(0, Ack::Spooled, row).unwrap();
    }
}

fn format_of(bytes: &[u8]) -> FrameFormat {
    match frame::read_segment_header(bytes) {
        SegmentHeader::Known(format) => format,
        other => panic!("{other:?}"),
    }
}

/// Returns the number of rows that a recovery finds and can read.
fn readable(segment: &[u8]) -> usize {
    let disk = SimulatedDisk::default();
    let mut file = disk.create(1).unwrap();
    file.append(segment).unwrap();
    file.sync().unwrap();
    let recovered = recover(&disk, Path::new("simulated"), usize::MAX).unwrap();
    let rows = recovered.blocks.iter().flat_map(|block| {
        let state = block.state();
        let part = |part| read_rows(&disk, block.id, &state.logged, &part).unwrap().ends.len();
        state.parts.iter().map(part).collect::<Vec<_>>()
    });
    rows.sum()
}

/// Flips a bit in each of these bytes in turn, and compares the rows that are left with the frame
/// that the bit has hit.
fn flip(segment: &[u8], places: impl Iterator<Item = usize>) {
    let scan = scan(segment, format_of(segment), 0);
    let all = readable(segment);
    assert!(all > 0);
    for place in places {
        let frame = scan
            .frames
            .iter()
            .rfind(|frame| frame.offset as usize <= place)
            .unwrap();
        let hit = if frame.header.kind == Kind::Rows {
            frame.header.rows.len()
        } else {
            0
        };
        let mut damaged = segment.to_vec();
        damaged[place] ^= 4;
        assert_eq!(readable(&damaged), all - hit, "byte {place}, {:?}", frame.header);
    }
}

fn segment(world: &World) -> Vec<u8> {
    world.disk.read(1).unwrap()
}

#[test]
fn a_flipped_bit_costs_the_rows_of_its_frame() {
    for is_sealed in [false, true] {
        let mut world = World::new(long_blocks());
        for rows in 1..5 {
            append(&world, b"row", rows);
            world.commit();
        }
        if is_sealed {
            assert!(world.next_block(0).is_none());
            world.commit();
        }
        let bytes = segment(&world);
        flip(&bytes, frame::SEGMENT_HEADER..bytes.len());
    }
}

#[test]
fn a_flipped_bit_costs_one_frame_of_a_large_batch() {
    let mut world = World::new(long_blocks());
    append(&world, &[7; 4 << 10], 1_000);
    world.commit();
    let bytes = segment(&world);
    let frames = scan(&bytes, format_of(&bytes), 0).frames;
    let rows: Vec<_> = frames.iter().filter(|frame| frame.header.kind == Kind::Rows).collect();
    assert!(rows.len() >= 4, "{} frames", rows.len());
    let places = frames.iter().flat_map(|frame| {
        let start = frame.offset as usize;
        [start + 2, start + 14, start + 30, start + frame.length - 1]
    });
    flip(&bytes, places);
}

#[test]
fn a_truncated_segment_is_damaged_if_a_later_one_records_its_length() {
    let mut limits = long_blocks();
    limits.log.segment_bytes = 1;
    let mut world = World::new(limits);
    for _ in 0..2 {
        append(&world, b"row", 3);
        world.commit();
        // The next commit finds the segment full, and seals the block in it.
        append(&world, b"row", 1);
        world.commit();
    }
    let segments = world.disk.segments().unwrap();
    let [first, .., last] = segments[..] else {
        panic!("{segments:?}")
    };
    let cut = |segment: u64| {
        let disk = SimulatedDisk::default();
        disk.0.lock().unwrap().segments = world.disk.0.lock().unwrap().segments.clone();
        disk.0.lock().unwrap().segments.get_mut(&segment).unwrap().bytes.pop();
        let recovered = recover(&disk, Path::new("simulated"), usize::MAX).unwrap();
        (recovered.damage.len(), recovered.torn_bytes > 0)
    };
    assert_eq!(cut(first), (1, false));
    // No later segment records whether the end of the last one had been synced.
    assert_eq!(cut(last), (0, true));
}
