//! A collector of one table, and the outcomes of its requests.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Runtime;

use super::routes::{SCHEMA, TestRoutes, take_rows};
use crate::{
    ack::Ack,
    collect::{Collector, Decision, Response, head::Arrival, options::EventOptions, route::Routes},
    request::{
        read_body::{ReadBodyError, ReadyBody},
        turns::Turn,
    },
    store::{ClickHouseUrl, servers::Servers},
    writer::{Writer, WriterOptions},
};

/// A collector, and the runtime that its writer needs. The runtime runs only while a response is
/// not ready at once.
pub(super) struct World {
    collector: Arc<Collector>,
    runtime: Runtime,
}

/// The outcome of one request.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) rows: Vec<String>,
    /// The codes of rejected events.
    pub(super) codes: Vec<&'static str>,
}

impl World {
    pub(super) fn new(options: &EventOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let url: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let (servers, writer_options) = (Servers::without_sync(url), WriterOptions::default());
        let uploads = options.resumable_uploads.as_ref();
        let writer = match uploads.and_then(|uploads| uploads.folder.parent()) {
            Some(folder) => Writer::open(&SCHEMA, servers, &writer_options, folder).unwrap(),
            None => Writer::start(&SCHEMA, servers, &writer_options),
        };
        let collector = Collector::new(writer, options, TestRoutes::DESTINATIONS);
        Self {
            collector: Arc::new(collector),
            runtime,
        }
    }

    /// Replaces the collector by one that knows only what is in folders about uploads.
    pub(super) fn read_uploads_again(&mut self, options: &EventOptions) {
        let _inside = self.runtime.enter();
        let writer = self.collector.writer.clone();
        self.collector = Arc::new(Collector::new(writer, options, TestRoutes::DESTINATIONS));
    }

    /// Returns the world of a collector without an inner service: `?service=` and `?name=` count.
    pub(super) fn catching_all() -> Self {
        Self::new(&EventOptions {
            catch_all: true,
            ..options()
        })
    }

