//! The key index: windows, bounds, and the files over restarts and cut-off writes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::block::progress::Progress;

const NOW: u32 = 1_000_000;
const WINDOW: u32 = 3_600;
const MAX: usize = 160;

/// The lengths of a header and of a record in a file.
const HEADER: usize = 16;
const RECORD: usize = 36;

fn record(key: u32) -> KeyRecord {
    KeyRecord {
        hash: KeyHash(u128::from(key) << 64),
        id: u64::from(key) + 7,
        expires_s: NOW + WINDOW,
        fingerprint: !key,
    }
}

fn place() -> PendingRows {
    PendingRows {
        progress: Arc::new(SharedProgress::new(Progress::default())),
        rows: 3..4,
    }
}

fn add(index: &KeyIndex, record: KeyRecord, now_s: u32) {
    index.lock().insert(record, place(), now_s);
    index.logged(&[record], now_s);
}

fn known(index: &KeyIndex, keys: impl IntoIterator<Item = u32>, now_s: u32) -> Vec<u32> {
    let is_known = |key: &u32| index.find(record(*key).hash, now_s).is_some();
    keys.into_iter().filter(is_known).collect()
}

fn open(folder: &TempDir) -> KeyIndex {
    KeyIndex::open(&folder.path().join("keys"), MAX, NOW).unwrap()
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("keys")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "keys"));
    files.sort();
    files
}

#[test]
fn a_key_is_known_until_its_window_ends() {
    let index = KeyIndex::in_memory(MAX);
    add(&index, record(1), NOW);
    assert_eq!(
        index.find(record(1).hash, NOW + WINDOW - 1).map(|known| known.record),
        Some(record(1))
    );
    assert!(index.find(record(1).hash, NOW + WINDOW).is_none());
    assert!(index.find(record(2).hash, NOW).is_none());

    // After the window, the key can be recorded again, with another window.
    let again = KeyRecord {
        id: 99,
        expires_s: NOW + 3 * WINDOW,
        ..record(1)
    };
    add(&index, again, NOW + WINDOW);
    assert_eq!(
        index.find(record(1).hash, NOW + 2 * WINDOW).map(|known| known.record),
        Some(again)
    );
    assert_eq!(index.counts().forgotten, 0);
}

#[test]
fn a_full_index_forgets_the_oldest_keys_and_counts_them() {
    let index = KeyIndex::in_memory(MAX);
    for key in 0..1_000 {
        add(&index, record(key), NOW);
        assert!(index.counts().keys as usize <= MAX, "{key}");
    }
    let counts = index.counts();
    assert_eq!(counts.keys + counts.forgotten, 1_000);
    let kept = 1_000 - counts.keys as u32;
    assert!(counts.keys as usize > MAX - MAX / 8, "{counts:?}");
    assert_eq!(known(&index, 0..1_000, NOW), (kept..1_000).collect::<Vec<_>>());

    // Keys whose window has passed are not missed.
    for key in 1_000..2_000 {
        let late = KeyRecord {
            expires_s: NOW + 3 * WINDOW,
            ..record(key)
        };
        add(&index, late, NOW + 2 * WINDOW);
    }
    let forgotten = index.counts().forgotten;
    assert_eq!(forgotten, counts.forgotten + 1_000 - index.counts().keys);
}

#[test]
fn the_rows_of_a_key_are_pending_until_they_are_stored() {
    let index = KeyIndex::in_memory(1 << 20);
    let first = place();
    index.lock().insert(record(0), first.clone(), NOW);
    let pending = index.find(record(0).hash, NOW).unwrap().pending.unwrap();
    assert!(Arc::ptr_eq(&pending.progress, &first.progress) && pending.rows == (3..4));
    first.progress.update(|progress| progress.is_done = true);
    assert!(index.find(record(0).hash, NOW).unwrap().pending.is_none());

    // Rows that ClickHouse has refused never reach their table.
    let refused = place();
    refused.progress.update(|progress| {
        progress.is_done = true;
        progress.refused = vec![3];
    });
    index.lock().insert(record(0), refused, NOW);
    assert!(index.find(record(0).hash, NOW).unwrap().pending.is_some());

    let done = place();
    done.progress.update(|progress| progress.is_done = true);
    for key in 1..10_000 {
        index.lock().insert(record(key), done.clone(), NOW);
    }
    assert!(
        index.lock().pending.len() <= MIN_SWEEP,
        "the places of stored rows are swept"
    );
    assert_eq!(index.counts().keys, 10_000);
}

