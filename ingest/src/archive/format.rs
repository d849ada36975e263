//! The formats of an archive's objects.

/// The format of the objects that a collector writes to its archive.
///
/// ```
/// use rowmill_ingest::archive::{Archive, ArchiveFormat};
///
/// let archive = Archive::new("file:///archive".parse()?);
/// assert_eq!(archive.format, ArchiveFormat::Blocks);
/// # Ok::<(), rowmill_ingest::archive::InvalidArchiveUrl>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArchiveFormat {
    /// The blocks of the spool, which a replay sends as they were first.
    Blocks,
    /// Parquet, which ClickHouse and other programs read. A replay does not read it.
    Parquet,
}

impl ArchiveFormat {
    /// Returns the end of the names of objects in this format.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Blocks => ".blocks.zst",
            Self::Parquet => ".parquet",
        }
    }

    /// Returns the format of the object with this name, and the name without its end; `None` for
    /// another file.
    pub(super) fn of_object(name: &str) -> Option<(Self, &str)> {
        let of = |format: Self| Some((format, name.strip_suffix(format.extension())?));
        [Self::Blocks, Self::Parquet].into_iter().find_map(of)
    }
}
