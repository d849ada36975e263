//! Twilio's signature: an HMAC of the URL and, after it, the fields of a form, sorted by name. For
//! any other body, the URL has the field `bodySHA256` with the hash of the body.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};
use url::form_urlencoded;

use super::{Unverified, accepted_by, encoding, key::Key, request::SignedRequest};

/// The field of the URL with the hash of a body that is not a form.
const BODY_HASH: &str = "bodySHA256";

pub(super) fn verify(request: &SignedRequest<'_>, url: &str, keys: &[Key]) -> Result<(), Unverified> {
    let tag = encoding::base64(request.header("x-twilio-signature")?).ok_or(Unverified::Malformed)?;
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let query = request.uri.query().unwrap_or_default();
    let hash = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == BODY_HASH);
    let fields = match hash {
        Some((_, hash)) => {
            let hash = encoding::hex(hash.as_bytes()).ok_or(Unverified::Malformed)?;
            if digest(&SHA256, request.body).as_ref() != hash {
                return Err(Unverified::Signature);
            }
            Vec::new()
        }
        None => sorted_fields(request.body),
    };
    let mut parts = vec![url.trim_end_matches('/').as_bytes(), target.as_bytes()];
    for (name, value) in &fields {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    accepted_by(keys, |key| key.is_hmac_of(&parts, &tag))
}

/// Returns the fields of a form, sorted by name and then by value, each pair once.
fn sorted_fields(body: &[u8]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}
