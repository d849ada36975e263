//! Marks: short frames, which record that rows are done, that a block has moved, or where it goes.

use std::io;

use uuid::Uuid;

use crate::{
    block::{frame_format::FRAME_HEADER, parts::RowRange, sealed::dead_letter_id},
    spool::{
        frame::{self, Header, Kind},
        log::Log,
    },
};

/// A frame without a body, which records that rows are done, or that a block has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) segment: u64,
    pub(crate) kind: Kind,
    pub(crate) block: Uuid,
    pub(crate) rows: RowRange,
    /// Whether the mark must survive a loss of power.
    pub(crate) durable: bool,
    /// The segment that the mark's truth depends on. It stays until the mark is written.
    pub(crate) depends_on: Option<u64>,
}

impl Log {
    /// Marks rows of a block as done; `is_all` if they are the block's last rows.
    ///
    /// The mark for stored rows need not be durable: if it is lost, the rows are sent again, and
    /// ClickHouse recognizes them by their token. The mark for a refused row must be durable
    /// (`durable`); until it is, the row's dead letter stands in for it.
    pub(crate) fn done(&mut self, block: Uuid, rows: RowRange, is_all: bool, durable: bool) {
        let dead_letter = dead_letter_id(block, rows.start).filter(|_| durable);
        let depends_on = dead_letter.and_then(|dead_letter| self.segments_of(dead_letter, None).pop());
        for segment in self.segments_of(block, None) {
            if !(is_all && self.forget(segment, block)) {
                let rows = rows.clone();
                self.mark(Mark {
                    segment,
                    kind: Kind::Done,
                    block,
                    rows,
                    durable,
                    depends_on,
                });
            }
        }
    }

    /// Marks a block durably as moved to `segment` in all other segments that have it.
    pub(crate) fn relocated(&mut self, block: Uuid, segment: u64) {
        for old in self.segments_of(block, Some(segment)) {
            if !self.forget(old, block) {
                self.mark(Mark {
                    segment: old,
                    kind: Kind::Moved,
                    block,
                    rows: 0..0,
                    durable: true,
                    depends_on: Some(segment),
                });
            }
        }
    }

    /// Marks a block as moved to another collector in all segments that have it.
    ///
    /// The mark need not be durable: if it is lost, the block is handed over again, and the other
    /// collector knows it.
    pub(crate) fn handed_over(&mut self, block: Uuid) {
        for segment in self.segments_of(block, None) {
            if !self.forget(segment, block) {
                self.mark(Mark {
                    segment,
                    kind: Kind::Moved,
                    block,
                    rows: 0..0,
                    durable: false,
                    depends_on: None,
                });
            }
        }
    }

    /// Retries the marks that the log could not write, and the failed writes that it could not cut
    /// off. Such a write may contain whole blocks, which the next start would find although
    /// ClickHouse has stored them from memory.
    pub(crate) fn mark_again(&mut self) {
        for (number, segment) in self.segments.iter_mut().filter(|(_, segment)| segment.uncut > 0) {
            let cut = self
                .disk
                .open(*number)
                .and_then(|mut file| file.truncate(segment.length));
            if cut.is_ok() {
                segment.uncut = 0;
            }
        }
        let unmarked = std::mem::take(&mut self.unmarked);
        let kept: Vec<_> = unmarked.iter().filter_map(|mark| mark.depends_on).collect();
        for mark in unmarked {
            if self.segments.contains_key(&mark.segment) {
                self.mark(mark);
            }
        }
        for depends_on in kept {
            self.remove_if_done(depends_on);
        }
    }

    fn mark(&mut self, mark: Mark) {
        let rows = mark.rows.clone();
        if let Err(error) = self.append(mark.segment, mark.kind, mark.block, rows, &[], mark.durable) {
            tracing::debug!(?mark, %error, "a block could not be marked; the spool retries");
            self.unmarked.push(mark);
        } else if let Some(active) = self.active.as_mut().filter(|active| active.segment == mark.segment) {
            active.unsynced_marks.push(mark);
        }
    }

    /// Records durably that rows of a block continue as two halves.
    ///
    /// # Errors
    /// The disk's. The record may be missing, so the caller must not divide the block.
    pub(crate) fn split(&mut self, segment: u64, block: Uuid, rows: RowRange) -> io::Result<()> {
        self.append(segment, Kind::Split, block, rows, &[], true)
    }

    /// Records durably that all rows of a block go to a server.
    ///
    /// # Errors
    /// The disk's. The record may be missing, so the caller must not rely on it.
    pub(crate) fn send_to(&mut self, segment: u64, block: Uuid, rows: u32, server: &str) -> io::Result<()> {
        self.append(segment, Kind::Seal, block, 0..rows, server.as_bytes(), true)
    }

    /// Appends one frame to any segment.
    fn append(
        &mut self,
        segment: u64,
        kind: Kind,
        block: Uuid,
        rows: RowRange,
        body: &[u8],
        durable: bool,
    ) -> io::Result<()> {
        let state = self.segments.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::with_capacity(FRAME_HEADER + body.len());
        let header = Header {
            kind,
            batch: state.known_synced(),
            block,
            rows,
        };
        frame::put(&mut bytes, state.format, &header, |out| out.extend_from_slice(body));
        let mut opened;
        let file = match self.active.as_mut().filter(|active| active.segment == segment) {
            Some(active) => &mut active.file,
            None => {
                opened = self.disk.open(segment)?;
                &mut opened
            }
        };
        if state.uncut > 0 {
            return Err(io::Error::other("the segment ends with a failed write"));
        }
        let written = file
            .append(&bytes)
            .and_then(|()| if durable { file.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                state.length += bytes.len() as u64;
                if durable {
                    state.synced = state.length;
                }
                Ok(())
            }
            Err(error) => {
                // A partial frame must not come before later ones.
                if file.truncate(state.length).is_err() {
                    state.uncut = bytes.len() as u64;
                    if self.active.as_ref().is_some_and(|active| active.segment == segment) {
                        self.abandon_active(bytes.len() as u64);
                    }
                }
                Err(error)
            }
        }
    }
}
