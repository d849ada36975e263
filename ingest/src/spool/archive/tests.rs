#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, OpenOptions},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use uuid::Uuid;

use super::{LinkedBlocks, pack, unpack_blocks};
use crate::{
    ack::Ack,
    block::BlockLimits,
    deliver::tests::fake_server::SCHEMA,
    spool::{
        LogLimits, Next, Outcome, Parked, Spool, SpoolLimits, TableLayouts,
        frame::SEGMENT_HEADER,
        inspect,
        links::{ArchiveLinks, LinkName},
    },
};

const LIMITS: SpoolLimits = SpoolLimits {
    blocks: BlockLimits {
        rows: 6,
        bytes: 1 << 20,
        age: Duration::ZERO,
    },
    memory_bytes: 64 << 20,
    log: LogLimits {
        segment_bytes: 2 << 10,
        max_bytes: 48 << 10,
    },
    keys: 10,
};

/// A collector's spool with an archive, and what the archive has.
struct Node {
    spool: Spool,
    log: thread::JoinHandle<()>,
    blocks: LinkedBlocks,
}

impl Node {
    fn open(folder: &Path) -> Self {
        let links = Arc::new(ArchiveLinks::open(folder).unwrap());
        let layouts = TableLayouts::of(&SCHEMA);
        let (spool, log) = Spool::open_with(folder, layouts, LIMITS, Some(Arc::clone(&links))).unwrap();
        let blocks = LinkedBlocks::new(links, |_| false).unwrap();
        Self { spool, log, blocks }
    }

    fn end(self) {
        self.spool.stop();
        self.log.join().unwrap();
    }

    /// Appends rows until the disk is full, and waits until they are on disk. Returns the first row that
    /// was not appended.
    async fn append(&self, rows: std::ops::Range<u32>) -> u32 {
        let table = self.spool.id_of(SCHEMA.tables[0]);
        for row in rows.clone() {
            let bytes = row.to_le_bytes();
            let receipt = self
                .spool
                .appender()
                .append(table, Ack::Spooled, |out| out.extend_from_slice(&bytes));
            let Ok(receipt) = receipt else { return row };
            assert_eq!(receipt.await, Ack::Spooled);
        }
        rows.end
    }

    /// Stores the oldest block.
    async fn store_one(&self) {
        let reader = self.spool.readers().swap_remove(0);
        if reader.has_rows(&|_, _| false)
            && let Next::Rows(block, part) = reader.next_block(Parked::NONE).await
        {
            reader.settle(&block, &part, Outcome::Stored);
        }
    }

    /// Adds the new blocks to the archive, as a journal and a store would have them.
    fn archive(&mut self, archived: &mut BTreeMap<Uuid, Vec<u32>>) {
        let known: HashSet<_> = archived.keys().copied().collect();
        let found = self.blocks.next(usize::MAX, |id| known.contains(&id)).unwrap();
        let (package, count) = pack(&self.blocks.links, &found.iter().collect::<Vec<_>>()).unwrap();
        let mut rows = 0;
        for block in unpack_blocks(&package).unwrap() {
            let values = block.rows.bytes.chunks_exact(4);
            let values: Vec<_> = values
                .map(|row| u32::from_le_bytes(*row.first_chunk().unwrap()))
                .collect();
            rows += values.len() as u64;
            assert!(archived.insert(block.id, values).is_none(), "a block is found twice");
        }
        assert_eq!(rows, count);
        for name in self.blocks.links.names().unwrap() {
            if self.blocks.is_read(name) {
                self.blocks.remove(name).unwrap();
            }
        }
    }
}

