//! Collect: one request is identified, routed, taken in and answered. The way of an event, top to bottom.
//!
//! A request of many events, one a line, branches off in [`lines`] once its body is known.

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
    identify::{Address, CorsOrigin, TrustedProxies, auto_domain, known_uid},
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

/// What all requests of one layer share.
#[derive(Debug)]
pub(crate) struct Collector {
    writer: Writer,
    answers: Answers,
    trusted_proxies: TrustedProxies,
    body_limits: BodyLimits,
    bulk_limits: BodyLimits,
    catch_all: bool,
    /// What a successful answer says to an event that is neither a picture nor a redirect.
    ack: Ack,
    ack_by_header: bool,
    ack_timeout: Duration,
    /// The most bytes that the rows of one request may take.
    max_rows_bytes: usize,
    /// How many requests are taken; none where that is not limited.
    rates: Option<Rates>,
    /// How many requests of many events are decoded at a time.
    bulk_turns: Arc<Semaphore>,
}

/// How many times as long as the largest body of many events its rows may be. A row has what the request says once for all lines, so that
/// short lines make rows that are many times as long.
const MAX_EXPANSION: usize = 16;

/// Returns how many requests of many events are decoded at a time: half as many as there are cores, so that event loops have the others.
fn bulk_turns() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2)
}

/// The answer to a request.
pub(crate) enum Reply {
    Ready(Response<Full<Bytes>>),
    /// It says where the event's row is, and waits until that is so.
    Waiting(PendingResponse),
}

pub(crate) type PendingResponse = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// What has become of a request.
struct Recorded {
    draft: Draft,
    pending: Option<PendingAck>,
}

/// What an answer waits for.
struct PendingAck {
    receipt: Receipt,
    ack: Ack,
    /// The answer is the same if it does not come.
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

    /// Of rows that nobody waits for; the answer says so where that was a question.
    fn taken(draft: Draft, asked: Option<Ack>, ack: Ack) -> Self {
        if asked.is_some() || ack > Ack::Accepted {
            draft.acknowledged(Ack::Accepted).into()
        } else {
            draft.into()
        }
    }
}

/// What a first look at a request comes to.
enum Look {
    Recorded(Recorded),
    /// Many events, which are still to be decoded.
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

/// What becomes of a request, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The inner service answers it.
    Inner,
    /// It is answered as it is.
    WithoutBody,
    /// It is answered when its body is there.
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

    /// Returns the bounds of a body whose length is `length`, as far as that is known; only what may be beyond those of one
    /// event is looked at whether it is many.
    pub(crate) fn body_limits(&self, length: Option<u64>, parts: &Parts) -> BodyLimits {
        let is_small = length.is_some_and(|length| length <= self.body_limits.max_bytes as u64);
        if !is_small && declares_lines(parts) {
            self.bulk_limits
        } else {
            self.body_limits
        }
    }

    /// Decides by method and path alone: no field of a query or a body makes an event of an inner
    /// service's request.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        if !self.catch_all && declared::<R>(&Target::parse(uri.path())).is_none() {
            return Decision::Inner;
        }
        match *method {
            Method::POST => Decision::WithBody,
            _ => Decision::WithoutBody,
        }
    }

    /// Answers a request; if it is an event, it is recorded on the way.
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

    /// Answers at once, or when the event's row is where the answer says that it is.
    fn respond(self: Arc<Self>, mut parts: Parts, recorded: Recorded, mut arrival: Arrival) -> Reply {
        let Recorded { draft, pending } = recorded;
        self.writer.tally().answered(draft.status());
        match pending {
            None => Reply::Ready(draft.into_response(parts.headers, arrival.elapsed_ms())),
            Some(pending) => {
                arrival.wait();
                // What they say is not held meanwhile; their room is for the answer's.
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
        if let Some(answer) = self.without_event::<R>(&head) {
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
            // The body itself, where it is not of another charset.
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

    /// Refuses a body that is not JSON.
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

    /// Returns the picture or the redirect that a reader gets even if the body cannot be read; none
    /// where the head of the request asks for neither.
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

    /// Returns the answer to a request that is no event whatever its body says.
    fn without_event<R: Routes>(&self, head: &RequestHead<'_>) -> Option<Answer<'static>> {
        match head.parts.method {
            Method::OPTIONS => return Some(Answer::Preflight),
            // Scanners of mail and chat look at links before people do; what they see is not recorded.
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

    /// Makes sure that the client has not sent too many requests. What a person looks at does not count.
    ///
    /// # Errors
    /// The answer to a request that is one too many.
    fn check_rate_of_address(&self, head: &RequestHead<'_>) -> Result<(), Answer<'static>> {
        let Some(rates) = &self.rates else { return Ok(()) };
        // A field of the query does not get anybody around the limit.
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

    /// Makes sure that the route of an address has not got too many requests.
    ///
    /// # Errors
    /// This one is one too many; another one is not after so long.
    fn check_rate_of_route(&self, address: &Address<'_>) -> Result<(), Duration> {
        let Some(rates) = &self.rates else { return Ok(()) };
        let result = rates.take_of_route(address.service, address.name);
        if result.is_err() {
            self.writer.tally().refused_event(RATE_LIMITED);
        }
        result
    }

    /// Routes an event, takes it in and answers.
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
            // Nobody may have read the body yet, and what is broken is so wherever it was sent.
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
        // A picture stays a picture, and a reader gets where he wanted to go, whatever becomes of the event. What is no
        // success promises nothing.
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

    /// Returns what the collector itself knows of an event, under a new id.
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

    /// Returns where an event goes. A path that names a declared destination is that destination;
    /// on every other path the ready collector asks query and body as the original does.
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

    /// Returns the visitor's uid, a new one where the request brings none.
    fn visitor(&self, head: &RequestHead<'_>, body: &Claims<'_>) -> u64 {
        let cookies = head.said.has_cookie.then_some(&head.parts.headers);
        known_uid(&head.claims(), body, cookies).unwrap_or_else(|| self.writer.ids().next(head.unix_ms))
    }

    /// Drafts the response; where the body has not said who the visitor is, head and cookie do.
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

    /// Keeps what was sent: the body, and the query before it behind a `?`, as it stands in the request.
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
            tracing::debug!(code = letter.code, "no room for a dead letter");
        }
    }
}

/// Returns the route of the destination that a path names, if a schema declares it.
fn declared<R: Routes>(target: &Target<'_>) -> Option<Route> {
    if target.service.is_empty() || target.name.is_empty() {
        return None;
    }
    R::declared(target.service, &name_key(target.name))
}

/// Returns the answer to an event that was recorded; `to` is where a redirect leads.
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

/// The code of an event that was one too many.
const RATE_LIMITED: &str = "rate-limited";

fn too_many_requests(early: Duration) -> Answer<'static> {
    let whole_s = early.as_secs() + u64::from(early.subsec_nanos() > 0);
    Answer::TooManyRequests {
        retry_after_s: u32::try_from(whole_s).unwrap_or(u32::MAX),
    }
}

/// Returns whether each line of the body is to be an event.
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
            ReadBodyError::SpoolFull => Self::NO_ROOM,
        }
    }
}
