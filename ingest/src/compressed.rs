//! Compressed: what is sent of rows, in columns where that is possible, and the statement that it goes with.

use std::{
    ops::DerefMut,
    sync::{Arc, Mutex, Once, PoisonError},
};

use bytes::Bytes;
use clickhouse::error::Error;

use crate::{
    block::{Columnar, Content, SealedBlock},
    lz4,
    native::StayRows,
    time_slice::TimeSlice,
};

/// Room that is kept for the next block; blocks need more only where an embedder asks for large ones.
const MAX_KEPT_BYTES: usize = 40 << 20;

/// Rows on their way to ClickHouse.
pub(crate) struct Compressed {
    /// LZ4 frames: many for columns, one for rows.
    ///
    /// A connection that breaks must deliver all of the block or nothing, whatever the server makes of a chunked body that ends too
    /// early. Columns say how many rows they have. Rows do not, but the checksum of a frame stands in front of it.
    pub(crate) frames: Bytes,
    /// Whether it holds columns.
    is_columnar: bool,
}

impl Compressed {
    /// Returns the statement that inserts it.
    pub(crate) fn statement<'b>(&self, block: &'b SealedBlock) -> &'b str {
        let columnar = block.layout.columnar.as_ref().filter(|_| self.is_columnar);
        columnar.map_or(&block.layout.statement, |columnar| &columnar.statement)
    }
}

/// Brings blocks into columns and compresses them, in room that is used again: a block's columns and its frames are up to
/// twice its size, and an allocator that gives and takes as much each second on changing threads keeps a multiple of it.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    idle: Mutex<Vec<Room>>,
}

/// Room for one block at a time.
#[derive(Debug, Default)]
struct Room {
    columns: Vec<u8>,
    frames: Vec<u8>,
}

impl Compressor {
    /// Compresses rows of a block, off the threads that serve requests.
    ///
    /// A retry compresses again, which costs some 20 ms after a wait, where keeping the frames would cost memory for each waiting block.
    ///
    /// # Errors
    /// Compression fails.
    pub(crate) async fn compress(
        self: &Arc<Self>,
        block: &Arc<SealedBlock>,
        rows: Content,
    ) -> Result<Compressed, Error> {
        let (compressor, block) = (Arc::clone(self), Arc::clone(block));
        let work = move || {
            let mut room = compressor.idle().pop().unwrap_or_default();
            let compressed = room.compress(&block, rows);
            if room.columns.len() + room.frames.len() <= MAX_KEPT_BYTES {
                compressor.idle().push(room);
            }
            compressed
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::Other(error.into())),
        }
    }

    fn idle(&self) -> impl DerefMut<Target = Vec<Room>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn compress(&mut self, block: &SealedBlock, rows: Content) -> Result<Compressed, Error> {
        let columnar = block.layout.columnar.as_ref();
        let mut slice = TimeSlice::begin();
        let columns = columnar.and_then(|columnar| columns(block, columnar, &rows, &mut self.columns, &mut slice));
        let is_columnar = columns.is_some();
        let frames = match columns {
            Some(columns) => {
                // Rows that were read from disk are needed no more.
                drop(rows);
                lz4::frames(columns, &mut self.frames, &mut slice)
            }
            None => lz4::frame(&rows.bytes, &mut self.frames),
        };
        let frames = frames.map_err(|error| Error::Compression(error.into()))?;
        Ok(Compressed {
            frames: Bytes::copy_from_slice(frames),
            is_columnar,
        })
    }
}

fn columns<'r>(
    block: &SealedBlock,
    columnar: &Columnar,
    rows: &Content,
    room: &'r mut Vec<u8>,
    slice: &mut TimeSlice,
) -> Option<&'r [u8]> {
    match columnar.native.block(rows, room, slice) {
        Ok(columns) => Some(columns),
        Err(StayRows::TooLarge) => None,
        Err(StayRows::Malformed) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    table = %block.layout.table, block = %block.id,
                    "rows are not what the table's types say, and are sent as they are; this is a mistake in Rowmill, please report it"
                );
            });
            None
        }
    }
}
