//! Begin: an upload's request without its body: its route, its format and its memory.

use std::{future::ready, sync::Arc};

use encoding_rs::UTF_8;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};

use crate::{
    ack::UnknownAck,
    answer::Answer,
    arena,
    collect::{
        Collector, Decision,
        head::{Arrival, RequestHead},
        idempotency::KeySource,
        offload::{finished, unavailable},
        once::idempotency_of,
        resolve::declared,
        route::{Route, Routes},
        throttle::too_many_requests,
        upload::{
            UPLOAD_BYTES,
            decode::Upload,
            feed::Feed,
            frame_queue::FrameQueue,
            input::Input,
            target::{route_uri, upload_path},
            tus,
        },
    },
    request::{
        batch_format::BatchFormat,
        body::BodyError,
        claims::Claims,
        content_type::{Declared, charset_of},
        target::Target,
    },
};

impl Collector {
    /// Returns the decision about a request to the path of an upload; `None` if the path is another
    /// one, or names no destination.
    #[cold]
    pub(in crate::collect) fn decide_upload<R: Routes>(&self, method: &http::Method, path: &str) -> Option<Decision> {
        if self.resumable.is_some() && tus::upload_id(path).is_some() {
            return Some(Decision::Upload { route: None });
        }
        let path = upload_path(path)?;
        let target = Target::parse(path);
        if target.service.is_empty() || target.name.is_empty() {
            return None;
        }
        let route = R::find_path(path).or_else(|| declared::<R>(&target));
        let is_method = match *method {
            http::Method::POST => true,
            http::Method::OPTIONS => self.resumable.is_some(),
            _ => false,
        };
        let is_upload = is_method && (route.is_some() || self.catch_all);
        is_upload.then_some(Decision::Upload { route })
    }

    /// Returns whether a request, to the path of an upload or to a route with the option `stream`, is
    /// an upload. On the route's own path, its body is longer than that of other requests may be, or of
    /// unknown length.
    #[cold]
    pub(crate) fn is_upload(&self, parts: &Parts, length: Option<u64>) -> bool {
        let is_long = length.is_none_or(|length| length > self.bulk_limits.max_bytes as u64);
        is_long || upload_path(parts.uri.path()).is_some()
    }

    /// Begins an upload. The answer may not need its body.
    #[cold]
    pub(crate) fn begin_upload<R: Routes>(self: Arc<Self>, mut parts: Parts, mut arrival: Arrival) -> Feed {
        arrival.mark_delayed();
        let timeouts = self.body_limits.timeout;
        if let Some(store) = self.resumable.as_ref().filter(|_| tus::is_request(&parts)) {
            let store = Arc::clone(store);
            return self.answer_tus::<R>(store, parts, arrival);
        }
        let has_report = upload_path(parts.uri.path()).is_some();
        parts.uri = route_uri(parts.uri);
        let upload = match self.accept_upload::<R>(parts, arrival) {
            // The path of an upload is that of a client of Rowmill's, and not of the route's sender.
            Ok(upload) if has_report => upload,
            Ok(upload) => Upload {
                answer: upload.route.answer(),
                ..upload
            },
            Err(response) => return Feed::without_body(timeouts, Box::pin(ready(*response))),
        };
        let queue = Arc::new(FrameQueue::default());
        let frames = Arc::clone(&queue);
        // The upload goes on without its connection: what is complete before a cut is recorded.
        let task = self.writer.runtime().spawn(async move {
            let encoding = upload.parts.headers.get(header::CONTENT_ENCODING);
            let encoding = encoding.map_or_else(Vec::new, |value| value.as_bytes().to_vec());
            let input = Input::open(frames, &encoding).await;
            upload.run(input).await
        });
        let response = async { finished(task.await).unwrap_or_else(unavailable) };
        Feed::new(queue, timeouts, Box::pin(response))
    }

