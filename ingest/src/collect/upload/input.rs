//! Input: the body of an upload as its decoder reads it, decompressed.

use std::{
    io::{self, BufRead, Read},
    sync::Arc,
};

use crate::{
    collect::{
        content_coding::{coding_of_file, is_expansion, streamed},
        upload::{
            frame_queue::{End, FrameQueue, Frames},
            stop::Stop,
        },
    },
    request::body::BodyError,
};

/// The number of bytes at the start of a file that name its compression.
const MAGIC_BYTES: usize = 4;

/// A body that arrives, decompressed.
pub(super) struct Input {
    queue: Arc<FrameQueue>,
    reader: Box<dyn Read + Send>,
    /// The number of decompressed bytes.
    length: u64,
}

impl Input {
    /// Returns the body of a queue. Waits for its first bytes, which name its compression if the
    /// `Content-Encoding` does not.
    ///
    /// # Errors
    ///
    /// The `Content-Encoding` is not known.
    pub(super) async fn open(queue: Arc<FrameQueue>, content_encoding: &[u8]) -> Result<Self, Stop> {
        queue.readable(MAGIC_BYTES).await;
        let mut start = [0; MAGIC_BYTES];
        let count = queue.peek(&mut start);
        let coding = match content_encoding.trim_ascii() {
            b"" => coding_of_file(&start[..count]).as_bytes(),
            declared => declared,
        };
        let frames: Box<dyn BufRead + Send> = Box::new(Frames::new(Arc::clone(&queue)));
        let reader = match streamed(coding, frames) {
            // The end of the queue says more than the decoder's error.
            Err(BodyError::Coding) => return Err(queue.ended().unwrap_or(End::Complete).into()),
            reader => reader?,
        };
        Ok(Self {
            queue,
            reader,
            length: 0,
        })
    }

    /// Reads the next bytes: 0 at the end of the body, and `None` if none is there for now.
    ///
    /// # Errors
    ///
    /// The body ends early, or cannot be decompressed.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Stop> {
        let count = match self.reader.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err(self.queue.ended().unwrap_or(End::Complete).into()),
        };
        self.length += count as u64;
        match is_expansion(self.length, self.queue.received()) {
            true => Err(BodyError::Expansion.into()),
            false => Ok(Some(count)),
        }
    }

    /// Waits until bytes are there, or the end of the body.
    pub(super) async fn readable(&mut self) {
        self.queue.readable(1).await;
    }

    /// Returns the number of bytes that have arrived.
    pub(super) fn received(&self) -> u64 {
        self.queue.received()
    }
}
