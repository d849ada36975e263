//! The journal: which blocks are archived, over restarts. The fan-out has one of its own, without plans.
//!
//! The file `journal` beside the links has lines of text, each with its CRC-32C in front:
//!
//! ```text
//! plan OBJECT LINK:BLOCK …    the object that is uploaded next, and its blocks
//! stored                      the store has this object
//! known LINK BLOCK …          archived blocks of a link
//! end LINK                    all blocks of a link are archived or given up, and the link is removed
//! forget LINK                 no segment can have a block of this link any more
//! ```
//!
//! A block stays known until the spool has removed its segment: the spool may have moved it to another
//! segment, whose link has it again. The block is then known under both links, and so on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{private, spool::links::LinkName};

/// The name of the file, and of a new one that is not complete yet.
const FILE: &str = "journal";
const NEW_FILE: &str = "journal.new";

/// The length of the file at which it is rewritten, if most of it is of no use any more.
const LONG_BYTES: u64 = 1 << 20;

/// The object that is uploaded next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) object: String,
    /// The blocks, in their order in the object.
    pub(crate) blocks: Vec<(LinkName, Uuid)>,
}

/// The archived blocks, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    /// `None` before the first change, and after a failure.
    file: Option<File>,
    bytes: u64,
    /// The bytes of the file when it was rewritten.
    dense_bytes: u64,
    /// The archived blocks, and the links that have each.
    known: HashMap<Uuid, Vec<LinkName>>,
    ended: BTreeSet<LinkName>,
    plan: Option<Plan>,
}

