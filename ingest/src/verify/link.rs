//! Signed links: an HMAC-SHA256 of the route, the time at which the link ends, and the target.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::form_urlencoded;

use super::{
    Unverified, Verification, accepted_by,
    key::Key,
    secret::{RouteSecrets, SecretError},
};
use crate::answer::redirect::{Location, RedirectError};

/// The field of a link with its end, in seconds since 1970.
pub(crate) const EXPIRES: &str = "to_expires";

/// The field of a link with its signature, in Base64 for URLs.
pub(crate) const SIGNATURE: &str = "to_signature";

/// A link that a request has followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link<'r> {
    /// The target as the response would have it.
    pub(crate) location: &'r str,
    pub(crate) expires: Option<&'r str>,
    pub(crate) signature: Option<&'r str>,
    /// The time of arrival, in seconds since 1970.
    pub(crate) unix_s: u64,
}

impl Link<'_> {
    /// Verifies the link of a route.
    pub(super) fn verify(&self, route: &str, keys: &[Key]) -> Result<(), Unverified> {
        let (Some(expires), Some(signature)) = (self.expires, self.signature) else {
            return Err(Unverified::Missing);
        };
        let tag = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unverified::Malformed)?;
        let parts = signed_parts(route, expires, self.location);
        accepted_by(keys, |key| key.is_hmac_of(&parts, &tag))?;
        match expires.parse::<u64>() {
            Ok(expires) if expires >= self.unix_s => Ok(()),
            _ => Err(Unverified::Timestamp),
        }
    }
}

/// Returns the text that is signed. Neither a route nor a target has line ends, and the end of a link
/// has digits only.
fn signed_parts<'p>(route: &'p str, expires: &'p str, location: &'p str) -> [&'p [u8]; 6] {
    let parts = ["rowmill-link-1\n", route, "\n", expires, "\n", location];
    parts.map(str::as_bytes)
}

/// A key that signs links of routes with `redirect: { signed: … }`.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use rowmill_ingest::route::LinkKey;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = LinkKey::new("a long random text");
/// let end = SystemTime::now() + Duration::from_secs(90 * 86_400);
/// let link = key.sign("redir/mail", "https://example.org/offer", end)?;
/// assert!(link.starts_with("/redir/mail?to=https%3A%2F%2Fexample.org%2Foffer&to_expires="));
/// // Other fields of the event come after it.
/// let link = format!("https://stat.example.com{link}&event=click&link_id=1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LinkKey(Key);

impl LinkKey {
    /// Returns the key of a secret: a random text of 32 characters or more.
    pub fn new(secret: &str) -> Self {
        Self(Key::of_link(secret))
    }

    /// Returns the first of the keys that the schema names for a route's links.
    ///
    /// # Errors
    ///
    /// The environment variable or the file cannot be read.
    pub fn of_route(verification: &Verification) -> Result<Self, SecretError> {
        RouteSecrets::default().first_key(verification).map(Self)
    }

    /// Returns the path and the query of a link that leads to `target` until `end`. `route` is the
    /// path of the route in the schema, such as `redir/mail`.
    ///
    /// # Errors
    ///
    /// No link can lead to the target, or the time is before 1970.
    pub fn sign(&self, route: &str, target: &str, end: SystemTime) -> Result<String, InvalidLink> {
        let location = Location::parse_private(target).map_err(|error| InvalidLink(Problem::Target(error)))?;
        let end = end.duration_since(UNIX_EPOCH);
        let expires = end.map_err(|_| InvalidLink(Problem::End))?.as_secs().to_string();
        let tag = self.0.hmac_of(&signed_parts(route, &expires, location.as_str()));
        let signature = tag.map(|tag| URL_SAFE_NO_PAD.encode(tag)).unwrap_or_default();
        let path = format!("/{route}?");
        let path_bytes = path.len();
        let link = form_urlencoded::Serializer::for_suffix(path, path_bytes)
            .append_pair("to", location.as_str())
            .append_pair(EXPIRES, &expires)
            .append_pair(SIGNATURE, &signature)
            .finish();
        Ok(link)
    }
}

/// The error of [`LinkKey::sign`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidLink(Problem);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    Target(RedirectError),
    End,
}

impl fmt::Display for InvalidLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::Target(error) => error.fmt(f),
            Problem::End => f.write_str("the link ends before 1970"),
        }
    }
}

impl std::error::Error for InvalidLink {}
