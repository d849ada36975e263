//! The future of a response: the inner service answers, or the collector processes an event.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    collect::{self, Collector, PendingResponse, head::Arrival, route::Routes, upload::Feed},
    request::read_body::{ReadBody, ReadBodyError, ReadyBody},
    service::response_body::ResponseBody,
};

/// An event whose body has not arrived yet.
#[derive(Debug)]
pub(super) struct PendingEvent<R> {
    pub(super) collector: Arc<Collector>,
    pub(super) parts: Parts,
    pub(super) arrival: Arrival,
    pub(super) routes: PhantomData<R>,
}

impl<R: Routes> PendingEvent<R> {
    fn answer(self, body: Result<ReadyBody, ReadBodyError>) -> collect::Response {
        self.collector.answer::<R>(self.parts, body, self.arrival)
    }
}

pin_project! {
    /// The future of a response of an [`EventService`](crate::layer::EventService).
    pub struct EventFuture<S, A, R>
    where
        S: Service<Request<A>>,
    {
        #[pin]
        state: State<S, A, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, A, R>
    where
        S: Service<Request<A>>,
    {
        // The inner service is not ready for the request yet.
        NotReady { inner: S, request: Option<Request<A>> },
        // The inner service answers.
        Inner { #[pin] future: S::Future },
        // The event is processed once its body is complete.
        Event { #[pin] reader: ReadBody<A>, event: Option<PendingEvent<R>> },
        // The body is decoded while it arrives.
        Upload { #[pin] body: A, feed: Box<Feed> },
        // The response waits for the row's acknowledgement.
        Waiting { response: PendingResponse },
    }
}

impl<S: Service<Request<A>>, A, R> EventFuture<S, A, R> {
    /// Returns the future of the inner service's response.
    pub(super) fn inner(inner: S, request: Request<A>) -> Self {
        let request = Some(request);
        Self {
            state: State::NotReady { inner, request },
        }
    }

    /// Returns the future of the response to an event.
    pub(super) fn event(reader: ReadBody<A>, event: PendingEvent<R>) -> Self {
        let event = Some(event);
        Self {
            state: State::Event { reader, event },
        }
    }

    /// Returns the future of the response to an upload.
    #[cold]
    pub(super) fn upload(body: A, feed: Feed) -> Self {
        let feed = Box::new(feed);
        Self {
            state: State::Upload { body, feed },
        }
    }
}

impl<S: Service<Request<A>>, A, R> fmt::Debug for EventFuture<S, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFuture").finish_non_exhaustive()
    }
}

impl<S, A, R, B> Future for EventFuture<S, A, R>
where
    S: Service<Request<A>, Response = Response<B>>,
    A: Body,
    R: Routes,
{
    type Output = Result<Response<ResponseBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::NotReady { inner, request } => {
                    ready!(inner.poll_ready(cx))?;
                    let request = request.take().expect("the inner service is called once");
                    let future = inner.call(request);
                    state.set(State::Inner { future });
                }
                StateProjection::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProjection::Event { reader, event } => {
                    const POLLED_AFTER_END: &str = "a future is not polled again after its end";
                    let pending = event.as_mut().expect(POLLED_AFTER_END);
                    let memory = pending.collector.writer().request_memory();
                    let turns = pending.collector.body_turns();
                    let Poll::Ready(body) = reader.poll(cx, &pending.parts, memory, turns) else {
                        pending.arrival.mark_delayed();
                        return Poll::Pending;
                    };
                    match event.take().expect(POLLED_AFTER_END).answer(body) {
                        collect::Response::Ready(response) => {
                            return Poll::Ready(Ok(response.map(ResponseBody::event)));
                        }
                        collect::Response::Waiting(response) => state.set(State::Waiting { response }),
                    }
                }
                StateProjection::Upload { body, feed } => {
                    let response = ready!(feed.poll(body, cx));
                    return Poll::Ready(Ok(response.map(ResponseBody::event)));
                }
                StateProjection::Waiting { response } => {
                    let response = ready!(response.as_mut().poll(cx));
                    return Poll::Ready(Ok(response.map(ResponseBody::event)));
                }
            }
        }
    }
}
