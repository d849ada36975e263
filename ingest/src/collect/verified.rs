//! Verified: the answer to a request that is not from the sender of its route.

use http::Method;

use crate::{
    answer::{Answer, Challenge},
    collect::{
        Collector,
        head::RequestHead,
        route::{Route, Routes},
    },
    request::claims::Claims,
    verify::{Unverified, guard::Guard, request::SignedRequest, scheme::Scheme},
};

impl Collector {
    /// Returns the answer to a request that is not from the sender of its route, before its body is
    /// parsed.
    ///
    /// A path that names no destination leads to a route by the fields of the query, or to the
    /// route `other`. A field of the body may still lead to another one: see
    /// [`refusal_of_route`](Self::refusal_of_route).
    #[cold]
    #[inline(never)]
    pub(super) fn refusal<R: Routes>(
        &self,
        guard: &Guard,
        head: &RequestHead<'_>,
        body: &[u8],
    ) -> Option<Answer<'static>> {
        let route = match head.route {
            Some(route) => route,
            None => self.route::<R>(head, &Claims::default())?.1,
        };
        self.refusal_of_route(guard, &route, head, body)
    }

    /// Returns the answer to a request that is not from the sender of `route`.
    #[cold]
    #[inline(never)]
    pub(super) fn refusal_of_route(
        &self,
        guard: &Guard,
        route: &Route,
        head: &RequestHead<'_>,
        body: &[u8],
    ) -> Option<Answer<'static>> {
        let verification = route.options?.verify.as_ref()?;
        let has_query = head.parts.uri.query().is_some_and(|query| !query.is_empty());
        let request = SignedRequest {
            headers: &head.parts.headers,
            uri: &head.parts.uri,
            body,
            has_body: head.parts.method == Method::POST || !body.is_empty(),
            has_fields_beside_body: has_query || !head.target.project.is_empty(),
            certificate: head.parts.extensions.get(),
            unix_s: head.unix_ms / 1_000,
        };
        let reason = guard.verify(verification, &request).err()?;
        self.writer.unverified().add(verification.route, reason.name(), 1);
        guard.log(verification, reason);
        Some(match (reason, verification.scheme) {
            (Unverified::NoSecret, _) => Answer::FULL,
            (_, Scheme::Basic) => Answer::Unauthorized(Some(Challenge::Basic)),
            (_, Scheme::Bearer) => Answer::Unauthorized(Some(Challenge::Bearer)),
            _ => Answer::Unauthorized(None),
        })
    }
}
