//! Collect: identifies, routes, ingests and answers one request. The file follows an event from top
//! to bottom.
//!
//! A request of many events branches off into [`batch`] once its body is known.

mod adapted;
mod batch;
mod client;
mod content_coding;
pub(crate) mod echo;
mod encoded;
pub(crate) mod head;
pub(crate) mod idempotency;
pub(crate) mod item_path;
mod json_rpc;
mod offload;
mod once;
pub(crate) mod options;
pub(crate) mod own_paths;
pub(crate) mod private;
pub(crate) mod rate;
pub(crate) mod rate_limit;
pub(crate) mod redirect_policy;
mod redirects;
mod reject;
mod resolve;
mod response;
pub(crate) mod route;
mod throttle;
pub(crate) mod upload;
mod verified;
pub(crate) mod websocket;

#[cfg(test)]
mod tests;

use std::{
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use http::{Method, Uri, header, request::Parts};
use tokio::sync::Semaphore;

pub(crate) use self::response::{PendingResponse, Response};
use crate::{
    ack::{Ack, UnknownAck},
    adapters::Adapter,
    answer::{Answer, PendingAck, ResponseDraft, cookie::Cookie, cors::CorsPolicy, header_set::HeaderSet},
    arena::{self, Arena},
    collect::{
        batch::{AsBatch, BatchRequest, Place, is_lines},
        head::{Arrival, RequestHead},
        once::{Reply, idempotency_of},
        options::{EventOptions, ResumableUploads},
        private::{PrivateRoutes, Sent},
        rate::Rates,
        redirects::Redirects,
        resolve::{declared, declares_batch},
        response::{accepted, answer_of},
        route::{Destination, Route, Routes, verifications},
        throttle::too_many_requests,
    },
    identify::{Proxies, auto_domain},
    intake::{
        event::{Event, Sink},
        rejection::Rejection,
    },
    json::ErrorKind,
    request::{
        body::{BodyError, Payload},
        envelope::Envelope,
        progress::BodyTimeouts,
        read_body::{BodyLimits, ReadBodyError, ReadyBody},
        target::Target,
        turns::Turns,
    },
    verify::{Unverified, guard::Guard},
    writer::Writer,
};

/// The state that all requests of one layer share.
#[derive(Debug)]
pub(crate) struct Collector {
    writer: Writer,
    /// The visitor's cookie, if there is one.
    cookie: Option<Cookie>,
    cors: CorsPolicy,
    headers: HeaderSet,
    proxies: Proxies,
    body_limits: BodyLimits,
    bulk_limits: BodyLimits,
    catch_all: bool,
    /// The acknowledgement level of an event that is neither an image nor a redirect, if its route
    /// sets none.
    ack: Ack,
    ack_by_header: bool,
    ack_timeout: Duration,
    /// The maximum size of the rows of one request, in bytes.
    max_rows_bytes: usize,
    /// The browser library that `/lib.js` sends; empty for none.
    library: Arc<str>,
    /// The rate limits; `None` if there are none.
    rates: Option<Rates>,
    /// The verified routes; `None` if there are none.
    guard: Option<Arc<Guard>>,
    /// The policies of redirects; `None` if all of them are open.
    redirects: Option<Redirects>,
    /// The routes with privacy options; `None` if there are none.
    private: Option<PrivateRoutes>,
    /// Limits the number of batches that are decoded at a time.
    batch_permits: Arc<Semaphore>,
    body_turns: Turns,
    /// Limits the number of uploads in progress.
    uploads: Arc<Semaphore>,
    /// Whether a route takes logs of OpenTelemetry.
    takes_otlp_logs: bool,
    /// The uploads that go on after a cut; `None` if there are none.
    resumable: Option<Arc<upload::Store>>,
}

/// The maximum size of a request's rows, as a multiple of the largest batch. Each row contains
/// the query and headers, which the request contains once, so short items make much longer rows.
const MAX_EXPANSION: usize = 16;

/// Returns the number of batches to decode at a time: half the number of cores, so that the event
/// loops have the other half.
fn max_batch_decodings() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

/// Returns the uploads that go on after a cut. Their rows need a disk.
fn resumable_uploads(options: Option<&ResumableUploads>, writer: &Writer) -> Option<Arc<upload::Store>> {
    let store = Arc::new(upload::Store::new(options.filter(|_| writer.has_disk())?));
    store.sweep_on(writer.runtime());
    Some(store)
}

/// The result of processing the body.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all results are drafts, and a box would cost each of them an allocation"
)]
enum Processed {
    Draft(ResponseDraft),
    /// A batch whose items are not decoded yet.
    Batch(Box<BatchRequest>),
    /// A compressed body.
    Encoded(Box<ReadyBody>),
}

