//! Compresses rows for an insert, as columns if possible, and selects the matching statement.

use std::sync::{Arc, Once};

use bytes::Bytes;
use clickhouse::error::Error;
use tokio::task::JoinHandle;

use crate::{
    block::{buffer_pool::BufferPool, content::BlockRows, layout::ColumnarInsert, sealed::SealedBlock},
    native::{MAX_GROWTH, NotColumnar, lz4, time_slice::TimeSlice},
};

/// The maximum capacity of the buffers kept for the next columns, in bytes: that of one block of the
/// default size. Columns that are far larger than their rows, and a second block at the same time,
/// get new memory.
const KEPT_COLUMN_BYTES: usize = 12 << 20;

/// The maximum capacity of the buffers kept for the next frames, in bytes. Frames are sent while
/// those of the next block are made.
const KEPT_FRAME_BYTES: usize = 20 << 20;

/// Rows that are ready to send.
#[derive(Debug)]
pub(crate) struct Compressed {
    /// LZ4 frames.
    ///
    /// If the connection breaks, ClickHouse must insert the whole block or none of it, even if the
    /// server accepts a chunked body that ends too early. There are many frames if ClickHouse
    /// refuses truncated columns. Otherwise there is one frame: its checksum comes first, so a
    /// truncated frame is invalid.
    pub(crate) frames: Bytes,
    /// The columns in the frames, or `None` if the frames contain rows.
    columnar: Option<Arc<ColumnarInsert>>,
}

impl Compressed {
    /// Returns the statement that inserts the frames.
    pub(crate) fn statement<'b>(&'b self, block: &'b SealedBlock) -> &'b str {
        let columnar = self.columnar.as_ref();
        columnar.map_or(&block.layout.statement, |columnar| &columnar.statement)
    }
}

/// The form in which rows are sent.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// The form of the rows' own insert target: columns if that is possible and not too large,
    /// otherwise rows.
    Own,
    /// These columns, and no other form.
    Columns(Arc<ColumnarInsert>),
}

/// Rows that are being compressed.
#[derive(Debug)]
pub(crate) struct Compressing(JoinHandle<Result<Compressed, Error>>);

impl Compressing {
    /// Waits for the compressed rows.
    ///
    /// # Errors
    /// Compression fails.
    pub(crate) async fn done(self) -> Result<Compressed, Error> {
        match self.0.await {
            Ok(result) => result,
            Err(error) => Err(Error::Other(error.into())),
        }
    }
}

/// Turns blocks into columns and compresses them.
#[derive(Debug)]
pub(crate) struct Compressor {
    columns: Arc<BufferPool>,
    frames: Arc<BufferPool>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            columns: BufferPool::with_max_bytes(KEPT_COLUMN_BYTES),
            frames: BufferPool::with_max_bytes(KEPT_FRAME_BYTES),
        }
    }
}

impl Compressor {
    /// Starts to compress the rows of a block, off the threads that serve requests.
    ///
    /// A retry compresses the rows again, which costs some 20 ms after a wait. To keep the frames
    /// would cost memory for each waiting block.
    pub(crate) fn compress(self: &Arc<Self>, block: &Arc<SealedBlock>, rows: BlockRows, form: Form) -> Compressing {
        let (compressor, block) = (Arc::clone(self), Arc::clone(block));
        Compressing(tokio::task::spawn_blocking(move || {
            compressor.frames_of(&block, rows, &form)
        }))
    }