#[test]
fn saved_keys_outlive_the_process_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    assert!(
        !folder.path().join("keys").exists(),
        "nothing is created before the first key"
    );
    let hash = index.hash(&[b"once/a", b"key"]).unwrap();
    add(&index, record(1), NOW);
    index.save().unwrap();
    index.lock().insert(record(2), place(), NOW);
    add(&index, record(3), NOW);
    drop(index);

    let index = open(&folder);
    assert_eq!(known(&index, 0..4, NOW), [1]);
    let found = index.find(record(1).hash, NOW).unwrap();
    assert_eq!((found.record, found.pending.is_none()), (record(1), true));
    assert_eq!(index.hash(&[b"once/a", b"key"]).unwrap(), hash, "the secret stays");
    assert_ne!(index.hash(&[b"once/ak", b"ey"]).unwrap(), hash);
    assert_ne!(KeyIndex::in_memory(MAX).hash(&[b"once/a", b"key"]).unwrap(), hash);
}

#[test]
fn a_write_that_is_cut_at_any_byte_costs_only_its_last_key() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    for key in 0..4 {
        add(&index, record(key), NOW);
    }
    index.save().unwrap();
    drop(index);
    let whole = fs::read(&files(&folder)[0]).unwrap();
    assert_eq!(whole.len(), HEADER + 4 * RECORD);
    for length in 0..=whole.len() {
        for path in files(&folder) {
            fs::remove_file(path).unwrap();
        }
        fs::write(folder.path().join("keys/0000000000000001.keys"), &whole[..length]).unwrap();
        let index = open(&folder);
        let left = length.saturating_sub(HEADER) / RECORD;
        assert_eq!(
            known(&index, 0..10, NOW),
            (0..left as u32).collect::<Vec<_>>(),
            "{length}"
        );

        // Later keys are found, too.
        add(&index, record(9), NOW);
        index.save().unwrap();
        let both: Vec<_> = (0..left as u32).chain([9]).collect();
        assert_eq!(known(&open(&folder), 0..10, NOW), both, "{length}");
    }
}

#[test]
fn a_damaged_byte_costs_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    for key in 0..4 {
        add(&index, record(key), NOW);
    }
    index.save().unwrap();
    drop(index);
    let path = files(&folder).remove(0);
    let whole = fs::read(&path).unwrap();
    for at in HEADER..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let hit = ((at - HEADER) / RECORD) as u32;
        let others: Vec<_> = (0..4).filter(|key| *key != hit).collect();
        assert_eq!(known(&open(&folder), 0..10, NOW), others, "{at}");
    }
    let mut newer = whole;
    newer[8] = 2;
    let checksum = crc32c::crc32c(&newer[..12]).to_le_bytes();
    newer[12..16].copy_from_slice(&checksum);
    fs::write(&path, newer).unwrap();
    let error = KeyIndex::open(&folder.path().join("keys"), MAX, NOW).unwrap_err();
    assert!(error.to_string().contains("newer program"), "{error}");
}

#[test]
fn files_are_removed_when_their_keys_are_over_or_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    for key in 0..40_000 {
        add(&index, record(key), NOW);
    }
    index.save().unwrap();
    // A file may exceed its share by the records that are written at once.
    let bytes = index.counts().bytes as usize;
    assert!(bytes <= MAX * RECORD + 4 * (64 << 10), "{bytes}");
    drop(index);
    assert!(known(&open(&folder), 39_990..40_000, NOW).len() == 10);

    assert_eq!(
        KeyIndex::open(&folder.path().join("keys"), MAX, NOW + WINDOW)
            .unwrap()
            .counts()
            .keys,
        0
    );
    assert_eq!(files(&folder), Vec::<PathBuf>::new());
}

#[test]
fn keys_that_cannot_be_written_are_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    // A file in the place of the folder.
    fs::write(folder.path().join("keys"), "").unwrap();
    add(&index, record(1), NOW);
    assert!(index.save().is_err() && index.save().is_err());
    assert!(index.hash(&[b"key"]).is_err());
    fs::remove_file(folder.path().join("keys")).unwrap();
    add(&index, record(2), NOW);
    index.save().unwrap();
    assert_eq!(known(&open(&folder), 0..4, NOW), [1, 2]);
}

#[test]
fn a_restored_key_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let index = open(&folder);
        index.restore(record(1), Some(place()), NOW);
        index.restore(record(2), None, NOW + WINDOW);
        assert!(index.find(record(1).hash, NOW).unwrap().pending.is_some());
        assert_eq!(known(&index, 0..4, NOW), [1], "the window of the other has passed");
        index.save().unwrap();
        assert_eq!(index.counts().bytes as usize, HEADER + RECORD);
    }
}
