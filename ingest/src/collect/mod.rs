//! Collect: identifies, routes, ingests and answers one request. The file follows an event from top
//! to bottom.
//!
//! A request of many events, one per line, branches off into [`ndjson`] once its body is known.

pub(crate) mod head;
mod ndjson;
pub(crate) mod options;
pub(crate) mod rate;
pub(crate) mod rate_limit;
pub(crate) mod reject;
pub(crate) mod route;

use std::{
    num::NonZero,
    pin::Pin,
    ptr,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri, header, request::Parts};
use http_body_util::Full;
use tokio::sync::Semaphore;

use crate::{
    ack::{ACK_HEADER, Ack, AckPolicy, UnknownAck},
    answer::{
        Answer, Answers, Context, Draft,
        redirect::{Location, RedirectError},
    },
    arena::{self, Arena},
    block::receipt::Receipt,
    collect::{
        head::{Arrival, IMAGE_CHANNEL, RequestHead},
        ndjson::Lines,
        options::EventOptions,
        rate::{Rates, VIEWS},
        reject::Refused,
        route::{Destination, Route, Routes},
    },
    identify::{Address, CorsOrigin, TrustedProxies, auto_domain, resolve_uid},
    intake::{
        event::{Event, Reason, Sink},
        stamp::EventMeta,
    },
    json::{self, ErrorKind},
    request::{
        body::{Declared, Payload},
        claims::Claims,
        envelope::Envelope,
        read_body::{BodyLimits, ReadBodyError, ReadyBody},
        target::{Target, name_key},
    },
    table::dead_letter::DeadLetter,
    writer::Writer,
};

/// The state that all requests of one layer share.
#[derive(Debug)]
pub(crate) struct Collector {
    writer: Writer,
    answers: Answers,
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
    bulk_turns: Arc<Semaphore>,
}

/// The maximum size of a request's rows, as a multiple of the largest NDJSON body. Each row
/// contains the query and headers, which the request contains once, so short lines make much longer
/// rows.
const MAX_EXPANSION: usize = 16;

/// Returns the number of NDJSON requests to decode at a time: half the number of cores, so that the
/// event loops have the other half.
fn bulk_turns() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

/// The response to a request.
pub(crate) enum Reply {
    Ready(Response<Full<Bytes>>),
    /// The response waits until the event's row reaches the promised level.
    Waiting(PendingResponse),
}

pub(crate) type PendingResponse = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// The outcome of a request.
struct Recorded {
    draft: Draft,
    pending: Option<PendingAck>,
}

/// The acknowledgement that a response waits for.
struct PendingAck {
    receipt: Receipt,
    ack: Ack,
    /// The response stays the same if the acknowledgement is not reached.
    is_lenient: bool,
}

impl Recorded {
    fn pending(draft: Draft, receipt: Receipt, ack: Ack, is_lenient: bool) -> Self {
        let pending = PendingAck {
            receipt,
            ack,
            is_lenient,
        };
        Self {
            draft,
            pending: Some(pending),
        }
    }

    /// Builds the outcome for rows that the response does not wait for. Adds
    /// `X-Rowmill-Ack: accepted` if an acknowledgement was requested.
    fn taken(draft: Draft, asked: Option<Ack>, ack: Ack) -> Self {
        if asked.is_some() || ack > Ack::Accepted {
            draft.acknowledged(Ack::Accepted).into()
        } else {
            draft.into()
        }
    }
}

/// The result of processing the body.
enum Look {
    Recorded(Recorded),
    /// An NDJSON request whose lines are not decoded yet.
    Lines(Lines),
}

impl From<Draft> for Look {
    fn from(draft: Draft) -> Self {
        Self::Recorded(draft.into())
    }
}

impl From<Draft> for Recorded {
    fn from(draft: Draft) -> Self {
        Self { draft, pending: None }
    }
}

/// The handling of a request, as far as its head determines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The inner service answers the request.
    Inner,
    /// The collector answers without reading the body.
    WithoutBody,
    /// The collector answers once the body is complete.
    WithBody,
}

