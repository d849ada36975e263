//! Private: the options `privacy` and `automated` of a route. They apply to an event's metadata
//! before its row is made, to its cookie, and to its dead letter.
//!
//! A route without these options costs one comparison; everything here is off the plain way.

use std::borrow::Cow;

use http::HeaderValue;

use crate::{
    arena::Arena,
    collect::{
        Collector,
        head::RequestHead,
        resolve::VisitorUid,
        route::{Destination, Route, RouteOptions},
    },
    fields::Fields,
    identify::fingerprint,
    intake::event_meta::EventMeta,
    json::{self, Kind, Reader},
    privacy::{AddressRule, Privacy, UserAgentRule, browser::family, is_true, network, salt::Salts, scrub::Scrub},
    request::{automated::automated, body::Payload, claims::Claims},
    table::dead_letter::DeadLetter,
};

/// The privacy options of a layer's routes, with their keys.
#[derive(Debug)]
pub(super) struct PrivateRoutes {
    destinations: &'static [Destination],
    salts: Salts,
}

/// Returns the privacy options of destinations that have any.
pub(crate) fn privacy_options(destinations: &'static [Destination]) -> impl Iterator<Item = &'static Privacy> {
    let options = destinations.iter().filter_map(|destination| destination.options);
    options.filter_map(|options| options.privacy.as_ref())
}

impl PrivateRoutes {
    /// Returns the routes with privacy options; `None` if there are none.
    pub(super) fn new(destinations: &'static [Destination]) -> Option<Self> {
        privacy_options(destinations).next().is_some().then(|| Self {
            destinations,
            salts: Salts::read(privacy_options(destinations)),
        })
    }

    /// Returns whether a request that is no event sets no cookie: the browser objects, or the route
    /// needs consent that only an event can state.
    fn declines_cookie(&self, head: &RequestHead<'_>) -> bool {
        let declines = |privacy: &Privacy| {
            let needs_consent = privacy
                .consent
                .is_some_and(|field| !head.query.text(field).is_some_and(is_true));
            needs_consent || privacy.is_objected(&head.parts.headers)
        };
        match head.route {
            Some(route) => privacy_of(&route).is_some_and(declines),
            None => privacy_options(self.destinations).any(declines),
        }
    }
}

impl Route {
    /// Returns whether the route has privacy options.
    pub(super) fn is_private(&self) -> bool {
        privacy_of(self).is_some()
    }
}

/// Returns the privacy options of a route.
fn privacy_of(route: &Route) -> Option<&'static Privacy> {
    route.options?.privacy.as_ref()
}

impl RouteOptions {
    /// Returns whether the options change or leave out events.
    #[inline]
    pub(super) fn is_selective(&self) -> bool {
        self.privacy.is_some() || self.drops_automated
    }
}

impl Collector {
    /// Returns the visitor of a request that is not recorded.
    pub(super) fn visitor_without_event(&self, head: &RequestHead<'_>) -> VisitorUid {
        let mut uid = self.visitor(head, &Claims::default());
        if let Some(private) = &self.private
            && private.declines_cookie(head)
        {
            uid.of_cookie = None;
        }
        uid
    }

    /// Applies the options of its route to an event. Returns whether the event is recorded.
    #[cold]
    #[inline(never)]
    pub(super) fn select<'a>(
        &self,
        options: &'static RouteOptions,
        meta: &mut EventMeta<'a>,
        uid: &mut VisitorUid,
        head: &RequestHead<'_>,
        payload: &Payload<'_>,
        arena: &'a Arena,
    ) -> bool {
        let left_out = self.writer.left_out();
        if options.drops_automated && !automated(&head.parts.headers).is_empty() {
            left_out.count_automated();
            return false;
        }
        let Some(privacy) = &options.privacy else {
            return true;
        };
        let consents = !privacy.is_objected(&head.parts.headers)
            && privacy
                .consent
                .is_none_or(|field| is_given(field, &head.query, payload, arena));
        if !consents {
            uid.of_cookie = None;
            if privacy.drops_without_consent {
                left_out.count_without_consent();
                return false;
            }
            meta.make_anonymous();
        }
        let ip = self.kept_address(privacy, head, meta.is_anonymous());
        meta.ip = arena.alloc_str(&ip);
        let user_agent = meta
            .user_agent
            .and_then(|user_agent| self.kept_user_agent(privacy, user_agent, meta.unix_ms));
        meta.user_agent = user_agent.map(|user_agent| &*arena.alloc_str(&user_agent));
        if privacy.ip != AddressRule::Keep || privacy.user_agent != UserAgentRule::Keep {
            meta.fingerprint = match meta.user_agent {
                Some(user_agent) if !meta.ip.is_empty() => fingerprint(meta.ip, user_agent),
                _ => 0,
            };
        }
        true
    }

    /// Returns the part of the client's address that the options keep; empty for none.
    fn kept_address<'h>(&self, privacy: &Privacy, head: &'h RequestHead<'_>, is_anonymous: bool) -> Cow<'h, str> {
        match privacy.ip {
            _ if is_anonymous => Cow::Borrowed(""),
            AddressRule::Keep => Cow::Borrowed(head.ip.as_str()),
            AddressRule::Truncate => Cow::Owned(network(head.client.ip).to_string()),
            AddressRule::Hash => Cow::Owned(
                self.pseudonym(privacy, "ip", head.ip.as_str(), head.unix_ms)
                    .unwrap_or_default(),
            ),
            AddressRule::Drop => Cow::Borrowed(""),
        }
    }

    fn kept_user_agent<'h>(&self, privacy: &Privacy, user_agent: &'h str, unix_ms: u64) -> Option<Cow<'h, str>> {
        match privacy.user_agent {
            UserAgentRule::Keep => Some(Cow::Borrowed(user_agent)),
            UserAgentRule::Family => Some(Cow::Owned(family(user_agent))),
            UserAgentRule::Hash => self
                .pseudonym(privacy, "user_agent", user_agent, unix_ms)
                .map(Cow::Owned),
            UserAgentRule::Drop => None,
        }
    }

    fn pseudonym(&self, privacy: &Privacy, kind: &str, value: &str, unix_ms: u64) -> Option<String> {
        let private = self.private.as_ref()?;
        private.salts.hash(privacy.salt, kind, value, unix_ms)
    }
}

