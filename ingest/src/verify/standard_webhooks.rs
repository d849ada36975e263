//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
//! signatures of an id, a time and the body, by HMAC-SHA256 (`v1`) or Ed25519 (`v1a`).

use super::{
    Unverified, accepted_by, encoding,
    key::Key,
    request::{Clock, SignedRequest},
};

/// The names of the headers: the id, the time, the signatures.
const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// Svix's names of the headers, from before the standard.
const SVIX_HEADERS: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

/// The most signatures that a header may have: two secrets of each kind during a rotation.
const MAX_SIGNATURES: usize = 16;

/// A signature of a known version.
enum Signature {
    Hmac(Vec<u8>),
    Ed25519(Vec<u8>),
}

pub(super) fn verify(request: &SignedRequest<'_>, clock: Clock, keys: &[Key]) -> Result<(), Unverified> {
    // One set of names or the other, never a mixture.
    let [id, timestamp, signatures] = match request.headers.contains_key(HEADERS[0]) {
        true => HEADERS,
        false => SVIX_HEADERS,
    };
    let (id, timestamp) = (request.header(id)?, request.text(timestamp)?);
    let signatures = signatures_of(request.text(signatures)?)?;
    let parts = [id, b".", timestamp.as_bytes(), b".", request.body];
    let message = match keys.iter().any(|key| matches!(key, Key::Ed25519(_))) {
        true => parts.concat(),
        false => Vec::new(),
    };
    accepted_by(keys, |key| {
        signatures.iter().fold(false, |is_signature, signature| {
            let is_this = match signature {
                Signature::Hmac(tag) => key.is_hmac_of(&parts, tag),
                Signature::Ed25519(signature) => key.is_ed25519_of(&message, signature),
            };
            is_this | is_signature
        })
    })?;
    clock.check(timestamp)
}

/// Returns the signatures in a header: `VERSION,BASE64`, separated by spaces. Those of other
/// versions do not count.
fn signatures_of(text: &str) -> Result<Vec<Signature>, Unverified> {
    let mut signatures = Vec::new();
    for part in text.split_ascii_whitespace() {
        let (version, signature) = part.split_once(',').ok_or(Unverified::Malformed)?;
        let decoded = || encoding::base64(signature.as_bytes()).ok_or(Unverified::Malformed);
        if signatures.len() == MAX_SIGNATURES {
            return Err(Unverified::Malformed);
        }
        match version {
            "v1" => signatures.push(Signature::Hmac(decoded()?)),
            "v1a" => signatures.push(Signature::Ed25519(decoded()?)),
            _ => {}
        }
    }
    Ok(signatures)
}
