//! Compresses a table's next rows while ClickHouse inserts the current ones.
//!
//! Delivery inserts a table's blocks one after another. Without prefetching, ClickHouse would wait
//! for the compression of each block, and the compressing core would wait for each insert.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::{
    block::{parts::Part, sealed::SealedBlock},
    deliver::compress::{Compressing, Compressor, Form},
    spool::NextBlock,
};

/// Rows that are compressed early.
#[derive(Debug)]
pub(crate) struct Prefetched<'a> {
    block: Uuid,
    part: Part,
    compressing: Compressing,
    /// Frames take memory in addition to the spool's, so the permits limit how many tables may
    /// prefetch.
    _permit: SemaphorePermit<'a>,
}

impl<'a> Prefetched<'a> {
    /// Starts to compress the next rows.
    pub(crate) fn start(next: NextBlock, compressor: &Arc<Compressor>, permit: SemaphorePermit<'a>) -> Self {
        Self {
            block: next.block.id,
            part: next.part,
            compressing: compressor.compress(&next.block, next.rows, Form::Own),
            _permit: permit,
        }
    }

    /// Takes the prefetched rows, and returns them if they are those of `part`.
    pub(crate) fn take_matching(
        prefetched: &mut Option<Self>,
        block: &SealedBlock,
        part: &Part,
    ) -> Option<Compressing> {
        let is_match = |prefetched: &mut Self| prefetched.block == block.id && prefetched.part == *part;
        Some(prefetched.take_if(is_match)?.compressing)
    }
}
