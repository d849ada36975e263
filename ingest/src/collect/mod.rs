//! Collect: identifies, routes, ingests and answers one request. The file follows an event from top
//! to bottom.
//!
//! A request of many events, one per line, branches off into [`ndjson`] once its body is known.

pub(crate) mod head;
mod ndjson;
mod offload;
pub(crate) mod options;
pub(crate) mod rate;
pub(crate) mod rate_limit;
mod reject;
mod rejected_lines;
mod resolve;
mod response;
pub(crate) mod route;
mod throttle;

#[cfg(test)]
mod tests;

use std::{
    num::NonZero,
    ptr,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use http::{Method, Uri, request::Parts};
use tokio::sync::Semaphore;

pub(crate) use self::response::{PendingResponse, Response};
use crate::{
    ack::{Ack, UnknownAck},
    answer::{Answer, PendingAck, ResponseDraft, cookie::Cookie, cors::CorsPolicy, header_set::HeaderSet},
    arena::{self, Arena},
    collect::{
        head::{Arrival, RequestHead},
        ndjson::NdjsonRequest,
        options::EventOptions,
        rate::Rates,
        resolve::{declared, declares_ndjson},
        response::{accepted, answer_of},
        route::{Destination, Route, Routes},
        throttle::too_many_requests,
    },
    identify::{TrustedProxies, auto_domain},
    intake::{
        event::{Event, Sink},
        rejection::Rejection,
    },
    json::ErrorKind,
    request::{
        body::Payload,
        envelope::Envelope,
        progress::BodyTimeouts,
        read_body::{BodyLimits, ReadBodyError, ReadyBody},
        target::Target,
        turns::Turns,
    },
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
    trusted_proxies: TrustedProxies,
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
    /// The rate limits; `None` if there are none.
    rates: Option<Rates>,
    /// Limits the number of NDJSON requests that are decoded at a time.
    ndjson_permits: Arc<Semaphore>,
    body_turns: Turns,
}

/// The maximum size of a request's rows, as a multiple of the largest NDJSON body. Each row
/// contains the query and headers, which the request contains once, so short lines make much longer
/// rows.
const MAX_EXPANSION: usize = 16;

/// Returns the number of NDJSON requests to decode at a time: half the number of cores, so that the
/// event loops have the other half.
fn max_ndjson_decodings() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

/// The result of processing the body.
enum Processed {
    Draft(ResponseDraft),
    /// An NDJSON request whose lines are not decoded yet.
    NdJson(NdjsonRequest),
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
}

impl Collector {
    pub(crate) fn new(writer: Writer, options: &EventOptions, destinations: &'static [Destination]) -> Self {
        let domain = options.domain.as_deref().and_then(auto_domain);
        let body_limits = BodyLimits {
            max_bytes: options.max_body_bytes,
            timeout: BodyTimeouts::new(
                options.body_stall_timeout,
                options.body_timeout,
                options.min_body_bytes_per_second,
            ),
        };
        Self {
            writer,
            cookie: options
                .cookie
                .as_ref()
                .map(|cookie| Cookie::new(cookie, domain.as_deref(), options.headers, SystemTime::now())),
            cors: CorsPolicy::new(&options.allowed_origins, options.domain.as_deref()),
            headers: options.headers,
            trusted_proxies: options.trusted_proxies.clone(),
            body_limits,
            bulk_limits: BodyLimits {
                max_bytes: options.max_bulk_bytes,
                ..body_limits
            },
            catch_all: options.catch_all,
            ack: options.ack,
            ack_by_header: options.ack_by_header,
            ack_timeout: options.ack_timeout,
            max_rows_bytes: options.max_bulk_bytes.saturating_mul(MAX_EXPANSION),
            rates: Rates::new(options, destinations),
            ndjson_permits: Arc::new(Semaphore::new(max_ndjson_decodings())),
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
    /// body is NDJSON only if it may exceed the limits of one event.
    pub(crate) fn body_limits(&self, length: Option<u64>, parts: &Parts) -> BodyLimits {
        let is_small = length.is_some_and(|length| length <= self.body_limits.max_bytes as u64);
        if !is_small && declares_ndjson(parts) {
            self.bulk_limits
        } else {
            self.body_limits
        }
    }

    /// Decides by method and path alone: no field of a query or a body can turn a request for the
    /// inner service into an event.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        let route = declared::<R>(&Target::parse(uri.path()));
        if !self.catch_all && route.is_none() {
            return Decision::Inner;
        }
        Decision::Event {
            route,
            reads_body: *method == Method::POST,
        }
    }

    /// Answers a request; if the request is an event, records it first.
    pub(crate) fn answer<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
    ) -> Response {
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
            Processed::Draft(draft) => self.respond(parts, draft, arrival),
            Processed::NdJson(request) => self.respond_to_ndjson(parts, request, arrival),
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
        let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
        if let Some(answer) = self.answer_without_event(&head) {
            return self.draft(answer, &head, None).into();
        }
        if let Err(answer) = self.check_rate_of_address(&head) {
            return self.draft(answer, &head, None).into();
        }
        let ReadyBody {
            bytes: body,
            booking,
            // The next body has its turn once this one is processed.
            turn: _turn,
        } = match body {
            Ok(body) => body,
            Err(error) => return self.draft(error.into(), &head, None).into(),
        };
        let payload = match head.payload(&body, arena) {
            Ok(payload) => payload,
            Err(error) => {
                self.writer.rejections().count_event("body");
                self.write_dead_letter(&head, &body, &head.dead_letter("body", error.reason()));
                let answer = self.answer_to_visitor::<R>(&head).unwrap_or(error.into());
                return self.draft(answer, &head, None).into();
            }
        };
        if let Payload::NdJson(text) = payload {
            // Reuse the body's buffer unless the text was converted from another charset.
            let text = if ptr::eq(text.as_ptr(), body.as_ptr()) {
                String::from_utf8(body.into()).unwrap_or_default()
            } else {
                text.to_owned()
            };
            return self.begin_ndjson::<R>(&head, text, booking);
        }
        Processed::Draft(match Envelope::open(&payload, arena) {
            Ok(envelope) => self.record::<R>(&head, &body, &payload, &envelope, arena),
            Err(error) => self.reject_malformed::<R>(&Rejection::Syntax(error), &head, &body, &payload, None),
        })
    }

    /// Routes an event, ingests it and answers.
    fn record<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        envelope: &Envelope<'_>,
        arena: &Arena,
    ) -> ResponseDraft {
        let claims = envelope.claims();
        let uid = self.visitor(head, &claims);
        let Some((address, route)) = self.route::<R>(head, &claims) else {
            // `Envelope::open` may have skipped the body. Malformed JSON is an error on any path.
            return match payload.check() {
                Ok(()) => self.draft(Answer::NOT_FOUND, head, Some(uid)),
                Err(error) => self.reject_malformed::<R>(&Rejection::Syntax(error), head, body, payload, Some(uid)),
            };
        };
        let meta = self.event_meta(head, &address, uid);
        let answer = answer_of(&meta, head.query.text("to").or(envelope.to.as_deref()));
        if let Err(retry_after) = self.check_rate_of_route(&address) {
            let answer = match answer {
                Answer::Pixel | Answer::Redirect(_) => answer,
                _ => too_many_requests(retry_after),
            };
            return self.draft(answer, head, Some(uid));
        }
        // The collector sends an image or a redirect even if it rejects the event, and an error
        // promises nothing: none of these waits for an acknowledgement by default.
        let best_effort = !matches!(
            answer,
            Answer::Recorded { .. } | Answer::Tracked { .. } | Answer::Pong | Answer::Hi
        );
        let requested = match self.requested_ack(route.acks, head) {
            Ok(requested) => requested,
            Err(UnknownAck) => return self.draft(Answer::UNKNOWN_ACK, head, Some(uid)),
        };
        let ack = requested.unwrap_or(if best_effort { Ack::Accepted } else { self.ack });
        let event = Event {
            meta,
            query: &head.query,
            payload,
            ack,
            arena,
        };
        let rejection = match (route.handler)(&event, Sink::Block(&self.writer)) {
            Ok(receipt) => {
                let draft = self.draft(answer, head, Some(uid));
                return if receipt.is_pending() {
                    draft.waiting_for(PendingAck {
                        receipt,
                        ack,
                        best_effort,
                    })
                } else {
                    accepted(draft, requested, ack)
                };
            }
            Err(rejection) => rejection,
        };
        if let Rejection::Syntax(error) = &rejection
            && error.kind != ErrorKind::PathsTooLong
        {
            return self.reject_malformed::<R>(&rejection, head, body, payload, Some(uid));
        }

        self.writer.rejections().count_event(rejection.code());
        let message = rejection.message(payload.json_text());
        if let Some(dead_letter) = rejection.dead_letter(head, &event.meta, &message) {
            self.write_dead_letter(head, body, &dead_letter);
        }
        let answer = match answer {
            Answer::Pixel | Answer::Redirect(_) => answer,
            _ => rejection.answer(&message),
        };
        self.draft(answer, head, Some(uid))
    }
}
