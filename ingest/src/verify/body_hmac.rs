//! An HMAC of the body in a header: GitHub, Shopify, and others with a description of their own.

use super::{Unverified, accepted_by, key::Key, request::SignedRequest, scheme::BodyHmac};

pub(super) fn verify(request: &SignedRequest<'_>, place: &BodyHmac, keys: &[Key]) -> Result<(), Unverified> {
    let value = request.header(place.header)?;
    let tag = value
        .strip_prefix(place.prefix.as_bytes())
        .and_then(|tag| place.encoding.decode(tag))
        .ok_or(Unverified::Malformed)?;
    accepted_by(keys, |key| key.is_hmac_of(&[request.body], &tag))
}
