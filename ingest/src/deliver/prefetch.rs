//! Ahead: a table's next rows, made ready while ClickHouse takes those before them.
//!
//! A table's blocks are inserted one after the other. Without this, ClickHouse would wait for the compression of each, and the core that
//! compresses would wait for each insert.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::{
    block::{parts::Part, sealed::SealedBlock},
    deliver::compress::{Compressing, Compressor, Form},
    spool::Upcoming,
};

/// Rows that are made ready before it is their turn.
#[derive(Debug)]
pub(crate) struct Prefetched<'a> {
    block: Uuid,
    part: Part,
    compressing: Compressing,
    /// Frames take memory beside the spool's, so that not every table may have some.
    _permit: SemaphorePermit<'a>,
}

impl<'a> Prefetched<'a> {
    /// Starts to compress rows.
    pub(crate) fn start(next: Upcoming, compressor: &Arc<Compressor>, permit: SemaphorePermit<'a>) -> Self {
        Self {
            block: next.block.id,
            part: next.part,
            compressing: compressor.compress(&next.block, next.rows, Form::Own),
            _permit: permit,
        }
    }

    /// Returns what becomes of them, if they are these.
    pub(crate) fn take_if(ahead: &mut Option<Self>, block: &SealedBlock, part: &Part) -> Option<Compressing> {
        let is_it = |ahead: &mut Self| ahead.block == block.id && ahead.part == *part;
        Some(ahead.take_if(is_it)?.compressing)
    }
}
