//! The options of `rowmill serve` for uploads that go on after a cut.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use rowmill_ingest::layer::ResumableUploads;

use super::value::{bytes, seconds};

#[derive(Debug, Clone, Args)]
pub(crate) struct UploadOptions {
    /// Maximum length of all resumable uploads together that are on disk until they are complete.
    #[arg(
        long,
        env = "ROWMILL_UPLOAD_DISK_BYTES",
        default_value = "10GiB",
        value_parser = bytes::<u64>,
        value_name = "BYTES"
    )]
    pub(crate) upload_disk_bytes: u64,

    /// Time without a request after which a resumable upload is removed, such as 3600 or 24h.
    #[arg(long, env = "ROWMILL_UPLOAD_EXPIRY_SECONDS", default_value = "24h", value_parser = seconds, value_name = "DURATION")]
    pub(crate) upload_expiry_seconds: Duration,
}

/// Returns the folder of the resumable uploads.
pub(crate) fn uploads_folder(data: &Path) -> PathBuf {
    data.join("uploads")
}

impl UploadOptions {
    /// Returns the options of the layer, for a data folder.
    pub(crate) fn resumable(&self, data: &Path) -> ResumableUploads {
        ResumableUploads {
            max_bytes: self.upload_disk_bytes,
            expiry: self.upload_expiry_seconds,
            ..ResumableUploads::new(&uploads_folder(data))
        }
    }
}
