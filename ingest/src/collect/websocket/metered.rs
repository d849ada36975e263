//! A stream that bounds the memory and the time of a message that arrives.
//!
//! The library for WebSockets keeps an incomplete message to itself. This stream sees its bytes: it
//! books their memory against the budget of all requests, and applies the time limits of a body.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    budget::{Booking, RequestMemory},
    request::progress::{BodyTimeouts, Progress},
};

/// The bytes of an incomplete message that need no booking: those of the buffer that each session
/// has.
const FREE_BYTES: usize = 8 << 10;

/// The bytes of a masked control frame besides its payload.
const CONTROL_FRAME_BYTES: usize = 6;

/// The reason why a message is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageError {
    /// The frames of the message are too long together.
    TooLong,
    /// The requests in progress have used up their memory budget.
    OutOfMemory,
    /// The message did not arrive in time.
    TimedOut,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is too long",
            Self::OutOfMemory => "the memory for requests is full",
            Self::TimedOut => "the message did not arrive in time",
        })
    }
}

impl std::error::Error for MessageError {}

impl MessageError {
    /// Returns the error that a [`Metered`] stream has returned, if it is one of its own.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// The limits of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLimits {
    /// The most bytes of the message's frames, headers included.
    pub(super) max_bytes: usize,
    pub(super) timeout: BodyTimeouts,
}

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    limits: MessageLimits,
    memory: Arc<RequestMemory>,
    /// The bytes since the last complete message, without control frames.
    bytes: usize,
    /// The same with control frames: it only grows until the message is complete.
    arrived: usize,
    booking: Option<Booking>,
    progress: Option<Box<Progress>>,
    /// Whether any byte has arrived since [`was_quiet`](Self::was_quiet) was called.
    has_read: bool,
}

impl<S> Metered<S> {
    pub(super) fn new(inner: S, limits: MessageLimits, memory: Arc<RequestMemory>) -> Self {
        Self {
            inner,
            limits,
            memory,
            bytes: 0,
            arrived: 0,
            booking: None,
            progress: None,
            has_read: false,
        }
    }

    /// Notes that a message is complete, and returns its booking. Bytes of the next message that
    /// have already arrived are in the buffer of the session and do not count.
    pub(super) fn end_message(&mut self) -> Option<Booking> {
        (self.bytes, self.arrived) = (0, 0);
        self.progress = None;
        self.booking.take()
    }

    /// Notes that a control frame has arrived, which is part of no message.
    pub(super) fn skip_control_frame(&mut self, payload_bytes: usize) {
        self.bytes = self.bytes.saturating_sub(payload_bytes + CONTROL_FRAME_BYTES);
        if self.bytes == 0 {
            self.end_message();
        }
    }

    /// Returns whether no byte has arrived since the last call.
    pub(super) fn was_quiet(&mut self) -> bool {
        !std::mem::take(&mut self.has_read)
    }

    fn count(&mut self, bytes: usize) -> Result<(), MessageError> {
        self.has_read |= bytes > 0;
        self.bytes += bytes;
        self.arrived += bytes;
        if self.bytes > self.limits.max_bytes {
            return Err(MessageError::TooLong);
        }
        if self.bytes > FREE_BYTES {
            let booking = self.booking.get_or_insert_with(|| self.memory.booking());
            // Doubled, so that a long message takes few bookings.
            let needed = match self.bytes > booking.bytes() {
                true => self.bytes.next_power_of_two().min(self.limits.max_bytes),
                false => self.bytes,
            };
            booking.grow_to(needed).map_err(|_| MessageError::OutOfMemory)?;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buffer) {
            read?;
            return Poll::Ready(this.count(buffer.filled().len() - before).map_err(io::Error::other));
        }
        if this.bytes > 0 {
            let (timeout, arrived) = (this.limits.timeout, this.arrived);
            let progress = this
                .progress
                .get_or_insert_with(|| Box::new(Progress::new(timeout, arrived)));
            ready!(progress.poll(cx, timeout, arrived, false, || this.memory.is_tight()));
            return Poll::Ready(Err(io::Error::other(MessageError::TimedOut)));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
