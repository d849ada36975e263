//! Record: what the collector keeps about an upload, in a file beside the upload's own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::private;

/// The version of the file.
const VERSION: u8 = 1;

/// The number of hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// The id of an upload. It cannot be guessed, since its path is the permission to change the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::collect::upload) struct UploadId(pub(super) u128);

impl UploadId {
    /// Returns a new id from the random numbers of the operating system; `None` without any.
    pub(super) fn new() -> Option<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(u128::from_le_bytes(bytes)))
    }

    fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// Returns the path of the upload.
    pub(super) fn location(self) -> String {
        format!("/upload/{}", self.text())
    }

    fn text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Returns the file with the bytes of the upload.
    pub(super) fn data_file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.data", self.text()))
    }

    pub(super) fn record_file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.text()))
    }
}

/// Returns the id in the path of an upload.
pub(in crate::collect::upload) fn upload_id(path: &str) -> Option<UploadId> {
    UploadId::parse(path.strip_prefix("/upload/")?)
}

/// What the collector keeps about an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u8,
    /// The path and the query of the route.
    pub(super) target: String,
    /// The length of the upload, in bytes.
    pub(super) length: u64,
    /// The type of the text, if the client has named one.
    pub(super) media_type: Option<String>,
    /// The end of the upload's time, in seconds since 1970.
    pub(super) expires_s: u64,
    /// Whether all bytes are there, so that the file has been decoded, or would be next.
    pub(super) is_complete: bool,
    /// The first of the bytes whose checksum is not checked yet, if a request with one is in progress.
    pub(super) unchecked_from: Option<u64>,
    /// The answer to the whole upload, once it is decoded: its status and its body.
    pub(super) report: Option<(u16, String)>,
}

impl Record {
    pub(super) fn new(target: &str, length: u64, media_type: Option<String>, expires_s: u64) -> Self {
        Self {
            version: VERSION,
            target: target.to_owned(),
            length,
            media_type,
            expires_s,
            is_complete: false,
            unchecked_from: None,
            report: None,
        }
    }

    /// Writes the record, and returns once it survives a loss of power.
    pub(super) fn write(&self, id: UploadId, folder: &Path) -> io::Result<()> {
        let (path, unfinished) = (id.record_file(folder), folder.join(format!("{}.new", id.text())));
        let mut file = private::open(OpenOptions::new().write(true).create(true).truncate(true), &unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        fs::rename(unfinished, path)?;
        File::open(folder)?.sync_all()
    }

    /// Returns the id and the record in a file; `None` if it is not one of an upload.
    pub(super) fn read(path: &Path) -> Option<(UploadId, Self)> {
        let id = UploadId::parse(path.file_name()?.to_str()?.strip_suffix(".json")?)?;
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.version == VERSION).then_some((id, record))
    }
}
