//! Respond: the requests of the protocol.

use std::{
    future::ready,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;

use super::{
    decode::{Report, decode},
    headers::{self, Checksum},
    receive::{ReceiveError, receive},
    record::{UploadId, upload_id},
    store::{Held, Store, StoreError, Upload},
};
use crate::{
    answer::Answer,
    arena,
    collect::{
        Collector,
        head::{Arrival, RequestHead},
        offload::{finished, unavailable},
        resolve::{VisitorUid, declared},
        route::Routes,
        upload::{
            feed::Feed,
            frame_queue::{End, FrameQueue},
            target::route_uri,
        },
    },
    request::target::Target,
};

/// The longest wait for another request to the same upload, in which it ends or decodes.
const MAX_WAIT: Duration = Duration::from_secs(50);

/// The memory booked for a request that receives a part of an upload, in bytes: the frames that are not
/// in the file yet.
const RECEIVE_BYTES: usize = 1 << 20;

/// The longest wait of a request that only asks.
const MAX_WAIT_TO_ASK: Duration = Duration::from_secs(5);

/// The headers of responses that a page may read.
const EXPOSED: &str = "Location, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, \
     Tus-Version, Upload-Expires, Upload-Length, Upload-Offset";

/// The methods that a preflight allows.
const METHODS: &str = "GET, POST, HEAD, PATCH, DELETE";

/// A response before its headers for browsers.
struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
}

impl Reply {
    fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
        }
    }

    fn refused(status: StatusCode, reason: &str) -> Self {
        let message = status.canonical_reason().unwrap_or("Error");
        let body = serde_json::json!({ "message": message, "reason": reason });
        Self {
            body: Some(body.to_string()),
            ..Self::new(status)
        }
    }

    fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn with_text(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.with(name, value),
            Err(_) => self,
        }
    }

    /// Returns the reply with the facts about an upload that is known.
    fn about(self, upload: &Upload) -> Self {
        let expires = upload.expires();
        let expires = jiff::Timestamp::try_from(expires).map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        let reply = self.with(headers::OFFSET, upload.offset());
        match expires {
            Ok(expires) => reply.with_text(headers::EXPIRES, &expires),
            Err(_) => reply,
        }
    }

    /// Returns the reply to a request whose upload is decoded, or cannot be.
    fn of_report(report: &Report, success: StatusCode) -> Self {
        let status = StatusCode::from_u16(report.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status.is_success() {
            true => Self::new(success),
            false => Self {
                body: Some(report.1.clone()),
                ..Self::new(status)
            },
        }
    }
}

impl From<ReceiveError> for Reply {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Refused(status, reason) => Self::refused(status, reason),
            ReceiveError::Cut(End::TimedOut) => Self::refused(StatusCode::REQUEST_TIMEOUT, "the body made no progress"),
            ReceiveError::Cut(_) => Self::refused(StatusCode::BAD_REQUEST, "the body was cut"),
            ReceiveError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Reply {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::refused(
                StatusCode::INSUFFICIENT_STORAGE,
                "the uploads have reached their limit until one of them ends or expires",
            ),
            StoreError::Disk(error) => {
                tracing::error!(%error, "an upload cannot be written to disk");
                Self::refused(StatusCode::SERVICE_UNAVAILABLE, "the disk of the collector fails")
            }
        }
    }
}

/// The outcome of a check; `Err` is the reply.
type Checked<T> = Result<T, Box<Reply>>;

fn refused<T>(status: StatusCode, reason: &str) -> Checked<T> {
    Err(Box::new(Reply::refused(status, reason)))
}

/// The request that a method and a path make.
enum Call {
    Options,
    Create { length: u64, media_type: Option<String> },
    Append { upload: Arc<Upload>, offset: u64 },
    Ask(Arc<Upload>),
    Report(Arc<Upload>),
    Remove(Arc<Upload>),
}

