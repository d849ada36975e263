//! The parts of a request head that hyper does not check: `Host` and the codings of the transfer.

use http::{HeaderMap, Request, StatusCode, Version, header};
use http_body::Body;

/// The reason why the server refuses a request before a service sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidRequest {
    /// `Host` is missing, is there twice, or is not a host with an optional port.
    Host,
    /// The body has another transfer coding than `chunked`.
    TransferCoding,
}

impl InvalidRequest {
    /// Returns the fault of a request, if it has one.
    #[inline]
    pub(crate) fn of<B: Body>(request: &Request<B>) -> Option<Self> {
        if !has_valid_host(request.headers(), request.version()) {
            return Some(Self::Host);
        }
        // Only a body with a transfer coding has no length.
        if request.body().size_hint().exact().is_none() && !is_chunked_only(request.headers()) {
            return Some(Self::TransferCoding);
        }
        None
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::BAD_REQUEST,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Returns the body of the response, as JSON.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Host => r#"{"message":"Bad Request","reason":"a request needs one Host header with a valid host"}"#,
            Self::TransferCoding => {
                r#"{"message":"Not Implemented","reason":"the only accepted Transfer-Encoding is chunked; for a compressed body, use Content-Encoding"}"#
            }
        }
    }
}

/// Returns whether a head has the `Host` that its version needs.
#[inline]
fn has_valid_host(headers: &HeaderMap, version: Version) -> bool {
    // Most clients send `Host` first, and a lookup by name costs several times as much as a step.
    // The map yields the values of one name together.
    let mut headers = headers.iter();
    while let Some((name, host)) = headers.next() {
        if *name == header::HOST {
            let is_single = headers.next().is_none_or(|(name, _)| *name != header::HOST);
            return is_single && is_valid_host(host.as_bytes());
        }
    }
    // HTTP/2 has `:authority`, and HTTP/1.0 needs none.
    version != Version::HTTP_11
}

/// Returns whether a value is a host with an optional port. It may be empty: so it is for a target
/// without a host ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)).
#[inline]
fn is_valid_host(value: &[u8]) -> bool {
    let end = value.iter().position(|byte| !IS_NAME[usize::from(*byte)]);
    let end = end.unwrap_or(value.len());
    match &value[end..] {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => is_unusual_host(value),
    }
}

/// Returns whether a value is an IP literal in brackets, or a name with unusual characters, with an
/// optional port.
#[cold]
fn is_unusual_host(value: &[u8]) -> bool {
    let end = match value {
        [b'[', address @ ..] => match address.iter().position(|byte| *byte == b']') {
            Some(end) if end > 0 => end + 2,
            _ => return false,
        },
        _ => value.iter().position(|byte| *byte == b':').unwrap_or(value.len()),
    };
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    let (host, port) = value.split_at(end);
    host.iter().all(is_allowed)
        && match port {
            [] => true,
            [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// The bytes of usual host names.
static IS_NAME: [bool; 256] = {
    let mut is_name = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        is_name[byte] = c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        byte += 1;
    }
    is_name
};

/// Returns whether `chunked` is the only transfer coding, or there is none.
#[cold]
fn is_chunked_only(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (None, _) => true,
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};
    use http_body_util::Empty;

    use super::*;

    fn fault(version: Version, headers: &[(&str, &[u8])]) -> Option<InvalidRequest> {
        let mut request = Request::new(Empty::<&[u8]>::new());
        *request.version_mut() = version;
        for (name, value) in headers {
            request.headers_mut().append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        InvalidRequest::of(&request)
    }

    #[test]
    fn a_request_of_http_1_1_has_one_valid_host() {
        for host in [
            "localhost",
            "stat.example.com:8080",
            "my_service:80",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "a%20b",
            "a:",
            "",
        ] {
            for others in [&[][..], &[("accept", &b"*/*"[..])]] {
                let host_first = [&[("host", host.as_bytes())], others].concat();
                assert_eq!(fault(Version::HTTP_11, &host_first), None, "{host}");
                let host_last = [others, &[("host", host.as_bytes())]].concat();
                assert_eq!(fault(Version::HTTP_11, &host_last), None, "{host}");
            }
        }
        let malformed: [&[u8]; 15] = [
            b"a b",
            b"a/b",
            b"http://a",
            b"user@a",
            b"a:b",
            b"a:80:80",
            b"a?b",
            b"a#b",
            b"<a>",
            b"\"a\"",
            b"a,b c",
            b"[::1",
            b"[]",
            b"[::1]a",
            b"\xd0\xb0",
        ];
        for host in malformed {
            let with_others = [("host", host), ("accept", b"*/*")];
            assert_eq!(fault(Version::HTTP_11, &with_others), Some(InvalidRequest::Host));
            assert_eq!(fault(Version::HTTP_10, &[("host", host)]), Some(InvalidRequest::Host));
        }
        assert_eq!(fault(Version::HTTP_11, &[]), Some(InvalidRequest::Host));
        assert_eq!(
            fault(Version::HTTP_11, &[("accept", b"*/*")]),
            Some(InvalidRequest::Host)
        );
        for doubled in [
            &[("host", &b"a"[..]), ("host", b"a")][..],
            &[("accept", b"*/*"), ("host", b"a"), ("host", b"b")],
        ] {
            assert_eq!(fault(Version::HTTP_11, doubled), Some(InvalidRequest::Host));
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(fault(version, &[]), None, "{version:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (codings, expected) in [
            (&["chunked"][..], true),
            (&["Chunked "], true),
            (&[], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked, chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(is_chunked_only(&headers), expected, "{codings:?}");
        }
    }
}
