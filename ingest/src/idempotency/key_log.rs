//! The key log: the index's keys in files, the oldest file removed first.
//!
//! All numbers are little-endian. A file begins with 16 bytes, and records follow back to back:
//!
//! ```text
//! file      0  8  magic     "RWMKEYS\0"
//!           8  4  version   1
//!          12  4  checksum  CRC-32C of bytes 0..12
//!
//! record    0 32  key       as in the spool's log
//!          32  4  checksum  CRC-32C of bytes 0..32
//! ```
//!
//! A file only grows. A write that was cut off leaves a partial record at the end of its file, and
//! the next process begins another file. The spool's log keeps the keys that a lost end contained:
//! it removes no segment before [`KeyLog::save`].

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    block::row_key::KeyRecord,
    idempotency::generations::{GENERATIONS, keys_each},
};

const MAGIC: &[u8; 8] = b"RWMKEYS\0";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const RECORD: usize = KeyRecord::BYTES + 4;
const EXTENSION: &str = "keys";

/// The bytes of records that wait in memory before they are written. They are in the spool's log
/// already.
const BUFFERED: usize = 64 << 10;

/// The files of the index.
#[derive(Debug)]
pub(super) struct KeyLog {
    folder: PathBuf,
    /// Oldest first; the last one may be open for writing.
    files: VecDeque<FileUse>,
    active: Option<File>,
    next: u64,
    max_records: usize,
    /// Records that are not written yet, whole ones.
    buffer: Vec<u8>,
    /// The latest end of a window among the records in `buffer`.
    buffer_end_s: u32,
    is_synced: bool,
}

#[derive(Debug)]
struct FileUse {
    number: u64,
    /// The length of whole records and the header, in bytes.
    length: usize,
    newest_end_s: u32,
}

impl KeyLog {
    /// Finds the files in `folder`, which need not exist.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(folder: &Path, max_keys: usize) -> io::Result<Self> {
        let mut numbers = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    let path = entry?.path();
                    let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                    if let (Some(number), true) = (number, path.extension().is_some_and(|own| own == EXTENSION)) {
                        numbers.push(number);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        numbers.sort_unstable();
        let file = |number| FileUse {
            number,
            length: 0,
            newest_end_s: 0,
        };
        Ok(Self {
            folder: folder.to_owned(),
            next: numbers.last().map_or(1, |last: &u64| last + 1),
            files: numbers.into_iter().map(file).collect(),
            active: None,
            max_records: keys_each(max_keys),
            buffer: Vec::new(),
            buffer_end_s: 0,
            is_synced: true,
        })
    }

    /// Passes the keys whose window has not passed at `now_s` to `insert`, oldest first, and removes
    /// the files that have none.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` for a file of a newer program.
    pub(super) fn read(mut self, now_s: u32, mut insert: impl FnMut(KeyRecord)) -> io::Result<Self> {
        for file in &mut self.files {
            let path = name(&self.folder, file.number);
            let bytes = fs::read(&path)?;
            file.length = bytes.len();
            for record in records(&bytes, &path)? {
                file.newest_end_s = file.newest_end_s.max(record.expires_s);
                if record.expires_s > now_s {
                    insert(record);
                }
            }
        }
        self.remove_old(now_s);
        Ok(self)
    }

    /// Adds keys to those that the next [`save`](Self::save) writes, and writes them if there are
    /// many.
    pub(super) fn add(&mut self, records: &[KeyRecord], now_s: u32) {
        for record in records {
            let start = self.buffer.len();
            record.put(&mut self.buffer);
            let checksum = crc32c::crc32c(&self.buffer[start..]);
            self.buffer.extend_from_slice(&checksum.to_le_bytes());
            self.buffer_end_s = self.buffer_end_s.max(record.expires_s);
        }
        self.is_synced = false;
        if self.buffer.len() >= BUFFERED {
            self.remove_old(now_s);
            if let Err(error) = self.write() {
                tracing::debug!(%error, "idempotency keys could not be written; the spool keeps them");
            }
        }
    }

