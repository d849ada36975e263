//! Verify: whether a request comes from the sender that its route expects.
//!
//! A route with `verify` in the schema has a [`Verification`]: the scheme of the sender's
//! signatures, and where its secrets are. The [`Guard`](guard::Guard) of a layer has the keys of
//! all such routes, and checks the bytes of a body as they arrived, before anything parses them.
//! Every comparison with a secret takes the same time for all values.
//!
//! ```text
//! guard              the verified routes of one layer, with their current keys
//! secret             where secrets are: the environment, files, or the program itself
//! key                a secret as the key of its scheme
//! scheme             the schemes, and which secrets and headers they use
//! request            the parts of a request that a signature may cover
//! authorization      bearer, basic, and a secret in a header of any name
//! client_certificate  the names in the certificate of a connection
//! body_hmac          github, shopify, and any HMAC of the body in a header
//! timestamped        stripe and slack: an HMAC of a time and the body
//! standard_webhooks  HMAC or Ed25519 of an id, a time and the body
//! sendgrid           ECDSA of a time and the body
//! sns                RSA of the fields of a message of Amazon SNS
//! mailgun            an HMAC of a time and a token, all of them in the JSON body
//! twilio             an HMAC of the URL and the fields of a form
//! link               links that redirects lead on from only if they are signed
//! encoding           hexadecimal and Base64
//! ```

mod authorization;
mod body_hmac;
pub(crate) mod client_certificate;
mod encoding;
pub(crate) mod guard;
pub(crate) mod key;
pub(crate) mod link;
mod mailgun;
pub(crate) mod request;
pub(crate) mod scheme;
pub(crate) mod secret;
mod sendgrid;
mod sns;
mod standard_webhooks;
#[cfg(test)]
mod tests;
mod timestamped;
mod twilio;

use self::{key::Key, request::SignedRequest, scheme::Scheme, secret::SecretSource};

/// The verification of a route's requests, as the schema states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// The path of the route in the schema: `service/name`, `service/default` or `other`.
    pub route: &'static str,
    /// The scheme of the signatures.
    pub scheme: Scheme,
    /// The places of the secrets; a request needs a signature with one of them.
    pub secrets: &'static [SecretSource],
    /// The largest difference between the time in a signature and the collector's clock, in
    /// seconds; `None` if a signature may have any age.
    pub tolerance_s: Option<u64>,
    /// Whether a request may have fields that its signature does not cover: those of its query, and
    /// the project in its path.
    pub allows_unsigned: bool,
}

/// The reason why a request is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unverified {
    /// A header or a field of the signature is absent.
    Missing,
    /// A header or a field of the signature cannot be read, or is there twice.
    Malformed,
    /// The time in the signature is too far from the collector's clock.
    Timestamp,
    /// No secret of the route gives this signature.
    Signature,
    /// The request has fields that its signature does not cover.
    Unsigned,
    /// The request has no body that a signature could cover.
    Method,
    /// The collector could not read the route's secrets.
    NoSecret,
}

impl Unverified {
    pub(crate) const ALL: [Self; 7] = [
        Self::Missing,
        Self::Malformed,
        Self::Timestamp,
        Self::Signature,
        Self::Unsigned,
        Self::Method,
        Self::NoSecret,
    ];

    /// Returns the name in metrics and the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Timestamp => "timestamp",
            Self::Signature => "signature",
            Self::Unsigned => "unsigned",
            Self::Method => "method",
            Self::NoSecret => "no-secret",
        }
    }
}

impl Verification {
    /// Returns whether the verification is one of links.
    const fn is_of_links(&self) -> bool {
        matches!(self.scheme, Scheme::Link)
    }

    /// Verifies a request.
    ///
    /// # Errors
    ///
    /// The request is not verified.
    fn verify(&self, request: &SignedRequest<'_>, keys: &[Key]) -> Result<(), Unverified> {
        if !request.has_body && self.scheme.signs_body() {
            return Err(Unverified::Method);
        }
        let clock = request::Clock {
            unix_s: request.unix_s,
            tolerance_s: self.tolerance_s,
        };
        let verified = match self.scheme {
            Scheme::Bearer => authorization::bearer(request, keys),
            Scheme::Basic => authorization::basic(request, keys),
            Scheme::Header { name } => authorization::header(request, name, keys),
            Scheme::BodyHmac(ref place) => body_hmac::verify(request, place, keys),
            Scheme::Stripe => timestamped::stripe(request, clock, keys),
            Scheme::Slack => timestamped::slack(request, clock, keys),
            Scheme::StandardWebhooks => standard_webhooks::verify(request, clock, keys),
            Scheme::SendGrid => sendgrid::verify(request, clock, keys),
            Scheme::AwsSns { topics, allows_sha1 } => sns::verify(request, topics, allows_sha1, keys),
            // A link is verified when the request is answered.
            Scheme::Link => Err(Unverified::Signature),
            Scheme::Mailgun => mailgun::verify(request, clock, keys),
            Scheme::Twilio { url } => twilio::verify(request, url, keys),
            Scheme::ClientCertificate { names } => client_certificate::verify(request.certificate, names),
        };
        verified?;
        // Whoever has copied a request could send it with other fields.
        let is_signed = self.allows_unsigned || !request.has_fields_beside_body || !self.scheme.signs_body_alone();
        is_signed.then_some(()).ok_or(Unverified::Unsigned)
    }
}

/// Returns an error unless some key accepts the signature. All keys are tried, so that the time
/// does not tell which of them did.
fn accepted_by(keys: &[Key], mut accepts: impl FnMut(&Key) -> bool) -> Result<(), Unverified> {
    let is_accepted = keys.iter().fold(false, |is_accepted, key| accepts(key) | is_accepted);
    is_accepted.then_some(()).ok_or(Unverified::Signature)
}
