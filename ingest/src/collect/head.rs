//! Head: the request without its body: its destination, its sender, and its time of arrival.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, request::Parts};
use jiff::Timestamp;

use crate::{
    arena::Arena,
    collect::route::Route,
    fields::Fields,
    identify::{Client, IpText, Proxies},
    intake::event_meta::WEBSOCKET_CHANNEL,
    request::{
        body::{BodyError, Payload},
        claims::Claims,
        content_type::Declared,
        headers::RequestHeaders,
        target::Target,
    },
    table::dead_letter::DeadLetter,
};

/// The channel of an event that was requested as an image.
pub(crate) const IMAGE_CHANNEL: &str = "pixel";

/// The channel of any other event.
const HTTP_CHANNEL: &str = "http";

/// The uid of a WebSocket's visitor, for events that name none; an extension of their requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionUid(pub(crate) u64);

/// The time and the address that a request came from, and the destination of its path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    peer: IpAddr,
    /// The route of the declared destination that the path names.
    route: Option<Route>,
    /// Whether the connection to the peer has TLS.
    is_tls: bool,
    /// Whether the request is a message of a WebSocket.
    is_message: bool,
    /// The only clock reading of most requests.
    at: SystemTime,
    is_delayed: bool,
}

impl Arrival {
    pub(crate) fn now(peer: IpAddr, route: Option<Route>) -> Self {
        Self {
            peer,
            route,
            is_tls: false,
            is_message: false,
            at: SystemTime::now(),
            is_delayed: false,
        }
    }

    /// Returns the route of the declared destination that the path names.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    /// Returns the arrival of an event of another route in the same request.
    pub(crate) const fn with_route(self, route: Option<Route>) -> Self {
        Self { route, ..self }
    }

    /// Returns the arrival of a request over a connection with TLS, or without.
    pub(crate) fn with_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// Returns the arrival of the messages of a WebSocket whose handshake this is.
    pub(crate) fn of_session(self) -> Self {
        Self {
            route: None,
            is_message: true,
            ..self
        }
    }

    /// Returns the arrival of the next message, which arrives now.
    pub(crate) fn renewed(self) -> Self {
        Self {
            at: SystemTime::now(),
            is_delayed: false,
            ..self
        }
    }

    /// Marks the request as one that is not answered at once.
    pub(crate) fn mark_delayed(&mut self) {
        self.is_delayed = true;
    }

    /// Returns the milliseconds since the request arrived; 0 if it is answered at once.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        if !self.is_delayed {
            return 0;
        }
        // The clock may have been set back in the meantime.
        self.at
            .elapsed()
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the time of arrival, in milliseconds since 1970.
    fn unix_ms(&self) -> u64 {
        self.at
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// A parsed request without its body.
#[derive(Debug)]
pub(crate) struct RequestHead<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) headers: RequestHeaders<'r>,
    pub(crate) target: Target<'r>,
    /// The route of the declared destination that the path names.
    pub(crate) route: Option<Route>,
    pub(crate) query: Fields<'r>,
    pub(crate) client: Client<'r>,
    /// The client's address as text.
    pub(crate) ip: IpText,
    /// The time of the event, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Whether the connection to the peer has TLS.
    pub(crate) is_tls: bool,
    /// Whether the request is a message of a WebSocket.
    pub(crate) is_message: bool,
}

impl<'r> RequestHead<'r> {
    pub(crate) fn read(parts: &'r Parts, arrival: Arrival, proxies: &Proxies, arena: &'r Arena) -> Self {
        let headers = RequestHeaders::from_map(&parts.headers);
        let client = Client::identify(&headers, &parts.headers, arrival.peer, proxies);
        Self {
            parts,
            headers,
            target: match arrival.route.and_then(|route| route.own_paths()) {
                None => Target::parse(parts.uri.path()),
                Some(own) => own.target(parts.uri.path()),
            },
            route: arrival.route,
            query: Fields::from_query(parts.uri.query().unwrap_or_default(), arena),
            ip: IpText::new(client.ip),
            client,
            unix_ms: arrival.unix_ms(),
            is_tls: arrival.is_tls,
            is_message: arrival.is_message,
        }
    }

    /// Returns the query's claims about the event's address and sender.
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::from_fields(&self.query)
    }

    /// Returns the channel of the event.
    pub(crate) fn channel(&self) -> &'static str {
        if self.declared().is_image() {
            IMAGE_CHANNEL
        } else if self.is_message {
            WEBSOCKET_CHANNEL
        } else {
            HTTP_CHANNEL
        }
    }

    /// Parses a body as the type that this head declares. Only a POST has a body, and a request
    /// with one of the route's own methods; any other request declares the type of the requested response.
    ///
    /// # Errors
    ///
    /// Any [`BodyError`].
    pub(crate) fn payload<'b>(&self, body: &'b [u8], arena: &'b Arena) -> Result<Payload<'b>, BodyError> {
        if self.has_body() {
            Payload::parse(self.declared(), body, arena)
        } else {
            Ok(Payload::Empty)
        }
    }

    fn has_body(&self) -> bool {
        match self.route {
            Some(route) => route.methods().read_body(&self.parts.method),
            None => self.parts.method == Method::POST,
        }
    }

    /// Returns the uid of the WebSocket's visitor, if the request is one of its messages.
    pub(crate) fn session_uid(&self) -> Option<u64> {
        let SessionUid(uid) = self.is_message.then(|| self.parts.extensions.get())??;
        Some(*uid)
    }

    /// Returns a dead letter without its payload, for a request that did not become an event.
    pub(crate) fn dead_letter<'l>(&'l self, code: &'l str, reason: &'l str) -> DeadLetter<'l> {
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

    /// Returns the payload for a dead letter: `?` and the query as sent, then the body.
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
            content_type: self.headers.content_type.map(HeaderValue::as_bytes),
            content_encoding: self.headers.content_encoding.map(HeaderValue::as_bytes),
        }
    }
}
