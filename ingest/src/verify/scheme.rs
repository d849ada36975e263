//! The schemes of signatures.

/// A scheme of signatures, or of other proofs of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// `Authorization: Basic …`, with `user:password` as the secret.
    Basic,
    /// A header whose value is the secret.
    Header {
        /// The name of the header, in lower case.
        name: &'static str,
    },
    /// A header with an HMAC of the body.
    BodyHmac(BodyHmac),
    /// The header `Stripe-Signature`.
    Stripe,
    /// The headers `X-Slack-Signature` and `X-Slack-Request-Timestamp`.
    Slack,
    /// [Standard Webhooks](https://www.standardwebhooks.com): the headers `webhook-id`,
    /// `webhook-timestamp` and `webhook-signature`, or Svix's names of them.
    StandardWebhooks,
    /// The signed event webhook of SendGrid.
    SendGrid,
    /// The signature in a message of Amazon SNS; the secrets are certificates of Amazon, in PEM.
    AwsSns {
        /// The topics whose messages are accepted, by their ARNs.
        topics: &'static [&'static str],
        /// Whether signatures with SHA-1 (`SignatureVersion` 1) are accepted, besides those with
        /// SHA-256.
        allows_sha1: bool,
    },
    /// The object `signature` in the JSON of Mailgun.
    Mailgun,
    /// Links that are signed for a route; not a scheme of requests.
    Link,
    /// The certificate of the connection.
    ClientCertificate {
        /// The hosts or addresses of which the certificate has one; none for any certificate.
        names: &'static [&'static str],
    },
    /// The header `X-Twilio-Signature`.
    Twilio {
        /// The URL to which Twilio sends, up to the path: scheme, host and port, and a prefix that
        /// a proxy removes from the path.
        url: &'static str,
    },
}

/// A header with an HMAC of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHmac {
    /// The name of the header, in lower case.
    pub header: &'static str,
    /// The hash function.
    pub algorithm: Algorithm,
    /// The form of the HMAC in the header.
    pub encoding: Encoding,
    /// The text before the HMAC in the header; may be empty.
    pub prefix: &'static str,
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1; HMACs with it have no known weakness.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The form of bytes in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits, in lower or upper case.
    Hex,
    /// Base64, with the standard alphabet.
    Base64,
}

impl Scheme {
    /// Returns whether only a request with a body can be verified.
    pub(super) const fn signs_body(self) -> bool {
        !matches!(
            self,
            Self::Bearer | Self::Basic | Self::Header { .. } | Self::ClientCertificate { .. }
        )
    }

    /// Returns whether a signature covers the body, or a part of it, and not the URL.
    pub(super) const fn signs_body_alone(self) -> bool {
        self.signs_body() && !matches!(self, Self::Twilio { .. } | Self::Link)
    }

    /// Returns the name as in the schema; for presets of an HMAC of the body, `hmac`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Header { .. } => "header",
            Self::BodyHmac(_) => "hmac",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::StandardWebhooks => "standard-webhooks",
            Self::SendGrid => "sendgrid",
            Self::AwsSns { .. } => "aws-sns",
            Self::Mailgun => "mailgun",
            Self::Link => "link",
            Self::ClientCertificate { .. } => "client-certificate",
            Self::Twilio { .. } => "twilio",
        }
    }
}
