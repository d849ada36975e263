#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path, sync::Arc, thread};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    package::Package,
    receive::{ReceiveError, Received},
};
use crate::{
    ack::Ack,
    block::{
        BlockLimits,
        parts::Part,
        row_key::{KeyHash, KeyRecord, RowKey},
        rows::RowBatch,
        sealed::SealedBlock,
    },
    deliver::tests::fake_server::SCHEMA,
    spool::{
        LogLimits, Next, Outcome, Parked, Spool, SpoolLimits, TableLayouts, TableReader, inspect,
        received_ids::ReceivedIds,
    },
};

mod servers;
mod shards;

const LIMITS: SpoolLimits = SpoolLimits {
    blocks: BlockLimits {
        rows: 8,
        bytes: 1 << 20,
        age: std::time::Duration::ZERO,
    },
    memory_bytes: 64 << 20,
    log: LogLimits {
        segment_bytes: 64 << 10,
        max_bytes: 8 << 20,
    },
    keys: 100,
};

/// A spool of a collector, on a real disk.
struct Node {
    spool: Spool,
    log: thread::JoinHandle<()>,
}

impl Node {
    fn open(folder: &Path) -> Self {
        Self::with_limits(folder, LIMITS)
    }

    fn with_limits(folder: &Path, limits: SpoolLimits) -> Self {
        let (spool, log) = Spool::open(folder, TableLayouts::of(&SCHEMA), limits).unwrap();
        Self { spool, log }
    }

    /// Ends the process, once its marks are written.
    fn end(self) {
        self.spool.stop();
        self.log.join().unwrap();
    }

    /// Appends rows of one byte each to the first table.
    fn append(&self, rows: std::ops::Range<u8>) {
        let table = self.spool.id_of(SCHEMA.tables[0]);
        for row in rows {
            let appended = self.spool.appender().append(table, Ack::Accepted, |out| out.push(row));
            assert!(appended.is_ok());
        }
    }

    fn reader(&self) -> TableReader {
        self.spool.readers().swap_remove(0)
    }

    /// Seals the first table's rows, and packs all its blocks.
    async fn pack(&self) -> Package {
        let mut blocks = self.reader().seal_all();
        let package = self.reader().pack(&mut blocks, usize::MAX).await.unwrap();
        assert!(blocks.is_empty());
        package
    }

    async fn receive(&self, package: &Package) -> Result<Received, ReceiveError> {
        self.spool.receive(package.bytes.clone()).await
    }

    /// Returns the tokens of the first table's parts, each with its rows.
    async fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let reader = self.reader();
        let mut all = Vec::new();
        for block in reader.seal_all() {
            let parts: Vec<Part> = block.state().parts.iter().collect();
            for part in parts {
                let rows = reader.rows(&block, &part).await.unwrap();
                assert_eq!(rows.ends.len(), part.len());
                all.push((block.token(&part), rows.bytes.to_vec()));
            }
        }
        all
    }

    /// Waits for the first table's oldest rows.
    async fn next(&self) -> (Arc<SealedBlock>, Part) {
        match self.reader().next_block(Parked::NONE).await {
            Next::Rows(block, part) => (block, part),
            other => panic!("{other:?}"),
        }
    }

    /// Stores all rows of the first table, and returns them.
    async fn deliver(&self) -> Vec<u8> {
        let reader = self.reader();
        let mut delivered = Vec::new();
        while reader.has_rows(&|_, _| false) {
            let (block, part) = self.next().await;
            delivered.extend_from_slice(&reader.rows(&block, &part).await.unwrap().bytes);
            reader.settle(&block, &part, Outcome::Stored);
        }
        delivered
    }
}

fn folders() -> [TempDir; 2] {
    [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]
}

fn taken(taken: usize, known: usize) -> Received {
    Received { taken, known }
}

