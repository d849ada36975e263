//! Reads a body into bytes, within its limits of size, time and memory.
//!
//! Nearly all bodies have one frame, which is used without a copy. The timer starts and memory is
//! booked only if the body has not arrived yet or comes in pieces.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes};
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{
    budget::{Booking, RequestMemory, SpoolFull},
    request::{
        multipart::begins_with_bulk,
        progress::{BodyTimeouts, Progress},
        turns::{Turn, Turns},
    },
};

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The largest accepted body, in bytes.
    pub(crate) max_bytes: usize,
    /// The largest accepted body that is a JSON array, or a form with a file of many events, in bytes;
    /// not less than `max_bytes`.
    pub(crate) max_array_bytes: usize,
    /// The time limits of the body.
    pub(crate) timeout: BodyTimeouts,
}

impl BodyLimits {
    /// Returns the maximum length of a body that begins with `start`, in bytes.
    pub(crate) fn max_of(&self, start: &[u8]) -> usize {
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
        match start.trim_ascii_start().starts_with(b"[") || begins_with_bulk(start) {
            true => self.max_array_bytes,
            false => self.max_bytes,
        }
    }
}

/// The reason why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadBodyError {
    /// The body is larger than allowed.
    TooLarge,
    /// The body did not arrive in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The requests in progress have used up their memory budget.
    OutOfMemory,
}

impl From<SpoolFull> for ReadBodyError {
    fn from(_: SpoolFull) -> Self {
        Self::OutOfMemory
    }
}

/// A complete body.
#[derive(Debug)]
pub(crate) struct ReadyBody {
    pub(crate) bytes: Bytes,
    /// The memory booked for the body; `None` if it arrived at once in one frame.
    pub(crate) booking: Option<Booking>,
    /// The turn in which the body was read. It ends once the body is processed.
    pub(crate) turn: Turn,
}

/// The initial capacity for a body in pieces, which avoids repeated growth for small bodies.
const FIRST_CAPACITY: usize = 16 << 10;

/// The length from which on a body waits for its turn.
const BYTES_WITHOUT_TURN: usize = 8 << 10;

/// The memory of a connection that waits for a body, apart from head and body: hyper's buffer, and
/// the request itself.
const CONNECTION_BYTES: usize = 8 << 10;

/// The memory of a header apart from its name and its value.
const HEADER_BYTES: usize = 64;

/// Returns the approximate memory of a request without its body, in bytes.
fn bytes_without_body(parts: &Parts) -> usize {
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    CONNECTION_BYTES + target + headers.sum::<usize>()
}

pin_project! {
    /// Reads a whole body.
    #[derive(Debug)]
    pub(crate) struct ReadBody<A> {
        #[pin]
        body: Option<A>,
        pieces: Pieces,
        limits: BodyLimits,
        // Whether the declared length is too large for a body that is not an array.
        is_long: bool,
        // Whether the declared length is too large for any body.
        is_too_large: bool,
        turn: Turn,
        progress: Option<Box<Progress>>,
    }
}

impl<A> ReadBody<A> {
    /// Returns a reader of an empty body.
    pub(crate) fn empty() -> Self {
        Self::of(
            None,
            BodyLimits {
                max_bytes: 0,
                max_array_bytes: 0,
                timeout: BodyTimeouts::new(Duration::ZERO, Duration::ZERO, 0),
            },
        )
    }

    /// Returns a reader of `body`. It fails at once if the declared length is too large.
    pub(crate) fn new(body: A, limits: BodyLimits) -> Self
    where
        A: Body,
    {
        let size = body.size_hint();
        let mut reader = Self::of(Some(body), limits);
        reader.is_long = size.lower() > limits.max_bytes as u64;
        reader.is_too_large = size.lower() > limits.max_array_bytes as u64;
        let exact = size.exact().and_then(|exact| usize::try_from(exact).ok());
        let max_bytes = match reader.is_long {
            true => limits.max_array_bytes,
            false => limits.max_bytes,
        };
        reader.pieces.max_length = exact.unwrap_or(usize::MAX).min(max_bytes);
        reader
    }

    fn of(body: Option<A>, limits: BodyLimits) -> Self {
        Self {
            body,
            pieces: Pieces::default(),
            limits,
            is_long: false,
            is_too_large: false,
            turn: Turn::default(),
            progress: None,
        }
    }
}

