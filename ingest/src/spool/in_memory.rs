//! In memory: the rows of a table that wait in memory, for tests.

use bytes::Bytes;

use crate::{block::content::BlockRows, spool::Spool, table::Table};

impl Spool {
    /// Returns the rows of a table's blocks that are in memory, the oldest first.
    ///
    /// # Panics
    /// If the spool does not have the table.
    pub(crate) fn rows_in_memory(&self, table: &Table) -> Vec<BlockRows> {
        let blocks = self.shared.queue(self.shared.id_of(table)).lock();
        let sealed = blocks.sealed.iter().filter_map(|block| block.state().content.clone());
        let (bytes, ends) = blocks.open.content();
        let open = BlockRows {
            bytes: Bytes::copy_from_slice(bytes),
            ends: ends.into(),
        };
        sealed.chain([open]).collect()
    }
}
