//! Finds and reads the objects of an archive, for a replay.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path as ObjectPath};

use super::{
    format::ArchiveFormat,
    object::{Description, MAX_BYTES, decode, opened, parts_of, table_of},
    url::{ArchiveError, ArchiveUrl},
};
use crate::spool::archive::{ReplayedBlock, unpack_blocks};

/// The rows of an archive that a replay is about: those of blocks that were opened in a time. A block
/// is opened by its first row, and has rows of about a second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The first moment; `None` for the beginning.
    pub from: Option<SystemTime>,
    /// The moment before which blocks were opened; `None` for the end.
    pub to: Option<SystemTime>,
    /// The table; `None` for all.
    pub table: Option<String>,
}

impl Selection {
    fn has(&self, first: SystemTime, last: SystemTime) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }
}

/// An object of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivedObject {
    /// The object's name in its store.
    pub name: String,
    /// The table of its rows.
    pub table: String,
    /// The format of the object. A replay reads objects of blocks.
    pub format: ArchiveFormat,
    /// The time at which its first block was opened.
    pub first: SystemTime,
    /// The time at which its last block was opened.
    pub last: SystemTime,
    /// The object's length, in bytes.
    pub bytes: u64,
}

impl ArchiveUrl {
    /// Returns the objects that may have rows of a selection, oldest first. The address may be that of
    /// one collector, or the common prefix of several.
    ///
    /// # Errors
    /// The store cannot be read, or the folder does not exist.
    pub async fn objects(&self, selection: &Selection) -> Result<Vec<ArchivedObject>, ArchiveError> {
        let listed = async { self.store()?.list(Some(&self.prefix)).try_collect::<Vec<_>>().await };
        let listed = listed.await.map_err(|error| ArchiveError {
            object: self.to_string(),
            reason: format!("the objects cannot be listed: {error}"),
            is_of_store: true,
        })?;
        let object = |meta: object_store::ObjectMeta| {
            let (format, first, last) = parts_of(meta.location.filename()?)?;
            // TABLE/DAY/FILE
            let parts: Vec<_> = meta.location.parts().collect();
            let table = parts.len().checked_sub(3).and_then(|at| parts.get(at))?;
            let table = table_of(table.as_ref());
            let is_selected = selection.table.as_ref().is_none_or(|selected| *selected == table);
            (is_selected && selection.has(first, last)).then(|| ArchivedObject {
                name: meta.location.to_string(),
                table,
                format,
                first,
                last,
                bytes: meta.size,
            })
        };
        let mut objects: Vec<_> = listed.into_iter().filter_map(object).collect();
        objects.sort_by(|a, b| (a.first, &a.name).cmp(&(b.first, &b.name)));
        Ok(objects)
    }

    /// Returns the blocks of an object that belong to a selection.
    ///
    /// # Errors
    /// The object cannot be read, is longer than an object of the collector, or this build does not
    /// understand it.
    pub(crate) async fn blocks(
        &self,
        object: &ArchivedObject,
        selection: &Selection,
    ) -> Result<Vec<ReplayedBlock>, ArchiveError> {
        let failed = |reason: String| ArchiveError {
            object: object.name.clone(),
            reason,
            is_of_store: false,
        };
        let path = ObjectPath::parse(&object.name).map_err(|error| failed(error.to_string()))?;
        let bytes = async {
            let object = self.store()?.get(&path).await?;
            match object.meta.size > MAX_BYTES {
                true => Ok(None),
                false => object.bytes().await.map(Some),
            }
        };
        let bytes = bytes.await.map_err(|error| ArchiveError {
            is_of_store: matches!(error, object_store::Error::Generic { .. }),
            ..failed(format!("it cannot be read: {error}"))
        })?;
        let bytes = bytes.ok_or_else(|| failed(format!("it is longer than {MAX_BYTES} bytes")))?;
        let table = object.table.clone();
        let blocks = tokio::task::spawn_blocking(move || {
            let (description, package) = decode(&bytes)?;
            drop(bytes);
            let blocks = unpack_blocks(&package)?;
            check(&table, &description, &blocks)?;
            Ok(blocks)
        });
        let blocks = blocks.await.map_err(|error| failed(error.to_string()))?;
        let mut blocks = blocks.map_err(failed)?;
        blocks.retain(|block| selection.has(opened(block.id), opened(block.id)));
        Ok(blocks)
    }
}

