//! The records of a table's topic. A record has rows of one block, in the frames of the spool:
//!
//! ```text
//! header rowmill-producer   16  the id of the process that has appended the record
//! header rowmill-sequence    8  the number of the record among those of the process in this
//!                               partition, little-endian
//! value                         a segment of the spool: its header, an open frame, a rows frame
//! ```
//!
//! A producer that gets no answer appends its record again, so a partition may have a record twice.
//! The two have the same sequence, and no record with a lower sequence follows one with a higher.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use rskafka::{
    chrono::{DateTime, Utc},
    record::Record,
};
use uuid::Uuid;

use crate::{
    block::{content::BlockRows, frame_format::FrameFormat, layout::InsertTarget, parts::RowRange, random},
    spool::frame::{self, Kind, SEGMENT_HEADER, SegmentHeader},
};

/// The header with the id of a record's producer.
const PRODUCER: &str = "rowmill-producer";

/// The header with the sequence of a record.
const SEQUENCE: &str = "rowmill-sequence";

/// The rows of a block that a record is about to have.
#[derive(Debug)]
pub(super) struct RowsOf<'a> {
    pub(super) layout: &'a InsertTarget,
    pub(super) block: Uuid,
    pub(super) content: &'a BlockRows,
    /// The numbers of the rows in `content`.
    pub(super) rows: RowRange,
}

/// Returns the record of rows.
pub(super) fn encode(rows: &RowsOf<'_>, producer: Uuid, sequence: u64, now: DateTime<Utc>) -> Record {
    let format = FrameFormat::new(random::salt());
    let mut value = frame::segment_header(format).to_vec();
    let mut put = |kind, range: RowRange, write: &dyn Fn(&mut Vec<u8>)| {
        let header = frame::Header {
            kind,
            batch: 0,
            block: rows.block,
            rows: range,
        };
        frame::put(&mut value, format, &header, write);
    };
    put(Kind::Open, 0..0, &|out| frame::put_layout(out, rows.layout));
    put(Kind::Rows, rows.rows.clone(), &|out| {
        frame::put_rows(out, &rows.content.bytes, &rows.content.ends, &rows.rows);
    });
    Record {
        key: None,
        value: Some(value),
        headers: BTreeMap::from([
            (PRODUCER.to_owned(), producer.as_bytes().to_vec()),
            (SEQUENCE.to_owned(), sequence.to_le_bytes().to_vec()),
        ]),
        timestamp: now,
    }
}

/// The reason why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The record is not a record of rows, or fails its checksums.
    Damaged,
    /// Another version of Rowmill wrote the record, in this version of the format.
    Version(u32),
}

/// A record of rows, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowsRecord {
    pub(super) producer: Uuid,
    pub(super) sequence: u64,
    pub(super) block: Uuid,
    /// The time at which it was appended, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// The body of the open frame, which states the insert target, until it is forgotten.
    layout: Range<usize>,
    /// The length of each row.
    lengths: Vec<u32>,
    rows: Range<usize>,
    value: Vec<u8>,
}

