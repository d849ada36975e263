//! Finds and reads the objects of an archive, for a replay.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path as ObjectPath};

use super::{
    object::{decode, folder, opened, table_of, times_of},
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
    /// The time at which its first block was opened.
    pub first: SystemTime,
    /// The time at which its last block was opened.
    pub last: SystemTime,
    /// The object's length, in bytes.
    pub bytes: u64,
}

impl ArchiveUrl {
    /// Returns the objects that may have rows of a selection, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn objects(&self, selection: &Selection) -> Result<Vec<ArchivedObject>, ArchiveError> {
        let prefix = match &selection.table {
            Some(table) => self.prefix.clone().join(folder(table)),
            None => self.prefix.clone(),
        };
        let listed = self.store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| ArchiveError {
            object: self.to_string(),
            reason: format!("the objects cannot be listed: {error}"),
        })?;
        let object = |meta: object_store::ObjectMeta| {
            let (first, last) = times_of(meta.location.filename()?)?;
            // TABLE/DAY/FILE
            let parts: Vec<_> = meta.location.parts().collect();
            let table = parts.len().checked_sub(3).and_then(|at| parts.get(at))?;
            selection.has(first, last).then(|| ArchivedObject {
                name: meta.location.to_string(),
                table: table_of(table.as_ref()),
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
    /// The object cannot be read, or this build does not understand it.
    pub(crate) async fn blocks(
        &self,
        object: &ArchivedObject,
        selection: &Selection,
    ) -> Result<Vec<ReplayedBlock>, ArchiveError> {
        let failed = |reason: String| ArchiveError {
            object: object.name.clone(),
            reason,
        };
        let path = ObjectPath::parse(&object.name).map_err(|error| failed(error.to_string()))?;
        let bytes = async { self.store.get(&path).await?.bytes().await };
        let bytes = bytes
            .await
            .map_err(|error| failed(format!("it cannot be read: {error}")))?;
        let blocks = tokio::task::spawn_blocking(move || unpack_blocks(&decode(&bytes)?.1)).await;
        let mut blocks = blocks.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        blocks.retain(|block| selection.has(opened(block.id), opened(block.id)));
        Ok(blocks)
    }
}
