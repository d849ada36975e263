//! Offload: long work on the delivery runtime, so that other events on the event loop do not wait
//! for it.

use std::{future::Future, panic::resume_unwind, sync::Arc};

use bytes::Bytes;
use http::{StatusCode, request::Parts};
use http_body_util::Full;
use tokio::task::{JoinError, JoinSet};

use crate::{
    collect::{Collector, head::Arrival, response::Response, route::Routes},
    request::read_body::{ReadBodyError, ReadyBody},
};

/// The length of a body, in bytes, from which on its processing is long work. Shorter ones take
/// less than the change of the thread.
pub(super) const LONG_BODY: usize = 64 << 10;

/// Returns whether the processing of a body is long work.
pub(super) fn is_long(body: &Result<ReadyBody, ReadBodyError>) -> bool {
    matches!(body, Ok(body) if body.bytes.len() >= LONG_BODY)
}

impl Collector {
    /// Answers a request with a long body from the delivery runtime.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_offloaded<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        mut arrival: Arrival,
    ) -> Response {
        arrival.mark_delayed();
        Response::Waiting(Box::pin(async move {
            let runtime = self.writer.runtime().clone();
            // The event is recorded even if the client disconnects now, as a shorter one would be.
            let answer = runtime.spawn(async move { self.answer_here::<R>(parts, body, arrival) });
            match finished(answer.await) {
                Some(Response::Ready(response)) => response,
                Some(Response::Waiting(response)) => response.await,
                None => unavailable(),
            }
        }))
    }

    /// Runs `work` on the delivery runtime, and stops it if the client disconnects. Returns `None`
    /// if the runtime has shut down.
    pub(super) async fn offload<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        // A `JoinSet` aborts its task when it is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(work, self.writer.runtime());
        finished(task.join_next().await?)
    }
}

/// Returns the result of a task, and continues its panic; `None` if the task was cancelled.
pub(super) fn finished<T>(result: Result<T, JoinError>) -> Option<T> {
    match result {
        Ok(result) => Some(result),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

/// Returns the response to a request that the shutdown interrupts.
pub(super) fn unavailable() -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
