//! The blocks of an object, and those of their rows that a file cannot have.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::file::File;
use crate::{
    archive::object::{Description, encode},
    block::{
        content::BlockRows,
        layout::InsertTarget,
        parts::{Part, RowRange, ranges_of},
        sealed::SealedBlock,
    },
    spool::archive::BlockPacker,
};

/// The rows of an object's blocks, as a file of Parquet.
///
/// A row that the file cannot have is kept as it is, in a package of blocks.
#[derive(Debug)]
pub(in crate::archive) struct ParquetObject<'t> {
    target: &'t InsertTarget,
    /// `None` if no row of the table can be in a file.
    file: Option<File>,
    written: Vec<WrittenBlock>,
    kept: BlockPacker,
    kept_ids: Vec<Uuid>,
    kept_rows: u64,
    /// The reason of the first row that is kept.
    reason: Option<String>,
}

/// A block in the metadata of a file.
#[derive(Debug, Serialize)]
struct WrittenBlock {
    /// The deduplication token of its rows in the file.
    token: String,
    rows: usize,
}

/// The parts of an object, each empty if it has no rows.
#[derive(Debug)]
pub(in crate::archive) struct ParquetParts {
    pub(in crate::archive) file: Bytes,
    pub(in crate::archive) rows: u64,
    /// An object of blocks with the rows that the file cannot have.
    pub(in crate::archive) kept: Bytes,
    pub(in crate::archive) kept_rows: u64,
    /// The reason of the first of these rows.
    pub(in crate::archive) reason: Option<String>,
}

impl<'t> ParquetObject<'t> {
    /// Begins an object with the rows of a target.
    pub(in crate::archive) fn new(target: &'t InsertTarget) -> Self {
        let (file, reason) = match File::new(target) {
            Ok(file) => (Some(file), None),
            Err(unsupported) => (None, Some(unsupported.0)),
        };
        Self {
            target,
            file,
            written: Vec::new(),
            kept: BlockPacker::new(),
            kept_ids: Vec::new(),
            kept_rows: 0,
            reason,
        }
    }

    /// Adds the rows of a block in these ranges of its rows.
    ///
    /// # Errors
    /// Those of the writer of the file.
    pub(in crate::archive) fn add(
        &mut self,
        block: &SealedBlock,
        ranges: &[RowRange],
        rows: &BlockRows,
    ) -> io::Result<()> {
        let numbers = ranges.iter().cloned().flatten();
        let (mut start, mut written, mut kept) = (0, Vec::new(), Vec::new());
        for (number, end) in numbers.zip(rows.ends.iter()) {
            let row = rows.bytes.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            let pushed = match &mut self.file {
                Some(file) => file.push(row).map_err(|error| error.to_string()),
                None => Err(String::new()),
            };
            match pushed {
                Ok(()) => written.push(number),
                Err(reason) => {
                    self.reason.get_or_insert(reason);
                    kept.push((kept.len() + written.len(), number));
                }
            }
            if let Some(file) = &mut self.file {
                file.write_if_large()?;
            }
        }
        if !written.is_empty() {
            let rows = written.len();
            let token = block.token(&Part::of(ranges_of(written)));
            self.written.push(WrittenBlock { token, rows });
        }
        if !kept.is_empty() {
            let within = ranges_of(kept.iter().map(|(index, _)| *index as u32));
            let numbers = ranges_of(kept.iter().map(|(_, number)| *number));
            self.kept.put(block, &numbers, &rows.select(&Part::of(within)));
            self.kept_ids.push(block.id);
            self.kept_rows += kept.len() as u64;
        }
        Ok(())
    }

    /// Ends the object. `ids` are the ids of its blocks, also of those without a row.
    ///
    /// # Errors
    /// Those of the writer of the file, and of the compression.
    pub(in crate::archive) fn finish(self, ids: &[Uuid]) -> io::Result<ParquetParts> {
        let rows = self.file.as_ref().map_or(0, File::rows);
        let file = match self.file {
            Some(file) if rows > 0 => {
                let description = Description::new(self.target, ids, rows);
                file.finish(vec![
                    ("rowmill.table", description.table),
                    ("rowmill.fingerprint", description.fingerprint),
                    ("rowmill.columns", serde_json::to_string(&description.columns)?),
                    ("rowmill.first", description.first),
                    ("rowmill.last", description.last),
                    ("rowmill.blocks", serde_json::to_string(&self.written)?),
                ])?
            }
            _ => Vec::new(),
        };
        let kept = match self.kept_rows {
            0 => Vec::new(),
            rows => {
                let description = Description::new(self.target, &self.kept_ids, rows);
                encode(&description, &self.kept.into_bytes())?
            }
        };
        Ok(ParquetParts {
            file: file.into(),
            rows,
            kept: kept.into(),
            kept_rows: self.kept_rows,
            reason: self.reason.filter(|_| self.kept_rows > 0),
        })
    }
}
