//! Idle: closes a connection without a request after a time, or when another one needs its slot.
//!
//! hyper can do the same with a timer that it creates, sets and drops for each request. That takes
//! 1 500 instructions, a seventh of all that hyper needs to read and answer a request. Here a
//! request only increments a counter, and one timer per connection compares the counter with its
//! last value.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Extensions, StatusCode};
use tokio::{sync::Notify, time::timeout};

use crate::collect::websocket::SessionHandle;

/// The number of checks of a connection within its maximum idle time. An idle connection is closed
/// at most a quarter of this time late.
const CHECKS: u32 = 4;

/// The times after which a connection without an open request is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxIdle {
    /// The time until the first request.
    pub(crate) before_first: Duration,
    /// The time from a response to the next request.
    pub(crate) after_response: Duration,
}

/// The requests of one connection. Only the connection's task changes the counters; other tasks
/// read them and may ask the connection to close.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// The number of requests so far; it may wrap around.
    requests: AtomicU32,
    /// The number of requests whose response body is not complete yet.
    open: AtomicU32,
    /// Whether another task has asked the connection to close.
    is_close_requested: AtomicBool,
    /// Whether the connection has had a request with a body, or has switched protocols.
    may_have_body: AtomicBool,
    /// The number of requests up to the last one whose body is long.
    long_bodies_until: AtomicU32,
    /// The number of requests up to the last one that was refused.
    refused_until: AtomicU32,
    /// The number of requests that the server has refused because they are not valid.
    malformed: AtomicU32,
    /// The WebSocket that the connection has become, if it has.
    session: OnceLock<SessionHandle>,
    /// The connection's task, once it runs.
    task: OnceLock<Waker>,
    /// Ends the handshake of a connection that is asked to close.
    handshake: Notify,
}

impl Activity {
    /// Returns the number of requests so far, and of messages if the connection is a WebSocket.
    pub(crate) fn requests(&self) -> u32 {
        let messages = self.session.get().map_or(0, SessionHandle::messages);
        self.requests.load(Ordering::Relaxed).wrapping_add(messages)
    }

    /// Returns whether all requests and messages are answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && self.session.get().is_none_or(SessionHandle::is_idle)
    }

    /// Returns the WebSocket that the connection has become, if it has.
    pub(crate) fn session(&self) -> Option<&SessionHandle> {
        self.session.get()
    }

    /// Notes that the connection becomes a WebSocket, if the extensions of its last response say so.
    #[cold]
    pub(super) fn note_session(&self, extensions: &mut Extensions) {
        if let Some(session) = extensions.remove() {
            // A connection switches protocols once.
            let _ = self.session.set(session);
        }
    }

    /// Returns whether the last request had a long body and was refused. The client may still send
    /// this body.
    pub(crate) fn has_refused_long_body(&self) -> bool {
        let requests = self.requests();
        let is_last = |until: &AtomicU32| until.load(Ordering::Relaxed) == requests;
        requests > 0 && is_last(&self.long_bodies_until) && is_last(&self.refused_until)
    }

    /// Returns the number of requests that the server has refused because they are not valid.
    pub(crate) fn malformed(&self) -> u32 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Returns whether the connection has had a request with a body, or speaks another protocol by
    /// now.
    pub(crate) fn may_have_body(&self) -> bool {
        self.may_have_body.load(Ordering::Relaxed)
    }

    /// Notes that the last request has a body.
    pub(crate) fn note_body(&self) {
        self.may_have_body.store(true, Ordering::Relaxed);
    }

    /// Notes that the last request has a long body.
    #[cold]
    pub(crate) fn note_long_body(&self) {
        self.note_body();
        self.long_bodies_until.store(self.requests(), Ordering::Relaxed);
    }

    /// Counts a request that the server refuses because it is not valid.
    #[cold]
    pub(super) fn note_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
        self.note_unusual(StatusCode::BAD_REQUEST);
    }

    /// Notes the status of a response that is neither a success nor a redirect.
    #[cold]
    pub(crate) fn note_unusual(&self, status: StatusCode) {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.note_body();
        } else {
            self.refused_until.store(self.requests(), Ordering::Relaxed);
        }
    }

    /// Asks the connection to close; a connection with an open request stays open.
    pub(crate) fn request_close(&self) {
        self.is_close_requested.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        self.handshake.notify_one();
    }

    /// Waits until a connection that has no task yet is asked to close.
    pub(crate) async fn handshake_ended(&self) {
        self.handshake.notified().await;
    }

    /// Takes a request to close, and returns whether the connection is idle and closes now.
    pub(crate) fn takes_close_request(&self, cx: &Context<'_>) -> bool {
        self.task.get_or_init(|| cx.waker().clone());
        self.is_close_requested.load(Ordering::SeqCst)
            && self.is_close_requested.swap(false, Ordering::SeqCst)
            && self.is_idle()
    }
}

