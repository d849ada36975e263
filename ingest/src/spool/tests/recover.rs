//! Recover: the blocks and marks that a start finds in a folder.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

use uuid::Uuid;

use crate::{
    block::{
        frame_format::{FRAME_HEADER, FrameFormat, Salt},
        layout::InsertTarget,
        parts::Part,
        sealed::dead_letter_id,
    },
    spool::{
        disk::{Disk, Folder},
        frame::{self, Kind},
        log::Mark,
        read::read_rows,
        recover::recover,
    },
};

fn folder_with(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    let disk = Folder::lock(folder.path()).unwrap().unwrap();
    (folder, disk)
}

#[test]
fn the_quarantined_copy_does_not_change_with_its_segment() {
    let golden = include_bytes!("../golden/version2.spool");
    let (folder, disk) = folder_with("0000000000000001.spool", golden);
    disk.quarantine(1).unwrap();
    disk.open(1).unwrap().truncate(30).unwrap();
    disk.quarantine(1).unwrap();
    let kept = fs::read(folder.path().join("0000000000000001.damaged")).unwrap();
    assert_eq!(kept, golden);
    assert_eq!(disk.segments().unwrap(), [1]);
}

#[test]
fn unknown_files_and_versions_are_left_unchanged() {
    let golden = include_bytes!("../golden/version2.spool");
    let mut newer = golden.to_vec();
    newer[8] = 7;
    let (folder, disk) = folder_with("0000000000000001.spool", &newer);
    let error = recover(&disk, Path::new("here"), usize::MAX).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has version 7, this program knows versions up to 4"),
        "{error}"
    );
    assert_eq!(fs::read(folder.path().join("0000000000000001.spool")).unwrap(), newer);

    let (folder, disk) = folder_with("0000000000000003.spool", b"somebody's own notes, which are long enough");
    let error = recover(&disk, Path::new("here"), usize::MAX).unwrap_err();
    assert!(error.to_string().contains("is not a spool segment"), "{error}");
    assert!(folder.path().join("0000000000000003.spool").exists());
}

#[test]
fn a_folder_is_locked_by_one_process() {
    let (folder, _disk) = folder_with("notes.txt", b"");
    assert!(Folder::lock(folder.path()).unwrap().is_none());
}

#[test]
fn a_recovered_block_lacks_the_rows_that_are_done() {
    let of_version_1: &[u8] = include_bytes!("../golden/version1.spool");
    let of_version_2: &[u8] = include_bytes!("../golden/version2.spool");
    // The last frame of each segment marks the block as moved.
    for (golden, moved) in [(of_version_1, 48), (of_version_2, FRAME_HEADER)] {
        let (_folder, disk) = folder_with("0000000000000001.spool", &golden[..golden.len() - moved]);
        let recovered = recover(&disk, Path::new("here"), usize::MAX).unwrap();
        let [block] = &recovered.blocks[..] else {
            panic!("{recovered:?}")
        };
        assert_eq!((&*block.layout.table, block.rows), ("table", 4));
        assert_eq!(block.next_part(), Some(Part::from(0..2)));
        let logged = block.state().logged.clone();
        for (part, bytes, ends) in [(0..2, &b"one"[..], &[3, 3][..]), (1..4, b"threefour", &[0, 5, 9])] {
            let rows = read_rows(&disk, block.id, &logged, &Part::from(part)).unwrap();
            assert_eq!((&rows.bytes[..], &rows.ends[..]), (bytes, ends));
        }
    }
}

#[test]
fn marks_about_a_block_are_copied_to_each_segment_that_has_it() {
    let golden = include_bytes!("../golden/version2.spool");
    let with_done = &golden[..golden.len() - FRAME_HEADER];
    let (folder, disk) = folder_with("0000000000000001.spool", with_done);
    let without = &with_done[..with_done.len() - FRAME_HEADER];
    fs::write(folder.path().join("0000000000000002.spool"), without).unwrap();
    let recovered = recover(&disk, Path::new("here"), usize::MAX).unwrap();
    let [block] = &recovered.blocks[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(block.next_part(), Some(Part::from(0..2)));
    let mark = |segment, kind, rows, depends_on| Mark {
        segment,
        kind,
        block: block.id,
        rows,
        durable: true,
        depends_on: Some(depends_on),
    };
    // The second copy is the best one.
    let marks = [mark(2, Kind::Done, 2..4, 1), mark(1, Kind::Moved, 0..0, 2)];
    assert_eq!(recovered.unmarked, marks);
}

/// Returns a segment with a block of one row, and with `marks` about it.
fn segment_with(block: Uuid, marks: &[Kind]) -> Vec<u8> {
    let format = FrameFormat::new(Salt(1));
    let mut bytes = frame::segment_header(format).to_vec();
    let mut put = |kind, body: &dyn Fn(&mut Vec<u8>)| {
        let header = frame::Header {
            kind,
            batch: frame::SEGMENT_HEADER as u64,
            block,
            rows: if matches!(kind, Kind::Open | Kind::Moved) {
                0..0
            } else {
                0..1
            },
        };
        frame::put(&mut bytes, format, &header, body);
    };
    let layout = InsertTarget::new("t".into(), "INSERT INTO t".into(), [].into(), None);
    put(Kind::Open, &|out| frame::put_layout(out, &layout));
    put(Kind::Rows, &|out| frame::put_rows(out, b"x", &[1], &(0..1)));
    for mark in [Kind::Seal].iter().chain(marks) {
        put(*mark, &|_| {});
    }
    bytes
}

#[test]
fn a_dead_letter_marks_its_row_as_done_even_if_it_is_done_or_moved() {
    let block = Uuid::from_u128(0x7000 << 64);
    let dead_letter = dead_letter_id(block, 0).unwrap();
    for (marks, blocks) in [(&[][..], 1), (&[Kind::Done], 0), (&[Kind::Moved], 0)] {
        let (folder, disk) = folder_with("0000000000000001.spool", &segment_with(block, &[]));
        fs::write(
            folder.path().join("0000000000000002.spool"),
            segment_with(dead_letter, marks),
        )
        .unwrap();
        let recovered = recover(&disk, Path::new("here"), usize::MAX).unwrap();
        assert!(recovered.damage.is_empty(), "{recovered:?}");
        let ids: Vec<_> = recovered.blocks.iter().map(|block| block.id).collect();
        assert_eq!(ids, vec![dead_letter; blocks], "{marks:?}");
    }
}