impl Collector {
    /// Answers a request of the protocol.
    pub(in crate::collect::upload) fn answer_tus<R: Routes>(
        self: Arc<Self>,
        store: Arc<Store>,
        parts: Parts,
        arrival: Arrival,
    ) -> Feed {
        let timeouts = self.body_limits.timeout;
        let call = self.check_call::<R>(&store, &parts, arrival);
        let checksum = Checksum::of(&parts.headers);
        let (call, checksum) = match (call, checksum) {
            (Ok(call), Ok(checksum)) => (call, checksum),
            (Err(reply), _) => {
                return Feed::without_body(timeouts, Box::pin(ready(self.render(&parts, arrival, *reply))));
            }
            (_, Err(status)) => {
                let reply = Reply::refused(status, "Upload-Checksum must be sha1 or sha256, and base64");
                return Feed::without_body(timeouts, Box::pin(ready(self.render(&parts, arrival, reply))));
            }
        };
        let has_part = matches!(call, Call::Create { .. } | Call::Append { .. }) && headers::has_part(&parts.headers);
        let mut booking = self.writer.request_memory().booking();
        if has_part && booking.grow_to(RECEIVE_BYTES).is_err() {
            let reply = Reply::refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests are in progress");
            return Feed::without_body(timeouts, Box::pin(ready(self.render(&parts, arrival, reply))));
        }
        let queue = Arc::new(FrameQueue::default());
        let frames = Arc::clone(&queue);
        let runtime = self.writer.runtime().clone();
        // The bytes before a cut are kept, and an upload that is complete is decoded, without the client.
        let task = runtime.spawn(async move {
            let _booking = booking;
            let reply = self
                .call::<R>(&store, call, has_part.then_some((frames, checksum)), &parts, arrival)
                .await;
            self.render(&parts, arrival, reply.unwrap_or_else(|reply| *reply))
        });
        let response = Box::pin(async { finished(task.await).unwrap_or_else(unavailable) });
        match has_part {
            true => Feed::new(queue, timeouts, response),
            false => Feed::without_body(timeouts, response),
        }
    }

