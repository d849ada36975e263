//! Gather: a body becomes bytes, within its bounds of size, time and memory.
//!
//! A body of one frame, as nearly all of them are, is taken as it is. The clock is started, and memory is booked, only when the body
//! is not there yet, or comes in pieces.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::budget::{Booking, RequestMemory, SpoolFull};

/// The bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The largest body that is taken, in bytes.
    pub(crate) max_bytes: usize,
    /// The time that it may take to come.
    pub(crate) timeout: Duration,
}

/// Why a body could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadBodyError {
    /// It is larger than allowed.
    TooLarge,
    /// It did not come in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The requests in flight take all the memory that they may.
    SpoolFull,
}

impl From<SpoolFull> for ReadBodyError {
    fn from(SpoolFull: SpoolFull) -> Self {
        Self::SpoolFull
    }
}

/// A whole body.
#[derive(Debug)]
pub(crate) struct ReadyBody {
    pub(crate) bytes: Bytes,
    /// What has been booked for it; none for a small body that did not have to be waited for.
    pub(crate) booking: Option<Booking>,
}

/// The least memory of a body that comes in pieces; it spares small ones to grow again and again.
const FIRST_CAPACITY: usize = 16 << 10;

/// What a connection holds while its body is waited for, beside head and body: hyper's buffer, and the request itself.
const CONNECTION_BYTES: usize = 8 << 10;

/// What a header takes beside its name and its value.
const HEADER_BYTES: usize = 64;

/// Returns about how much memory a request takes without its body.
fn bytes_without_body(parts: &Parts) -> usize {
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    CONNECTION_BYTES + target + headers.sum::<usize>()
}

pin_project! {
    /// Waits for the whole of a body.
    #[derive(Debug)]
    pub(crate) struct ReadBody<A> {
        #[pin]
        body: Option<A>,
        pieces: Pieces,
        limits: BodyLimits,
        is_too_large: bool,
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<A> ReadBody<A> {
    /// Waits for nothing.
    pub(crate) fn nothing() -> Self {
        Self::of(
            None,
            BodyLimits {
                max_bytes: 0,
                timeout: Duration::ZERO,
            },
            false,
        )
    }

    /// Waits for `body`. One that is announced to be too large is not waited for.
    pub(crate) fn new(body: A, limits: BodyLimits) -> Self
    where
        A: Body,
    {
        let size = body.size_hint();
        let is_too_large = size.lower() > limits.max_bytes as u64;
        let mut gather = Self::of(Some(body), limits, is_too_large);
        let exact = size.exact().and_then(|exact| usize::try_from(exact).ok());
        gather.pieces.longest = exact.unwrap_or(usize::MAX).min(limits.max_bytes);
        gather
    }

    fn of(body: Option<A>, limits: BodyLimits, is_too_large: bool) -> Self {
        Self {
            body,
            pieces: Pieces::default(),
            limits,
            is_too_large,
            sleep: None,
        }
    }
}

impl<A: Body> ReadBody<A> {
    /// Waits for the whole body of the request that `parts` are of, and books what it takes meanwhile in `memory`.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &Parts,
        memory: &Arc<RequestMemory>,
    ) -> Poll<Result<ReadyBody, ReadBodyError>> {
        let mut this = self.project();
        if *this.is_too_large {
            return Poll::Ready(Err(ReadBodyError::TooLarge));
        }
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(this.pieces.join()));
        };
        loop {
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    this.pieces.book(parts, memory)?;
                    let timeout = this.limits.timeout;
                    ready!(
                        this.sleep
                            .get_or_insert_with(|| Box::pin(sleep(timeout)))
                            .as_mut()
                            .poll(cx)
                    );
                    return Poll::Ready(Err(ReadBodyError::TimedOut));
                }
            };
            match frame {
                None => return Poll::Ready(Ok(this.pieces.join())),
                Some(Err(_)) => return Poll::Ready(Err(ReadBodyError::Broken)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if this.pieces.len() + data.remaining() > this.limits.max_bytes {
                        return Poll::Ready(Err(ReadBodyError::TooLarge));
                    }
                    this.pieces.push(data, parts, memory)?;
                }
            }
        }
    }
}

/// What has come of a body.
#[derive(Debug, Default)]
struct Pieces {
    first: Bytes,
    /// All of it, once there is more than one piece.
    joined: Vec<u8>,
    /// The most that it can become.
    longest: usize,
    booking: Option<Booking>,
}

impl Pieces {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, mut data: impl Buf, parts: &Parts, memory: &Arc<RequestMemory>) -> Result<(), SpoolFull> {
        let length = self.len() + data.remaining();
        if self.len() == 0 {
            // Bytes give themselves away without a copy.
            self.first = data.copy_to_bytes(data.remaining());
            return Ok(());
        }
        if length > self.joined.capacity() {
            let doubled = self.joined.capacity().saturating_mul(2).max(FIRST_CAPACITY);
            let capacity = doubled.min(self.longest).max(length);
            self.book(parts, memory)?
                .grow_to(bytes_without_body(parts) + capacity)?;
            self.joined.reserve_exact(capacity - self.joined.len());
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.put(data);
        Ok(())
    }

    /// Books the request as it is, if nothing is booked yet.
    fn book(&mut self, parts: &Parts, memory: &Arc<RequestMemory>) -> Result<&mut Booking, SpoolFull> {
        if self.booking.is_none() {
            let mut booking = memory.booking();
            booking.grow_to(bytes_without_body(parts) + self.len())?;
            self.booking = Some(booking);
        }
        self.booking.as_mut().ok_or(SpoolFull)
    }

    fn join(&mut self) -> ReadyBody {
        let joined = std::mem::take(&mut self.joined);
        ReadyBody {
            bytes: match joined.is_empty() {
                true => std::mem::take(&mut self.first),
                false => joined.into(),
            },
            booking: self.booking.take(),
        }
    }
}
