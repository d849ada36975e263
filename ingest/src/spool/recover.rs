//! Recover: turns what an earlier process has left on disk into blocks again.
//!
//! Reads every segment, changes nothing but torn and damaged ends, and returns the blocks that are
//! not done, oldest first. Promises: a segment of another version, or a file that is not a segment,
//! is an error and stays as it is. Damage costs only the rows that it hit; recovery keeps the
//! damaged segment for inspection, and logs the damage.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use uuid::Uuid;

use crate::block::{
    content::BlockRows,
    frame_format::VERSION,
    layout::InsertTarget,
    sealed::{SealedBlock, is_letter},
};
use {
    super::{
        disk::Disk,
        frame::{self, Frame, Kind, Rows, SegmentHeader},
        log::{Mark, SegmentUse},
        scan::scan,
    },
    crate::block::{
        logged::{FrameAt, Logged},
        parts::{Part, Parts, RowRange, overlap},
    },
};

/// The reason why a spool could not be opened. Only torn and damaged ends of segments may have been
/// cut off.
#[derive(Debug)]
pub enum SpoolError {
    /// Another process is using the spool.
    InUse(PathBuf),
    /// A file system operation failed.
    Io(PathBuf, io::Error),
    /// A segment has a version that this build does not read.
    Version {
        /// The segment's number.
        segment: u64,
        /// The segment's version.
        version: u32,
    },
    /// A file with the name of a segment is not a segment.
    Foreign {
        /// The number in the file's name.
        segment: u64,
    },
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "{}: another process is using this spool; two collectors need two data folders",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Version { segment, version } => write!(
                f,
                "segment {segment:016} of the spool has version {version}, this program knows versions up to {}; \
                 let the program that wrote it deliver it (`rowmill spool replay`)",
                VERSION
            ),
            Self::Foreign { segment } => write!(
                f,
                "file {segment:016} in the spool's folder is not a spool segment, or its beginning is damaged; \
                 move it out of the folder to start without it"
            ),
        }
    }
}

impl std::error::Error for SpoolError {}

/// Damage to a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) segment: u64,
    /// Bytes that fail their checksums.
    pub(crate) bytes: u64,
}

/// The result of a recovery.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The blocks that are not done, oldest first.
    pub(crate) blocks: Vec<SealedBlock>,
    pub(crate) segments: BTreeMap<u64, SegmentUse>,
    pub(crate) damage: Vec<Damage>,
    /// Marks that one segment has and another one with the same block lacks.
    pub(crate) unmarked: Vec<Mark>,
    /// Blocks that had not been sealed.
    pub(crate) open: HashSet<Uuid>,
    /// Blocks that have moved or have rows that are done, each with the segment that records it.
    ended: HashMap<Uuid, u64>,
    /// Bytes of incomplete writes.
    pub(crate) torn_bytes: u64,
}

impl Recovered {
    /// Removes rows whose dead letters are on disk from their blocks: the process ended before it
    /// had marked the rows.
    fn remove_rows_with_dead_letters(&mut self) {
        let mut segment_of = std::mem::take(&mut self.ended);
        let blocks = self.blocks.iter();
        segment_of.extend(blocks.filter_map(|block| Some((block.id, block.state().logged.segment?))));
        if !segment_of.keys().any(|id| is_letter(*id)) {
            return;
        }
        for block in &self.blocks {
            let mut state = block.state();
            // The row may not be alone in its part: the marks that its neighbours are stored may
            // not have been written yet.
            let left: Vec<_> = state
                .parts
                .iter()
                .flat_map(|part| part.rows().collect::<Vec<_>>())
                .collect();
            let with_letter = |row: u32| {
                let letter = segment_of.get(&block.letter_id(row)?)?;
                Some((row..row + 1, *letter))
            };
            let refused: Vec<_> = left.into_iter().filter_map(with_letter).collect();
            for (rows, letter) in refused {
                state.parts.remove(&rows);
                let segments_of = self
                    .segments
                    .iter()
                    .filter(|(_, segment)| segment.live.contains_key(&block.id));
                self.unmarked.extend(segments_of.map(|(segment, _)| Mark {
                    segment: *segment,
                    kind: Kind::Done,
                    block: block.id,
                    rows: rows.clone(),
                    durable: true,
                    depends_on: Some(letter),
                }));
            }
        }
        let segments = &mut self.segments;
        self.blocks.retain(|block| {
            let is_over = block.state().parts.is_empty();
            if is_over {
                segments
                    .values_mut()
                    .for_each(|segment| _ = segment.live.remove(&block.id));
            }
            !is_over
        });
    }

