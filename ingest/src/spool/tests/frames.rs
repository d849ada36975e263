//! The bytes of segments and frames, and the frames that a scan finds in damaged ones.

#![allow(clippy::unwrap_used, clippy::panic, clippy::single_range_in_vec_init)]

use uuid::Uuid;

use crate::{
    block::{
        frame_format::{FrameFormat, Salt, VERSION, VERSION_1, VERSION_2, VERSION_3},
        layout::{InsertTarget, TargetColumn},
        parts::RowRange,
        row_key::{KeyHash, KeyRecord, RowKey},
        shard::Shard,
    },
    native::ShapeBuf,
    spool::{
        frame::*,
        keyed_rows::{put_keys, read_rows},
        scan::*,
    },
};

const SALT: Salt = Salt(0x0102_0304);
const BLOCK: Uuid = Uuid::from_bytes(*b"block-of-16bytes");

const FORMAT: FrameFormat = FrameFormat {
    version: VERSION,
    salt: SALT,
};
const FORMAT_1: FrameFormat = FrameFormat {
    version: VERSION_1,
    salt: SALT,
};
const FORMAT_2: FrameFormat = FrameFormat {
    version: VERSION_2,
    salt: SALT,
};

const FORMAT_3: FrameFormat = FrameFormat {
    version: VERSION_3,
    salt: SALT,
};

/// A segment of each version with a frame of each kind but `Synced`, as it was when that
/// version was fixed.
const GOLDEN: &[u8] = include_bytes!("../golden/version4.spool");
const GOLDEN_3: &[u8] = include_bytes!("../golden/version3.spool");
const GOLDEN_2: &[u8] = include_bytes!("../golden/version2.spool");
const GOLDEN_1: &[u8] = include_bytes!("../golden/version1.spool");
const ALL: [(FrameFormat, &[u8]); 4] = [
    (FORMAT_1, GOLDEN_1),
    (FORMAT_2, GOLDEN_2),
    (FORMAT_3, GOLDEN_3),
    (FORMAT, GOLDEN),
];

fn header(kind: Kind, batch: usize, rows: RowRange) -> Header {
    Header {
        kind,
        batch: batch as u64,
        block: BLOCK,
        rows,
    }
}

fn layout() -> InsertTarget {
    let statement = "INSERT INTO `table` (`a`) FORMAT RowBinary";
    InsertTarget::new("table".into(), statement.into(), [].into(), None)
}

/// The layout of rows of a shard.
fn sharded_layout() -> InsertTarget {
    let column = TargetColumn {
        name: "a".into(),
        data_type: "String".into(),
        sent_type: "String".into(),
        shape: Some(ShapeBuf::String),
    };
    let statement = "INSERT INTO `table` (`a`) FORMAT RowBinary";
    let all = InsertTarget::new("table".into(), statement.into(), [column].into(), None);
    let shard = Shard {
        table: "table".into(),
        cluster: "fleet".into(),
        number: 2,
        replicas: ["a:9000".into(), "b:9000".into()].into(),
    };
    all.on_shard("table_local", shard)
}

