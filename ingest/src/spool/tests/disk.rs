//! A disk for tests: it loses unsynced bytes in a loss of power, tears writes, and fails on
//! request.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use crate::{
    block::rng::Rng,
    spool::disk::{Disk, Segment},
};

/// A disk that loses unsynced bytes in a loss of power, and fails on request.
#[derive(Debug, Default)]
pub(crate) struct SimulatedDisk(pub(crate) Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
pub(crate) struct DiskState {
    pub(crate) segments: BTreeMap<u64, SimulatedSegment>,
    pub(crate) quarantined: usize,
    /// Fails the next write after this many of its bytes.
    pub(crate) fails_after: Option<usize>,
    /// Fails the next sync.
    pub(crate) sync_fails: bool,
    /// Fails the next truncation.
    pub(crate) truncate_fails: bool,
    pub(crate) is_full: bool,
    /// The number of operations refused because the disk was full.
    pub(crate) refusals: usize,
}

impl DiskState {
    /// Returns whether the next write will succeed.
    pub(crate) fn is_working(&self) -> bool {
        self.fails_after.is_none() && !self.sync_fails && !self.truncate_fails && !self.is_full
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedSegment {
    pub(crate) bytes: Vec<u8>,
    synced: usize,
}

impl SimulatedDisk {
    /// Returns the total length of all segments.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.0.lock().unwrap();
        state.segments.values().map(|segment| segment.bytes.len()).sum()
    }

    /// Loses power, and all bytes that were not synced.
    pub(crate) fn lose_unsynced_bytes(&self) {
        for segment in self.0.lock().unwrap().segments.values_mut() {
            segment.bytes.truncate(segment.synced);
        }
    }

    /// Loses power: any prefix of the unsynced bytes may be left, and any byte of it may be
    /// changed.
    pub(crate) fn crash(&self, rng: &mut Rng) {
        let mut state = self.0.lock().unwrap();
        (state.fails_after, state.sync_fails, state.truncate_fails) = (None, false, false);
        for segment in state.segments.values_mut() {
            let unsynced = segment.bytes.len() - segment.synced;
            let kept = rng.below(unsynced as u64 + 1) as usize;
            segment.bytes.truncate(segment.synced + kept);
            if kept > 0 && rng.one_in(3) {
                let at = segment.synced + rng.below(kept as u64) as usize;
                segment.bytes[at] ^= 1 << rng.below(8);
            }
            if kept > 0 && rng.one_in(4) {
                // A page that never reached the disk.
                let at = segment.synced + rng.below(kept as u64) as usize;
                let end = (at + 64).min(segment.bytes.len());
                segment.bytes[at..end].fill(0);
            }
            segment.synced = segment.bytes.len();
        }
    }
}

impl Disk for SimulatedDisk {
    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().unwrap().segments.keys().copied().collect())
    }

    fn create(&self, segment: u64) -> io::Result<Box<dyn Segment>> {
        let mut state = self.0.lock().unwrap();
        if state.is_full {
            state.refusals += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let before = state.segments.insert(segment, SimulatedSegment::default());
        assert!(before.is_none(), "a segment's number is used once");
        Ok(Box::new(SimulatedFile(Arc::clone(&self.0), segment)))
    }

    fn open(&self, segment: u64) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(SimulatedFile(Arc::clone(&self.0), segment)))
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        let state = self.0.lock().unwrap();
        let segment = state.segments.get(&segment).ok_or(io::ErrorKind::NotFound)?;
        Ok(segment.bytes.clone())
    }

    fn read_at(&self, segment: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(segment)?;
        let range = offset as usize..offset as usize + length;
        Ok(bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn remove(&self, segment: u64) -> io::Result<()> {
        self.0.lock().unwrap().segments.remove(&segment);
        Ok(())
    }

    fn quarantine(&self, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().quarantined += 1;
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile(Arc<Mutex<DiskState>>, u64);

impl Segment for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if !state.segments.contains_key(&self.1) {
            // As on a real disk, the file exists as long as it is open.
            return Ok(());
        }
        let mut written = bytes;
        let mut result = Ok(());
        if state.is_full {
            state.refusals += 1;
            (written, result) = (&[], Err(io::ErrorKind::StorageFull.into()));
        } else if let Some(after) = state.fails_after.take() {
            written = &bytes[..after.min(bytes.len())];
            result = Err(io::Error::other("EIO"));
        }
        let segment = state.segments.get_mut(&self.1).ok_or(io::ErrorKind::NotFound)?;
        segment.bytes.extend_from_slice(written);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if std::mem::take(&mut state.sync_fails) {
            return Err(io::Error::other("EIO"));
        }
        let Some(segment) = state.segments.get_mut(&self.1) else {
            return Ok(());
        };
        segment.synced = segment.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if std::mem::take(&mut state.truncate_fails) {
            return Err(io::Error::other("EIO"));
        }
        let segment = state.segments.get_mut(&self.1).ok_or(io::ErrorKind::NotFound)?;
        segment.bytes.truncate(length as usize);
        segment.synced = segment.synced.min(length as usize);
        Ok(())
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().segments.contains_key(&self.1))
    }
}

#[test]
fn the_simulated_disk_loses_unsynced_bytes() {
    let disk = SimulatedDisk::default();
    let mut file = disk.create(1).unwrap();
    file.append(b"synced").unwrap();
    file.sync().unwrap();
    file.append(b"lost").unwrap();
    let mut lengths = BTreeSet::new();
    for seed in 0..20 {
        let copy = SimulatedDisk::default();
        copy.0.lock().unwrap().segments = disk.0.lock().unwrap().segments.clone();
        copy.crash(&mut Rng::new(seed));
        let bytes = copy.read(1).unwrap();
        assert!(bytes.starts_with(b"synced"));
        lengths.insert(bytes.len());
    }
    assert!(lengths.len() > 2);
}