    /// Logs what was found.
    pub(crate) fn tell(&self) {
        for Damage { segment, bytes } in &self.damage {
            tracing::error!(
                segment,
                bytes,
                "a part of the spool was damaged on disk and its rows are lost; the segment is kept as a `.damaged` file"
            );
        }
        if self.torn_bytes > 0 {
            tracing::warn!(
                bytes = self.torn_bytes,
                "bytes at the end of segments fail their checksums: a crash interrupted the last writes, or the disk damaged them"
            );
        }
        if !self.blocks.is_empty() {
            let rows: u64 = self.blocks.iter().map(|block| u64::from(block.rows)).sum();
            tracing::info!(
                blocks = self.blocks.len(),
                rows,
                "the spool has rows of an earlier run, which go to ClickHouse"
            );
        }
    }
}

/// A block's frames in one segment.
#[derive(Debug, Clone, Default)]
struct Copy {
    layout: Option<InsertTarget>,
    frames: Vec<FrameAt>,
    /// The end of the block's rows.
    rows: u32,
    bytes: usize,
    frame_bytes: u64,
    is_sealed: bool,
    splits: Vec<RowRange>,
    done: Vec<RowRange>,
    is_moved: bool,
    /// The copy without the frames after a torn write, which were never acknowledged as on disk;
    /// `None` if there are no such frames.
    sound: Option<Box<Self>>,
}

/// Reads all segments.
///
/// # Errors
/// See [`SpoolError`]; its messages name the spool by `path`.
pub(crate) fn recover(disk: &dyn Disk, path: &std::path::Path) -> Result<Recovered, SpoolError> {
    let io_error = |error| SpoolError::Io(path.to_owned(), error);
    let mut recovered = Recovered::default();
    let mut blocks: BTreeMap<Uuid, Vec<(u64, Copy)>> = BTreeMap::new();
    let mut done: HashMap<Uuid, Vec<RowRange>> = HashMap::new();
    let mut synced: HashMap<u64, u64> = HashMap::new();
    // Newest first: each segment records how much of the one before it is on disk.
    for segment in disk.segments().map_err(io_error)?.into_iter().rev() {
        let bytes = disk.read(segment).map_err(io_error)?;
        let format = match frame::read_segment_header(&bytes) {
            SegmentHeader::Known(format) => format,
            SegmentHeader::Version(version) => return Err(SpoolError::Version { segment, version }),
            SegmentHeader::Foreign => return Err(SpoolError::Foreign { segment }),
            SegmentHeader::Torn => {
                recovered.torn_bytes += bytes.len() as u64;
                disk.remove(segment).map_err(io_error)?;
                continue;
            }
        };
        let scan = scan(&bytes, format, synced.get(&segment).copied().unwrap_or(0));
        recovered.torn_bytes += scan.torn.iter().map(|tear| tear.end - tear.start).sum::<u64>();
        if !scan.damage.is_empty() {
            // Before the damaged end is cut off.
            disk.set_aside(segment).map_err(io_error)?;
        }
        let mut file = disk.open(segment).map_err(io_error)?;
        if scan.end < bytes.len() as u64 {
            let is_damage = |damage: &Range<u64>| damage.start == scan.end;
            if !scan.damage.iter().any(is_damage) {
                recovered.torn_bytes += bytes.len() as u64 - scan.end;
            }
            file.truncate(scan.end).map_err(io_error)?;
        }
        // A killed process may have written bytes without syncing them. Sync them now: rows must
        // not change any more once they are sent.
        file.sync().map_err(io_error)?;
        for damage in scan.damage {
            recovered.damage.push(Damage {
                segment,
                bytes: damage.end - damage.start,
            });
        }
        let mut copies: HashMap<Uuid, Copy> = HashMap::new();
        for frame in scan.frames {
            if frame.header.kind == Kind::Synced {
                synced.extend(frame::read_synced(frame.body));
                continue;
            }
            copies.entry(frame.header.block).or_default().take(&frame);
        }
        let mut state = SegmentUse {
            format,
            length: scan.end,
            synced: scan.end,
            uncut: 0,
            tear: scan.torn.first().map(|tear| tear.start),
            live: HashMap::new(),
        };
        for (block, copy) in copies {
            if copy.is_moved || !copy.done.is_empty() {
                recovered.ended.insert(block, segment);
            }
            done.entry(block).or_default().extend(copy.done.iter().cloned());
            if !copy.is_moved {
                state.live.insert(block, copy.frame_bytes);
                blocks.entry(block).or_default().push((segment, copy));
            }
        }
        recovered.segments.insert(segment, state);
    }

    let mut layouts = HashSet::new();
    for (id, copies) in blocks {
        let done = done.remove(&id).unwrap_or_default();
        let Some((segment, copy, others)) = best_of(copies) else {
            continue;
        };
        let mark = |segment, kind, rows, depends_on| Mark {
            segment,
            kind,
            block: id,
            rows,
            durable: true,
            depends_on: Some(depends_on),
        };
        // Copy over the `done` marks that only other copies have, and mark every other copy as
        // moved here.
        for rows in done.iter().filter(|rows| !copy.done.contains(rows)) {
            let marks = others
                .iter()
                .map(|other| mark(segment, Kind::Done, rows.clone(), *other));
            recovered.unmarked.extend(marks.take(1));
        }
        for other in others {
            recovered.unmarked.push(mark(other, Kind::Moved, 0..0, segment));
            if let Some(other) = recovered.segments.get_mut(&other) {
                other.live.remove(&id);
            }
        }
        let is_sealed = copy.is_sealed;
        match whole(&recovered.segments, id, segment, copy, &done, &mut layouts) {
            Some(block) => {
                if !is_sealed {
                    recovered.open.insert(id);
                }
                recovered.blocks.push(block);
            }
            None => {
                for segment in recovered.segments.values_mut() {
                    segment.live.remove(&id);
                }
            }
        }
    }
    recovered.remove_rows_with_dead_letters();
    Ok(recovered)
}

