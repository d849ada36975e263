//! Idempotency keys are on disk exactly if their rows are, and outlive the segments.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use crate::{
    ack::Ack,
    block::{
        row_key::{KeyHash, KeyRecord, RowKey},
        rows::RowBatch,
    },
    idempotency::{KeyIndex, now_s},
    spool::{
        Appender, Outcome, Spool, TableReader,
        commit::{Committer, Remaining},
        disk::{Disk, Folder},
        inspect,
        read::read_rows,
        reader::Found,
        recover::recover,
        tests::world::{LIMITS, layouts},
    },
    table::dead_letter::REJECTED,
};

/// A spool on a real disk, without threads.
struct Opened {
    spool: Spool,
    appender: Appender,
    readers: Vec<TableReader>,
    committer: Committer,
}

fn record(key: u8) -> KeyRecord {
    KeyRecord {
        hash: KeyHash(key.into()),
        id: key.into(),
        expires_s: now_s() + 600,
        fingerprint: 0,
    }
}

impl Opened {
    fn on(folder: &Path) -> Self {
        let disk = Folder::lock(folder).unwrap().unwrap();
        let index = KeyIndex::open(&folder.join("keys"), LIMITS.keys, now_s()).unwrap();
        let (spool, committer) = Spool::recovered(Arc::new(disk), folder, layouts(2), LIMITS, index).unwrap();
        Self {
            appender: spool.appender(),
            readers: spool.readers(),
            spool,
            committer,
        }
    }

    /// Appends `count` rows of `bytes` bytes under one key. Each row consists of the key.
    fn append(&self, key: u8, count: u32, bytes: usize) {
        let mut rows = RowBatch::default();
        for _ in 0..count {
            rows.push(&REJECTED, |out| out.extend(vec![key; bytes])).unwrap();
        }
        let row_key = RowKey {
            rows: 0..count,
            record: record(key),
        };
        let keys = std::slice::from_ref(&row_key);
        let (_, place) = self
            .appender
            .append_with_keys(self.readers[0].id(), Ack::Spooled, &mut rows, keys)
            .unwrap();
        self.spool.keys().lock().insert(row_key.record, place, now_s());
    }

    fn append_without_key(&self, row: u8) {
        let receipt = self
            .appender
            .append(self.readers[0].id(), Ack::Spooled, |out| out.push(row));
        receipt.unwrap();
    }

    fn commit(&mut self) {
        for _ in 0..10 {
            if matches!(self.committer.commit_once(), Ok(Remaining::Nothing)) {
                return;
            }
        }
        panic!("the commits do not end");
    }

    /// Records the server of the oldest block on disk.
    fn send_to(&mut self, server: &str) {
        let Found::Rows(block, _) = self.readers[0].check() else {
            panic!("no block")
        };
        let mut recorded = pin!(self.readers[0].send_to(&block, server.into()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(recorded.as_mut().poll(&mut cx).is_pending());
        assert!(matches!(self.committer.commit_once(), Ok(Remaining::Nothing)));
        assert!(recorded.poll(&mut cx).is_ready());
    }

    fn knows(&self, keys: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let is_known = |key: &u8| self.spool.keys().find(record(*key).hash, now_s()).is_some();
        keys.into_iter().filter(is_known).collect()
    }

    /// Settles all blocks as stored.
    fn store_all(&mut self) {
        // The open block is sealed first.
        self.readers[0].check();
        self.commit();
        while let Found::Rows(block, part) = self.readers[0].check() {
            self.readers[0].settle(&block, &part, Outcome::Stored);
        }
        self.commit();
    }
}

fn segments(folder: &Path) -> usize {
    Folder::unlocked(folder).segments().unwrap().len()
}

/// Returns the keys of the rows that a recovery delivers, and the keys that it restores.
fn recovered(folder: &Path) -> (Vec<u8>, BTreeSet<u8>) {
    let disk = Folder::unlocked(folder);
    let recovered = recover(&disk, folder, usize::MAX).unwrap();
    let mut rows = Vec::new();
    for block in &recovered.blocks {
        let state = block.state();
        for part in state.parts.iter() {
            let content = read_rows(&disk, block.id, &state.logged, &part).unwrap();
            let firsts = content.ends.iter().map(|end| content.bytes[*end as usize - 1]);
            rows.extend(firsts);
        }
    }
    let keys = recovered.keys.iter().map(|(_, key)| key.record.id as u8).collect();
    (rows, keys)
}

#[test]
fn a_segment_that_is_cut_at_any_byte_has_a_key_exactly_if_it_has_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::on(folder.path());
    opened.append(1, 1, 3);
    opened.append_without_key(100);
    opened.append(2, 2, 3);
    opened.commit();
    opened.append(3, 1, 3);
    opened.commit();
    drop(opened);

    let whole = fs::read(folder.path().join("0000000000000001.spool")).unwrap();
    let mut seen = BTreeSet::new();
    for length in 0..=whole.len() {
        let cut = tempfile::tempdir().unwrap();
        fs::write(cut.path().join("0000000000000001.spool"), &whole[..length]).unwrap();
        let (rows, keys) = recovered(cut.path());
        for key in 1..=3 {
            let count = rows.iter().filter(|row| **row == key).count();
            let expected = match (keys.contains(&key), key) {
                (false, _) => 0,
                (true, 2) => 2,
                (true, _) => 1,
            };
            assert_eq!(count, expected, "key {key} at {length}");
        }
        seen.insert(keys);
    }
    assert_eq!(seen.len(), 3, "no key, those of the first commit, all: {seen:?}");
}

/// The rows of one request in several frames.
#[test]
fn a_request_that_is_cut_between_two_frames_has_neither_key_nor_rows() {
    let limits = crate::spool::SpoolLimits {
        memory_bytes: 64 << 20,
        blocks: crate::block::BlockLimits {
            rows: 100,
            bytes: 16 << 20,
            ..LIMITS.blocks
        },
        log: crate::spool::LogLimits {
            segment_bytes: 64 << 20,
            max_bytes: 1 << 30,
        },
        ..LIMITS
    };
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::lock(folder.path()).unwrap().unwrap();
    let index = KeyIndex::open(&folder.path().join("keys"), limits.keys, now_s()).unwrap();
    let (spool, committer) = Spool::recovered(Arc::new(disk), folder.path(), layouts(2), limits, index).unwrap();
    let mut opened = Opened {
        appender: spool.appender(),
        readers: spool.readers(),
        spool,
        committer,
    };
    opened.append(1, 1, 3);
    opened.append(2, 5, 600 << 10);
    opened.append(3, 1, 3);
    opened.commit();
    drop(opened);
    let path = folder.path().join("0000000000000001.spool");
    let whole = fs::read(&path).unwrap();
    let (rows, keys) = recovered(folder.path());
    assert_eq!((rows, keys), (vec![1, 2, 2, 2, 2, 2, 3], BTreeSet::from([1, 2, 3])));

    // The first frame has the first two rows.
    for cut in [1 << 20, 2 << 20, whole.len() - 1_000] {
        let torn = tempfile::tempdir().unwrap();
        fs::write(torn.path().join("0000000000000001.spool"), &whole[..cut]).unwrap();
        let complete = (vec![1], BTreeSet::from([1]));
        assert_eq!(recovered(torn.path()), complete, "{cut}");

        // The server of the block does not make it complete.
        let mut opened = Opened::on(torn.path());
        opened.send_to("http://b/stats");
        drop(opened);
        assert_eq!(recovered(torn.path()), complete, "{cut}");
    }
}

#[test]
fn keys_outlive_the_segments_of_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::on(folder.path());
    for key in 1..=200 {
        opened.append(key, 1, 100);
        opened.commit();
        opened.store_all();
    }
    assert!(segments(folder.path()) <= 2, "finished segments are removed");
    drop(opened);

