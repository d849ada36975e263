//! The reasons why a spool cannot be opened.

use std::{fmt, io, path::PathBuf};

use crate::block::frame_format::VERSION;

/// The reason why a spool could not be opened. Recovery has changed nothing but torn and damaged
/// ends of segments.
#[derive(Debug)]
pub enum SpoolError {
    /// Another process is using the spool.
    InUse(PathBuf),
    /// A file system operation failed.
    Io(PathBuf, io::Error),
    /// A segment has a version that this build does not read.
    Version {
        /// The segment's number.
        segment: u64,
        /// The segment's version.
        version: u32,
    },
    /// A file with the name of a segment is not a segment.
    Foreign {
        /// The number in the file's name.
        segment: u64,
    },
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "{}: another process is using this spool; two collectors need two data folders",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Version { segment, version } => write!(
                f,
                "segment {segment:016} of the spool has version {version}, this program knows versions up to {}; \
                 let the program that wrote it deliver it (`rowmill spool replay`)",
                VERSION
            ),
            Self::Foreign { segment } => write!(
                f,
                "file {segment:016} in the spool's folder is not a spool segment, or its beginning is damaged; \
                 move it out of the folder to start without it"
            ),
        }
    }
}

impl std::error::Error for SpoolError {}