impl Copy {
    fn take(&mut self, frame: &Frame<'_>) {
        if frame.is_behind_tear && self.sound.is_none() {
            self.sound = Some(Box::new(self.clone()));
        }
        let rows = frame.header.rows.clone();
        self.frame_bytes += frame.length as u64;
        match frame.header.kind {
            Kind::Open if self.layout.is_some() => {}
            Kind::Open => {
                self.layout = frame::read_layout(frame.body);
            }
            Kind::Rows => {
                let Some(content) = Rows::read(frame.body, rows.len() as u32) else {
                    return;
                };
                self.bytes += content.lengths().map(|length| length as usize).sum::<usize>();
                self.rows = self.rows.max(rows.end);
                self.frames.push(FrameAt {
                    offset: frame.offset,
                    length: frame.length,
                    rows,
                });
            }
            Kind::Seal => {
                self.is_sealed = true;
                self.rows = self.rows.max(rows.end);
            }
            Kind::Split => self.splits.push(rows),
            Kind::Moved => self.is_moved = true,
            Kind::Synced => {}
            Kind::Done => self.done.push(rows),
        }
    }
}

/// Returns the best copy, its segment, and the segments of the other copies.
fn best_of(mut copies: Vec<(u64, Copy)>) -> Option<(u64, Copy, Vec<u64>)> {
    if copies.len() > 1 {
        // A copy with a torn write may lack rows that another copy has, and that were acknowledged
        // from there.
        for (_, copy) in &mut copies {
            if let Some(sound) = copy.sound.take() {
                // Marks about rows are true in whichever copy they are.
                *copy = Copy {
                    splits: std::mem::take(&mut copy.splits),
                    done: std::mem::take(&mut copy.done),
                    ..*sound
                };
            }
        }
    }
    // Copies agree as far as they go. A sealed copy has every row that was ever acknowledged,
    // except for damage. Without a sealed copy, the longest one has them, and is the one that
    // continued.
    let rank = |(segment, copy): &(u64, Copy)| {
        let readable: usize = copy.frames.iter().map(|frame| frame.rows.len()).sum();
        (copy.layout.is_some(), copy.is_sealed, readable, *segment)
    };
    copies.sort_by_key(rank);
    let (segment, copy) = copies.pop()?;
    Some((segment, copy, copies.into_iter().map(|(segment, _)| segment).collect()))
}

