//! Compressed: what is sent of rows, in columns where that is possible, and the statement that it goes with.

use std::sync::{Arc, Once};

use clickhouse::{Compression, insert_formatted::CompressedData};

use crate::{
    block::{Columnar, Content, SealedBlock},
    native::StayRows,
};

/// Rows on their way to ClickHouse.
pub(crate) struct Compressed {
    /// One LZ4 frame.
    pub(crate) frame: CompressedData,
    /// Whether it holds columns.
    is_columnar: bool,
}

impl Compressed {
    /// Brings rows of a block into columns and compresses them, off the threads that serve requests.
    ///
    /// One frame, not many: its checksum stands in front of it, so that a connection that breaks can only deliver all of the block or
    /// nothing, whatever the server makes of a chunked body that ends too early. `CompressedData` can be sent once and neither
    /// cloned nor taken apart; a retry therefore compresses again, which costs some 20 ms after a wait, where keeping the frame
    /// would cost memory for each waiting block.
    ///
    /// # Errors
    /// Compression fails.
    pub(crate) async fn new(block: &Arc<SealedBlock>, rows: Content) -> Result<Self, clickhouse::error::Error> {
        let block = Arc::clone(block);
        match tokio::task::spawn_blocking(move || Self::of(&block, rows)).await {
            Ok(result) => result,
            Err(error) => Err(clickhouse::error::Error::Other(error.into())),
        }
    }

    fn of(block: &SealedBlock, rows: Content) -> Result<Self, clickhouse::error::Error> {
        let columns = block
            .layout
            .columnar
            .as_ref()
            .and_then(|columnar| columns(block, columnar, &rows));
        let is_columnar = columns.is_some();
        let frame = match columns {
            Some(columns) => {
                // Rows that were read from disk are needed no more.
                drop(rows);
                CompressedData::new(&columns, Compression::Lz4)
            }
            None => CompressedData::new(&rows.bytes, Compression::Lz4),
        };
        Ok(Self {
            frame: frame?,
            is_columnar,
        })
    }

    /// Returns the statement that inserts it.
    pub(crate) fn statement<'b>(&self, block: &'b SealedBlock) -> &'b str {
        let columnar = block.layout.columnar.as_ref().filter(|_| self.is_columnar);
        columnar.map_or(&block.layout.statement, |columnar| &columnar.statement)
    }
}

fn columns(block: &SealedBlock, columnar: &Columnar, rows: &Content) -> Option<Vec<u8>> {
    match columnar.native.block(rows) {
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