impl From<ResponseDraft> for Processed {
    fn from(draft: ResponseDraft) -> Self {
        Self::Draft(draft)
    }
}

/// The handling of a request, as far as its head determines it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    /// The inner service answers the request.
    Inner,
    /// The collector answers the request.
    Event {
        /// The route of the declared destination that the path names.
        route: Option<Route>,
        /// Whether the answer waits for the body.
        reads_body: bool,
    },
    /// The collector decodes the body while it arrives.
    Upload {
        /// The route of the declared destination that the path names.
        route: Option<Route>,
    },
}

impl Collector {
    pub(crate) fn new(writer: Writer, options: &EventOptions, destinations: &'static [Destination]) -> Self {
        let domain = options.domain.as_deref().and_then(auto_domain);
        let body_limits = BodyLimits {
            max_bytes: options.max_body_bytes,
            max_array_bytes: options.max_bulk_bytes.max(options.max_body_bytes),
            timeout: BodyTimeouts::new(
                options.body_stall_timeout,
                options.body_timeout,
                options.min_body_bytes_per_second,
            ),
        };
        let guard = Guard::new(verifications(destinations), &options.secrets);
        if let Some(guard) = &guard {
            guard.reload_on(writer.runtime());
            for verification in guard.verifications() {
                for reason in Unverified::ALL {
                    writer.unverified().add(verification.route, reason.name(), 0);
                }
            }
        }
        Self {
            takes_otlp_logs: adapted::speaks(Adapter::OtlpLogs, destinations),
            uploads: upload::permits(writer.request_memory().max()),
            resumable: resumable_uploads(options.resumable_uploads.as_ref(), &writer),
            writer,
            cookie: options
                .cookie
                .as_ref()
                .map(|cookie| Cookie::new(cookie, domain.as_deref(), options.headers, SystemTime::now())),
            cors: CorsPolicy::new(&options.allowed_origins, options.domain.as_deref()),
            headers: options.headers,
            proxies: Proxies {
                trusted: options.trusted_proxies.clone(),
                address_header: options.client_address_header.clone(),
            },
            body_limits,
            bulk_limits: BodyLimits {
                max_bytes: options.max_bulk_bytes,
                max_array_bytes: options.max_bulk_bytes,
                ..body_limits
            },
            catch_all: options.catch_all,
            ack: options.ack,
            ack_by_header: options.ack_by_header,
            ack_timeout: options.ack_timeout,
            max_rows_bytes: options.max_bulk_bytes.saturating_mul(MAX_EXPANSION),
            library: Arc::clone(&options.library),
            rates: Rates::new(options, destinations),
            guard,
            redirects: Redirects::new(destinations),
            private: PrivateRoutes::new(destinations),
            batch_permits: Arc::new(Semaphore::new(max_batch_decodings())),
            body_turns: Turns::new(),
        }
    }

    /// Returns the turns in which the bodies of all requests are read.
    pub(crate) fn body_turns(&self) -> &Turns {
        &self.body_turns
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Returns the limits for a body of `length` bytes, or of unknown length. Checks whether the
    /// body is declared as many events only if it may exceed the limits of one event. The limits of a
    /// compressed body apply again once it is decoded.
    pub(crate) fn body_limits(&self, length: Option<u64>, parts: &Parts, route: Option<&Route>) -> BodyLimits {
        let is_small = length.is_some_and(|length| length <= self.body_limits.max_bytes as u64);
        if !is_small && (declares_batch(parts, route) || parts.headers.contains_key(header::CONTENT_ENCODING)) {
            self.bulk_limits
        } else {
            self.body_limits
        }
    }

    /// Returns the limits for a body that is decoded from another one.
    fn decoded_limits(&self, parts: &Parts, route: Option<&Route>) -> BodyLimits {
        match declares_batch(parts, route) {
            true => self.bulk_limits,
            false => self.body_limits,
        }
    }

    /// Decides by method and path alone: no field of a query or a body can turn a request for the
    /// inner service into an event.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        let path = uri.path();
        let route = R::find_path(path).or_else(|| declared::<R>(&Target::parse(path)));
        if route.is_none()
            && path.starts_with("/upload/")
            && let Some(decision) = self.decide_upload::<R>(method, path)
        {
            return decision;
        }
        if !self.catch_all && route.is_none_or(|route| !route.methods().accept(method)) {
            return Decision::Inner;
        }
        Decision::Event {
            route,
            reads_body: match route {
                Some(route) => route.methods().read_body(method),
                None => *method == Method::POST,
            },
        }
    }