#[tokio::test]
async fn a_block_keeps_its_tokens_its_cuts_and_what_is_done() {
    let [a, b] = folders();
    let from = Node::open(a.path());
    from.append(0..20);
    // 0..8 in two parts, the first one without a stored row; 8..16 whole; 16..20 still open.
    let (block, _) = from.next().await;
    from.reader().cut(&block, 5).await.unwrap();
    from.reader().settle(&block, &Part::from(2..3), Outcome::Stored);
    let before = from.parts().await;
    assert_eq!(
        before.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(),
        [4, 3, 8, 4],
        "the parts that are handed over"
    );

    let package = from.pack().await;
    let to = Node::open(b.path());
    assert_eq!(to.receive(&package).await.unwrap(), taken(3, 0));
    assert_eq!(to.parts().await, before);
    let is_in_doubt = |block: &Arc<SealedBlock>| {
        let state = block.state();
        state.parts.iter().all(|part| state.parts.is_in_doubt(&part))
    };
    assert!(to.reader().seal_all().iter().all(is_in_doubt));
    let counts = to.spool.counts().swap_remove(0);
    assert_eq!(
        (counts.rows_received, counts.rows_pending, counts.rows_on_disk),
        (19, 19, 19)
    );

    from.reader().handed_over(&package).unwrap();
    let counts = from.spool.counts().swap_remove(0);
    assert_eq!((counts.rows_handed_over, counts.rows_pending), (19, 0));
    from.end();
    assert!(inspect(a.path()).unwrap().blocks.is_empty());
    // Whatever happens to the memory of the process that has taken the blocks.
    to.end();
    let to = Node::open(b.path());
    assert_eq!(to.parts().await, before);
    assert!(inspect(b.path()).unwrap().quarantined.is_empty());
    to.end();
}

#[tokio::test]
async fn blocks_are_taken_once_however_often_they_are_given() {
    let [a, b] = folders();
    let from = Node::open(a.path());
    from.append(0..10);
    let first = from.pack().await;
    let to = Node::open(b.path());
    assert_eq!(to.receive(&first).await.unwrap(), taken(2, 0));
    // Their answer was lost, and more rows have come.
    from.append(10..12);
    let again = from.pack().await;
    assert_eq!(to.receive(&again).await.unwrap(), taken(1, 2));
    assert_eq!(to.deliver().await, (0..12).collect::<Vec<_>>());
    assert_eq!(to.receive(&again).await.unwrap(), taken(0, 3));
    to.end();
    // Nor does a restart forget them.
    let to = Node::open(b.path());
    assert_eq!(to.receive(&again).await.unwrap(), taken(0, 3));
    assert_eq!(to.deliver().await, [0; 0]);
    to.end();
    from.end();
}

#[tokio::test]
async fn of_two_requests_at_a_time_one_takes_the_blocks() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    from.append(0..8);
    let package = from.pack().await;
    let (one, other) = tokio::join!(to.receive(&package), to.receive(&package));
    let mut both = [one.unwrap().taken, other.unwrap().taken];
    both.sort_unstable();
    assert_eq!(both, [0, 1]);
    assert_eq!(to.deliver().await.len(), 8);
    from.end();
    to.end();
}

#[tokio::test]
async fn blocks_that_come_back_are_taken_again() {
    let [a, b] = folders();
    let (mut one, mut other) = (Node::open(a.path()), Node::open(b.path()));
    // A block of its own that stays keeps the first segment, with the mark of the other one.
    one.append(0..8);
    let (stays, _) = one.next().await;
    one.append(8..16);
    for round in 0..3 {
        let mut blocks = one.reader().seal_all();
        blocks.retain(|block| block.id != stays.id);
        let package = one.reader().pack(&mut blocks, usize::MAX).await.unwrap();
        assert_eq!(other.receive(&package).await.unwrap(), taken(1, 0), "round {round}");
        one.reader().handed_over(&package).unwrap();
        let back = other.pack().await;
        assert_eq!(one.receive(&back).await.unwrap(), taken(1, 0), "round {round}");
        other.reader().handed_over(&back).unwrap();
        one.end();
        other.end();
        (one, other) = (Node::open(a.path()), Node::open(b.path()));
    }
    let mut rows = one.deliver().await;
    rows.sort_unstable();
    assert_eq!(rows, (0..16).collect::<Vec<_>>());
    assert_eq!(other.deliver().await, [0; 0]);
    one.end();
    other.end();
}