/// Turns the best copy into a block. Returns `None` if all of it is done, or none of it can be
/// read.
fn whole(
    segments: &BTreeMap<u64, SegmentUse>,
    id: Uuid,
    segment: u64,
    copy: Copy,
    done: &[RowRange],
    layouts: &mut HashSet<Arc<InsertTarget>>,
) -> Option<SealedBlock> {
    let layout = Arc::new(copy.layout?);
    let mut parts = Parts::whole(copy.rows);
    for split in &copy.splits {
        parts.cut(split.start + (split.end - split.start) / 2);
    }
    for done in done {
        parts.remove(done);
    }
    // Drop the parts that damage has left nothing of: the damage itself is reported.
    parts.keep_within(copy.frames.iter().map(|frame| &frame.rows));
    if parts.is_empty() {
        return None;
    }
    // The process that left the block may have sent it.
    parts.doubt(&Part::from(0..copy.rows));
    let layout = layouts.get(&layout).cloned().unwrap_or(layout);
    layouts.insert(Arc::clone(&layout));
    let logged = Logged {
        segment: Some(segment),
        format: segments.get(&segment).map(|segment| segment.format),
        frames: copy.frames,
        rows: copy.rows,
        bytes: usize::try_from(copy.frame_bytes).unwrap_or(usize::MAX),
        // No row is ever added to it.
        is_sealed: true,
    };
    Some(SealedBlock::on_disk(layout, id, copy.rows, copy.bytes, logged, parts))
}

/// Reads rows of a block from disk.
///
/// # Errors
/// The file system's, or [`ReadError::Damaged`] with the frame that fails its checks.
pub(crate) fn read_rows(disk: &dyn Disk, id: Uuid, logged: &Logged, part: &Part) -> Result<BlockRows, ReadError> {
    let (Some(segment), Some(format)) = (logged.segment, logged.format) else {
        return Err(ReadError::Io(io::ErrorKind::NotFound.into()));
    };
    let (mut out, mut ends) = (Vec::new(), Vec::with_capacity(part.len()));
    for at in &logged.frames {
        let shared: Vec<_> = part
            .ranges()
            .iter()
            .filter_map(|rows| overlap(&at.rows, rows))
            .collect();
        if shared.is_empty() {
            continue;
        }
        let bytes = disk
            .read_at(segment, at.offset, at.length)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ReadError::Damaged(at.clone()),
                _ => ReadError::Io(error),
            })?;
        let rows = frame::read(&bytes, format, at.offset)
            .filter(|frame| frame.header.block == id && frame.header.rows == at.rows)
            .and_then(|frame| Rows::read(frame.body, at.rows.len() as u32))
            .ok_or_else(|| ReadError::Damaged(at.clone()))?;
        for shared in shared {
            let within = shared.start - at.rows.start..shared.end - at.rows.start;
            let mut end = out.len() as u32;
            ends.extend(rows.lengths_of(&within).map(|length| {
                end += length;
                end
            }));
            out.extend_from_slice(rows.slice(within));
        }
    }
    Ok(BlockRows {
        bytes: out.into(),
        ends: ends.into(),
    })
}