impl<A: Body> ReadBody<A> {
    /// Reads the whole body of the request with `parts`, and books the memory that it takes in
    /// `memory`. A body in pieces waits for its turn.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &Parts,
        memory: &Arc<RequestMemory>,
        turns: &Turns,
    ) -> Poll<Result<ReadyBody, ReadBodyError>> {
        let mut this = self.project();
        if *this.is_too_large {
            return Poll::Ready(Err(ReadBodyError::TooLarge));
        }
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(this.pieces.join(this.turn)));
        };
        loop {
            let (length, max_length) = (this.pieces.len(), this.pieces.max_length);
            let is_turn =
                length < BYTES_WITHOUT_TURN || length >= max_length || this.turn.poll(cx, turns, max_length).is_ready();
            let frame = match is_turn {
                true => body.as_mut().poll_frame(cx),
                false => Poll::Pending,
            };
            let frame = match frame {
                Poll::Ready(frame) => {
                    this.turn.piece_came();
                    frame
                }
                Poll::Pending => {
                    this.turn.no_piece(cx);
                    this.pieces.book(parts, memory)?;
                    let timeout = this.limits.timeout;
                    let progress = this
                        .progress
                        .get_or_insert_with(|| Box::new(Progress::new(timeout, length)));
                    ready!(progress.poll(cx, timeout, length, !is_turn, || memory.is_tight()));
                    return Poll::Ready(Err(ReadBodyError::TimedOut));
                }
            };
            match frame {
                None => return Poll::Ready(Ok(this.pieces.join(this.turn))),
                Some(Err(_)) => return Poll::Ready(Err(ReadBodyError::Broken)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let is_long = *this.is_long || this.pieces.len() + data.remaining() > this.limits.max_bytes;
                    if is_long && !this.pieces.is_bulk(&data, this.limits) {
                        return Poll::Ready(Err(ReadBodyError::TooLarge));
                    }
                    this.pieces.push(data, parts, memory)?;
                }
            }
        }
    }
}

/// The pieces of a body that have arrived.
#[derive(Debug, Default)]
struct Pieces {
    first: Bytes,
    /// The whole content, once there is more than one piece.
    joined: Vec<u8>,
    /// The maximum length of the body.
    max_length: usize,
    booking: Option<Booking>,
}

impl Pieces {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// Returns whether the body is one of many events within `limits` with the next piece, as far as its
    /// start shows.
    #[cold]
    fn is_bulk(&mut self, next: &impl Buf, limits: &BodyLimits) -> bool {
        let start = [&self.first[..], &self.joined, next.chunk()]
            .into_iter()
            .find(|piece| !piece.is_empty())
            .unwrap_or_default();
        let max_bytes = limits.max_of(start);
        // The memory of the body grows up to this length from now on.
        self.max_length = self.max_length.max(max_bytes);
        max_bytes > limits.max_bytes && self.len() + next.remaining() <= max_bytes
    }

