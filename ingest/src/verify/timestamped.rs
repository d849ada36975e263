//! An HMAC of a time and the body: Stripe and Slack.

use super::{
    Unverified, accepted_by, encoding,
    key::Key,
    request::{Clock, SignedRequest},
};

/// The most signatures that a header may have: two secrets during a rotation, and then some.
const MAX_SIGNATURES: usize = 8;

/// Verifies `Stripe-Signature: t=TIME,v1=HEX,v1=HEX`: HMACs of `TIME.BODY`.
pub(super) fn stripe(request: &SignedRequest<'_>, clock: Clock, keys: &[Key]) -> Result<(), Unverified> {
    let mut timestamp = None;
    let mut tags = Vec::new();
    for pair in request.text("stripe-signature")?.split(',') {
        match pair.trim().split_once('=').ok_or(Unverified::Malformed)? {
            ("t", _) if timestamp.is_some() => return Err(Unverified::Malformed),
            ("t", time) => timestamp = Some(time),
            ("v1", _) if tags.len() == MAX_SIGNATURES => return Err(Unverified::Malformed),
            ("v1", tag) => tags.push(encoding::hex(tag.as_bytes()).ok_or(Unverified::Malformed)?),
            // Other versions are for tests, or for later.
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(Unverified::Missing)?;
    if tags.is_empty() {
        return Err(Unverified::Missing);
    }
    let parts = [timestamp.as_bytes(), b".", request.body];
    accepted_by(keys, |key| {
        tags.iter()
            .fold(false, |is_tag, tag| key.is_hmac_of(&parts, tag) | is_tag)
    })?;
    clock.check(timestamp)
}

/// Verifies `X-Slack-Signature: v0=HEX`: an HMAC of `v0:TIME:BODY`, with the time in
/// `X-Slack-Request-Timestamp`.
pub(super) fn slack(request: &SignedRequest<'_>, clock: Clock, keys: &[Key]) -> Result<(), Unverified> {
    let timestamp = request.text("x-slack-request-timestamp")?;
    let tag = request
        .text("x-slack-signature")?
        .strip_prefix("v0=")
        .and_then(|tag| encoding::hex(tag.as_bytes()))
        .ok_or(Unverified::Malformed)?;
    let parts = [b"v0:", timestamp.as_bytes(), b":", request.body];
    accepted_by(keys, |key| key.is_hmac_of(&parts, &tag))?;
    clock.check(timestamp)
}
