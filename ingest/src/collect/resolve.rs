//! Resolves a request: its route, its visitor, its metadata, and the acknowledgement that it asks
//! for.

use std::num::NonZeroU64;

use http::{HeaderValue, header, request::Parts};

use crate::{
    ack::{ACK_HEADER, Ack, AckPolicy, UnknownAck},
    answer::header_set::HeaderSet,
    arena::Arena,
    collect::{
        Collector,
        head::RequestHead,
        route::{Route, Routes},
    },
    identify::{Address, claimed_uid, stored_uid},
    ids::uid::new_uid,
    intake::event_meta::EventMeta,
    request::{
        body::Payload,
        claims::Claims,
        content_type::Declared,
        target::{Target, name_key},
        text_field::unhidden,
    },
};

/// The uids of a request's visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisitorUid {
    /// The uid of the event.
    pub(super) of_event: u64,
    /// The uid for the visitor's cookie; `None` if the response sets no cookie.
    pub(super) of_cookie: Option<NonZeroU64>,
}

impl Collector {
    /// Returns the destination of an event. A path that names a declared destination decides alone.
    /// On every other path, the ready collector also reads query and body, as Rockstat does.
    pub(super) fn route<'a, R: Routes>(
        &self,
        head: &'a RequestHead<'_>,
        body: &Claims<'a>,
    ) -> Option<(Address<'a>, Route)> {
        let query = head.claims();
        if let Some(route) = head.route {
            return Some((Address::of_path(&head.target, &query, body), route));
        }
        if !self.catch_all {
            return None;
        }
        let address = Address::resolve(&head.target, &query, body)?;
        let route = R::find(address.service, &name_key(address.name)).or_else(R::fallback)?;
        Some((address, route))
    }

    /// Returns the visitor's uid; a new one if the request has none.
    ///
    /// A uid of the query or the body marks the event alone. Otherwise, a link could give its
    /// readers a cookie with a uid that somebody else knows.
    pub(super) fn visitor(&self, head: &RequestHead<'_>, body: &Claims<'_>) -> VisitorUid {
        let cookie = self.cookie.as_ref();
        let stored = cookie.and_then(|cookie| stored_uid(&head.headers, &head.parts.headers, cookie.name()));
        let claimed = claimed_uid(head.query.text("uid"), body.uid);
        let of_event = claimed.or(stored).unwrap_or_else(|| self.new_uid(head));
        let of_cookie = match claimed {
            // Rockstat's collector puts any uid into its cookie.
            Some(_) if self.headers != HeaderSet::Rockstat => stored,
            _ => Some(of_event),
        };
        VisitorUid {
            of_event,
            of_cookie: of_cookie.and_then(NonZeroU64::new),
        }
    }

    /// Returns the uid of a new visitor, or of the visitor whose WebSocket this is.
    fn new_uid(&self, head: &RequestHead<'_>) -> u64 {
        head.session_uid()
            .or_else(new_uid)
            .unwrap_or_else(|| self.writer.ids().next(head.unix_ms))
    }

    /// Returns the collector's metadata of an event, with a new id.
    pub(super) fn event_meta<'a>(
        &self,
        head: &'a RequestHead<'_>,
        address: &Address<'a>,
        uid: VisitorUid,
    ) -> EventMeta<'a> {
        EventMeta {
            id: self.writer.ids().next(head.unix_ms),
            uid: uid.of_event,
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
            headers: Some(&head.parts.headers),
            query: Some(&head.query),
        }
    }

    /// Returns the body as a document with the JSON that hides in its texts, if the events of the
    /// route are inside documents and one of the texts hides any.
    #[cold]
    pub(super) fn unhidden<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        payload: &Payload<'_>,
        arena: &Arena,
    ) -> Option<String> {
        let (_, route) = self.route::<R>(head, &Claims::default())?;
        let options = route.options.filter(|options| options.items.is_some())?;
        unhidden(payload, options.hiding, arena)
    }

    /// Returns the acknowledgement that the route or the request asks for.
    pub(super) fn requested_ack(&self, policy: AckPolicy, head: &RequestHead<'_>) -> Result<Option<Ack>, UnknownAck> {
        if !policy.by_header && !self.ack_by_header {
            return Ok(policy.ack);
        }
        match head.parts.headers.get(ACK_HEADER) {
            Some(value) => value.to_str().map_err(|_| UnknownAck)?.trim().parse().map(Some),
            None => Ok(policy.ack),
        }
    }
}

/// Returns the route of the declared destination that a path names.
pub(super) fn declared<R: Routes>(target: &Target<'_>) -> Option<Route> {
    if target.service.is_empty() || target.name.is_empty() {
        return None;
    }
    R::find(target.service, &name_key(target.name))
}

/// Returns whether the request or its route declares the body as many events.
pub(super) fn declares_batch(parts: &Parts, route: Option<&Route>) -> bool {
    let has_items = route.is_some_and(|route| route.options.is_some_and(|options| options.has_items()));
    let declared = Declared {
        extension: Target::parse(parts.uri.path()).extension,
        content_type: parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
        content_encoding: None,
    };
    has_items || declared.batch_format().is_some()
}