#[tokio::test]
async fn a_changed_byte_is_found_and_nothing_is_taken() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    from.append(0..16);
    let package = from.pack().await;
    // The last four bytes of the header mean nothing.
    for at in (0..20).chain((24..package.bytes.len()).step_by(3)) {
        let mut changed = package.bytes.to_vec();
        changed[at] ^= 0x10;
        let error = to.spool.receive(changed.into()).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Unreadable(_)), "byte {at}: {error}");
        assert!(!error.is_transient());
    }
    for length in (0..package.bytes.len()).step_by(5) {
        let error = to.spool.receive(package.bytes.slice(..length)).await;
        // A package that ends between two blocks has only the first of them.
        let is_first_block = matches!(error, Ok(Received { taken: 1, .. }));
        assert!(is_first_block || error.is_err(), "{length} bytes: {error:?}");
    }
    from.end();
    to.end();
}

#[tokio::test]
async fn the_statement_of_another_process_is_not_used() {
    let [a, b] = folders();
    let to = Node::open(b.path());
    let package = {
        let from = Node::open(a.path());
        from.append(0..3);
        let package = from.pack().await;
        from.end();
        package
    };
    // A statement of the same length, under valid checksums.
    let layout = &package.blocks[0].0.layout;
    let (statement, hostile) = (layout.statement.as_bytes(), b"DROP TABLE t -- ");
    let at = package
        .bytes
        .windows(statement.len())
        .position(|window| window == statement);
    let mut changed = package.bytes.to_vec();
    changed[at.unwrap()..][..hostile.len()].copy_from_slice(hostile);
    let changed = with_checksums(&changed);
    assert_eq!(to.spool.receive(changed).await.unwrap(), taken(1, 0));
    assert_eq!(to.reader().seal_all()[0].layout.statement, layout.statement);
    to.end();
}

#[tokio::test]
async fn a_table_of_another_schema_is_refused() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    from.append(0..3);
    let package = from.pack().await;
    // The name, with its length before it.
    let name = b"\x01\0\0\0a";
    let at = package.bytes.windows(name.len()).position(|window| window == name);
    let mut changed = package.bytes.to_vec();
    changed[at.unwrap() + 4] = b'Z';
    let error = to.spool.receive(with_checksums(&changed)).await.unwrap_err();
    assert!(matches!(error, ReceiveError::UnknownTable(_)), "{error}");
    from.end();
    to.end();
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    from.append(0..3);
    let mut package = from.pack().await.bytes.to_vec();
    package[8..12].copy_from_slice(&9_u32.to_le_bytes());
    let error = to.spool.receive(package.into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the blocks have version 9, which this build does not read"
    );
    from.end();
    to.end();
}

