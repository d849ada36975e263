//! Archive: the blocks of linked segments, for an archive.
//!
//! ```text
//! blocks    finds the blocks of the links, each once and with all its rows
//! package   the bytes of archived blocks
//! ```

mod blocks;
mod package;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    blocks::{ArchiveBlock, LinkedBlocks},
    package::{ReplayedBlock, pack, unpack_blocks},
};