/// The start of the type of a form whose text is not urlencoded.
const MULTIPART: &[u8] = b"multipart/";

/// The text of a dead letter's payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sent<'b> {
    Json(&'b str),
    Form(&'b str),
    /// No text that can be read field by field.
    Other,
}

impl<'b> Sent<'b> {
    /// Returns the text of a request's payload.
    pub(super) fn of(head: &RequestHead<'_>, payload: &'b Payload<'_>, body: &'b [u8]) -> Self {
        let content_type = head.headers.content_type.map_or(&b""[..], HeaderValue::as_bytes);
        let is_multipart = content_type
            .trim_ascii_start()
            .get(..MULTIPART.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART));
        match payload {
            Payload::Form(_) if is_multipart => Self::Other,
            Payload::Json(text) | Payload::Item { text, .. } => Self::Json(text),
            Payload::Form(_) => str::from_utf8(body).map_or(Self::Other, Self::Form),
            Payload::Empty if body.is_empty() => Self::Form(""),
            Payload::Empty | Payload::Batch { .. } => Self::Other,
        }
    }
}

impl Collector {
    /// Writes the dead letter of an event whose route has privacy options.
    #[cold]
    pub(super) fn write_private_dead_letter(
        &self,
        options: &RouteOptions,
        meta: &EventMeta<'_>,
        head: &RequestHead<'_>,
        sent: Sent<'_>,
        dead_letter: &DeadLetter<'_>,
    ) {
        let body = self.kept_payload(options, meta, sent).unwrap_or_default();
        let query = head.parts.uri.query();
        let query = query.and_then(|query| self.kept_payload(options, meta, Sent::Form(query)));
        let end = if body.is_empty() { "" } else { "\n" };
        let query = query.map_or_else(String::new, |query| format!("?{query}{end}"));
        self.store_dead_letter(&DeadLetter {
            payload: &[query.as_bytes(), body.as_bytes()].concat(),
            ..*dead_letter
        });
    }

    /// Returns the part of an event's text that its dead letter keeps; `None` if the text cannot be
    /// read, and some of it may be personal.
    #[cold]
    pub(super) fn kept_payload<'s>(
        &self,
        options: &RouteOptions,
        meta: &EventMeta<'_>,
        sent: Sent<'s>,
    ) -> Option<Cow<'s, str>> {
        let hash = |column: &str, value: &str| self.pseudonym(options.privacy.as_ref()?, column, value, meta.unix_ms);
        let scrub = Scrub {
            columns: options.privacy.map_or(&[], |privacy| privacy.columns),
            is_anonymous: meta.is_anonymous(),
            hiding: options.hiding,
            hash: &hash,
        };
        match sent {
            Sent::Json(text) | Sent::Form(text) if scrub.is_empty() => Some(Cow::Borrowed(text)),
            Sent::Json(text) => scrub.json(text).map(Cow::Owned),
            Sent::Form(text) => Some(Cow::Owned(scrub.fields(text))),
            Sent::Other => None,
        }
    }

    /// Writes the dead letter of a request whose body cannot be read. Of a route with privacy options,
    /// it has no payload that may be personal; nor has one whose route is not known, if any route has
    /// such options. A route with `without_consent: drop` has none without a consent in the query.
    #[cold]
    pub(super) fn write_unread_dead_letter(&self, head: &RequestHead<'_>, body: &[u8], code: &str, reason: &str) {
        let dead_letter = head.dead_letter(code, reason);
        let Some(private) = &self.private else {
            return self.write_dead_letter(head, body, &dead_letter);
        };
        match head.route {
            None => self.store_dead_letter(&DeadLetter { ip: "", ..dead_letter }),
            Some(route) => {
                let Some(privacy) = privacy_of(&route) else {
                    return self.write_dead_letter(head, body, &dead_letter);
                };
                let is_anonymous = private.declines_cookie(head);
                if is_anonymous && privacy.drops_without_consent {
                    return self.writer.left_out().count_without_consent();
                }
                let ip = self.kept_address(privacy, head, is_anonymous);
                let dead_letter = DeadLetter { ip: &ip, ..dead_letter };
                if is_anonymous || !privacy.columns.is_empty() {
                    self.store_dead_letter(&dead_letter);
                } else {
                    self.write_dead_letter(head, body, &dead_letter);
                }
            }
        }
    }
}