#[tokio::test]
async fn a_full_spool_asks_to_come_again() {
    let [a, b] = folders();
    let mut limits = LIMITS;
    limits.log.max_bytes = 128 << 10;
    limits.log.segment_bytes = 16 << 10;
    let (from, to) = (Node::open(a.path()), Node::with_limits(b.path(), limits));
    let (mut refused, mut packages) = (0, 0);
    while refused < 3 {
        from.append(0..8);
        let package = from.pack().await;
        while let Err(error) = to.receive(&package).await {
            assert!(matches!(error, ReceiveError::Full) && error.is_transient(), "{error}");
            assert!(packages > 0, "one package fits");
            refused += 1;
            // The same blocks fit once some rows are stored and their segments are gone.
            to.deliver().await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        from.reader().handed_over(&package).unwrap();
        assert!(to.spool.disk_bytes() <= 128 << 10);
        packages += 1;
    }
    from.end();
    to.end();
}

#[tokio::test]
async fn idempotency_keys_stay_where_they_mean_something() {
    let [a, b] = folders();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    let table = SCHEMA.tables[0];
    let mut rows = RowBatch::default();
    rows.push(table, |out| out.push(7)).unwrap();
    let record = KeyRecord {
        hash: KeyHash(1),
        id: 1,
        expires_s: u32::MAX,
        fingerprint: 0,
    };
    let key = RowKey { rows: 0..1, record };
    let appended = from
        .spool
        .appender()
        .append_with_keys(from.spool.id_of(table), Ack::Spooled, &mut rows, &[key]);
    assert!(appended.is_ok());
    let package = from.pack().await;
    assert_eq!(to.receive(&package).await.unwrap(), taken(1, 0));
    from.reader().handed_over(&package).unwrap();
    from.end();
    to.end();
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    assert_eq!((from.spool.keys().counts().keys, to.spool.keys().counts().keys), (1, 0));
    assert_eq!(to.deliver().await, [7]);
    from.end();
    to.end();
}

#[tokio::test]
async fn rows_that_the_disk_has_damaged_are_left_out() {
    let [a, b] = folders();
    let from = Node::open(a.path());
    let table = SCHEMA.tables[0];
    let mut rows = RowBatch::default();
    (0..4).for_each(|row| rows.push(table, |out| out.push(row)).unwrap());
    let appended = from
        .spool
        .appender()
        .append_rows(from.spool.id_of(table), Ack::Accepted, &mut rows);
    assert!(appended.is_ok());
    from.next().await;
    from.end();
    // The rows are only on disk now, in one frame.
    let (from, to) = (Node::open(a.path()), Node::open(b.path()));
    let segment = fs::read_dir(a.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|extension| extension == "spool"));
    let segment = segment.min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(4).position(|window| window == [0, 1, 2, 3]);
    bytes[at.unwrap()] ^= 1;
    fs::write(&segment, bytes).unwrap();
    from.append(4..6);
    let package = from.pack().await;
    assert_eq!((package.blocks.len(), package.lost.len()), (1, 1));
    assert_eq!(to.receive(&package).await.unwrap(), taken(1, 0));
    from.reader().handed_over(&package).unwrap();
    let counts = from.spool.counts().swap_remove(0);
    assert_eq!(
        (counts.rows_handed_over, counts.rows_lost, counts.rows_pending),
        (2, 4, 0)
    );
    assert_eq!(to.deliver().await, [4, 5]);
    from.end();
    to.end();
}

#[test]
fn a_prepared_id_was_taken_if_its_block_waits() {
    let folder = tempfile::tempdir().unwrap();
    let [waits, gone, taken, given] = [1, 2, 3, 4].map(Uuid::from_u128);
    let ids = ReceivedIds::open(folder.path()).unwrap();
    ids.prepare(&[waits, gone]).unwrap();
    ids.prepare(&[taken, given]).unwrap();
    ids.confirm(&[taken, given]).unwrap();
    ids.remove(&[given]).unwrap();
    assert_eq!(
        [waits, gone, taken, given].map(|id| ids.contains(id)),
        [false, false, true, false]
    );
    drop(ids);
    // A write that a crash has cut off.
    let file = folder.path().join("received");
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend([3; 10]);
    fs::write(&file, bytes).unwrap();
    for _ in 0..2 {
        let ids = ReceivedIds::open(folder.path()).unwrap();
        ids.confirm_pending(|id| id == waits).unwrap();
        assert_eq!(
            [waits, gone, taken, given].map(|id| ids.contains(id)),
            [true, false, true, false]
        );
    }
}

#[test]
fn a_list_of_a_newer_program_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let ids = ReceivedIds::open(folder.path()).unwrap();
    ids.confirm(&[Uuid::from_u128(1)]).unwrap();
    let file = folder.path().join("received");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] = 2;
    let checksum = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let error = ReceivedIds::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("newer program"), "{error}");
}

/// Returns a package whose frames were changed, with the checksums of the changed bytes.
fn with_checksums(package: &[u8]) -> Bytes {
    let mut bytes = package.to_vec();
    let salt = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let mut at = 24;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
        let body = crc32c::crc32c_append(salt, &bytes[at + 52..at + 52 + length]);
        bytes[at + 8..at + 12].copy_from_slice(&body.to_le_bytes());
        let header = crc32c::crc32c_append(salt, &bytes[at + 8..at + 52]);
        bytes[at + 4..at + 8].copy_from_slice(&header.to_le_bytes());
        at += 52 + length;
    }
    bytes.into()
}
