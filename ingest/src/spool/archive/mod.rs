//! Archive: the blocks of linked segments, for an archive and for topics.
//!
//! ```text
//! blocks         finds the blocks of the links, each once and with all its rows
//! package        the bytes of archived blocks
//! read_failures  places of the disk that cannot be read
//! ```

mod blocks;
mod package;
mod read_failures;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    blocks::{ArchiveBlock, LinkedBlocks},
    package::{BlockPacker, ReplayedBlock, pack, read_blocks, read_rows, unpack_blocks},
};
