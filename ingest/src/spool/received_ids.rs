//! The ids of the blocks that were taken from other collectors, over restarts.
//!
//! A file `received` in the spool's folder has them. All numbers are little-endian. The file begins
//! with 24 bytes, and records of the same length follow:
//!
//! ```text
//! file      0  8  magic     "RWMRECV\0"
//!           8  4  version   1
//!          12  8  zero
//!          20  4  checksum  CRC-32C of bytes 0..20
//!
//! record    0 16  block     the block's id, a UUID in its own byte order
//!          16  1  kind      1 prepared, 2 taken, 3 given away again
//!          17  3  zero
//!          20  4  checksum  CRC-32C of bytes 0..20
//! ```
//!
//! An id is prepared before its block is in a segment, and taken before a delivery sees the block.
//! So a block that is only prepared was taken if, and only if, a start finds it waiting.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::private;

const MAGIC: &[u8; 8] = b"RWMRECV\0";
const VERSION: u32 = 1;
const RECORD: usize = 24;
/// The bytes of a record, or of the file's beginning, before the checksum.
const CHECKED: usize = 20;

/// The name of the file, and of a new one that is not complete yet.
const FILE: &str = "received";
const NEW_FILE: &str = "received.new";

/// The largest number of ids. Beyond it, the oldest are forgotten; a block that is given again
/// then is looked up in its table, as each block that was taken.
const MAX_IDS: usize = 1 << 20;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prepared = 1,
    Taken = 2,
    Given = 3,
}

/// The ids of the blocks that were taken from other collectors.
#[derive(Debug)]
pub(super) struct ReceivedIds(Mutex<Ids>);

#[derive(Debug)]
struct Ids {
    known: HashMap<Uuid, Known>,
    /// The ids in the order of their arrival, each with the number of it, including some that were
    /// given away.
    order: VecDeque<(u64, Uuid)>,
    /// The number of the next arrival.
    next: u64,
    /// `None` for ids that need not outlive the process.
    folder: Option<PathBuf>,
    /// The file, if its content is as in memory.
    file: Option<File>,
    /// The number of records in the file.
    records: usize,
}

/// An id of the list.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Whether the block was taken; otherwise it is only prepared.
    is_taken: bool,
    /// The number of its arrival. An id that was given away, and comes back, has a new one.
    number: u64,
}

impl ReceivedIds {
    /// Returns an empty list, which does not outlive the process.
    pub(super) fn in_memory() -> Self {
        Self(Mutex::new(Ids::new(None)))
    }

