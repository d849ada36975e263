//! Idle: a connection that leaves the server waiting for a request too long is let go.
//!
//! hyper can do that, too, by a timer that it makes, sets and drops for each request: 1 500 instructions, a seventh of all that it
//! needs to read a request and to answer it. Here a request only counts itself, and each connection has one timer, at which it
//! compares the count with that of the time before.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;
use tokio::time::timeout;

/// How often within the bound a connection is looked at, so that it is let go at most a quarter of the bound too late.
const LOOKS: u32 = 4;

/// What a connection has to do. One task counts, and another one at most.
#[derive(Debug, Default)]
struct Activity {
    /// Requests so far, whose number may well overflow.
    requests: AtomicU32,
    /// Requests that are not answered yet, to the end of the answer's body.
    open: AtomicU32,
}

/// Waits for the end of `connection`, whose requests go to the service that `watched` belongs to; `None` if it is let go, since no
/// request came within `bound`.
pub(crate) async fn unless_idle<C: Future>(connection: C, watched: Watch, bound: Duration) -> Option<C::Output> {
    let activity = watched.0;
    let mut connection = pin!(connection);
    let (mut requests, mut idle_looks) = (0, 0);
    loop {
        if let Ok(end) = timeout(bound / LOOKS, connection.as_mut()).await {
            return Some(end);
        }
        let now = activity.requests.load(Ordering::Relaxed);
        if now != requests || activity.open.load(Ordering::Relaxed) > 0 {
            (requests, idle_looks) = (now, 0);
            continue;
        }
        idle_looks += 1;
        if idle_looks >= LOOKS {
            return None;
        }
    }
}

/// A look at what a connection has to do.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Activity>);

/// A service that counts its requests.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            activity: Arc::default(),
        }
    }

    /// Returns a look at it.
    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.activity))
    }
}

/// A request until its end.
#[derive(Debug)]
struct OpenRequest(Arc<Activity>);

impl OpenRequest {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        WatchedFuture {
            request: Some(OpenRequest::new(&self.activity)),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The answer to a request that is counted.
    #[derive(Debug)]
    pub(crate) struct WatchedFuture<F> {
        #[pin]
        inner: F,
        request: Option<OpenRequest>,
    }
}

impl<F, B, E> Future for WatchedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<WatchedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let request = this.request.take();
        Poll::Ready(response.map(|response| response.map(|inner| WatchedBody { inner, request })))
    }
}

pin_project! {
    /// The body of such an answer.
    #[derive(Debug)]
    pub(crate) struct WatchedBody<B> {
        #[pin]
        inner: B,
        request: Option<OpenRequest>,
    }
}

impl<B: Body> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const BOUND: Duration = Duration::from_secs(8);

    /// Returns a service of whose answers nobody asks anything, and a look at it.
    fn watched() -> (Watched<()>, Watch) {
        let watched = Watched::new(());
        let watch = watched.watch();
        (watched, watch)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_let_go_at_the_bound() {
        let started = Instant::now();
        let (_service, watch) = watched();
        assert_eq!(unless_idle(pending::<()>(), watch, BOUND).await, None);
        assert_eq!(started.elapsed().as_secs(), BOUND.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_begins_the_time_anew() {
        let started = Instant::now();
        let (service, watch) = watched();
        let requests = async {
            for _ in 0..10 {
                sleep(BOUND * 3 / 4).await;
                drop(OpenRequest::new(&service.activity));
            }
            pending::<()>().await;
        };
        assert_eq!(unless_idle(requests, watch, BOUND).await, None);
        let idle = started.elapsed() - BOUND * 30 / 4;
        assert!(idle >= BOUND && idle <= BOUND * 5 / 4, "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_request_may_take_its_time() {
        let (service, watch) = watched();
        let slow = async {
            let request = OpenRequest::new(&service.activity);
            sleep(BOUND * 10).await;
            drop(request);
        };
        assert_eq!(unless_idle(slow, watch, BOUND).await, Some(()));
    }
}
