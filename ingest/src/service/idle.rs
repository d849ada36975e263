//! Idle: a connection without a request is closed after a time, or when another one needs its slot.
//!
//! hyper can do the same with a timer that it creates, sets and drops for each request. That takes
//! 1 500 instructions, a seventh of all that hyper needs to read and answer a request. Here a
//! request only increments a counter, and one timer per connection compares the counter with its
//! last value.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;
use tokio::time::timeout;

/// How often a connection is checked within `bound`; it is closed at most a quarter of `bound`
/// late.
const LOOKS: u32 = 4;

/// The requests of one connection. Only the connection's task changes the counters; other tasks
/// read them and may ask the connection to close.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// The number of requests so far; it may wrap around.
    requests: AtomicU32,
    /// The number of requests whose response body is not complete yet.
    open: AtomicU32,
    /// Whether the connection is to close if it is idle.
    is_asked_to_go: AtomicBool,
    /// The connection's task, once it runs.
    task: OnceLock<Waker>,
}

impl Activity {
    /// Returns the number of requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns whether all requests are answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Asks the connection to close; it stays open if a request has arrived in the meantime.
    pub(crate) fn ask_to_go(&self) {
        self.is_asked_to_go.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Returns whether the connection is to close now, and clears the flag.
    fn goes(&self, cx: &Context<'_>) -> bool {
        self.task.get_or_init(|| cx.waker().clone());
        self.is_asked_to_go.load(Ordering::SeqCst)
            && self.is_asked_to_go.swap(false, Ordering::SeqCst)
            && self.is_idle()
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<T> {
    /// The connection ended by itself.
    Over(T),
    /// No request arrived in time.
    Idle,
    /// The connection was asked to close and was idle.
    LetGo,
}

/// Waits for the end of `connection`, whose requests `activity` counts, or stops it when it is
/// idle.
///
/// All polls must come from one task.
pub(crate) async fn unless_idle<C: Future>(connection: C, activity: Arc<Activity>, bound: Duration) -> End<C::Output> {
    let mut connection = pin!(connection);
    let (mut requests, mut idle_looks) = (0, 0);
    loop {
        // Poll the connection first: a request that has arrived keeps it open.
        let end = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(End::Over(end)),
            Poll::Pending if activity.goes(cx) => Poll::Ready(End::LetGo),
            Poll::Pending => Poll::Pending,
        });
        if let Ok(end) = timeout(bound / LOOKS, end).await {
            return end;
        }
        let now = activity.requests.load(Ordering::Relaxed);
        if now != requests || activity.open.load(Ordering::Relaxed) > 0 {
            (requests, idle_looks) = (now, 0);
            continue;
        }
        idle_looks += 1;
        if idle_looks >= LOOKS {
            return End::Idle;
        }
    }
}

/// A service that counts its requests.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

/// A request that counts as open until it is dropped.
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
    /// The response to a counted request.
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
    /// The body of a counted response; its request is open until the body is dropped.
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

    impl Activity {
        pub(crate) fn is_asked_to_go(&self) -> bool {
            self.is_asked_to_go.load(Ordering::SeqCst)
        }

        /// Begins a request that lasts until the returned value is dropped.
        pub(crate) fn begin(activity: &Arc<Self>) -> impl Drop + use<> {
            OpenRequest::new(activity)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_let_go_at_the_bound() {
        let started = Instant::now();
        assert_eq!(unless_idle(pending::<()>(), Arc::default(), BOUND).await, End::Idle);
        assert_eq!(started.elapsed().as_secs(), BOUND.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_begins_the_time_anew() {
        let started = Instant::now();
        let activity = Arc::default();
        let requests = async {
            for _ in 0..10 {
                sleep(BOUND * 3 / 4).await;
                drop(OpenRequest::new(&activity));
            }
            pending::<()>().await;
        };
        assert_eq!(unless_idle(requests, Arc::clone(&activity), BOUND).await, End::Idle);
        let idle = started.elapsed() - BOUND * 30 / 4;
        assert!(idle >= BOUND && idle <= BOUND * 5 / 4, "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_request_may_take_its_time() {
        let activity = Arc::default();
        let slow = async {
            let request = OpenRequest::new(&activity);
            sleep(BOUND * 10).await;
            drop(request);
        };
        assert_eq!(unless_idle(slow, Arc::clone(&activity), BOUND).await, End::Over(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_asked_to_go_finishes_its_request() {
        let started = Instant::now();
        let activity: Arc<Activity> = Arc::default();
        let request = OpenRequest::new(&activity);
        let connection = tokio::spawn(unless_idle(pending::<()>(), Arc::clone(&activity), BOUND));
        activity.ask_to_go();
        sleep(BOUND * 10).await;
        assert!(!connection.is_finished());
        drop(request);
        // The first `ask_to_go` was cleared, because a request was open.
        sleep(BOUND / 8).await;
        assert!(!connection.is_finished());
        activity.ask_to_go();
        assert!(matches!(connection.await, Ok(End::LetGo)));
        assert!(started.elapsed() < BOUND * 11);
    }
}