/// Returns whether a field of the query or the body states consent.
fn is_given(field: &str, query: &Fields<'_>, payload: &Payload<'_>, arena: &Arena) -> bool {
    if let Some(text) = query.text(field) {
        return is_true(text);
    }
    match payload {
        Payload::Json(text) => is_given_in(text, field, arena),
        Payload::Item { text, shared } => {
            is_given_in(text, field, arena)
                || shared.iter().any(|(name, value)| {
                    let mut reader = Reader::new_in(value, arena);
                    *name == field && is_true_json(&mut reader).unwrap_or(false)
                })
        }
        Payload::Form(fields) => fields.text(field).is_some_and(is_true),
        Payload::Empty | Payload::Batch { .. } => false,
    }
}

fn is_given_in(text: &str, field: &str, arena: &Arena) -> bool {
    let find = || -> Result<bool, json::Error> {
        let mut reader = Reader::new_in(text, arena);
        let mut is_given = false;
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            if key == field {
                is_given = is_true_json(&mut reader)?;
            } else {
                reader.skip()?;
            }
        }
        Ok(is_given)
    };
    find().unwrap_or(false)
}

/// Reads a value; returns whether it states consent.
fn is_true_json(reader: &mut Reader<'_>) -> Result<bool, json::Error> {
    Ok(match reader.peek()? {
        Kind::Bool => reader.bool()?,
        Kind::String => is_true(&reader.string()?),
        Kind::Number => is_true(reader.raw_value()?),
        _ => {
            reader.skip()?;
            false
        }
    })
}

impl Collector {
    /// Applies the options of its route to the metadata of an item that cannot be read, and that can
    /// state its consent in the query alone. Returns whether the item has a dead letter.
    pub(super) fn protect_unread<'a>(
        &self,
        route: &Route,
        meta: &mut EventMeta<'a>,
        head: &RequestHead<'_>,
        arena: &'a Arena,
    ) -> bool {
        self.protect_refused(route, meta, head, &Payload::Empty, arena)
    }

    /// Applies the options of its route to an item that an adapter refuses. Returns whether the item is
    /// recorded, as a dead letter.
    pub(super) fn protect_refused<'a>(
        &self,
        route: &Route,
        meta: &mut EventMeta<'a>,
        head: &RequestHead<'_>,
        payload: &Payload<'_>,
        arena: &'a Arena,
    ) -> bool {
        let mut uid = VisitorUid {
            of_event: meta.uid,
            of_cookie: None,
        };
        let options = route.options.filter(|options| options.is_selective());
        options.is_none_or(|options| self.select(options, meta, &mut uid, head, payload, arena))
    }

    /// Returns the part of a refused item's text that its dead letter keeps: nothing of it if some may be
    /// personal, since the names of its sender's protocol are not the paths of an event, and some
    /// values are in base64.
    pub(super) fn kept_refused<'i>(
        &self,
        route: &Route,
        meta: &EventMeta<'_>,
        item: &'i str,
        arena: &'i Arena,
    ) -> &'i str {
        let privacy = route.options.and_then(|options| options.privacy.as_ref());
        match privacy.is_some_and(|privacy| !privacy.columns.is_empty()) {
            true => "",
            false => self.kept_item(route, meta, item, arena),
        }
    }

    /// Returns the part of an item's text that its dead letter keeps.
    pub(super) fn kept_item<'i>(
        &self,
        route: &Route,
        meta: &EventMeta<'_>,
        item: &'i str,
        arena: &'i Arena,
    ) -> &'i str {
        let Some(options) = route.options.filter(|options| options.privacy.is_some()) else {
            return item;
        };
        match self.kept_payload(options, meta, Sent::Json(item)) {
            None => "",
            Some(Cow::Borrowed(text)) => text,
            Some(Cow::Owned(text)) => arena.alloc_str(&text),
        }
    }
}
