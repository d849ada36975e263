//! Collect: one request is identified, routed, taken in and answered. The way of an event, top to bottom.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Response, Uri, request::Parts};
use http_body_util::Full;

use crate::{
    answer::{Answer, Answers, Context, Draft},
    arena::{self, Arena},
    body::Payload,
    dead_letter::DeadLetter,
    envelope::Envelope,
    fields::Fields,
    gather::{BodyLimits, GatherError},
    head::{Arrival, Head, IMAGE_CHANNEL},
    id::IdGenerator,
    identify::{Address, Claims, CorsOrigin, TrustedProxies, auto_domain, known_uid},
    intake::{Event, Intake},
    layer::Routes,
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
    ids: IdGenerator,
    trusted_proxies: TrustedProxies,
    body_limits: BodyLimits,
    catch_all: bool,
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
    /// # Panics
    /// If [`EventOptions::node`] is above 1023.
    pub(crate) fn new(writer: Writer, options: &EventOptions) -> Self {
        let domain = options.domain.as_deref().and_then(auto_domain);
        Self {
            writer,
            answers: Answers::new(domain.as_deref(), SystemTime::now()),
            ids: IdGenerator::new(options.node).expect("a node is a number up to 1023"),
            trusted_proxies: options.trusted_proxies.clone(),
            body_limits: BodyLimits {
                max_bytes: options.max_body_bytes,
                timeout: options.body_timeout,
            },
            catch_all: options.catch_all,
        }
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        self.body_limits
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
        &self,
        parts: Parts,
        body: Result<Bytes, GatherError>,
        arrival: Arrival,
    ) -> Response<Full<Bytes>> {
        let draft = arena::with(|arena| self.draft::<R>(&parts, body, arrival, arena));
        draft.into_response(parts.headers, arrival.elapsed_ms())
    }

    fn draft<R: Routes>(
        &self,
        parts: &Parts,
        body: Result<Bytes, GatherError>,
        arrival: Arrival,
        arena: &Arena,
    ) -> Draft {
        let head = Head::read(parts, arrival, &self.trusted_proxies, arena);
        if let Some(answer) = self.without_event(&head) {
            return self.finish(answer, &head, None);
        }
        let body = match body {
            Ok(body) => body,
            Err(error) => return self.finish(error.into(), &head, None),
        };
        let payload = match head.payload(&body, arena) {
            Ok(payload) => payload,
            Err(error) => {
                self.bury(&head, &body, &head.letter("body", error.reason()));
                return self.finish(error.into(), &head, None);
            }
        };
        match Envelope::open(&payload, arena) {
            Ok(envelope) => self.record::<R>(&head, &body, &payload, &envelope, arena),
            Err(error) => {
                let refused = Refused::syntax(error, &payload);
                self.bury(&head, &body, &head.letter(refused.code(), &refused.reason()));
                self.finish(refused.answer(), &head, None)
            }
        }
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
    ) -> Draft {
        let claims = envelope.claims();
        let uid = self.visitor(head, &claims);
        let address = Address::resolve(&head.target, &head.claims(), &claims);
        let Some((address, intake)) = address.and_then(|address| Some((address, self.route::<R>(&address)?))) else {
            return self.finish(Answer::NOT_FOUND, head, Some(uid));
        };
        let event = Event {
            stamp: Stamp {
                id: self.ids.next(head.unix_ms),
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
            },
            query: &head.query,
            payload,
            arena,
        };
        let answer = answer_of(&event.stamp, head.query.text("to").or(envelope.to.as_deref()));
        let Err(rejection) = intake(&event, &self.writer) else {
            return self.finish(answer, head, Some(uid));
        };

        let refused = Refused::event(rejection, payload);
        if let Some(letter) = refused.letter(head, &event.stamp, &refused.reason()) {
            self.bury(head, body, &letter);
        }
        // A picture stays a picture, and a reader gets where he wanted to go, whatever becomes of the event.
        match answer {
            Answer::Pixel | Answer::Redirect(_) => self.finish(answer, head, Some(uid)),
            _ => self.finish(refused.answer(), head, Some(uid)),
        }
    }

    fn route<R: Routes>(&self, address: &Address<'_>) -> Option<Intake> {
        let declared = R::declared(address.service, &name_key(address.name));
        declared.or_else(|| if self.catch_all { R::other() } else { None })
    }

    /// Returns the visitor's uid, a new one where the request brings none.
    fn visitor(&self, head: &Head<'_>, body: &Claims<'_>) -> u64 {
        known_uid(&head.claims(), body, &head.parts.headers).unwrap_or_else(|| self.ids.next(head.unix_ms))
    }

    /// Drafts the response; where the body has not said who the visitor is, head and cookie do.
    fn finish(&self, answer: Answer<'_>, head: &Head<'_>, uid: Option<u64>) -> Draft {
        let context = Context {
            uid: uid.unwrap_or_else(|| self.visitor(head, &Claims::default())),
            origin: CorsOrigin::from_headers(&head.parts.headers),
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
            .reject(&DeadLetter {
                payload: &payload,
                ..*letter
            })
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
