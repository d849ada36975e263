//! Tests of the index, with the segments of a spool that has ended.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{format::ArchiveFormat, index::Index, status::Counts};
use crate::{
    ack::Ack,
    block::{BlockLimits, content::BlockRows, sealed::SealedBlock},
    deliver::tests::fake_server::SCHEMA,
    spool::{
        LogLimits, Spool, SpoolLimits, TableLayouts,
        archive::{ArchiveBlock, LinkedBlocks},
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
        segment_bytes: 2 << 10,
        max_bytes: 48 << 10,
    },
    keys: 10,
};

/// Writes six rows to the segment 1 of a spool.
async fn write_rows(folder: &Path) {
    let (spool, log) = Spool::open(folder, TableLayouts::of(&SCHEMA), LIMITS).unwrap();
    for row in 0..6_u32 {
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

fn open(folder: &Path) -> (Arc<SegmentLinks>, Index) {
    let links = Arc::new(SegmentLinks::open(folder, Consumer::Archive).unwrap());
    let spool = Spool::in_memory(TableLayouts::of(&SCHEMA), LIMITS);
    let tables = SCHEMA.tables.iter().map(|table| table.name.to_owned()).collect();
    let index = Index::open(Arc::clone(&links), spool, tables, ArchiveFormat::Blocks).unwrap();
    (links, index)
}

/// Uploads what is due, and returns the number of its rows.
fn upload(index: &mut Index) -> u64 {
    let mut rows = 0;
    index.read().unwrap();
    while let Some(upload) = index.next_upload(Duration::ZERO).unwrap() {
        rows += upload.rows();
        index.stored().unwrap();
    }
    index.tidy().unwrap();
    rows
}

/// Moves the rows of a segment to another one, as the spool does.
fn compact(folder: &Path, from: u64, to: u64) {
    fs::copy(segment_path(folder, from), segment_path(folder, to)).unwrap();
    fs::remove_file(segment_path(folder, from)).unwrap();
}

#[tokio::test]
async fn an_error_of_one_link_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path()).await;
    let (_, mut index) = open(folder.path());
    let unreadable = folder.path().join("archive/0000000000000002-0000000a.link");
    fs::create_dir(&unreadable).unwrap();
    index.read().unwrap_err();
    index.remove_links().unwrap();
    assert_eq!(index.next_upload(Duration::ZERO).unwrap().unwrap().rows(), 6);
}

#[tokio::test]
async fn a_block_that_is_compacted_twice_is_archived_once() {
    for is_restarted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path()).await;
        let (_, mut index) = open(folder.path());
        assert_eq!(upload(&mut index), 6);
        for segment in 1..4 {
            compact(folder.path(), segment, segment + 1);
            // The link of the new segment is read, and is removed since its rows are archived.
            for _ in 0..3 {
                if is_restarted {
                    index = open(folder.path()).1;
                }
                index.tidy().unwrap();
                assert_eq!(upload(&mut index), 0, "segment {segment}");
                index.remove_links().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_block_that_is_compacted_before_its_upload_is_archived_once() {
    for is_restarted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path()).await;
        let (links, mut index) = open(folder.path());
        index.read().unwrap();
        compact(folder.path(), 1, 2);
        index.tidy().unwrap();
        index.read().unwrap();
        index.remove_links().unwrap();
        assert_eq!(links.names().unwrap().len(), 2);
        if is_restarted {
            index = open(folder.path()).1;
        }
        assert_eq!(upload(&mut index), 6);
        assert!(links.names().unwrap().is_empty());
        index.tidy().unwrap();
        compact(folder.path(), 2, 3);
        index.tidy().unwrap();
        assert_eq!(upload(&mut index), 0);
    }
}

#[tokio::test]
async fn a_full_disk_gives_up_the_oldest_rows_that_only_the_archive_needs() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path()).await;
    let (links, mut index) = open(folder.path());
    let second = folder.path().join("archive/0000000000000002-0000000a.link");
    fs::copy(segment_path(folder.path(), 1), &second).unwrap();
    fs::remove_file(segment_path(folder.path(), 1)).unwrap();
    // The spool has begun with the segment 1 again.
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options()
        .write(true)
        .open(&second)
        .unwrap()
        .set_modified(hour_ago)
        .unwrap();
    index.read().unwrap();
    let counts = Counts::default();
    index.limit(u64::MAX, &counts).unwrap();
    assert_eq!(counts.dropped_bytes.load(Ordering::Relaxed), 0);
    let bytes = fs::metadata(&second).unwrap().len();

    links.write_failed(&io::ErrorKind::StorageFull.into());
    // Nor does the journal get any space.
    fs::create_dir(folder.path().join("archive/journal.new")).unwrap();
    index.limit(u64::MAX, &counts).unwrap_err();
    assert!(!second.exists());
    assert_eq!(links.names().unwrap().len(), 1);
    assert_eq!(counts.dropped_bytes.load(Ordering::Relaxed), bytes);
    // Once is enough, until the next write fails.
    index.limit(u64::MAX, &counts).unwrap();
    assert_eq!(links.names().unwrap().len(), 1);
    index.limit(0, &counts).unwrap_err();
    assert!(links.names().unwrap().is_empty());
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_makes_no_object_shorter() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path()).await;
    let (_, mut index) = open(folder.path());
    index.read().unwrap();
    assert_eq!(index.next_upload(Duration::ZERO).unwrap().unwrap().missing_blocks, 0);
    // The next process has the plan, and has not read the links yet.
    let (links, mut index) = open(folder.path());
    let (there, away) = (folder.path().join("archive"), folder.path().join("away"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "no folder").unwrap();
    index.next_upload(Duration::ZERO).unwrap_err();
    index.read().unwrap_err();
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    // What is lost is told.
    let name = links.names().unwrap()[0];
    fs::remove_file(links.path(name)).unwrap();
    let upload = index.next_upload(Duration::ZERO).unwrap().unwrap();
    assert_eq!((upload.rows(), upload.missing_blocks), (0, 1));
}

#[tokio::test]
async fn rows_without_the_names_of_their_columns_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path()).await;
    let (links, mut index) = open(folder.path());
    let mut found = Vec::new();
    let mut blocks = LinkedBlocks::new(links, |_| false);
    blocks.next(usize::MAX, |_| false, &mut found).unwrap();
    let ArchiveBlock { link, block } = found.remove(0);
    let mut layout = (*block.layout).clone();
    layout.columns = Box::default();
    let rows = BlockRows {
        bytes: vec![0; 4].into(),
        ends: vec![4].into(),
    };
    let block = SealedBlock::from_shared_log(Arc::new(layout), block.id, rows, false);
    index.add(ArchiveBlock { link, block });
    let counts = Counts::default();
    index.limit(u64::MAX, &counts).unwrap();
    assert_eq!(counts.dropped_bytes.load(Ordering::Relaxed), 4);
}