    /// Reads the list in `folder`. The first id creates its file.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` for a file of a newer program.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut ids = Ids::new(Some(folder.to_owned()));
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => ids.read(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self(Mutex::new(ids)))
    }

    /// Returns whether a block was taken, and not given away again.
    pub(super) fn contains(&self, id: Uuid) -> bool {
        self.lock().known.get(&id).is_some_and(|known| known.is_taken)
    }

    /// Records durably that blocks are about to be taken.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn prepare(&self, ids: &[Uuid]) -> io::Result<()> {
        self.lock().record(ids, Kind::Prepared)
    }

    /// Records durably that blocks were taken.
    ///
    /// # Errors
    /// The disk's. This process knows the blocks, and the next successful record contains them.
    pub(super) fn confirm(&self, ids: &[Uuid]) -> io::Result<()> {
        self.lock().record(ids, Kind::Taken)
    }

    /// Records that the prepared blocks were taken of which `is_waiting` returns `true`, and that
    /// the others were not.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn confirm_pending(&self, is_waiting: impl Fn(Uuid) -> bool) -> io::Result<()> {
        let mut ids = self.lock();
        let prepared = ids.known.iter().filter(|(_, known)| !known.is_taken);
        let prepared: Vec<_> = prepared.map(|(id, _)| *id).collect();
        let (taken, not_taken): (Vec<_>, Vec<_>) = prepared.into_iter().partition(|id| is_waiting(*id));
        for id in not_taken {
            ids.known.remove(&id);
        }
        ids.record(&taken, Kind::Taken)
    }

    /// Records durably that blocks were given away.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn remove(&self, ids: &[Uuid]) -> io::Result<()> {
        let mut list = self.lock();
        let known: Vec<_> = ids.iter().filter(|id| list.known.contains_key(id)).copied().collect();
        list.record(&known, Kind::Given)
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        // No holder of the lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn new(folder: Option<PathBuf>) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            folder,
            file: None,
            records: 0,
        }
    }

    /// Reads a file's records. A record that a crash has cut off is none.
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut records = bytes.chunks_exact(RECORD);
        let beginning = records.next().filter(|beginning| is_intact(beginning));
        if let Some(beginning) = beginning
            && (&beginning[..8] != MAGIC || beginning[8..12] != VERSION.to_le_bytes())
        {
            let text = format!("`{FILE}` in the spool's folder was written by a newer program");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut damaged = beginning.is_none() && bytes.len() >= RECORD;
        for record in records {
            let id = record.first_chunk().map(|id| Uuid::from_bytes(*id));
            let kind = [Kind::Prepared, Kind::Taken, Kind::Given]
                .into_iter()
                .find(|kind| *kind as u8 == record[16]);
            match (is_intact(record), id, kind) {
                (true, Some(id), Some(kind)) => self.apply(id, kind),
                _ => damaged = true,
            }
        }
        if damaged {
            tracing::error!(
                "the list of received blocks is damaged: a block that is handed over a second time is looked up in its \
                 table instead"
            );
        }
        Ok(())
    }

    /// Changes the list in memory.
    fn apply(&mut self, id: Uuid, kind: Kind) {
        match kind {
            Kind::Given => _ = self.known.remove(&id),
            Kind::Prepared if self.known.contains_key(&id) => {}
            Kind::Prepared | Kind::Taken => {
                let is_taken = kind == Kind::Taken;
                match self.known.entry(id) {
                    Entry::Occupied(mut known) => known.get_mut().is_taken = is_taken,
                    Entry::Vacant(unknown) => {
                        let number = self.next;
                        self.next += 1;
                        unknown.insert(Known { is_taken, number });
                        self.order.push_back((number, id));
                    }
                }
            }
        }
        while self.order.len() > MAX_IDS {
            if let Some((number, oldest)) = self.order.pop_front()
                && self.is_arrival(number, oldest)
            {
                self.known.remove(&oldest);
            }
        }
    }

    /// Returns whether an id is in the list since the arrival with this number.
    fn is_arrival(&self, number: u64, id: Uuid) -> bool {
        self.known.get(&id).is_some_and(|known| known.number == number)
    }

    /// Changes the list in memory and on disk.
    fn record(&mut self, ids: &[Uuid], kind: Kind) -> io::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        ids.iter().for_each(|id| self.apply(*id, kind));
        let Some(folder) = self.folder.clone() else {
            return Ok(());
        };
        let written = match &mut self.file {
            Some(file) if self.records < 2 * self.known.len() + MAX_IDS => {
                let records: Vec<u8> = ids.iter().flat_map(|id| record(*id, kind)).collect();
                file.write_all(&records).and_then(|()| file.sync_data())
            }
            // The first record of this process, or one after a failure.
            _ => {
                let (file, records) = self.rewrite(&folder)?;
                (self.file, self.records) = (Some(file), records);
                return Ok(());
            }
        };
        match written {
            Ok(()) => self.records += ids.len(),
            // Its end is unknown.
            Err(_) => self.file = None,
        }
        written
    }

    /// Writes the whole list into a new file.
    fn rewrite(&self, folder: &Path) -> io::Result<(File, usize)> {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let mut bytes = with_checksum(bytes).to_vec();
        let arrivals = self.order.iter().filter(|(number, id)| self.is_arrival(*number, *id));
        let ids = arrivals.filter_map(|(_, id)| Some((*id, self.known.get(id)?.is_taken)));
        let mut records = 0;
        for (id, is_taken) in ids {
            bytes.extend(record(id, if is_taken { Kind::Taken } else { Kind::Prepared }));
            records += 1;
        }
        let (new, name) = (folder.join(NEW_FILE), folder.join(FILE));
        let mut file = private::open(OpenOptions::new().create(true).truncate(true).write(true), &new)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &name)?;
        File::open(folder)?.sync_all()?;
        Ok((file, records))
    }
}

fn record(id: Uuid, kind: Kind) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..16].copy_from_slice(id.as_bytes());
    record[16] = kind as u8;
    with_checksum(record)
}

fn with_checksum(mut record: [u8; RECORD]) -> [u8; RECORD] {
    let checksum = crc32c::crc32c(&record[..CHECKED]);
    record[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
    record
}

fn is_intact(record: &[u8]) -> bool {
    record[CHECKED..] == crc32c::crc32c(&record[..CHECKED]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_comes_back_is_as_old_as_its_last_arrival() {
        let ids = ReceivedIds::in_memory();
        let back = [Uuid::nil()];
        assert!(ids.confirm(&back).is_ok() && ids.remove(&back).is_ok() && ids.confirm(&back).is_ok());
        let others: Vec<_> = (1..MAX_IDS as u128).map(Uuid::from_u128).collect();
        assert!(ids.confirm(&others).is_ok());
        assert!(ids.contains(back[0]), "only its first arrival is beyond the limit");
        assert!(ids.confirm(&[Uuid::max()]).is_ok());
        assert!(!ids.contains(back[0]));
    }
}
