//! Gather: a body becomes bytes, within its bounds of size and time.
//!
//! A body of one frame, as nearly all of them are, is taken as it is. The clock is started only when the body is not there yet.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

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
pub(crate) enum GatherError {
    /// It is larger than allowed.
    TooLarge,
    /// It did not come in time.
    TimedOut,
    /// The connection broke.
    Broken,
}

pin_project! {
    /// Waits for the whole of a body.
    #[derive(Debug)]
    pub(crate) struct Gather<A> {
        #[pin]
        body: Option<A>,
        first: Bytes,
        rest: BytesMut,
        limits: BodyLimits,
        is_too_large: bool,
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<A> Gather<A> {
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
        let is_too_large = body.size_hint().lower() > limits.max_bytes as u64;
        Self::of(Some(body), limits, is_too_large)
    }

    fn of(body: Option<A>, limits: BodyLimits, is_too_large: bool) -> Self {
        Self {
            body,
            first: Bytes::new(),
            rest: BytesMut::new(),
            limits,
            is_too_large,
            sleep: None,
        }
    }
}

impl<A: Body> Future for Gather<A> {
    type Output = Result<Bytes, GatherError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.is_too_large {
            return Poll::Ready(Err(GatherError::TooLarge));
        }
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        loop {
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let timeout = this.limits.timeout;
                    ready!(
                        this.sleep
                            .get_or_insert_with(|| Box::pin(sleep(timeout)))
                            .as_mut()
                            .poll(cx)
                    );
                    return Poll::Ready(Err(GatherError::TimedOut));
                }
            };
            match frame {
                None if this.rest.is_empty() => return Poll::Ready(Ok(std::mem::take(this.first))),
                None => return Poll::Ready(Ok(this.rest.split().freeze())),
                Some(Err(_)) => return Poll::Ready(Err(GatherError::Broken)),
                Some(Ok(frame)) => {
                    let Ok(mut data) = frame.into_data() else { continue };
                    let gathered = this.first.len() + this.rest.len();
                    if gathered + data.remaining() > this.limits.max_bytes {
                        return Poll::Ready(Err(GatherError::TooLarge));
                    }
                    if gathered == 0 {
                        // Bytes give themselves away without a copy.
                        *this.first = data.copy_to_bytes(data.remaining());
                    } else {
                        if this.rest.is_empty() {
                            this.rest.extend_from_slice(this.first);
                            this.first.clear();
                        }
                        this.rest.put(data);
                    }
                }
            }
        }
    }
}
