//! Keys: the secrets of a route in the form that its scheme needs.

use std::fmt;

use ring::{
    digest,
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512},
    signature::{
        ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
        UnparsedPublicKey,
    },
};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use subtle::ConstantTimeEq;

use super::{
    encoding,
    scheme::{Algorithm, Scheme},
};

/// A secret, or a public key, in the form that its scheme needs.
pub(crate) enum Key {
    Hmac(hmac::Key),
    /// The SHA-256 of a token that requests repeat.
    Token([u8; digest::SHA256_OUTPUT_LEN]),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
    EcdsaP256(UnparsedPublicKey<Vec<u8>>),
    /// The key of a certificate, as an `RSAPublicKey`.
    Rsa(Vec<u8>),
}

/// The hash function of an RSA signature (PKCS #1 v1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RsaHash {
    Sha1,
    Sha256,
}

/// The reason why a secret is not a key of its scheme; it does not contain the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidKey(&'static str);

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "does not have the form of its scheme: {}", self.0)
    }
}

/// The bytes before the point in the `SubjectPublicKeyInfo` of an uncompressed key on P-256
/// ([RFC 5480](https://www.rfc-editor.org/rfc/rfc5480)).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The `AlgorithmIdentifier` of an RSA key ([RFC 3279](https://www.rfc-editor.org/rfc/rfc3279), 2.3.1).
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The length of an uncompressed point on P-256, in bytes.
const P256_POINT_BYTES: usize = 65;

/// The shortest key of links, in bytes. The program's own users choose it, not a sender.
const MIN_LINK_KEY_BYTES: usize = 16;

impl Key {
    /// Returns the key of a secret.
    ///
    /// # Errors
    ///
    /// The secret does not have the form that the scheme needs.
    pub(super) fn parse(scheme: Scheme, secret: &str) -> Result<Self, InvalidKey> {
        match scheme {
            Scheme::Bearer | Scheme::Header { .. } => Ok(Self::token(secret)),
            Scheme::Basic if secret.contains(':') => Ok(Self::token(secret)),
            Scheme::Basic => Err(InvalidKey("expected `user:password`")),
            Scheme::BodyHmac(place) => Ok(Self::hmac(place.algorithm, secret.as_bytes())),
            Scheme::Link if secret.len() < MIN_LINK_KEY_BYTES => Err(InvalidKey("expected at least 16 characters")),
            Scheme::Link => Ok(Self::of_link(secret)),
            Scheme::Stripe | Scheme::Slack | Scheme::Mailgun => Ok(Self::hmac(Algorithm::Sha256, secret.as_bytes())),
            Scheme::Twilio { .. } => Ok(Self::hmac(Algorithm::Sha1, secret.as_bytes())),
            Scheme::StandardWebhooks => Self::of_standard_webhooks(secret),
            Scheme::SendGrid => Self::ecdsa_p256(secret),
            Scheme::AwsSns { .. } => Self::of_certificate(secret),
            Scheme::ClientCertificate { .. } => Err(InvalidKey("a certificate needs no secret")),
        }
    }

    /// Returns the key of signed links.
    pub(super) fn of_link(secret: &str) -> Self {
        Self::hmac(Algorithm::Sha256, secret.as_bytes())
    }

    fn token(secret: &str) -> Self {
        Self::Token(sha256(secret.as_bytes()))
    }

    fn hmac(algorithm: Algorithm, secret: &[u8]) -> Self {
        let algorithm = match algorithm {
            Algorithm::Sha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => HMAC_SHA256,
            Algorithm::Sha384 => HMAC_SHA384,
            Algorithm::Sha512 => HMAC_SHA512,
        };
        Self::Hmac(hmac::Key::new(algorithm, secret))
    }