    let opened = Opened::on(folder.path());
    assert_eq!(opened.knows(0..=255), (1..=200).collect::<Vec<_>>());
    assert_eq!(opened.spool.counts()[0].rows_pending, 0);
    drop(opened);
    // The start has removed the last segment.
    assert_eq!(segments(folder.path()), 0);
    let opened = Opened::on(folder.path());
    assert_eq!(opened.knows(0..=255), (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_segment_stays_until_its_keys_are_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut opened = Opened::on(folder.path());
    // A file in the place of the folder.
    fs::write(&keys, "").unwrap();
    for key in 1..=40 {
        opened.append(key, 1, 100);
        opened.commit();
        opened.store_all();
    }
    let held = segments(folder.path());
    assert!(held >= 3, "{held} segments");
    fs::remove_file(&keys).unwrap();
    opened.append(41, 1, 4_000);
    opened.commit();
    opened.store_all();
    opened.append(42, 1, 100);
    opened.commit();
    drop(opened);
    let opened = Opened::on(folder.path());
    assert_eq!(opened.knows(0..=255), (1..=42).collect::<Vec<_>>());
}

#[test]
fn a_restored_key_has_the_progress_of_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::on(folder.path());
    opened.append(1, 1, 3);
    opened.commit();
    drop(opened);

    let mut opened = Opened::on(folder.path());
    let find = |opened: &Opened| opened.spool.keys().find(record(1).hash, now_s()).unwrap();
    let pending = find(&opened).pending.unwrap();
    assert_eq!(
        pending.progress.read(|progress| progress.level(&pending.rows)),
        Ack::Spooled
    );
    opened.store_all();
    assert_eq!(
        pending.progress.read(|progress| progress.level(&pending.rows)),
        Ack::Stored
    );
    assert!(find(&opened).pending.is_none());
}

#[test]
fn a_full_disk_leaves_a_key_with_its_row_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::on(folder.path());
    opened.append(1, 1, 3);
    fs::remove_dir_all(folder.path()).unwrap();
    fs::write(folder.path(), "").unwrap();
    assert!(opened.committer.commit_once().is_err());
    let pending = opened
        .spool
        .keys()
        .find(record(1).hash, now_s())
        .unwrap()
        .pending
        .unwrap();
    assert_eq!(
        pending.progress.read(|progress| progress.level(&pending.rows)),
        Ack::Accepted
    );
    fs::remove_file(folder.path()).unwrap();
    opened.commit();
    assert_eq!(
        pending.progress.read(|progress| progress.level(&pending.rows)),
        Ack::Spooled
    );
    drop(opened);
    let (rows, keys) = recovered(folder.path());
    assert_eq!((rows, keys), (vec![1], BTreeSet::from([1])));
}

#[test]
fn a_report_reads_keyed_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::on(folder.path());
    opened.append(7, 2, 3);
    opened.commit();
    let report = inspect(folder.path()).unwrap();
    let [block] = &report.blocks[..] else {
        panic!("{report:?}")
    };
    assert_eq!((block.rows, block.rows_missing), (2, 0));
    assert_eq!(block.read(folder.path(), &block.parts[0]).unwrap(), [7; 6]);
}