    /// Writes all keys, and returns once they survive a loss of power.
    ///
    /// # Errors
    /// The disk's. The keys are written again with the next ones.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if self.is_synced {
            return Ok(());
        }
        self.write()?;
        if let Some(active) = &self.active {
            active.sync_data()?;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Returns the length of all files, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length as u64).sum()
    }

    fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let is_full = |file: &FileUse| file.length >= HEADER + self.max_records * RECORD;
        if self.active.is_some() && self.files.back().is_some_and(is_full) {
            // A file that is left must not lose its end later.
            if let Some(active) = &self.active {
                active.sync_data()?;
            }
            self.active = None;
        }
        if self.active.is_none() {
            self.begin_file()?;
        }
        let (Some(active), Some(file)) = (&mut self.active, self.files.back_mut()) else {
            return Ok(());
        };
        if let Err(error) = active.write_all(&self.buffer) {
            // Nothing may follow a partial record.
            _ = active.set_len(file.length as u64);
            self.active = None;
            return Err(error);
        }
        file.length += self.buffer.len();
        file.newest_end_s = file.newest_end_s.max(self.buffer_end_s);
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFERED);
        self.buffer_end_s = 0;
        Ok(())
    }

    /// Begins a file whose name survives a loss of power.
    fn begin_file(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let number = self.next;
        self.next += 1;
        let path = name(&self.folder, number);
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..12]);
        header[12..].copy_from_slice(&checksum.to_le_bytes());
        let created = file
            .write_all(&header)
            .and_then(|()| File::open(&self.folder)?.sync_all());
        if let Err(error) = created {
            _ = fs::remove_file(path);
            return Err(error);
        }
        self.files.push_back(FileUse {
            number,
            length: HEADER,
            newest_end_s: 0,
        });
        self.active = Some(file);
        Ok(())
    }

    /// Removes files from the oldest on: those without a valid key, and those beyond the bound.
    fn remove_old(&mut self, now_s: u32) {
        let max_bytes = self.max_records * GENERATIONS * RECORD;
        while let Some(oldest) = self.files.front() {
            let is_open = self.active.is_some() && self.files.len() == 1;
            let total: usize = self.files.iter().map(|file| file.length).sum();
            let is_over = oldest.newest_end_s <= now_s || total - oldest.length > max_bytes;
            if is_open || !is_over {
                return;
            }
            match fs::remove_file(name(&self.folder, oldest.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a file of old idempotency keys could not be removed");
                    return;
                }
                _ => self.files.pop_front(),
            };
        }
    }
}

fn name(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.{EXTENSION}"))
}

/// Returns the records of a file, without those that are cut off or damaged.
///
/// # Errors
/// `InvalidData` for a file of a newer program.
fn records<'b>(bytes: &'b [u8], path: &Path) -> io::Result<impl Iterator<Item = KeyRecord> + use<'b>> {
    let (header, body) = bytes.split_at_checked(HEADER).unwrap_or_default();
    let is_intact = header.get(12..) == Some(&crc32c::crc32c(header.get(..12).unwrap_or_default()).to_le_bytes()[..]);
    let is_known = header.get(..8) == Some(MAGIC) && header.get(8..12) == Some(&VERSION.to_le_bytes());
    if is_intact && !is_known {
        let text = format!("{} was written by a newer program", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let body = if is_intact { body } else { &[] };
    let mut damaged = bytes.len() > HEADER && !is_intact;
    let found: Vec<_> = body
        .chunks_exact(RECORD)
        .filter_map(|record| {
            let (key, checksum) = record.split_first_chunk::<{ KeyRecord::BYTES }>()?;
            let is_intact = checksum == crc32c::crc32c(key).to_le_bytes();
            damaged |= !is_intact;
            is_intact.then(|| KeyRecord::read(key))
        })
        .collect();
    if damaged {
        tracing::error!(
            file = %path.display(),
            "a file of idempotency keys is damaged: requests with the lost keys are recorded again if they are repeated"
        );
    }
    Ok(found.into_iter())
}
