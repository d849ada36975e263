//! Collect: one request is identified, routed, taken in and answered. The way of an event, top to bottom.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, header, request::Parts};
use http_body_util::Full;

use crate::{
    answer::{Answer, Answers, Context},
    body::{Declared, Payload},
    envelope::Envelope,
    fields::Fields,
    gather::{BodyLimits, GatherError},
    id::IdGenerator,
    identify::{Address, Claims, Client, CorsOrigin, TrustedProxies, auto_domain, known_uid},
    intake::{Event, Intake},
    layer::Routes,
    options::EventOptions,
    redirect::{Location, RedirectError},
    reject::{Received, Refused},
    stamp::Stamp,
    target::{Target, name_key},
    writer::Writer,
};

/// How an event arrived that was asked for as a picture.
const IMAGE_CHANNEL: &str = "pixel";

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

/// When and whence a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    peer: IpAddr,
    started: Instant,
}

impl Arrival {
    pub(crate) fn now(peer: IpAddr) -> Self {
        Self {
            peer,
            started: Instant::now(),
        }
    }
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

    /// Decides by the head of a request; the service in a query goes before the one in the path, as it does for the event.
    pub(crate) fn decide<R: Routes>(&self, method: &Method, uri: &Uri) -> Decision {
        let own = match *method {
            Method::POST => Decision::WithBody,
            _ => Decision::WithoutBody,
        };
        if self.catch_all {
            return own;
        }
        let target = Target::parse(uri.path());
        let query = Fields::from_query(uri.query().unwrap_or_default());
        let address = Address::resolve(&target, &Claims::from_fields(&query), &Claims::default());
        let is_declared =
            address.is_some_and(|address| R::declared(address.service, &name_key(address.name)).is_some());
        if is_declared { own } else { Decision::Inner }
    }

    /// Answers a request; if it is an event, it is recorded on the way.
    pub(crate) fn answer<R: Routes>(
        &self,
        parts: &Parts,
        body: Result<Bytes, GatherError>,
        arrival: Arrival,
    ) -> Response<Full<Bytes>> {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let target = Target::parse(parts.uri.path());
        let query = Fields::from_query(parts.uri.query().unwrap_or_default());
        let query_claims = Claims::from_fields(&query);
        let client = Client::identify(&parts.headers, arrival.peer, &self.trusted_proxies);
        let visitor = |body: &Claims<'_>| {
            known_uid(&query_claims, body, &parts.headers).unwrap_or_else(|| self.ids.next(unix_ms))
        };
        let finish = |answer: Answer<'_>, uid: u64| {
            let context = Context {
                uid,
                origin: CorsOrigin::from_headers(&parts.headers),
                host: client.host,
                native: target.native,
                is_head: parts.method == Method::HEAD,
                started: arrival.started,
            };
            self.answers.finish(answer, &context)
        };

        if let Some(answer) = self.without_event(parts, &target, &query) {
            return finish(answer, visitor(&Claims::default()));
        }
        let bytes = match body {
            Ok(bytes) => bytes,
            Err(error) => return finish(error.into(), visitor(&Claims::default())),
        };
        let ip = client.ip.to_string();
        let request = Received {
            parts,
            target,
            body: &bytes,
            ip: &ip,
            unix_ms,
        };

        let declared = declared(&parts.headers, target);
        // Only a POST has a body; the type of any other request says what it asks for.
        let parsed = if parts.method == Method::POST {
            Payload::parse(declared, &bytes)
        } else {
            Ok(Payload::Empty)
        };
        let payload = match parsed {
            Ok(payload) => payload,
            Err(error) => {
                request.bury(&self.writer, "body", error.reason());
                return finish(error.into(), visitor(&Claims::default()));
            }
        };
        let envelope = match Envelope::open(&payload) {
            Ok(envelope) => envelope,
            Err(error) => {
                let refused = Refused::syntax(error, &payload);
                request.bury(&self.writer, refused.code(), &refused.reason());
                return finish(refused.answer(), visitor(&Claims::default()));
            }
        };

        let body_claims = envelope.claims();
        let uid = visitor(&body_claims);
        let Some(address) = Address::resolve(&target, &query_claims, &body_claims) else {
            return finish(Answer::NOT_FOUND, uid);
        };
        let Some(intake) = self.route::<R>(&address) else {
            return finish(Answer::NOT_FOUND, uid);
        };

        let channel = if declared.is_image() { IMAGE_CHANNEL } else { "http" };
        let id = self.ids.next(unix_ms);
        let event = Event {
            stamp: Stamp {
                id,
                uid,
                unix_ms,
                channel,
                project: address.project,
                service: address.service,
                name: address.name,
                ip: &ip,
                user_agent: client.user_agent.as_deref(),
                referer: client.referer.as_deref(),
                host: client.host,
                fingerprint: client.fingerprint().unwrap_or_default(),
            },
            query: &query,
            payload: &payload,
        };
        let to = query.text("to").or(envelope.to.as_deref());
        let answer = answer_of(&event.stamp, to);
        match intake(&event, &self.writer) {
            Ok(()) => finish(answer, uid),
            Err(rejection) => {
                let refused = Refused::event(rejection, &payload);
                request.bury_event(&self.writer, &event.stamp, &refused);
                // A picture stays a picture, and a reader gets where he wanted to go, whatever becomes of the event.
                match answer {
                    Answer::Pixel | Answer::Redirect(_) => finish(answer, uid),
                    _ => finish(refused.answer(), uid),
                }
            }
        }
    }

    /// Returns the answer to a request that is no event whatever its body says.
    fn without_event(&self, parts: &Parts, target: &Target<'_>, query: &Fields<'_>) -> Option<Answer<'static>> {
        match parts.method {
            Method::OPTIONS => return Some(Answer::Preflight),
            // Scanners of mail and chat look at links before people do; what they see is not recorded.
            Method::HEAD => {
                let to = || query.text("to").map_or(Err(RedirectError::Missing), Location::parse);
                return Some(match query.text("service").unwrap_or(target.service) {
                    "pixel" => Answer::Pixel,
                    "redir" => to().into(),
                    _ => Answer::BAD_REQUEST,
                });
            }
            Method::GET | Method::POST => {}
            _ => return Some(Answer::BAD_REQUEST),
        }
        match parts.uri.path() {
            "/lib.js" if self.catch_all => Some(Answer::Library),
            "/coffee" if self.catch_all => Some(Answer::Teapot),
            _ => None,
        }
    }

    fn route<R: Routes>(&self, address: &Address<'_>) -> Option<Intake> {
        let declared = R::declared(address.service, &name_key(address.name));
        declared.or_else(|| if self.catch_all { R::other() } else { None })
    }
}

/// Returns the answer to an event that was recorded; `to` is where a redirect leads.
fn answer_of<'a>(stamp: &Stamp<'a>, to: Option<&str>) -> Answer<'a> {
    match (stamp.service, stamp.name) {
        ("pixel", _) => Answer::Pixel,
        ("redir", _) => to.map_or(Err(RedirectError::Missing), Location::parse).into(),
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

fn declared<'r>(headers: &'r HeaderMap, target: Target<'r>) -> Declared<'r> {
    Declared {
        extension: target.extension,
        content_type: headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()),
        content_encoding: headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()),
    }
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