fn sorted(archived: &BTreeMap<Uuid, Vec<u32>>) -> Vec<u32> {
    let mut rows: Vec<_> = archived.values().flatten().copied().collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn each_row_is_found_once_whatever_the_spool_does_with_its_block() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let (mut archived, mut next) = (BTreeMap::new(), 0);
        let mut node = Node::open(folder.path());
        for _ in 0..60 {
            match random.u8(..8) {
                // Some blocks wait for long, so the spool moves them to other segments.
                0..=2 => {
                    let count = random.u32(1..20);
                    next = node.append(next..next + count).await;
                }
                3..=5 => node.store_one().await,
                6 => node.archive(&mut archived),
                _ => {
                    node.end();
                    node = Node::open(folder.path());
                }
            }
        }
        node.end();
        // The blocks that were open at the end have no end on disk.
        let mut node = Node::open(folder.path());
        node.archive(&mut archived);
        assert_eq!(sorted(&archived), (0..next).collect::<Vec<_>>(), "seed {seed}");
        node.end();
    }
}

#[tokio::test]
async fn a_failed_write_is_not_read_and_damage_costs_its_rows_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    node.append(0..6).await;
    // The segment has more bytes than the spool has synced.
    let names = node.blocks.links.names().unwrap();
    let path = node.blocks.links.path(names[0]);
    let synced = fs::read(&path).unwrap();
    let mut archived = BTreeMap::new();
    let (is_active, readable) = node.blocks.links.readable(names[0]);
    assert!(is_active && readable.is_some_and(|length| length <= synced.len() as u64));
    node.append(6..18).await;
    node.archive(&mut archived);
    node.end();
    let mut bytes = fs::read(&path).unwrap();
    let row = 14_u32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == row).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    archived.clear();
    let mut node = Node::open(folder.path());
    node.archive(&mut archived);
    let found = sorted(&archived);
    assert!(found.starts_with(&(0..6).collect::<Vec<_>>()), "{found:?}");
    assert!(!found.contains(&14), "{found:?}");
    node.end();
}

#[tokio::test]
async fn a_segment_without_a_link_gets_one_and_its_name_tells_it_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, log) = Spool::open(folder.path(), TableLayouts::of(&SCHEMA), LIMITS).unwrap();
    let table = spool.id_of(SCHEMA.tables[0]);
    let appended = spool
        .appender()
        .append(table, Ack::Spooled, |out| out.extend_from_slice(&7_u32.to_le_bytes()));
    appended.unwrap().await;
    spool.stop();
    log.join().unwrap();
    drop(spool);
    assert_eq!(inspect(folder.path()).unwrap().archive, None);

    // Switched on later, the archive gets what waits.
    let mut node = Node::open(folder.path());
    let report = inspect(folder.path()).unwrap().archive.unwrap();
    assert_eq!((report.segments, report.only_bytes), (1, 0));
    let mut archived = BTreeMap::new();
    node.archive(&mut archived);
    assert_eq!(sorted(&archived), [7]);
    node.store_one().await;
    node.end();

    // Another segment with the number 1 is another link.
    let mut node = Node::open(folder.path());
    node.append(8..9).await;
    let names = node.blocks.links.names().unwrap();
    assert_eq!(
        names.last().unwrap().to_string().parse::<LinkName>(),
        Ok(*names.last().unwrap())
    );
    node.store_one().await;
    let other = folder.path().join("archive/0000000000000001-zzzz.link");
    OpenOptions::new().write(true).create_new(true).open(&other).unwrap();
    assert_eq!(node.blocks.links.names().unwrap(), names, "other files are no links");
    node.spool.close();
    node.archive(&mut archived);
    assert!(fs::metadata(node.blocks.links.path(names[0])).is_ok_and(|link| link.len() > SEGMENT_HEADER as u64));
    node.end();
}

#[tokio::test]
async fn a_block_that_grows_while_older_ones_wait_is_sealed_for_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    node.append(0..3).await;
    let mut archived = BTreeMap::new();
    let long = Duration::from_secs(3600);
    node.spool.seal_older(long, |_| true);
    node.spool.seal_older(Duration::ZERO, |table| table == "another");
    node.append(3..4).await;
    node.archive(&mut archived);
    assert!(archived.is_empty(), "{archived:?}");
    node.spool
        .seal_older(Duration::ZERO, |table| table == SCHEMA.tables[0].name);
    while archived.is_empty() {
        thread::sleep(Duration::from_millis(1));
        node.archive(&mut archived);
    }
    assert_eq!(sorted(&archived), [0, 1, 2, 3]);
    node.end();
}