fn row_key() -> RowKey {
    RowKey {
        rows: 5..6,
        record: KeyRecord {
            hash: KeyHash(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
            id: 0x1716_1514_1312_1110,
            expires_s: 0x1b1a_1918,
            fingerprint: 0x1f1e_1d1c,
        },
    }
}

fn segment(format: FrameFormat) -> Vec<u8> {
    let mut out = segment_header(format).to_vec();
    let first = out.len();
    put(&mut out, format, &header(Kind::Open, first, 0..0), |out| {
        put_layout(out, &layout());
    });
    put(&mut out, format, &header(Kind::Rows, first, 0..3), |out| {
        put_rows(out, b"onethree", &[3, 3, 8], &(0..3))
    });
    let second = out.len();
    put(&mut out, format, &header(Kind::Rows, second, 3..4), |out| {
        put_rows(out, b"onethreefour", &[3, 3, 8, 12], &(3..4))
    });
    put(&mut out, format, &header(Kind::Seal, second, 0..4), |_| {});
    for (kind, rows) in [(Kind::Split, 0..4), (Kind::Done, 2..4), (Kind::Moved, 0..0)] {
        let at = out.len();
        put(&mut out, format, &header(kind, at, rows), |_| {});
    }
    if format.version >= VERSION_3 {
        let at = out.len();
        put(&mut out, format, &header(Kind::KeyedRows, at, 4..6), |out| {
            put_keys(out, &[row_key()]);
            put_rows(out, b"fivesix", &[0, 0, 0, 0, 4, 7], &(4..6));
        });
    }
    if format.version >= VERSION {
        let at = out.len();
        put(&mut out, format, &header(Kind::Open, at, 0..0), |out| {
            put_layout(out, &sharded_layout());
        });
    }
    out
}

fn frame_at(format: FrameFormat, segment: &[u8], index: usize) -> usize {
    scan(segment, format, 0).frames[index].offset as usize
}

#[test]
fn each_version_writes_its_golden_bytes() {
    for (format, golden) in ALL {
        assert!(segment(format) == golden, "a change of the format needs a new version");
    }
}

#[test]
fn each_version_reads_its_golden_bytes() {
    for (format, golden) in ALL {
        assert_eq!(read_segment_header(golden), SegmentHeader::Known(format));
        let scan = scan(golden, format, 0);
        assert!(scan.damage.is_empty() && scan.torn.is_empty() && scan.end == golden.len() as u64);
        let kinds: Vec<_> = scan
            .frames
            .iter()
            .map(|frame| (frame.header.kind, frame.header.rows.clone()))
            .collect();
        let keyed = (format.version >= VERSION_3).then_some((Kind::KeyedRows, 4..6));
        let sharded = (format.version >= VERSION).then_some((Kind::Open, 0..0));
        assert_eq!(
            kinds,
            [
                (Kind::Open, 0..0),
                (Kind::Rows, 0..3),
                (Kind::Rows, 3..4),
                (Kind::Seal, 0..4),
                (Kind::Split, 0..4),
                (Kind::Done, 2..4),
                (Kind::Moved, 0..0)
            ]
            .into_iter()
            .chain(keyed.clone())
            .chain(sharded.clone())
            .collect::<Vec<_>>()
        );
        if let Some((kind, _)) = keyed {
            let (keys, rows) = read_rows(kind, scan.frames[7].body, 2).unwrap();
            assert_eq!((keys, rows.slice(0..2)), (vec![row_key()], &b"fivesix"[..]));
            for length in 0..scan.frames[7].body.len() {
                assert!(read_rows(kind, &scan.frames[7].body[..length], 2).is_none(), "{length}");
            }
        }
        if sharded.is_some() {
            let body = scan.frames[8].body;
            assert_eq!(read_layout(body), Some(sharded_layout()));
            let without_shard = body.len() - 46;
            for length in without_shard + 1..body.len() {
                assert_eq!(read_layout(&body[..length]), None, "{length}");
            }
        }
        assert_eq!(read_layout(scan.frames[0].body), Some(layout()));
        let rows = Rows::read(scan.frames[1].body, 3).unwrap();
        assert_eq!(rows.lengths().collect::<Vec<_>>(), [3, 0, 5]);
        assert_eq!((rows.slice(0..1), rows.slice(1..3)), (&b"one"[..], &b"three"[..]));
        assert_eq!(Rows::read(scan.frames[2].body, 1).unwrap().slice(0..1), b"four");
        assert!(Rows::read(scan.frames[1].body, 2).is_none());
    }
}

#[test]
fn segment_headers_are_distinguished() {
    let mut newer = GOLDEN.to_vec();
    newer[8] = 5;
    assert_eq!(read_segment_header(&newer), SegmentHeader::Version(5));
    let mut damaged = GOLDEN.to_vec();
    damaged[13] ^= 1;
    assert_eq!(read_segment_header(&damaged), SegmentHeader::Foreign);
    assert_eq!(
        read_segment_header(b"another file, which happens to be here"),
        SegmentHeader::Foreign
    );
    // A header with nothing after it is torn, with any bytes.
    for torn in [
        &b""[..],
        &GOLDEN[..SEGMENT_HEADER - 1],
        &[0; SEGMENT_HEADER],
        &damaged[..SEGMENT_HEADER],
    ] {
        assert_eq!(read_segment_header(torn), SegmentHeader::Torn);
    }
}

#[test]
fn one_flipped_bit_costs_one_frame() {
    for (format, golden) in ALL {
        let whole = scan(golden, format, 0);
        for at in SEGMENT_HEADER..golden.len() {
            let mut bytes = golden.to_vec();
            bytes[at] ^= 0x10;
            let found = scan(&bytes, format, 0);
            let hit = whole
                .frames
                .iter()
                .rposition(|frame| frame.offset <= at as u64)
                .unwrap();
            let left = whole.frames.iter().enumerate().filter(|(index, _)| *index != hit);
            assert!(
                left.map(|(_, frame)| frame.offset)
                    .eq(found.frames.iter().map(|frame| frame.offset)),
                "byte {at}"
            );
        }
    }
}

#[test]
fn synced_bytes_count_as_damaged_and_unsynced_bytes_as_torn() {
    for (format, golden) in ALL {
        let [rows, second] = [1, 2].map(|index| frame_at(format, golden, index));
        // Damage in the first batch, which the second one confirms to be on disk.
        let mut damaged = golden.to_vec();
        damaged[rows - 1] ^= 1;
        let found = scan(&damaged, format, 0);
        assert_eq!(found.damage, [SEGMENT_HEADER as u64..rows as u64]);
        assert_eq!(found.end, golden.len() as u64);
        assert!(found.frames.iter().all(|frame| !frame.is_after_tear));

        // Damage in the last batch.
        let last = scan(golden, format, 0).frames.len() - 1;
        let end = frame_at(format, golden, last);
        for torn in [&golden[..golden.len() - 1], &golden[..end + 3], &golden[..end]] {
            let found = scan(torn, format, 0);
            assert_eq!((found.damage.len(), found.end), (0, end as u64));
        }
        // The second batch lacks its beginning, and a whole frame of the same batch follows.
        let [seal, split] = [3, 4].map(|index| frame_at(format, golden, index));
        let mut torn = golden[..split].to_vec();
        torn[seal - 1] ^= 1;
        let found = scan(&torn, format, 0);
        assert!(found.damage.is_empty());
        assert_eq!(
            (found.torn, found.end),
            (vec![second as u64..seal as u64], split as u64)
        );
        let is_after_tear: Vec<_> = found.frames.iter().map(|frame| frame.is_after_tear).collect();
        assert_eq!(is_after_tear, [false, false, true]);
    }
}

#[test]
fn a_frame_forged_by_a_client_is_not_read() {
    let guessed = FrameFormat::new(Salt(0));
    let mut forged = Vec::new();
    put(&mut forged, guessed, &header(Kind::Open, 1 << 40, 0..0), |out| {
        put_layout(out, &layout());
    });
    let mut segment = segment_header(FORMAT).to_vec();
    put(&mut segment, FORMAT, &header(Kind::Rows, SEGMENT_HEADER, 0..1), |out| {
        put_rows(out, &forged, &[forged.len() as u32], &(0..1));
    });
    // Damage the frame that contains the forged one.
    segment[SEGMENT_HEADER + 12] ^= 1;
    assert!(scan(&segment, FORMAT, 0).frames.is_empty());
}

#[test]
fn the_checksum_of_a_range_equals_that_of_its_bytes() {
    let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * i % 251) as u8).collect();
    let checksums = PrefixChecksums::of(&bytes);
    for (start, end) in [(0, 0), (0, 10_000), (1, 5), (1023, 1024), (1024, 4096), (777, 9_999)] {
        let expected = crc32c::crc32c_append(SALT.0, &bytes[start..end]);
        assert_eq!(checksums.of_range(SALT, start..end), expected, "{start}..{end}");
    }
}