    /// Checks everything about an upload but its body.
    pub(super) fn accept_upload<R: Routes>(
        self: &Arc<Self>,
        parts: Parts,
        arrival: Arrival,
    ) -> Result<Upload, Box<http::Response<http_body_util::Full<bytes::Bytes>>>> {
        let checked = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            let checked = self.check_upload::<R>(&head);
            checked.map_err(|answer| {
                let draft = self.draft(answer, &head, None);
                self.writer.rejections().count_response(draft.status());
                Box::new(draft.into_response(HeaderMap::new(), 0))
            })
        });
        let Checked {
            route,
            requested,
            format,
            charset,
            uid,
            permit,
            booking,
        } = checked?;
        Ok(Upload {
            collector: Arc::clone(self),
            has_declared_path: arrival.route().is_some(),
            parts,
            arrival,
            route,
            requested,
            ack: requested.unwrap_or(self.ack),
            answer: None,
            uid,
            format,
            text_decoder: charset.new_decoder_with_bom_removal(),
            booking: Some(booking),
            chain: None,
            _permit: permit,
        })
    }

    /// Checks the rate limits of an upload, and whether its route takes uploads.
    pub(super) fn check_route_of_upload<R: Routes>(&self, head: &RequestHead<'_>) -> Result<Route, Answer<'static>> {
        self.check_rate_of_address(head)?;
        let no_claims = Claims::default();
        let (address, route) = self.route::<R>(head, &no_claims).ok_or(Answer::NOT_FOUND)?;
        check_route(&route, head.parts)?;
        self.check_rate_of_route(&address).map_err(too_many_requests)?;
        Ok(route)
    }

    fn check_upload<R: Routes>(&self, head: &RequestHead<'_>) -> Result<Checked, Answer<'static>> {
        let route = self.check_route_of_upload::<R>(head)?;
        let requested = self
            .requested_ack(route.acks, head)
            .map_err(|UnknownAck| Answer::UNKNOWN_ACK)?;
        let content_type = head.parts.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map(HeaderValue::as_bytes);
        let charset = match content_type {
            None => UTF_8,
            Some(content_type) => charset_of(content_type).map_err(BodyError::from)?,
        };
        let permit = Arc::clone(&self.uploads).try_acquire_owned();
        let permit = permit.map_err(|_| Answer::FULL)?;
        let mut booking = self.writer.request_memory().booking();
        booking.grow_to(UPLOAD_BYTES).map_err(|_| Answer::FULL)?;
        Ok(Checked {
            route,
            requested,
            format: declared_format(content_type),
            charset,
            uid: self.visitor_without_event(head),
            permit,
            booking,
        })
    }
}

/// The facts about an upload that its head contains.
struct Checked {
    route: Route,
    requested: Option<crate::ack::Ack>,
    format: Option<BatchFormat>,
    charset: &'static encoding_rs::Encoding,
    uid: crate::collect::resolve::VisitorUid,
    permit: tokio::sync::OwnedSemaphorePermit,
    booking: crate::budget::Booking,
}

/// Returns the format that a type declares; `None` if the first character of the text decides.
fn declared_format(content_type: Option<&[u8]>) -> Option<BatchFormat> {
    let declared = Declared {
        content_type,
        ..Declared::default()
    };
    declared.batch_format()
}

/// Checks that the options of a route allow uploads.
fn check_route(route: &Route, parts: &Parts) -> Result<(), Answer<'static>> {
    let Some(options) = route.options else { return Ok(()) };
    if options.verify.is_some() {
        return Err(Answer::VERIFIED);
    }
    if options.has_items() {
        return Err(Answer::DOCUMENTS);
    }
    if let Some(once) = idempotency_of(route)
        && let KeySource::Header(name) = once.key
        && (once.required || parts.headers.contains_key(HeaderName::from_static(name)))
    {
        return Err(Answer::KEYED);
    }
    Ok(())
}

impl Answer<'static> {
    const VERIFIED: Self = Self::Failed {
        status: StatusCode::FORBIDDEN,
        reason: Some("requests to this route are verified with their whole body, so it takes no uploads"),
    };
    const DOCUMENTS: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("the events of this route are inside documents, so it takes no uploads"),
    };
    const KEYED: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("the idempotency key of this route covers a whole request, so an upload cannot have one"),
    };
}
