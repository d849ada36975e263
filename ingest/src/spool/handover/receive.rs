//! Receive: takes the blocks of another collector's spool.

use std::{
    collections::{BTreeSet, HashSet},
    error::Error,
    fmt, io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    block::{frame_format::FrameFormat, layout::InsertTarget, random},
    spool::{
        disk::{Disk, Segment},
        frame::{self, Frame, Header, Kind},
        handover::package::{PackageError, PackedBlock, unpack},
        log::{SegmentUse, StagedSegment},
        queue::TableQueue,
        recover::copy::{BlockCopy, assemble},
        shared::Shared,
        state::{LogState, Op},
    },
};

/// The bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// The number of blocks in a package that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Blocks that this collector has taken.
    pub taken: usize,
    /// Blocks that this collector had taken before.
    pub known: usize,
}

/// The reason why this collector does not take blocks.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Memory or disk for rows is nearly full, or the collector is stopping.
    Full,
    /// The rows of this collector are only in memory.
    NoDisk,
    /// The disk fails.
    Disk(io::Error),
    /// This build cannot read the blocks.
    Unreadable(String),
    /// This collector's schema has no table with this name.
    UnknownTable(String),
    /// The rows belong to a shard into which this collector does not insert. The text names the
    /// table and the shard.
    UnknownShard(String),
}

impl ReceiveError {
    /// Returns whether the same blocks may be taken later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full | Self::Disk(_))
    }

    /// Returns whether no other blocks of the same queue can be taken, either.
    pub fn is_about_queue(&self) -> bool {
        matches!(self, Self::UnknownTable(_) | Self::UnknownShard(_))
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the spool has no space for more rows now, or the collector is stopping"),
            Self::NoDisk => f.write_str("the rows of this collector are only in memory"),
            Self::Disk(error) => write!(f, "the blocks cannot be written to disk: {error}"),
            Self::Unreadable(reason) => f.write_str(reason),
            Self::UnknownTable(table) => write!(
                f,
                "the schema of this collector has no table `{table}`; hand the rows to a collector that has it"
            ),
            Self::UnknownShard(shard) => write!(
                f,
                "this collector does not insert into {shard}; repeat the handover once it does, or start a collector \
                 on the folder of the rows"
            ),
        }
    }
}

impl Error for ReceiveError {}

