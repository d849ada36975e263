//! The layer around a service: it answers the events of known routes and passes every other request
//! to the inner service.
//!
//! `poll_ready` polls the inner service and reserves nothing. `call` decides by method and path
//! alone: it passes other requests on with their bodies untouched, and none of their fields can
//! turn them into an event. `Clone` copies a pointer, the peer's address and the inner service.

use std::{
    future::Future,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    collect::{self, Collector, Decision, PendingResponse, head::Arrival, options::EventOptions, route::Routes},
    request::read_body::{ReadBody, ReadBodyError, ReadyBody},
    table::Schema,
    writer::Writer,
};

/// The address that a request came from, as a request extension.
///
/// [`serve`](crate::serve()) passes the address to the service with [`EventService::with_peer`]. In
/// another server, a middleware inserts this extension. Without either, the address is `0.0.0.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A layer that handles the events of the routes `R`.
#[derive(Debug)]
pub struct EventLayer<R> {
    collector: Arc<Collector>,
    routes: PhantomData<R>,
}

impl<R: Routes> EventLayer<R> {
    /// Returns a layer that writes its rows to `writer`.
    ///
    /// # Panics
    ///
    /// If the schema of `writer` is not the schema of the routes: the two have different tables.
    pub fn new(writer: Writer) -> Self {
        assert!(
            ptr::eq(writer.schema(), R::schema()),
            "the layer's events are for the tables [{}], and its writer was made with another schema, of the tables [{}]: create \
             the writer with the `SCHEMA` of the layer's module",
            names(R::schema()),
            names(writer.schema())
        );
        Self {
            collector: Arc::new(Collector::new(writer, &EventOptions::default(), R::DESTINATIONS)),
            routes: PhantomData,
        }
    }

    /// Returns the layer with `options`.
    pub fn with_options(self, options: &EventOptions) -> Self {
        Self {
            collector: Arc::new(Collector::new(
                self.collector.writer().clone(),
                options,
                R::DESTINATIONS,
            )),
            routes: PhantomData,
        }
    }
}

fn names(schema: &Schema) -> String {
    let names: Vec<_> = schema.tables.iter().map(|table| table.name).collect();
    names.join(", ")
}

impl<R> Clone for EventLayer<R> {
    fn clone(&self) -> Self {
        Self {
            collector: Arc::clone(&self.collector),
            routes: PhantomData,
        }
    }
}

impl<S, R> Layer<S> for EventLayer<R> {
    type Service = EventService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        EventService {
            collector: Arc::clone(&self.collector),
            peer: None,
            inner,
            routes: PhantomData,
        }
    }
}

/// Handles the events of the routes `R` and passes every other request to `S`.
#[derive(Debug)]
pub struct EventService<S, R> {
    collector: Arc<Collector>,
    peer: Option<IpAddr>,
    inner: S,
    routes: PhantomData<R>,
}

impl<S, R> EventService<S, R> {
    /// Returns the service for the requests of one peer. A [`Peer`] in a request's extensions takes
    /// precedence.
    pub fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl<S: Clone, R> Clone for EventService<S, R> {
    fn clone(&self) -> Self {
        Self {
            collector: Arc::clone(&self.collector),
            peer: self.peer,
            inner: self.inner.clone(),
            routes: PhantomData,
        }
    }
}

impl<S, R, A, B> Service<Request<A>> for EventService<S, R>
where
    S: Service<Request<A>, Response = Response<B>>,
    R: Routes,
    A: Body,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = S::Error;
    type Future = EventFuture<S::Future, A, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let decision = self.collector.decide::<R>(request.method(), request.uri());
        if decision == Decision::Inner {
            return EventFuture {
                state: State::Inner {
                    future: self.inner.call(request),
                },
            };
        }
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().map(|Peer(ip)| *ip).or(self.peer);
        let arrival = Arrival::now(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let collector = Arc::clone(&self.collector);
        let gather = match decision {
            Decision::WithBody => {
                let limits = collector.body_limits(body.size_hint().exact(), &parts);
                ReadBody::new(body, limits)
            }
            _ => ReadBody::nothing(),
        };
        let event = PendingEvent {
            collector,
            parts,
            arrival,
            routes: PhantomData,
        };
        EventFuture {
            state: State::Event {
                gather,
                event: Some(event),
            },
        }
    }
}

/// An event whose body has not arrived yet.
#[derive(Debug)]
struct PendingEvent<R> {
    collector: Arc<Collector>,
    parts: Parts,
    arrival: Arrival,
    routes: PhantomData<R>,
}

impl<R: Routes> PendingEvent<R> {
    fn answer(self, body: Result<ReadyBody, ReadBodyError>) -> collect::Response {
        self.collector.answer::<R>(self.parts, body, self.arrival)
    }
}

pin_project! {
    /// The response to an event, or that of the inner service.
    pub struct EventFuture<F, A, R> {
        #[pin]
        state: State<F, A, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, A, R> {
        // The inner service answers.
        Inner { #[pin] future: F },
        // The event is processed once its body is complete.
        Event { #[pin] gather: ReadBody<A>, event: Option<PendingEvent<R>> },
        // The response waits for the row's acknowledgement.
        Waiting { response: PendingResponse },
    }
}

impl<F, A, R, B, E> Future for EventFuture<F, A, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    A: Body,
    R: Routes,
{
    type Output = Result<Response<Either<Full<Bytes>, B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProjection::Inner { future } => {
                Poll::Ready(ready!(future.poll(cx)).map(|response| response.map(Either::Right)))
            }
            StateProjection::Event { gather, event } => {
                let mut pending = event.take().expect("a future is not polled again after its end");
                let memory = pending.collector.writer().request_memory();
                let Poll::Ready(body) = gather.poll(cx, &pending.parts, memory) else {
                    pending.arrival.wait();
                    *event = Some(pending);
                    return Poll::Pending;
                };
                match pending.answer(body) {
                    collect::Response::Ready(response) => Poll::Ready(Ok(response.map(Either::Left))),
                    collect::Response::Waiting(mut response) => {
                        let poll = response.as_mut().poll(cx);
                        state.set(State::Waiting { response });
                        poll.map(|response| Ok(response.map(Either::Left)))
                    }
                }
            }
            StateProjection::Waiting { response } => {
                Poll::Ready(Ok(ready!(response.as_mut().poll(cx)).map(Either::Left)))
            }
        }
    }
}