impl Collector {
    pub(crate) fn new(writer: Writer, options: &EventOptions, destinations: &'static [Destination]) -> Self {
        let domain = options.domain.as_deref().and_then(auto_domain);
        let body_limits = BodyLimits {
            max_bytes: options.max_body_bytes,
            timeout: options.body_timeout,
        };
        Self {
            writer,
            answers: Answers::new(domain.as_deref(), SystemTime::now(), options.headers),
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
            bulk_turns: Arc::new(Semaphore::new(bulk_turns())),
        }
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Returns the limits for a body of `length` bytes, or of unknown length. Checks whether the
    /// body is NDJSON only if it may exceed the limits of one event.
    pub(crate) fn body_limits(&self, length: Option<u64>, parts: &Parts) -> BodyLimits {
        let is_small = length.is_some_and(|length| length <= self.body_limits.max_bytes as u64);
        if !is_small && declares_lines(parts) {
            self.bulk_limits
        } else {
            self.body_limits
        }
    }

    /// Decides by method and path alone: no field of a query or a body can turn a request for the
    /// inner service into an event.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        if !self.catch_all && declared::<R>(&Target::parse(uri.path())).is_none() {
            return Decision::Inner;
        }
        match *method {
            Method::POST => Decision::WithBody,
            _ => Decision::WithoutBody,
        }
    }

    /// Answers a request; if the request is an event, records it first.
    pub(crate) fn answer<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
    ) -> Reply {
        match arena::with(|arena| self.look::<R>(&parts, body, arrival, arena)) {
            Look::Recorded(recorded) => self.respond(parts, recorded, arrival),
            Look::Lines(lines) => self.answer_lines(parts, lines, arrival),
        }
    }

    /// Answers at once, or when the event's row has reached the promised level.
    fn respond(self: Arc<Self>, mut parts: Parts, recorded: Recorded, mut arrival: Arrival) -> Reply {
        let Recorded { draft, pending } = recorded;
        self.writer.tally().answered(draft.status());
        match pending {
            None => Reply::Ready(draft.into_response(parts.headers, arrival.elapsed_ms())),
            Some(pending) => {
                arrival.wait();
                // Drop the header values during the wait; the response reuses the map's capacity.
                parts.headers.clear();
                Reply::Waiting(Box::pin(async move {
                    let reached = pending.receipt.reached_within(self.ack_timeout).await;
                    let draft = if reached >= pending.ack || pending.is_lenient {
                        draft.acknowledged(reached)
                    } else {
                        let draft = draft.unacknowledged(reached);
                        self.writer.tally().answered(draft.status());
                        draft
                    };
                    draft.into_response(parts.headers, arrival.elapsed_ms())
                }))
            }
        }
    }

    fn look<R: Routes>(
        &self,
        parts: &Parts,
        body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
        arena: &Arena,
    ) -> Look {
        let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
        if let Some(answer) = self.respond_without_event::<R>(&head) {
            return self.finish(answer, &head, None).into();
        }
        if let Err(answer) = self.check_rate_of_address(&head) {
            return self.finish(answer, &head, None).into();
        }
        let ReadyBody { bytes: body, booking } = match body {
            Ok(body) => body,
            Err(error) => return self.finish(error.into(), &head, None).into(),
        };
        let payload = match head.payload(&body, arena) {
            Ok(payload) => payload,
            Err(error) => {
                self.writer.tally().refused_event("body");
                self.bury(&head, &body, &head.letter("body", error.reason()));
                let answer = self.answer_to_reader::<R>(&head).unwrap_or(error.into());
                return self.finish(answer, &head, None).into();
            }
        };
        if let Payload::Lines(text) = payload {
            // Reuse the body's buffer unless the text was converted from another charset.
            let text = if ptr::eq(text.as_ptr(), body.as_ptr()) {
                String::from_utf8(body.into()).unwrap_or_default()
            } else {
                text.to_owned()
            };
            return self.look_at_lines::<R>(&head, text, booking);
        }
        Look::Recorded(match Envelope::open(&payload, arena) {
            Ok(envelope) => self.record::<R>(&head, &body, &payload, &envelope, arena),
            Err(error) => self.broken::<R>(error, &head, &body, &payload, None).into(),
        })
    }

    /// Rejects a body that is not JSON.
    #[cold]
    fn broken<R: Routes>(
        &self,
        error: json::Error,
        head: &RequestHead<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        uid: Option<u64>,
    ) -> Draft {
        let refused = Refused::syntax(error, payload);
        self.writer.tally().refused_event(refused.code());
        self.bury(head, body, &head.letter(refused.code(), &refused.reason()));
        let answer = self.answer_to_reader::<R>(head).unwrap_or(refused.answer());
        self.finish(answer, head, uid)
    }

    /// Returns the image or the redirect that a visitor gets even if the body is malformed; `None`
    /// if the request head asks for neither.
    #[cold]
    fn answer_to_reader<'h, R: Routes>(&self, head: &'h RequestHead<'_>) -> Option<Answer<'h>> {
        let nothing = Claims::default();
        let (address, _) = self.route::<R>(head, &nothing)?;
        let stamp = self.stamp(head, &address, self.visitor(head, &nothing));
        match answer_of(&stamp, head.query.text("to")) {
            answer @ (Answer::Pixel | Answer::Redirect(_)) => Some(answer),
            _ => None,
        }
    }

    /// Returns the answer to a request that is not an event, whatever its body contains.
    fn respond_without_event<R: Routes>(&self, head: &RequestHead<'_>) -> Option<Answer<'static>> {
        match head.parts.method {
            Method::OPTIONS => return Some(Answer::Preflight),
            // Mail and chat scanners send HEAD before people open a link; it is not recorded.
            Method::HEAD => {
                let service = match declared::<R>(&head.target) {
                    Some(_) => head.target.service,
                    None => head.query.text("service").unwrap_or(head.target.service),
                };
                return Some(match service {
                    "pixel" => Answer::Pixel,
                    "redir" => redirect(head.query.text("to")),
                    _ => Answer::BAD_REQUEST,
                });
            }
            Method::GET | Method::POST => {}
            _ => return Some(Answer::BAD_REQUEST),
        }
        match head.parts.uri.path() {
            "/lib.js" if self.catch_all => Some(Answer::Library),
            "/coffee" if self.catch_all => Some(Answer::Teapot),
            _ => None,
        }
    }

    /// Checks the rate limit of the client's address. GET requests for images and redirects do not
    /// count.
    ///
    /// # Errors
    ///
    /// The answer to a request over the limit.
    fn check_rate_of_address(&self, head: &RequestHead<'_>) -> Result<(), Answer<'static>> {
        let Some(rates) = &self.rates else { return Ok(()) };
        // Use the path's service: a `service` in the query must not bypass the limit.
        let service = head.target.service;
        if head.parts.method == Method::GET && VIEWS.contains(&service) {
            return Ok(());
        }
        rates.take_of_address(head.client.ip).map_err(|early| {
            self.writer.tally().refused_event(RATE_LIMITED);
            match service {
                "pixel" => Answer::Pixel,
                "track" if head.channel() == IMAGE_CHANNEL => Answer::Pixel,
                "redir" => redirect(head.query.text("to")),
                _ => too_many_requests(early),
            }
        })
    }

    /// Checks the rate limit of the route of an address.
    ///
    /// # Errors
    ///
    /// The time until the route accepts another request, if this one is over the limit.
    fn check_rate_of_route(&self, address: &Address<'_>) -> Result<(), Duration> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let result = rates.take_of_route(address.service, address.name);
        if result.is_err() {
            self.writer.tally().refused_event(RATE_LIMITED);
        }
        result
    }

    /// Routes an event, ingests it and answers.
    fn record<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        envelope: &Envelope<'_>,
        arena: &Arena,
    ) -> Recorded {
        let claims = envelope.claims();
        let uid = self.visitor(head, &claims);
        let Some((address, route)) = self.route::<R>(head, &claims) else {
            // `Envelope::open` may have skipped the body. Malformed JSON is an error on any path.
            let draft = match payload.check() {
                Ok(()) => self.finish(Answer::NOT_FOUND, head, Some(uid)),
                Err(error) => self.broken::<R>(error, head, body, payload, Some(uid)),
            };
            return draft.into();
        };
        let stamp = self.stamp(head, &address, uid);
        let answer = answer_of(&stamp, head.query.text("to").or(envelope.to.as_deref()));
        if let Err(early) = self.check_rate_of_route(&address) {
            let answer = match answer {
                Answer::Pixel | Answer::Redirect(_) => answer,
                _ => too_many_requests(early),
            };
            return self.finish(answer, head, Some(uid)).into();
        }
        // An image or a redirect is sent whatever happens to the event, and an error promises
        // nothing: none of these waits for an acknowledgement by default.
        let is_lenient = !matches!(
            answer,
            Answer::Recorded { .. } | Answer::Tracked { .. } | Answer::Pong | Answer::Hi
        );
        let asked = match self.asked_ack(route.acks, head) {
            Ok(asked) => asked,
            Err(UnknownAck) => return self.finish(Answer::UNKNOWN_ACK, head, Some(uid)).into(),
        };
        let ack = asked.unwrap_or(if is_lenient { Ack::Accepted } else { self.ack });
        let event = Event {
            stamp,
            query: &head.query,
            payload,
            ack,
            arena,
        };
        let rejection = match (route.intake)(&event, Sink::Block(&self.writer)) {
            Ok(receipt) => {
                let draft = self.finish(answer, head, Some(uid));
                return if receipt.is_pending() {
                    Recorded::pending(draft, receipt, ack, is_lenient)
                } else {
                    Recorded::taken(draft, asked, ack)
                };
            }
            Err(rejection) => rejection,
        };
        if let Reason::Syntax(error) = rejection.reason
            && error.kind != ErrorKind::PathsTooLong
        {
            return self.broken::<R>(error, head, body, payload, Some(uid)).into();
        }

        let refused = Refused::event(rejection, payload);
        self.writer.tally().refused_event(refused.code());
        if let Some(letter) = refused.letter(head, &event.stamp, &refused.reason()) {
            self.bury(head, body, &letter);
        }
        let answer = match answer {
            Answer::Pixel | Answer::Redirect(_) => answer,
            _ => refused.answer(),
        };
        self.finish(answer, head, Some(uid)).into()
    }

    /// Returns the collector's metadata of an event, with a new id.
    fn stamp<'a>(&self, head: &'a RequestHead<'_>, address: &Address<'a>, uid: u64) -> EventMeta<'a> {
        EventMeta {
            id: self.writer.ids().next(head.unix_ms),
            uid,
            unix_ms: head.unix_ms,
            channel: head.channel(),
            project: address.project,
            service: address.service,
            name: address.name,
            ip: head.ip.as_str(),
            user_agent: head.client.user_agent.as_deref(),
            referer: head.client.referer.as_deref(),
            host: head.client.host,
            fingerprint: head.client.fingerprint(&head.ip).unwrap_or_default(),
        }
    }

    /// Returns the destination of an event. A path that names a declared destination decides alone.
    /// On every other path, the ready collector also reads query and body, as Rockstat does.
    fn route<'a, R: Routes>(&self, head: &'a RequestHead<'_>, body: &Claims<'a>) -> Option<(Address<'a>, Route)> {
        let query = head.claims();
        if let Some(route) = declared::<R>(&head.target) {
            return Some((Address::of_path(&head.target, &query, body), route));
        }
        if !self.catch_all {
            return None;
        }
        let address = Address::resolve(&head.target, &query, body)?;
        let route = R::declared(address.service, &name_key(address.name)).or_else(R::other)?;
        Some((address, route))
    }

    /// Returns the acknowledgement that the route or the request asks for.
    fn asked_ack(&self, rule: AckPolicy, head: &RequestHead<'_>) -> Result<Option<Ack>, UnknownAck> {
        if !rule.by_header && !self.ack_by_header {
            return Ok(rule.ack);
        }
        match head.parts.headers.get(ACK_HEADER) {
            Some(value) => value.to_str().map_err(|_| UnknownAck)?.trim().parse().map(Some),
            None => Ok(rule.ack),
        }
    }

    /// Returns the visitor's uid; a new one if the request has none.
    fn visitor(&self, head: &RequestHead<'_>, body: &Claims<'_>) -> u64 {
        let cookies = head.said.has_cookie.then_some(&head.parts.headers);
        resolve_uid(&head.claims(), body, cookies).unwrap_or_else(|| self.writer.ids().next(head.unix_ms))
    }

    /// Drafts the response. Without `uid`, the query or the cookie determines the visitor.
    fn finish(&self, answer: Answer<'_>, head: &RequestHead<'_>, uid: Option<u64>) -> Draft {
        let context = Context {
            uid: uid.unwrap_or_else(|| self.visitor(head, &Claims::default())),
            origin: CorsOrigin::of(&head.said),
            host: head.client.host,
            native: head.target.native,
            is_head: head.parts.method == Method::HEAD,
        };
        self.answers.draft(answer, &context)
    }

    /// Writes a dead letter with the request's payload: `?` and the query as sent, then the body.
    fn bury(&self, head: &RequestHead<'_>, body: &[u8], letter: &DeadLetter<'_>) {
        let payload = head.payload_with_query(body);
        if self
            .writer
            .reject(
                &DeadLetter {
                    payload: &payload,
                    ..*letter
                },
                Ack::Accepted,
            )
            .is_err()
        {
            tracing::debug!(
                code = letter.code,
                "a dead letter is dropped: the spool has no space for it"
            );
        }
    }
}