/// Checks that an object has what its folder and its description promise.
///
/// # Errors
/// The reason why it has not.
fn check(table: &str, description: &Description, blocks: &[ReplayedBlock]) -> Result<(), String> {
    let tables = blocks.iter().map(|block| &**block.layout.schema_table());
    let mut tables = tables.chain([&*description.table]);
    if let Some(other) = tables.find(|other| *other != table) {
        return Err(format!("it has rows of the table `{other}` in the folder of `{table}`"));
    }
    let rows: u64 = blocks.iter().map(|block| block.rows.ends.len() as u64).sum();
    if rows != description.rows {
        return Err(format!("it has {rows} rows, and its description {}", description.rows));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, time::Duration};

    use uuid::Uuid;

    use super::*;
    use crate::{
        archive::object,
        block::{content::BlockRows, layout::InsertTarget},
        table::dead_letter::REJECTED,
    };

    const NAME: &str = "20261130T221500.123Z-20261130T221505.123Z-1-2.blocks.zst";

    #[tokio::test]
    async fn a_table_is_found_in_the_archives_of_all_collectors() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["collector-1/a/day", "collector-2/a/day", "collector-2/b/day", "c/day"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(NAME), "rows").unwrap();
        }
        fs::write(root.path().join("c/day/notes.txt"), "no object").unwrap();
        let objects = async |path: &str, selection: Selection| {
            let url: ArchiveUrl = format!("file://{}{path}", root.path().display()).parse().unwrap();
            let objects = url.objects(&selection).await.unwrap();
            objects.into_iter().map(|object| object.name).collect::<Vec<_>>()
        };
        let of = |table: &str| Selection {
            table: Some(table.to_owned()),
            ..Selection::default()
        };
        let names =
            |folders: &[&str]| -> Vec<_> { folders.iter().map(|folder| format!("{folder}/day/{NAME}")).collect() };
        assert_eq!(objects("", of("a")).await, names(&["collector-1/a", "collector-2/a"]));
        assert_eq!(objects("/collector-2", of("a")).await, names(&["a"]));
        assert_eq!(objects("", Selection::default()).await.len(), 4);
        assert!(objects("", of("collector-1")).await.is_empty());
    }

    #[tokio::test]
    async fn an_object_that_is_long_or_gone_or_foreign_is_an_error_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let url: ArchiveUrl = format!("file://{}", root.path().display()).parse().unwrap();
        let object = |name: &str| ArchivedObject {
            name: name.to_owned(),
            table: "a".to_owned(),
            format: ArchiveFormat::Blocks,
            first: SystemTime::UNIX_EPOCH,
            last: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            bytes: 0,
        };
        fs::write(root.path().join("foreign"), "rows").unwrap();
        // Takes no disk.
        let long = fs::File::create(root.path().join("long")).unwrap();
        long.set_len(MAX_BYTES + 1).unwrap();
        for (name, reason) in [
            ("foreign", "does not begin with the description"),
            ("long", "longer than"),
            ("gone", "cannot be read"),
        ] {
            let error = url.blocks(&object(name), &Selection::default()).await.unwrap_err();
            assert!(error.reason().contains(reason), "{name}: {error}");
            assert!(!error.is_of_store(), "{name}: {error}");
        }
    }

    #[test]
    fn the_blocks_are_those_of_the_folder_and_of_the_description() {
        let layout = InsertTarget::of(&REJECTED);
        let id = Uuid::from_u128(7 << 76 | 5);
        let blocks = [ReplayedBlock {
            id,
            layout: InsertTarget::clone(&layout),
            rows: BlockRows {
                bytes: vec![1; 3].into(),
                ends: [1, 2, 3].into(),
            },
        }];
        let described = |rows| object::Description::new(&layout, &[id], rows);
        assert_eq!(check(REJECTED.name, &described(3), &blocks), Ok(()));
        let error = check("other", &described(3), &blocks).unwrap_err();
        assert!(
            error.contains("rows of the table `rejected` in the folder of `other`"),
            "{error}"
        );
        let error = check(REJECTED.name, &described(2), &blocks).unwrap_err();
        assert!(error.contains("3 rows, and its description 2"), "{error}");
    }
}