    fn frames_of(&self, block: &SealedBlock, rows: BlockRows, form: &Form) -> Result<Compressed, Error> {
        let (mut column_buffer, mut frame_buffer) = (
            self.columns.acquire(rows.bytes.len()),
            self.frames.acquire(rows.bytes.len()),
        );
        let mut slice = TimeSlice::begin();
        let (columnar, growth) = match form {
            Form::Own => (block.layout.columnar.as_ref(), MAX_GROWTH),
            Form::Columns(columnar) => (Some(columnar), usize::MAX),
        };
        let columns =
            columnar.and_then(|columnar| columns(block, columnar, &rows, growth, &mut column_buffer, &mut slice));
        if columns.is_none() && matches!(form, Form::Columns(_)) {
            return Err(Error::Unsupported("the rows do not match their types".to_owned()));
        }
        let sent_columnar = columnar.filter(|_| columns.is_some()).cloned();
        let length = match columns {
            Some(columns) => {
                // Frees the memory of rows that were read from disk.
                drop(rows);
                if columnar.is_some_and(|columnar| columnar.native.detects_truncation()) {
                    lz4::frames(columns, &mut frame_buffer, &mut slice)
                } else {
                    lz4::frame(columns, &mut frame_buffer)
                }
            }
            None => lz4::frame(&rows.bytes, &mut frame_buffer),
        };
        let length = length.map_err(|error| Error::Compression(error.into()))?.len();
        self.columns.release(column_buffer);
        Ok(Compressed {
            frames: self.frames.freeze(frame_buffer).slice(..length),
            columnar: sent_columnar,
        })
    }
}

fn columns<'r>(
    block: &SealedBlock,
    columnar: &ColumnarInsert,
    rows: &BlockRows,
    growth: usize,
    buffer: &'r mut Vec<u8>,
    slice: &mut TimeSlice,
) -> Option<&'r [u8]> {
    match columnar.native.block(rows.as_rows(), growth, buffer, slice) {
        Ok(columns) => Some(columns),
        Err(NotColumnar::TooLarge) => None,
        Err(NotColumnar::Malformed) => {
            static WARNED: Once = Once::new();
            WARNED.call_once(|| {
                tracing::warn!(
                    table = %block.layout.table, block = %block.id,
                    "rows do not match the table's types and are sent in row format; this is a bug in Rowmill, please report it"
                );
            });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::{
        block::{Block, layout::InsertTarget},
        table::{Column, ColumnKind, Format, Table, shape::Shape},
    };

    use super::*;

    const ROWS: usize = 100_000;

    const NUMBER: Column = Column::new("n", "UInt8", "", ColumnKind::Plain).shaped(Shape::Fixed(1));
    const LIST: Column = Column::new("a", "Array(UInt8)", "", ColumnKind::Plain).shaped(Shape::Array(&Shape::Fixed(1)));
    const OTHER: Column = Column::new("j", "JSON", "", ColumnKind::Plain);

    /// Returns the number of frames of a hundred thousand rows, and whether the frames contain
    /// columns.
    fn frames_of(columns: &'static [Column], row: &[u8]) -> (usize, bool) {
        let layout = InsertTarget::of(&Table {
            columns,
            ..Table::new("t", 0, &[], "", Format::RowBinary)
        });
        let mut block = Block::default();
        for _ in 0..ROWS {
            block.append(|out| out.extend_from_slice(row), |_| true);
        }
        let sealed = block.seal(&layout).unwrap();
        let rows = sealed.state().content.clone().unwrap();
        let compressed = Compressor::default().frames_of(&sealed, rows, &Form::Own).unwrap();
        let (mut rest, mut count) = (&compressed.frames[..], 0);
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[17..21].try_into().unwrap()) as usize;
            (rest, count) = (&rest[16 + length..], count + 1);
        }
        (count, compressed.columnar.is_some())
    }

    #[test]
    fn only_columns_that_detect_truncation_have_several_frames() {
        assert_eq!(frames_of(&[LIST, NUMBER], b"\x01\x05\x07"), (16, true));
        assert_eq!(frames_of(&[NUMBER, LIST], b"\x07\x01\x05"), (16, true));
        assert_eq!(frames_of(&[LIST], b"\x02\x05\x06"), (1, true));
        assert_eq!(frames_of(&[NUMBER, OTHER], b"\x07\x01{"), (1, false));
    }
}
