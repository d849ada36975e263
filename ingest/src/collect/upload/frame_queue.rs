//! Frame queue: the part of a streamed body between its connection and its decoder.
//!
//! The connection pushes frames while there is space, so the socket is read no faster than the
//! decoder takes them. The decoder reads as from a file that has no more bytes for now.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, BufRead, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};

/// The number of bytes at which the queue takes no further frame. A frame has up to some 400 KiB.
const MAX_BYTES: usize = 256 << 10;

/// The way in which a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The body is complete.
    Complete,
    /// The connection broke.
    Cut,
    /// The body made no progress.
    TimedOut,
    /// The file of the body cannot be read.
    Failed,
}

/// The frames of a body that have arrived, and are not read yet.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The length of all frames so far.
    received: u64,
    end: Option<End>,
    /// The connection, which waits for space.
    sender: Option<Waker>,
    /// The decoder, which waits for a frame.
    receiver: Option<Waker>,
}

impl FrameQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `Ready` if the queue has space for another frame.
    pub(super) fn poll_space(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.bytes < MAX_BYTES {
            return Poll::Ready(());
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Adds a frame.
    pub(super) fn push(&self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let mut state = self.state();
        state.bytes += frame.len();
        state.received += frame.len() as u64;
        state.frames.push_back(frame);
        wake(state.receiver.take());
    }

    /// Ends the body; the first end counts.
    pub(super) fn end(&self, end: End) {
        let mut state = self.state();
        state.end.get_or_insert(end);
        wake(state.receiver.take());
    }

    /// Returns the end of the body once all frames are read.
    pub(super) fn ended(&self) -> Option<End> {
        let state = self.state();
        state.end.filter(|_| state.frames.is_empty())
    }

    /// Returns the length of all frames so far, in bytes.
    pub(super) fn received(&self) -> u64 {
        self.state().received
    }

    /// Waits until `count` bytes can be read, or all of a body that has ended.
    pub(super) async fn readable(&self, count: usize) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.bytes >= count || state.end.is_some() {
                return Poll::Ready(());
            }
            state.receiver = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Removes and returns the next frame.
    pub(super) fn take(&self) -> Option<Bytes> {
        let mut state = self.state();
        let frame = state.frames.pop_front()?;
        state.bytes -= frame.len();
        if state.bytes < MAX_BYTES {
            wake(state.sender.take());
        }
        Some(frame)
    }

    /// Returns the first bytes of the body, as many as have arrived and `start` has space for.
    pub(super) fn peek(&self, start: &mut [u8]) -> usize {
        let state = self.state();
        let bytes = state.frames.iter().flatten();
        start.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The body as a reader. While no frame is there, a read fails with `WouldBlock`; after a cut, with
/// `ConnectionAborted`.
#[derive(Debug)]
pub(super) struct Frames {
    queue: Arc<FrameQueue>,
    current: Bytes,
}

impl Frames {
    pub(super) fn new(queue: Arc<FrameQueue>) -> Self {
        let current = Bytes::new();
        Self { queue, current }
    }
}

impl BufRead for Frames {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() {
            match self.queue.take() {
                Some(frame) => self.current = frame,
                None => match self.queue.ended() {
                    None => return Err(io::ErrorKind::WouldBlock.into()),
                    Some(End::Complete) => {}
                    Some(End::Cut | End::TimedOut | End::Failed) => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_full_queue_has_space_once_a_frame_is_taken() {
        let queue = FrameQueue::default();
        let cx = Context::from_waker(Waker::noop());
        queue.push(Bytes::from(vec![b'x'; MAX_BYTES - 1]));
        assert!(queue.poll_space(&cx).is_ready());
        queue.push(Bytes::from_static(b"yz"));
        assert!(queue.poll_space(&cx).is_pending());
        assert_eq!(queue.take().unwrap().len(), MAX_BYTES - 1);
        assert!(queue.poll_space(&cx).is_ready());
    }

    #[test]
    fn a_reader_waits_for_frames_and_fails_after_a_cut() {
        let kind = |result: io::Result<usize>| result.unwrap_err().kind();
        for (end, last) in [
            (End::Complete, None),
            (End::Cut, Some(io::ErrorKind::ConnectionAborted)),
            (End::TimedOut, Some(io::ErrorKind::ConnectionAborted)),
        ] {
            let queue = Arc::new(FrameQueue::default());
            let mut frames = Frames::new(Arc::clone(&queue));
            let mut buffer = [0; 3];
            assert_eq!(kind(frames.read(&mut buffer)), io::ErrorKind::WouldBlock);
            queue.push(Bytes::from_static(b"abcd"));
            queue.end(end);
            queue.end(End::Complete);
            assert_eq!(queue.peek(&mut buffer), 3);
            assert_eq!(frames.read(&mut buffer).unwrap(), 3);
            assert_eq!(frames.read(&mut buffer).unwrap(), 1);
            match last {
                None => assert_eq!(frames.read(&mut buffer).unwrap(), 0),
                Some(last) => assert_eq!(kind(frames.read(&mut buffer)), last),
            }
        }
    }
}