    pub(super) fn respond(&self, request: Request<Result<Bytes, ReadBodyError>>) -> http::Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.map(|bytes| ReadyBody {
            bytes,
            booking: None,
            turn: Turn::default(),
        });
        // The layer passes a request without a destination to the inner service.
        let route = match self.collector.decide::<TestRoutes>(&parts.method, &parts.uri) {
            Decision::Inner => None,
            Decision::Event { route, .. } | Decision::Upload { route } => route,
        };
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), route);
        match Arc::clone(&self.collector).answer::<TestRoutes>(parts, body, arrival) {
            Response::Ready(response) => response,
            Response::Waiting(response) => self.runtime.block_on(response),
        }
    }

    /// Sends the pieces of a body to an upload, each once the one before it is decoded. Without
    /// `is_complete`, the connection breaks after the last piece.
    pub(super) fn upload(&self, uri: &str, headers: &[(&str, &str)], pieces: &[&[u8]], is_complete: bool) -> Outcome {
        let mut request = Request::post(uri).header(header::COOKIE, "uid=1000000007");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.stream(request.body(()).unwrap(), pieces, is_complete)
    }

    /// Sends a request of tus with a part of an upload.
    pub(super) fn tus(&self, method: Method, uri: &str, header: (&str, u64), part: &[u8]) -> Outcome {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("Tus-Resumable", "1.0.0")
            .header(header::CONTENT_TYPE, "application/offset+octet-stream")
            .header(header.0, header.1);
        self.stream(request.body(()).unwrap(), &[part], true)
    }

    fn stream(&self, request: Request<()>, pieces: &[&[u8]], is_complete: bool) -> Outcome {
        self.outcome_of(|| self.respond_to_upload(request, pieces, is_complete))
    }

    /// Sends a request to the path of an upload, and returns its response.
    pub(super) fn respond_to_upload(
        &self,
        request: Request<()>,
        pieces: &[&[u8]],
        is_complete: bool,
    ) -> http::Response<Full<Bytes>> {
        let (parts, ()) = request.into_parts();
        let uri = parts.uri.clone();
        let route = match self.collector.decide::<TestRoutes>(&parts.method, &parts.uri) {
            Decision::Upload { route } | Decision::Event { route, .. } => route,
            Decision::Inner => panic!("{uri} is not an upload"),
        };
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), route);
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        self.runtime.block_on(async {
            let mut feed = Arc::clone(&self.collector).begin_upload::<TestRoutes>(parts, arrival);
            let mut body = pin!(Pieces { pieces, is_complete });
            std::future::poll_fn(|cx| feed.poll(body.as_mut(), cx)).await
        })
    }

    /// Returns whether the layer passes a request to the inner service.
    pub(super) fn passes_on(&self, method: &Method, path: &'static str) -> bool {
        let decision = self.collector.decide::<TestRoutes>(method, &Uri::from_static(path));
        matches!(decision, Decision::Inner)
    }

    pub(super) fn outcome(&self, request: Request<Result<Bytes, ReadBodyError>>) -> Outcome {
        self.outcome_of(|| self.respond(request))
    }

    fn outcome_of(&self, respond: impl FnOnce() -> http::Response<Full<Bytes>>) -> Outcome {
        let counts = || self.collector.writer.rejections().counts().events;
        let before = counts();
        let response = respond();
        let codes = counts().into_iter().zip(before);
        let codes = codes.flat_map(|((code, after), (_, before))| (before..after).map(move |_| code));
        Outcome {
            status: response.status().as_u16(),
            body: without_ids(&text_of(response)),
            rows: take_rows(),
            codes: codes.collect(),
        }
    }

    pub(super) fn collector(&self) -> Arc<Collector> {
        Arc::clone(&self.collector)
    }

    /// Runs a future to its end.
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Returns the rows that this thread has made since the last look.
    pub(super) fn rows() -> Vec<String> {
        take_rows()
    }

    /// Returns the memory that requests have booked, in bytes.
    pub(super) fn request_memory(&self) -> usize {
        self.collector.writer.request_memory().used()
    }

    /// Sends a POST with a content type and a body.
    pub(super) fn post(&self, uri: &str, content_type: &str, body: &str) -> Outcome {
        let mut request = Request::post(uri).header(header::COOKIE, "uid=1000000007");
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.outcome(request.body(Ok(Bytes::from(body.to_owned()))).unwrap())
    }

    /// Sends a POST with headers and a body of any bytes to `/wh/mail`.
    pub(super) fn post_bytes(&self, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
        let mut request = Request::post("/wh/mail").header(header::COOKIE, "uid=1000000007");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.outcome(request.body(Ok(Bytes::copy_from_slice(body))).unwrap())
    }

    pub(super) fn send(&self, method: Method, uri: &str) -> Outcome {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::COOKIE, "uid=1000000007");
        self.outcome(request.body(Ok(Bytes::new())).unwrap())
    }
}

/// A body of some pieces. Before each of them, the decoder has time to wait for it.
struct Pieces {
    pieces: VecDeque<Bytes>,
    is_complete: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.pieces.pop_front() {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if self.is_complete => None,
            None => Some(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

pub(super) fn options() -> EventOptions {
    EventOptions {
        ack: Ack::Accepted,
        ..EventOptions::default()
    }
}

pub(super) fn text_of(response: http::Response<Full<Bytes>>) -> String {
    let body = pin!(response.into_body().collect());
    match body.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(body) => String::from_utf8_lossy(&body.unwrap().to_bytes()).into_owned(),
        Poll::Pending => panic!("a full body is complete"),
    }
}

/// Replaces the id, which is different in each event.
fn without_ids(body: &str) -> String {
    match body.split_once(r#""id":""#) {
        Some((before, after)) => format!(
            "{before}\"id\":\"{}",
            after.trim_start_matches(|c: char| c.is_ascii_digit())
        ),
        None => body.to_owned(),
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const MAIL: &str = r#"{"key":"in.gen.wh.mail","id":""}"#;
pub(super) const GIF: &str = "GIF89a";

/// Returns the body of a rejection.
pub(super) fn rejected(reason: &str) -> String {
    format!(r#"{{"message":"Bad Request","reason":"{reason}"}}"#)
}