/// Returns the route of the declared destination that a path names.
fn declared<R: Routes>(target: &Target<'_>) -> Option<Route> {
    if target.service.is_empty() || target.name.is_empty() {
        return None;
    }
    R::declared(target.service, &name_key(target.name))
}

/// Returns the answer to a recorded event; `to` is the redirect's target.
fn answer_of<'a>(stamp: &EventMeta<'a>, to: Option<&str>) -> Answer<'a> {
    match (stamp.service, stamp.name) {
        ("pixel", _) => Answer::Pixel,
        ("redir", _) => redirect(to),
        ("track", _) if stamp.channel == IMAGE_CHANNEL => Answer::Pixel,
        ("track", _) => Answer::Tracked { id: stamp.id },
        ("hello", "ping") => Answer::Pong,
        ("hello", "hello") => Answer::Hi,
        ("hello", _) => Answer::NOT_FOUND,
        (service, name) => Answer::Recorded {
            service,
            name,
            id: stamp.id,
        },
    }
}

/// The rejection code of a request over a rate limit.
const RATE_LIMITED: &str = "rate-limited";

fn too_many_requests(early: Duration) -> Answer<'static> {
    let whole_s = early.as_secs() + u64::from(early.subsec_nanos() > 0);
    Answer::TooManyRequests {
        retry_after_s: u32::try_from(whole_s).unwrap_or(u32::MAX),
    }
}

/// Returns whether the request declares its body as NDJSON.
fn declares_lines(parts: &Parts) -> bool {
    Declared {
        extension: Target::parse(parts.uri.path()).extension,
        content_type: parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
        content_encoding: None,
    }
    .is_lines()
}

fn redirect<'a>(to: Option<&str>) -> Answer<'a> {
    to.map_or(Err(RedirectError::Missing), Location::parse).into()
}

impl From<ReadBodyError> for Answer<'_> {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge => Self::TOO_LARGE,
            ReadBodyError::TimedOut => Self::TIMED_OUT,
            ReadBodyError::Broken => Self::BAD_REQUEST,
            ReadBodyError::OutOfMemory => Self::NO_ROOM,
        }
    }
}
