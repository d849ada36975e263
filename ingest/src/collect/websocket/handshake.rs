//! The handshake: the request that opens a session
//! ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455#section-4.2)).

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, request::Parts};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};

use crate::answer::Answer;

/// The version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// The text that the protocol appends to a client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The length of a client's key, in bytes.
const KEY_BYTES: usize = 16;

/// The reason why a request opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeError {
    /// The request came over another version of HTTP than 1.1.
    Http,
    /// The request does not ask for an upgrade to WebSocket.
    NoUpgrade,
    /// The request asks for another version of the protocol.
    Version,
    /// `Sec-WebSocket-Key` is missing, is there twice, or is not the Base64 of 16 bytes.
    Key,
}

impl HandshakeError {
    pub(super) fn answer(self) -> Answer<'static> {
        let (status, reason) = match self {
            Self::Http => (StatusCode::BAD_REQUEST, "a WebSocket needs HTTP/1.1"),
            Self::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "this is the address of a WebSocket: send `Connection: Upgrade` and `Upgrade: websocket`",
            ),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13"),
            Self::Key => (
                StatusCode::BAD_REQUEST,
                "Sec-WebSocket-Key must be the Base64 of 16 bytes",
            ),
        };
        Answer::Failed {
            status,
            reason: Some(reason),
        }
    }

    /// Returns the header that tells the client the version, if that is what it needs to know.
    pub(super) fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::NoUpgrade | Self::Version => Some((header::SEC_WEBSOCKET_VERSION, VERSION)),
            Self::Http | Self::Key => None,
        }
    }
}

/// Checks a request and returns the value of `Sec-WebSocket-Accept`.
///
/// # Errors
///
/// The request opens no session.
pub(super) fn check(parts: &Parts) -> Result<HeaderValue, HandshakeError> {
    if parts.version != Version::HTTP_11 {
        return Err(HandshakeError::Http);
    }
    let headers = &parts.headers;
    if !has_token(headers, &header::CONNECTION, "upgrade") || !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(HandshakeError::NoUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(HandshakeError::Version);
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(HandshakeError::Key);
    };
    let key = key.as_bytes();
    let is_key = BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    if !is_key {
        return Err(HandshakeError::Key);
    }
    HeaderValue::try_from(accept(key)).map_err(|_| HandshakeError::Key)
}

/// Returns the proof that the server has read the key.
fn accept(key: &[u8]) -> String {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ACCEPT_SUFFIX].concat());
    BASE64_STANDARD.encode(digest)
}

/// Returns the subprotocol of the session: the first one that the client offers. Browsers close a
/// connection whose server chooses none of the offered ones.
pub(super) fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    HeaderValue::from_str(first).ok().filter(|first| !first.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;

    use super::*;

    const VALID: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::get("/wss"), |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_valid_handshake_is_accepted() {
        // The example of RFC 6455, section 1.3.
        assert_eq!(check(&parts(&VALID)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_fault_has_its_answer() {
        let with = |name: &str, value: Option<&'static str>| {
            let others = VALID.iter().filter(|(other, _)| *other != name).copied();
            let headers: Vec<_> = others.chain(value.map(|value| (name, value))).collect();
            check(&parts(&headers)).unwrap_err()
        };
        for (name, value, error) in [
            ("connection", None, HandshakeError::NoUpgrade),
            ("connection", Some("close"), HandshakeError::NoUpgrade),
            ("upgrade", None, HandshakeError::NoUpgrade),
            ("upgrade", Some("h2c"), HandshakeError::NoUpgrade),
            ("sec-websocket-version", None, HandshakeError::Version),
            ("sec-websocket-version", Some("8"), HandshakeError::Version),
            ("sec-websocket-key", None, HandshakeError::Key),
            ("sec-websocket-key", Some(""), HandshakeError::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j"), HandshakeError::Key),
            (
                "sec-websocket-key",
                Some("dGhlIHNhbXBsZSBub25jZQ=!"),
                HandshakeError::Key,
            ),
        ] {
            assert_eq!(with(name, value), error, "{name} {value:?}");
        }
        let doubled = [&VALID[..], &VALID[3..]].concat();
        assert_eq!(check(&parts(&doubled)), Err(HandshakeError::Key));
        let mut http_2 = parts(&VALID);
        http_2.version = Version::HTTP_2;
        assert_eq!(check(&http_2), Err(HandshakeError::Http));
        assert_eq!(HandshakeError::Version.answer().status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(HandshakeError::Http.answer().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_first_offered_subprotocol_is_chosen() {
        let chosen = |value| protocol(&parts(&[("sec-websocket-protocol", value)]).headers);
        assert_eq!(chosen("jsonrpc, other").unwrap(), "jsonrpc");
        assert_eq!(chosen(""), None);
        assert_eq!(protocol(&HeaderMap::new()), None);
    }
}
