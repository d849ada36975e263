//! Proofs that each request repeats: a bearer token, a name with a password, or a secret in a
//! header of any name. They cover no part of the request: whoever reads one request can send
//! others.

use http::header::AUTHORIZATION;

use super::{Unverified, accepted_by, encoding, key::Key, request::SignedRequest};

/// Verifies `Authorization: Bearer TOKEN`.
pub(super) fn bearer(request: &SignedRequest<'_>, keys: &[Key]) -> Result<(), Unverified> {
    let token = credentials(request, b"bearer")?;
    accepted_by(keys, |key| key.is_token(token))
}

/// Verifies `Authorization: Basic BASE64`, with a name, a colon and a password in the Base64.
pub(super) fn basic(request: &SignedRequest<'_>, keys: &[Key]) -> Result<(), Unverified> {
    let pair = encoding::base64(credentials(request, b"basic")?).ok_or(Unverified::Malformed)?;
    accepted_by(keys, |key| key.is_token(&pair))
}

/// Verifies a header whose value is the secret.
pub(super) fn header(request: &SignedRequest<'_>, name: &str, keys: &[Key]) -> Result<(), Unverified> {
    let value = request.header(name)?;
    accepted_by(keys, |key| key.is_token(value))
}

/// Returns the credentials of `Authorization` after the name of their scheme, which has no case.
fn credentials<'r>(request: &SignedRequest<'r>, scheme: &[u8]) -> Result<&'r [u8], Unverified> {
    let value = request.header(AUTHORIZATION.as_str())?;
    let (name, credentials) = value.split_at_checked(scheme.len()).ok_or(Unverified::Malformed)?;
    match credentials.split_first() {
        Some((b' ', credentials)) if name.eq_ignore_ascii_case(scheme) => Ok(credentials.trim_ascii_start()),
        _ => Err(Unverified::Malformed),
    }
}