    /// Checks everything about a request but its body.
    fn check_call<R: Routes>(&self, store: &Store, parts: &Parts, arrival: Arrival) -> Checked<Call> {
        let method = headers::method(parts);
        if method == Method::OPTIONS {
            return Ok(Call::Options);
        }
        let path = parts.uri.path();
        let upload = upload_id(path).map(|id| store.find(id));
        if method == Method::GET
            && let Some(Some(upload)) = upload
        {
            return Ok(Call::Report(upload));
        }
        let version = parts.headers.get(headers::RESUMABLE);
        if version.is_none_or(|version| version != headers::VERSION_1) {
            return Err(Box::new(
                Reply::refused(StatusCode::PRECONDITION_FAILED, "Tus-Resumable must be 1.0.0")
                    .with(headers::VERSION, HeaderValue::from_static(headers::VERSION_1)),
            ));
        }
        match (method, upload) {
            (Method::POST, None) => self.check_creation::<R>(store, parts, arrival),
            (_, Some(None)) => refused(
                StatusCode::NOT_FOUND,
                "the upload has ended long ago, or was never there",
            ),
            (Method::HEAD, Some(Some(upload))) => Ok(Call::Ask(upload)),
            (Method::DELETE, Some(Some(upload))) => Ok(Call::Remove(upload)),
            (Method::PATCH, Some(Some(upload))) => {
                if !headers::has_part(&parts.headers) {
                    return refused(
                        StatusCode::UNSUPPORTED_MEDIA_TYPE,
                        "the Content-Type must be application/offset+octet-stream",
                    );
                }
                match headers::number(&parts.headers, headers::OFFSET) {
                    Some(offset) => Ok(Call::Append { upload, offset }),
                    None => refused(StatusCode::BAD_REQUEST, "Upload-Offset must be a number of bytes"),
                }
            }
            _ => refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "an upload has POST, HEAD, PATCH, DELETE and GET",
            ),
        }
    }

    /// Checks the request for a new upload: its route must take uploads.
    fn check_creation<R: Routes>(&self, store: &Store, parts: &Parts, arrival: Arrival) -> Checked<Call> {
        let Some(length) = headers::number(&parts.headers, headers::LENGTH) else {
            return refused(StatusCode::BAD_REQUEST, "Upload-Length must be a number of bytes");
        };
        if length > store.max_bytes {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "the upload is longer than Tus-Max-Size");
        }
        let Ok(media_type) = headers::media_type(&parts.headers) else {
            return refused(
                StatusCode::BAD_REQUEST,
                "Upload-Metadata must be names and base64 of up to 4096 bytes",
            );
        };
        let mut route_parts = parts.clone();
        route_parts.uri = route_uri(route_parts.uri);
        let path = route_parts.uri.path();
        let route = R::find_path(path).or_else(|| declared::<R>(&Target::parse(path)));
        arena::with(|arena| {
            let head = RequestHead::read(&route_parts, arrival.with_route(route), &self.proxies, arena);
            let route = self.check_route_of_upload::<R>(&head).map_err(|answer| {
                let status = answer.status();
                let reason = match answer {
                    Answer::Failed {
                        reason: Some(reason), ..
                    } => reason,
                    _ => "the route does not take this upload",
                };
                Box::new(Reply::refused(status, reason))
            })?;
            if route.options.is_some_and(|options| options.idempotency.is_some()) {
                return refused(
                    StatusCode::BAD_REQUEST,
                    "the events of this route have idempotency keys of their own: send the upload in one request",
                );
            }
            Ok(Call::Create { length, media_type })
        })
    }

    async fn call<R: Routes>(
        self: &Arc<Self>,
        store: &Store,
        call: Call,
        part: Option<(Arc<FrameQueue>, Option<Checksum>)>,
        parts: &Parts,
        arrival: Arrival,
    ) -> Checked<Reply> {
        match call {
            Call::Options => Ok(Reply::new(StatusCode::NO_CONTENT)
                .with(headers::VERSION, HeaderValue::from_static(headers::VERSION_1))
                .with(headers::EXTENSION, HeaderValue::from_static(headers::EXTENSIONS))
                .with(
                    headers::CHECKSUM_ALGORITHM,
                    HeaderValue::from_static(headers::ALGORITHMS),
                )
                .with(headers::MAX_SIZE, store.max_bytes)),
            Call::Create { length, media_type } => {
                let target = route_uri(parts.uri.clone());
                let target = target.path_and_query().map_or("/", |target| target.as_str());
                let upload = store.create(target, length, media_type);
                let upload = upload.map_err(|error| Box::new(error.into()))?;
                let location = upload.id.location();
                let reply = match part {
                    None if length > 0 => Reply::new(StatusCode::CREATED),
                    part => {
                        let mut held = hold(store, &upload, MAX_WAIT).await?;
                        self.append::<R>(store, &mut held, 0, part, parts, arrival, StatusCode::CREATED)
                            .await
                    }
                };
                Ok(reply.with_text(header::LOCATION, &location).about(&upload))
            }
            Call::Append { upload, offset } => {
                let mut held = hold(store, &upload, MAX_WAIT).await?;
                let known = upload.offset();
                // The upload has become complete while this request waited, so its byte is there.
                if let Some(report) = &held.record.report
                    && (offset == upload.length || offset.checked_add(1) == Some(upload.length))
                {
                    return Ok(Reply::of_report(report, StatusCode::NO_CONTENT).about(&upload));
                }
                if offset != known {
                    let reason = format!("the offset of the upload is {known}");
                    return Err(Box::new(Reply::refused(StatusCode::CONFLICT, &reason).about(&upload)));
                }
                let reply = self
                    .append::<R>(store, &mut held, offset, part, parts, arrival, StatusCode::NO_CONTENT)
                    .await;
                Ok(reply.about(&upload))
            }
            Call::Ask(upload) => {
                // While the upload is decoded, its offset does not change.
                let held = match upload.is_decoding.load(Ordering::Acquire) {
                    true => None,
                    false => Some(hold(store, &upload, MAX_WAIT_TO_ASK).await),
                };
                if let Some(Err(reply)) = held
                    && !upload.is_decoding.load(Ordering::Acquire)
                {
                    return Err(reply);
                }
                let reply = Reply::new(StatusCode::OK).with(headers::LENGTH, upload.length);
                Ok(reply
                    .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
                    .about(&upload))
            }
            Call::Report(upload) => {
                if upload.offset() < upload.length {
                    return refused(StatusCode::NOT_FOUND, "the upload is not complete");
                }
                let held = hold(store, &upload, MAX_WAIT_TO_ASK).await?;
                let (_, body) = held.record.report.clone().unwrap_or_default();
                Ok(Reply {
                    body: Some(body),
                    ..Reply::new(StatusCode::OK)
                })
            }
            Call::Remove(upload) => {
                let held = hold(store, &upload, MAX_WAIT_TO_ASK).await?;
                store.remove(&held);
                Ok(Reply::new(StatusCode::NO_CONTENT))
            }
        }
    }

    /// Appends a part to an upload, and decodes it once it is complete.
    #[expect(clippy::too_many_arguments, reason = "all of them are parts of one request")]
    async fn append<R: Routes>(
        self: &Arc<Self>,
        store: &Store,
        held: &mut Held,
        offset: u64,
        part: Option<(Arc<FrameQueue>, Option<Checksum>)>,
        parts: &Parts,
        arrival: Arrival,
        success: StatusCode,
    ) -> Reply {
        let has_checksum = matches!(&part, Some((_, Some(_))));
        held.record.unchecked_from = has_checksum.then_some(offset);
        if let Err(error) = store.touch(held) {
            return StoreError::from(error).into();
        }
        let mut received = Ok(());
        if let Some((queue, checksum)) = part {
            held.upload.receive(&queue);
            received = receive(store, held, &queue, offset, checksum).await;
        }
        // A write that failed may have left bytes whose checksum is not checked.
        if !matches!(received, Err(ReceiveError::Store(StoreError::Disk(_)))) {
            held.record.unchecked_from = None;
        }
        // The time without a request begins at its end.
        if let Err(error) = store.touch(held) {
            return StoreError::from(error).into();
        }
        if let Err(error) = received {
            return error.into();
        }
        let length = held.upload.length;
        let is_complete = length == 0 || self.file_length(store, held.upload.id) == length;
        match is_complete {
            false => Reply::new(success),
            true => {
                let report = decode::<R>(self, store, held, parts.clone(), arrival).await;
                Reply::of_report(&report, success)
            }
        }
    }

    fn file_length(&self, store: &Store, id: UploadId) -> u64 {
        std::fs::metadata(id.data_file(store.folder())).map_or(0, |data| data.len())
    }

    /// Returns the response, with the headers that a page of another origin needs.
    fn render(&self, parts: &Parts, arrival: Arrival, reply: Reply) -> Response<Full<Bytes>> {
        let mut response = arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.proxies, arena);
            let answer = match parts.method {
                Method::OPTIONS => Answer::Preflight(&[]),
                _ => Answer::Replies(reply.body.as_deref().unwrap_or_default()),
            };
            let no_visitor = VisitorUid {
                of_event: 0,
                of_cookie: None,
            };
            let draft = self.draft(answer, &head, Some(no_visitor));
            draft.into_response(HeaderMap::new(), arrival.elapsed_ms())
        });
        self.writer.rejections().count_response(reply.status);
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(headers::RESUMABLE, HeaderValue::from_static(headers::VERSION_1));
        headers.extend(reply.headers);
        if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            if parts.method == Method::OPTIONS {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            }
        }
        if parts.method == Method::OPTIONS {
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_LENGTH);
            *response.body_mut() = Full::default();
        }
        response
    }
}

/// Takes the files of an upload, once no other request has them.
async fn hold(store: &Store, upload: &Arc<Upload>, wait: Duration) -> Checked<Held> {
    let held = Arc::clone(upload).hold(wait).await;
    match held {
        // It may have been removed meanwhile.
        Some(_) if store.find(upload.id).is_none() => refused(
            StatusCode::NOT_FOUND,
            "the upload has ended long ago, or was never there",
        ),
        Some(held) => Ok(held),
        None => Err(Box::new(Reply::refused(
            StatusCode::LOCKED,
            "another request to this upload is in progress; try again",
        ))),
    }
}
