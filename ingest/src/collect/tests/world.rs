//! A collector of one table, and the outcomes of its requests.

use std::{
    cell::RefCell,
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
use http_body_util::BodyExt;
use tokio::runtime::Runtime;

use crate::{
    ack::{Ack, AckPolicy},
    adapters::Adapter,
    answer::FixedAnswer,
    block::receipt::Receipt,
    collect::{
        Collector, Decision, Response,
        echo::Echo,
        head::Arrival,
        item_path::ItemPath,
        options::EventOptions,
        own_paths::{Methods, OwnPaths},
        route::{Destination, Route, RouteOptions, Routes},
    },
    intake::{
        event::{Event, Sink},
        intake,
        rejection::Rejection,
        testing::{TABLE, TestRow, row_text},
    },
    privacy::{PersonalColumn, Privacy},
    request::{
        read_body::{ReadBodyError, ReadyBody},
        turns::Turn,
    },
    store::{ClickHouseUrl, servers::Servers},
    table::Schema,
    writer::{Writer, WriterOptions},
};

static SCHEMA: Schema = Schema::new(&[&TABLE]);

/// The lowest valid uid; the rows below contain their uid minus this one.
const LOWEST_UID: u64 = 1_000_000_000;

thread_local! {
    /// The rows that the requests of this thread have made: address, sender and values.
    static ROWS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Ingests an event and notes the text of its row.
fn ingest(event: &Event<'_>, sink: Sink<'_>) -> Result<Receipt, Rejection> {
    let row = row_text::<false>(event);
    let receipt = intake::<TestRow<'_, false>>(event, sink)?;
    let meta = &event.meta;
    let project = meta.project.to_text().unwrap_or_default();
    let uid = meta.uid.wrapping_sub(LOWEST_UID);
    let sender = format!("{}/{} {uid} {project}", meta.service, meta.name);
    ROWS.with_borrow_mut(|rows| rows.push(format!("{sender} {}", row.unwrap()).trim_end().to_owned()));
    Ok(receipt)
}

const ROUTE: Route = Route {
    handler: ingest,
    acks: AckPolicy::NONE,
    options: None,
};

/// The route `wh/options`, with options of each kind.
pub(super) const OPTIONS_ROUTE: Route = Route {
    options: Some(&RouteOptions {
        own_paths: Some(OwnPaths {
            service: "wh",
            name: "options",
            paths: &["/track", "/v1/batch/", "/hooks/*"],
        }),
        methods: Methods(&["POST", "PUT", "GET"]),
        answer: Some(FixedAnswer {
            status: 202,
            content_type: Some("text/plain"),
            body: "ok",
        }),
        echo: Some(Echo {
            field: "challenge",
            is_json: false,
            token: None,
        }),
        hiding: &["address", "tags", "payload"],
        ..RouteOptions::NONE
    }),
    ..ROUTE
};

/// A route whose events are in an array that hides in a text.
const HIDDEN_BATCH: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                items: Some(ItemPath {
                    keys: &["events"],
                    shared: &["city"],
                }),
                hiding: &["events"],
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose documents have many events inside.
#[allow(clippy::needless_update, reason = "a route may have other options besides")]
const BATCH: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                items: Some(ItemPath {
                    keys: &["data", "events"],
                    shared: &["page", "n", "projectId"],
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route whose sender speaks the HTTP API of Segment.
const SEGMENT: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::Segment),
                own_paths: Some(OwnPaths {
                    service: "wh",
                    name: "segment",
                    paths: &["/v1/track", "/v1/batch"],
                }),
                methods: Methods(&["POST"]),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route that leaves out events without consent.
const CONSENT: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                privacy: Some(Privacy {
                    consent: Some("city"),
                    drops_without_consent: true,
                    ..Privacy::NONE
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for a tracker of Snowplow.
const SNOWPLOW: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::Snowplow),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for CloudEvents.
pub(super) const CLOUDEVENTS: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::CloudEvents),
                methods: Methods(&["POST"]),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

/// A route for CloudEvents that records nothing without consent, and has personal data.
pub(super) const CONSENTED_CLOUDEVENTS: Route = Route {
    options: Some(
        const {
            &RouteOptions {
                adapter: Some(Adapter::CloudEvents),
                privacy: Some(Privacy {
                    consent: Some("agreed"),
                    drops_without_consent: true,
                    columns: &[PersonalColumn {
                        name: "email",
                        paths: &["dataBase64"],
                        is_hashed: false,
                    }],
                    ..Privacy::NONE
                }),
                ..RouteOptions::NONE
            }
        },
    ),
    ..ROUTE
};

#[derive(Debug)]
pub(super) struct TestRoutes;

impl Routes for TestRoutes {
    const DESTINATIONS: &'static [Destination] = &[];

    fn schema() -> &'static Schema {
        &SCHEMA
    }

    fn find_path(path: &str) -> Option<Route> {
        if matches!(path, "/v1/track" | "/v1/batch") {
            return Some(SEGMENT);
        }
        let is_own = matches!(path, "/track" | "/v1/batch/") || (path.starts_with("/hooks/") && path.len() > 7);
        is_own.then_some(OPTIONS_ROUTE)
    }

    fn find(service: &str, name: &str) -> Option<Route> {
        if (service, name) == ("wh", "options") {
            return Some(OPTIONS_ROUTE);
        }
        if (service, name) == ("wh", "mandrill") {
            return Some(HIDDEN_BATCH);
        }
        if (service, name) == ("wh", "batch") {
            return Some(BATCH);
        }
        match (service, name) {
            ("wh", "consent") => return Some(CONSENT),
            ("wh", "segment") => return Some(SEGMENT),
            ("wh", "snowplow") => return Some(SNOWPLOW),
            ("wh", "cloudevents") => return Some(CLOUDEVENTS),
            ("wh", "consented") => return Some(CONSENTED_CLOUDEVENTS),
            _ => {}
        }
        let is_declared = matches!(
            (service, name),
            ("wh" | "pixel" | "redir", "mail") | ("track", "page") | ("hello", "ping")
        );
        is_declared.then_some(ROUTE)
    }

    fn fallback() -> Option<Route> {
        Some(ROUTE)
    }
}

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

    pub(super) fn respond(
        &self,
        request: Request<Result<Bytes, ReadBodyError>>,
    ) -> http::Response<http_body_util::Full<Bytes>> {
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
        let (parts, ()) = request.into_parts();
        let uri = parts.uri.clone();
        let route = match self.collector.decide::<TestRoutes>(&parts.method, &parts.uri) {
            Decision::Upload { route } | Decision::Event { route, .. } => route,
            Decision::Inner => panic!("{uri} is not an upload"),
        };
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), route);
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        self.outcome_of(|| {
            self.runtime.block_on(async {
                let mut feed = Arc::clone(&self.collector).begin_upload::<TestRoutes>(parts, arrival);
                let mut body = pin!(Pieces { pieces, is_complete });
                std::future::poll_fn(|cx| feed.poll(body.as_mut(), cx)).await
            })
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

    fn outcome_of(&self, respond: impl FnOnce() -> http::Response<http_body_util::Full<Bytes>>) -> Outcome {
        let counts = || self.collector.writer.rejections().counts().events;
        let before = counts();
        let response = respond();
        let codes = counts().into_iter().zip(before);
        let codes = codes.flat_map(|((code, after), (_, before))| (before..after).map(move |_| code));
        Outcome {
            status: response.status().as_u16(),
            body: without_ids(&text_of(response)),
            rows: ROWS.take(),
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
        ROWS.take()
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

fn text_of(response: http::Response<http_body_util::Full<Bytes>>) -> String {
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
