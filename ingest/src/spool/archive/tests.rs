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
        disk::segment_path,
        frame::SEGMENT_HEADER,
        inspect,
        links::{Consumer, LinkName, SegmentLinks},
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
        let links = Arc::new(SegmentLinks::open(folder, Consumer::Archive).unwrap());
        let layouts = TableLayouts::of(&SCHEMA);
        let (spool, log) = Spool::open_with(folder, layouts, LIMITS, vec![Arc::clone(&links)]).unwrap();
        let blocks = LinkedBlocks::new(links, |_| false);
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
        let mut found = Vec::new();
        let is_known = |id| known.contains(&id);
        self.blocks.next(usize::MAX, is_known, &mut found).unwrap();
        let (package, count) = pack(
            &self.blocks.links,
            &found.iter().collect::<Vec<_>>(),
            &mut self.blocks.failures,
        )
        .unwrap();
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
    // The header of an earlier frame may have the same number.
    let at = bytes.windows(4).rposition(|window| window == row).unwrap();
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

/// Reading from the first bytes of this file is an I/O error, as from a bad sector.
#[cfg(target_os = "linux")]
const BAD_SECTOR: &str = "/proc/self/mem";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_that_cannot_be_read_counts_as_damaged_after_some_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    node.append(0..6).await;
    let mut found = Vec::new();
    while found.is_empty() {
        node.blocks.next(usize::MAX, |_| false, &mut found).unwrap();
    }
    node.append(6..9).await;
    let link = node.blocks.links.path(found[0].link);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(BAD_SECTOR, &link).unwrap();
    let blocks: Vec<_> = found.iter().collect();
    let (links, failures) = (&node.blocks.links, &mut node.blocks.failures);
    for _ in 1..3 {
        pack(links, &blocks, failures).unwrap_err();
        assert_eq!(failures.take_lost_bytes(), 0);
    }
    assert_eq!(pack(links, &blocks, failures).unwrap().1, 0);
    assert!(failures.take_lost_bytes() > 0);
    // The same of frames that were not read yet.
    node.blocks.next(usize::MAX, |_| false, &mut Vec::new()).unwrap();
    assert!(node.blocks.failures.take_lost_bytes() > 0);
    node.end();
}

#[tokio::test]
async fn a_link_without_a_header_of_this_build_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    node.append(0..3).await;
    node.end();
    let torn = folder.path().join("archive/0000000000000009-0000000a.link");
    fs::write(&torn, "ROWM").unwrap();
    let newer = folder.path().join("archive/0000000000000008-0000000a.link");
    fs::write(&newer, [b"ROWMILL\0", [0xff; 24].as_slice()].concat()).unwrap();
    let mut node = Node::open(folder.path());
    let mut archived = BTreeMap::new();
    node.archive(&mut archived);
    assert_eq!(sorted(&archived), [0, 1, 2]);
    assert!(torn.exists() && newer.exists(), "another build may read them");
    node.end();
}

#[tokio::test]
async fn a_segment_that_goes_without_a_link_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path());
    fs::remove_dir_all(folder.path().join("archive")).unwrap();
    node.append(0..1).await;
    let links = Arc::clone(&node.blocks.links);
    assert_eq!(links.take_lost_bytes(), 0);
    fs::remove_file(segment_path(folder.path(), 1)).unwrap();
    links.link_missing(|_| false).unwrap();
    assert!(links.take_lost_bytes() > SEGMENT_HEADER as u64);
    links.link_missing(|_| false).unwrap();
    assert_eq!(links.take_lost_bytes(), 0, "each counts once");
    node.end();
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_system_without_links_is_an_error_of_the_start() {
    use std::os::unix::fs::MetadataExt;
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(folder.path()) == device(other.path()) {
        return;
    }
    SegmentLinks::open(folder.path(), Consumer::Archive).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the probe is removed");
    fs::remove_dir(folder.path().join("archive")).unwrap();
    std::os::unix::fs::symlink(other.path(), folder.path().join("archive")).unwrap();
    let error = SegmentLinks::open(folder.path(), Consumer::Archive).unwrap_err();
    assert!(error.to_string().starts_with("the archive needs hard links"), "{error}");
}

#[tokio::test]
async fn a_block_of_a_longer_age_is_not_sealed_for_the_archive_before_the_spool_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::open(folder.path());
    for reader in node.spool.readers() {
        reader.set_block_age(Duration::from_secs(3600));
    }
    node.append(0..3).await;
    let mut archived = BTreeMap::new();
    node.spool.seal_older(Duration::ZERO, |_| true);
    node.append(3..4).await;
    node.archive(&mut archived);
    assert!(archived.is_empty(), "{archived:?}");
    node.spool.close();
    node.spool.seal_older(Duration::ZERO, |_| true);
    while archived.is_empty() {
        thread::sleep(Duration::from_millis(1));
        node.archive(&mut archived);
    }
    assert_eq!(sorted(&archived), [0, 1, 2, 3]);
    node.end();
}