    /// Answers a request; if the request is an event, records it first.
    pub(crate) fn answer<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
    ) -> Response {
        if let Some(adapter) = adapted::adapter_of(arrival.route()) {
            return self.answer_adapted::<R>(adapter, parts, body, arrival);
        }
        if arrival.route().is_none() && self.catch_all {
            if json_rpc::is_call(&parts) {
                return self.answer_calls::<R>(parts, body, arrival);
            }
            if websocket::is_handshake(&parts) {
                return self.open_session::<R>(parts, arrival);
            }
            if self.takes_otlp_logs && adapted::is_other_signal(&parts) {
                return self.refuse_signal(parts, arrival);
            }
            if client::is_requested(&parts) {
                return Response::Ready(client::respond(&parts));
            }
        }
        if offload::is_long(&body) {
            return self.answer_offloaded::<R>(parts, body, arrival);
        }
        self.answer_here::<R>(parts, body, arrival)
    }

    /// Answers a request on the current thread.
    // Two callers: without this, the compiler inlines neither, and an event takes 2 % longer.
    #[inline(always)]
    fn answer_here<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
    ) -> Response {
        match arena::with(|arena| self.process::<R>(&parts, body, arrival, arena)) {
            Processed::Encoded(body) => self.answer_encoded::<R>(parts, *body, arrival),
            Processed::Draft(draft) => self.respond(parts, draft, arrival),
            Processed::Batch(request) => self.respond_to_batch(parts, request, arrival),
        }
    }

    #[inline(always)]
    fn process<R: Routes>(
        &self,
        parts: &Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
        arena: &Arena,
    ) -> Processed {
        let head = RequestHead::read(parts, arrival, &self.proxies, arena);
        if let Some(answer) = self.answer_without_event::<R>(&head) {
            let refusal = match &self.guard {
                Some(guard) if parts.method == Method::HEAD => self.refusal::<R>(guard, &head, &[]),
                _ => None,
            };
            return self.draft(refusal.unwrap_or(answer), &head, None).into();
        }
        if let Err(answer) = self.check_rate_of_address(&head) {
            return self.draft(answer, &head, None).into();
        }
        let body = match body {
            Ok(body) => body,
            Err(error) => return self.draft(error.into(), &head, None).into(),
        };
        // A signature covers the body as it was sent, before it is decompressed.
        if let Some(guard) = &self.guard
            && let Some(answer) = self.refusal::<R>(guard, &head, &body.bytes)
        {
            return self.draft(answer, &head, None).into();
        }
        self.process_body::<R>(&head, body, arena)
    }

    #[inline(always)]
    fn process_body<R: Routes>(&self, head: &RequestHead<'_>, body: ReadyBody, arena: &Arena) -> Processed {
        if let Some(adapter) = adapted::adapter_of(head.route.as_ref()) {
            return self.begin_adapted::<R>(adapter, head, body, arena);
        }
        let ReadyBody {
            bytes: body,
            booking,
            // The next body has its turn once this one is processed.
            turn,
        } = body;
        let payload = match head.payload(&body, arena) {
            Ok(payload) => payload,
            Err(BodyError::Encoded) => {
                return Processed::Encoded(Box::new(ReadyBody {
                    bytes: body,
                    booking,
                    turn,
                }));
            }
            Err(error) => return self.reject_body::<R>(head, &body, error).into(),
        };
        if let Payload::Batch { text, format } = payload {
            let text = Place::of(text, &body);
            return self.begin_batch::<R>(head, text.take_from(body), AsBatch::new(format), booking);
        }
        let recorded = match Envelope::open(&payload, arena) {
            Ok(envelope) => self.record::<R>(head, &body, &payload, &envelope, arena),
            Err(_) if is_lines(payload.json_text()) => Err(AsBatch::LINES),
            Err(error) => Ok(self.reject_malformed::<R>(&Rejection::Syntax(error), head, &body, &payload, None)),
        };
        match recorded {
            Ok(draft) => Processed::Draft(draft),
            Err(as_batch) => {
                let text = match (self.unhidden::<R>(head, &payload, arena), payload) {
                    (Some(text), _) => Place::Converted(text),
                    (None, Payload::Json(text)) => Place::of(text, &body),
                    _ => Place::WHOLE_BODY,
                };
                self.begin_batch::<R>(head, text.take_from(body), as_batch, booking)
            }
        }
    }

    /// Routes an event, ingests it and answers.
    ///
    /// # Errors
    ///
    /// The body has many events, and none of them is recorded.
    fn record<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        envelope: &Envelope<'_>,
        arena: &Arena,
    ) -> Result<ResponseDraft, AsBatch> {
        let claims = envelope.claims();
        let mut uid = self.visitor(head, &claims);
        let Some((address, route)) = self.route::<R>(head, &claims) else {
            // `Envelope::open` may have skipped the body. Malformed JSON is an error on any path.
            return Ok(match payload.check() {
                Ok(()) => self.draft(Answer::NOT_FOUND, head, Some(uid)),
                Err(error) => self.reject_malformed::<R>(&Rejection::Syntax(error), head, body, payload, Some(uid)),
            });
        };
        // A field of the body has led to the route, which may be a verified one.
        if let Some(guard) = &self.guard
            && head.route.is_none()
            && let Some(answer) = self.refusal_of_route(guard, &route, head, body)
        {
            return Ok(self.draft(answer, head, Some(uid)));
        }
        if let Some(options) = route.options {
            if let Some(answer) = options.echo.and_then(|echo| echo.answer(&head.query, payload, arena)) {
                return Ok(self.draft(answer, head, Some(uid)));
            }
            if options.items.is_some() {
                return Err(AsBatch::DOCUMENT);
            }
        }
        let mut meta = self.event_meta(head, &address, uid);
        let is_recorded = match route.options {
            Some(options) if options.is_selective() => self.select(options, &mut meta, &mut uid, head, payload, arena),
            _ => true,
        };
        let mut answer = answer_of(&meta, head.query.text("to").or(envelope.to.as_deref()));
        if let Err(retry_after) = self.check_rate_of_route(&address) {
            let answer = match answer {
                Answer::Pixel | Answer::Redirect(_) => answer,
                _ => too_many_requests(retry_after),
            };
            return Ok(self.draft(answer, head, Some(uid)));
        }
        if let Some(fixed) = route.answer() {
            answer = Answer::Fixed(fixed);
        }
        if !is_recorded {
            return Ok(self.draft(answer, head, Some(uid)));
        }
        // The collector sends an image or a redirect even if it rejects the event, and an error
        // promises nothing: none of these waits for an acknowledgement by default.
        let best_effort = !matches!(
            answer,
            Answer::Recorded { .. } | Answer::Tracked { .. } | Answer::Pong | Answer::Hi | Answer::Fixed(_)
        );
        let requested = match self.requested_ack(route.acks, head) {
            Ok(requested) => requested,
            Err(UnknownAck) => return Ok(self.draft(Answer::UNKNOWN_ACK, head, Some(uid))),
        };
        let ack = requested.unwrap_or(if best_effort { Ack::Accepted } else { self.ack });
        let event = Event {
            meta,
            query: &head.query,
            payload,
            ack,
            hiding: route.options.map_or(&[], |options| options.hiding),
            arena,
        };
        let taken = match idempotency_of(&route) {
            None => (route.handler)(&event, Sink::Block(&self.writer)),
            Some(once) => {
                let reply = Reply {
                    answer: answer.clone(),
                    requested,
                    best_effort,
                    uid,
                };
                match self.record_once(once, route.handler, head, body, &event, reply) {
                    Ok(draft) => return Ok(draft),
                    Err(rejection) => Err(rejection),
                }
            }
        };
        let rejection = match taken {
            Ok(receipt) => {
                let draft = self.draft(answer, head, Some(uid));
                return Ok(if receipt.is_pending() {
                    draft.waiting_for(PendingAck {
                        receipt,
                        ack,
                        best_effort,
                    })
                } else {
                    accepted(draft, requested, ack)
                });
            }
            Err(rejection) => rejection,
        };
        if let Rejection::Syntax(error) = &rejection
            && error.kind != ErrorKind::PathsTooLong
        {
            if is_lines(payload.json_text()) {
                return Err(AsBatch::LINES_OF_COUNTED_REQUEST);
            }
            return Ok(self.reject_malformed::<R>(&rejection, head, body, payload, Some(uid)));
        }

        self.writer.rejections().count_event(rejection.code());
        let message = rejection.message(payload.json_text());
        if let Some(dead_letter) = rejection.dead_letter(head, &event.meta, &message) {
            match route.options {
                Some(options) if options.privacy.is_some() => {
                    self.write_private_dead_letter(
                        options,
                        &event.meta,
                        head,
                        Sent::of(head, payload, body),
                        &dead_letter,
                    );
                }
                _ => self.write_dead_letter(head, body, &dead_letter),
            }
        }
        let answer = match answer {
            Answer::Pixel | Answer::Redirect(_) => answer,
            _ => rejection.answer(&message),
        };
        Ok(self.draft(answer, head, Some(uid)))
    }
}