/// Returns texts that look like headers, each of which claims all bytes to the end of the
/// segment.
fn lookalikes(format: FrameFormat, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < bytes {
        let start = out.len();
        put(&mut out, format, &header(Kind::Rows, 1 << 20, 0..1), |_| {});
        let length = (bytes - start) as u32;
        let fields = out.len() - FIELDS;
        out[fields..fields + 4].copy_from_slice(&length.to_le_bytes());
    }
    out
}

#[test]
fn the_search_after_damage_is_linear() {
    for format in [FORMAT_1, FORMAT] {
        let mut segment = segment_header(format).to_vec();
        let text = lookalikes(format, 7 << 20);
        put(&mut segment, format, &header(Kind::Rows, SEGMENT_HEADER, 0..1), |out| {
            put_rows(out, &text, &[text.len() as u32], &(0..1));
        });
        let end = segment.len();
        put(&mut segment, format, &header(Kind::Seal, end, 0..1), |_| {});
        // A damaged header does not state the end of its body.
        segment[SEGMENT_HEADER + 4] ^= 1;
        let started = std::time::Instant::now();
        let found = scan(&segment, format, 0);
        let took = started.elapsed();
        assert_eq!(found.frames.len(), 1);
        assert_eq!(found.damage, [SEGMENT_HEADER as u64..end as u64]);
        // The search took half a minute when it trusted the length in each text.
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    }
}
