//! Feed: passes a streamed body from its connection to its decoder, and waits for the answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::Full;

use crate::{
    collect::{
        response::PendingResponse,
        upload::frame_queue::{End, FrameQueue},
    },
    request::progress::{BodyTimeouts, Progress},
};

/// The connection's side of a streamed body.
pub(crate) struct Feed {
    /// `None` if the answer does not need the body.
    queue: Option<Arc<FrameQueue>>,
    response: PendingResponse,
    timeouts: BodyTimeouts,
    progress: Option<Box<Progress>>,
    /// The number of bytes passed on.
    length: usize,
    is_ended: bool,
}

impl Feed {
    /// Returns the feed of a queue whose decoder makes `response`.
    pub(super) fn new(queue: Arc<FrameQueue>, timeouts: BodyTimeouts, response: PendingResponse) -> Self {
        Self {
            queue: Some(queue),
            response,
            timeouts: timeouts.without_whole(),
            progress: None,
            length: 0,
            is_ended: false,
        }
    }

    /// Returns the feed of a request that is answered without its body.
    pub(super) fn without_body(timeouts: BodyTimeouts, response: PendingResponse) -> Self {
        let mut feed = Self::new(Arc::default(), timeouts, response);
        (feed.queue, feed.is_ended) = (None, true);
        feed
    }

    /// Passes on the body as it arrives, and returns the response.
    pub(crate) fn poll<A: Body>(
        &mut self,
        mut body: Pin<&mut A>,
        cx: &mut Context<'_>,
    ) -> Poll<http::Response<Full<Bytes>>> {
        loop {
            if let Poll::Ready(response) = self.response.as_mut().poll(cx) {
                self.is_ended = true;
                return Poll::Ready(response);
            }
            let Some(queue) = self.queue.as_ref().filter(|_| !self.is_ended) else {
                return Poll::Pending;
            };
            let is_paused = queue.poll_space(cx).is_pending();
            let frame = match is_paused {
                false => body.as_mut().poll_frame(cx),
                true => Poll::Pending,
            };
            match frame {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(mut data) = frame.into_data() else { continue };
                    self.length += data.remaining();
                    // `Bytes` passes its data on without a copy.
                    queue.push(data.copy_to_bytes(data.remaining()));
                    continue;
                }
                Poll::Ready(None) => queue.end(End::Complete),
                Poll::Ready(Some(Err(_))) => queue.end(End::Cut),
                Poll::Pending => {
                    let progress = self
                        .progress
                        .get_or_insert_with(|| Box::new(Progress::new(self.timeouts, self.length)));
                    if progress
                        .poll(cx, self.timeouts, self.length, is_paused, || false)
                        .is_pending()
                    {
                        return Poll::Pending;
                    }
                    queue.end(End::TimedOut);
                }
            }
            self.is_ended = true;
        }
    }
}

/// A connection that ends cuts its body.
impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.end(End::Cut);
        }
    }
}
