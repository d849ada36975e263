//! Collect: one request is identified, routed, taken in and answered. The way of an event, top to bottom.
//!
//! A request of many events, one a line, branches off in [`lines`] once its body is known.

mod lines;

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri, header, request::Parts};
use http_body_util::Full;

use crate::{
    ack::{ACK_HEADER, Ack, AckRule, Receipt, UnknownAck},
    answer::{Answer, Answers, Context, Draft},
    arena::{self, Arena},
    body::{Declared, Payload},
    dead_letter::DeadLetter,
    envelope::Envelope,
    fields::Fields,
    gather::{BodyLimits, GatherError},
    head::{Arrival, Head, IMAGE_CHANNEL},
    identify::{Address, Claims, CorsOrigin, TrustedProxies, auto_domain, known_uid},
    intake::{Event, Reason, Sink},
    json::{self, ErrorKind},
    layer::{Route, Routes},
    options::EventOptions,
    redirect::{Location, RedirectError},
    reject::Refused,
    stamp::Stamp,
    target::{Target, name_key},
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
    pub(crate) fn new(writer: Writer, options: &EventOptions) -> Self {
        let domain = options.domain.as_deref().and_then(auto_domain);
        let body_limits = BodyLimits {
            max_bytes: options.max_body_bytes,
            timeout: options.body_timeout,
        };
        Self {
            writer,
            answers: Answers::new(domain.as_deref(), SystemTime::now()),
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

    /// Decides by method, path and query; the service in a query goes before the one in the path, as it does for the event.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        let own = match *method {
            Method::POST => Decision::WithBody,
            _ => Decision::WithoutBody,
        };
        if self.catch_all {
            return own;
        }
        let target = Target::parse(uri.path());
        arena::with(|arena| {
            let query = Fields::from_query(uri.query().unwrap_or_default(), arena);
            let address = Address::resolve(&target, &Claims::from_fields(&query), &Claims::default());
            match address.and_then(|address| R::declared(address.service, &name_key(address.name))) {
                Some(_) => own,
                None => Decision::Inner,
            }
        })
    }

    /// Answers a request; if it is an event, it is recorded on the way.
    pub(crate) fn answer<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<Bytes, GatherError>,
        mut arrival: Arrival,
    ) -> Reply {
        let Recorded { draft, pending } = arena::with(|arena| self.draft::<R>(&parts, body, arrival, arena));
        self.writer.tally().answered(draft.status());
        match pending {
            None => Reply::Ready(draft.into_response(parts.headers, arrival.elapsed_ms())),
            Some(pending) => {
                arrival.wait();
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

    fn draft<R: Routes>(
        &self,
        parts: &Parts,
        body: Result<Bytes, GatherError>,
        arrival: Arrival,
        arena: &Arena,
    ) -> Recorded {
        let head = Head::read(parts, arrival, &self.trusted_proxies, arena);
        if let Some(answer) = self.without_event(&head) {
            return self.finish(answer, &head, None).into();
        }
        let body = match body {
            Ok(body) => body,
            Err(error) => return self.finish(error.into(), &head, None).into(),
        };
        let payload = match head.payload(&body, arena) {
            Ok(payload) => payload,
            Err(error) => {
                self.writer.tally().refused_event("body");
                self.bury(&head, &body, &head.letter("body", error.reason()));
                return self.finish(error.into(), &head, None).into();
            }
        };
        if let Payload::Lines(text) = payload {
            return self.record_lines::<R>(&head, text, arena);
        }
        match Envelope::open(&payload, arena) {
            Ok(envelope) => self.record::<R>(&head, &body, &payload, &envelope, arena),
            Err(error) => self.broken(error, &head, &body, &payload, None).into(),
        }
    }

    /// Refuses a body that is not JSON.
    #[cold]
    fn broken(
        &self,
        error: json::Error,
        head: &Head<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        uid: Option<u64>,
    ) -> Draft {
        let refused = Refused::syntax(error, payload);
        self.writer.tally().refused_event(refused.code());
        self.bury(head, body, &head.letter(refused.code(), &refused.reason()));
        self.finish(refused.answer(), head, uid)
    }

    /// Returns the answer to a request that is no event whatever its body says.
    fn without_event(&self, head: &Head<'_>) -> Option<Answer<'static>> {
        match head.parts.method {
            Method::OPTIONS => return Some(Answer::Preflight),
            // Scanners of mail and chat look at links before people do; what they see is not recorded.
            Method::HEAD => {
                return Some(match head.query.text("service").unwrap_or(head.target.service) {
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

    /// Routes an event, takes it in and answers.
    fn record<R: Routes>(
        &self,
        head: &Head<'_>,
        body: &[u8],
        payload: &Payload<'_>,
        envelope: &Envelope<'_>,
        arena: &Arena,
    ) -> Recorded {
        let claims = envelope.claims();
        let uid = self.visitor(head, &claims);
        let address = Address::resolve(&head.target, &head.claims(), &claims);
        let Some((address, route)) = address.and_then(|address| Some((address, self.route::<R>(&address)?))) else {
            // Nobody may have read the body yet, and what is broken is so wherever it was sent.
            let draft = match payload.check() {
                Ok(()) => self.finish(Answer::NOT_FOUND, head, Some(uid)),
                Err(error) => self.broken(error, head, body, payload, Some(uid)),
            };
            return draft.into();
        };
        let stamp = self.stamp(head, &address, uid);
        let answer = answer_of(&stamp, head.query.text("to").or(envelope.to.as_deref()));
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
            return self.broken(error, head, body, payload, Some(uid)).into();
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
    fn stamp<'a>(&self, head: &'a Head<'_>, address: &Address<'a>, uid: u64) -> Stamp<'a> {
        Stamp {
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

    fn route<R: Routes>(&self, address: &Address<'_>) -> Option<Route> {
        let declared = R::declared(address.service, &name_key(address.name));
        declared.or_else(|| if self.catch_all { R::other() } else { None })
    }

    /// Returns the acknowledgement that the route or the request asks for.
    fn asked_ack(&self, rule: AckRule, head: &Head<'_>) -> Result<Option<Ack>, UnknownAck> {
        if !rule.by_header && !self.ack_by_header {
            return Ok(rule.ack);
        }
        match head.parts.headers.get(ACK_HEADER) {
            Some(value) => value.to_str().map_err(|_| UnknownAck)?.trim().parse().map(Some),
            None => Ok(rule.ack),
        }
    }

    /// Returns the visitor's uid, a new one where the request brings none.
    fn visitor(&self, head: &Head<'_>, body: &Claims<'_>) -> u64 {
        let cookies = head.said.has_cookie.then_some(&head.parts.headers);
        known_uid(&head.claims(), body, cookies).unwrap_or_else(|| self.writer.ids().next(head.unix_ms))
    }

    /// Drafts the response; where the body has not said who the visitor is, head and cookie do.
    fn finish(&self, answer: Answer<'_>, head: &Head<'_>, uid: Option<u64>) -> Draft {
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
    fn bury(&self, head: &Head<'_>, body: &[u8], letter: &DeadLetter<'_>) {
        let mut payload = Vec::with_capacity(body.len());
        if let Some(query) = head.parts.uri.query() {
            payload.push(b'?');
            payload.extend_from_slice(query.as_bytes());
            if !body.is_empty() {
                payload.push(b'\n');
            }
        }
        payload.extend_from_slice(body);
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

/// Returns the answer to an event that was recorded; `to` is where a redirect leads.
fn answer_of<'a>(stamp: &Stamp<'a>, to: Option<&str>) -> Answer<'a> {
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

impl From<GatherError> for Answer<'_> {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::TooLarge => Self::TOO_LARGE,
            GatherError::TimedOut => Self::TIMED_OUT,
            GatherError::Broken => Self::BAD_REQUEST,
        }
    }
}