/// The reason why rows could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file system failed.
    Io(io::Error),
    /// This frame differs from what was written.
    Damaged(FrameAt),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{fs, path::Path};

    use super::*;
    use crate::block::frame_format::{FRAME_HEADER, FrameFormat, Salt};
    use crate::spool::disk::Folder;

    fn folder_with(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
        let disk = Folder::lock(folder.path()).unwrap().unwrap();
        (folder, disk)
    }

    #[test]
    fn the_kept_copy_of_a_damaged_segment_does_not_change_with_the_segment() {
        let golden = include_bytes!("golden/version2.spool");
        let (folder, disk) = folder_with("0000000000000001.spool", golden);
        disk.set_aside(1).unwrap();
        disk.open(1).unwrap().truncate(30).unwrap();
        disk.set_aside(1).unwrap();
        let kept = fs::read(folder.path().join("0000000000000001.damaged")).unwrap();
        assert_eq!(kept, golden);
        assert_eq!(disk.segments().unwrap(), [1]);
    }

    #[test]
    fn what_is_not_known_is_left_as_it_is() {
        let golden = include_bytes!("golden/version2.spool");
        let mut newer = golden.to_vec();
        newer[8] = 7;
        let (folder, disk) = folder_with("0000000000000001.spool", &newer);
        let error = recover(&disk, Path::new("here")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has version 7, this program knows versions up to 2"),
            "{error}"
        );
        assert_eq!(fs::read(folder.path().join("0000000000000001.spool")).unwrap(), newer);

        let (folder, disk) = folder_with("0000000000000003.spool", b"somebody's own notes, which are long enough");
        let error = recover(&disk, Path::new("here")).unwrap_err();
        assert!(error.to_string().contains("is not a spool segment"), "{error}");
        assert!(folder.path().join("0000000000000003.spool").exists());
    }

    #[test]
    fn a_folder_is_one_process_own() {
        let (folder, _disk) = folder_with("notes.txt", b"");
        assert!(Folder::lock(folder.path()).unwrap().is_none());
    }

    #[test]
    fn a_block_comes_back_without_what_is_done() {
        let of_version_1: &[u8] = include_bytes!("golden/version1.spool");
        let of_version_2: &[u8] = include_bytes!("golden/version2.spool");
        // The last frame of each marks the block as moved.
        for (golden, moved) in [(of_version_1, 48), (of_version_2, FRAME_HEADER)] {
            let (_folder, disk) = folder_with("0000000000000001.spool", &golden[..golden.len() - moved]);
            let recovered = recover(&disk, Path::new("here")).unwrap();
            let [block] = &recovered.blocks[..] else {
                panic!("{recovered:?}")
            };
            assert_eq!((&*block.layout.table, block.rows), ("table", 4));
            assert_eq!(block.next_part(), Some(Part::from(0..2)));
            let logged = block.state().logged.clone();
            for (part, bytes, ends) in [(0..2, &b"one"[..], &[3, 3][..]), (1..4, b"threefour", &[0, 5, 9])] {
                let rows = read_rows(&disk, block.id, &logged, &Part::from(part)).unwrap();
                assert_eq!((&rows.bytes[..], &rows.ends[..]), (bytes, ends));
            }
        }
    }

    #[test]
    fn what_one_segment_says_of_a_block_is_to_be_said_by_all_that_have_it() {
        let golden = include_bytes!("golden/version2.spool");
        let with_done = &golden[..golden.len() - FRAME_HEADER];
        let (folder, disk) = folder_with("0000000000000001.spool", with_done);
        let without = &with_done[..with_done.len() - FRAME_HEADER];
        fs::write(folder.path().join("0000000000000002.spool"), without).unwrap();
        let recovered = recover(&disk, Path::new("here")).unwrap();
        let [block] = &recovered.blocks[..] else {
            panic!("{recovered:?}")
        };
        assert_eq!(block.next_part(), Some(Part::from(0..2)));
        let mark = |segment, kind, rows, depends_on| Mark {
            segment,
            kind,
            block: block.id,
            rows,
            durable: true,
            depends_on: Some(depends_on),
        };
        // The second copy is the best one.
        let marks = [mark(2, Kind::Done, 2..4, 1), mark(1, Kind::Moved, 0..0, 2)];
        assert_eq!(recovered.unmarked, marks);
    }

    /// Returns a segment with a block of one row, and with `marks` about it.
    fn segment_with(block: Uuid, marks: &[Kind]) -> Vec<u8> {
        let format = FrameFormat::new(Salt(1));
        let mut bytes = frame::segment_header(format).to_vec();
        let mut put = |kind, body: &dyn Fn(&mut Vec<u8>)| {
            let header = frame::Header {
                kind,
                batch: frame::SEGMENT_HEADER as u64,
                block,
                rows: if matches!(kind, Kind::Open | Kind::Moved) {
                    0..0
                } else {
                    0..1
                },
            };
            frame::put(&mut bytes, format, &header, body);
        };
        let layout = InsertTarget::new("t".into(), "INSERT INTO t".into(), [].into(), None);
        put(Kind::Open, &|out| frame::put_layout(out, &layout));
        put(Kind::Rows, &|out| frame::put_rows(out, b"x", &[1], &(0..1)));
        for mark in [Kind::Seal].iter().chain(marks) {
            put(*mark, &|_| {});
        }
        bytes
    }

    #[test]
    fn a_letter_speaks_for_its_row_whatever_has_become_of_it() {
        let block = Uuid::from_u128(0x7000 << 64);
        let letter = crate::block::sealed::letter_id(block, 0).unwrap();
        for (marks, blocks) in [(&[][..], 1), (&[Kind::Done], 0), (&[Kind::Moved], 0)] {
            let (folder, disk) = folder_with("0000000000000001.spool", &segment_with(block, &[]));
            fs::write(
                folder.path().join("0000000000000002.spool"),
                segment_with(letter, marks),
            )
            .unwrap();
            let recovered = recover(&disk, Path::new("here")).unwrap();
            assert!(recovered.damage.is_empty(), "{recovered:?}");
            let ids: Vec<_> = recovered.blocks.iter().map(|block| block.id).collect();
            assert_eq!(ids, vec![letter; blocks], "{marks:?}");
        }
    }
}
