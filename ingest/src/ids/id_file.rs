//! The id file: the part of a generator's state that survives its process, in the folder of the
//! spool.
//!
//! A few lines of text, replaced as a whole, with a checksum in the last line:
//!
//! ```text
//! rowmill ids 1
//! base 12288
//! holder 019aca2f-8dca-7d10-a3d8-3a3a1c3d9c11
//! held_ms 1795492727283
//! until_ms 1795492737283
//! crc32c 1a2b3c4d
//! ```

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{ids::base::Base, private};

/// The file's name in the folder of the spool.
pub(crate) const NAME: &str = "ids";
/// The file's name until it is complete.
const NEW_NAME: &str = "ids.new";
/// The first line: the kind of the file, and the version of its format.
const VERSION: &str = "rowmill ids 1";
/// The first millisecond without ids, in the year 2109.
const END_MS: u64 = 1 << 42;

/// The record of the ids that were generated with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// The generator's base.
    pub(crate) base: Base,
    /// The process that holds that node number according to ClickHouse; nil if none does.
    pub(crate) holder: Uuid,
    /// When ClickHouse last showed this holder, in milliseconds since 1970.
    pub(crate) held_ms: u64,
    /// The latest time that an id can have, in milliseconds since 1970.
    pub(crate) until_ms: u64,
}

/// The id file of one folder, which this process holds exclusively.
#[derive(Debug)]
pub(crate) struct IdFile {
    folder: PathBuf,
}

impl IdFile {
    /// Returns the file of `folder`, and its record. A damaged file has no record, and is logged.
    ///
    /// # Errors
    ///
    /// The file exists and cannot be read.
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Option<Record>)> {
        let file = Self {
            folder: folder.to_owned(),
        };
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, None)),
            Err(error) => return Err(error),
        };
        let record = str::from_utf8(&bytes).ok().and_then(parse);
        if record.is_none() {
            tracing::error!(path = %path.display(), "the id file is damaged and is written again: ids may repeat if the clock was set back");
        }
        Ok((file, record))
    }

    /// Replaces the record; it survives a power failure once this method returns.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let new = self.folder.join(NEW_NAME);
        let mut file = private::open(OpenOptions::new().write(true).create(true).truncate(true), &new)?;
        file.write_all(text_of(record).as_bytes())?;
        file.sync_data()?;
        fs::rename(&new, self.folder.join(NAME))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn text_of(record: &Record) -> String {
    let Record {
        base,
        holder,
        held_ms,
        until_ms,
    } = record;
    let place = base.place();
    let mut text = format!("{VERSION}\nbase {place}\nholder {holder}\nheld_ms {held_ms}\nuntil_ms {until_ms}\n");
    let checksum = crc32c::crc32c(text.as_bytes());
    // Writing to a string cannot fail.
    let _ = writeln!(text, "crc32c {checksum:08x}");
    text
}

fn parse(text: &str) -> Option<Record> {
    let (record, checksum) = text.split_at_checked(text.rfind("crc32c ")?)?;
    if checksum != format!("crc32c {:08x}\n", crc32c::crc32c(record.as_bytes())) {
        return None;
    }
    let mut lines = record.lines();
    if lines.next()? != VERSION {
        return None;
    }
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    Some(Record {
        base: value("base")?.parse().ok().and_then(Base::at)?,
        holder: value("holder")?.parse().ok()?,
        held_ms: value("held_ms")?.parse().ok()?,
        until_ms: value("until_ms")?.parse().ok().filter(|ms| *ms < END_MS)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record() -> Record {
        Record {
            base: Base::of_node(3).unwrap(),
            holder: "019aca2f-8dca-7d10-a3d8-3a3a1c3d9c11".parse().unwrap(),
            held_ms: 1_795_492_727_283,
            until_ms: 1_795_492_737_283,
        }
    }

    #[test]
    fn the_text_has_the_documented_format() {
        let expected = "rowmill ids 1\nbase 12288\nholder 019aca2f-8dca-7d10-a3d8-3a3a1c3d9c11\nheld_ms 1795492727283\n\
                        until_ms 1795492737283\n";
        let checksum = crc32c::crc32c(expected.as_bytes());
        assert_eq!(text_of(&record()), format!("{expected}crc32c {checksum:08x}\n"));
    }

    #[test]
    fn a_written_record_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, nothing) = IdFile::open(folder.path()).unwrap();
        assert_eq!(nothing, None);
        file.write(&record()).unwrap();
        assert_eq!(IdFile::open(folder.path()).unwrap().1, Some(record()));
    }

    #[test]
    fn a_truncated_or_changed_record_is_invalid() {
        let text = text_of(&record());
        assert_eq!(parse(&text), Some(record()));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "cut at {end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&String::from_utf8(bytes).unwrap()), None, "changed at {at}");
        }
        let mut far = record();
        far.until_ms = END_MS;
        assert_eq!(parse(&text_of(&far)), None, "beyond the years of ids");
    }
}