/// The end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<T> {
    /// The connection finished by itself.
    Finished(T),
    /// No request arrived in time.
    Idle,
    /// Another task asked the idle connection to close.
    Closed,
}

/// Waits for the end of `connection`, whose requests `activity` counts, or stops it when it is
/// idle.
///
/// All polls must come from one task.
pub(crate) async fn run_until_idle<C: Future>(
    connection: C,
    activity: Arc<Activity>,
    max_idle: MaxIdle,
) -> End<C::Output> {
    let mut connection = pin!(connection);
    let (mut requests, mut idle_checks) = (0, 0);
    loop {
        // Poll the connection first: a request that has arrived keeps it open.
        let end = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(End::Finished(end)),
            Poll::Pending if activity.takes_close_request(cx) => Poll::Ready(End::Closed),
            Poll::Pending => Poll::Pending,
        });
        let limit = match requests {
            0 => max_idle.before_first,
            _ => max_idle.after_response,
        };
        if let Ok(end) = timeout(limit / CHECKS, end).await {
            return end;
        }
        let now = activity.requests.load(Ordering::Relaxed);
        if now != requests || activity.open.load(Ordering::Relaxed) > 0 {
            (requests, idle_checks) = (now, 0);
            continue;
        }
        idle_checks += 1;
        if idle_checks >= CHECKS {
            return End::Idle;
        }
    }
}

/// A request that counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenRequest(pub(super) Arc<Activity>);

impl OpenRequest {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const MAX_IDLE: Duration = Duration::from_secs(8);

    const SAME: MaxIdle = MaxIdle {
        before_first: MAX_IDLE,
        after_response: MAX_IDLE,
    };

    impl Activity {
        pub(crate) fn is_close_requested(&self) -> bool {
            self.is_close_requested.load(Ordering::SeqCst)
        }

        /// Begins a request that lasts until the returned value is dropped.
        pub(crate) fn begin(activity: &Arc<Self>) -> impl Drop + use<> {
            OpenRequest::new(activity)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_stopped_after_the_maximum_idle_time() {
        let started = Instant::now();
        assert_eq!(run_until_idle(pending::<()>(), Arc::default(), SAME).await, End::Idle);
        assert_eq!(started.elapsed().as_secs(), MAX_IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_restarts_the_idle_time() {
        let started = Instant::now();
        let activity = Arc::default();
        let requests = async {
            for _ in 0..10 {
                sleep(MAX_IDLE * 3 / 4).await;
                drop(OpenRequest::new(&activity));
            }
            pending::<()>().await;
        };
        assert_eq!(run_until_idle(requests, Arc::clone(&activity), SAME).await, End::Idle);
        let idle = started.elapsed() - MAX_IDLE * 30 / 4;
        assert!(idle >= MAX_IDLE && idle <= MAX_IDLE * 5 / 4, "{idle:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_another_time_after_its_first_request() {
        let max_idle = MaxIdle {
            before_first: MAX_IDLE,
            after_response: MAX_IDLE * 3,
        };
        let silent = Instant::now();
        let end = run_until_idle(pending::<()>(), Arc::default(), max_idle).await;
        assert_eq!((end, silent.elapsed()), (End::Idle, MAX_IDLE));
        let activity = Arc::default();
        let started = Instant::now();
        let one_request = async {
            drop(OpenRequest::new(&activity));
            pending::<()>().await;
        };
        let end = run_until_idle(one_request, Arc::clone(&activity), max_idle).await;
        let elapsed = started.elapsed();
        assert_eq!(end, End::Idle);
        assert!(elapsed >= MAX_IDLE * 3 && elapsed <= MAX_IDLE * 15 / 4, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_open_request_is_not_idle() {
        let activity = Arc::default();
        let slow = async {
            let request = OpenRequest::new(&activity);
            sleep(MAX_IDLE * 10).await;
            drop(request);
        };
        assert_eq!(
            run_until_idle(slow, Arc::clone(&activity), SAME).await,
            End::Finished(())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_ignores_a_request_to_close() {
        let started = Instant::now();
        let activity: Arc<Activity> = Arc::default();
        let request = OpenRequest::new(&activity);
        let connection = tokio::spawn(run_until_idle(pending::<()>(), Arc::clone(&activity), SAME));
        activity.request_close();
        sleep(MAX_IDLE * 10).await;
        assert!(!connection.is_finished());
        drop(request);
        // The connection has dropped the first request to close, because a request was open.
        sleep(MAX_IDLE / 8).await;
        assert!(!connection.is_finished());
        activity.request_close();
        assert!(matches!(connection.await, Ok(End::Closed)));
        assert!(started.elapsed() < MAX_IDLE * 11);
    }
}
