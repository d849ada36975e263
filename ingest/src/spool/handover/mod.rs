//! Handover: gives the blocks of a spool to the spool of another collector, and takes those of
//! another one.
//!
//! A block is in at least one of the two spools whenever one of the two processes ends. The giving
//! spool forgets a block only after the other one has it on disk:
//!
//! 1. The giving spool packs sealed blocks, with their ids, their cuts and what is done of them.
//! 2. The taking spool checks the package. It writes the blocks that it does not know into a file,
//!    and their ids into its list, and makes the file a segment. Its deliveries then see the
//!    blocks, as blocks that may have been sent.
//! 3. The giving spool removes the blocks from its own list of received ids, and marks them as
//!    moved.
//!
//! If the answer to 2 is lost, the blocks are given again, and the taking spool knows them by their
//! ids: they wait there, or its list has them. A process that ends between 2 and 3 and does not
//! give the blocks again delivers them as well. Both collectors then look for the rows in the table
//! first, and send them under the same token.
//!
//! ```text
//! package  the bytes of blocks on their way
//! give     packs blocks, and forgets them
//! receive  takes the blocks of a package
//! ```

pub(super) mod give;
pub(super) mod package;
pub(super) mod receive;
#[cfg(test)]
mod tests;