impl Journal {
    /// Reads the journal in a folder.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let mut journal = Self {
            folder: folder.to_owned(),
            file: None,
            bytes: 0,
            dense_bytes: 0,
            known: HashMap::new(),
            ended: BTreeSet::new(),
            plan: None,
        };
        let text = match fs::read(folder.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for (at, line) in lines.iter().enumerate() {
            if checked(line).is_none_or(|line| journal.apply(line).is_none()) {
                // A crash cuts the last line.
                if at + 1 < lines.len() {
                    tracing::error!(
                        folder = %folder.display(),
                        "the journal of blocks that have arrived is damaged: blocks that it does not know are archived, or sent to their topics, a second time"
                    );
                }
                break;
            }
        }
        Ok(journal)
    }

    /// Returns whether a block is archived.
    pub(crate) fn knows(&self, block: Uuid) -> bool {
        self.known.contains_key(&block)
    }

    /// Returns whether all blocks of a link are archived or given up.
    pub(crate) fn has_ended(&self, link: LinkName) -> bool {
        self.ended.contains(&link)
    }

    /// Returns the links that have archived blocks.
    pub(crate) fn links(&self) -> BTreeSet<LinkName> {
        self.known.values().flatten().copied().collect()
    }

    /// Records that links have archived blocks, too. Blocks that are not archived are ignored.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub(crate) fn met(&mut self, blocks: &[(LinkName, Uuid)]) -> io::Result<()> {
        let is_new = |(link, block): &&(LinkName, Uuid)| {
            let known = self.known.get(block);
            known.is_some_and(|links| !links.contains(link))
        };
        let new: Vec<_> = blocks.iter().filter(is_new).copied().collect();
        self.know(&new)
    }

    /// Records that these blocks of links have arrived. A loss of power may undo that; the end of the
    /// process does not.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub(crate) fn know(&mut self, blocks: &[(LinkName, Uuid)]) -> io::Result<()> {
        let mut lines: BTreeMap<LinkName, String> = BTreeMap::new();
        for (link, block) in blocks {
            let line = lines.entry(*link).or_insert_with(|| format!("known {link}"));
            _ = write!(line, " {block}");
        }
        // In memory first: a failed record is made up for by the next one, which is the whole journal.
        for line in lines.values() {
            _ = self.apply(line);
        }
        lines.values().try_for_each(|line| self.record(line, false))
    }

    /// Returns the links all of whose blocks are archived or given up.
    pub(crate) fn ended(&self) -> impl Iterator<Item = LinkName> + '_ {
        self.ended.iter().copied()
    }

    /// Returns the object that is to be uploaded next.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// Records durably which object is uploaded next.
    ///
    /// # Errors
    /// The disk's. The plan then does not count.
    pub(crate) fn set_plan(&mut self, plan: Plan) -> io::Result<()> {
        let line = plan_line(&plan);
        self.plan = Some(plan);
        let recorded = self.record(&line, true);
        if recorded.is_err() {
            self.plan = None;
        }
        recorded
    }

    /// Records durably that the store has the object of the plan.
    ///
    /// # Errors
    /// The disk's. This process knows the blocks, and the next record contains them.
    pub(crate) fn stored(&mut self) -> io::Result<()> {
        _ = self.apply("stored");
        self.record("stored", true)
    }

    /// Records that all blocks of a link are archived or given up.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub(crate) fn end(&mut self, link: LinkName) -> io::Result<()> {
        self.ended.insert(link);
        self.record(&format!("end {link}"), false)
    }

    /// Counts the links of known blocks as ended if they are not among the existing ones.
    pub(crate) fn end_missing(&mut self, existing: &[LinkName]) {
        let links = self.links();
        self.ended.extend(links.iter().filter(|link| !existing.contains(link)));
    }

    /// Records that no segment can have a block of a link any more.
    ///
    /// # Errors
    /// As [`stored`](Self::stored).
    pub(crate) fn forget(&mut self, link: LinkName) -> io::Result<()> {
        let line = format!("forget {link}");
        _ = self.apply(&line);
        self.record(&line, false)
    }

    /// Changes the journal in memory by a line.
    fn apply(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "plan" => {
                let object = words.next()?.to_owned();
                let blocks = words.map(|word| {
                    let (link, block) = word.split_once(':')?;
                    Some((link.parse().ok()?, block.parse().ok()?))
                });
                let blocks = blocks.collect::<Option<_>>()?;
                self.plan = Some(Plan { object, blocks });
            }
            "stored" => {
                let blocks = self.plan.take().map(|plan| plan.blocks).unwrap_or_default();
                for (link, block) in blocks {
                    self.add(link, block);
                }
            }
            "known" => {
                let link: LinkName = words.next()?.parse().ok()?;
                for word in words {
                    self.add(link, word.parse().ok()?);
                }
            }
            "end" => _ = self.ended.insert(words.next()?.parse().ok()?),
            "forget" => {
                let link: LinkName = words.next()?.parse().ok()?;
                self.ended.remove(&link);
                self.known.retain(|_, links| {
                    links.retain(|of| *of != link);
                    !links.is_empty()
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn add(&mut self, link: LinkName, block: Uuid) {
        let links = self.known.entry(block).or_default();
        if !links.contains(&link) {
            links.push(link);
        }
    }

    /// Writes a line, or rewrites the journal, which has the line's change already.
    fn record(&mut self, line: &str, durable: bool) -> io::Result<()> {
        let is_sparse = self.bytes > LONG_BYTES && self.bytes / 2 > self.dense_bytes;
        let Some(file) = self.file.as_mut().filter(|_| !is_sparse) else {
            return self.rewrite();
        };
        let line = with_checksum(line);
        let written = file.write_all(line.as_bytes());
        let written = written.and_then(|()| if durable { file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => self.bytes += line.len() as u64,
            // The end of the file is unknown.
            Err(_) => self.file = None,
        }
        written
    }

    fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        let mut by_link: HashMap<LinkName, String> = HashMap::new();
        let known = self.known.iter();
        for (block, link) in known.flat_map(|(block, links)| links.iter().map(move |link| (block, link))) {
            let line = by_link.entry(*link).or_insert_with(|| format!("known {link}"));
            _ = write!(line, " {block}");
        }
        let ended = self.ended.iter().map(|link| format!("end {link}"));
        let plan = self.plan.iter().map(plan_line);
        let text: String = by_link
            .into_values()
            .chain(ended)
            .chain(plan)
            .map(|line| with_checksum(&line))
            .collect();
        let (new, name) = (self.folder.join(NEW_FILE), self.folder.join(FILE));
        let mut file = private::open(OpenOptions::new().create(true).truncate(true).write(true), &new)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&new, &name)?;
        File::open(&self.folder)?.sync_all()?;
        self.file = Some(file);
        self.bytes = text.len() as u64;
        self.dense_bytes = self.bytes;
        Ok(())
    }
}

fn plan_line(plan: &Plan) -> String {
    let mut line = format!("plan {}", plan.object);
    for (link, block) in &plan.blocks {
        _ = write!(line, " {link}:{block}");
    }
    line
}

fn with_checksum(line: &str) -> String {
    format!("{:08x} {line}\n", crc32c::crc32c(line.as_bytes()))
}

/// Returns a line without its checksum; `None` if it is not as it was written.
fn checked(line: &[u8]) -> Option<&str> {
    let (checksum, line) = str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let is_intact = u32::from_str_radix(checksum, 16).is_ok_and(|sum| sum == crc32c::crc32c(line.as_bytes()));
    is_intact.then_some(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_at_each_cut_of_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b): (LinkName, LinkName) = ("0000000000000001-0000000a".parse().unwrap(), "2-b".parse().unwrap());
        let ids: Vec<_> = (1..6).map(Uuid::from_u128).collect();
        let plan = |blocks: &[(LinkName, Uuid)]| Plan {
            object: "t/x.blocks.zst".to_owned(),
            blocks: blocks.to_vec(),
        };
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.set_plan(plan(&[(a, ids[0]), (b, ids[1])])).unwrap();
        journal.stored().unwrap();
        journal.end(a).unwrap();
        let next = plan(&[(b, ids[2])]);
        journal.set_plan(next.clone()).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        for length in last..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let journal = Journal::open(folder.path()).unwrap();
            assert!(journal.knows(ids[0]) && journal.knows(ids[1]) && !journal.knows(ids[2]));
            assert!(journal.has_ended(a) && !journal.has_ended(b));
            assert_eq!(journal.plan(), (length == whole.len()).then_some(&next));
        }
        // The next change rewrites the file.
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.forget(a).unwrap();
        journal.stored().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert!(!journal.knows(ids[0]) && journal.knows(ids[1]) && journal.knows(ids[2]));
        assert!(!journal.has_ended(a) && journal.plan().is_none());
    }
    #[test]
    fn a_block_is_known_until_each_of_its_links_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b): (LinkName, LinkName) = ("1-a".parse().unwrap(), "2-b".parse().unwrap());
        let [moved, unknown] = [1, 2].map(Uuid::from_u128);
        let mut journal = Journal::open(folder.path()).unwrap();
        journal
            .set_plan(Plan {
                object: "t/x.blocks.zst".to_owned(),
                blocks: vec![(a, moved)],
            })
            .unwrap();
        journal.stored().unwrap();
        journal.met(&[(b, moved), (b, unknown)]).unwrap();
        assert!(!journal.knows(unknown));
        journal.forget(a).unwrap();
        // From the lines of the changes, and from a rewritten file.
        for _ in 0..2 {
            journal = Journal::open(folder.path()).unwrap();
            assert!(journal.knows(moved));
            assert_eq!(journal.links(), [b].into());
            journal.rewrite().unwrap();
        }
        journal.forget(b).unwrap();
        assert!(!Journal::open(folder.path()).unwrap().knows(moved));
    }
}
