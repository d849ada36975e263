//! Errors of TLS, each as one sentence with its remedy.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use rustls_pki_types::UnixTime;

/// Returns the sentence about an error that certificates, keys or a wrong port cause, and that
/// therefore lasts until the operator acts; `None` for every other error.
pub(super) fn sentence(error: &(dyn Error + 'static)) -> Option<String> {
    Some(match cause(error)? {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::AlertReceived(alert) => of_alert(*alert)?.to_owned(),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "ClickHouse does not speak TLS on this port: use its HTTPS port, usually 8443, or `http://` with its HTTP \
             port, usually 8123"
                .to_owned()
        }
        rustls::Error::PeerIncompatible(_) => {
            "ClickHouse offers no version or cipher of TLS that is safe: allow TLS 1.2 or 1.3 on it".to_owned()
        }
        _ => return None,
    })
}

/// Returns the error of TLS in a chain of causes. An [`io::Error`] is not the `source` of what
/// contains it, so the chain is followed into it, too.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .and_then(|inner| cause(inner as &(dyn Error + 'static)));
    inner.or_else(|| error.source().and_then(cause))
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "the certificate of ClickHouse has expired: renew it on the server".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "the certificate of ClickHouse was valid until {} and has expired: renew it on the server",
                text_of(*not_after)
            )
        }
        CertificateError::NotValidYet => NOT_YET.to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of ClickHouse is not valid before {}: compare the clocks of both machines",
            text_of(*not_before)
        ),
        CertificateError::NotValidForName => OTHER_NAME.to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let names = match names.is_empty() {
                true => "it names no host as a subjectAltName".to_owned(),
                false => format!("its names are {}", names.join(", ")),
            };
            format!(
                "the certificate of ClickHouse is not for the host {}, and {names}: use one of its names in the URL, or \
                 a certificate for this host",
                expected.to_str()
            )
        }
        // A CA with the name of one that is trusted, and with another key, causes a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate of ClickHouse is self-signed, or from a CA that is not trusted here: name its CA with \
             --clickhouse-ca FILE"
                .to_owned()
        }
        CertificateError::Revoked => "the certificate of ClickHouse is revoked: replace it on the server".to_owned(),
        error if format!("{error:?}").contains("CaUsedAsEndEntity") => {
            "the certificate of ClickHouse is self-signed and a CA's (CA:TRUE), not a server's: give the server a \
             certificate with CA:FALSE, as docs/tls.md shows"
                .to_owned()
        }
        error => format!("the certificate of ClickHouse is refused, {error}: replace it on the server"),
    }
}

const NOT_YET: &str = "the certificate of ClickHouse is not valid yet: compare the clocks of both machines";

const OTHER_NAME: &str = "the certificate of ClickHouse is for other hosts: use one of its names in the URL";

/// Returns the sentence for an alert of the server about the collector's certificate.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => {
            "ClickHouse wants a certificate of the collector: name it with --clickhouse-cert and --clickhouse-key"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            "ClickHouse does not accept the certificate of the collector: check --clickhouse-cert, its expiry, and the CA \
             that the server trusts"
        }
        AlertDescription::UnrecognisedName => {
            "the server has no certificate for this host: use the host's own name in the URL"
        }
        AlertDescription::ProtocolVersion => {
            "ClickHouse offers no version of TLS that is safe: allow TLS 1.2 or 1.3 on it"
        }
        _ => return None,
    })
}

fn text_of(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// Returns a name of a certificate without the notation of `rustls`: `DnsName("a")` is `a`.
fn plain_name(name: &str) -> &str {
    let quoted = name.split_once('"').and_then(|(_, rest)| rest.split_once('"'));
    match (quoted, name.split_once('(')) {
        (Some((name, _)), _) => name,
        (None, Some((_, rest))) => rest.trim_end_matches(')'),
        (None, None) => name,
    }
}
