//! Give: packs the blocks of a queue for another collector, and forgets those that it has.

use std::{io, sync::Arc};

use crate::{
    ack::Ack,
    block::{
        content::BlockRows,
        parts::{Part, RowRange, overlap},
        progress::WaitCondition,
        sealed::SealedBlock,
    },
    idempotency::now_s,
    spool::{
        counters::Counters,
        handover::package::{Package, Packer},
        read::read_block,
        reader::TableReader,
        state::{LogState, Op},
    },
};

/// The length at which a package gets no further block. A longer one is not faster, and more is
/// sent again if its answer is lost.
const PACKAGE_BYTES: usize = 4 << 20;

/// The largest number of blocks of a package.
const PACKAGE_BLOCKS: usize = 256;

impl TableReader {
    /// Seals the open block, and returns the sealed blocks, oldest first.
    pub(crate) fn seal_all(&self) -> Vec<Arc<SealedBlock>> {
        let mut blocks = self.queue().lock();
        blocks.seal();
        blocks.sealed.iter().cloned().collect()
    }

    /// Packs the first of `blocks`, and at most `most` in all, as many as are worth one request;
    /// `blocks` keeps the others. Waits until the blocks are on disk, unless the disk fails: after a crash, a block
    /// must have the rows that were sent.
    ///
    /// # Errors
    /// The file system's, about the first block.
    pub(crate) async fn pack(&self, blocks: &mut Vec<Arc<SealedBlock>>, most: usize) -> io::Result<Package> {
        let most = blocks.len().min(most).min(PACKAGE_BLOCKS);
        if self.shared.log.is_some() {
            for block in &blocks[..most] {
                let on_disk = WaitCondition {
                    rows: 0..block.rows,
                    ack: Ack::Spooled,
                    fail_fast: true,
                };
                block.progress.until(on_disk).await;
            }
        }
        let candidates = blocks[..most].to_vec();
        let log = self.shared.log.clone();
        let packed = tokio::task::spawn_blocking(move || pack(log.as_deref(), candidates));
        let package = packed.await.map_err(io::Error::other)??;
        blocks.drain(..package.blocks.len() + package.lost.len());
        Ok(package)
    }

    /// Forgets blocks that another collector has on its disk, and those of which nothing is left.
    ///
    /// # Errors
    /// The disk's; the blocks then stay, and both collectors deliver them, see the
    /// [module](super).
    pub(crate) fn handed_over(&self, package: &Package) -> io::Result<()> {
        let Some(log) = &self.shared.log else {
            package
                .blocks
                .iter()
                .for_each(|(block, rows)| _ = self.forget(block, *rows));
            return Ok(());
        };
        let ids: Vec<_> = package.blocks.iter().map(|(block, _)| block.id).collect();
        // Before the marks: if the blocks come back one day, this collector has to take them.
        self.shared.received.remove(&ids)?;
        let lost = package.lost.iter().map(|block| (block, 0));
        for (block, rows) in package.blocks.iter().map(|(block, rows)| (block, *rows)).chain(lost) {
            if self.forget(block, rows) {
                log.push(Op::HandedOver(block.id));
            }
        }
        Ok(())
    }

    /// Forgets a block, of which another collector has `rows` rows, and the disk has lost the
    /// others. Returns `false`, and changes nothing, if the block does not wait any more.
    fn forget(&self, block: &Arc<SealedBlock>, rows: usize) -> bool {
        let queue = self.queue();
        let mut blocks = queue.lock();
        if !blocks.sealed.iter().any(|waiting| waiting.id == block.id) {
            return false;
        }
        let (left, keys): (Vec<_>, Vec<_>) = {
            let state = block.state();
            let left = state.parts.iter().flat_map(|part| part.rows().collect::<Vec<_>>());
            (left.collect(), state.keys.iter().map(|key| key.record).collect())
        };
        blocks.forget(block);
        drop(blocks);
        self.shared.keys.logged(&keys, now_s());
        Counters::add(&queue.counters.rows_handed_over, rows as u64);
        Counters::add(&queue.counters.rows_lost, left.len().saturating_sub(rows) as u64);
        block.progress.update(|progress| {
            // Nobody who waits for the table has waited with success.
            progress.refused.extend(left);
            progress.is_done = true;
        });
        true
    }
}

/// Packs blocks until the package is long enough.
fn pack(log: Option<&LogState>, blocks: Vec<Arc<SealedBlock>>) -> io::Result<Package> {
    let mut packer = Packer::new();
    let (mut packed, mut lost) = (Vec::new(), Vec::new());
    for block in blocks {
        let (ranges, rows) = match rows_left(log, &block) {
            Ok(left) => left,
            Err(error) if packed.is_empty() && lost.is_empty() => return Err(error),
            // The next call begins with this block.
            Err(_) => break,
        };
        if ranges.is_empty() {
            lost.push(block);
            continue;
        }
        let cuts = block.state().parts.cuts().to_vec();
        packer.put(&block, &cuts, &ranges, &rows);
        packed.push((block, rows.ends.len()));
        if packer.len() >= PACKAGE_BYTES {
            break;
        }
    }
    Ok(Package {
        bytes: packer.into_bytes(),
        blocks: packed,
        lost,
    })
}

/// Returns the rows of a block that are not stored yet, without those that the disk has lost, and
/// their numbers.
fn rows_left(log: Option<&LogState>, block: &SealedBlock) -> io::Result<(Vec<RowRange>, BlockRows)> {
    loop {
        let (part, content) = {
            let state = block.state();
            let left = state.parts.iter().flat_map(|part| part.ranges().to_vec());
            let ranges: Vec<_> = match &state.content {
                Some(_) => left.collect(),
                None => {
                    let left: Vec<_> = left.collect();
                    let frames = state.logged.frames.iter();
                    let readable = frames.flat_map(|frame| left.iter().filter_map(|rows| overlap(&frame.rows, rows)));
                    readable.collect()
                }
            };
            let part = Part::of(ranges);
            let content = state.content.as_ref().map(|content| content.select(&part));
            (part, content)
        };
        let rows = match (content, log) {
            _ if part.len() == 0 => BlockRows::default(),
            (Some(content), _) => content,
            (None, Some(log)) => read_block(log, block, &part)?,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        // Otherwise some frames are damaged, which the block's state says now.
        if rows.ends.len() == part.len() {
            return Ok((part.ranges().to_vec(), rows));
        }
    }
}
