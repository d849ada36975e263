//! Head: what a request says before its body: where it goes, from whom it comes, and when.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, request::Parts};
use jiff::Timestamp;

use crate::{
    arena::Arena,
    fields::Fields,
    identify::{Client, IpText, TrustedProxies},
    request::{
        body::{BodyError, Declared, Payload},
        claims::Claims,
        headers::RequestHeaders,
        target::Target,
    },
    table::dead_letter::DeadLetter,
};

/// How an event arrived that was asked for as a picture.
pub(crate) const IMAGE_CHANNEL: &str = "pixel";

/// How any other event arrived.
const HTTP_CHANNEL: &str = "http";

/// When and whence a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    peer: IpAddr,
    /// The one reading of the clock that most requests cost.
    at: SystemTime,
    has_waited: bool,
}

impl Arrival {
    pub(crate) fn now(peer: IpAddr) -> Self {
        Self {
            peer,
            at: SystemTime::now(),
            has_waited: false,
        }
    }

    /// Notes that the request is not answered at once.
    pub(crate) fn wait(&mut self) {
        self.has_waited = true;
    }

    /// Returns how long ago the request came, in milliseconds: none for one that is answered at once.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        if !self.has_waited {
            return 0;
        }
        // A clock that was set back in the meantime has no answer.
        self.at
            .elapsed()
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns when the request came, in milliseconds since 1970.
    fn unix_ms(&self) -> u64 {
        self.at
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// A request but for its body, understood.
#[derive(Debug)]
pub(crate) struct RequestHead<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) said: RequestHeaders<'r>,
    pub(crate) target: Target<'r>,
    pub(crate) query: Fields<'r>,
    pub(crate) client: Client<'r>,
    /// The client's address as text.
    pub(crate) ip: IpText,
    /// The time of the event, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

impl<'r> RequestHead<'r> {
    pub(crate) fn read(parts: &'r Parts, arrival: Arrival, trusted_proxies: &TrustedProxies, arena: &'r Arena) -> Self {
        let said = RequestHeaders::in_headers(&parts.headers);
        let client = Client::identify(&said, arrival.peer, trusted_proxies);
        Self {
            parts,
            said,
            target: Target::parse(parts.uri.path()),
            query: Fields::from_query(parts.uri.query().unwrap_or_default(), arena),
            ip: IpText::new(client.ip),
            client,
            unix_ms: arrival.unix_ms(),
        }
    }

    /// Returns what the query says of the event's address and sender.
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::from_fields(&self.query)
    }

    /// Returns how the event arrived.
    pub(crate) fn channel(&self) -> &'static str {
        if self.declared().is_image() {
            IMAGE_CHANNEL
        } else {
            HTTP_CHANNEL
        }
    }

    /// Reads a body as what this head declares it to be. Only a POST has one; the type of any other request says what it asks for.
    ///
    /// # Errors
    /// Any [`BodyError`].
    pub(crate) fn payload<'b>(&self, body: &'b [u8], arena: &'b Arena) -> Result<Payload<'b>, BodyError> {
        if self.parts.method == Method::POST {
            Payload::parse(self.declared(), body, arena)
        } else {
            Ok(Payload::Empty)
        }
    }

    /// Returns a dead letter for a request that did not become an event; its payload is still to be put in.
    pub(crate) fn letter<'l>(&'l self, code: &'l str, reason: &'l str) -> DeadLetter<'l> {
        let ms = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
        DeadLetter {
            time: Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX),
            id: 0,
            service: self.target.service,
            name: self.target.name,
            table: "",
            column: "",
            code,
            reason,
            payload: &[],
            ip: self.ip.as_str(),
        }
    }

    /// Returns what was sent, for a dead letter: the body, and the query before it behind a `?`, as it stands in the request.
    pub(crate) fn payload_with_query<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        let Some(query) = self.parts.uri.query() else {
            return body.into();
        };
        let end = if body.is_empty() { &b""[..] } else { b"\n" };
        [b"?", query.as_bytes(), end, body].concat().into()
    }

    fn declared(&self) -> Declared<'r> {
        Declared {
            extension: self.target.extension,
            content_type: self.said.content_type.map(HeaderValue::as_bytes),
            content_encoding: self.said.content_encoding.map(HeaderValue::as_bytes),
        }
    }
}