impl From<PackageError> for ReceiveError {
    fn from(error: PackageError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Takes the blocks of a package, all of them or none, and returns once they are on disk. Blocks
/// that the spool has taken before are not taken again.
///
/// # Errors
/// See [`ReceiveError`].
pub(in crate::spool) async fn receive(shared: &Arc<Shared>, package: Bytes) -> Result<Received, ReceiveError> {
    let shared = Arc::clone(shared);
    // A client that goes away must not end this halfway: its next request would find nothing.
    let taking = tokio::spawn(async move { take(&shared, package).await });
    taking
        .await
        .unwrap_or_else(|error| Err(ReceiveError::Disk(io::Error::other(error))))
}

async fn take(shared: &Arc<Shared>, package: Bytes) -> Result<Received, ReceiveError> {
    let log = shared.log.clone().ok_or(ReceiveError::NoDisk)?;
    let _turn = shared.receiving.lock().await;
    if shared.is_closed() || shared.is_failing() {
        return Err(ReceiveError::Full);
    }
    let (of_stage, log_of_stage) = (Arc::clone(shared), Arc::clone(&log));
    let staged = tokio::task::spawn_blocking(move || stage(&of_stage, &log_of_stage, &package));
    let (received, staged) = staged
        .await
        .map_err(|error| ReceiveError::Disk(io::Error::other(error)))??;
    if let Some(staged) = staged {
        let (reply, receiver) = oneshot::channel();
        let staged = Box::new(staged);
        log.push(Op::Receive { staged, reply });
        let written = receiver.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let is_taken = written.map_err(ReceiveError::Disk)?;
        if !is_taken {
            return Err(ReceiveError::Full);
        }
    }
    Ok(received)
}

/// Writes the blocks of a package that this spool does not have into a file that survives a loss
/// of power. Returns `None` for the file if there is no such block.
fn stage(shared: &Shared, log: &LogState, package: &[u8]) -> Result<(Received, Option<StagedSegment>), ReceiveError> {
    let mut blocks = unpack(package)?;
    let all = blocks.len();
    for block in &blocks {
        let layout = &block.layout;
        if shared.find_delivering(layout).is_none() {
            let table = &layout.table;
            return Err(match &layout.shard {
                Some(shard) => ReceiveError::UnknownShard(format!("the table `{table}` of {shard}")),
                None => ReceiveError::UnknownTable(table.to_string()),
            });
        }
    }
    blocks.retain(|block| !is_known(shared, block));
    let received = Received {
        taken: blocks.len(),
        known: all - blocks.len(),
    };
    if blocks.is_empty() {
        return Ok((received, None));
    }
    // Each block gets a second open frame.
    let frames = blocks.iter().flat_map(|block| &block.frames);
    let open = frames.filter(|frame| frame.header.kind == Kind::Open);
    let length = package.len() + open.map(|frame| frame.length).sum::<usize>();
    if !has_space(shared, log, length) {
        return Err(ReceiveError::Full);
    }
    let file = fastrand::u64(..);
    let staged = write(shared, &*log.disk, file, &blocks);
    if staged.is_err() {
        _ = log.disk.discard(file);
    }
    Ok((received, Some(staged.map_err(ReceiveError::Disk)?)))
}

/// Returns whether this spool has a block, or had it from another collector.
fn is_known(shared: &Shared, block: &PackedBlock<'_>) -> bool {
    // A shard can have several queues: its number, or the columns, may have changed.
    let mut queues = shared.queues().filter(|queue| queue.layout.table == block.layout.table);
    let is_waiting = |queue: &TableQueue| queue.lock().sealed.iter().any(|waiting| waiting.id == block.id);
    shared.received.contains(block.id) || queues.any(is_waiting)
}

/// Returns whether `length` more bytes leave a sixteenth of the disk's bound to rows of this
/// collector's own.
fn has_space(shared: &Shared, log: &LogState, length: usize) -> bool {
    let max = log.waiting.max - log.waiting.max / 16;
    let on_disk = usize::try_from(log.bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    let used = log.waiting.used().max(on_disk);
    used.saturating_add(length) <= max && shared.memory.used() <= shared.memory.max - shared.memory.max / 16
}

/// Writes blocks into a staged file, and their ids into the list.
fn write(shared: &Shared, disk: &dyn Disk, file: u64, blocks: &[PackedBlock<'_>]) -> io::Result<StagedSegment> {
    let format = FrameFormat::new(random::salt());
    let mut writer = SegmentWriter {
        file: disk.stage(file)?,
        format,
        buffer: frame::segment_header(format).to_vec(),
        written: 0,
    };
    let mut copies = Vec::new();
    for block in blocks {
        copies.push((block.id, writer.put(block)?));
    }
    let length = writer.finish()?;
    let state = SegmentUse {
        format,
        length,
        synced: length,
        uncut: 0,
        tear: None,
        live: copies.iter().map(|(id, copy)| (*id, copy.frame_bytes)).collect(),
    };
    let ids: Vec<Uuid> = copies.iter().map(|(id, _)| *id).collect();
    shared.received.prepare(&ids)?;
    let mut layouts = known_layouts(shared, blocks);
    let assembled = copies.into_iter().filter_map(|(id, copy)| {
        let done = copy.done.clone();
        // The number of the segment is not known yet.
        assemble(Some(format), id, 0, copy, &done, &mut layouts)
    });
    let blocks = assembled.collect();
    Ok(StagedSegment { file, state, blocks })
}

/// Returns the insert targets of waiting blocks of other processes, so that equal ones stay one.
fn known_layouts(shared: &Shared, blocks: &[PackedBlock<'_>]) -> HashSet<Arc<InsertTarget>> {
    let layouts: HashSet<_> = blocks.iter().map(|block| &block.layout).collect();
    let queues: BTreeSet<_> = layouts
        .into_iter()
        .filter_map(|layout| shared.find_delivering(layout))
        .collect();
    let of_queue = |table| {
        let queue = shared.queue(table);
        let blocks = queue.lock();
        let others = blocks.sealed.iter().map(|block| Arc::clone(&block.layout));
        let others = others.filter(|layout| !Arc::ptr_eq(layout, &queue.layout));
        others.collect::<Vec<_>>()
    };
    queues.into_iter().flat_map(of_queue).collect()
}

/// Writes the frames of blocks with the offsets and the checksums of another segment.
struct SegmentWriter {
    file: Box<dyn Segment>,
    format: FrameFormat,
    buffer: Vec<u8>,
    /// The bytes of the file before those in `buffer`.
    written: u64,
}

impl SegmentWriter {
    /// Writes a block, and returns its frames as they are in the file.
    fn put(&mut self, block: &PackedBlock<'_>) -> io::Result<BlockCopy> {
        let mut open = Vec::new();
        frame::put_layout(&mut open, &block.layout);
        let mut copy = BlockCopy::default();
        for frame in &block.frames {
            let body = match frame.header.kind {
                Kind::Open => &*open,
                _ => frame.body,
            };
            self.put_frame(&frame.header, body, &mut copy)?;
        }
        // A second copy: without an open frame, the rows are unreadable.
        let header = Header {
            kind: Kind::Open,
            batch: 0,
            block: block.id,
            rows: 0..0,
        };
        self.put_frame(&header, &open, &mut copy)?;
        Ok(copy)
    }

    fn put_frame(&mut self, header: &Header, body: &[u8], copy: &mut BlockCopy) -> io::Result<()> {
        let start = self.buffer.len();
        let offset = self.written + start as u64;
        let header = Header {
            // The file is no segment before all of it is on disk.
            batch: offset,
            ..header.clone()
        };
        frame::put(&mut self.buffer, self.format, &header, |out| {
            out.extend_from_slice(body)
        });
        copy.add(&Frame {
            header,
            offset,
            length: self.buffer.len() - start,
            body,
            is_after_tear: false,
        });
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Returns the length of the file, once all of it survives a loss of power.
    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.sync()?;
        Ok(self.written)
    }
}
