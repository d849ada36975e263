//! Watched: the service of one connection, between hyper and a Tower service. It counts the requests,
//! and refuses those that are not valid.
//!
//! hyper-util's adapter moves each request into a future that calls the service when it is polled. A
//! request and its response's future are hundreds of bytes long, so here the service is called at
//! once if it is ready, as nearly all services always are.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::service::{
    idle::{Activity, OpenRequest},
    valid_request::InvalidRequest,
};

/// The length from which on the rest of a refused body may still be on its way. hyper itself reads
/// the rest of a shorter one.
const LONG_BODY: u64 = 4 << 10;

/// A service that counts its requests.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    /// Only the connection's task calls the service.
    inner: RefCell<S>,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self {
            inner: RefCell::new(inner),
            activity,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future, NotReady<S::Response, S::Error>>;

    #[inline]
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let counted = OpenRequest::new(&self.activity);
        match request.body().size_hint().upper() {
            Some(0) => {}
            Some(..=LONG_BODY) => self.activity.note_body(),
            _ => self.activity.note_long_body(),
        }
        let request_end = Some(counted);
        if let Some(invalid) = InvalidRequest::of(&request) {
            let answer = Answer::Refused { invalid };
            return WatchedFuture { answer, request_end };
        }
        let mut inner = self.inner.borrow_mut();
        let answer = match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Answer::Ready {
                future: inner.call(request),
            },
            _ => Answer::NotReady {
                future: not_ready(&mut *inner, request),
            },
        };
        WatchedFuture { answer, request_end }
    }
}

/// The future of a response of a service that was not ready.
type NotReady<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Waits until a service is ready, and calls it. The service may have reserved a turn for its next
/// poll, so it is this one that is polled again, and later requests get a clone.
#[cold]
fn not_ready<S>(service: &mut S, request: Request<Incoming>) -> NotReady<S::Response, S::Error>
where
    S: Service<Request<Incoming>> + Clone + Send + 'static,
    S::Future: Send,
{
    let clone = service.clone();
    let mut waiting = mem::replace(service, clone);
    Box::pin(async move {
        poll_fn(|cx| waiting.poll_ready(cx)).await?;
        waiting.call(request).await
    })
}

pin_project! {
    /// The response to a counted request.
    #[derive(Debug)]
    pub(crate) struct WatchedFuture<F, N> {
        #[pin]
        answer: Answer<F, N>,
        request_end: Option<OpenRequest>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = AnswerProjection]
    enum Answer<F, N> {
        // The service answers.
        Ready { #[pin] future: F },
        // The service answers once it is ready.
        NotReady { future: N },
        // The server refuses the request.
        Refused { invalid: InvalidRequest },
    }
}

impl<F, N, B, E> Future for WatchedFuture<F, N>
where
    F: Future<Output = Result<Response<B>, E>>,
    N: Future<Output = Result<Response<B>, E>> + Unpin,
{
    type Output = Result<Response<WatchedBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.answer.project() {
            AnswerProjection::Ready { future } => ready!(future.poll(cx)),
            AnswerProjection::NotReady { future } => ready!(Pin::new(future).poll(cx)),
            AnswerProjection::Refused { invalid } => {
                return Poll::Ready(Ok(refusal(*invalid, this.request_end.take())));
            }
        };
        let request_end = this.request_end.take();
        if let (Ok(response), Some(OpenRequest(activity))) = (&mut response, &request_end)
            && !(200..400).contains(&response.status().as_u16())
        {
            activity.note_unusual(response.status());
            activity.note_session(response.extensions_mut());
        }
        Poll::Ready(response.map(|response| {
            response.map(|inner| WatchedBody {
                inner: Some(inner),
                text: None,
                request_end,
            })
        }))
    }
}

pin_project! {
    /// The body of a counted response; its request is open until the body is dropped.
    #[derive(Debug)]
    pub(crate) struct WatchedBody<B> {
        #[pin]
        inner: Option<B>,
        // The body of the server's own response.
        text: Option<&'static str>,
        request_end: Option<OpenRequest>,
    }
}

/// Returns the response to a request that the server refuses.
#[cold]
fn refusal<B>(invalid: InvalidRequest, request_end: Option<OpenRequest>) -> Response<WatchedBody<B>> {
    if let Some(OpenRequest(activity)) = &request_end {
        activity.note_malformed();
    }
    let mut response = Response::new(WatchedBody {
        inner: None,
        text: Some(invalid.text()),
        request_end,
    });
    *response.status_mut() = invalid.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The sender or a proxy before it may see other requests in these bytes.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl<B: Body<Data = Bytes>> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => {
                let text = this
                    .text
                    .take()
                    .map(|text| Frame::data(Bytes::from_static(text.as_bytes())));
                Poll::Ready(text.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(self.text.map_or(0, |text| text.len() as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{convert::Infallible, future::pending};

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Notify,
    };
    use tower::{ServiceBuilder, service_fn};

    use super::*;
    use crate::service::serve::{ServeOptions, serve};

    async fn is_answered(stream: &mut TcpStream) -> bool {
        let mut response = [0; 256];
        matches!(stream.read(&mut response).await, Ok(1..)) && response.starts_with(b"HTTP/1.1 200")
    }

    /// A service that is not ready holds no turn for ever: each waiting request gets one in the end.
    #[tokio::test]
    async fn a_request_waits_for_a_service_that_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (started, proceed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let service = {
            let (started, proceed) = (Arc::clone(&started), Arc::clone(&proceed));
            ServiceBuilder::new().concurrency_limit(1).service(service_fn(move |_| {
                let (started, proceed) = (Arc::clone(&started), Arc::clone(&proceed));
                async move {
                    started.notify_one();
                    proceed.notified().await;
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            }))
        };
        tokio::spawn(serve(
            listener,
            move |_| service.clone(),
            ServeOptions::default(),
            pending(),
        ));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..2 {
            for stream in &mut streams {
                stream.write_all(request).await.unwrap();
            }
            for _ in 0..3 {
                started.notified().await;
                proceed.notify_one();
            }
            for stream in &mut streams {
                assert!(is_answered(stream).await);
            }
        }
    }
}
