//! Files: row groups, and the whole file.

use std::{fmt, io, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
};

use super::{
    column::Column,
    leaf::Leaf,
    schema::{FileSchema, Unsupported},
};
use crate::{
    block::layout::InsertTarget,
    row_bytes::{Cursor, InvalidValue},
};

/// The level of the compression: that of zstd itself.
const LEVEL: i32 = 3;

/// The memory of values at which their row group is written.
const GROUP_BYTES: usize = 64 << 20;

/// The bytes of rows after which the memory of the values is counted again. Values take several times
/// the bytes of their rows at most.
const COUNTED_BYTES: usize = 1 << 20;

/// A file that is being written.
pub(super) struct File {
    columns: Vec<Column>,
    leaves: Vec<Leaf>,
    writer: SerializedFileWriter<Vec<u8>>,
    /// The rows that are in no row group yet.
    pending_rows: u64,
    /// The bytes of rows since the last count of the memory.
    uncounted: usize,
    rows: u64,
    group_bytes: usize,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("rows", &self.rows)
            .field("pending_rows", &self.pending_rows)
            .finish_non_exhaustive()
    }
}

/// A row that the file cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InvalidRow {
    /// The column; `None` if the row is longer than its columns.
    pub(super) column: Option<Box<str>>,
    pub(super) reason: InvalidValue,
}

impl fmt::Display for InvalidRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column `{column}`: {}", self.reason),
            None => f.write_str("the row is longer than its columns"),
        }
    }
}

impl File {
    /// Begins a file with the rows of a target.
    ///
    /// # Errors
    /// The column of which no value can be written.
    pub(super) fn new(target: &InsertTarget) -> Result<Self, Unsupported> {
        let schema = FileSchema::of(target)?;
        let unsupported = |error: ParquetError| Unsupported(error.to_string());
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL).unwrap_or_default()))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for path in schema.without_statistics {
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let writer = SerializedFileWriter::new(Vec::new(), schema.root, Arc::new(properties.build()));
        Ok(Self {
            columns: schema.columns,
            leaves: schema.leaves,
            writer: writer.map_err(unsupported)?,
            pending_rows: 0,
            uncounted: 0,
            rows: 0,
            group_bytes: GROUP_BYTES,
        })
    }

    /// Returns the file with a limit of the memory of a row group.
    #[cfg(test)]
    pub(super) fn with_group_bytes(self, group_bytes: usize) -> Self {
        Self { group_bytes, ..self }
    }

    /// Returns the file's schema.
    #[cfg(test)]
    pub(super) fn schema(&self) -> &parquet::schema::types::Type {
        self.writer.schema_descr().root_schema()
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The reason why the file cannot have the row. It is then as it was before.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<(), InvalidRow> {
        if let Err(error) = self.take(row) {
            self.leaves.iter_mut().for_each(Leaf::discard_row);
            return Err(error);
        }
        self.leaves.iter_mut().for_each(Leaf::end_row);
        self.rows += 1;
        self.pending_rows += 1;
        self.uncounted += row.len();
        Ok(())
    }

    fn take(&mut self, row: &[u8]) -> Result<(), InvalidRow> {
        let mut cursor = Cursor::new(row);
        for column in &self.columns {
            column
                .take(&mut cursor, &mut self.leaves)
                .map_err(|reason| InvalidRow {
                    column: Some(column.name.clone()),
                    reason,
                })?;
        }
        cursor.end().map_err(|reason| InvalidRow { column: None, reason })
    }

    /// Writes a row group if the rows take much memory.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn write_if_large(&mut self) -> io::Result<()> {
        if self.uncounted < COUNTED_BYTES.min(self.group_bytes) {
            return Ok(());
        }
        self.uncounted = 0;
        match self.leaves.iter().map(Leaf::cost).sum::<usize>() < self.group_bytes {
            true => Ok(()),
            false => self.write_group(),
        }
    }

    fn write_group(&mut self) -> io::Result<()> {
        self.pending_rows = 0;
        let mut group = self.writer.next_row_group().map_err(io::Error::other)?;
        for leaf in &mut self.leaves {
            let column = group.next_column().map_err(io::Error::other)?;
            let mut column = column.ok_or_else(|| io::Error::other("the row group lacks a column"))?;
            leaf.write(&mut column)?;
            column.close().map_err(io::Error::other)?;
        }
        group.close().map(drop).map_err(io::Error::other)
    }

    /// Ends the file, and returns its bytes.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn finish(mut self, metadata: Vec<(&str, String)>) -> io::Result<Vec<u8>> {
        if self.pending_rows > 0 {
            self.write_group()?;
        }
        for (key, value) in metadata {
            self.writer
                .append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.writer.into_inner().map_err(io::Error::other)
    }
}
