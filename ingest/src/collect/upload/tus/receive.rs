//! Receive: from the connection to the file of an upload.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::task::spawn_blocking;

use super::{
    headers::Checksum,
    store::{Held, Store, StoreError},
};
use crate::{
    collect::upload::frame_queue::{End, FrameQueue},
    private,
};

/// The number of bytes after which the file is written to disk, so that the last write is short.
const SYNC_BYTES: u64 = 8 << 20;

/// The reason why a request receives no bytes, or not all of them.
#[derive(Debug)]
pub(super) enum ReceiveError {
    /// The bytes are refused, and the offset is unchanged.
    Refused(StatusCode, &'static str),
    /// The connection broke, or made no progress.
    Cut(End),
    /// The store is full, or its disk fails.
    Store(StoreError),
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Appends the frames of a request to the file of an upload, from byte `offset` on. The bytes before a
/// cut stay, unless the request has a checksum.
pub(super) async fn receive(
    store: &Store,
    held: &mut Held,
    queue: &FrameQueue,
    offset: u64,
    mut checksum: Option<Checksum>,
) -> Result<(), ReceiveError> {
    let has_checksum = checksum.is_some();
    let mut file = open(store, held, offset)?;
    let mut length = offset;
    let received = loop {
        queue.readable(1).await;
        let mut frames = Vec::new();
        while let Some(frame) = queue.take() {
            frames.push(frame);
        }
        if frames.is_empty() {
            match queue.ended() {
                None => continue,
                Some(End::Complete) => break Ok(()),
                Some(end) => break Err(ReceiveError::Cut(end)),
            }
        }
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        if length + bytes > held.upload.length {
            break Err(ReceiveError::Refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the upload is longer than its Upload-Length",
            ));
        }
        if let Err(error) = store.book(bytes) {
            break Err(error.into());
        }
        if let Some(checksum) = &mut checksum {
            frames.iter().for_each(|frame| checksum.update(frame));
        }
        let is_sync = (length + bytes) / SYNC_BYTES > length / SYNC_BYTES;
        file = match write(file, frames, is_sync).await {
            Ok(file) => file,
            Err(error) => {
                // The next request removes what was written of them.
                store.release(bytes);
                return Err(error.into());
            }
        };
        length += bytes;
    };
    let checked = match checksum.filter(|_| received.is_ok()) {
        Some(checksum) => checksum
            .finish()
            .map_err(|status| ReceiveError::Refused(status, "the checksum of the body is another one")),
        None => Ok(()),
    };
    let is_kept = match (&received, &checked) {
        (Ok(()), Ok(())) => true,
        // Bytes of a cut request are right as far as they have come.
        (Err(ReceiveError::Cut(_) | ReceiveError::Store(_)), _) => !has_checksum,
        _ => false,
    };
    if !is_kept {
        file.set_len(offset)?;
        store.release(length - offset);
        length = offset;
    }
    let file = spawn_blocking(move || file.sync_data().map(|()| file)).await;
    drop(file.map_err(|_| io::Error::from(io::ErrorKind::Interrupted))??);
    let is_all = length == held.upload.length;
    held.upload
        .set_offset(if is_all { length.saturating_sub(1) } else { length });
    received.and(checked)
}

/// Opens the file for the bytes from `offset` on, and removes those that were there.
fn open(store: &Store, held: &Held, offset: u64) -> io::Result<File> {
    let path = held.upload.id.data_file(store.folder());
    let mut file = private::open(OpenOptions::new().write(true).create(true).truncate(false), &path)?;
    let length = file.metadata()?.len();
    file.set_len(offset)?;
    store.release(length.saturating_sub(offset));
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

/// Writes frames, and returns the file once they are written; on the disk, if `sync` says so.
async fn write(mut file: File, frames: Vec<Bytes>, sync: bool) -> io::Result<File> {
    let written = spawn_blocking(move || {
        for frame in frames {
            file.write_all(&frame)?;
        }
        if sync {
            file.sync_data()?;
        }
        Ok(file)
    });
    written.await.map_err(|_| io::Error::from(io::ErrorKind::Interrupted))?
}
