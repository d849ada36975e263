//! The id of a queue.

/// A table's queue in its spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableId(pub(super) usize);

impl TableId {
    /// Returns the position of the queue among those of [`readers`](super::Spool::readers).
    pub(crate) fn index(self) -> usize {
        self.0
    }
}