impl RowsRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Unreadable`] if it is not a record of rows, fails its checksums, or has a later format.
    pub(super) fn read(record: Record) -> Result<Self, Unreadable> {
        if let Some(SegmentHeader::Version(version)) = record.value.as_deref().map(frame::read_segment_header) {
            return Err(Unreadable::Version(version));
        }
        Self::read_known(record).ok_or(Unreadable::Damaged)
    }

    fn read_known(record: Record) -> Option<Self> {
        let header = |name| record.headers.get(name);
        let producer = Uuid::from_slice(header(PRODUCER)?).ok()?;
        let sequence = u64::from_le_bytes(header(SEQUENCE)?.as_slice().try_into().ok()?);
        let at_ms = record.timestamp.timestamp_millis();
        let value = record.value?;
        let SegmentHeader::Known(format) = frame::read_segment_header(&value) else {
            return None;
        };
        let open = frame::read(&value[SEGMENT_HEADER..], format, 0)?;
        let at = SEGMENT_HEADER + open.length;
        let rows = frame::read(value.get(at..)?, format, 0)?;
        if (open.header.kind, rows.header.kind) != (Kind::Open, Kind::Rows) || at + rows.length != value.len() {
            return None;
        }
        let block = rows.header.block;
        let count = rows.header.rows.end - rows.header.rows.start;
        let lengths = frame::Rows::read(rows.body, count)?.lengths().collect();
        let layout = at - open.body.len()..at;
        let bytes = value.len() - rows.body.len() + count as usize * size_of::<u32>()..value.len();
        Some(Self {
            producer,
            sequence,
            block,
            at_ms,
            layout,
            lengths,
            rows: bytes,
            value,
        })
    }

    /// Returns the body of the open frame.
    pub(super) fn layout(&self) -> &[u8] {
        &self.value[self.layout.clone()]
    }

    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the length of the rows, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.rows.len()
    }

    /// Returns the memory that the record takes once its layout is forgotten, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.lengths.len() * size_of::<u32>() + self.rows.len()
    }

    /// Forgets the insert target, which may be longer than the rows.
    pub(super) fn forget_layout(&mut self) {
        self.value.drain(..self.rows.start);
        self.value.shrink_to_fit();
        (self.layout, self.rows) = (0..0, 0..self.value.len());
    }

    /// Appends the rows to those of a block; returns whether they fit.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) -> bool {
        if u32::try_from(bytes.len() + self.bytes()).is_err() {
            return false;
        }
        let mut end = bytes.len() as u32;
        ends.extend(self.lengths.iter().map(|length| {
            end += length;
            end
        }));
        bytes.extend_from_slice(&self.value[self.rows.clone()]);
        true
    }
}

/// The insert targets that records name, so that each is read once.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    known: Vec<KnownLayout>,
}

/// The body of an open frame, and what it states.
#[derive(Debug)]
struct KnownLayout {
    body: Box<[u8]>,
    /// `None` if the body cannot be read or is for another table.
    layout: Option<Arc<InsertTarget>>,
}

impl Layouts {
    /// The number of insert targets that a table's topic has at a time: one for each build of a
    /// collector.
    const MAX: usize = 16;

    /// Returns the insert target that a record names: `own` if it is the same; `None` if it cannot
    /// be read or is for another table.
    pub(super) fn get(&mut self, body: &[u8], own: &Arc<InsertTarget>) -> Option<Arc<InsertTarget>> {
        if let Some(known) = self.known.iter().find(|known| *known.body == *body) {
            return known.layout.clone();
        }
        let read = frame::read_layout(body).filter(|layout| layout.table == own.table);
        let layout = read.map(|layout| {
            if layout == **own {
                Arc::clone(own)
            } else {
                Arc::new(layout)
            }
        });
        self.known.truncate(Self::MAX - 1);
        let known = KnownLayout {
            body: body.into(),
            layout: layout.clone(),
        };
        self.known.insert(0, known);
        layout
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::table::dead_letter::REJECTED;

    /// Returns a record with a row of each of these texts.
    pub(in super::super) fn record(producer: u128, sequence: u64, rows: &[&str]) -> Record {
        let mut ends = Vec::new();
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend_from_slice(row.as_bytes());
            ends.push(bytes.len() as u32);
        }
        let content = BlockRows {
            bytes: bytes.into(),
            ends: ends.into(),
        };
        let layout = InsertTarget::of(&REJECTED);
        let rows = RowsOf {
            layout: &layout,
            block: Uuid::from_u128(producer << 32 | u128::from(sequence)),
            rows: 0..content.ends.len() as u32,
            content: &content,
        };
        encode(&rows, Uuid::from_u128(producer), sequence, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut read = RowsRecord::read(record(7, 9, &["one", "", "three"])).unwrap();
        assert_eq!((read.producer, read.sequence), (Uuid::from_u128(7), 9));
        assert_eq!((read.rows(), read.bytes()), (3, 8));
        let (mut bytes, mut ends) = (b"zero".to_vec(), vec![4]);
        assert!(read.append_to(&mut bytes, &mut ends));
        assert_eq!((&*bytes, &*ends), (&b"zeroonethree"[..], &[4, 7, 7, 12][..]));
        let own = InsertTarget::of(&REJECTED);
        let layout = Layouts::default().get(read.layout(), &own).unwrap();
        assert!(Arc::ptr_eq(&layout, &own));
        read.forget_layout();
        assert!(read.append_to(&mut bytes, &mut ends) && bytes.ends_with(b"threeonethree"));
        assert!(read.layout().is_empty());
        assert_eq!(read.value.len(), 8);
    }

    #[test]
    fn a_record_that_is_cut_or_changed_is_not_read() {
        let whole = record(1, 2, &["abc"]);
        let value = whole.value.clone().unwrap();
        for length in 0..value.len() {
            let value = Some(value[..length].to_vec());
            let read = RowsRecord::read(Record { value, ..whole.clone() });
            assert_eq!(read, Err(Unreadable::Damaged), "{length}");
        }
        // The last bytes of a segment's header have no meaning.
        for at in (0..value.len()).filter(|at| !(20..SEGMENT_HEADER).contains(at)) {
            let mut changed = value.clone();
            changed[at] ^= 0x10;
            let value = Some(changed);
            let error = RowsRecord::read(Record { value, ..whole.clone() }).unwrap_err();
            let is_version = matches!(error, Unreadable::Version(_));
            assert_eq!(is_version, (8..12).contains(&at), "{at}");
        }
        for name in [PRODUCER, SEQUENCE] {
            let mut other = whole.clone();
            other.headers.remove(name);
            assert_eq!(RowsRecord::read(other), Err(Unreadable::Damaged), "{name}");
        }
    }
}
