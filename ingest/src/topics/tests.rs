//! Tests of the backlog, with the segments of a spool that has ended.

#![allow(clippy::unwrap_used)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{backlog::Backlog, status::Counts};
use crate::{
    ack::Ack,
    block::BlockLimits,
    deliver::tests::fake_server::SCHEMA,
    spool::{
        LogLimits, Spool, SpoolLimits, TableLayouts,
        links::{Consumer, SegmentLinks},
    },
};

const LIMITS: SpoolLimits = SpoolLimits {
    blocks: BlockLimits {
        rows: 6,
        bytes: 1 << 20,
        age: Duration::ZERO,
    },
    memory_bytes: 64 << 20,
    log: LogLimits {
        segment_bytes: 1 << 20,
        max_bytes: 8 << 20,
    },
    keys: 10,
};

/// The rows that are read at once, if nothing else limits them.
const ALL: usize = 1 << 20;

/// Writes rows to the segment 1 of a spool, six to a block, each in a frame of its own.
async fn write_rows(folder: &Path, count: u32) {
    let (spool, log) = Spool::open(folder, TableLayouts::of(&SCHEMA), LIMITS).unwrap();
    for row in 0..count {
        let table = spool.id_of(SCHEMA.tables[0]);
        let append = |out: &mut Vec<u8>| out.extend_from_slice(&row.to_le_bytes());
        spool.appender().append(table, Ack::Spooled, append).unwrap().await;
    }
    spool.stop();
    log.join().unwrap();
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016}.spool"))
}

fn table() -> &'static str {
    SCHEMA.tables[0].name
}

fn open_with(folder: &Path, most: usize) -> (Arc<SegmentLinks>, Backlog) {
    let links = Arc::new(SegmentLinks::open(folder, Consumer::FanOut).unwrap());
    let spool = Spool::in_memory(TableLayouts::of(&SCHEMA), LIMITS);
    let tables = SCHEMA.tables.iter().map(|table| table.name.into());
    let backlog = Backlog::open(Arc::clone(&links), spool, tables, most).unwrap();
    (links, backlog)
}

fn open(folder: &Path) -> (Arc<SegmentLinks>, Backlog) {
    open_with(folder, 100)
}

/// Rows with their numbers in their blocks, and the cursors that make them sent.
type Taken = (Vec<(u32, u32)>, Vec<(uuid::Uuid, u32)>);

/// Takes the next rows.
fn take(backlog: &mut Backlog, most: usize) -> Option<Taken> {
    let batch = backlog.take(table(), most).unwrap()?;
    let mut rows = Vec::new();
    for read in &batch.rows {
        let values = read.content.bytes.chunks_exact(4);
        let values = values.map(|row| u32::from_le_bytes(*row.first_chunk().unwrap()));
        rows.extend(read.numbers.iter().cloned().flatten().zip(values));
    }
    Some((rows, batch.cursors))
}

/// Sends all rows, and returns them.
fn send(backlog: &mut Backlog) -> Vec<u32> {
    let mut sent = Vec::new();
    loop {
        backlog.read().unwrap();
        let Some((rows, cursors)) = take(backlog, ALL) else {
            break;
        };
        sent.extend(rows.into_iter().map(|(_, row)| row));
        backlog.sent(table(), &cursors).unwrap();
    }
    backlog.tidy().unwrap();
    sent
}

/// Moves the rows of a segment to another one, as the spool does.
fn compact(folder: &Path, from: u64, to: u64) {
    fs::copy(segment_path(folder, from), segment_path(folder, to)).unwrap();
    fs::remove_file(segment_path(folder, from)).unwrap();
}

#[tokio::test]
async fn a_block_that_is_compacted_is_sent_once() {
    for is_restarted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path(), 12).await;
        let (links, mut backlog) = open(folder.path());
        assert_eq!(send(&mut backlog), Vec::from_iter(0..12));
        assert!(links.names().unwrap().is_empty() && backlog.is_empty(table()));
        for segment in 1..4 {
            compact(folder.path(), segment, segment + 1);
            for _ in 0..3 {
                if is_restarted {
                    backlog = open(folder.path()).1;
                }
                backlog.tidy().unwrap();
                assert_eq!(send(&mut backlog), [0_u32; 0], "segment {segment}");
                backlog.remove_links().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_block_is_sent_in_pieces_and_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 6).await;
    let (_, mut backlog) = open(folder.path());
    backlog.read().unwrap();
    for row in 0..4 {
        // One byte is less than a frame.
        let (rows, cursors) = take(&mut backlog, 1).unwrap();
        assert_eq!(rows, [(row, row)]);
        // What is not sent comes again.
        assert_eq!(take(&mut backlog, 1).unwrap().0, rows);
        backlog.sent(table(), &cursors).unwrap();
    }
    let (links, mut backlog) = open(folder.path());
    assert_eq!(send(&mut backlog), Vec::from_iter(0..6));
    assert!(links.names().unwrap().is_empty());
}

#[tokio::test]
async fn a_full_queue_finds_the_further_blocks_later() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 30).await;
    let (links, mut backlog) = open_with(folder.path(), 2);
    assert!(backlog.read().unwrap());
    let (rows, cursors) = take(&mut backlog, ALL).unwrap();
    assert_eq!(rows.len(), 12);
    backlog.sent(table(), &cursors).unwrap();
    assert!(!backlog.is_empty(table()));
    // The link stays for the blocks that are in no queue.
    backlog.remove_links().unwrap();
    assert_eq!(links.names().unwrap().len(), 1);
    assert_eq!(send(&mut backlog), Vec::from_iter(12..30));
    assert!(links.names().unwrap().is_empty() && backlog.is_empty(table()));
}

#[tokio::test]
async fn rows_that_clickhouse_has_are_given_up_beyond_the_limit_and_on_a_full_disk() {
    for has_archive in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path(), 6).await;
        let archive = SegmentLinks::open(folder.path(), Consumer::Archive).unwrap();
        if has_archive {
            archive.link_missing(|_| false).unwrap();
        }
        let (links, mut backlog) = open(folder.path());
        backlog.read().unwrap();
        let counts = Counts::default();
        let bytes = fs::metadata(segment_path(folder.path(), 1)).unwrap().len();
        backlog.limit(0, &counts).unwrap();
        assert_eq!(counts.only_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(counts.pending_bytes.load(Ordering::Relaxed), bytes);
        // The link of another consumer is no name of the spool.
        fs::remove_file(segment_path(folder.path(), 1)).unwrap();
        backlog.limit(bytes, &counts).unwrap();
        assert_eq!(counts.only_bytes.load(Ordering::Relaxed), bytes);
        links.write_failed(&io::ErrorKind::StorageFull.into());
        backlog.limit(bytes, &counts).unwrap();
        assert_eq!(counts.dropped_bytes.load(Ordering::Relaxed), bytes);
        assert_eq!(counts.only_bytes.load(Ordering::Relaxed), 0);
        assert!(links.names().unwrap().is_empty() && backlog.is_empty(table()));
        assert_eq!(archive.names().unwrap().len(), usize::from(has_archive));
    }
}