    fn push(&mut self, mut data: impl Buf, parts: &Parts, memory: &Arc<RequestMemory>) -> Result<(), SpoolFull> {
        let length = self.len() + data.remaining();
        if self.len() == 0 {
            // `Bytes` passes its data on without a copy.
            self.first = data.copy_to_bytes(data.remaining());
            return Ok(());
        }
        if length > self.joined.capacity() {
            let doubled = self.joined.capacity().saturating_mul(2).max(FIRST_CAPACITY);
            let capacity = doubled.min(self.max_length).max(length);
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

    /// Books the request's current memory, if nothing is booked yet.
    fn book(&mut self, parts: &Parts, memory: &Arc<RequestMemory>) -> Result<&mut Booking, SpoolFull> {
        if self.booking.is_none() {
            let mut booking = memory.booking();
            booking.grow_to(bytes_without_body(parts) + self.len())?;
            self.booking = Some(booking);
        }
        self.booking.as_mut().ok_or(SpoolFull)
    }

    fn join(&mut self, turn: &mut Turn) -> ReadyBody {
        let joined = std::mem::take(&mut self.joined);
        ReadyBody {
            bytes: match joined.is_empty() {
                true => std::mem::take(&mut self.first),
                false => joined.into(),
            },
            booking: self.booking.take(),
            turn: std::mem::take(turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, pin::pin, task::Waker};

    use http::Request;
    use http_body::Frame;

    use super::*;
    use crate::budget::Budget;

    const PIECE: usize = BYTES_WITHOUT_TURN;

    /// A body that has some pieces, and then none for now.
    struct Ready(VecDeque<Bytes>);

    impl Body for Ready {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn a_long_body_is_read_in_its_turn() {
        let (parts, ()) = Request::new(()).into_parts();
        let memory = RequestMemory::new(Arc::new(Budget::new(1 << 30)));
        let turns = Turns::with_permits(1, 1);
        let limits = BodyLimits {
            max_bytes: 1 << 20,
            max_array_bytes: 1 << 20,
            timeout: BodyTimeouts::new(Duration::from_secs(60), Duration::from_secs(60), 0),
        };
        let body = |pieces| Ready(vec![Bytes::from_static(&[b'x'; PIECE]); pieces].into());
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(ReadBody::new(body(3), limits));
        let mut second = pin!(ReadBody::new(body(3), limits));

        assert!(first.as_mut().poll(&mut cx, &parts, &memory, &turns).is_pending());
        assert_eq!(first.pieces.len(), 3 * PIECE);
        assert!(second.as_mut().poll(&mut cx, &parts, &memory, &turns).is_pending());
        assert_eq!(second.pieces.len(), PIECE, "the first piece needs no turn");

        // Nothing has come twice: the turn is free.
        assert!(first.as_mut().poll(&mut cx, &parts, &memory, &turns).is_pending());
        assert!(second.as_mut().poll(&mut cx, &parts, &memory, &turns).is_pending());
        assert_eq!(second.pieces.len(), 3 * PIECE);
    }

    #[tokio::test]
    async fn an_array_may_be_longer_than_another_body() {
        let (parts, ()) = Request::new(()).into_parts();
        let memory = RequestMemory::new(Arc::new(Budget::new(1 << 30)));
        let turns = Turns::with_permits(1, 1);
        let limits = BodyLimits {
            max_bytes: 5,
            max_array_bytes: 10,
            timeout: BodyTimeouts::new(Duration::from_secs(60), Duration::from_secs(60), 0),
        };
        let length = |body: Poll<Result<ReadyBody, _>>| match body {
            Poll::Ready(body) => Some(body.map(|body| body.bytes.len())),
            Poll::Pending => None,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for (pieces, expected) in [
            (&["[1,2,3]"][..], Some(Ok(7))),
            (&[" \n[1,", "2,3]"], Some(Ok(9))),
            (&["\u{feff}[1,2]"], Some(Ok(8))),
            (&["[1,2,", "3,4,5]"], Some(Err(ReadBodyError::TooLarge))),
            (&["{1,2,3}"], Some(Err(ReadBodyError::TooLarge))),
            (&["{1,2,", "[]"], Some(Err(ReadBodyError::TooLarge))),
            (&["      ", "[]"], Some(Err(ReadBodyError::TooLarge))),
            (&["--b\r\nCo"], Some(Ok(7))),
            (&["--b\r\nC", "ontent-"], Some(Err(ReadBodyError::TooLarge))),
        ] {
            let body = StreamBody(
                pieces
                    .iter()
                    .map(|piece| Bytes::from_static(piece.as_bytes()))
                    .collect(),
            );
            let mut reader = pin!(ReadBody::new(body, limits));
            assert_eq!(
                length(reader.as_mut().poll(&mut cx, &parts, &memory, &turns)),
                expected,
                "{pieces:?}"
            );
        }
        // A declared length is refused with the first piece.
        for (body, expected) in [
            ("[1,2,3]", Some(Ok(7))),
            ("x123456", Some(Err(ReadBodyError::TooLarge))),
            ("[1,2,3,4,5]", Some(Err(ReadBodyError::TooLarge))),
        ] {
            let mut reader = pin!(ReadBody::new(
                http_body_util::Full::new(Bytes::from_static(body.as_bytes())),
                limits
            ));
            assert_eq!(
                length(reader.as_mut().poll(&mut cx, &parts, &memory, &turns)),
                expected,
                "{body}"
            );
        }
    }

    /// A body of some pieces, of unknown length.
    struct StreamBody(VecDeque<Bytes>);

    impl Body for StreamBody {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }
}