    fn of_standard_webhooks(secret: &str) -> Result<Self, InvalidKey> {
        const EXPECTED: InvalidKey =
            InvalidKey("expected `whsec_` and the secret in Base64, or `whpk_` and the public key in Base64");
        if let Some(public) = secret.strip_prefix("whpk_") {
            let key = encoding::base64(public.as_bytes()).filter(|key| key.len() == 32);
            return Ok(Self::Ed25519(UnparsedPublicKey::new(&ED25519, key.ok_or(EXPECTED)?)));
        }
        // Some senders show the secret without its prefix.
        let secret = secret.strip_prefix("whsec_").unwrap_or(secret);
        let secret = encoding::base64(secret.as_bytes()).filter(|secret| !secret.is_empty());
        Ok(Self::hmac(Algorithm::Sha256, &secret.ok_or(EXPECTED)?))
    }

    fn ecdsa_p256(secret: &str) -> Result<Self, InvalidKey> {
        let point = encoding::base64(secret.as_bytes())
            .and_then(|key| key.strip_prefix(&P256_PREFIX).map(<[u8]>::to_vec))
            .filter(|point| point.len() == P256_POINT_BYTES)
            .ok_or(InvalidKey("expected the public key of SendGrid's settings, in Base64"))?;
        Ok(Self::EcdsaP256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)))
    }

    fn of_certificate(pem: &str) -> Result<Self, InvalidKey> {
        let key = || {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            let parsed = ParsedCertificate::try_from(&certificate).ok()?;
            rsa_key(&parsed.subject_public_key_info()).map(<[u8]>::to_vec)
        };
        key()
            .map(Self::Rsa)
            .ok_or(InvalidKey("expected a certificate with an RSA key, in PEM"))
    }

    /// Returns the HMAC of the parts, one after the other; `None` for a key of another kind.
    pub(super) fn hmac_of(&self, parts: &[&[u8]]) -> Option<hmac::Tag> {
        let Self::Hmac(key) = self else { return None };
        let mut context = hmac::Context::with_key(key);
        for part in parts {
            context.update(part);
        }
        Some(context.sign())
    }

    /// Returns whether `tag` is the HMAC of the parts, one after the other.
    pub(super) fn is_hmac_of(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.hmac_of(parts).is_some_and(|own| own.as_ref().ct_eq(tag).into())
    }

    /// Returns whether a text is the token. Hashes have one length, so the time does not depend on
    /// the token's.
    pub(super) fn is_token(&self, text: &[u8]) -> bool {
        let Self::Token(token) = self else { return false };
        token.ct_eq(&sha256(text)).into()
    }

    /// Returns whether `signature` is an Ed25519 signature of a message.
    pub(super) fn is_ed25519_of(&self, message: &[u8], signature: &[u8]) -> bool {
        matches!(self, Self::Ed25519(key) if key.verify(message, signature).is_ok())
    }

    /// Returns whether `signature` is an RSA signature of a message.
    pub(super) fn is_rsa_of(&self, hash: RsaHash, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match hash {
            RsaHash::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            RsaHash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        let is_valid = |key| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok()
        };
        matches!(self, Self::Rsa(key) if is_valid(key))
    }

    /// Returns whether `signature` is an ECDSA signature of a message, in ASN.1.
    pub(super) fn is_ecdsa_of(&self, message: &[u8], signature: &[u8]) -> bool {
        matches!(self, Self::EcdsaP256(key) if key.verify(message, signature).is_ok())
    }
}

/// Returns the `RSAPublicKey` in a `SubjectPublicKeyInfo`.
fn rsa_key(info: &[u8]) -> Option<&[u8]> {
    let (info, _) = der_value(info, SEQUENCE)?;
    let (bits, _) = der_value(info.strip_prefix(&RSA_ALGORITHM)?, BIT_STRING)?;
    // The number of unused bits comes first.
    bits.strip_prefix(&[0])
}

/// Splits the value of this kind off the front of text in DER.
fn der_value(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = der.strip_prefix(&[kind])?.split_first()?;
    match *length {
        short @ 0..0x80 => rest.split_at_checked(usize::from(short)),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let is_short = (1..=4).contains(&bytes.len());
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            is_short.then(|| rest.split_at_checked(length)).flatten()
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
